"""Sixteen landmarks of a frontal chest X-ray, found by a small network that learnt them from 150 marked images.

Left and right are those of the image: on an image as radiologists hang it, its left is the patient's right.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthcxr.errors import SynthCXRError
from synthcxr.evaluation.intervals import Floats
from synthcxr.images import Grey, resize
from synthcxr.store import Json, read_json, sha256_file, write_json

if TYPE_CHECKING:
    from torch import Tensor

_LUNG = ("apex", "upper_wall", "wall", "costophrenic", "dome", "cardiophrenic", "hilum")
POINTS = (*(f"left_{name}" for name in _LUNG), *(f"right_{name}" for name in _LUNG), "heart_left", "heart_right")
"""The landmarks. Of each lung, in the order of its outline: its highest point; the inner edge of the ribs at about a
quarter of its height and where the chest is widest; the costophrenic angle; the highest point of the diaphragm under
it; where the diaphragm meets heart or spine; the medial edge at the height of the hilum. Then the two points of the
heart that lie farthest to the left and to the right."""
LUNGS = (slice(0, 7), slice(7, 14))
"""Where the two lungs' points lie in `POINTS`."""
HEART_LEFT, HEART_RIGHT = 14, 15
MIRRORED = (*range(7, 14), *range(7), HEART_RIGHT, HEART_LEFT)
"""Which point of the mirrored image each point is."""

INPUT_SIDE = 128
MARGIN = 8
"""Pixels of black around the input: a point on the image's edge lies inside the map."""
WIDTHS = (16, 32, 64, 96)
FOLDER = Path(__file__).parent / "weights"
WEIGHTS = "landmarks.safetensors"
ABOUT = "landmarks.json"


@dataclass(frozen=True)
class Landmarks:
    """The network with its hash and `about`: what it was learnt from, and its errors on images of other patients."""

    network: Any
    sha256: str
    about: Json

    def find(self, images: Iterable[Grey], batch_size: int = 32) -> Floats:
        """The landmarks (N, 16, 2) of grey square images: x and y in parts of the side, from the top left.

        What the image and its mirror image say is averaged. A point that the image cuts off lies on its edge.
        """
        import torch

        found, iterator = [np.zeros((0, len(POINTS), 2))], iter(images)
        with torch.inference_mode():
            while block := list(islice(iterator, batch_size)):
                x = to_input(block)
                mirrored = points_of(self.network(x.flip(-1)))[:, MIRRORED]
                mirrored[..., 0] = 1 - mirrored[..., 0]
                found.append(((points_of(self.network(x)) + mirrored) / 2).clamp(0, 1).double().numpy())
        return np.concatenate(found)


def to_input(images: Iterable[Grey]) -> "Tensor":
    """Grey square images as the network takes them: (n, 1, 144, 144), each of mean 0 and deviation 1, padded."""
    import torch
    from torch.nn.functional import pad

    small = np.stack([resize(image, INPUT_SIDE, INPUT_SIDE) for image in images]).astype(np.float32)
    return pad(standardised(torch.from_numpy(small)[:, None]), [MARGIN] * 4)


def standardised(x: "Tensor") -> "Tensor":
    """Images (n, 1, side, side) less their means, over their deviations."""
    return (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), keepdim=True).clamp(min=1)


def points_of(maps: "Tensor") -> "Tensor":
    """The points (n, 16, 2), in parts of the image's side, that maps of scores (n, 16, h, h) stand for.

    Each is the mean place under its map's softmax (Nibali et al., arXiv:1801.07372).
    """
    shares = maps.flatten(2).softmax(-1).view_as(maps)
    place = places(maps.shape[-1]).to(maps.dtype)
    import torch

    return torch.stack([(shares.sum(2) * place).sum(-1), (shares.sum(3) * place).sum(-1)], -1)


def places(count: int) -> "Tensor":
    """Where the `count` columns of a map lie, in parts of the image's side: below 0 and above 1 in the margin."""
    import torch

    whole = INPUT_SIDE + 2 * MARGIN
    return ((torch.arange(count) + 0.5) * whole / count - MARGIN) / INPUT_SIDE


def build_network() -> Any:
    """A small U-Net (arXiv:1505.04597) from (n, 1, 144, 144) to maps of scores (n, 16, 72, 72)."""
    import torch
    from torch import nn
    from torch.nn.functional import interpolate, max_pool2d

    def block(before: int, after: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for inside in (before, after):
            layers += [nn.Conv2d(inside, after, 3, 1, 1, bias=False), nn.GroupNorm(8, after), nn.SiLU()]
        return nn.Sequential(*layers)

    class Network(nn.Module):
        """Down to maps of 9 × 9, where a place sees all of the chest, and up again to 72 × 72."""

        def __init__(self) -> None:
            super().__init__()
            self.down = nn.ModuleList(block(i, o) for i, o in zip((4, *WIDTHS[:-1]), WIDTHS, strict=True))
            self.up = nn.ModuleList(block(WIDTHS[i + 1] + WIDTHS[i], WIDTHS[i]) for i in reversed(range(3)))
            self.last = nn.Conv2d(WIDTHS[0], len(POINTS), 1)

        def forward(self, x: "Tensor") -> "Tensor":
            x = nn.functional.pixel_unshuffle(x, 2)
            kept = []
            for depth, layer in enumerate(self.down):
                x = layer(max_pool2d(x, 2) if depth else x)
                kept.append(x)
            for layer, beside in zip(self.up, reversed(kept[:-1]), strict=True):
                wide = interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
                x = layer(torch.cat([wide, beside], 1))
            maps: Tensor = self.last(x)
            return maps

    return Network()


def save_landmarks(network: Any, about: Json, folder: Path) -> None:
    """Write the network in half precision, and what belongs to it."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().to(torch.float16).contiguous() for k, v in network.state_dict().items()}, folder / WEIGHTS)
    write_json(folder / ABOUT, {**about, "points": list(POINTS), "sha256": sha256_file(folder / WEIGHTS)})


@cache
def load_landmarks(folder: Path = FOLDER) -> Landmarks:
    """Load the network, by default the package's. Raises SynthCXRError where its bytes are not its own."""
    from safetensors.torch import load_file

    about = read_json(folder / ABOUT)
    digest = sha256_file(folder / WEIGHTS)
    if digest != about["sha256"]:
        raise SynthCXRError(f"{folder / WEIGHTS} was changed: its SHA-256 is not the one in {ABOUT}. Install it again.")
    network = build_network()
    network.load_state_dict({key: value.float() for key, value in load_file(folder / WEIGHTS).items()})
    return Landmarks(network.eval().requires_grad_(False), digest, about)
