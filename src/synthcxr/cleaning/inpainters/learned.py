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
    network = build_network()
    network.load_state_dict({name: value.float() for name, value in load_file(folder / WEIGHTS).items()})
    return network.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def write_weights(weights: dict[str, Any], about: Json, folder: Path = FOLDER) -> None:
    """Put weights in half precision, their hash and where they come from into a folder."""
    from safetensors.torch import save

    half = {name: value.half().contiguous() for name, value in weights.items()}
    write_bytes(folder / WEIGHTS, save(half))
    write_json(folder / ABOUT, about | {"sha256": sha256_file(folder / WEIGHTS)})
