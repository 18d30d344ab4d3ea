"""Known amounts of damage to an image: what the encoder learns to see, and what it is checked with."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from synthcxr.images import Grey, to_square

QUALITIES = ("blur", "noise", "coarse", "jpeg", "gain", "gamma", "warp", "scramble")
"""Kinds of damage. Their levels run from 0 (none) to 1; those of `SIGNED` from -1 (less) to 1 (more)."""
SIGNED = ("gain", "gamma")


def blur(image: Grey, sigma: float) -> Grey:
    """Gaussian blur, sigma in pixels."""
    import cv2

    return image if sigma <= 0 else np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def add_noise(image: Grey, sigma: float, rng: np.random.Generator) -> Grey:
    """White Gaussian noise, sigma in grey levels."""
    return _grey(image + np.float32(sigma) * rng.standard_normal(image.shape, np.float32))


def coarsen(image: Grey, factor: float) -> Grey:
    """Down by a factor (area means) and up again (cubic)."""
    import cv2

    side = max(1, round(image.shape[0] / factor))
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, image.shape[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)


def compress(image: Grey, quality: int) -> Grey:
    """Through JPEG and back, quality 1 to 100."""
    import cv2

    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.uint8)


def change_contrast(image: Grey, gain: float = 1.0, gamma: float = 1.0) -> Grey:
    """Grey levels to the power gamma (white stays white), then stretched about the middle grey by the gain."""
    levels = 255 * (np.arange(256) / 255) ** gamma
    return _grey((levels - 127.5) * gain + 127.5)[image]


def warp(image: Grey, amount: float, rng: np.random.Generator) -> Grey:
    """A smooth random displacement (a grid of 8 × 8 vectors), its standard deviation about `amount` pixels."""
    import cv2

    height, width = image.shape
    field = cv2.resize(amount * rng.standard_normal((8, 8, 2), np.float32), (width, height))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.asarray(
        cv2.remap(image, x + field[..., 0], y + field[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE),
        np.uint8,
    )


def scramble(image: Grey, share: float, rng: np.random.Generator) -> Grey:
    """A share of the image replaced by noise of its own spectrum (random phases): as bright and as rough."""
    spectrum = np.fft.rfft2(image.astype(np.float32))
    phases = np.exp(2j * np.pi * rng.random(spectrum.shape, np.float32))
    phases[0, 0] = 1
    noise = np.fft.irfft2(np.abs(spectrum) * phases, image.shape).astype(np.float32)
    return _grey((1 - share) * image + share * noise)


def move(image: Grey, right: int, down: int) -> Grey:
    """Shifted by whole pixels, edges repeated: no interpolation, so no loss of sharpness."""
    pad = max(abs(right), abs(down))
    height, width = image.shape
    padded = np.pad(image, pad, mode="edge")
    return np.ascontiguousarray(padded[pad - down :, pad - right :][:height, :width])


def zoom(image: Grey, factor: float) -> Grey:
    """Closer by a factor above 1, about the middle."""
    side = round(image.shape[0] / factor)
    start = (image.shape[0] - side) // 2
    return to_square(image[start : start + side, start : start + side], image.shape[0])


def draw_levels(rng: np.random.Generator, clean: float = 0.4, share: float = 0.25) -> dict[str, float]:
    """Levels of a random degradation: none at all with probability `clean`, else each kind with `share`."""
    if rng.random() < clean:
        return {}
    return {kind: float(rng.uniform(-1 if kind in SIGNED else 0, 1)) for kind in QUALITIES if rng.random() < share}


def degrade(image: Grey, levels: Mapping[str, float], rng: np.random.Generator) -> Grey:
    """Damage at these levels, in the order in which an image meets it.

    At level 1: warp 6 px, scrambled all through, gamma and gain 2^±0.8, blur 4 px, resolution a fifth, noise 40 grey
    levels, JPEG quality 10. Warp, blur and noise go by the level's square: faint ones are met as often as strong ones.
    """
    if level := levels.get("warp"):
        image = warp(image, 6 * level**2, rng)
    if level := levels.get("scramble"):
        image = scramble(image, level, rng)
    if "gain" in levels or "gamma" in levels:
        image = change_contrast(image, 2 ** (0.8 * levels.get("gain", 0)), 2 ** (0.8 * levels.get("gamma", 0)))
    if level := levels.get("blur"):
        image = blur(image, 4 * level**2)
    if level := levels.get("coarse"):
        image = coarsen(image, 1 + 4 * level)
    if level := levels.get("noise"):
        image = add_noise(image, 40 * level**2, rng)
    if level := levels.get("jpeg"):
        image = compress(image, round(95 - 85 * level))
    return image


def _grey(values: npt.NDArray[np.floating[Any]]) -> Grey:
    grey: Grey = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return grey
