"""Whether two X-rays are the same picture: one is laid over the other, at a small shift and scale, and correlated.

Any two chests have light ribs and dark lungs at about the same place. So the slow changes of grey are taken out first;
what is left, edges of ribs, vessels, lines and marks, is where they are in this picture alone. A correlation does not
change with brightness or contrast.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthcxr.images import Grey, to_square

SIDE = 96
"""Pixels a side that images are compared at: what a vessel or rib needs, and noise does not reach."""
MARGIN = 8
"""Largest shift up, down, left or right, in these pixels (a twelfth of the image)."""
SCALES = tuple(round(0.92 + 0.02 * step, 2) for step in range(9))
"""Scales that are tried, 0.92 to 1.08."""
SLOW = 5.0
"""Deviation, in pixels, of the Gaussian whose share of the picture is taken out."""
FLAT = 1e-3
"""Deviation of a detail below which there is no picture."""

Detail = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Registration:
    """How one image lies best over another: scale, shift in shares of a side, and the `correlation` there, -1 to 1."""

    correlation: float
    scale: float = 1.0
    right: float = 0.0
    down: float = 0.0


def detail(image: Grey) -> Detail:
    """The fine half of a picture, (96, 96), about equally strong everywhere: slow changes are taken out and divided by.

    Without the division a marker or the edge of the exposed field would be most of a correlation.
    """
    import cv2

    small = to_square(image, SIDE).astype(np.float32)
    fine = small - cv2.GaussianBlur(small, (0, 0), SLOW)
    strength = np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), SLOW)) + 2.0  # grey levels: flat air stays flat
    return np.asarray(fine / strength, np.float32)


def register(image: Detail, other: Detail) -> Registration:
    """Lay the middle of `image` over `other` at every small shift and scale; the best correlation counts.

    Both are details of (96, 96); one without any detail correlates with nothing. Normalised cross-correlation, as
    J. P. Lewis, "Fast normalized cross-correlation" (1995), by OpenCV.
    """
    import cv2

    middle = image[MARGIN:-MARGIN, MARGIN:-MARGIN]
    if min(float(middle.std()), float(other.std())) < FLAT:  # OpenCV gives 1 for a flat template
        return Registration(0.0)
    best = Registration(-1.0)
    for scale in SCALES:
        found = cv2.matchTemplate(_zoom(other, scale), middle, cv2.TM_CCOEFF_NORMED)
        y, x = np.unravel_index(int(found.argmax()), found.shape)
        if found[y, x] > best.correlation:
            best = Registration(float(found[y, x]), scale, (int(x) - MARGIN) / SIDE, (int(y) - MARGIN) / SIDE)
    return best


def _zoom(picture: Detail, scale: float) -> Detail:
    """The picture made larger around its centre by `scale`, or smaller, the edge going on beyond the border."""
    import cv2

    centre = (SIDE - 1) / 2
    matrix = np.array([[scale, 0, centre * (1 - scale)], [0, scale, centre * (1 - scale)]])
    moved = cv2.warpAffine(picture, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.float32)
