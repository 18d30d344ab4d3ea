"""What a question of quality asks for: a preset, or items of one's own."""

from pathlib import Path
from typing import Any

import yaml

from synthcxr.errors import UsageError
from synthcxr.study.answers import COLUMNS
from synthcxr.study.protocol import Item

COMMENT = "comment"
"""The one item in free words: every answer has room for one comment."""
STEPS = ("poor", "fair", "good")
PRESET = (
    Item("anatomy", "Anatomy: are heart, lungs, ribs, diaphragm and spine shaped and placed as in people?", STEPS),
    Item("style", "Style: do sharpness, contrast, noise and framing look like an X-ray?", STEPS),
    Item("artifacts", "Artifacts: is there anything that no patient and no machine makes?", ("many", "few", "none")),
    Item("overall", "Overall: how good is this X-ray?", STEPS),
    Item(COMMENT, "Anything odd? Say what and where."),
)


def read_items(file: Path | None) -> tuple[Item, ...]:
    """The items of a YAML file, or the preset. Raises UsageError in plain words for a file that is wrong."""
    if file is None:
        return PRESET
    try:
        listed = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"The items {file} cannot be read: {error}") from error
    if not isinstance(listed, list) or not listed:
        raise UsageError(f"{file} must be a list of items, each with name, text and steps (lowest first).")
    items = tuple(_item(entry, f"{file}, item {number}") for number, entry in enumerate(listed, 1))
    names = [item.name.lower() for item in items]
    if len(set(names)) < len(names):
        raise UsageError(f"{file} has two items of one name.")
    if not any(item.steps for item in items):
        raise UsageError(f"{file} has no item with steps: there would be nothing to rate.")
    return items


def _item(entry: Any, where: str) -> Item:
    if not isinstance(entry, dict) or not set(entry) <= {"name", "text", "steps"} or not entry.get("name"):
        raise UsageError(f"{where} must have a name, and may have text and steps, nothing else.")
    name, steps = str(entry["name"]).strip(), entry.get("steps") or []
    if not isinstance(steps, list):
        raise UsageError(f"{where}: steps must be a list of labels, lowest first.")
    labels = tuple(str(step).strip() for step in steps)
    if labels and (not 2 <= len(set(labels)) == len(labels) <= 9 or "" in labels):
        raise UsageError(f"{where}: 2 to 9 different steps are needed, lowest first.")
    if labels and name.lower() in COLUMNS:
        raise UsageError(f"{where}: {name} is the name of a column of answers. Name it otherwise.")
    if not labels and name.lower() != COMMENT:
        raise UsageError(f"{where} has no steps. Only the item {COMMENT} is answered in free words.")
    return Item(name if labels else COMMENT, str(entry.get("text") or name).strip(), labels)
