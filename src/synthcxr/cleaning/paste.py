"""What was filled, put back: only inside the mask, with the grain of what is around it."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from synthcxr.cleaning.inpainters.base import Levels, windows
from synthcxr.cleaning.segment import Mask
from synthcxr.errors import SynthCXRError

Stored = TypeVar("Stored", bound=np.integer)
FEATHER = 2.0
"""Pixels over which the fill fades in from the mask's edge."""
MARGIN = 24
"""Pixels around what is masked whose grain is measured."""
SMOOTH = 1.5
"""Deviation in pixels of the Gaussian that tells grain from what is shown."""
BLOCK = 16
"""Side of the blocks whose spectra are averaged."""


def paste(
    image: npt.NDArray[Stored], filled: Levels, mask: Mask, scale: float = 1, offset: float = 0, seed: int = 0
) -> npt.NDArray[Stored]:
    """The image (height, width) with `filled` inside the mask, feathered and grained; all else is equal, exactly.

    `filled` is in grey levels, of which `scale` times plus `offset` gives stored values. Raises SynthCXRError should a
    pixel outside the mask differ.
    """
    before = ((image - offset) / scale).astype(np.float32)
    share = fade_in(mask)
    noise = grain(np.where(mask, filled, before), mask, np.random.default_rng(seed))
    # two independent grains of equal strength, mixed so that their sum is as strong as either
    mixed = before + share * (filled - before) + np.sqrt(share * (2 - share)) * noise
    limits = np.iinfo(image.dtype)
    stored = np.clip(np.rint(mixed * scale + offset), limits.min, limits.max).astype(image.dtype)
    result = np.where(mask, stored, image)
    if outside := changed_outside(image, result, mask):
        raise SynthCXRError(f"{outside} pixels outside the mask changed. Please report this; nothing was saved.")
    return result


def changed_outside(before: npt.NDArray[Stored], after: npt.NDArray[Stored], mask: Mask) -> int:
    """How many pixels differ where the mask does not say so."""
    return int(np.count_nonzero((before != after) & ~mask))


def fade_in(mask: Mask) -> Levels:
    """The share of the fill at each pixel: 0 outside the mask, growing to 1 over `FEATHER` pixels inside."""
    import cv2

    if mask.all():
        return np.ones(mask.shape, np.float32)
    edged = np.pad(mask, 1, mode="edge").astype(np.uint8)  # what lies on the image's own edge needs no fade towards it
    distance = cv2.distanceTransform(edged, cv2.DIST_L2, 5)[1:-1, 1:-1]
    return np.asarray(np.minimum(distance / FEATHER, 1) * mask, np.float32)


def grain(filled: Levels, mask: Mask, random: np.random.Generator) -> Levels:
    """Noise for the masked pixels like that of the pixels around them, in strength and in spectrum; elsewhere zero.

    Of each part of the mask: what a Gaussian takes away around it is grain; its spectrum is the mean over blocks, its
    strength follows the mean magnitude near each pixel (an edge in between hardly counts), less what the fill has.
    """
    noise = np.zeros(mask.shape, np.float32)
    for place, own in windows(mask, MARGIN):
        hole = mask[place]
        if (~hole).sum() >= BLOCK * BLOCK:
            noise[place] = np.where(own, _grain_of(filled[place], hole, random), noise[place])
    return noise


def _grain_of(levels: Levels, hole: Mask, random: np.random.Generator) -> Levels:
    import cv2

    known = (~hole).astype(np.float32)
    share = np.maximum(cv2.GaussianBlur(known, (0, 0), SMOOTH), 1e-3)
    detail = (levels - cv2.GaussianBlur(levels * known, (0, 0), SMOOTH) / share) * known
    own = (levels - cv2.GaussianBlur(levels, (0, 0), SMOOTH)) * hole
    wide = MARGIN / 2
    around = cv2.GaussianBlur(np.abs(detail), (0, 0), wide) / np.maximum(cv2.GaussianBlur(known, (0, 0), wide), 1e-3)
    inside = cv2.GaussianBlur(np.abs(own), (0, 0), wide) / np.maximum(cv2.GaussianBlur(1 - known, (0, 0), wide), 1e-3)
    lacking = np.sqrt(np.maximum(around**2 - inside**2, 0)) * np.sqrt(np.pi / 2)  # of magnitudes: the normal's ratio
    return np.asarray(lacking * _like(detail, known, levels.shape, random), np.float32)


def _like(detail: Levels, known: Levels, shape: tuple[int, ...], random: np.random.Generator) -> Levels:
    """Normal noise of deviation 1 with the mean spectrum of the blocks of `detail` in which most is known."""
    window = np.outer(np.hanning(BLOCK + 2)[1:-1], np.hanning(BLOCK + 2)[1:-1])
    power = np.zeros((BLOCK, BLOCK))
    for top in range(0, shape[0] - BLOCK + 1, BLOCK // 2):
        for left in range(0, shape[1] - BLOCK + 1, BLOCK // 2):
            part = (slice(top, top + BLOCK), slice(left, left + BLOCK))
            if known[part].mean() >= 0.75 and (block := detail[part] * window).any():
                spectrum = np.abs(np.fft.fft2(block)) ** 2
                power += spectrum / spectrum.sum()  # each block counts alike, however strong
    if not power.any():
        power[:] = 1.0
    height, width = (-(-length // BLOCK) * BLOCK for length in shape)
    white = np.fft.fft2(random.standard_normal((height, width)))
    noise = np.fft.ifft2(white * np.sqrt(_spread(power, height, width))).real
    return np.asarray(noise[: shape[0], : shape[1]] / noise.std(), np.float32)


def _spread(power: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.float64]:
    """A block's spectrum on the finer frequencies of a larger area: its correlations, padded with zeros."""
    correlation = np.fft.fftshift(np.fft.ifft2(power).real)
    taper = np.outer(np.hanning(BLOCK + 1)[:-1], np.hanning(BLOCK + 1)[:-1])
    larger = np.zeros((height, width))
    larger[:BLOCK, :BLOCK] = correlation * taper
    larger = np.roll(larger, (-(BLOCK // 2), -(BLOCK // 2)), (0, 1))
    return np.maximum(np.fft.fft2(larger).real, 0)
