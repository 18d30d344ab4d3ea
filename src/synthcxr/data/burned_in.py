"""Text that is burned into an X-ray's pixels, found by the detector of `clean`.

Nearly every X-ray carries a side marker or the word of a view, which tells nothing of the patient. So ``flag`` and
``reject`` go by other text: names, numbers, dates. ``clean`` removes all of it, as the stage `clean` does.
"""

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from synthcxr.data.records import RejectedImageError
from synthcxr.images import Grey

if TYPE_CHECKING:
    from synthcxr.cleaning.marks import Mark

MINIMUM_SCORE = 0.6
"""As `clean` has it by default."""
MARKER = re.compile(
    r"[A-Z0-9]|LEFT|RIGHT|LT|RT|AP|PA|LAT|PORT(ABLE)?|MOBILE|(SEMI)?-?(ERECT|UPRIGHT)|UP|SEMI|SUPINE|SITTING|STANDING|"
    r"RECUMBENT|DECUB(ITUS)?|CHEST|BED|GRID|(INSP|EXP)(IRATION)?"
)


class BurnedIn(NamedTuple):
    """The image to use, whether it had text that is no marker, and how many lines of text were found and removed."""

    image: Grey
    flagged: bool
    found: int
    removed: int


def check_burned_in(image: Grey, mode: Literal["off", "flag", "clean", "reject"]) -> BurnedIn:
    """Look for burned-in text in a grey image (height, width) at full size.

    Raises RejectedImageError by the rule ``burned-in-text``: in the mode ``reject`` for text that is no marker, in the
    mode ``clean`` where such text can still be read afterwards.
    """
    if mode == "off":
        return BurnedIn(image, False, 0, 0)
    from synthcxr.cleaning.detect import shared_reader
    from synthcxr.cleaning.remove import find, remove_text

    def read(grey: Grey) -> "list[Mark]":
        return shared_reader().read(grey, MINIMUM_SCORE)

    if mode != "clean":
        boxes = find(image, read)
        flagged = tells_something(boxes)
        if flagged and mode == "reject":
            raise RejectedImageError("burned-in-text", "text is burned in that is no marker")
        return BurnedIn(image, flagged, len(boxes), 0)
    removal = remove_text(image, read)
    if tells_something(removal.left):
        raise RejectedImageError("burned-in-text", "burned-in text could still be read after it was removed")
    found = len(removal.before) + len(removal.later)
    return BurnedIn(removal.image, tells_something(removal.before), found, found - len(removal.left))


def tells_something(boxes: "list[Mark] | tuple[Mark, ...]") -> bool:
    """Whether one of the lines is more than a marker."""
    return any(not is_marker(box.text) for box in boxes)


def is_marker(text: str) -> bool:
    """Whether a line is a side, a view, a position, or at most two letters or digits."""
    words = re.findall(r"[^\W_]+", text.upper())
    return all(MARKER.fullmatch(word) for word in words) or sum(map(len, words)) <= 2
