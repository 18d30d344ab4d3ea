"""One pass over a dataset's rows: everything that its page counts, and the few rows that it shows."""

import heapq
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from synthcxr.data.shards import find_shards, read_shards
from synthcxr.errors import SynthCXRError
from synthcxr.imagefolder import METADATA, SPLITS, Row
from synthcxr.seeds import seed_for

MEASURED_PROMPTS = 2000
"""Prompts that are kept, to show some of them and to count the tokens of all of them."""
WARNED = 24
"""Images with a warning that are kept."""
FIELDS = ("sex", "view", "findings", "source")


@dataclass
class Survey:
    """What a pass over the rows leaves in memory, which does not grow with the images but for ages and patients.

    `images`, `patients`, `ages` (years) and the counters of `values` by field are by split. `without_age` counts the
    rows that state a range or nothing. `burned_in` is None where nobody looked. `named` are rows that were asked for.
    """

    images: Counter[str] = field(default_factory=Counter)
    patients: dict[str, set[str]] = field(default_factory=lambda: {split: set() for split in SPLITS})
    ages: dict[str, list[int]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    without_age: Counter[str] = field(default_factory=Counter)
    values: dict[str, dict[str, Counter[str]]] = field(
        default_factory=lambda: {name: {split: Counter() for split in SPLITS} for name in FIELDS}
    )
    burned_in: int | None = None
    warned: int = 0
    warnings: list[Row] = field(default_factory=list)
    named: dict[str, Row] = field(default_factory=dict)
    _first: list[tuple[int, int, Row]] = field(default_factory=list)

    def add(self, row: Row, wanted: frozenset[str]) -> None:
        """Take in a row."""
        split, fields = row.split, row.fields
        self.images[split] += 1
        self.patients[split].add(row.patient)
        age, stated = fields.get("age"), fields.get("age_range")
        if age is not None:
            self.ages[split].append(int(age))
        else:
            self.without_age[f"{stated[0]} to {stated[1]} years" if stated else "not stated"] += 1
        for name, counters in self.values.items():
            value = fields.get(name)
            counters[split].update(value if isinstance(value, list) and value else [str(value or "not stated")])
        if (found := fields.get("burned_in_text")) is not None:
            self.burned_in = (self.burned_in or 0) + bool(found)
        if fields.get("warnings"):
            self.warned += 1
            self.warnings += [row] if len(self.warnings) < WARNED else []
        if row.path.name in wanted:
            self.named[row.path.name] = row
        entry = (-seed_for("sample", row.path.name), self.images.total(), row)
        (heapq.heappush if len(self._first) < MEASURED_PROMPTS else heapq.heappushpop)(self._first, entry)

    def samples(self) -> list[Row]:
        """Rows in the order of a hash of their names, so that nobody chose the first of them."""
        return [row for _, _, row in sorted(self._first, key=lambda entry: -entry[0])]


def survey(folder: Path, wanted: Iterable[str] = ()) -> Survey:
    """Go through the rows of a dataset's folder, in any of its forms, and keep those whose file names are `wanted`."""
    found, names = Survey(), frozenset(wanted)
    for row in rows(folder):
        found.add(row, names)
    return found


def rows(folder: Path) -> Iterator[Row]:
    """The rows of a dataset one by one. Raises SynthCXRError for one that cannot be read."""
    for split in SPLITS:
        table = folder / split / METADATA
        if table.is_file():
            with table.open(encoding="utf-8") as lines:
                for number, line in enumerate(lines, 1):
                    try:
                        fields = json.loads(line)
                        yield Row(folder / split / fields["file_name"], split, fields.get("text", ""), fields)
                    except (ValueError, TypeError, KeyError) as error:
                        raise SynthCXRError(f"{table}, line {number}, is no row of a dataset: {error}.") from error
        elif find_shards(folder / split):
            for fields, place in read_shards(folder / split):
                yield Row(folder / split / fields["file_name"], split, fields.get("text", ""), fields, place)
