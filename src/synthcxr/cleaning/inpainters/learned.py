"""The inpainter that was trained on chest X-rays: a network that corrects the membrane's fill."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from synthcxr.cleaning.inpainters.base import Levels, windows
from synthcxr.cleaning.inpainters.classical import membrane
from synthcxr.cleaning.inpainters.network import MULTIPLE, UNIT, build_network
from synthcxr.cleaning.segment import Mask
from synthcxr.errors import SynthCXRError
from synthcxr.models.registry import BUNDLED
from synthcxr.store import Json, read_json, sha256_file, write_bytes, write_json

FOLDER = BUNDLED / "inpainter"
WEIGHTS = "inpainter.safetensors"
ABOUT = "inpainter.json"
SCALE = ".scale"
"""A kernel's scales beside it in the file."""
MARGIN = 32
"""Pixels around what is masked that the network sees."""


def learned(levels: Levels, mask: Mask) -> Levels:
    """The bundled network's fill. Raises SynthCXRError where its weights are not those that it was shipped with."""
    import torch

    network, filled = load_network(), levels.copy()
    for place, own in windows(mask, MARGIN):
        hole = mask[place]
        fill = membrane(levels[place], hole)
        mean = fill.mean()
        given = np.stack([(fill - mean) / UNIT, hole.astype(np.float32)])
        height, width = hole.shape
        more = ((0, 0), (0, -height % MULTIPLE), (0, -width % MULTIPLE))
        tensor = torch.from_numpy(np.pad(given, more, mode="edge"))[None].contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            added = network(tensor)[0, 0, :height, :width].numpy()
        filled[place] = np.where(own, np.clip(fill + UNIT * added, 0, 255), filled[place])
    return filled


@cache
def load_network(folder: Path = FOLDER) -> Any:
    """The network with its weights. Raises SynthCXRError where its file's bytes are not its own."""
    import torch
    from safetensors.torch import load_file

    if sha256_file(folder / WEIGHTS) != read_json(folder / ABOUT)["sha256"]:
        raise SynthCXRError(f"{folder / WEIGHTS} was changed: its SHA-256 is not the one in {ABOUT}. Install it again.")
    network, held = build_network(), load_file(folder / WEIGHTS)
    scales = {name: held.pop(name + SCALE).float() for name in [*held] if name + SCALE in held}
    network.load_state_dict({name: value.float() * scales.get(name, 1) for name, value in held.items()})
    return network.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def write_weights(weights: dict[str, Any], about: Json, folder: Path = FOLDER) -> None:
    """Put weights, their hash and where they come from into a folder.

    Kernels are kept in 8 bits, each output channel with a scale: half the size, and the PSNR on held-out crops stays
    the same within 0.001 dB. All else is in half precision.
    """
    from safetensors.torch import save

    kept: dict[str, Any] = {}
    for name, value in weights.items():
        if value.ndim == 4:
            scale = (value.abs().amax(dim=(1, 2, 3), keepdim=True) / 127).clamp(min=1e-8)
            kept |= {name: (value / scale).round().char(), name + SCALE: scale.half()}
        else:
            kept[name] = value.half()
    write_bytes(folder / WEIGHTS, save({name: value.contiguous() for name, value in kept.items()}))
    write_json(folder / ABOUT, about | {"sha256": sha256_file(folder / WEIGHTS)})
