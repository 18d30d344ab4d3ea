"""Folders that can be trusted: whole files, one manifest a folder, resume, and proof that nothing changed.

Every stage writes one folder. While it works, the folder holds ``<kind>.partial.json`` with the config it was
called with; when it is done, ``<kind>.json`` lists the SHA-256 of every file and of every input's manifest.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from synthcxr import __version__
from synthcxr.errors import SynthCXRError, UsageError

SCHEMA_VERSION = 1
KINDS = ("dataset", "run", "set", "clean", "report", "study")
LOCK_NAME = ".lock"
HIDDEN_FOLDER = ".work"
"""Scratch files of a stage that is at work (checkpoints, caches): in no manifest, not looked at by `verify`."""

Json = dict[str, Any]


# --- bytes on the disk ------------------------------------------------------------------------------------


def settings_folder() -> Path:
    """Where what belongs to the user lies (keys, pins): ``~/.config/synthcxr``, or under ``XDG_CONFIG_HOME``."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "synthcxr"


def sha256_bytes(data: bytes) -> str:
    """Hexadecimal SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_writer(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """Open a file that appears under `path` whole, when the block ends without an error, or not at all.

    Waiting until it is on the disk for good takes ten times as long as writing it; scratch files need not be `durable`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a whole file or nothing."""
    with atomic_writer(path, durable=durable) as file:
        file.write(data)


def canonical_json(value: Any) -> bytes:
    """The one serialisation of a value that manifests and hashes use: sorted keys, two spaces, UTF-8."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def write_json(path: Path, value: Any) -> None:
    """Write canonical JSON, whole or not at all."""
    write_bytes(path, canonical_json(value))


def read_json(path: Path) -> Json:
    """Read one JSON object; an unreadable one is an error that names the file."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist.") from None
    except (ValueError, OSError) as error:
        raise SynthCXRError(f"{path} cannot be read as JSON: {error}. Restore it, or make the folder again.") from error
    if not isinstance(value, dict):
        raise SynthCXRError(f"{path} holds {type(value).__name__}, not an object.")
    return value


def write_jsonl(path: Path, rows: Iterable[Json]) -> None:
    """Write one JSON object a line, as they come; the file is whole or not there at all."""
    with atomic_writer(path) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n")


def read_jsonl(path: Path) -> list[Json]:
    """Read one JSON object a line; a torn line is an error that names it."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise SynthCXRError(f"{path}, line {number}, is not JSON: {error}.") from error
        if not isinstance(row, dict):
            raise SynthCXRError(f"{path}, line {number}, is no JSON object.")
        rows.append(row)
    return rows


# --- manifests --------------------------------------------------------------------------------------------


def find_manifest(folder: Path) -> Path | None:
    """The manifest of a finished folder, or None if it has none."""
    return next((folder / f"{kind}.json" for kind in KINDS if (folder / f"{kind}.json").is_file()), None)


def read_manifest(folder: Path, kind: str | None = None) -> Json:
    """Read a finished folder's manifest. Raises UsageError where there is none, or one of another kind."""
    if not folder.is_dir():
        raise UsageError(f"The folder {folder} does not exist.")
    path = find_manifest(folder)
    if path is None:
        unfinished = next(iter(folder.glob("*.partial.json")), None)
        if unfinished:
            raise UsageError(f"{folder} was not finished. Run the command that wrote it again; it goes on from there.")
        raise UsageError(f"{folder} has no manifest: it was not written by synthcxr.")
    manifest = read_json(path)
    _check_ours(path, manifest)
    if kind and manifest.get("kind") != kind:
        raise UsageError(f"{folder} holds a {manifest.get('kind')}, where a {kind} is needed.")
    return manifest


def _check_ours(path: Path, manifest: Json) -> None:
    """Refuse a file that has a manifest's name, as other tools' folders have, but is none of this tool's."""
    if not isinstance(manifest.get("tool"), dict) or "synthcxr" not in manifest["tool"] or "kind" not in manifest:
        raise UsageError(f"{path} is no manifest of synthcxr. Choose another folder.")


def manifest_hash(folder: Path) -> str | None:
    """SHA-256 of a folder's manifest file, or None where it has none."""
    path = find_manifest(folder)
    return sha256_file(path) if path else None


def seal(manifest: Json) -> bytes:
    """Serialise a manifest with its own SHA-256 in the field ``seal`` (taken with that field empty)."""
    digest = sha256_bytes(canonical_json({**manifest, "seal": ""}))
    return canonical_json({**manifest, "seal": digest})


def describe_input(folder: Path, start: Path) -> Json:
    """How a manifest names an input folder: its path as seen from the output, its kind, its manifest's hash."""
    path = find_manifest(folder)
    return {
        "path": os.path.relpath(folder.resolve(), start.resolve()),
        "kind": path.stem if path else "folder",
        "manifest_sha256": sha256_file(path) if path else None,
    }


def list_files(folder: Path, *, at_work: bool = False) -> list[Path]:
    """Every file of a folder, as sorted relative paths; `at_work` leaves out the lock and the scratch files."""
    found = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        ignored = at_work and relative.parts[0] in (LOCK_NAME, HIDDEN_FOLDER)
        if not ignored and (path.is_symlink() or not path.is_dir()):
            found.append(relative)
    return found


def verify(folder: Path) -> list[str]:
    """Everything that is wrong with a finished folder: changed, missing or extra files. Empty if it is whole."""
    read_manifest(folder)
    path = find_manifest(folder)
    assert path is not None
    manifest = read_json(path)
    if path.read_bytes() != seal(manifest):
        return [f"changed: {path.name} (its seal does not fit its content, so it vouches for no file)"]
    listed: Json = manifest["files"]
    present = {p.as_posix() for p in list_files(folder)} - {path.name}
    if (folder / LOCK_NAME).is_file() and (folder / LOCK_NAME).stat().st_size == 0:
        present.discard(LOCK_NAME)  # a stage is looking at the folder
    living = tuple(manifest.get("living", []))
    present = {name for name in present if not name.startswith(living)} if living else present
    problems = [f"extra: {name}" for name in sorted(present - listed.keys())]
    for name, entry in sorted(listed.items()):
        if name not in present:
            problems.append(f"missing: {name}")
        elif sha256_file(folder / name) != entry["sha256"]:
            problems.append(f"changed: {name}")
    return problems


def lineage(folder: Path) -> Json:
    """The chain of manifests from a folder back to its data, as a tree.

    Every node has ``path, kind, manifest_sha256, created, tool, state, inputs``; `state` is ``intact`` (the input's
    manifest is the one that was used), ``changed``, ``missing`` or ``outside`` (a folder without a manifest).
    """
    manifest = read_manifest(folder)
    node: Json = {
        "path": str(folder),
        "kind": manifest["kind"],
        "manifest_sha256": manifest_hash(folder),
        "tool": manifest["tool"],
        "counts": manifest["counts"],
        "sources": manifest.get("sources", []),
        "notes": manifest.get("notes", []),
        "state": "intact",
        "inputs": {},
    }
    for role, entry in manifest["inputs"].items():
        node["inputs"][role] = _input_node(folder, entry)
    return node


def _input_node(folder: Path, entry: Json) -> Json:
    if "path" not in entry:  # a model that ships with the package or lies on a hub, or a source that is not to be named
        return {**entry, "state": "outside" if entry["kind"] == "source" else "intact", "inputs": {}}
    path = (folder / entry["path"]).resolve()
    if not path.exists():
        return {**entry, "path": str(path), "state": "missing", "inputs": {}}
    if entry["manifest_sha256"] is None:
        return {**entry, "path": str(path), "state": "outside", "inputs": {}}
    if manifest_hash(path) != entry["manifest_sha256"]:
        return {**entry, "path": str(path), "state": "changed", "inputs": {}}
    return lineage(path)


def inherited_sources(folder: Path, inputs: Json) -> list[Json]:
    """Where the images behind a folder's inputs come from, each source once: name, kind, licence, restricted, images.

    An input's own manifest names them, or its entry does (a model that ships with the package).
    """
    found: dict[tuple[str, str], Json] = {}
    for entry in inputs.values():
        path = find_manifest(folder / entry["path"]) if "path" in entry else None
        for source in read_json(path).get("sources", []) if path else entry.get("sources", []):
            found.setdefault((source["name"], source["licence"]), source)
    return list(found.values())


# --- a stage at work --------------------------------------------------------------------------------------


@dataclass
class Output:
    """A folder that a stage is writing. `finished` is true where an earlier call had done all of it."""

    folder: Path
    kind: str
    config: Json
    finished: bool

    @property
    def scratch(self) -> Path:
        """A folder for checkpoints and caches that no manifest lists."""
        path = self.folder / HIDDEN_FOLDER
        path.mkdir(exist_ok=True)
        return path

    def finish(
        self,
        *,
        inputs: Json,
        counts: Json,
        environment: Json,
        notes: Iterable[str] = (),
        known_hashes: Json | None = None,
        living: Sequence[str] = (),
        **extra: Any,
    ) -> Path:
        """Hash every file, write the manifest, remove what marked the folder as unfinished.

        Files whose names begin as in `living` go on changing: the manifest says so and vouches for none of them. The
        manifest names the sources of all inputs with their terms, unless the stage says others in `extra`.
        """
        marker = self.folder / f"{self.kind}.partial.json"
        shutil.rmtree(self.folder / HIDDEN_FOLDER, ignore_errors=True)
        names = [p for p in list_files(self.folder, at_work=True) if p.name not in (marker.name, f"{self.kind}.json")]
        settled = [name for name in names if not (living and name.as_posix().startswith(tuple(living)))]
        files = {
            name.as_posix(): {
                "sha256": (known_hashes or {}).get(name.as_posix()) or sha256_file(self.folder / name),
                "bytes": (self.folder / name).stat().st_size,
            }
            for name in settled
        }
        manifest = {
            "schema_version": SCHEMA_VERSION,
            "kind": self.kind,
            "tool": {"synthcxr": __version__},
            "config": self.config,
            "inputs": inputs,
            "counts": counts,
            "environment": environment,
            "notes": list(notes),
            "files": files,
            "sources": inherited_sources(self.folder, inputs),
            **({"living": list(living)} if living else {}),
            **extra,
        }
        write_bytes(self.folder / f"{self.kind}.json", seal(manifest))
        marker.unlink(missing_ok=True)
        return self.folder


@contextmanager
def open_output(
    folder: Path, kind: str, config: Json, *, overwrite: bool = False, inputs: Iterable[Path] = ()
) -> Iterator[Output]:
    """Take a folder for one stage with one config: new, resumed, or already finished.

    Raises UsageError where the folder holds something else (another config's output, files of another origin) or
    another process is writing it, or where it lies in one of the `inputs` or one of them in it. With `overwrite`,
    output of synthcxr is removed first; files that its manifest does not list never are.
    """
    from filelock import FileLock, Timeout

    for given in inputs:
        if given.resolve().is_relative_to(folder.resolve()) or folder.resolve().is_relative_to(given.resolve()):
            raise UsageError(f"--out {folder} and {given}, which is read, lie in each other; choose another --out.")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; choose another --out.")
    existed = folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"The folder {folder} cannot be made: {error.strerror}. Choose another --out.") from error
    lock = FileLock(folder / LOCK_NAME)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"{folder} is being written by another process. Wait for it, or choose another --out."
        ) from None
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}. Choose another --out.") from error
    try:
        yield _claim(folder, kind, config, overwrite)
    except OSError as error:
        raise SynthCXRError(_explain_os_error(error, folder)) from error
    finally:
        with suppress(OSError):
            _leave_nothing_behind(folder, existed)
        lock.release()


def _leave_nothing_behind(folder: Path, existed: bool) -> None:
    """Remove the mark of an unfinished stage that came to write nothing, and its folder if it was new."""
    with suppress(OSError):
        (folder / HIDDEN_FOLDER).rmdir()  # only if empty
    left = [path for path in folder.iterdir() if path.name != LOCK_NAME]
    if all(path.name.endswith(".partial.json") for path in left):
        for path in left:
            path.unlink()
    (folder / LOCK_NAME).unlink(missing_ok=True)
    if not existed:
        folder.rmdir()  # only if empty


def _claim(folder: Path, kind: str, config: Json, overwrite: bool) -> Output:
    for torn in folder.rglob(".*.tmp"):  # what a killed process was writing
        torn.unlink()
    marker = folder / f"{kind}.partial.json"
    present = list_files(folder, at_work=True)
    if not present:
        write_json(marker, {"kind": kind, "config": config, "tool": {"synthcxr": __version__}})
        return Output(folder, kind, config, finished=False)
    manifest = find_manifest(folder)
    record = manifest or next(iter(folder.glob("*.partial.json")), None)
    if record is None:
        raise UsageError(f"{folder} is not empty and was not written by synthcxr. Choose another --out.")
    held = read_json(record)
    _check_ours(record, held)
    if overwrite:
        _clear(folder, present, held.get("files"), record)
        return _claim(folder, kind, config, overwrite=False)
    if held["kind"] != kind:
        raise UsageError(f"{folder} holds a {held['kind']}. Choose another --out, or --overwrite to replace it.")
    changed = sorted(k for k in config.keys() | held["config"].keys() if config.get(k) != held["config"].get(k))
    if changed:
        raise UsageError(
            f"{folder} holds the output of another config ({', '.join(changed)} differ). "
            "Choose another --out, or --overwrite to replace it."
        )
    return Output(folder, kind, config, finished=manifest is not None)


def _clear(folder: Path, present: list[Path], listed: Json | None, record: Path) -> None:
    """Remove what synthcxr wrote; a finished folder that holds a file its manifest does not list is left alone."""
    foreign = [path for path in present if listed is not None and path.as_posix() not in (*listed, record.name)]
    if foreign:
        raise UsageError(
            f"{folder} also holds {foreign[0]}, which synthcxr did not write. Move it, or choose another --out."
        )
    for path in folder.iterdir():
        if path.name != LOCK_NAME:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _explain_os_error(error: OSError, folder: Path) -> str:
    import errno

    where = error.filename or folder
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk of {folder} is full. Free some space and run the same command again; it goes on from there."
    return f"{where}: {error.strerror or error}. What was done before is kept in {folder}."
