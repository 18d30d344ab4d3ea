"""A small classifier of chest X-rays that trains from random weights in seconds: the yardstick of usefulness.

It begins from nothing on purpose. Weights that were learnt on X-rays before would carry what real images taught them
into a figure that is to say what the given images teach.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from synthcxr.evaluation.intervals import Floats, Ints
from synthcxr.imagefolder import Row
from synthcxr.images import to_square

if TYPE_CHECKING:
    from torch import Tensor

Images = npt.NDArray[np.float32]

SIDE = 64
STEPS = 200
BATCH = 32
WIDTHS = (16, 32, 64, 96)
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.05
SHIFT, ZOOM, TURN = 0.08, 0.08, 0.08
"""Largest shift (share of half a side), change of scale, and turn (radians) of a training image; none is flipped."""
PREPROCESSING = f"8-bit grey, central square, Lanczos to {SIDE} px, mean 0 and deviation 1 an image"
METHOD = (
    f"a convolutional network of {len(WIDTHS)} layers from random weights, {STEPS} steps of {BATCH} images of "
    f"{SIDE} px, AdamW, no flips"
)


@dataclass(frozen=True)
class Taught:
    """What a classifier learns from: `images` (N, 64, 64), each of mean 0 and deviation 1, and `labels` (N, L).

    A label is 1, 0 or NaN where it is not stated.
    """

    images: Images
    labels: Floats

    def __len__(self) -> int:
        """The number of images."""
        return len(self.images)

    def take(self, index: Ints) -> "Taught":
        """The images at these places."""
        return Taught(self.images[index], self.labels[index])


def together(one: Taught, other: Taught) -> Taught:
    """The images of both."""
    return Taught(np.concatenate([one.images, other.images]), np.concatenate([one.labels, other.labels]))


def prepare(rows: Sequence[Row]) -> Images:
    """Images (N, 64, 64) as the classifier takes them; how bright or rich in contrast one is says nothing any more."""
    images = np.empty((len(rows), SIDE, SIDE), np.float32)
    for i, row in enumerate(rows):
        small = to_square(row.read(), SIDE).astype(np.float32)
        images[i] = (small - small.mean()) / max(1.0, float(small.std()))
    return images


def fit(taught: Taught, seed: int, *, steps: int = STEPS, device: str = "auto") -> Any:
    """A network trained for a fixed number of steps, whatever the number of images; the last weights count.

    Every epoch takes each image once, in an order and with small shifts, zooms and turns drawn from `seed`.
    """
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    from synthcxr.devices import pick

    compute = pick(device, "float32")
    images, labels = torch.from_numpy(taught.images)[:, None], torch.from_numpy(taught.labels).float()
    order = torch.zeros(0, dtype=torch.long)
    with torch.random.fork_rng():  # weights, order, changes of the images and dropout
        torch.manual_seed(seed)
        network = compute.place(_build(taught.labels.shape[1]))
        optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
        for _ in range(steps):
            while len(order) < BATCH:
                order = torch.cat([order, torch.randperm(len(images))])
            batch, order = order[:BATCH], order[BATCH:]
            wanted = labels[batch].to(compute.device)
            seen = network(_jitter(images[batch]).to(compute.device))
            errors = binary_cross_entropy_with_logits(seen, wanted.nan_to_num(), reduction="none")
            stated = ~wanted.isnan()
            loss: Tensor = (errors * stated).sum() / stated.sum().clamp(min=1)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    return network.eval()


def scores(network: Any, images: Images) -> Floats:
    """What the network says of images: logits (N, L)."""
    import torch

    device = next(network.parameters()).device
    with torch.no_grad():
        found = [network(block[:, None].to(device)).cpu() for block in torch.split(torch.from_numpy(images), 256)]
    logits: Floats = torch.cat(found).double().numpy()
    return logits


def _build(labels: int) -> Any:
    """Convolutions with group norms, each halving the image: (n, 1, 64, 64) to logits (n, labels)."""
    from torch import nn

    layers: list[Any] = [nn.Conv2d(1, WIDTHS[0], 5, 2, 2), nn.GroupNorm(8, WIDTHS[0]), nn.SiLU()]
    for before, width in pairwise(WIDTHS):
        layers += [nn.Conv2d(before, width, 3, 2, 1), nn.GroupNorm(8, width), nn.SiLU()]
    cells = (SIDE >> len(WIDTHS)) ** 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(WIDTHS[-1] * cells, labels))


def _jitter(images: "Tensor") -> "Tensor":
    """Images (n, 1, side, side), each shifted, zoomed and turned a little; the edge goes on beyond the border."""
    import torch
    from torch.nn.functional import affine_grid, grid_sample

    x, y, zoom, turn = (torch.rand(4, len(images)) * 2 - 1) * torch.tensor([[SHIFT], [SHIFT], [ZOOM], [TURN]])
    cosine, sine = (1 + zoom) * turn.cos(), (1 + zoom) * turn.sin()
    matrix = torch.stack([cosine, -sine, x, sine, cosine, y], 1).reshape(-1, 2, 3)
    grid = affine_grid(matrix, list(images.shape), align_corners=False)
    return grid_sample(images, grid, padding_mode="border", align_corners=False)
