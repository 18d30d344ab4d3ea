"""Hugging Face image datasets, and the datasets that this tool writes: images with texts, in folders or in Parquet.

    metadata.csv, .jsonl or .parquet           file_name and text (or caption, prompt), beside the images
    train/metadata.jsonl, validation/…         the same, a folder a split
    train/NORMAL/a.png, test/NORMAL/b.png, …   a folder a class; where `auto` shall see it, the same in two splits
    data/train-00000-of-00001.parquet          rows with a column of images (bytes and path) and texts
    dataset.json, train/…                      a dataset of this tool, in any of its forms

Columns patient_id, study_id, age, sex, view and findings are read where they are there, as by `csv`; findings may be a
list; a `label` counts as a finding; `report`, or findings and impression in prose, as a report.
"""

import json
import re
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from synthcxr.config import PrepareConfig
from synthcxr.data.records import Picture, Record, RejectedImageError, Source, read_picture, told_row
from synthcxr.data.sources.files import Files, clean_path, list_files, reject_the_rest
from synthcxr.data.sources.parquet import describe_shard, place_of, read_image, read_rows
from synthcxr.data.sources.tables import (
    EMPTY,
    FORMULA,
    SPLITS,
    TableRow,
    licence_of,
    read_age,
    read_columns,
    read_sex,
    read_table,
    read_view,
    tidy_findings,
    with_options,
)
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.images import SUFFIXES, read_grey
from synthcxr.prompts import Subject

if TYPE_CHECKING:
    from synthcxr.store import Json

TEXTS = ("text", "caption", "prompt")
LABELS = ("label", "labels", "class", "class_name")
REPORT = ("report", "impression")
OTHERS = ("patient_id", "study_id", "age", "age_range", "sex", "view", "findings", *REPORT, *LABELS)
METADATA = re.compile(r"(?:.*/)?metadata\.(?:csv|jsonl|parquet)")
LONGEST_LINE = 4_000_000
MOST_CLASSES = 20


def recognise(path: Path) -> str:
    """A folder with metadata that has texts, with Parquet, or with the same folder a class in every folder a split."""
    if not path.is_dir():
        return ""
    if (path / "dataset.json").is_file():
        return "dataset.json says that it is a dataset of this tool"
    folders = [path, *(path / name for name in SPLITS), path / "data"]
    for folder in folders:
        if found := next((name for name in ("metadata.jsonl", "metadata.parquet") if (folder / name).is_file()), ""):
            return f"{(folder / found).relative_to(path)} lies there"
        if (folder / "metadata.csv").is_file() and _has_texts(folder / "metadata.csv"):
            return f"{(folder / 'metadata.csv').relative_to(path)} has texts and no patients"
        if any(folder.glob("*.parquet")):
            return "Parquet lies there"
    return "every split has the same folders of classes" if _has_class_folders(path) else ""


def _has_class_folders(root: Path) -> bool:
    """Whether folders in folders of splits are surely classes, not patients or studies, whose names nobody may see.

    Two splits or more hold images, all directly in the same 2 to 20 folders, on average 2 images a class or more.
    """
    splits = _folders(root)
    if len(splits) < 2 or any(split.name not in SPLITS for split in splits):
        return False
    names: list[frozenset[str]] = []
    images = 0
    for split in splits:
        folders = _folders(split)
        if len(folders) > MOST_CLASSES or _count_images(split) or any(map(_folders, folders)):
            return False
        counts = {folder.name: count for folder in folders if (count := _count_images(folder))}
        names += [frozenset(counts)] if counts else []
        images += sum(counts.values())
    return len(names) > 1 and len(set(names)) == 1 and len(names[0]) > 1 and images >= 2 * len(names[0])


def _folders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__MACOSX"))]


def _count_images(folder: Path) -> int:
    return sum(path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".") for path in folder.iterdir())


def _has_texts(table: Path) -> bool:
    try:
        columns = set(read_columns(table))
    except UsageError:
        return False
    return "file_name" in columns and bool(columns & set(TEXTS)) and "patient_id" not in columns


def read(config: PrepareConfig) -> Source:
    """The images of the folder, with what metadata, Parquet columns or the names of folders say of them."""
    root = config.source_path
    if not root.is_dir():
        raise UsageError(f"{root} is a file; --source imagefolder needs the folder that holds it.")
    source = Source(root, licence=licence_of(config, "unknown"), read=read_image)
    if (root / "dataset.json").is_file():
        _read_own(source, config)
        return source
    files = list_files(root)
    tables = [name for name in list_files(root, (".csv", ".jsonl", ".parquet")).names if METADATA.fullmatch(name)]
    shards = [name for name in list_files(root, (".parquet",)).names if name not in tables]
    for table in tables:
        _read_metadata(source, config, files, table)
    for shard in shards:
        _read_shard(source, config, shard)
    if not tables and not shards:
        _read_classes(source, config, files)
    if not shards:
        source.read = read_picture
    reject_the_rest(source, files)
    if source.records and not any(record.patient_id != record.name for record in source.records):
        source.notes.append("There is no patient_id: every image counts as its own patient.")
    return source


def split_of_path(name: str) -> str | None:
    """The split that a path names, as `datasets` reads it: a folder ``val``, a file ``test-00000-of-00001.parquet``."""
    words = [word for part in PurePosixPath(name.lower()).parts for word in re.split(r"[^a-z]+", part)]
    return next((SPLITS[word] for word in words if word in SPLITS), None)


# --- rows -------------------------------------------------------------------------------------------------


def _read_metadata(source: Source, config: PrepareConfig, files: Files, table: str) -> None:
    """The rows of one metadata file; its paths are relative to its own folder."""
    folder = PurePosixPath(table).parent
    taken = {record.name for record in source.records}
    for where, values, problem in _metadata_rows(source.root, table):
        written = str(values.get("file_name") or "")
        name = written or where
        try:
            if problem:
                raise ValueError(problem)
            name = files.find(str(folder / clean_path(written)))
            if name in taken:
                raise RejectedImageError("duplicate-row", "a second row for the same image")
            record = read_values(name, values, config, split_of_path(name))
        except RejectedImageError as error:
            source.reject(name, f"{told_row(where)}: {error}", error.rule)
        except ValueError as error:
            source.reject(name, f"{told_row(where)}: {error}")
        else:
            taken.add(name)
            source.records.append(record)


def _metadata_rows(root: Path, table: str) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Rows as (where, values, problem)."""
    path = root / table
    if path.suffix == ".csv":
        rows: Iterator[TableRow] = read_table(
            path, ("file_name",), (*TEXTS, *OTHERS), prose=(*TEXTS, *REPORT, "findings")
        )
        yield from ((row.where, row.cells, row.problem) for row in rows)
    elif path.suffix == ".parquet":
        for number, row in enumerate(read_rows(path), 1):
            yield f"{table}, row {number}", row, ""
    else:
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
            number = 0
            while line := file.readline(LONGEST_LINE):
                number += 1
                if line.strip():
                    yield f"{table}, row {number}", *_parse(line)


def _parse(line: str) -> tuple[Mapping[str, Any], str]:
    try:
        values = json.loads(line)
        line.encode()
    except UnicodeEncodeError:
        return {}, "it is not UTF-8"
    except (ValueError, RecursionError):
        return {}, "it is not JSON"
    return (values, "") if isinstance(values, dict) else ({}, "it is no JSON object")


def _read_shard(source: Source, config: PrepareConfig, name: str) -> None:
    """The rows of one Parquet file."""
    shard = describe_shard(source.root / name)
    if not shard.image:
        source.reject(name, "it has no column of images", "no-images")
        return
    split = split_of_path(name)
    places = [(group, row) for group, rows in enumerate(shard.row_groups) for row in range(rows)]
    for (group, row), values in zip(places, read_rows(source.root / name, without=shard.image), strict=False):
        place = place_of(name, group, row)
        try:
            source.records.append(read_values(place, _with_classes(values, shard.classes), config, split))
        except RejectedImageError as error:
            source.reject(place, str(error), error.rule)
        except ValueError as error:
            source.reject(place, str(error))


def _with_classes(values: dict[str, Any], classes: dict[str, list[str]]) -> dict[str, Any]:
    """Numbers of classes as their names; -1 is none."""
    named = dict(values)
    for column, names in classes.items():
        number = values.get(column)
        if isinstance(number, int):
            named[column] = names[number] if 0 <= number < len(names) else None
    return named


def _read_classes(source: Source, config: PrepareConfig, files: Files) -> None:
    """Every image; the folder that holds it is its class, unless that is a split or the only one."""
    folders = {name: PurePosixPath(name).parent.name for name in files.names}
    classes = {folder for folder in folders.values() if folder and folder.lower() not in SPLITS}
    for name, folder in folders.items():
        label = folder if folder in classes and len(classes) > 1 else ""
        source.records.append(read_values(name, {"label": label}, config, split_of_path(name)))
    if len(classes) > 1:
        source.notes.append(f"Folders count as findings: {', '.join(sorted(classes))[:300]}.")


def read_values(name: str, values: Mapping[str, Any], config: PrepareConfig, split: str | None) -> Record:
    """A record of a row's values, of whatever types. Raises ValueError with the reason, or RejectedImageError."""
    cell = {column: _text(column, values.get(column)) for column in (*TEXTS, *OTHERS)}
    findings, report = _findings_and_report(values, cell)
    subject = Subject(
        age=read_age(cell["age"]),
        age_range=_age_range(values.get("age_range")),
        sex=read_sex(cell["sex"]),
        view=read_view(cell["view"], config),
        findings=findings,
    )
    text = next((cell[column] for column in TEXTS if cell[column]), "")
    record = Record(name, cell["patient_id"] or name, cell["study_id"], subject, text=text, report=report, split=split)
    return with_options(record, config)


def _text(column: str, value: Any) -> str:
    """A value as text. Raises ValueError for what would run in a spreadsheet or cannot be written."""
    if value is None or isinstance(value, list | dict | bytes):
        return ""
    text = str(value).strip()
    if FORMULA.match(text):
        raise ValueError(f"{column} holds a spreadsheet formula, not a value")
    if any("\ud800" <= letter <= "\udfff" or letter == "\0" for letter in text):
        raise ValueError(f"{column} holds characters that no text has")
    return "" if text.lower() in EMPTY and column not in LABELS else text


def _findings_and_report(values: Mapping[str, Any], cell: dict[str, str]) -> tuple[tuple[str, ...], str]:
    """Findings as labels, and the report; findings in prose are a part of the report, as where an impression is."""
    if cell["report"] or cell["impression"]:
        sections = {"FINDINGS": cell["findings"], "IMPRESSION": cell["impression"]}
        report = cell["report"] or "\n".join(f"{name}: {text}" for name, text in sections.items() if text)
        labels: list[str] = []
    else:
        report, labels = "", cell["findings"].split("|")
    for column in ("findings", *LABELS):
        value = values.get(column)
        if isinstance(value, list):
            labels += [_text(column, item) for item in value]
        elif column in LABELS and isinstance(value, str):
            labels += cell[column].split("|")
    return tidy_findings(labels), report


def _age_range(value: Any) -> tuple[int, int] | None:
    if isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(year, int) for year in value):
        return int(value[0]), int(value[1])
    return None


# --- datasets of this tool --------------------------------------------------------------------------------


def _read_own(source: Source, config: PrepareConfig) -> None:
    """Rows, splits, licences and terms of a dataset of this tool; its ids are kept as they are there."""
    from synthcxr.imagefolder import read_rows as read_own_rows
    from synthcxr.store import read_manifest

    manifest = read_manifest(source.root, "dataset")
    source.public_ids, source.read = True, read_own_image
    _inherit(source, manifest, config)
    for row in read_own_rows(source.root):
        name = row.path.relative_to(source.root).as_posix()
        if row.place:
            shard = row.place.shard.relative_to(source.root).as_posix()
            name = place_of(shard, row.place.first, row.place.second)
        try:
            source.records.append(read_values(name, {**row.fields, "text": row.text}, config, row.split))
        except RejectedImageError as error:
            source.reject(name, str(error), error.rule)
        except ValueError as error:
            source.reject(name, str(error))


def _inherit(source: Source, manifest: "Json", config: PrepareConfig) -> None:
    """The licences and the terms of the sources that a dataset was made of."""
    sources = [entry for entry in manifest.get("sources") or [] if isinstance(entry, dict)]
    licences = dict.fromkeys(str(entry.get("licence")) for entry in sources if entry.get("licence"))
    source.licence = licence_of(config, " / ".join(licences) or "unknown")
    source.restricted = any(entry.get("restricted") for entry in sources)


def read_own_image(root: Path, record: Record, config: PrepareConfig) -> Picture:
    """Open an image of a dataset of this tool, in its folder or in its shard."""
    from synthcxr.data.shards import Place

    shard, _, place = record.name.rpartition("/")
    if not shard.endswith((".tar", ".parquet")):
        return read_image(root, record, config)
    first, _, second = place.partition("-")
    try:
        data = Place(root / shard, int(first), int(second)).read()
    except (OSError, ValueError, IndexError, SynthCXRError):
        raise RejectedImageError("missing", "the shard is damaged there") from None
    return Picture(read_grey(BytesIO(data), record.name), record)
