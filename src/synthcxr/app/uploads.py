"""Files that a browser sends: known by what is in them, not by their names; bounded in size, number and pixels."""

import re
from pathlib import Path, PurePosixPath

from synthcxr.app.workspace import Workspace
from synthcxr.data.dicom.file import HEAD_BYTES, recognise
from synthcxr.errors import UsageError
from synthcxr.images import MAXIMUM_PIXELS

LARGEST_FILE = 256 * 2**20
MOST_FILES = 2000
"""In one folder of uploads."""
PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
TABLES = (".csv", ".jsonl", ".txt")
LARGEST_TABLE = 32 * 2**20
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def safe_name(name: str) -> str:
    """A file name of letters, digits, points and hyphens, without folders."""
    plain = _UNSAFE.sub("_", PurePosixPath(name.replace("\\", "/")).name).lstrip(".")
    return plain[-100:] or "file"


def place_upload(workspace: Workspace, batch: str, name: str) -> Path:
    """Where an upload is written while it comes in. Raises UsageError where the folder is full, or the name none."""
    folder = workspace.inside(Path("uploads") / safe_name(batch))
    folder.mkdir(exist_ok=True)
    if sum(1 for _ in folder.iterdir()) >= MOST_FILES:
        raise UsageError(f"A folder of uploads takes {MOST_FILES} files. Put more of them into the workspace by hand.")
    return folder / f".{safe_name(name)}.part"


def accept(part: Path) -> Path:
    """Give an upload that has come in whole its name, if it is an image, a DICOM or a table.

    Raises UsageError, and removes it, where it is something else, or would be too large when unpacked.
    """
    try:
        suffix = _suffix(part)
    except UsageError:
        part.unlink(missing_ok=True)
        raise
    target = part.with_name(part.name.removeprefix(".").removesuffix(".part")).with_suffix(suffix)
    stem, number = target.stem, 1
    while target.exists():
        number += 1
        target = target.with_stem(f"{stem}-{number}")
    part.replace(target)
    return target


def _suffix(part: Path) -> str:
    """The suffix that fits what is in a file."""
    name = part.name.removeprefix(".").removesuffix(".part")
    with part.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith((PNG, JPEG)):
        _check_pixels(part, name)
        return ".png" if head.startswith(PNG) else ".jpg"
    if recognise(head):
        return ".dcm"
    if Path(name).suffix.lower() in TABLES and b"\0" not in head:
        if part.stat().st_size > LARGEST_TABLE:
            raise UsageError(f"{name} is too large for a table.")
        return Path(name).suffix.lower()
    raise UsageError(f"{name} is no PNG, JPEG, DICOM or table (.csv, .jsonl, .txt). Unpack archives first.")


def _check_pixels(part: Path, name: str) -> None:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(part) as image:  # reads the header alone
            pixels = image.width * image.height
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise UsageError(f"{name} cannot be read as an image; it is damaged, or not what its name says.") from error
    if pixels > MAXIMUM_PIXELS:
        raise UsageError(f"{name} has {pixels / 1e6:.0f} million pixels; {MAXIMUM_PIXELS / 1e6:.0f} are the most.")
