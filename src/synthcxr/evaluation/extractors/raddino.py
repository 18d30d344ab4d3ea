"""Rad-DINO, a vision transformer that has seen 838,336 chest X-rays and no label: its class token, 768 numbers.

Pérez-García et al., "Exploring scalable medical image encoders beyond text supervision", Nature Machine Intelligence
2025. The layout is transformers' Dinov2; images are laid out by the processor that lies beside the weights: the short
side to 518 px, so nothing is squashed.
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from synthcxr.errors import SynthCXRError
from synthcxr.evaluation.extractors.base import Extractor
from synthcxr.images import Grey
from synthcxr.models.sources import file_hash
from synthcxr.store import read_json

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "model.safetensors"
FILES = {
    "config.json": "89daf9751d9576d586dedf9543c1083211611fa3a36908db7a799b3ce7c68ede",
    "preprocessor_config.json": "c537fc995c30e2353f07253899618d60e9eae3d5f82473778602c007c6523b56",
    WEIGHTS: "dbfb9f54459c38773505de64a6ab7807bdcb392610fe1e697166342e43fb91ae",
}
"""The files that are used, at revision 110cbc18 of microsoft/rad-dino, and their SHA-256."""


def open_rad_dino(folder: Path) -> Extractor:
    """The extractor of a folder with ``config.json``, ``preprocessor_config.json`` and ``model.safetensors``.

    Raises SynthCXRError where it is no Dinov2, or lacks a file.
    """
    from transformers import AutoImageProcessor, Dinov2Model

    for file in FILES:
        if not (folder / file).is_file():
            raise SynthCXRError(f"{folder} has no {file}. Rad-DINO's folder has {', '.join(FILES)}.")
    kind = read_json(folder / "config.json").get("model_type")
    if kind != "dinov2":
        raise SynthCXRError(f"{folder} holds a {kind}, where Rad-DINO's layout (dinov2) is needed.")
    try:
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
        network = Dinov2Model.from_pretrained(folder, local_files_only=True).eval().requires_grad_(False)
    except Exception as error:  # transformers raises bare exceptions of many kinds
        raise SynthCXRError(f"Rad-DINO in {folder} cannot be loaded: {error}") from error
    known = all(file_hash(folder / file) == sha256 for file, sha256 in FILES.items())
    digest = file_hash(folder / WEIGHTS)
    return Extractor(
        name="rad-dino",
        title="Rad-DINO's class token",
        sha256=digest,
        dimension=int(network.config.hidden_size),
        preprocessing=_describe(processor),
        distance="frechet_distance",
        prepare=partial(prepare, processor),
        network=_class_token(network),
        known=known,
        warning="" if known else f"These Rad-DINO files ({WEIGHTS} {digest[:12]}…) are not the published ones.",
    )


def prepare(processor: Any, image: Grey) -> npt.NDArray[np.float32]:
    """A grey image as the network takes it: (3, side, side), normalised as the processor says."""
    colour = np.repeat(image[..., None], 3, axis=2)
    values: npt.NDArray[np.float32] = processor(images=colour, return_tensors="np")["pixel_values"][0]
    return values


def _describe(processor: Any) -> str:
    size, crop = dict(processor.size), dict(processor.crop_size)
    return (
        f"8-bit grey square in three equal channels, short side to {size.get('shortest_edge', size)} px (Pillow, "
        f"filter {int(processor.resample)}), centre {crop['height']} × {crop['width']}, "
        f"mean {processor.image_mean[0]:.4g}, deviation {processor.image_std[0]:.4g}"
    )


def _class_token(network: Any) -> Any:
    import torch

    class ClassToken(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: "Tensor") -> "Tensor":
            token: Tensor = self.network(pixel_values=x).pooler_output
            return token

    return ClassToken()
