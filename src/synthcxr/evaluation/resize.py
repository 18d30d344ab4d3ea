"""Resizing as the reference implementations of FID do it: three ways, and their distances do not compare.

Parmar, Zhang and Zhu, "On aliased resizing and surprising subtleties in GAN evaluation", CVPR 2022: the old ways skip
pixels when they make an image smaller. Names are clean-fid's.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

from synthcxr.images import Grey

Resizing = Literal["clean", "legacy_pytorch", "legacy_tensorflow"]
Plane = npt.NDArray[np.float32]

WORDS: dict[Resizing, str] = {
    "clean": "antialiased bicubic in float (clean-fid)",
    "legacy_pytorch": "bilinear without antialiasing (pytorch-fid)",
    "legacy_tensorflow": "TensorFlow 1's bilinear (torch-fidelity and the original FID)",
}
"""What a report says of each."""


def resize_for(resizing: Resizing, image: Grey, side: int) -> Plane:
    """A grey image as a square of `side` pixels, float32, still from 0 to 255. The image is stretched to it."""
    if resizing == "clean":
        return _clean(image, side)
    half_pixel = resizing == "legacy_pytorch"
    down = bilinear_weights(image.shape[0], side, half_pixel=half_pixel)
    across = bilinear_weights(image.shape[1], side, half_pixel=half_pixel)
    resized: Plane = down @ image.astype(np.float32) @ across.T
    return resized


def _clean(image: Grey, side: int) -> Plane:
    """Pillow's bicubic filter on floats: antialiased, not rounded, overshoots cut off."""
    from PIL import Image

    resized = Image.fromarray(image.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(resized).clip(0, 255)


def bilinear_weights(before: int, after: int, *, half_pixel: bool) -> Plane:
    """Weights (after, before) of bilinear resizing along one axis, two pixels for each new one.

    With `half_pixel` the centres of pixels are matched (torch's ``interpolate``, ``align_corners=False``), without
    it their upper left corners (TensorFlow 1's ``resize_bilinear``). In float32, as both compute their places.
    """
    offset = np.float32(0.5 if half_pixel else 0.0)
    scale = np.float32(before) / np.float32(after)
    at = np.maximum((np.arange(after, dtype=np.float32) + offset) * scale - offset, np.float32(0.0))
    low = np.floor(at).astype(np.int64)
    high = np.minimum(low + 1, before - 1)
    weights = np.zeros((after, before), np.float32)
    rows = np.arange(after)
    np.add.at(weights, (rows, low), 1 - (at - low))
    np.add.at(weights, (rows, high), at - low)
    return weights
