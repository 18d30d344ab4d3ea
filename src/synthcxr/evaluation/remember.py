"""Answers are kept by what they were worked out from, so that a second report on the same images takes seconds."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np

from synthcxr.evaluation.answer import Answer, Chart, Question, Sheet, Table
from synthcxr.evaluation.cache import cache_folder
from synthcxr.evaluation.features import FeatureSet
from synthcxr.imagefolder import Row
from synthcxr.progress import say
from synthcxr.store import Json, canonical_json, read_json, sha256_bytes, write_bytes

PACKAGE = Path(__file__).parents[1]

Place = tuple[str, int]
"""A side and a row of it."""


def remembered(
    question: Question,
    sides: Mapping[str, FeatureSet],
    about: Json,
    work: Callable[[], Answer],
    folder: Path | None = None,
) -> Answer:
    """The answer that `work` gives, or gave before for the same images, rows and `about` by the same code.

    It is kept by default beside the cached features, in ``answers/``. Pictures are kept by their place in a side, so
    an answer that shows others is not kept.
    """
    key = sha256_bytes(canonical_json([question, about, code_hash(), {k: describe(v) for k, v in sides.items()}]))
    path = (folder or cache_folder().parent / "answers") / f"{question}-{key[:32]}.json"
    if path.is_file():
        return _decode(read_json(path), sides)
    answer = work()
    places: dict[str, Place] = {
        _name(row): (side, i) for side, each in sides.items() for i, row in enumerate(each.rows) if row
    }
    if any(row and _name(row) not in places for sheet in answer.sheets for row, _ in sheet.images):
        return answer
    kept = _encode(answer, places)
    try:
        write_bytes(path, canonical_json(kept), durable=False)
    except OSError as error:
        say(f"The answer is not kept in {path.parent}: {error.strerror}.")
    return _decode(json.loads(canonical_json(kept)), sides)


def describe(side: FeatureSet) -> str:
    """A hash of all that is known of a side: its images' bytes where they are at hand, its features, its rows."""
    rows = [[row.split, row.text, row.fields, sha256_bytes(row.read_bytes())] if row else None for row in side.rows]
    arrays = [
        sha256_bytes(np.ascontiguousarray(each).tobytes()) for each in (side.features, side.identity, side.patients)
    ]
    words = [side.name, side.labels, side.keys, side.split, side.notes, side.encoder_sha256, side.preprocessing]
    return sha256_bytes(canonical_json([arrays, words, rows]))


@cache
def code_hash() -> str:
    """A hash of this package's code: another version may answer otherwise."""
    return sha256_bytes(b"".join(path.read_bytes() for path in sorted(PACKAGE.rglob("*.py"))))


def _name(row: Row) -> str:
    return str(row.path)


def _encode(answer: Answer, places: Mapping[str, Place]) -> Json:
    sheets = [
        {**asdict(sheet), "images": [[places[_name(row)] if row else None, words] for row, words in sheet.images]}
        for sheet in answer.sheets
    ]
    return {
        "question": answer.question,
        "verdict": answer.verdict,
        "metrics": list(answer.metrics),
        "warnings": list(answer.warnings),
        "tables": [asdict(table) for table in answer.tables],
        "charts": [{**asdict(chart), "svg": str(chart.svg)} for chart in answer.charts],
        "sheets": sheets,
        "files": {name: list(rows) for name, rows in answer.files.items()},
    }


def _decode(kept: Json, sides: Mapping[str, FeatureSet]) -> Answer:
    def row(place: Place | None) -> Row | None:
        return sides[place[0]].rows[place[1]] if place else None

    return Answer(
        question=kept["question"],
        verdict=kept["verdict"],
        metrics=tuple(kept["metrics"]),
        warnings=tuple(kept["warnings"]),
        tables=tuple(
            Table(each["title"], tuple(each["columns"]), tuple(map(tuple, each["rows"])), each["note"])
            for each in kept["tables"]
        ),
        charts=tuple(Chart(**each) for each in kept["charts"]),
        sheets=tuple(
            Sheet(**{**each, "images": tuple((row(place), words) for place, words in each["images"])})
            for each in kept["sheets"]
        ),
        files=kept["files"],
    )
