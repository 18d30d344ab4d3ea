"""One image: read it, mask the strokes, fill them, read it again."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from synthcxr.cleaning.inpaint import inpaint
from synthcxr.cleaning.marks import Mark
from synthcxr.cleaning.segment import Mask, dilate, strokes
from synthcxr.images import Grey

ROUNDS = 3
"""What can still be read after a round is masked too, and filled again from the untouched image."""

Read = Callable[[Grey], list[Mark]]
Method = Literal["telea", "navier-stokes"]


@dataclass(frozen=True)
class Removal:
    """A cleaned image, the mask of what was changed, the boxes that were removed, and what can be read still."""

    image: Grey
    mask: Mask
    before: tuple[Mark, ...]
    later: tuple[Mark, ...]
    left: tuple[Mark, ...]

    @property
    def status(self) -> Literal["clean", "removed", "residual"]:
        """Whether there was no text, text that is gone, or text that is still there."""
        return "residual" if self.left else "removed" if self.before else "clean"


def remove_text(image: Grey, read: Read, method: Method = "telea", dilation: int = 2) -> Removal:
    """Remove the text that `read` finds in a grey image (height, width).

    Pixels outside the mask are those of the input, exactly; an image without text comes back as it is.
    """
    mask = np.zeros(image.shape, bool)
    cleaned, found = image, find(image, read)
    rounds = [found]
    for _ in range(ROUNDS):
        if not found:
            break
        for box in found:
            mask |= dilate(strokes(cleaned, box), dilation)
        cleaned = inpaint(image, mask, method)
        found = find(cleaned, read)
        rounds.append(found)
    later = [box for boxes in rounds[1:-1] for box in boxes]
    return Removal(cleaned, mask, tuple(rounds[0]), tuple(later), tuple(found))


def find(image: Grey, read: Read) -> list[Mark]:
    """The boxes that were read and in which strokes stand out; without strokes it was grain that looked like text."""
    return [box for box in read(image) if strokes(image, box).any()]
