"""Datasets and sets on the disk: Hugging Face image folders, a folder a split, a ``metadata.jsonl`` in each.

Sharded datasets (`synthcxr.data.shards`) are read by the same door: their rows are those of the image folder they
were made as, only that the images lie in the shards.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from synthcxr.data.shards import Place, find_shards, read_shards
from synthcxr.errors import UsageError
from synthcxr.images import Grey, Size, list_images, read_grey
from synthcxr.store import find_manifest, read_jsonl, write_jsonl

SPLITS = ("train", "validation", "test")
METADATA = "metadata.jsonl"


@dataclass(frozen=True)
class Row:
    """One image of a folder: where it lies, its split, its prompt, and every other field of its row.

    `path` is its file, or where its file would be in an image folder if it lies in a shard, at `place`.
    """

    path: Path
    split: str
    text: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    place: Place | None = None

    @property
    def patient(self) -> str:
        """The patient's id; an image without one is its own patient."""
        return str(self.fields.get("patient_id") or self.path.name)

    @property
    def size(self) -> Size | None:
        """Height and width of the image as its row states them; None where it does not, as in older datasets."""
        height, width = self.fields.get("height"), self.fields.get("width")
        return (int(height), int(width)) if height and width else None

    def read(self) -> Grey:
        """The image. Raises UnreadableImageError."""
        return read_grey(BytesIO(self.place.read()), str(self.path)) if self.place else read_grey(self.path)

    def read_bytes(self) -> bytes:
        """The bytes of the image's file. Raises OSError."""
        return self.place.read() if self.place else self.path.read_bytes()


def read_rows(folder: Path, split: str = "all") -> list[Row]:
    """The rows of a dataset, a set, or any folder of images, in the order of their metadata.

    Raises UsageError where the folder is missing, holds no image, or lacks the split.
    """
    if not folder.is_dir():
        raise UsageError(f"The folder {folder} does not exist.")
    rows: list[Row] = []
    present = [name for name in SPLITS if (folder / name / METADATA).is_file() or find_shards(folder / name)]
    for name in present:
        if split in ("all", name):
            rows += _read_split(folder, name)
    if not present:
        if (manifest := find_manifest(folder)) is not None and manifest.stem not in ("dataset", "set"):
            raise UsageError(f"{folder} holds a {manifest.stem}, where a folder of images is needed.")
        rows = [Row(path, "train") for path in list_images(folder)]
    if not rows:
        where = f"split {split!r} of {folder}" if present and split != "all" else str(folder)
        raise UsageError(f"There is no image in {where}.")
    return rows


def _read_split(folder: Path, split: str) -> list[Row]:
    table = folder / split / METADATA
    if table.is_file():
        found: list[tuple[dict[str, Any], Place | None]] = [(fields, None) for fields in read_jsonl(table)]
    else:
        found = [*read_shards(folder / split)]
    rows = []
    for number, (fields, place) in enumerate(found, 1):
        if not fields.get("file_name"):
            raise UsageError(f"{table if place is None else place.shard}, row {number}, has no file_name.")
        rows.append(Row(folder / split / fields["file_name"], split, fields.get("text", ""), fields, place))
    return rows


def remove_strays(folder: Path, split: str, rows: Iterable[dict[str, Any]]) -> None:
    """Remove images of a split that no row names, as an earlier call on other inputs may have left them."""
    named = {row["file_name"] for row in rows}
    for path in list_images(folder / split):
        if path.relative_to(folder / split).as_posix() not in named:
            path.unlink()


def write_rows(folder: Path, split: str, rows: Iterable[dict[str, Any]]) -> None:
    """Write a split's metadata; `file_name` in each row is relative to the split's folder."""
    write_jsonl(folder / split / METADATA, rows)
