"""An image encoder that is fixed by statistics: principal components of squares of pixels, written into a network.

The encoder of an `AutoencoderKL` is made linear and exact, so that any reader of the format runs it: residual branches
are silent, each strided convolution moves a 2 × 2 square's pixels into channels and turns them, and the last SiLU is
undone by x = silu(x) - silu(-x). What is learned is the decoder alone, and a denoiser can be trained beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from synthcxr.errors import UsageError
from synthcxr.images import Grey, to_model_range

if TYPE_CHECKING:
    from torch import Tensor

Floats = npt.NDArray[np.float64]

STEADYING = 64.0
"""Size of the constant channels beside which the group norm's division changes by less than a thousandth."""
LATENT_STD = 0.02
SPREAD_POWER = 0.5
"""Latents keep this power of their components' deviation: whole, details drown in noise; none, they are all noise."""


@dataclass(frozen=True)
class Components:
    """Turns of 2 × 2 squares, level by level, and of the last level the mean and deviation of each component."""

    turns: tuple[Floats, ...]
    """One a level: (channels out, 4 × channels in), orthonormal rows; in-channels in the order row, column, channel."""
    mean: Floats
    deviation: Floats


def principal_components(images: Sequence[Grey], widths: Sequence[int], count: int) -> Components:
    """Components of squares of 2^levels pixels, in units of the model range (-1 to 1).

    At most `widths` channels are kept after each level and `count` after the last; where the widths have room for all
    (1, 4, 16, 64 …) this is the plain principal component analysis of the squares.
    """
    planes = [to_model_range(image)[None].astype(np.float32) for image in images]
    turns = []
    for level, width in enumerate(widths):
        planes = [gather_squares(plane) for plane in planes]
        mean, covariance = _moments(planes)
        variances, vectors = np.linalg.eigh(covariance)
        kept = min(count, width) if level == len(widths) - 1 else min(len(variances), width)
        turn = vectors[:, ::-1][:, :kept].T
        turn = turn * np.sign(turn[np.arange(len(turn)), np.abs(turn).argmax(axis=1)])[:, None]
        turns.append(turn)
        deviation, mean = np.sqrt(np.maximum(variances[::-1][:kept], 1e-12)), turn @ mean
        planes = [np.einsum("oc,chw->ohw", turn.astype(np.float32), plane) for plane in planes]
    return Components(tuple(turns), mean, deviation)


def gather_squares(plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Channels (c, 2h, 2w) as (4c, h, w): a 2 × 2 square's values in the order row, column, channel."""
    return np.concatenate([plane[:, row::2, column::2] for row in (0, 1) for column in (0, 1)])


def _moments(planes: list[npt.NDArray[np.float32]]) -> tuple[Floats, Floats]:
    total, squares, count = np.zeros(len(planes[0])), np.zeros((len(planes[0]),) * 2), 0
    for plane in planes:
        values = plane.reshape(len(plane), -1).astype(np.float64)
        total, squares, count = total + values.sum(axis=1), squares + values @ values.T, count + values.shape[1]
    mean = total / count
    return mean, squares / count - np.outer(mean, mean)


def write_encoder(vae: Any, components: Components) -> None:
    """Make a VAE's encoder give these components, the latents scaled to unit variance over all channels.

    Raises UsageError where there are not as many components as latent channels, as in an encoder too narrow on the
    way, or where its last width has no room for every component twice and for constants beside them.
    """
    import torch

    encoder, count = vae.encoder, len(components.mean)
    width, groups = encoder.conv_norm_out.num_channels, encoder.conv_norm_out.num_groups
    per_group = -(-count // groups)
    constants = width // groups - 2 * per_group
    if count < vae.config.latent_channels:
        raise UsageError(f"An encoder this narrow has {count} principal components for {vae.config.latent_channels}.")
    if constants < 2:
        raise UsageError(f"{count} principal components need an encoder wider than {width} channels at its end.")
    with torch.no_grad():
        for parameter in [*encoder.parameters(), *vae.quant_conv.parameters()]:
            parameter.zero_()
        for block in [*encoder.down_blocks, encoder.mid_block]:
            for resnet in block.resnets:
                for norm in (resnet.norm1, resnet.norm2):
                    norm.weight.fill_(1.0)
        encoder.conv_in.weight[0, :, 1, 1] = 1 / encoder.conv_in.in_channels
        channels = 1
        for block, turn in zip(encoder.down_blocks, components.turns, strict=False):
            _pass_on(block.resnets[0], channels)
            kernel = _tensor(turn).reshape(len(turn), 2, 2, channels).permute(0, 3, 1, 2)
            block.downsamplers[0].conv.weight[: len(turn), :channels, :2, :2] = kernel
            channels = len(turn)
        _write_last(encoder, components, per_group, constants)
        for index in range(2 * count):
            vae.quant_conv.weight[index, index] = 1.0
        vae.quant_conv.bias[count:] = 2 * np.log(LATENT_STD)


def _pass_on(resnet: Any, channels: int) -> None:
    """Let a residual block, its branch silent, hand its first channels on as they are."""
    if resnet.conv_shortcut is not None:
        for channel in range(channels):
            resnet.conv_shortcut.weight[channel, channel, 0, 0] = 1.0


def _write_last(encoder: Any, components: Components, per_group: int, constants: int) -> None:
    """The last block and the way out: every component with both signs, beside constants that steady the group norm."""
    shortcut, norm, out = encoder.down_blocks[-1].resnets[0].conv_shortcut, encoder.conv_norm_out, encoder.conv_out
    if shortcut is None:
        raise UsageError("An encoder for principal components must grow wider in its last block.")
    size = norm.num_channels // norm.num_groups
    steadied = STEADYING * np.sqrt(2 * (constants // 2) / size)
    scales = components.deviation ** (SPREAD_POWER - 1)
    scales /= np.sqrt(np.mean((scales * components.deviation) ** 2))
    norm.weight.fill_(steadied)
    for index, (mean, scale) in enumerate(zip(components.mean, scales, strict=True)):
        group, place = divmod(index, per_group)
        for sign, channel in ((1.0, group * size + 2 * place), (-1.0, group * size + 2 * place + 1)):
            shortcut.weight[channel, index, 0, 0] = sign
            shortcut.bias[channel] = -sign * mean
            out.weight[index, channel, 1, 1] = sign * scale
    for group in range(norm.num_groups):
        first = group * size + 2 * per_group
        half = constants // 2
        shortcut.bias[first : first + half] = STEADYING
        shortcut.bias[first + half : first + 2 * half] = -STEADYING


def _tensor(values: Floats) -> "Tensor":
    import torch

    return torch.from_numpy(np.ascontiguousarray(values)).float()
