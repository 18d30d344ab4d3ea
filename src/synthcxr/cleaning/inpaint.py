"""Fill masked pixels from what is around them; every other pixel stays as it was."""

from typing import Literal

import numpy as np

from synthcxr.cleaning.picture import Values
from synthcxr.cleaning.segment import Mask

RADIUS = 3
"""Neighbourhood in pixels from which OpenCV fills a pixel."""


def inpaint(image: Values, mask: Mask, method: Literal["telea", "navier-stokes"] = "telea") -> Values:
    """A grey image (height, width) of 8 or 16 bits with the masked pixels filled; the others are equal to the input.

    ``telea``: fast marching (Telea 2004); ``navier-stokes``: fluid dynamics (Bertalmio et al. 2001); both of OpenCV.
    """
    import cv2

    if not mask.any():
        return image.copy()
    how = cv2.INPAINT_TELEA if method == "telea" else cv2.INPAINT_NS
    filled = np.asarray(cv2.inpaint(image, mask.astype(np.uint8), RADIUS, how), image.dtype)
    result: Values = np.where(mask, filled, image)
    assert changed_outside(image, result, mask) == 0
    return result


def changed_outside(before: Values, after: Values, mask: Mask) -> int:
    """How many pixels differ where the mask does not say so."""
    return int(np.count_nonzero((before != after) & ~mask))
