"""One image: read it, mask the strokes, fill them, read it again; at the end a second reader has its say."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal, Protocol

import numpy as np

from synthcxr.cleaning.inpaint import inpaint
from synthcxr.cleaning.marks import Kind, Mark
from synthcxr.cleaning.picture import Picture, Values
from synthcxr.cleaning.segment import Mask, dilate, strokes
from synthcxr.cleaning.solid import find_solid
from synthcxr.images import Grey

ROUNDS = 3
"""What can still be read after a round is masked too, and filled again from the untouched image."""
MOST_SHORT = 3
"""Letters and figures of a text in which a side may have been read with initials."""
MOST_AREA = 0.25
"""Part of an image that a mask may cover; what is filled beyond that is not the patient's anatomy but an invention."""
SAME_PLACE = 0.5
"""Part of a mark's bounds that lies on a kept one's, from which it is that one, read otherwise."""
STILL_LEGIBLE = 0.5
"""Likeness (of difflib) of what the second reader reads after to what was there, from which that is still legible."""

Read = Callable[[Grey], Sequence[Mark]]
Segment = Callable[[Grey, Mark], Mask]
Fill = Callable[[Values, Mask], Values]
Reason = Literal["text-left", "too-faint", "too-much"]


class Second(Protocol):
    """A second, independent reader."""

    @property
    def name(self) -> str:
        """Its name and version."""
        ...

    def read(self, image: Grey) -> Sequence[Mark]:
        """What it reads anywhere in an image."""
        ...

    def read_marks(self, image: Grey, marks: Sequence[Mark]) -> list[str]:
        """What it reads in each mark's place; "" for nothing."""
        ...


@dataclass(frozen=True)
class Tools:
    """What removal works with: the reader, the one that fills, the one that finds strokes, and the second reader.

    Marks of the `kept` kinds stay, and what lies at a point (x, y) of `leave`.
    """

    read: Read
    fill: Fill = inpaint
    segment: Segment = strokes
    second: Second | None = None
    dilation: int = 2
    kept: tuple[Kind, ...] = ()
    leave: tuple[tuple[float, float], ...] = ()

    def keeps(self, mark: Mark) -> bool:
        """Whether a mark stays because somebody wants it so."""
        return mark.kind in self.kept or any(mark.holds(point) for point in self.leave)


@dataclass(frozen=True)
class Search:
    """What was found once: marks to remove with their mask, marks to keep, and marks in which no strokes stand out."""

    marks: tuple[Mark, ...]
    mask: Mask
    kept: tuple[Mark, ...] = ()
    faint: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Removal:
    """A cleaned image and the mask of what was changed; what was removed `before` and `later`, kept, and is `left`.

    `faint` is read by either reader at the end, but no strokes stand out there: grain that looks like text, or text
    that hardly shows.
    `second_found` are those of `later` that only the second reader found; `second_before` and `second_after` are
    what it reads in the places of `removed`.
    """

    image: Values
    mask: Mask
    before: tuple[Mark, ...]
    later: tuple[Mark, ...] = ()
    left: tuple[Mark, ...] = ()
    kept: tuple[Mark, ...] = ()
    faint: tuple[Mark, ...] = ()
    second_found: tuple[Mark, ...] = ()
    second_before: tuple[str, ...] = ()
    second_after: tuple[str, ...] = ()

    @property
    def removed(self) -> tuple[Mark, ...]:
        """All marks that were removed."""
        return (*self.before, *self.later)

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why a person has to look at the image; none where it is done."""
        found: dict[Reason, bool] = {
            "text-left": bool(self.left),
            "too-faint": bool(self.faint),
            "too-much": bool(self.mask.mean() > MOST_AREA),
        }
        return tuple(reason for reason, holds in found.items() if holds)

    @property
    def may_have_lost_side(self) -> bool:
        """Whether a short text went and no marker of a side is left: R and initials are often read as one line."""
        short = (sum(map(str.isalnum, mark.text)) for mark in self.before)
        return any(0 < length <= MOST_SHORT for length in short) and not any(m.kind == "laterality" for m in self.kept)

    @property
    def status(self) -> Literal["clean", "removed", "residual"]:
        """Whether there was no text, text that is gone, or something that a person has to look at."""
        return "residual" if self.reasons else "removed" if self.before or self.later else "clean"


def remove_text(picture: Picture, tools: Tools) -> Removal:
    """Remove the text of a picture; pixels outside the mask are those of the input, exactly.

    Each round fills all of the mask from the untouched values. The second reader looks once the first finds nothing
    more; what it alone finds goes through the same rounds.
    """
    mask = np.zeros(picture.values.shape, bool)
    cleaned = picture.values
    first = found = search(picture, cleaned, tools.read, tools)
    later: list[Mark] = []
    by_second: list[Mark] = []
    for turn in range(ROUNDS + 1):
        faint, is_alone = found.faint, not found.marks
        if is_alone and tools.second is not None:
            found = search(picture, cleaned, tools.second.read, tools, beside=first.kept)
            faint += found.faint
        if not found.marks or turn == ROUNDS:
            break
        by_second += found.marks if is_alone else ()
        later += found.marks if found is not first else ()
        mask |= found.mask
        cleaned = tools.fill(picture.values, mask)
        found = search(picture, cleaned, tools.read, tools, beside=first.kept)
    removed = (*first.marks, *later)
    was, now = _ask_second(picture, cleaned, removed, tools.second)
    texts = zip(removed, was, now, strict=False)  # without a second reader there is nothing to compare
    legible = [mark for mark, before, after in texts if is_legible(after, (mark.text, before))]
    return Removal(
        image=cleaned,
        mask=mask,
        before=first.marks,
        later=tuple(later),
        left=(*found.marks, *(mark for mark in legible if mark not in found.marks)),
        kept=first.kept,
        faint=faint,
        second_found=tuple(by_second),
        second_before=tuple(was),
        second_after=tuple(now),
    )


def search(picture: Picture, values: Values, read: Read, tools: Tools, beside: Sequence[Mark] = ()) -> Search:
    """What is read in any view of some values, and the mask of the strokes to remove, dilated.

    Marks that are to be kept stay whole, and what is read otherwise in the place of one, or of a mark `beside`.
    """
    mask = np.zeros(values.shape, bool)
    marks: list[Mark] = []
    kept: list[Mark] = []
    faint: list[Mark] = []
    for view in picture.views(values):
        texts = read(view)
        kept += [mark for mark in texts if tools.keeps(mark) and not _is_known(mark, kept)]
        known = (*kept, *beside)
        wanted = [
            mark
            for mark in texts
            if not tools.keeps(mark) and all(overlap(mark, other) < SAME_PLACE for other in known)
        ]
        solid = [] if "marker" in tools.kept else find_solid(view, wanted)
        for mark in (*wanted, *(mark for mark in solid if not tools.keeps(mark))):
            strokes_of_it = tools.segment(view, mark)
            if not strokes_of_it.any():
                faint += [] if _is_known(mark, faint) else [mark]
                continue
            mask |= dilate(strokes_of_it, tools.dilation)
            if not _is_known(mark, marks):
                marks.append(mark)
    for mark in (*kept, *beside):
        mask &= ~inside(mark, values.shape)
    return Search(tuple(marks), mask, tuple(kept), tuple(faint))


def inside(mark: Mark, shape: tuple[int, ...]) -> Mask:
    """The inside of a mark's corners: a mask of the shape (height, width)."""
    import cv2

    return np.asarray(cv2.fillPoly(np.zeros(shape, np.uint8), [np.rint(mark.points).astype(np.int32)], 1), bool)


def _ask_second(
    picture: Picture, cleaned: Values, marks: Sequence[Mark], second: Second | None
) -> tuple[list[str], list[str]]:
    """What the second reader reads in the places of marks, before and after; nothing without one."""
    if second is None or not marks:
        return [], []
    before, after = (picture.views(values)[0] for values in (picture.values, cleaned))
    return second.read_marks(before, marks), second.read_marks(after, marks)


def find(image: Grey, read: Read) -> list[Mark]:
    """The lines of text that are read and in which strokes stand out; without strokes it is grain that looks so."""
    return [mark for mark in read(image) if strokes(image, mark).any()]


def is_legible(after: str, before: Iterable[str]) -> bool:
    """Whether what is read afterwards is like what was there: grain is read as letters too, but as others."""
    return any(SequenceMatcher(None, after.upper(), text.upper()).ratio() >= STILL_LEGIBLE for text in before if text)


def overlap(mark: Mark, other: Mark) -> float:
    """Part of a mark's upright bounds that lies on another's."""
    low, high = mark.points.min(0), mark.points.max(0)
    common = np.minimum(high, other.points.max(0)) - np.maximum(low, other.points.min(0))
    return float(np.prod(np.clip(common, 0, None)) / max(float(np.prod(high - low)), 1.0))


def _is_known(mark: Mark, marks: Sequence[Mark]) -> bool:
    """Whether a mark was found in another view already."""
    return any(mark.text == other.text and overlap(mark, other) >= SAME_PLACE for other in marks)
