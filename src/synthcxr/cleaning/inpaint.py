"""Fill masked pixels from what is around them; every other pixel stays as it was."""

from functools import cache
from typing import Literal, cast

import numpy as np

from synthcxr.cleaning.inpainters.base import Fill
from synthcxr.cleaning.inpainters.classical import membrane, navier_stokes, telea
from synthcxr.cleaning.inpainters.learned import ABOUT, FOLDER, learned
from synthcxr.cleaning.paste import Same, paste
from synthcxr.cleaning.segment import Mask
from synthcxr.store import Json, read_json

Method = Literal["learned", "membrane", "telea", "navier-stokes", "diffusion"]
FILLS: dict[Method, Fill] = {
    "learned": learned,
    "membrane": membrane,
    "telea": telea,
    "navier-stokes": navier_stokes,
}
"""All but `diffusion`, which needs a model."""


@cache
def find_fill(method: Method, model: str = "bundled", device: str = "auto", dtype: str = "auto", seed: int = 0) -> Fill:
    """The fill of a name, with its weights loaded; `model`, a reference, and the rest are those of `diffusion`.

    Raises UsageError for a model that does not draw into images, SynthCXRError for one that cannot be loaded.
    """
    if method != "diffusion":
        return FILLS[method]
    from synthcxr.cleaning.inpainters.diffusion import Diffusion
    from synthcxr.devices import pick
    from synthcxr.models.registry import load

    return Diffusion(load(model, pick(device, dtype)), seed=seed)


def identify_fill(method: Method, model: str = "bundled") -> Json:
    """Hashes of the weights that a fill has, as far as they are on this machine; a result depends on them."""
    if method == "learned":
        return {"inpainter_sha256": read_json(FOLDER / ABOUT)["sha256"]}
    if method != "diffusion":
        return {}
    from synthcxr.models.registry import identify, resolve

    return {f"inpainter_{name}": value for name, value in identify(resolve(model)).items()}


def inpaint(image: Same, mask: Mask, method: Method | Fill = "learned") -> Same:
    """A grey image (height, width) of 8 or 16 bits with the masked pixels filled; the others are equal to the input.

    16 bits are filled on the scale from the lowest to the highest value that is not masked.
    """
    if not mask.any():
        return cast(Same, image.copy())
    fill = find_fill(method) if isinstance(method, str) else method
    offset, scale = 0.0, 1.0
    if image.dtype != np.uint8:
        known = image[~mask] if not mask.all() else image
        offset = float(known.min())
        scale = max(float(known.max()) - offset, 1.0) / 255
    levels = np.clip((image - offset) / scale, 0, 255).astype(np.float32)
    return paste(image, fill(levels, mask), mask, scale, offset)
