"""What is proven of an image: a row of proof.jsonl, counted on the file as it was written."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from synthcxr.cleaning import second_reader
from synthcxr.cleaning.layout import Job
from synthcxr.cleaning.marks import Mark
from synthcxr.cleaning.paste import changed_outside
from synthcxr.cleaning.picture import Picture, Values
from synthcxr.cleaning.remove import Removal, Second
from synthcxr.errors import SynthCXRError
from synthcxr.images import Grey
from synthcxr.store import Json, sha256_bytes

UPRIGHT = (0,)
"""Turns at which the second reader looks at a whole image; at marks it looks at their own."""


@dataclass(frozen=True)
class SecondReader:
    """The second reader by name, as `remove` uses it for a whole image, and for the places of marks."""

    name: str

    def read(self, image: Grey) -> list[Mark]:
        """Everything that it reads anywhere in an image."""
        return second_reader.read_again(image, UPRIGHT)

    def read_marks(self, image: Grey, marks: Sequence[Mark]) -> list[str]:
        """What it reads in each mark's place."""
        return second_reader.read_marks(image, marks)


def find_second_reader(asked: str) -> SecondReader | None:
    """Tesseract, unless it is not installed or switched ``off``."""
    version = None if asked == "off" else second_reader.available()
    return SecondReader(f"tesseract {version}") if version else None


def prove(
    job: Job,
    before: Picture,
    after: Values,
    removal: Removal,
    second: Second | None,
    *,
    source: bytes,
    written: bytes,
    words: bool = True,
) -> Json:
    """What was found, what was changed and what is left; `after` is read from the `written` bytes of the new file.

    Without `words` no text that was read is kept, only what kind it is. Raises SynthCXRError should a pixel outside
    the mask have changed.
    """
    outside = changed_outside(before.values, after, removal.mask)
    if outside:
        raise SynthCXRError(f"{job.file_name}: {outside} pixels outside the mask changed. Please report this.")
    told = partial(_tell, words=words)
    removed = [told(mark) | {"round": 1} for mark in removal.before]
    removed += [told(mark) | {"round": 2} for mark in removal.later]  # seen only once the first were gone
    return {
        "file_name": job.file_name,
        "split": job.split,
        "file": job.review if removal.reasons else job.place,
        "status": removal.status,
        "reasons": list(removal.reasons),
        "may_have_lost_side": removal.may_have_lost_side,
        "marks": removed,
        "kept": [told(mark) for mark in removal.kept],
        "left": [told(mark) for mark in removal.left],
        "faint": [told(mark) for mark in removal.faint],
        "mask": job.mask if removal.mask.any() else None,
        "mask_pixels": int(removal.mask.sum()),
        "pixels": int(before.values.size),
        "bits": 8 * before.values.dtype.itemsize,
        "changed_outside_mask": outside,
        "text_before": [mark.text for mark in removal.removed if mark.text] if words else None,
        "text_after": [mark.text for mark in (*removal.left, *removal.faint)] if words else None,
        "second_reader": _second(removal, second, words=words),
        "notes": list(before.notes),
        "source_sha256": sha256_bytes(source),
        "sha256": sha256_bytes(written),
    }


def _tell(mark: Mark, *, words: bool) -> Json:
    told: dict[str, Any] = dict(mark.as_json())
    return told if words else {name: value for name, value in told.items() if name != "text"}


def _second(removal: Removal, second: Second | None, *, words: bool) -> Json | None:
    """What the second reader reads in the removed places, before and after, and how many marks it alone found."""
    if second is None:
        return None
    both = {"before": list(removal.second_before), "after": list(removal.second_after)} if words else {}
    return {
        "name": second.name,
        **both,
        "read_before": sum(map(bool, removal.second_before)),
        "read_after": sum(map(bool, removal.second_after)),
        "found_alone": len(removal.second_found),
    }
