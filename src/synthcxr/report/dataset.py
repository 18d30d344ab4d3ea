"""The dataset's page: who and what is in it, samples, and everything that was left out and why. One file."""

import base64
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from markupsafe import Markup

from synthcxr import __version__
from synthcxr.data.gate import CHECKS
from synthcxr.errors import SynthCXRError
from synthcxr.imagefolder import SPLITS, Row
from synthcxr.images import UnreadableImageError
from synthcxr.report.charts import histograms
from synthcxr.report.html import PAGE, Figure, data_address
from synthcxr.report.survey import Survey, survey
from synthcxr.store import Json, read_jsonl, read_manifest, write_bytes

SAMPLES, PROMPTS, THUMBNAILS, PAIRS = 24, 8, 12, 12
"""Samples, prompts, thumbnails a rule, and pairs of near-duplicates that the page shows."""
REJECTED = "rejected"
"""The folder of the thumbnails of what was left out."""
SIDE = 128
"""Pixels of a sample on the page."""
OTHER_RULES = {
    "row": "the row of the table cannot be used",
    "unreadable": "the file cannot be read as an image",
    "hung": "reading the file did not come to an end",
    "crashed": "reading the file ended the process that did it",
    "same-name": "another image is written under the same name",
    "no-official-split": "the publisher's split does not name the image",
    "burned-in-text": "text is burned in that is no side or view marker",
}
"""Rules that are no part of the gate, in a line; others speak by their reasons."""


def write_dataset_report(folder: Path, manifest: Json | None = None) -> Path:
    """Write ``index.html`` into a dataset's folder, from its rows, ``rejected.jsonl`` and the thumbnails beside it.

    `manifest` has what the dataset's manifest will say (``config, counts, sources, notes``); without it the manifest
    that is there is read, so that the page can be made anew. Names of source files are shown only as the rows have
    them: keyed hashes where the dataset is de-identified.
    """
    told = manifest if manifest is not None else read_manifest(folder, "dataset")
    path = folder / PAGE
    write_bytes(path, render(folder, told).encode())
    return path


def render(folder: Path, manifest: Json) -> str:
    """The page as text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    listed = folder / "rejected.jsonl"
    rejected = read_jsonl(listed) if listed.is_file() else []
    pairs = [row for row in rejected if row.get("duplicate_of")][:PAIRS]
    found = survey(folder, (row["duplicate_of"] for row in pairs))
    samples = found.samples()
    environment = Environment(loader=PackageLoader("synthcxr.report", ""), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("dataset.html.jinja").render(
        version=__version__,
        name=folder.resolve().name,
        manifest={"config": {}, "sources": [], "notes": [], "counts": {}, "preprocessing": "", **manifest},
        verdict=verdict(found, len(rejected)),
        splits=[split_row(found, split) for split in SPLITS if found.images[split]],
        tables=[table(found, name) for name in ("findings", "view", "sex", "source")],
        ages=age_chart(found),
        without_age=dict(found.without_age.most_common()),
        samples=[picture(row, row.text) for row in samples[:SAMPLES]],
        prompts=prompt_examples(samples, manifest),
        rules=rejected_rules(folder, rejected),
        rejected=len(rejected),
        pairs=[pair(folder, row, found) for row in pairs],
        duplicates=sum(bool(row.get("duplicate_of")) for row in rejected),
        warned=found.warned,
        warnings=[picture(row, row.fields["warnings"]) for row in found.warnings],
        burned_in=found.burned_in,
    )


def verdict(found: Survey, rejected: int) -> str:
    """The dataset in a sentence."""
    images, patients = found.images.total(), len(set().union(*found.patients.values()))
    return (
        f"{images:,} image{'s' * (images != 1)} of {patients:,} patient{'s' * (patients != 1)}; "
        f"{rejected:,} left out ({rejected / max(1, images + rejected):.1%} of what was there)."
    )


def split_row(found: Survey, split: str) -> Json:
    """A split in numbers."""
    ages = found.ages[split]
    return {
        "name": split,
        "images": found.images[split],
        "patients": len(found.patients[split]),
        "share": found.images[split] / found.images.total(),
        "ages": f"{min(ages)} to {max(ages)}, median {median(ages):.0f} (N = {len(ages):,})" if ages else "–",
    }


def table(found: Survey, name: str) -> Json:
    """How often each value of a field occurs, in all and by split, the commonest first; shares are of the images."""
    counters = found.values[name]
    splits = [split for split in SPLITS if found.images[split]]
    total: Counter[str] = sum((counters[split] for split in splits), Counter())
    rows = [
        {
            "value": value,
            "count": count,
            "share": count / found.images.total(),
            "splits": [(counters[split][value], counters[split][value] / found.images[split]) for split in splits],
        }
        for value, count in total.most_common()
    ]
    return {"name": name, "splits": splits, "rows": rows}


def age_chart(found: Survey) -> Markup:
    """Histograms of the stated ages by split; empty where none is stated."""
    ages = {split: found.ages[split] for split in SPLITS if found.ages[split]}
    return histograms(ages, None, "age in years, share of the split's images") if ages else Markup("")


def picture(row: Row, caption: str, size: int = SIDE) -> Figure:
    """An image of the dataset on the page; an unreadable one says so."""
    try:
        return Figure(data_address(row.read(), size), caption)
    except (UnreadableImageError, OSError) as error:
        return Figure("", f"{row.path.name} cannot be read: {type(error).__name__}")


def prompt_examples(samples: Sequence[Row], manifest: Json) -> Json:
    """Some prompts with their tokens, and how many tokens prompts have."""
    from synthcxr.data.reports.tokens import token_counter

    try:
        counter = token_counter(manifest.get("config", {}).get("tokenizer", "bundled"))
    except SynthCXRError as error:  # a page without token counts is better than none
        return {"shown": [(row.text, None) for row in samples[:PROMPTS]], "chart": "", "limit": None, "why": str(error)}
    lengths = [counter(row.text) for row in samples]
    return {
        "shown": [(row.text, length) for row, length in zip(samples[:PROMPTS], lengths, strict=False)],
        "chart": histograms({"prompts": lengths}, counter.limit, "tokens of a prompt") if lengths else "",
        "counted": len(lengths),
        "known": manifest.get("counts", {}).get("prompt_tokens"),
        "limit": counter.limit,
    }


def rejected_rules(folder: Path, rejected: list[Json]) -> list[Json]:
    """By rule, the commonest first: how many images broke it, and thumbnails of the first of them."""
    counts = Counter(row.get("rule", "row") for row in rejected)
    return [
        {
            "name": rule,
            "meaning": CHECKS.get(rule) or OTHER_RULES.get(rule, ""),
            "count": count,
            "shown": [
                Figure(thumbnail_address(folder, row), f"{row['file']}: {row['reason']}")
                for row in [row for row in rejected if row.get("rule", "row") == rule][:THUMBNAILS]
            ],
        }
        for rule, count in counts.most_common()
    ]


def thumbnail_address(folder: Path, row: Json) -> str:
    """The data address of a rejected image's thumbnail; empty where there is none."""
    path = folder / REJECTED / Path(str(row.get("thumbnail", ""))).name
    if not row.get("thumbnail") or not path.is_file():
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(path.read_bytes()).decode()


def pair(folder: Path, row: Json, found: Survey) -> dict[str, Any]:
    """A near-duplicate and the image that was kept."""
    kept = found.named.get(row["duplicate_of"])
    return {
        "kept": picture(kept, f"kept: {row['duplicate_of']}") if kept else Figure("", f"kept: {row['duplicate_of']}"),
        "left_out": Figure(thumbnail_address(folder, row), f"left out: {row['file']}"),
        "words": row["reason"],
    }
