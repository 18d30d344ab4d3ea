"""The stage `prepare`: from a source of X-rays to a dataset that one may train on."""

import hashlib
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from synthcxr.config import PrepareConfig
from synthcxr.data.records import Reader, Record, RejectedImageError, Source
from synthcxr.data.sources import read_source
from synthcxr.devices import describe
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.imagefolder import SPLITS, remove_strays, write_rows
from synthcxr.images import UnreadableImageError, to_square, write_png
from synthcxr.progress import say, track
from synthcxr.prompts import write_prompt
from synthcxr.store import Output, describe_input, open_output, write_jsonl
from synthcxr.workers import map_in_workers

WORTH_WORKERS = 64
"""Images from which starting worker processes takes less time than it saves."""


def prepare(config: PrepareConfig) -> Path:
    """Write a dataset: grey square PNGs in patient-level splits, each with a prompt; the rest to rejected.jsonl."""
    source_folder = config.source_path.parent if config.source_path.is_file() else config.source_path
    if config.out.resolve().is_relative_to(source_folder.resolve()):
        raise UsageError(f"--out {config.out} lies inside the source; choose a folder outside it.")
    source = read_source(config)
    records = _with_own_names(source)[: config.limit]
    with open_output(
        config.out, "dataset", config.identity(), overwrite=config.overwrite, inputs=[config.source_path]
    ) as output:
        if output.finished:
            say(f"{config.out} is already done.")
            return config.out
        rows: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
        workers = config.workers or (0 if len(records) >= WORTH_WORKERS else 1)
        results = map_in_workers(partial(_convert, source.root, source.read, config), records, workers)
        for record, result in track(zip(records, results, strict=True), "Preparing", len(records)):
            if isinstance(result, RejectedImageError):
                source.reject(record.name, str(result), result.rule)
            else:
                split = split_of(record.patient_id, config.split_percent())
                rows[split].append(_row(record, result, config))
        if not any(rows.values()):
            raise SynthCXRError(
                f"None of the {len(source.rejected)} images of {config.source_path} could be read; "
                f"the first: {source.rejected[0]['file']}: {source.rejected[0]['reason']}."
            )
        return _finish(output, config, source, rows)


def _finish(output: Output, config: PrepareConfig, source: Source, rows: dict[str, list[dict[str, Any]]]) -> Path:
    for split in SPLITS:
        remove_strays(output.folder, split, rows[split])
        if rows[split]:
            write_rows(output.folder, split, rows[split])
    write_jsonl(output.folder / "rejected.jsonl", source.rejected)
    every = [row for split in SPLITS for row in rows[split]]
    counts: dict[str, Any] = {
        "images": len(every),
        "patients": len({row["patient_id"] for row in every}),
        "rejected": len(source.rejected),
        "splits": {split: len(rows[split]) for split in SPLITS},
        "findings": dict(Counter(finding for row in every for finding in row["findings"]).most_common()),
    }
    splits = ", ".join(f"{split} {count}" for split, count in counts["splits"].items())
    say(f"{counts['images']} images of {counts['patients']} patients ({splits}); {counts['rejected']} rejected.")
    return output.finish(
        inputs={"source": describe_input(config.source_path, config.out)},
        counts=counts,
        environment=describe(),
        notes=source.notes,
        sources=[{"name": source_name(config), "licence": config.licence, "images": len(every)}],
        preprocessing=preprocessing(config),
    )


def split_of(patient_id: str, percent: tuple[int, int, int]) -> str:
    """The split of a patient, by the first 8 bytes of SHA-256 of the id: it stays when images are added."""
    position = int.from_bytes(hashlib.sha256(patient_id.encode()).digest()[:8]) / 2**64 * 100
    train, validation, _ = percent
    return "train" if position < train else "validation" if position < train + validation else "test"


def preprocessing(config: PrepareConfig) -> str:
    """The rule by which pixels were made, in words that manifests compare."""
    rule = {"center": "short side resized, central square", "pad": "long side resized, padded to a square"}[config.crop]
    return f"8-bit grey, {rule}, {config.resolution} px, Lanczos"


def source_name(config: PrepareConfig) -> str:
    """The name of a source in rows and reports."""
    path = config.source_path.resolve()
    return config.name or (path.parent if path.is_file() else path).name


def _row(record: Record, size: tuple[int, int], config: PrepareConfig) -> dict[str, Any]:
    subject = record.subject
    return {
        "file_name": output_name(record.name),
        "text": record.text or write_prompt(subject),
        "patient_id": record.patient_id,
        "age": subject.age,
        "age_range": list(subject.age_range) if subject.age_range else None,
        "sex": subject.sex,
        "view": subject.view,
        "findings": list(subject.findings),
        "source": source_name(config),
        "source_file": record.name,
        "source_width": size[0],
        "source_height": size[1],
    }


def output_name(name: str) -> str:
    """A flat PNG file name for a path inside the source."""
    return Path(name).with_suffix(".png").as_posix().removeprefix("images/").replace("/", "__")


def _with_own_names(source: Source) -> list[Record]:
    """The records whose file name no earlier one takes (a.jpg and a.png would both be a.png); others are rejected."""
    taken: dict[str, str] = {}
    kept = []
    for record in source.records:
        name = output_name(record.name)
        if name in taken:
            source.reject(record.name, f"it would be written as {name}, as {taken[name]} is; rename one of them")
        else:
            taken[name] = record.name
            kept.append(record)
    return kept


def _convert(root: Path, read: Reader, config: PrepareConfig, record: Record) -> tuple[int, int] | RejectedImageError:
    """Write one image; give its original (width, height), or why it is left out."""
    target = config.out / split_of(record.patient_id, config.split_percent()) / output_name(record.name)
    try:
        image = read(root, record, config).image
    except RejectedImageError as error:
        return error
    except UnreadableImageError as error:
        return RejectedImageError("unreadable", str(error))
    write_png(target, to_square(image, config.resolution, config.crop))
    return image.shape[1], image.shape[0]
