"""Fills that need no weights: OpenCV's two, and a membrane."""

import numpy as np

from synthcxr.cleaning.inpainters.base import Levels
from synthcxr.cleaning.segment import Mask

RADIUS = 3
"""Neighbourhood in pixels from which OpenCV fills a pixel."""
SWEEPS = 16
"""Relaxations of the membrane at each resolution."""


def telea(levels: Levels, mask: Mask) -> Levels:
    """Fast marching (Telea 2004), by OpenCV, which rounds to whole grey levels."""
    import cv2

    return _opencv(levels, mask, cv2.INPAINT_TELEA)


def navier_stokes(levels: Levels, mask: Mask) -> Levels:
    """Fluid dynamics (Bertalmio et al. 2001), by OpenCV, which rounds to whole grey levels."""
    import cv2

    return _opencv(levels, mask, cv2.INPAINT_NS)


def _opencv(levels: Levels, mask: Mask, how: int) -> Levels:
    import cv2

    whole = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return np.where(mask, cv2.inpaint(whole, mask.astype(np.uint8), RADIUS, how), levels).astype(np.float32)


def membrane(levels: Levels, mask: Mask) -> Levels:
    """The smoothest surface over a hole, held at its rim (Laplace's equation).

    Coarse to fine (push-pull, Gortler et al. 1996, section 3.4.2, then relaxed at each resolution), so a wide hole
    costs what a narrow one does. Where all is masked there is no rim, and zeros are given.
    """
    import cv2

    if not mask.any():
        return levels
    if mask.all():
        return np.zeros_like(levels)
    height, width = levels.shape
    known = np.pad((~mask).astype(np.float32), ((0, height % 2), (0, width % 2)))
    padded = np.pad(levels, ((0, height % 2), (0, width % 2))) * known
    half = (known.shape[1] // 2, known.shape[0] // 2)
    share = np.asarray(cv2.resize(known, half, interpolation=cv2.INTER_AREA), np.float32)
    coarse = np.asarray(cv2.resize(padded, half, interpolation=cv2.INTER_AREA), np.float32)
    mean = np.asarray(coarse / np.maximum(share, 0.25), np.float32)
    coarse = membrane(mean, share == 0)
    rough = cv2.resize(coarse, known.shape[::-1], interpolation=cv2.INTER_LINEAR)[:height, :width]
    filled = np.where(mask, rough, levels)
    for _ in range(SWEEPS):
        filled = np.where(mask, cv2.GaussianBlur(filled, (3, 3), 0, borderType=cv2.BORDER_REPLICATE), levels)
    return filled
