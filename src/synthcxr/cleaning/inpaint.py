"""Fill masked pixels from what is around them; every other pixel stays as it was."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from synthcxr.cleaning.inpainters.base import Fill
from synthcxr.cleaning.inpainters.classical import membrane, navier_stokes, telea
from synthcxr.cleaning.inpainters.learned import learned
from synthcxr.cleaning.paste import Stored, paste
from synthcxr.cleaning.paste import changed_outside as changed_outside
from synthcxr.cleaning.segment import Mask

Method = Literal["learned", "membrane", "telea", "navier-stokes"]
FILLS: dict[Method, Fill] = {
    "learned": learned,
    "membrane": membrane,
    "telea": telea,
    "navier-stokes": navier_stokes,
}


def inpaint(
    image: npt.NDArray[Stored], mask: Mask, method: Method | Fill = "learned", seed: int = 0
) -> npt.NDArray[Stored]:
    """An image (height, width) of whole numbers with the masked pixels filled; the others are equal to the input.

    Of 8 bits or more; more are filled on the scale from the lowest to the highest value that is not masked.
    `seed` is that of the grain.
    """
    if not mask.any():
        return image.copy()
    offset, scale = 0.0, 1.0
    if image.dtype != np.uint8:
        known = image[~mask] if not mask.all() else image
        offset = float(known.min())
        scale = max(float(known.max()) - offset, 1.0) / 255
    fill = FILLS[method] if isinstance(method, str) else method
    levels = ((image - offset) / scale).astype(np.float32)
    return paste(image, fill(levels, mask), mask, scale, offset, seed)
