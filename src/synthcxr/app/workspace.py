"""The folder that the app works in: what lies there, what may be reached, and how much may be put there.

Every path that comes from a browser goes through `Workspace.inside`; there is no other door.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.store import Json, find_manifest, read_json

Shelf = Literal["uploads", "datasets", "runs", "sets", "cleaned", "reports", "studies", "exports"]
SHELVES: tuple[Shelf, ...] = ("uploads", "datasets", "runs", "sets", "cleaned", "reports", "studies", "exports")
SHELF_OF: dict[str, Shelf] = {
    "dataset": "datasets",
    "run": "runs",
    "set": "sets",
    "clean": "cleaned",
    "report": "reports",
    "study": "studies",
}
"""Where a folder of a kind belongs that lies beside the shelves, as the demo and the command line leave them."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SPARE_BYTES = 500_000_000
"""The disk is never filled further than this."""
GIGABYTE = 1_000_000_000


@dataclass(frozen=True)
class Item:
    """A folder on a shelf, with its manifest if its stage has finished."""

    shelf: Shelf
    name: str
    path: Path
    kind: str
    finished: bool
    manifest: Json

    @property
    def counts(self) -> Json:
        """The counts of its manifest."""
        counts: Json = self.manifest.get("counts", {})
        return counts


class Workspace:
    """A folder with a shelf for each kind of thing."""

    def __init__(self, root: Path, quota_gb: float | None = None) -> None:
        """Make the shelves. Raises UsageError where the folder cannot be made or written."""
        self.quota_bytes = None if quota_gb is None else int(quota_gb * GIGABYTE)
        try:
            for shelf in (*SHELVES, ".app"):
                (root / shelf).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"The workspace {root} cannot be used: {error.strerror}. Choose another folder."
            ) from error
        self.root = root.resolve()

    # --- the door ---

    def inside(self, path: str | Path) -> Path:
        """A path, relative to the workspace or absolute, with links followed.

        Raises UsageError for any that leads out of the workspace or into the app's own folder.
        """
        try:
            found = (self.root / path).resolve()
        except (OSError, ValueError, RuntimeError) as error:  # a NUL in it, too long, links in a circle
            raise UsageError("This is no path in the workspace.") from error
        if not found.is_relative_to(self.root) or found.is_relative_to(self.root / ".app"):
            raise UsageError("This is no path in the workspace.")
        return found

    def item(self, shelf: Shelf, name: str) -> Path:
        """A folder that is on a shelf. Raises UsageError where there is none of this name."""
        if NAME.fullmatch(name):
            if (path := self.inside(Path(shelf) / name)).is_dir():
                return path
            if name not in SHELVES and self._shelf_beside(path := self.inside(name)) == shelf:
                return path
        raise UsageError(f"There is no {name!r} among the {shelf}.")

    def address(self, folder: Path) -> str | None:
        """A folder as pages name it, ``SHELF/NAME``; None for one that is on no shelf."""
        parts = folder.resolve().relative_to(self.root).parts if folder.resolve().is_relative_to(self.root) else ()
        if len(parts) == 2 and parts[0] in SHELVES:
            return "/".join(parts)
        shelf = self._shelf_beside(folder.resolve()) if len(parts) == 1 else None
        return f"{shelf}/{parts[0]}" if shelf else None

    @staticmethod
    def _shelf_beside(folder: Path) -> Shelf | None:
        """The shelf of a folder that lies beside them, by its manifest."""
        manifest = find_manifest(folder) if folder.is_dir() else None
        if manifest is None:
            return None
        return "cleaned" if (folder / "proof.jsonl").is_file() else SHELF_OF.get(manifest.stem)

    def place(self, shelf: Shelf, name: str) -> Path:
        """Where a new folder goes. Raises UsageError for a name that cannot be one, or is taken."""
        name = name.strip()
        if not NAME.fullmatch(name) or name.endswith("."):
            raise UsageError(
                "A name has up to 64 letters, digits, points, hyphens and underscores, a letter or digit first."
            )
        path = self.inside(Path(shelf) / name)
        if path.exists():
            raise UsageError(f"There is a {name!r} among the {shelf} already. Choose another name.")
        return path

    def free_name(self, shelf: Shelf, stem: str) -> str:
        """A name that is not taken: the stem with the next number."""
        taken = {path.name for path in (self.root / shelf).iterdir()}
        return next(name for number in range(1, len(taken) + 2) if (name := f"{stem}-{number}") not in taken)

    # --- what is here ---

    def items(self, *shelves: Shelf) -> list[Item]:
        """What lies on some shelves, the newest first."""
        found = [item for shelf in shelves or SHELVES for item in self._read_shelf(shelf)]
        return sorted(found, key=lambda item: -item.path.stat().st_mtime)

    def _read_shelf(self, shelf: Shelf) -> Iterator[Item]:
        beside = (path for path in self.root.iterdir() if path.name not in SHELVES)
        for path in (*(self.root / shelf).iterdir(), *(path for path in beside if self._shelf_beside(path) == shelf)):
            if not path.is_dir() or path.is_symlink() or path.name.startswith("."):
                continue
            manifest = find_manifest(path)
            try:
                content = read_json(manifest) if manifest else {}
            except SynthCXRError:
                content, manifest = {}, None
            yield Item(shelf, path.name, path, str(content.get("kind", "folder")), manifest is not None, content)

    def remove(self, shelf: Shelf, name: str) -> None:
        """Delete a folder from a shelf."""
        shutil.rmtree(self.item(shelf, name))

    # --- room ---

    def used_bytes(self) -> int:
        """What all files take."""
        return sum(path.lstat().st_size for path in self.root.rglob("*") if path.is_file() and not path.is_symlink())

    def check_room(self, more_bytes: int = 0) -> None:
        """Raise SynthCXRError where so much more would not fit under the quota or on the disk."""
        if self.quota_bytes is not None and (used := self.used_bytes()) + more_bytes > self.quota_bytes:
            raise SynthCXRError(
                f"The workspace is full: {used / GIGABYTE:.2f} of {self.quota_bytes / GIGABYTE:.2f} GB are used. "
                "Delete what is no longer needed, or start the app with a larger --quota-gb."
            )
        if (free := shutil.disk_usage(self.root).free) - more_bytes < SPARE_BYTES:
            raise SynthCXRError(f"The disk is full: {free / GIGABYTE:.2f} GB are free. Make room, then try again.")
