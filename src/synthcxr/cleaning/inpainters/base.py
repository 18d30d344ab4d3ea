"""What all ways to fill have in common."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from synthcxr.cleaning.segment import Mask, dilate

Levels = npt.NDArray[np.float32]
"""Grey levels, 0 to 255 where all is known, not rounded."""
Fill = Callable[[Levels, Mask], Levels]
"""Takes levels (height, width) and a mask of their shape; gives levels that may differ inside the mask only."""
Place = tuple[slice, slice]


def windows(mask: Mask, margin: int) -> Iterator[tuple[Place, Mask]]:
    """The parts of a mask that lie apart: a rectangle with `margin` pixels around each, and its own pixels there.

    Every masked pixel is one part's own. Other parts may reach into a rectangle, and are holes there too.
    """
    import cv2

    near = dilate(mask, margin // 2).astype(np.uint8)
    _, labels, areas, _ = cv2.connectedComponentsWithStats(near, connectivity=8)
    rest = margin - margin // 2
    for label, (left, top, width, height, _) in enumerate(areas[1:].tolist(), start=1):
        place = (
            slice(max(0, top - rest), top + height + rest),
            slice(max(0, left - rest), left + width + rest),
        )
        yield place, mask[place] & (labels[place] == label)
