"""The encoder that ships with the package: a small network trained on chest X-rays, 64 features an image."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
INPUT_SIZE = 128
WIDTHS = (24, 48, 96, 160)
LABELS = ("pa_view", "child", "female", "abnormal", "pneumonia", "opacity")
PREPROCESSING = f"8-bit grey square, Lanczos to {INPUT_SIZE} px, scaled to -1..1"
FOLDER = BUNDLED / "encoder"
WEIGHTS = "encoder.safetensors"


@dataclass(frozen=True)
class Encoder:
    """A named, hashed network that turns grey images into features, and says what its classifiers see."""

    name: str
    sha256: str
    dimension: int
    preprocessing: str
    network: Any
    heads: Any

    def extract(self, images: Iterable[Grey], batch_size: int = 32, device: str = "auto") -> npt.NDArray[np.float32]:
        """Features (n, dimension) of grey square images, read as they come, `batch_size` in memory at once."""
        return self._run(lambda features: features, self.dimension, images, batch_size, device)

    def classify(self, images: Iterable[Grey], batch_size: int = 32, device: str = "auto") -> npt.NDArray[np.float32]:
        """Probabilities (n, labels) of `LABELS`, in their order."""
        return self._run(lambda features: self.heads(features).sigmoid(), len(LABELS), images, batch_size, device)

    def _run(
        self, then: Any, width: int, images: Iterable[Grey], batch_size: int, device: str
    ) -> npt.NDArray[np.float32]:
        import torch

        from synthcxr.devices import pick

        compute = pick(device, "float32")
        network = compute.place(self.network)
        self.heads.to(compute.device)
        found = [np.zeros((0, width), np.float32)]
        with torch.no_grad():
            for block in _blocks(images, batch_size):
                found.append(then(network(to_input(block).to(compute.device))).cpu().numpy())
        return np.concatenate(found)


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
    """A small residual network with group norms (arXiv:1512.03385, 1803.08494): (n, 1, 128, 128) to (n, 64)."""
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

    layers: list[nn.Module] = [nn.Conv2d(1, WIDTHS[0], 5, 2, 2)]
    for before, after in zip((WIDTHS[0], *WIDTHS), WIDTHS, strict=False):
        layers += [Block(before, after, 2), Block(after, after, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTHS[-1], DIMENSION))


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
