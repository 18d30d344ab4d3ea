"""A dataset's rows and images in a few large files: WebDataset tars, Parquet; and how they are read back one by one.

train/ validation/ test/
    train-00000.tar        of each image KEY.png, KEY.json (its row) and KEY.txt (its prompt), as WebDataset has it
    train-00000.parquet    a column `image` as Hugging Face has it (bytes and path), and a column a field of the rows
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthcxr.errors import SynthCXRError
from synthcxr.store import Json, atomic_writer, write_bytes, write_jsonl

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

SHARD_BYTES = 256 * 2**20
"""A shard is closed when its images have so many bytes."""
ROW_GROUP = 32
"""Images that a reader of Parquet has to fetch for one of them."""

END_OF_TAR = 1024
"""Zero bytes at the end of every tar; without them it was cut off, and may have been between two members."""

Read = Callable[[str, Json], bytes]
"""The PNG of a split's row."""
Writer = Callable[[Path, Mapping[str, Iterable[Json]], Read], None]
"""Writes the rows of each split below a folder. The rows are gone through more than once."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an image lies in a shard: its first byte and its length in a tar; its row group and row in a Parquet."""

    shard: Path
    first: int
    second: int

    def read(self) -> bytes:
        """The bytes of the image's file."""
        if self.shard.suffix == ".parquet":
            stamp = self.shard.stat().st_mtime_ns
            return bytes(_images_of_group(self.shard, stamp, self.first)[self.second].as_py())
        with self.shard.open("rb") as file:
            file.seek(self.first)
            return file.read(self.second)


# --- writing ----------------------------------------------------------------------------------------------


def write_imagefolder(folder: Path, splits: Mapping[str, Iterable[Json]], read: Read) -> None:
    """A file an image, and a metadata.jsonl a split."""
    for split, rows in splits.items():
        empty = True
        for row in rows:
            write_bytes(folder / split / row["file_name"], read(split, row))
            empty = False
        if not empty:
            write_jsonl(folder / split / "metadata.jsonl", rows)


def write_webdataset(
    folder: Path, splits: Mapping[str, Iterable[Json]], read: Read, shard_bytes: int = SHARD_BYTES
) -> None:
    """Plain tars without times or owners, so that the same dataset gives the same bytes."""
    import tarfile

    for split, rows in splits.items():
        samples, shards = _telling_first(rows), 0
        sample = next(samples, None)
        while sample is not None:
            written = 0
            with (
                atomic_writer(folder / split / _shard_name(split, shards, "tar")) as file,
                tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar,
            ):
                while sample is not None and written < shard_bytes:
                    index, row = sample
                    image = read(split, row)
                    for suffix, data in (("png", image), ("json", _encode(row)), ("txt", row.get("text", "").encode())):
                        member = tarfile.TarInfo(f"{index:09d}.{suffix}")
                        member.size = len(data)
                        tar.addfile(member, BytesIO(data))
                    written += len(image)
                    sample = next(samples, None)
            shards += 1
        _remove_others(folder / split, split, shards, "tar")


def _telling_first(rows: Iterable[Json]) -> Iterator[tuple[int, Json]]:
    """Rows with their numbers: first a few that between them have every field filled, then the others in order.

    `datasets` takes the types of all rows from five: the first of the last split. A field that is empty there must be
    empty everywhere.
    """
    examples: dict[frozenset[str], int] = {}
    for number, row in enumerate(rows):
        examples.setdefault(frozenset(name for name, value in row.items() if value not in (None, [])), number)
    filled, first = set[str](), set[int]()
    while (best := max(examples, key=lambda fields: len(fields - filled), default=frozenset[str]())) - filled:
        filled |= best
        first.add(examples[best])
    yield from ((number, row) for number, row in enumerate(rows) if number in first)
    yield from ((number, row) for number, row in enumerate(rows) if number not in first)


def _encode(row: Json) -> bytes:
    return json.dumps(row, ensure_ascii=False, allow_nan=False).encode()


def write_parquet(
    folder: Path, splits: Mapping[str, Iterable[Json]], read: Read, shard_bytes: int = SHARD_BYTES
) -> None:
    """Parquet with Hugging Face's image column; the PNGs in it are not compressed again."""
    schema = _schema(row for rows in splits.values() for row in rows)
    for split, rows in splits.items():
        groups, shards = _groups(split, rows, read), 0
        group = next(groups, None)
        while group is not None:
            written = 0
            with (
                atomic_writer(folder / split / _shard_name(split, shards, "parquet")) as file,
                _parquet_writer(file, schema) as writer,
            ):
                while group is not None and written < shard_bytes:
                    writer.write_table(_table(group, schema))
                    written += sum(len(image) for _, image in group)
                    group = next(groups, None)
            shards += 1
        _remove_others(folder / split, split, shards, "parquet")


WRITERS: dict[str, Writer] = {
    "imagefolder": write_imagefolder,
    "webdataset": write_webdataset,
    "parquet": write_parquet,
}
"""The forms of a dataset by their name in `prepare --format` and `export --to`."""


def _shard_name(split: str, number: int, suffix: str) -> str:
    return f"{split}-{number:05d}.{suffix}"


def _remove_others(folder: Path, split: str, count: int, suffix: str) -> None:
    """Shards beyond those just written are of an earlier call on other inputs."""
    names = {_shard_name(split, number, suffix) for number in range(count)}
    for path in folder.glob(f"{split}-*.{suffix}"):
        if path.name not in names:
            path.unlink()


def _groups(split: str, rows: Iterable[Json], read: Read) -> Iterator[list[tuple[Json, bytes]]]:
    group: list[tuple[Json, bytes]] = []
    for row in rows:
        group.append((row, read(split, row)))
        if len(group) == ROW_GROUP:
            yield group
            group = []
    if group:
        yield group


def _schema(rows: Iterable[Json]) -> "pyarrow.Schema":
    """The type of every field over all rows, and the image column as `datasets` knows it."""
    import pyarrow as pa

    types: dict[str, Any] = {}
    for row in rows:
        for name, value in row.items():
            types[name] = _wider(name, types.get(name, pa.null()), pa.infer_type([value]))
    fields = [pa.field(name, _settled(kind)) for name, kind in types.items()]
    image = pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    features = {"info": {"features": {"image": {"_type": "Image"}}}}
    return pa.schema([image, *fields], metadata={"huggingface": json.dumps(features)})


def _wider(name: str, one: Any, other: Any) -> Any:
    """The type that holds the values of both."""
    import pyarrow as pa

    if one == other:
        return one
    try:
        schemas = [pa.schema([("value", one)]), pa.schema([("value", other)])]
        return pa.unify_schemas(schemas, promote_options="permissive").field("value").type
    except pa.ArrowTypeError as error:
        raise SynthCXRError(f"The field {name} is of two kinds in different rows, {one} and {other}.") from error


def _settled(kind: Any) -> Any:
    """A field that is empty in every row counts as text."""
    import pyarrow as pa

    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_list(kind) and pa.types.is_null(kind.value_type):
        return pa.list_(pa.string())
    return kind


def _parquet_writer(file: Any, schema: "pyarrow.Schema") -> "pyarrow.parquet.ParquetWriter":
    from pyarrow.parquet import ParquetWriter

    plain = [field.name for field in schema if field.name != "image"]
    return ParquetWriter(
        file,
        schema,
        compression={"image.bytes": "NONE", "image.path": "ZSTD"} | dict.fromkeys(plain, "ZSTD"),
        use_dictionary=False,
        write_statistics=False,
    )


def _table(group: list[tuple[Json, bytes]], schema: "pyarrow.Schema") -> "pyarrow.Table":
    import pyarrow as pa

    rows = [{"image": {"bytes": image, "path": row["file_name"]}, **row} for row, image in group]
    return pa.Table.from_pylist(rows, schema=schema)


# --- reading back -----------------------------------------------------------------------------------------


def find_shards(folder: Path) -> list[Path]:
    """The shards of a split's folder, in their order; empty where it is an image folder."""
    return sorted(path for path in folder.glob("*-?????.*") if path.suffix in (".tar", ".parquet"))


def read_shards(folder: Path) -> list[tuple[Json, Place]]:
    """The rows of a split in their order, and where their images lie; no image is read.

    Raises SynthCXRError for a damaged shard.
    """
    samples = [sample for shard in find_shards(folder) for sample in _read_shard(shard)]
    samples.sort(key=lambda sample: sample[0])
    return [(row, place) for _, row, place in samples]


def _read_shard(shard: Path) -> Iterator[tuple[tuple[str, str], Json, Place]]:
    """Samples of a shard, each with what to sort by: in a tar the sample's number, else its place."""
    try:
        if shard.suffix == ".parquet":
            for number, (row, place) in enumerate(_read_parquet(shard)):
                yield (shard.name, f"{number:09d}"), row, place
        else:
            for name, row, place in _read_tar(shard):
                yield (name, ""), row, place
    except (OSError, ValueError, KeyError) as error:  # of tarfile, json and pyarrow, all of them
        raise SynthCXRError(f"{shard} cannot be read: {error}. Make the dataset again, or restore the file.") from error


def _read_tar(shard: Path) -> Iterator[tuple[str, Json, Place]]:
    import tarfile

    with shard.open("rb") as file:
        file.seek(-min(END_OF_TAR, shard.stat().st_size), os.SEEK_END)
        if file.read() != bytes(END_OF_TAR):
            raise ValueError("its end is missing")
    try:
        with tarfile.open(shard, "r:") as tar:
            place = None
            for member in tar:
                if member.name.endswith(".png"):
                    place = Place(shard, member.offset_data, member.size)
                elif member.name.endswith(".json") and place and (data := tar.extractfile(member)):
                    yield member.name, json.loads(data.read()), place
                tar.members = []  # type: ignore[attr-defined]  # it would keep all that it has seen
    except tarfile.TarError as error:
        raise ValueError(str(error)) from error


def _read_parquet(shard: Path) -> Iterator[tuple[Json, Place]]:
    from pyarrow.parquet import ParquetFile

    with ParquetFile(shard) as file:
        fields = [name for name in file.schema_arrow.names if name != "image"]
        for group in range(file.num_row_groups):
            for index, row in enumerate(file.read_row_group(group, columns=fields).to_pylist()):
                yield row, Place(shard, group, index)


@lru_cache(maxsize=4)
def _images_of_group(shard: Path, _: int, group: int) -> Any:
    """The PNGs of a row group. (The second argument is the file's time: a file written anew is read anew.)"""
    from pyarrow.parquet import ParquetFile

    with ParquetFile(shard) as file:
        table = file.read_row_group(group, columns=["image.bytes"])
    return table["image"].combine_chunks().field("bytes")
