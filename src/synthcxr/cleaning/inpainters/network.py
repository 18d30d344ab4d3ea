"""The network of the learned inpainter: what a smooth fill lacks, told from what is around it."""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

WIDTHS = (48, 96, 128)
UNIT = 32.0
"""Grey levels (of 255) that are 1 to the network; it sees differences to the mean of its window."""
MULTIPLE = 8
"""Heights and widths that the network takes are multiples of this."""


def build_network() -> Any:
    """A U-Net (arXiv:1505.04597) of residual blocks without norms, 2.1 M weights.

    Takes (n, 2, height, width): a smooth fill, and the mask (1 where it was filled). Gives (n, 1, height, width): what
    to add to the fill, of use inside the mask only. Its finest level has half the image's resolution, since the fill
    has the pixels already; its coarsest has an eighth, with dilations to see past the width of a letter.
    """
    from torch import nn
    from torch.nn.functional import relu

    class Block(nn.Module):
        """Two 3 × 3 convolutions around a shortcut; at first it gives what it gets (arXiv:1901.09321)."""

        def __init__(self, width: int, dilation: int = 1) -> None:
            super().__init__()
            self.first = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
            self.second = nn.Conv2d(width, width, 3, padding=1)
            _zero(self.second)

        def forward(self, x: "Tensor") -> "Tensor":
            changed: Tensor = self.second(relu(self.first(x)))
            return x + changed

    class Inpainter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            steps = list(pairwise(WIDTHS))
            self.enter = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(8, WIDTHS[0], 3, padding=1))
            self.before = nn.ModuleList(nn.Sequential(Block(width), Block(width)) for width in WIDTHS[:-1])
            self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in steps)
            self.middle = nn.Sequential(*(Block(WIDTHS[-1], dilation) for dilation in (1, 2, 4, 1)))
            self.up = nn.ModuleList(
                nn.Sequential(nn.Conv2d(coarse, 4 * fine, 1), nn.PixelShuffle(2)) for fine, coarse in steps
            )
            self.after = nn.ModuleList(nn.Sequential(Block(width), Block(width)) for width in WIDTHS[:-1])
            self.leave = nn.Sequential(nn.Conv2d(WIDTHS[0], 4, 3, padding=1), nn.PixelShuffle(2))
            _zero(self.leave[0])

        def forward(self, x: "Tensor") -> "Tensor":
            x = self.enter(x)
            kept = []
            for block, down in zip(self.before, self.down, strict=True):
                kept.append(block(x))
                x = down(kept[-1])
            x = self.middle(x)
            for up, after in zip(reversed(self.up), reversed(self.after), strict=True):
                x = after(up(x) + kept.pop())
            return self.leave(x)  # type: ignore[no-any-return]

    return Inpainter()


def _zero(layer: Any) -> None:
    for weights in layer.parameters():
        weights.data.zero_()
