"""What a question about a set comes to: a verdict in a sentence, figures, and what to look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from synthcxr.imagefolder import Row
from synthcxr.store import Json

Question = Literal["realism", "faithfulness", "usefulness", "privacy", "artifacts", "anatomy", "fairness", "comparison"]
"""The questions of a report, in its order; a comparison is a report of its own."""


@dataclass(frozen=True)
class Table:
    """A table of the report: cells are text or numbers (None for a figure that is not there)."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | int | None, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Chart:
    """A picture made of data: `svg` is inline markup that works in light and dark."""

    title: str
    svg: str
    caption: str = ""


@dataclass(frozen=True)
class Sheet:
    """Images side by side with a caption each; a row is None where pixels are not at hand.

    `per_line` images belong together (1: a sheet of single images; 2: pairs).
    """

    title: str
    images: tuple[tuple[Row | None, str], ...]
    per_line: int = 1
    note: str = ""


@dataclass(frozen=True)
class Answer:
    """What one question came to.

    `verdict` is a sentence for a reader in a hurry, with its figures and interval. `metrics` are entries of
    ``report.json`` (see `measure.metric`). `warnings` are sentences. `files` are rows to keep beside the report, by
    file name (``privacy.jsonl``). Where nothing can be said, `verdict` says why and `metrics` carry a `reason`.
    """

    question: Question
    verdict: str
    metrics: tuple[Json, ...] = ()
    warnings: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    sheets: tuple[Sheet, ...] = ()
    files: Mapping[str, Sequence[Json]] = field(default_factory=dict)
