"""Images and texts in Parquet as Hugging Face writes them: a row an image, its file's bytes in a column."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from synthcxr.data.records import Picture, Record, RejectedImageError
from synthcxr.data.sources.files import clean_path
from synthcxr.errors import UsageError
from synthcxr.images import SUFFIXES, read_grey

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

    from synthcxr.config import PrepareConfig

IMAGE_COLUMNS = ("image", "img", "picture", "pixel_values")
BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class Shard:
    """A Parquet file: its column of images, the classes of its columns of labels, the rows of its row groups."""

    image: str
    classes: dict[str, list[str]]
    row_groups: tuple[int, ...]


def open_parquet(path: Path) -> "ParquetFile":
    """Open a Parquet file. Raises UsageError where it is none, or pyarrow is missing."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise UsageError("Parquet needs pyarrow. Install it: pip install pyarrow.") from None
    try:
        return ParquetFile(path, buffer_size=BUFFER_BYTES)
    except (ArrowException, OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as Parquet: {error}.") from error


def describe_shard(path: Path) -> Shard:
    """What a Parquet file holds. `image` is empty where it has no column of images."""
    with open_parquet(path) as file:
        schema, metadata = file.schema_arrow, file.metadata
        sizes = tuple(metadata.row_group(index).num_rows for index in range(metadata.num_row_groups))
        features = _features(schema.metadata or {})
        images = [name for name in schema.names if _holds_images(schema.field(name).type)]
    typed = [name for name in images if features.get(name, {}).get("_type") == "Image"]
    named = [name for name in images if name.lower() in IMAGE_COLUMNS]
    image = next(iter(typed or named or images), "")
    classes = {
        name: [str(label) for label in feature["names"]]
        for name, feature in features.items()
        if feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list)
    }
    return Shard(image, classes, sizes)


def _features(metadata: dict[bytes, bytes]) -> dict[str, dict[str, Any]]:
    """What `datasets` wrote of each column beside the schema."""
    try:
        found = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return {name: feature for name, feature in found.items() if isinstance(feature, dict)}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _holds_images(kind: Any) -> bool:
    from pyarrow import types

    if types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def read_rows(path: Path, without: str = "") -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file one by one, without its column of images. Raises UsageError where it is damaged."""
    with open_parquet(path) as file:
        columns = [name for name in file.schema_arrow.names if name != without]
        if not columns:
            yield from ({} for _ in range(file.metadata.num_rows))
            return
        try:
            for batch in file.iter_batches(batch_size=256, columns=columns, use_threads=False):
                yield from batch.to_pylist()
        except (OSError, ValueError, ArithmeticError) as error:  # pyarrow's own are OSError and ValueError
            raise UsageError(f"{path} is damaged: {error}.") from error


def place_of(shard: str, group: int, row: int) -> str:
    """The name of a record: its shard, its row group and its row in that."""
    return f"{shard}/{group}-{row}"


def read_image(root: Path, record: Record, config: "PrepareConfig") -> Picture:
    """Open an image of a folder, or the one in a row of a Parquet file. Raises as the other readers."""
    shard, _, place = record.name.rpartition("/")
    if record.name.lower().endswith(SUFFIXES):
        return Picture(read_grey(root / record.name), record)
    group, _, row = place.partition("-")
    path = root / shard
    value = _rows_of(path, path.stat().st_mtime_ns, int(group)).value(int(row))
    if isinstance(value, dict):
        name = str(value.get("path") or "")
        if value.get("bytes") is None and name:
            return Picture(read_grey(_beside(path, root, name), record.name), record)
        value = value.get("bytes")
    if not isinstance(value, bytes):
        raise RejectedImageError("missing", "the row holds no image")
    return Picture(read_grey(BytesIO(value), record.name), record)


def _beside(shard: Path, root: Path, name: str) -> Path:
    """The file that a row names instead of holding its bytes."""
    path = shard.parent / PurePosixPath(clean_path(name))
    if not path.resolve().is_relative_to(root.resolve()):
        raise RejectedImageError("path", "the path leads out of the folder")
    return path


class _Rows:
    """The images of one row group, read forward one by one: a group may be larger than memory."""

    def __init__(self, path: Path, group: int) -> None:
        self.file, self.group = open_parquet(path), group
        self.column = describe_shard(path).image
        self.next = 0
        self.values: Iterator[Any] = iter(())

    def value(self, row: int) -> Any:
        """The value in a row. Raises RejectedImageError where the file is damaged there."""
        if row < self.next or self.next == 0:
            self.next, self.values = 0, self._values()
        try:
            while True:
                value = next(self.values)
                self.next += 1
                if self.next > row:
                    return value
        except (StopIteration, OSError, ValueError, ArithmeticError):
            self.next = 0
            raise RejectedImageError("missing", "the Parquet file is damaged in this row") from None

    def _values(self) -> Iterator[Any]:
        batches = self.file.iter_batches(
            batch_size=1, row_groups=[self.group], columns=[self.column], use_threads=False
        )
        for batch in batches:
            yield batch.column(0)[0].as_py()


@lru_cache(maxsize=1)
def _rows_of(path: Path, _: int, group: int) -> _Rows:
    """The row group that was read last. (The second argument is the file's time: a file written anew is read anew.)"""
    return _Rows(path, group)
