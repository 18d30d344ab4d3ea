"""From the journal to the dataset: images compared with each other, patients put into splits, everything written."""

import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from synthcxr.buckets import spell
from synthcxr.config import PrepareConfig
from synthcxr.data.convert import OPTIONAL, Converter
from synthcxr.data.journal import Journal
from synthcxr.data.shards import WRITERS
from synthcxr.data.splits import Member, check_leaks, publishers, stratified
from synthcxr.data.verdicts import Candidates, judge_all
from synthcxr.errors import SynthCXRError
from synthcxr.imagefolder import METADATA, SPLITS, remove_strays, write_rows
from synthcxr.images import Size, read_grey
from synthcxr.prompts import Subject
from synthcxr.store import Json, write_bytes, write_jsonl

REJECTED = "rejected"
THUMBNAILS = 24
"""Pictures that are kept of what was left out by one rule."""
TELLING, FEWEST = 0.6, 20
"""Share of pairs from which on a shape tells a finding, and images of either kind that it takes to say so."""


@dataclass
class Survey:
    """What is kept in memory of each converted image, in the order of the journal, and of each rejected one."""

    members: list[Member] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    fingerprints: list[str] = field(default_factory=list)
    rejected: list[Json] = field(default_factory=list)
    optional: set[str] = field(default_factory=set)
    """Optional fields that some image has."""


@dataclass(frozen=True)
class Rows:
    """The rows of one split, read from the journal each time that they are gone through."""

    journal: Journal
    homes: Sequence[str | None]
    split: str
    warnings: dict[int, str]
    optional: set[str]

    def __iter__(self) -> Iterator[Json]:
        unused = set(OPTIONAL) - self.optional
        for position, entry in enumerate(converted(self.journal)):
            if self.homes[position] == self.split:
                row = {name: value for name, value in entry["row"].items() if name not in unused}
                yield row | ({"warnings": self.warnings.get(position, "")} if self.warnings else {})


def converted(journal: Journal) -> Iterator[Json]:
    """The entries of the images that were converted."""
    return (entry for entry in journal if "row" in entry)


def survey(journal: Journal) -> Survey:
    """Go through the journal once."""
    found = Survey()
    for entry in journal:
        row = entry.get("row")
        if row is None:
            found.rejected.append({name: value for name, value in entry.items() if name != "key"})
            continue
        found.members.append(Member(row["file_name"], row["patient_id"], entry["split"], row["official_split"] or None))
        found.files.append(row["source_file"])
        found.fingerprints.append(entry["fingerprint"])
        found.optional |= {name for name in OPTIONAL if row[name] not in (None, "")}
    return found


@dataclass(frozen=True)
class Dataset:
    """A dataset before it is written: its rows by split, the rejected ones in their order, and its numbers."""

    splits: dict[str, Rows]
    rejected: list[Json]
    counts: Json


def assemble(journal: Journal, converter: Converter, rejected: list[Json]) -> Dataset:
    """Compare the images with each other, give every patient a split, and check that none is on two sides.

    `rejected` are the rows that were left out before any image was opened. Raises SynthCXRError where nothing is left,
    and for a leak.
    """
    config, found = converter.config, survey(journal)
    members = found.members
    candidates = Candidates(
        [member.name for member in members],
        found.files,
        [member.patient for member in members],
        found.fingerprints,
        read=lambda position: read_grey(converter.image_of(members[position].name)),
        subjects=lambda: (Subject.from_fields(entry["row"]) for entry in converted(journal)),
    )
    verdicts = judge_all(candidates, converter.skipped)
    dropped = [
        converter.with_thumbnail(row, members[position].name, candidates.read(position))
        for position, row in sorted(verdicts.dropped.items())
    ]
    rejected = [*rejected, *found.rejected, *dropped]
    kept = {position for position in range(len(members)) if position not in verdicts.dropped}
    if not kept:
        write_jsonl(config.out / "rejected.jsonl", rejected)
        rules = Counter(row["rule"] for row in rejected).most_common(5)
        raise SynthCXRError(
            f"None of the {len(rejected)} images of {config.source_path} could be used "
            f"({', '.join(f'{rule} {count}' for rule, count in rules)}). The first: {rejected[0]['reason']}. "
            f"{config.out / 'rejected.jsonl'} has the reasons of all; --skip-checks RULE leaves a rule out."
        )
    homes = choose_splits(config, members, journal, kept)
    settled = [home if position in kept else None for position, home in enumerate(homes)]
    check_leaks(members, settled, verdicts.twins)
    splits = {split: Rows(journal, settled, split, verdicts.warnings, found.optional) for split in SPLITS}
    tokens = [entry["tokens"] for position, entry in enumerate(converted(journal)) if position in kept]
    return Dataset(splits, rejected, count(splits, rejected, tokens))


def choose_splits(config: PrepareConfig, members: Sequence[Member], journal: Journal, kept: set[int]) -> list[str]:
    """The split of every image, as the config asks."""
    if config.stratify:
        rows = (entry["row"] for position, entry in enumerate(converted(journal)) if position in kept)
        homes = stratified(rows, config.strata(), config.split_percent())
        return [homes.get(member.patient, member.hashed) for member in members]
    if config.split in ("auto", "official"):
        return publishers(members)
    return [member.hashed for member in members]


def write_rejected(folder: Path, rejected: Sequence[Json], thumbnails: Path) -> None:
    """Write rejected.jsonl, and a few small pictures of what was left out by each rule."""
    shutil.rmtree(folder / REJECTED, ignore_errors=True)
    shown: Counter[str] = Counter()

    def rows() -> Iterator[Json]:
        for row in rejected:
            if "thumbnail" not in row:
                yield row
            elif shown[row["rule"]] < THUMBNAILS:
                shown[row["rule"]] += 1
                write_bytes(folder / REJECTED / row["thumbnail"], (thumbnails / row["thumbnail"]).read_bytes())
                yield row
            else:
                yield {name: value for name, value in row.items() if name != "thumbnail"}

    write_jsonl(folder / f"{REJECTED}.jsonl", rows())


def write_dataset(config: PrepareConfig, splits: dict[str, Rows], image_of: Callable[[str], Path]) -> None:
    """Write rows and images in the form that the config asks for; what an earlier call left over goes."""
    if config.format != "imagefolder":
        WRITERS[config.format](config.out, splits, lambda _, row: image_of(row["file_name"]).read_bytes())
        return
    for split, rows in splits.items():
        names = [row["file_name"] for row in rows]
        for name in names:
            image, target = image_of(name), config.out / split / name
            if image != target:
                target.parent.mkdir(exist_ok=True)
                image.replace(target)
        if names:
            write_rows(config.out, split, rows)
    for split, rows in splits.items():  # only now: a patient may have moved from one to another
        remove_strays(config.out, split, rows)
        if not any(True for _ in rows):
            (config.out / split / METADATA).unlink(missing_ok=True)


def told_by_shape(shapes: Mapping[str, Counter[Size]]) -> dict[str, float]:
    """How well width over height alone tells each finding (AUC), where it does so in `TELLING` of pairs or more.

    `shapes` are the sizes of the images with each finding, under "" of all that state any.
    """
    from sklearn.metrics import roc_auc_score

    every, found = shapes[""], {}
    widths = [size[1] / size[0] for size in every]
    for finding in shapes.keys() - {""}:
        having = [shapes[finding][size] for size in every]
        others = [every[size] - count for size, count in zip(every, having, strict=True)]
        if min(sum(having), sum(others)) >= FEWEST:
            truth = [1] * len(every) + [0] * len(every)
            area = float(roc_auc_score(truth, widths * 2, sample_weight=[*having, *others]))
            if max(area, 1 - area) >= TELLING:
                found[finding] = round(area, 3)
    return dict(sorted(found.items()))


def count(splits: dict[str, Rows], rejected: Iterable[Json], tokens: Sequence[int]) -> Json:
    """What the manifest says of the dataset in numbers."""
    patients: dict[str, set[str]] = {split: set() for split in SPLITS}
    images: Counter[str] = Counter()
    sizes: Counter[Size] = Counter()
    shapes: dict[str, Counter[Size]] = defaultdict(Counter)
    fields: dict[str, Counter[str]] = {name: Counter() for name in ("findings", "sex", "view", "warnings")}
    for split, rows in splits.items():
        for row in rows:
            images[split] += 1
            sizes[size := (row["height"], row["width"])] += 1
            for finding in row["findings"]:
                shapes[finding][size] += 1
            shapes[""][size] += bool(row["findings"])
            patients[split].add(row["patient_id"])
            fields["findings"].update(row["findings"])
            if warning := row.get("warnings"):
                fields["warnings"][warning.split(" (")[0]] += 1  # without the figure in parentheses
            for name in ("sex", "view"):
                fields[name][row[name] or "unknown"] += 1
    rules = Counter(row["rule"] for row in rejected)
    return {
        "images": images.total(),
        "patients": len(set().union(*patients.values())),
        "rejected": rules.total(),
        "rejected_by_rule": dict(rules.most_common()),
        "splits": {split: images[split] for split in SPLITS},
        "sizes": {spell(size): count for size, count in sizes.most_common()},
        "told_by_shape": told_by_shape(shapes),
        "patients_by_split": {split: len(patients[split]) for split in SPLITS},
        **{name: dict(counter.most_common()) for name, counter in fields.items()},
        "prompt_tokens": {"fewest": min(tokens), "median": median(tokens), "most": max(tokens)},
    }
