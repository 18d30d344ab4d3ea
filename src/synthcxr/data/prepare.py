"""The stage `prepare`: from a source of X-rays to a dataset that one may train on.

Workers write each image to `.work/images`, and what came of it to a journal; a stopped run goes on from there. When all
are done the gate compares them with each other, patients get their splits, and the dataset is put together.
"""

from collections.abc import Iterator
from pathlib import Path

from synthcxr.config import PrepareConfig
from synthcxr.data.assemble import Dataset, assemble, write_dataset, write_rejected
from synthcxr.data.convert import Converter, Outcome, begin_worker
from synthcxr.data.gate import parse_skip
from synthcxr.data.gate.looks import concerns
from synthcxr.data.journal import Journal, record_key
from synthcxr.data.naming import LinkBook, Naming, name_source
from synthcxr.data.records import Record, Source, read_picture
from synthcxr.data.reports.tokens import token_counter
from synthcxr.data.sources import read_source
from synthcxr.data.splits import Member, check_leaks, publishers
from synthcxr.devices import describe
from synthcxr.errors import UsageError
from synthcxr.progress import say, track
from synthcxr.report.dataset import write_dataset_report
from synthcxr.store import Json, Output, open_output
from synthcxr.workers import map_in_workers

WORTH_WORKERS = 64
"""Images from which starting worker processes takes less time than it saves."""
LIMIT_SECONDS = 60.0
"""One image takes milliseconds; what takes longer than this hangs."""


def prepare(config: PrepareConfig) -> Path:
    """Write a dataset: grey PNGs in patient-level splits, each with a prompt; the rest to rejected.jsonl.

    Raises UsageError where the call does not fit the source, SynthCXRError where no image could be used or a patient
    or picture is in two splits.
    """
    check_place(config)
    source = read_source(config)
    naming = name_source(config, source)
    skipped = parse_skip(config.skip_checks)
    records = choose(source, naming, config)
    count_tokens = token_counter(config.tokenizer)
    with open_output(
        config.out, "dataset", naming.identity(config), overwrite=config.overwrite, inputs=[config.source_path]
    ) as output:
        links = LinkBook(naming, config)
        if output.finished:
            links.close()
            say(f"{config.out} is already done.")
            return config.out
        converter = Converter(
            source.root, source.read, config, naming, count_tokens, skipped,
            folder=output.scratch / "images", thumbnails=output.scratch / "rejected",
        )  # fmt: skip
        journal = Journal(output.scratch / "journal.jsonl")
        convert_all(converter, records, journal, links)
        dataset = assemble(journal, converter, list(reject_rows(source, converter, links)))
        write_dataset(config, dataset.splits, converter.image_of)
        write_rejected(config.out, dataset.rejected, converter.thumbnails)
        finish(output, config, source, naming, dataset, links)
        links.close()
        return config.out


# --- before any work --------------------------------------------------------------------------------------


def check_place(config: PrepareConfig) -> None:
    """Refuse a dataset inside its own source."""
    folder = config.source_path.parent if config.source_path.is_file() else config.source_path
    if config.out.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"--out {config.out} lies inside the source; choose a folder outside it.")


def choose(source: Source, naming: Naming, config: PrepareConfig) -> list[Record]:
    """The records to convert: each with an output name of its own and, where that is insisted on, a split."""
    official = any(record.split for record in source.records)
    if config.split == "official" and not official:
        raise UsageError("This source states no split of its own. Give --split 60/10/30, or leave it out.")
    if config.stratify and official and config.split == "auto":
        raise UsageError("This source states its own split. Give --split 60/10/30 with --stratify to set it aside.")
    taken: dict[str, str] = {}
    kept = []
    for record in source.records:
        name = naming.output(record.name)
        if name in taken:  # a.jpg and a.png would both be a.png
            reason = f"it would be written as {name}, as {taken[name]} is; rename one of them"
            source.reject(record.name, reason, "same-name")
        elif config.split == "official" and not record.split:
            source.reject(record.name, "the publisher's split does not name it", "no-official-split")
        else:
            taken[name] = record.name
            kept.append(record)
    kept = kept[: config.limit]
    if official and config.split in ("auto", "official"):
        members = [Member(record.name, record.patient_id, "", record.split) for record in kept if record.split]
        check_leaks(members, publishers(members))
    return kept


# --- the work ---------------------------------------------------------------------------------------------


def convert_all(converter: Converter, records: list[Record], journal: Journal, links: LinkBook) -> None:
    """Convert what an earlier call has not; results go to the journal in the order of the records."""
    done = journal.resume((record_key(converter.root, record) for record in records), converter.is_there)
    rest = records[done:]
    workers = converter.config.workers
    if converter.read is read_picture and workers < 2 and len(rest) < WORTH_WORKERS:
        outcomes: Iterator[Outcome] = map(converter, rest)  # PNG and JPEG only: Pillow neither crashes nor hangs
    else:
        outcomes = map_in_workers(
            converter, rest, workers, set_up=begin_worker, lost=converter.lose, limit_seconds=LIMIT_SECONDS
        )
    links.open(anew=done == 0)

    def lines() -> Iterator[Json]:
        shown = track(zip(rest, outcomes, strict=True), "Preparing", len(records), done=done)
        for record, outcome in shown:
            links.add(outcome.links)
            yield {"key": record_key(converter.root, record)} | outcome.entry

    journal.append(lines())


def reject_rows(source: Source, converter: Converter, links: LinkBook) -> Iterator[Json]:
    """The source's own rejected rows and files, as rejected.jsonl names them."""
    for row in source.rejected:
        outcome = converter.refuse(Record(row["file"]), row["rule"], row["reason"])
        links.add(outcome.links)
        yield outcome.entry


# --- the dataset ------------------------------------------------------------------------------------------


def finish(
    output: Output, config: PrepareConfig, source: Source, naming: Naming, dataset: Dataset, links: LinkBook
) -> None:
    """Write the dataset's page and its manifest (numbers, terms, where it came from), and say what happened."""
    counts, notes = dataset.counts, list(source.notes)
    if links.hashes:
        links.write()
        notes.append("Patients, studies and files have keyed hashes for names; the key and the list are elsewhere.")
    notes += concerns(counts["rejected_by_rule"], counts["images"] + counts["rejected"])
    shapes = shape_notes(counts["told_by_shape"])
    notes += shapes
    about: Json = {
        "counts": counts,
        "notes": notes,
        "sources": [terms(source, naming) | {"images": counts["images"]}],
        "preprocessing": preprocessing(config),
    }
    write_dataset_report(config.out, {"config": output.config, **about})
    output.finish(inputs={"source": naming.describe(config)}, environment=describe(), **about)
    splits = ", ".join(f"{split} {count}" for split, count in counts["splits"].items())
    say(f"{counts['images']} images of {counts['patients']} patients ({splits}); {counts['rejected']} rejected.")
    if len(counts["sizes"]) > 1:
        say(f"Width × height: {', '.join(f'{size} {count}' for size, count in counts['sizes'].items())}.")
        for note in shapes:
            say(note)


def shape_notes(told: dict[str, float]) -> list[str]:
    """What to know of findings that the images' shapes tell, by `told_by_shape`."""
    return [
        f"The shape of the image alone tells {finding} from the rest in {max(area, 1 - area):.0%} of pairs. A model "
        "that is trained on these shapes learns that, and sets in these shapes tell it too; --crop center hides it."
        for finding, area in told.items()
    ]


def terms(source: Source, naming: Naming) -> Json:
    """Name, kind and terms of use of a source, as every manifest after it tells them."""
    return {
        "name": naming.source,
        "kind": source.kind,
        "licence": source.licence,
        "restricted": source.restricted,
    }


def preprocessing(config: PrepareConfig) -> str:
    """The rule by which pixels were made, in words that manifests compare."""
    rule = {
        "center": "short side resized, central square",
        "pad": "long side resized, padded to a square",
        "bucket": "resized to cover the bucket of the nearest aspect, centre cropped",
    }[config.crop]
    return f"8-bit grey, {rule}, {config.resolution} px, Lanczos"
