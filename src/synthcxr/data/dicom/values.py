"""Values of a dataset that may be missing, malformed or of the wrong kind: what cannot be read is not there."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom import Dataset


def get(dataset: "Dataset", keyword: str) -> Any:
    """The value of an element, None where it is missing or cannot be read."""
    try:
        return dataset.get(keyword)
    except Exception:  # pydicom converts values when they are asked for, and raises of every kind
        return None


def texts(dataset: "Dataset", keyword: str) -> tuple[str, ...]:
    """The values of a text element, stripped."""
    value = get(dataset, keyword)
    if value is None:
        return ()
    parts = list(value) if _is_many(value) else [value]
    return tuple(str(part).strip().strip("\0").strip() for part in parts)


def text(dataset: "Dataset", keyword: str) -> str:
    """The first value of a text element, stripped; empty where there is none."""
    return next(iter(texts(dataset, keyword)), "")


def numbers(dataset: "Dataset", keyword: str) -> tuple[float, ...]:
    """The values of a number element; empty where one of them is no finite number."""
    try:
        values = tuple(float(part) for part in texts(dataset, keyword))
    except (ValueError, OverflowError):
        return ()
    return values if all(math.isfinite(value) for value in values) else ()


def integer(dataset: "Dataset", keyword: str, default: int = 0) -> int:
    """The first value of a number element as a whole number."""
    values = numbers(dataset, keyword)
    return int(values[0]) if values else default


def items(dataset: "Dataset", keyword: str) -> "list[Dataset]":
    """The items of a sequence."""
    from pydicom import Dataset

    value = get(dataset, keyword)
    return [item for item in value if isinstance(item, Dataset)] if _is_many(value) else []


def _is_many(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)
