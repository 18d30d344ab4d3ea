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
from synthcxr.images import Grey, resize
from synthcxr.models.registry import BUNDLED
from synthcxr.store import read_json, sha256_file, write_json

if TYPE_CHECKING:
    from torch import Tensor

NAME = "synthcxr-encoder"
DIMENSION = 64
IDENTITY = 64
INPUT_SIZE = 256
WIDTHS = (24, 48, 96, 160)
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
        """Features and identities of grey square images, read as they come, `batch_size` in memory at once.

        A feature has mean 0 and deviation 1 over the training images: a Fréchet distance is in these units.
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
    while block := [resize(image, INPUT_SIZE, INPUT_SIZE) for image in islice(iterator, size)]:
        yield np.stack(block)


def to_input(images: Grey) -> "Tensor":
    """Grey images (n, side, side) as the network takes them: (n, 1, side, side), -1 to 1."""
    import torch

    from synthcxr.images import to_model_range

    return torch.from_numpy(to_model_range(images))[:, None].contiguous(memory_format=torch.channels_last)


def build_network() -> Any:
    """A small residual network with group norms (arXiv:1512.03385, 1803.08494).

    Takes (n, 1, 256, 256), gives features (n, 64) and identities (n, 64) of length 1. Pixels are first laid
    2 × 2 deep, so that the finest detail is seen at a quarter of the cost. Features are means over the image;
    the identity knows where things are, on a grid of 4 × 4.
    """
    from torch import nn

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
            layers: list[nn.Module] = [nn.PixelUnshuffle(2), nn.Conv2d(4, 16, 3, 1, 1), nn.SiLU()]
            layers += [nn.Conv2d(16, WIDTHS[0], 3, 2, 1)]
            for before, after in zip((WIDTHS[0], *WIDTHS), WIDTHS, strict=False):
                layers += [Block(before, after, 2), Block(after, after, 1)]
            self.trunk = nn.Sequential(*layers)
            self.features = nn.Linear(WIDTHS[-1], DIMENSION)
            self.identity = nn.Sequential(
                nn.Conv2d(WIDTHS[-1], 32, 1), nn.SiLU(), nn.Flatten(), nn.Linear(32 * 16, IDENTITY)
            )

        def forward(self, x: "Tensor") -> "tuple[Tensor, Tensor]":
            seen = self.trunk(x)
            identity = nn.functional.normalize(self.identity(seen), dim=1)
            return self.features(seen.mean((2, 3))), identity

    return Network()


def standardise(network: Any, heads: Any, features: "Tensor") -> None:
    """Rescale so that these features (n, 64) have mean 0 and deviation 1, and the classifiers say what they said.

    Only the last layer's weights change. Without this the few features with the largest numbers would be
    nearly all of a Fréchet distance.
    """
    import torch

    mean, deviation = features.mean(0), features.std(0).clamp(min=1e-6)
    with torch.no_grad():
        heads.bias += heads.weight @ mean
        heads.weight *= deviation
        network.features.bias.sub_(mean).div_(deviation)
        network.features.weight.div_(deviation[:, None])


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
