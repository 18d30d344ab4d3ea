"""The encoder that ships with the package: a small network trained on chest X-rays.

Of an image it gives 64 features, which carry what is seen and how well, and an identity, which does not change
when the same image is blurred, shifted or made brighter: features are for distances, identities for near-copies.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from synthcxr.errors import SynthCXRError
from synthcxr.images import Grey, central_square, resize
from synthcxr.models.registry import BUNDLED
from synthcxr.store import read_json, sha256_file, write_json

if TYPE_CHECKING:
    from torch import Tensor

NAME = "synthcxr-encoder"
DIMENSION = 64
IDENTITY = 64
INPUT_SIZE = 256
WIDTHS = (24, 48, 96, 160)
SCALES = 3
SHRINKAGE = 0.1
LABELS = ("pa_view", "child", "female", "abnormal", "pneumonia", "opacity")
PREPROCESSING = f"8-bit grey square, Lanczos to {INPUT_SIZE} px, scaled to -1..1"
FOLDER = BUNDLED / "encoder"
WEIGHTS = "encoder.safetensors"


class Extracted(NamedTuple):
    """What the encoder gives of N images: `features` (N, 64), and `identity` (N, 64), vectors of length 1."""

    features: npt.NDArray[np.float32]
    identity: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Encoder:
    """A named, hashed network that turns grey images into features, and says what its classifiers see."""

    name: str
    sha256: str
    dimension: int
    preprocessing: str
    network: Any
    heads: Any

    def extract(self, images: Iterable[Grey], batch_size: int = 32, device: str = "auto") -> Extracted:
        """Features and identities of grey images, read as they come, `batch_size` in memory at once.

        Of an image that is not square the central square is seen.

        Features are about white over the training images (see `whiten`): a Fréchet distance is in these units.
        """
        import torch

        from synthcxr.devices import pick

        compute = pick(device, "float32")
        network = compute.place(self.network)
        found = [(np.zeros((0, self.dimension), np.float32), np.zeros((0, IDENTITY), np.float32))]
        with torch.no_grad():
            for block in _blocks(images, batch_size):
                features, identity = network(to_input(block).to(compute.device))
                found.append((features.cpu().numpy(), identity.cpu().numpy()))
        return Extracted(*map(np.concatenate, zip(*found, strict=True)))

    def classify(self, images: Iterable[Grey], batch_size: int = 32, device: str = "auto") -> npt.NDArray[np.float32]:
        """Probabilities (n, labels) of `LABELS`, in their order."""
        return self.label(self.extract(images, batch_size, device).features)

    def label(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Probabilities (n, labels) of `LABELS`, from features (n, 64)."""
        import torch

        heads = self.heads.cpu()
        probabilities: npt.NDArray[np.float32] = heads(torch.from_numpy(features)).sigmoid().numpy()
        return probabilities


def _blocks(images: Iterable[Grey], size: int) -> Iterator[Grey]:
    iterator = iter(images)
    while block := [resize(central_square(image), INPUT_SIZE, INPUT_SIZE) for image in islice(iterator, size)]:
        yield np.stack(block)


def to_input(images: Grey) -> "Tensor":
    """Grey images (n, side, side) as the network takes them: (n, 1, side, side), -1 to 1."""
    import torch

    from synthcxr.images import to_model_range

    return torch.from_numpy(to_model_range(images))[:, None].contiguous(memory_format=torch.channels_last)


def build_network() -> Any:
    """A small residual network with group norms (arXiv:1512.03385, 1803.08494).

    Takes (n, 1, 256, 256), gives features (n, 64) and identities (n, 64) of length 1. Detail is a hundredth of the
    grey range, and a network of this size does not find it by itself: so how much of it there is, at three scales
    and on a scale of logarithms, is worked out first and given to it. Features are means over the image; the
    identity knows where things are, on a grid of 4 × 4.
    """
    import torch
    from torch import nn
    from torch.nn.functional import avg_pool2d, normalize

    def detail(x: "Tensor") -> "list[Tensor]":
        """log(1 + |difference to the mean of 3 × 3| in grey levels), of the image and of its halves: (n, 1, …)."""
        found = []
        for scale in range(SCALES):
            x = avg_pool2d(x, 2) if scale else x
            around = avg_pool2d(x, 3, 1, 1, count_include_pad=False)
            found.append(torch.log1p(127.5 * (x - around).abs()))
        return found

    class Block(nn.Module):
        """Two 3 × 3 convolutions around a shortcut, the first one halving the resolution where asked."""

        def __init__(self, before: int, after: int, stride: int) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(before, after, 3, stride, 1, bias=False),
                nn.GroupNorm(8, after),
                nn.SiLU(),
                nn.Conv2d(after, after, 3, 1, 1, bias=False),
                nn.GroupNorm(8, after),
            )
            plain = stride == 1 and before == after
            self.shortcut = nn.Identity() if plain else nn.Conv2d(before, after, 1, stride)

        def forward(self, x: "Tensor") -> "Tensor":
            return nn.functional.silu(self.body(x) + self.shortcut(x))

    class Network(nn.Module):
        """The shared trunk and its two ends."""

        def __init__(self) -> None:
            super().__init__()
            # Pixels are laid 2 × 2 deep: every one is seen, at a quarter of the cost.
            self.stem = nn.Sequential(
                nn.PixelUnshuffle(2), nn.Conv2d(4, 16, 3, 1, 1), nn.SiLU(), nn.Conv2d(16, WIDTHS[0], 3, 2, 1)
            )
            blocks = []
            for before, after in zip((WIDTHS[0] + SCALES, *WIDTHS), WIDTHS, strict=False):
                blocks += [Block(before, after, 2), Block(after, after, 1)]
            self.trunk = nn.Sequential(*blocks)
            self.overall = nn.Sequential(nn.Linear(2 * SCALES + 2, 32), nn.SiLU())
            self.features = nn.Linear(WIDTHS[-1] + 32, DIMENSION)
            self.identity = nn.Sequential(
                nn.Conv2d(WIDTHS[-1], 32, 1), nn.SiLU(), nn.Flatten(), nn.Linear(32 * 16, IDENTITY)
            )

        def forward(self, x: "Tensor") -> "tuple[Tensor, Tensor]":
            maps = detail(x)
            stem = self.stem(x)
            fine = [avg_pool2d(each, each.shape[-1] // stem.shape[-1]) for each in maps]
            seen = self.trunk(torch.cat([stem, *fine], 1))
            spread = [part for each in (*maps, x) for part in (each.mean((1, 2, 3)), each.std((1, 2, 3)))]
            overall = self.overall(torch.stack(spread, 1))
            features = self.features(torch.cat([seen.mean((2, 3)), overall], 1))
            return features, normalize(self.identity(seen), dim=1)

    return Network()


def whiten(network: Any, features: "Tensor") -> None:
    """Rescale by these features (n, 64), so that none of them weighs more than its share, and nothing counts twice.

    Each gets mean 0 and deviation 1; then what they have in common is taken out (ZCA, directions of a variance
    far below `SHRINKAGE` stay small). Only the last layer's weights change. Without this, one difference that many
    features repeat, as between adults and children, is nearly all of a Fréchet distance, and blur and noise are
    lost in it.
    """
    import torch

    with torch.no_grad():
        mean, deviation = features.mean(0), features.std(0).clamp(min=1e-6)
        values, vectors = torch.linalg.eigh(torch.cov(((features - mean) / deviation).T).double())
        root = (values.clamp(min=0) + SHRINKAGE).sqrt()
        forth = ((vectors / root) @ vectors.T).float() / deviation
        network.features.weight.copy_(forth @ network.features.weight)
        network.features.bias.copy_(forth @ (network.features.bias - mean))


def save_network(network: Any, heads: Any, folder: Path) -> None:
    """Write the network and its classifiers in half precision, and what belongs to them."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    parts = {"network": network, "heads": heads}
    weights = {
        f"{part}.{key}": value.detach().to(torch.float16).contiguous().cpu()
        for part, module in parts.items()
        for key, value in module.state_dict().items()
    }
    save_file(weights, folder / WEIGHTS)
    write_json(
        folder / "encoder.json",
        {
            "name": NAME,
            "sha256": sha256_file(folder / WEIGHTS),
            "dimension": DIMENSION,
            "labels": list(LABELS),
            "preprocessing": PREPROCESSING,
        },
    )


def encoder_sha256(folder: Path = FOLDER) -> str:
    """Hash of the encoder's weights as its description states it, without loading them."""
    return str(read_json(folder / "encoder.json")["sha256"])


@cache
def load_encoder(folder: Path = FOLDER) -> Encoder:
    """Load the encoder, by default the one of the package. Raises SynthCXRError where its bytes are not its own."""
    from safetensors.torch import load_file
    from torch import nn

    described = read_json(folder / "encoder.json")
    digest = sha256_file(folder / WEIGHTS)
    if digest != described["sha256"]:
        raise SynthCXRError(
            f"{folder / WEIGHTS} was changed: its SHA-256 is not the one in encoder.json. Install it again."
        )
    network, heads = build_network(), nn.Linear(DIMENSION, len(LABELS))
    weights = {key: value.float() for key, value in load_file(folder / WEIGHTS).items()}
    for part, module in (("network", network), ("heads", heads)):
        prefix = f"{part}."
        module.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})
        module.eval().requires_grad_(False)
    return Encoder(described["name"], digest, described["dimension"], described["preprocessing"], network, heads)
