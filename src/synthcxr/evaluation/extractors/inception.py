"""Inception's pool3, the features of FID: 2,048 numbers of the network of December 2015 in its port to torch.

Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", 2017. The layout is
that of pytorch-fid and torch-fidelity, under whose names the weights are published: average pools that leave the
padding out, and a maximum pool in the last block.
"""

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthcxr.errors import SynthCXRError
from synthcxr.evaluation.extractors.base import Extractor
from synthcxr.evaluation.resize import WORDS, Plane, Resizing, resize_for
from synthcxr.images import Grey
from synthcxr.store import sha256_file

if TYPE_CHECKING:
    from torch import Tensor

SIDE = 299
DIMENSION = 2048
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""Of ``pt_inception-2015-12-05-6726825d.pth``, as pytorch-fid and torch-fidelity publish it."""

Step = tuple[str, int, int, tuple[int, int], int, tuple[int, int]]
"""One convolution: its name, channels before and after, kernel (height, width), stride, padding."""
Lane = tuple["Step | str | tuple[Step, ...]", ...]
"""What one branch of a block does in turn; a tuple of convolutions is a fork whose ends are joined."""

AVERAGE, MAXIMUM, HALVE = "average", "maximum", "halve"


def open_inception(weights: Path, resizing: Resizing = "clean") -> Extractor:
    """The extractor with weights from a file, resized in one of the three ways of `resize`.

    Raises SynthCXRError where the file is none of this network's.
    """
    digest = sha256_file(weights)
    known = digest == SHA256
    values = "(x - 128) / 128" if resizing != "legacy_pytorch" else "2 x / 255 - 1"
    return Extractor(
        name="inception" if resizing == "clean" else f"inception-{resizing.removeprefix('legacy_')}",
        title=f"Inception pool3, {WORDS[resizing]}",
        sha256=digest,
        dimension=DIMENSION,
        preprocessing=f"8-bit grey square, {WORDS[resizing]} to {SIDE} px, {values}, in three equal channels",
        distance="fid" if known else "frechet_distance",
        prepare=partial(prepare, resizing),
        network=load_network(weights, digest),
        known=known,
        warning=""
        if known
        else f"These Inception weights (SHA-256 {digest[:12]}…) are not FID's ({SHA256[:12]}…): no distance is an FID.",
    )


def prepare(resizing: Resizing, image: Grey) -> Plane:
    """A grey image as the network takes it: (1, 299, 299), about -1 to 1."""
    plane = resize_for(resizing, image, SIDE)
    return (plane * (2 / 255) - 1 if resizing == "legacy_pytorch" else (plane - 128) / 128)[None].astype(np.float32)


@cache
def load_network(weights: Path, sha256: str) -> Any:
    """The network with weights from a file whose SHA-256 is known; it takes (n, 1, 299, 299), gives (n, 2048).

    Each convolution takes in its batch norm, and the first one sums its weights over the three equal channels, so
    that a grey image is laid before it once. Raises SynthCXRError where the file is none of this network's.
    """
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    try:
        state: Mapping[str, Tensor] = torch.load(weights, map_location="cpu", weights_only=True)
        network = build_network()
        network.load_state_dict({key: value for key, value in state.items() if not key.startswith("fc.")})
    except Exception as error:  # torch and pickle raise a dozen kinds for a file that is not theirs
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise SynthCXRError(f"{weights} does not hold weights of FID's Inception: {first}") from error
    network.eval().requires_grad_(False)
    for unit in network.modules():
        if hasattr(unit, "bn"):
            unit.conv, unit.bn = fuse_conv_bn_eval(unit.conv, unit.bn), torch.nn.Identity()
    first_layer = network.Conv2d_1a_3x3.conv
    first_layer.weight = torch.nn.Parameter(first_layer.weight.sum(1, keepdim=True), requires_grad=False)
    first_layer.in_channels = 1
    return network


def build_network() -> Any:
    """The layout with random weights, named as in the published file; takes (n, 3, 299, 299), gives (n, 2048)."""
    import torch
    from torch import nn
    from torch.nn.functional import avg_pool2d, max_pool2d, relu

    class Unit(nn.Module):
        """Convolution, batch norm, ReLU."""

        def __init__(self, step: Step) -> None:
            super().__init__()
            _, before, after, kernel, stride, padding = step
            self.conv = nn.Conv2d(before, after, kernel, stride, padding, bias=False)
            self.bn = nn.BatchNorm2d(after, eps=0.001)

        def forward(self, x: "Tensor") -> "Tensor":
            return relu(self.bn(self.conv(x)), inplace=True)

    class Block(nn.Module):
        """Branches side by side, joined along the channels."""

        def __init__(self, lanes: tuple[Lane, ...]) -> None:
            super().__init__()
            self.lanes = lanes
            for step in (step for lane in lanes for item in lane for step in _steps(item)):
                self.add_module(step[0], Unit(step))

        def forward(self, x: "Tensor") -> "Tensor":
            return torch.cat([self.follow(lane, x) for lane in self.lanes], 1)

        def follow(self, lane: Lane, x: "Tensor") -> "Tensor":
            for item in lane:
                if item == AVERAGE:
                    x = avg_pool2d(x, 3, 1, 1, count_include_pad=False)
                elif item == MAXIMUM:
                    x = max_pool2d(x, 3, 1, 1)
                elif item == HALVE:
                    x = max_pool2d(x, 3, 2)
                else:
                    ends = [self.get_submodule(step[0])(x) for step in _steps(item)]
                    x = ends[0] if len(ends) == 1 else torch.cat(ends, 1)
            return x

    class Inception(nn.Sequential):
        """The blocks in turn, then the mean over places."""

        def forward(self, x: "Tensor") -> "Tensor":
            for block in self:
                x = block(x)
            return x.mean((2, 3))

    network = Inception()
    for item in STEM:
        module = Unit(item) if isinstance(item, tuple) else nn.MaxPool2d(3, 2)
        network.add_module(item[0] if isinstance(item, tuple) else item, module)
    for name, lanes in BLOCKS.items():
        network.add_module(name, Block(lanes))
    return network


def _steps(item: "Step | str | tuple[Step, ...]") -> tuple[Step, ...]:
    """The convolutions of one item of a lane: none of a pool, one, or those of a fork."""
    if isinstance(item, str):
        return ()
    return (item,) if isinstance(item[0], str) else item


# --- the layout -------------------------------------------------------------------------------------------


def _conv(
    name: str, before: int, after: int, kernel: int | tuple[int, int] = 1, stride: int = 1, pad: bool = True
) -> Step:
    """A convolution that keeps the size unless it has a stride or does not `pad`."""
    size = (kernel, kernel) if isinstance(kernel, int) else kernel
    padded = pad and stride == 1
    return name, before, after, size, stride, (size[0] // 2, size[1] // 2) if padded else (0, 0)


def _block_a(before: int, pooled: int) -> tuple[Lane, ...]:
    return (
        (_conv("branch1x1", before, 64),),
        (_conv("branch5x5_1", before, 48), _conv("branch5x5_2", 48, 64, 5)),
        (
            _conv("branch3x3dbl_1", before, 64),
            _conv("branch3x3dbl_2", 64, 96, 3),
            _conv("branch3x3dbl_3", 96, 96, 3),
        ),
        (AVERAGE, _conv("branch_pool", before, pooled)),
    )


def _block_b(before: int) -> tuple[Lane, ...]:
    return (
        (_conv("branch3x3", before, 384, 3, 2),),
        (
            _conv("branch3x3dbl_1", before, 64),
            _conv("branch3x3dbl_2", 64, 96, 3),
            _conv("branch3x3dbl_3", 96, 96, 3, 2),
        ),
        (HALVE,),
    )


def _block_c(before: int, width: int) -> tuple[Lane, ...]:
    return (
        (_conv("branch1x1", before, 192),),
        (
            _conv("branch7x7_1", before, width),
            _conv("branch7x7_2", width, width, (1, 7)),
            _conv("branch7x7_3", width, 192, (7, 1)),
        ),
        (
            _conv("branch7x7dbl_1", before, width),
            _conv("branch7x7dbl_2", width, width, (7, 1)),
            _conv("branch7x7dbl_3", width, width, (1, 7)),
            _conv("branch7x7dbl_4", width, width, (7, 1)),
            _conv("branch7x7dbl_5", width, 192, (1, 7)),
        ),
        (AVERAGE, _conv("branch_pool", before, 192)),
    )


def _block_d(before: int) -> tuple[Lane, ...]:
    return (
        (_conv("branch3x3_1", before, 192), _conv("branch3x3_2", 192, 320, 3, 2)),
        (
            _conv("branch7x7x3_1", before, 192),
            _conv("branch7x7x3_2", 192, 192, (1, 7)),
            _conv("branch7x7x3_3", 192, 192, (7, 1)),
            _conv("branch7x7x3_4", 192, 192, 3, 2),
        ),
        (HALVE,),
    )


def _block_e(before: int, pool: str) -> tuple[Lane, ...]:
    return (
        (_conv("branch1x1", before, 320),),
        (
            _conv("branch3x3_1", before, 384),
            (_conv("branch3x3_2a", 384, 384, (1, 3)), _conv("branch3x3_2b", 384, 384, (3, 1))),
        ),
        (
            _conv("branch3x3dbl_1", before, 448),
            _conv("branch3x3dbl_2", 448, 384, 3),
            (_conv("branch3x3dbl_3a", 384, 384, (1, 3)), _conv("branch3x3dbl_3b", 384, 384, (3, 1))),
        ),
        (pool, _conv("branch_pool", before, 192)),
    )


STEM: tuple[Step | str, ...] = (
    _conv("Conv2d_1a_3x3", 3, 32, 3, 2),
    _conv("Conv2d_2a_3x3", 32, 32, 3, pad=False),
    _conv("Conv2d_2b_3x3", 32, 64, 3),
    "MaxPool_1",
    _conv("Conv2d_3b_1x1", 64, 80),
    _conv("Conv2d_4a_3x3", 80, 192, 3, pad=False),
    "MaxPool_2",
)
BLOCKS: dict[str, tuple[Lane, ...]] = {
    "Mixed_5b": _block_a(192, 32),
    "Mixed_5c": _block_a(256, 64),
    "Mixed_5d": _block_a(288, 64),
    "Mixed_6a": _block_b(288),
    "Mixed_6b": _block_c(768, 128),
    "Mixed_6c": _block_c(768, 160),
    "Mixed_6d": _block_c(768, 160),
    "Mixed_6e": _block_c(768, 192),
    "Mixed_7a": _block_d(768),
    "Mixed_7b": _block_e(1280, AVERAGE),
    "Mixed_7c": _block_e(2048, MAXIMUM),
}
