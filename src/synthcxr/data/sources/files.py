"""The files below a source's folder, and the paths that tables give for them: nothing leads out of the folder."""

import os
import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from synthcxr.data.records import Picture, Record, RejectedImageError, Source, printable, read_picture, told
from synthcxr.errors import UsageError
from synthcxr.images import SUFFIXES

if TYPE_CHECKING:
    from synthcxr.config import PrepareConfig

DICOM_SUFFIXES = (".dcm", ".dicom")


@dataclass
class Files:
    """The files of some suffixes below `root`.

    `names` are their paths inside it, sorted; `left_out` has the reason of each that must not be opened: a link that
    leads out of the folder or nowhere, a name that is not UTF-8, a pipe or a device.
    """

    root: Path
    names: dict[str, None] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def find(self, written: str) -> str:
        """The file at a path that a table gives. Raises RejectedImageError by ``path`` or ``missing``."""
        name = clean_path(written)
        if name in self.names:
            return name
        raise self._missing(name)

    def find_by_name(self, written: str) -> str:
        """The file of a name, in whatever folder below the root. Raises RejectedImageError as `find`."""
        name = posixpath.basename(clean_path(written))
        return self._only(name, self._by_name.get(name, []))

    def find_by_stem(self, stem: str) -> str:
        """The file of a name without its suffix. Raises RejectedImageError as `find`."""
        return self._only(stem, self._by_stem.get(clean_path(stem), []))

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        return _group((posixpath.basename(name), name) for name in self.names)

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        return _group((stem_of(name), name) for name in self.names)

    def _only(self, name: str, found: list[str]) -> str:
        if len(found) > 1:
            raise RejectedImageError("path", f"{len(found)} files have this name: {told(', '.join(found[:3]))}")
        if not found:
            raise self._missing(name)
        return found[0]

    def _missing(self, name: str) -> RejectedImageError:
        reason = self.left_out.get(name)
        return RejectedImageError("path", reason) if reason else RejectedImageError("missing", "it does not exist")


def _group(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for key, name in pairs:
        groups.setdefault(key, []).append(name)
    return groups


def list_files(root: Path, suffixes: tuple[str, ...] = SUFFIXES) -> Files:
    """Walk a folder once, hidden names left out. Raises UsageError where a folder cannot be read."""
    files = Files(root)
    inside = root.resolve()
    names: list[str] = []
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            entries = list(os.scandir(root / folder))
        except OSError as error:
            raise UsageError(f"{root / folder} cannot be read: {error.strerror}.") from error
        for entry in entries:
            name = folder + entry.name
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(name + "/")
            elif reason := _why_left_out(entry, inside):
                if reason is not PASSED_BY and (entry.is_symlink() or name.lower().endswith(suffixes)):
                    files.left_out[printable(name)] = reason
            elif name.lower().endswith(suffixes):
                names.append(name)
    files.names = dict.fromkeys(sorted(names))
    return files


PASSED_BY = "a link to a folder whose files are listed where they lie"


def _why_left_out(entry: "os.DirEntry[str]", inside: Path) -> str:
    """Why a file or link must not be opened; empty where it may be."""
    if printable(entry.name) != entry.name:
        return "its name is not UTF-8; rename it"
    if entry.is_symlink():
        target = Path(entry.path).resolve()
        if not target.is_relative_to(inside):
            return "it is a link that leads out of the folder; copy the files, or give the folder they lie in"
        if target.is_dir():
            return PASSED_BY
        if not target.exists():
            return "it is a link that leads nowhere"
    return "" if entry.is_file() else "it is neither a file nor a folder"


def clean_path(written: str) -> str:
    """A path of a table with ``/`` between its parts, relative to the folder. Raises RejectedImageError by ``path``.

    Backslashes of Windows count as ``/``. Absolute paths, drive letters, ``..`` out of the folder and control
    characters are refused.
    """
    if not written.strip():
        raise RejectedImageError("path", "the file name is empty")
    name = written.replace("\\", "/")
    while (tidy := posixpath.normpath(name.strip())) != name:  # "./ ../a" needs two rounds
        name = tidy
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
        raise RejectedImageError("path", "the path holds characters that no path has, such as NUL")
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        raise RejectedImageError("path", "the path is absolute; write it relative to the table's folder")
    if name in (".", "..") or name.startswith("../"):
        raise RejectedImageError("path", "the path leads out of the folder")
    return name


def stem_of(name: str) -> str:
    """The file name of a path without its folders and its suffix; ``1.2.840.dcm`` gives ``1.2.840``."""
    return posixpath.splitext(posixpath.basename(name))[0]


def reject_the_rest(source: Source, files: Files, *, reason: str = "no table has a row for it") -> None:
    """Reject every file that no record and no rejected row names, so that nothing is lost without a word."""
    spoken_of = {record.name for record in source.records} | {row["file"] for row in source.rejected}
    for name in files.names:
        if name not in spoken_of:
            source.reject(name, reason, "no-row")
    for name, why in sorted(files.left_out.items()):
        if name not in spoken_of:
            source.reject(name, why, "path")


def read_any(root: Path, record: Record, config: "PrepareConfig") -> Picture:
    """Open a PNG, a JPEG or a DICOM by its suffix; a DICOM's header is judged unless a table has told its view."""
    from synthcxr.data.dicom.read import read_dicom_picture

    if record.subject.view or record.name.lower().endswith(SUFFIXES):
        return read_published(root, record, config)
    return read_dicom_picture(root, record, config)


def read_published(root: Path, record: Record, config: "PrepareConfig") -> Picture:
    """Open a PNG, a JPEG or a DICOM by its suffix, of which the publisher says that it is a frontal chest X-ray."""
    from synthcxr.data.dicom.read import read_published_picture

    dicom = not record.name.lower().endswith(SUFFIXES)
    return read_published_picture(root, record, config) if dicom else read_picture(root, record, config)
