"""The encoder that ships with the package, as an extractor: its 64 features, then its identity of 64 numbers."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from synthcxr.evaluation.encoder import IDENTITY, INPUT_SIZE, Encoder, load_encoder
from synthcxr.evaluation.extractors.base import Extractor
from synthcxr.images import Grey, resize, to_model_range

if TYPE_CHECKING:
    from torch import Tensor


def open_bundled(_: Path | None = None) -> Extractor:
    """The extractor. A vector is the features (64) and, behind them, the identity (64) of the image."""
    return as_extractor(load_encoder())


def as_extractor(encoder: Encoder) -> Extractor:
    """An encoder of this package's kind as an extractor."""
    return Extractor(
        name=encoder.name,
        title="the bundled encoder",
        sha256=encoder.sha256,
        dimension=encoder.dimension + IDENTITY,
        preprocessing=encoder.preprocessing,
        distance="frechet_distance",
        prepare=prepare,
        network=_join(encoder.network),
    )


def prepare(image: Grey) -> npt.NDArray[np.float32]:
    """A grey image as the network takes it: (1, 256, 256), -1 to 1."""
    return to_model_range(resize(image, INPUT_SIZE, INPUT_SIZE))[None]


def _join(network: Any) -> Any:
    """The network with its two outputs laid behind each other."""
    import torch

    class Joined(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: "Tensor") -> "Tensor":
            return torch.cat(self.network(x), 1)

    return Joined()
