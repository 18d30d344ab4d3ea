"""What the app shows of the files in its workspace: pictures, provenance, reports, whole folders as archives."""

from collections.abc import Iterator
from io import RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING

from synthcxr.app.workspace import Shelf, Workspace
from synthcxr.errors import UsageError
from synthcxr.images import Grey, encode_png, resize
from synthcxr.store import Json, list_files, read_jsonl, read_manifest, sha256_file

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

PICTURES = (".png", ".jpg", ".jpeg")
SHOWN = (*PICTURES, ".dcm")
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data: 'self'; font-src data:; sandbox allow-popups"
)
"""A report is a page of its own without scripts; what a prompt or a file name put into it could do nothing."""
PAGE_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".jsonl": "text/plain; charset=utf-8",
    ".csv": "text/plain; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
LARGEST_SIDE = 4096


def find(workspace: Workspace, shelf: Shelf, name: str, path: str) -> Path:
    """A file of a folder on a shelf. Raises UsageError where there is none, or where it lies outside of the folder."""
    folder = workspace.item(shelf, name)
    found = workspace.inside(folder / path)
    hidden = any(part.startswith(".") for part in found.relative_to(workspace.root).parts)
    if hidden or not found.is_relative_to(folder) or not found.is_file():
        raise UsageError("There is no such file.")
    return found


def read_picture(path: Path) -> Grey:
    """An image or a DICOM as a viewer shows it. Raises UsageError where it cannot be read."""
    from synthcxr.generation.edit import read_xray

    return read_xray(path)


def picture(workspace: Workspace, shelf: Shelf, name: str, path: str, side: int) -> bytes:
    """An image as PNG, no side longer than `side` pixels; 0 gives a PNG's own bytes, provenance and all."""
    found = find(workspace, shelf, name, path)
    if side <= 0 and found.suffix.lower() == ".png":
        return found.read_bytes()
    image = read_picture(found)
    height, width = image.shape
    scale = min(1.0, min(side, LARGEST_SIDE) / max(height, width)) if side > 0 else 1.0
    if scale < 1:
        image = resize(image, max(1, round(width * scale)), max(1, round(height * scale)))
    return encode_png(image, compress_level=1)


def provenance(workspace: Workspace, shelf: Shelf, name: str, path: str) -> Json:
    """How a synthetic image was made. Raises SynthCXRError for one that does not say."""
    from synthcxr.generation.provenance import read_provenance

    return read_provenance(find(workspace, shelf, name, path))


def proof(workspace: Workspace, name: str, path: str) -> Json:
    """What was found in an image of a cleaned folder, and where the image lies as it was before.

    `before` is its place in the workspace, or None where it is elsewhere, was changed since, or is gone.
    """
    found = find(workspace, "cleaned", name, path)
    folder = workspace.item("cleaned", name)
    inside = found.relative_to(folder).as_posix()
    rows = (row for row in read_jsonl(folder / "proof.jsonl") if f"{row['split']}/{row['file_name']}" == inside)
    row: Json | None = next(rows, None)
    if row is None:
        raise UsageError("There is no proof of this image.")
    return row | {"before": _before(workspace, folder, row)}


def _before(workspace: Workspace, folder: Path, row: Json) -> str | None:
    """The image that a proof is of, found in the folder that was cleaned by its hash."""
    entry = read_manifest(folder)["inputs"]["images"]
    source = (folder / str(entry.get("path", ""))).resolve()
    address = workspace.address(source)
    if address is None or not source.is_dir():
        return None
    stem = Path(row["file_name"]).stem
    for path in source.rglob(f"{stem}.*"):
        if path.is_file() and path.suffix.lower() in SHOWN and sha256_file(path) == row["source_sha256"]:
            return f"{address}/{path.relative_to(source).as_posix()}"
    return None


def report_page(workspace: Workspace, shelf: Shelf, name: str, path: str) -> tuple[bytes, str]:
    """A page or a table of a folder, and its content type. Raises UsageError for any other kind of file."""
    found = find(workspace, shelf, name, path)
    if found.suffix.lower() not in PAGE_TYPES:
        raise UsageError("There is no such page.")
    return found.read_bytes(), PAGE_TYPES[found.suffix.lower()]


def archive(folder: Path) -> Iterator[bytes]:
    """A zip of all files of a folder, made while it is sent; what is compressed already is stored as it is."""
    import zipfile

    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as packed:
        for file in list_files(folder):
            packed.write(folder / file, Path(folder.name) / file)
            yield pipe.take()
    yield pipe.take()


class _Pipe(RawIOBase):
    """Keeps what zipfile writes until it is sent; it cannot be gone back in, and says so."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: "ReadableBuffer") -> int:
        self._chunks.append(bytes(data))
        return len(self._chunks[-1])

    def take(self) -> bytes:
        """What came in since the last time."""
        data, self._chunks = b"".join(self._chunks), []
        return data
