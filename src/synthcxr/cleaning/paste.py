"""What was filled, put back: only inside the mask, with the grain of what is around it."""

from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt

from synthcxr.cleaning.inpainters.base import Levels
from synthcxr.cleaning.picture import Values
from synthcxr.cleaning.segment import Mask, dilate
from synthcxr.errors import SynthCXRError

Same = TypeVar("Same", bound=Values)
Places = npt.NDArray[np.int64]
"""Pixels, as rows and columns, or differences of them."""
FEATHER = 2.0
"""Pixels over which the fill fades in from the mask's edge."""
SMOOTH = 2.5
"""Deviation in pixels of the Gaussian that tells grain from what is shown."""
NEAR = 8.0
"""Deviation in pixels of the Gaussian over which the strength of grain is measured."""
TILE = 24
"""Side of the squares of a mask whose grain comes from one place."""
RIM = 6
"""Pixels around a square by which places are compared."""
STEP = 8
"""Pixels between places that are tried: the blocks of JPEG, so that what they do to grain stays in step."""
REACHES = (24, 48, 96)
"""How far grain may come from; further only where nearer all is masked."""
SAMPLE = 64
"""Pixels of a rim that are looked at."""
BLIND = 10.0
"""Squared grey levels that count for a rim's pixels of which the other place has none."""


def paste(image: Same, filled: Levels, mask: Mask, scale: float = 1, offset: float = 0) -> Same:
    """The image (height, width) with `filled` inside the mask, feathered and grained; all else is equal, exactly.

    `filled` is in grey levels, of which `scale` times plus `offset` gives stored values. Raises SynthCXRError should a
    pixel outside the mask differ.
    """
    before = ((image - offset) / scale).astype(np.float32)
    share = fade_in(mask)
    noise = grain(np.where(mask, filled, before), mask)
    # two independent grains of equal strength, mixed so that their sum is as strong as either
    mixed = before + share * (filled - before) + np.sqrt(share * (2 - share)) * noise
    limits = np.iinfo(image.dtype)
    stored = np.clip(np.rint(mixed * scale + offset), limits.min, limits.max).astype(image.dtype)
    result = cast(Same, np.where(mask, stored, image))
    if outside := changed_outside(image, result, mask):
        raise SynthCXRError(f"{outside} pixels outside the mask changed. Please report this; nothing was saved.")
    return result


def changed_outside(before: Values, after: Values, mask: Mask) -> int:
    """How many pixels differ where the mask does not say so; two sizes or depths differ everywhere."""
    if before.shape != after.shape or before.dtype != after.dtype:
        return int(before.size)
    return int(np.count_nonzero((before != after) & ~mask))


def fade_in(mask: Mask) -> Levels:
    """The share of the fill at each pixel: 0 outside the mask, growing to 1 over `FEATHER` pixels inside."""
    import cv2

    if mask.all():
        return np.ones(mask.shape, np.float32)
    edged = np.pad(mask, 1, mode="edge").astype(np.uint8)  # what lies on the image's own edge needs no fade towards it
    distance = cv2.distanceTransform(edged, cv2.DIST_L2, 5)[1:-1, 1:-1]
    return np.asarray(np.minimum(distance / FEATHER, 1) * mask, np.float32)


def grain(filled: Levels, mask: Mask) -> Levels:
    """Grain for the masked pixels, taken from near them, so that it has the spectrum of what is around; elsewhere zero.

    Grain is what a Gaussian takes away. Each square of the mask gets that of the place whose rim is most like its own
    (exemplars, Efros and Leung 1999, but of the grain alone), as strong as grain is around it, less what the fill has.
    """
    known = ~mask
    detail = (filled - _blur(filled, known, SMOOTH)) * known
    own = (filled - _blur(filled, np.ones_like(mask), SMOOTH)) * mask
    around, inside = _blur(np.abs(detail), known, NEAR), _blur(np.abs(own), mask, NEAR)
    lacking = np.sqrt(np.maximum(around**2 - inside**2, 0))
    noise = np.zeros(mask.shape, np.float32)
    for top, left in np.argwhere(_tiles(mask)) * TILE:
        pixels = np.argwhere(mask[top : top + TILE, left : left + TILE]) + np.array((top, left))
        shift = _find_alike(filled, mask, pixels, _rim(mask, top, left))
        if shift is not None:
            here, there = tuple(pixels.T), tuple((pixels + shift).T)
            noise[here] = detail[there] * np.clip(lacking[here] / np.maximum(around[there], 0.2), 0, 1.5)
    return noise


def _blur(values: Levels, where: Mask, deviation: float) -> Levels:
    """A Gaussian mean of the values that count; near none of them, about zero."""
    import cv2

    weights = where.astype(np.float32)
    share = np.maximum(cv2.GaussianBlur(weights, (0, 0), deviation), 1e-3)
    return np.asarray(cv2.GaussianBlur(values * weights, (0, 0), deviation) / share, np.float32)


def _tiles(mask: Mask) -> Mask:
    """Which squares of `TILE` pixels hold masked ones."""
    padded = np.pad(mask, [(0, -length % TILE) for length in mask.shape])
    rows, columns = (length // TILE for length in padded.shape)
    return np.asarray(padded.reshape(rows, TILE, columns, TILE).any(axis=(1, 3)))


def _rim(mask: Mask, top: int, left: int) -> Places:
    """Some known pixels near the masked ones of a square, (n, 2)."""
    start = np.maximum((top - RIM, left - RIM), 0)
    part = mask[start[0] : top + TILE + RIM, start[1] : left + TILE + RIM]
    found = np.argwhere(dilate(part, RIM) & ~part) + start
    return found[:: max(1, len(found) // SAMPLE)]


def _find_alike(levels: Levels, mask: Mask, pixels: Places, rim: Places) -> Places | None:
    """The shift (2,) to a place with no masked pixel whose rim is most like this one, whatever its brightness."""
    last = np.array(mask.shape) - 1
    for reach in REACHES:
        line = np.arange(-reach, reach + 1, STEP)
        shifts = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
        inside = (pixels.min(0) + shifts >= 0).all(1) & (pixels.max(0) + shifts <= last).all(1)
        shifts = shifts[inside]
        moved = pixels + shifts[:, None]
        shifts = shifts[~mask[moved[..., 0], moved[..., 1]].any(axis=1)]
        if len(shifts) and len(rim):
            there = np.clip(rim + shifts[:, None], 0, last)
            counts = ~mask[there[..., 0], there[..., 1]]
            apart = np.where(counts, levels[there[..., 0], there[..., 1]] - levels[rim[:, 0], rim[:, 1]], 0)
            seen = np.maximum(counts.sum(1), 1)
            shift = apart.sum(1) / seen
            unlike = (apart**2).sum(1) / seen - 0.98 * shift**2 + BLIND * (1 - seen / len(rim))
            return np.asarray(shifts[unlike.argmin()])
    return None
