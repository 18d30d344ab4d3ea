"""Where a model's files come from: its sources in order, what is fetched, and pins that show when a file has changed.

A source is a folder on this machine or a repository on a hub, ``owner/name`` or ``owner/name@revision``. Only
safetensors, JSON and vocabularies are fetched; pickled weights, which can run code when they are read, never are
(`synthcxr.models.convert` is for whoever has some).
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache, partial
from pathlib import Path
from typing import Any

from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.models.families import FAMILIES, find_family
from synthcxr.store import Json, read_json, settings_folder, sha256_file, write_json

FETCHED = ("model_index.json", "*/*.json", "*/*.txt", "*/*.safetensors")
FETCHED_SETTINGS = ("model_index.json", "*/*config.json", "tokenizer/*.json", "tokenizer/*.txt")
PASSED_OVER = ("*.fp16.*", "*.fp16-*", "*non_ema*", "safety_checker/*")
"""Second copies of the weights, and a filter that blackens images it takes for nude ones: X-rays among them."""
PICKLED = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
PICKLED_RISK = "Pickled weights can run code when they are read, so they are refused."
CONVERT = (
    f"{PICKLED_RISK} Ask for a copy: synthcxr convert MODEL --out NEW_FOLDER, of a folder or a single file, reads "
    "tensors alone and runs nothing. Then give NEW_FOLDER."
)
SINGLE = "Of a Stable Diffusion in a single file make one: synthcxr convert FILE --like MODEL --out NEW_FOLDER."

REASONS: tuple[tuple[set[str], set[int], str], ...] = (
    (
        {"OfflineModeIsEnabled"},
        set(),
        "the network is switched off (HF_HUB_OFFLINE)\nUnset HF_HUB_OFFLINE to download.",
    ),
    (
        {"GatedRepoError"},
        {403},
        "access is restricted ({status})\nLog in with `hf auth login` and accept the licence of {repository} on its "
        "page, where it asks for that.",
    ),
    ({"RevisionNotFoundError"}, set(), "has no such revision (404)\nGive another revision behind the @, or none."),
    (
        set(),
        {401},
        "is private, or is not there (401)\nIf it is private or asks for a licence, log in with `hf auth login`; else "
        "give another source.",
    ),
    (set(), {404}, "is not there (404)\nGive another source of the same model (owner/name)."),
    (
        set(),
        {429},
        "asks to wait, there were too many requests (429)\nWait some minutes and run the same command again.",
    ),
    ({"HFValidationError"}, set(), "is no repository's name\nA hub's repository is called owner/name."),
)
"""What a hub's errors (class names, or HTTP status) mean: the reason in a line, and in a second one what to do."""


class SourceError(SynthCXRError):
    """One source that cannot be used, and why; the next one is tried."""


class ChangedError(SynthCXRError):
    """A file that is not what it was when its source was first used; no other source is tried."""


@dataclass(frozen=True)
class Form:
    """How folders of one kind are laid out: the library's name, the file that describes the model, what is fetched.

    `missing` says what a folder with these files lacks of what that file asks for, or None. `share` tells the pins of
    a part of such a folder from those of the whole.
    """

    library: str
    index: str
    fetched: tuple[str, ...]
    missing: Callable[[Json, Iterable[str]], str | None]
    share: str = ""


# --- from sources to a folder -----------------------------------------------------------------------------


def fetch(name: str, sources: Iterable[str], form: Form | None = None) -> Path:
    """The folder of a model: of the first of its sources that has it whole, checked against its pins.

    Its `form` is `DIFFUSERS` where none is given.

    A source that was used before and whose files are on this machine goes first, and no hub is asked.
    Raises ChangedError where a file is not what it was, else SynthCXRError with every source's reason.
    """
    sources, form = tuple(sources), form or DIFFUSERS
    known = pins()
    for source in sources:
        folder = _pinned_folder(source, known, form)
        if folder is not None:
            check_pins(source, folder, form)
            return folder
    reasons: list[tuple[str, str, str]] = []
    for source in sources:
        try:
            if _is_folder(source):
                folder = Path(source).expanduser()
                check_folder(folder, form)
                return folder
            folder = _fetch_from_hub(source, form)
            check_pins(source, folder, form)
            return folder
        except SourceError as error:
            reason, _, advice = str(error).partition("\n")
            reasons.append((source, reason, advice))
    listed = "".join(f"\n  {source}: {reason}" for source, reason, _ in reasons)
    advice = "\n".join(dict.fromkeys(advice for _, _, advice in reasons if advice))
    raise SynthCXRError(
        f"The model {name} is not here and could not be fetched:{listed}\n"
        + (f"{advice}\n" if advice else "")
        + f"A local {form.library} folder always works: give its path instead of the name."
    )


def _is_folder(source: str) -> bool:
    return source.startswith((".", "/", "~")) or Path(source).is_absolute() or Path(source).is_dir()


def split_revision(source: str) -> tuple[str, str]:
    """The repository and the revision of ``owner/name@revision``; without one it is ``main``."""
    repository, _, revision = source.partition("@")
    return repository, revision or "main"


def _fetch_from_hub(source: str, form: Form) -> Path:
    """Download what is wanted of a hub's repository, or find it in the hub's cache where the hub cannot be asked."""
    from huggingface_hub import HfApi, hf_hub_download, snapshot_download

    repository, revision = split_revision(source)
    wanted: dict[str, Any] = {"allow_patterns": list(form.fetched), "ignore_patterns": list(PASSED_OVER)}
    try:
        info = HfApi().model_info(repository, revision=revision)
        names = [sibling.rfilename for sibling in info.siblings or ()]
        if form.index not in names:
            raise SourceError(_no_index(names, form))
        index = hf_hub_download(repository, form.index, revision=info.sha)
        if missing := form.missing(_read_index(Path(index)), names):
            raise SourceError(missing)
        folder = Path(snapshot_download(repository, revision=revision, **wanted))
    except SourceError:
        raise
    except Exception as error:  # the hub's own errors, the network's below them, and the disk's
        try:
            folder = Path(snapshot_download(repository, revision=revision, local_files_only=True, **wanted))
            check_folder(folder, form)
        except Exception:
            raise SourceError(explain(error, repository)) from error
    check_folder(folder, form)
    return folder


def explain(error: BaseException, repository: str = "") -> str:
    """Why a hub gave nothing, in a line, and in a second one what to do."""
    chain = list(_causes(error))
    kinds = {type(cause).__name__ for cause in chain}
    status = next((r.status_code for cause in chain if (r := getattr(cause, "response", None)) is not None), None)
    if isinstance(error, OSError) and error.errno is not None and error.filename:
        return f"{error.filename}: {error.strerror}\nFree some space or correct the rights, and run the command again."
    first = next(iter(str(error).splitlines()), "") or type(error).__name__
    for names, statuses, text in REASONS:
        if names & kinds or status in statuses:
            return text.format(repository=repository, status=status)
    if status is not None:
        return f"the hub failed ({status})\nWait some minutes and run the same command again."
    return (
        f"the network failed ({first})\nLook at the connection and run the same command again; a download goes on "
        "from where it stopped."
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


# --- what a folder must hold ------------------------------------------------------------------------------


def check_folder(folder: Path, form: Form | None = None) -> None:
    """Raise SourceError where a folder has not this form (`DIFFUSERS`), or lacks a part that its index names."""
    form = form or DIFFUSERS
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    if form.index not in names:
        raise SourceError(_no_index(names, form))
    if missing := form.missing(_read_index(folder / form.index), names):
        raise SourceError(missing)
    for index in (folder / name for name in fetched_files(folder, form) if name.endswith(".safetensors.index.json")):
        for shard in sorted(set(read_json(index).get("weight_map", {}).values())):
            if not (index.parent / shard).is_file():
                raise SourceError(f"{index.parent.name}/{shard} is missing, which {index.name} names\nCopy it there.")


def why_no_model(path: Path) -> str:
    """What a path is that is no diffusers folder, for a sentence that begins with the path."""
    names = [path.name] if path.is_file() else [p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()]
    if any(map(_is_pickled, names)):
        return _no_index(names, DIFFUSERS).replace("\n", ". ")
    weights = [name for name in names if name.endswith(".safetensors") and "/" not in name]
    return f"is no folder of a model ({weights[0]}). {SINGLE}" if weights else "is no model"


def missing_part(index: Json, names: Iterable[str], *, weights: bool = True) -> str | None:
    """What a folder with these files lacks of what its index and its family need, or None where it is whole.

    Without `weights` the settings are enough: configs and tokenizer.
    """
    names = set(names)
    family = find_family(str(index.get("_class_name")))
    if family is None:
        known = " or ".join(family.pipeline_class for family in FAMILIES)
        return f"is a {index.get('_class_name')}\nGive a model that diffusers loads with its {known}."
    for part in (*family.parts, "tokenizer", "scheduler"):
        if None in index.get(part, [None]):
            return f"model_index.json names no {part}\nGive a complete diffusers folder."
    for part, entry in sorted(index.items()):
        if not isinstance(entry, list) or len(entry) != 2 or None in entry or part == "safety_checker":
            continue
        held = {name.partition("/")[2] for name in names if name.startswith(f"{part}/")}
        if not any(fits(held) for fits in _needs(str(entry[1]), weights)):
            return _say_missing(part, held)
    return None


def _needs(class_name: str, weights: bool) -> list["_Need"]:
    if "Scheduler" in class_name:
        return [_Need("scheduler_config.json")]
    if "Tokenizer" in class_name:
        return [_Need("tokenizer.json"), _Need("vocab.json", "merges.txt")]
    if class_name.endswith(("Extractor", "Processor")):
        return [_Need("preprocessor_config.json")]
    return [_Need("config.json", weights=weights)]


class _Need:
    """Files that a part is whole with."""

    def __init__(self, *files: str, weights: bool = False) -> None:
        self.files, self.weights = set(files), weights

    def __call__(self, held: set[str]) -> bool:
        return self.files <= held and (not self.weights or any(_is_weights(name) for name in held))


def _is_weights(name: str) -> bool:
    return name.endswith(".safetensors") and not is_passed_over(name)


def _is_pickled(name: str) -> bool:
    return name.endswith(PICKLED)


def _say_missing(part: str, held: set[str]) -> str:
    if any(map(_is_pickled, held)) and not any(map(_is_weights, held)):
        return f"its part {part} has pickled weights only ({min(filter(_is_pickled, held))})\n{CONVERT}"
    lacking = "its weights (.safetensors)" if "config.json" in held else "its files"
    return f"the part {part} lacks {lacking}, and model_index.json names it\nGive a complete diffusers folder."


def missing_weights(index: Json, names: Iterable[str]) -> str | None:
    """What a transformers folder with these files lacks, or None where it has weights."""
    names = set(names)
    if any(map(_is_weights, names)):
        return None
    pickled = sorted(filter(_is_pickled, names))
    return f"has pickled weights ({pickled[0]})\n{PICKLED_RISK}" if pickled else "has no weights (*.safetensors)"


def _no_index(names: Iterable[str], form: Form) -> str:
    pickled = sorted(filter(_is_pickled, names))
    if pickled:
        return f"is no {form.library} folder, it has pickled weights ({pickled[0]})\n{CONVERT}"
    return f"is no {form.library} folder (it has no {form.index})\nGive a model in the layout of {form.library}."


DIFFUSERS = Form("diffusers", "model_index.json", FETCHED, missing_part)
SETTINGS = Form("diffusers", "model_index.json", FETCHED_SETTINGS, partial(missing_part, weights=False), " settings")
"""All of such a folder but its weights: some megabytes."""
TRANSFORMERS = Form("transformers", "config.json", ("*.json", "*.safetensors"), missing_weights)
"""One model of transformers, all its files in one folder."""


def _read_index(path: Path) -> Json:
    try:
        return read_json(path)
    except SynthCXRError as error:
        raise SourceError(f"{error}") from error


# --- pins -------------------------------------------------------------------------------------------------


def pins_file() -> Path:
    """Where the pins lie: ``~/.config/synthcxr/pins.json`` (or under ``XDG_CONFIG_HOME``)."""
    return settings_folder() / "pins.json"


def pins() -> Json:
    """Of every ``owner/name@revision`` used so far: its commit, and the SHA-256 of every file that was fetched.

    Where only the settings were, behind a name of their own.
    """
    return read_json(pins_file()) if pins_file().is_file() else {}


def _pinned_as(source: str, form: Form) -> str:
    return "@".join(split_revision(source)) + form.share


def check_pins(source: str, folder: Path, form: Form | None = None) -> None:
    """Compare a fetched folder with what its source gave the first time; the first time, keep that.

    Raises ChangedError, with the file and both hashes, where a file has changed, is gone or is new.
    """
    form = form or DIFFUSERS
    key = _pinned_as(source, form)
    found = {name: file_hash(folder / name) for name in fetched_files(folder, form)}
    with _locked_pins() as known:
        if key not in known:
            known[key] = {"commit": folder.name, "files": found}
            write_json(pins_file(), known)
            return
        pinned: dict[str, str] = known[key]["files"]
    changed = [name for name in sorted(pinned.keys() | found.keys()) if pinned.get(name) != found.get(name)]
    if not changed:
        return
    shown = "".join(
        f"\n  {name}: was {pinned.get(name, 'not there')}, is {found.get(name, 'not there')}" for name in changed
    )
    raise ChangedError(f"The files of {key} are not what they were at first:{shown}\n{_what_now(key, folder, known)}")


def _what_now(key: str, folder: Path, known: Json) -> str:
    if folder.name == known[key]["commit"]:
        return (
            f"The copy in {folder} was altered on this machine. Remove {folder.parents[1]} and run the same command "
            "again; it is fetched anew."
        )
    return (
        f"The hub now gives {folder.name}, at first it was {known[key]['commit']}. To go on with the first, give "
        f"{key.partition('@')[0]}@{known[key]['commit']}. To accept the change, remove {key!r} from {pins_file()}."
    )


@contextmanager
def _locked_pins() -> Iterator[Json]:
    from filelock import FileLock

    try:
        pins_file().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(pins_file().with_suffix(".lock")):
            yield pins()
    except OSError as error:
        raise UsageError(
            f"The pins in {pins_file()} cannot be kept: {error.strerror or error}. "
            "Set XDG_CONFIG_HOME to a folder that can be written."
        ) from error


def fetched_files(folder: Path, form: Form | None = None) -> list[str]:
    """The files of a folder of this form (`DIFFUSERS`) that are fetched from hubs, as sorted relative paths."""
    patterns = (form or DIFFUSERS).fetched
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return [name for name in names if any(fnmatch(name, p) for p in patterns) and not is_passed_over(name)]


def is_passed_over(name: str) -> bool:
    """Whether a file of a diffusers folder, by its relative path, is one that is not used."""
    return any(fnmatch(name, pattern) for pattern in PASSED_OVER)


def _pinned_folder(source: str, known: Json, form: Form) -> Path | None:
    """The folder in the hub's cache of a source that was used before, or None where it is not all there."""
    if _is_folder(source):
        return None
    repository = split_revision(source)[0]
    pin = known.get(_pinned_as(source, form))
    if pin is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(repository, name, revision=pin["commit"]) for name in pin["files"]]
    if not found or not all(isinstance(path, str) for path in found):
        return None
    return next(Path(str(path)).parent for path in found if Path(str(path)).name == form.index)


def file_hash(path: Path) -> str:
    """SHA-256 of a file; within one process, the same bytes on the disk are read once."""
    state = path.stat()
    return _file_hash(path.resolve(), state.st_size, state.st_mtime_ns)


@cache
def _file_hash(path: Path, size: int, changed_ns: int) -> str:
    return sha256_file(path)
