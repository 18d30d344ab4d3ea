"""What all ways to fill have in common."""

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import numpy.typing as npt

from synthcxr.cleaning.segment import Mask, dilate

Levels = npt.NDArray[np.float32]
"""Grey levels, 0 to 255 where all is known, not rounded."""
Fill = Callable[[Levels, Mask], Levels]
"""Takes levels (height, width) and a mask of their shape; gives levels that may differ inside the mask only."""
Place = tuple[slice, slice]


LARGEST = 512
"""Pixels of a part's side from which it is cut into several, for memory's sake."""


def windows(mask: Mask, margin: int) -> Iterator[tuple[Place, Mask]]:
    """The parts of a mask that lie apart: a rectangle with `margin` pixels around each, and its own pixels there.

    Every masked pixel is one part's own. Other parts may reach into a rectangle, and are holes there too.
    """
    import cv2

    near = dilate(mask, margin // 2).astype(np.uint8)
    _, labels, areas, _ = cv2.connectedComponentsWithStats(near, connectivity=8)
    for label, (left, top, width, height, _) in enumerate(areas[1:].tolist(), start=1):
        for row, column in product(range(top, top + height, LARGEST), range(left, left + width, LARGEST)):
            bottom, right = min(row + LARGEST, top + height), min(column + LARGEST, left + width)
            place = slice(max(0, row - margin), bottom + margin), slice(max(0, column - margin), right + margin)
            own = np.zeros_like(mask[place])
            inner = (
                slice(row - place[0].start, bottom - place[0].start),
                slice(column - place[1].start, right - place[1].start),
            )
            part = slice(row, bottom), slice(column, right)
            own[inner] = mask[part] & (labels[part] == label)
            if own.any():
                yield place, own
