"""What to draw: one prompt, or a file of them."""

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synthcxr.config import GenerateConfig
from synthcxr.errors import UsageError
from synthcxr.store import read_jsonl

KEPT_FIELDS = ("age", "age_range", "sex", "view", "findings")


@dataclass(frozen=True)
class Wish:
    """A prompt, and what it asks for where the file says so in fields (age, sex, view, findings)."""

    text: str
    fields: dict[str, Any] = field(default_factory=dict)


def read_wishes(config: GenerateConfig) -> list[Wish]:
    """One wish an image: the prompts of the config, over and over, up to its count."""
    wishes = [Wish(config.prompt)] if config.prompt is not None else read_prompts(config.prompts or Path())
    count = config.count or len(wishes)
    return [wishes[index % len(wishes)] for index in range(count)]


def read_prompts(path: Path) -> list[Wish]:
    """Read a file of prompts: .txt (one a line), .csv or .jsonl (column text). Raises UsageError in plain words."""
    if not path.is_file():
        raise UsageError(f"The file of prompts {path} does not exist.")
    try:
        match path.suffix.lower():
            case ".txt":
                lines = path.read_text(encoding="utf-8-sig").splitlines()
                wishes = [Wish(line.strip()) for line in lines if line.strip()]
            case ".csv":
                with path.open(encoding="utf-8-sig", newline="") as file:
                    wishes = [_wish(row, path) for row in csv.DictReader(file)]
            case ".jsonl":
                wishes = [_wish(row, path) for row in read_jsonl(path)]
            case suffix:
                raise UsageError(
                    f"{path}: a file of prompts is .txt, .csv or .jsonl, not {suffix or 'without ending'}."
                )
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} cannot be read as UTF-8 text: {error}.") from error
    if not wishes:
        raise UsageError(f"There is no prompt in {path}.")
    return wishes


def _wish(row: dict[str, Any], path: Path) -> Wish:
    if not str(row.get("text") or "").strip():
        raise UsageError(f"{path} needs a column text with a prompt in every row.")
    kept = {key: row[key] for key in KEPT_FIELDS if row.get(key) not in (None, "", [])}
    return Wish(str(row["text"]).strip(), kept)
