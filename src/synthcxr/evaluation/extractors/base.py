"""What an extractor of features is: how an image is laid before a network, and the network."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthcxr.errors import SynthCXRError
from synthcxr.images import Grey
from synthcxr.store import canonical_json, sha256_bytes

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Extractor:
    """A named, hashed network that turns a grey square image into a vector of `dimension` numbers.

    `prepare` lays one image out for the network (it runs in threads), `network` is a module from a stack of those
    (n, …) to vectors (n, dimension). `sha256` is of the weights; `known` is False where those are not the published
    ones, and `warning` says so. `distance` names the Fréchet distance on these features: ``fid`` on Inception's with
    the published weights alone. `preprocessing` says in words what `prepare` does.
    """

    name: str
    title: str
    sha256: str
    dimension: int
    preprocessing: str
    distance: str
    prepare: Callable[[Grey], npt.NDArray[np.float32]]
    network: Any
    known: bool = True
    warning: str = ""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of whatever decides a vector: the weights and the way to lay an image before them."""
        return sha256_bytes(canonical_json([self.name, self.sha256, self.dimension, self.preprocessing]))

    def embed(self, block: npt.NDArray[np.float32], device: str = "auto") -> Vectors:
        """Vectors (n, dimension) of prepared images (n, …), in float32.

        Raises SynthCXRError where they are not finite numbers, as damaged weights give.
        """
        import torch

        from synthcxr.devices import pick

        compute = pick(device, "float32")
        network = compute.place(self.network)
        stack = torch.from_numpy(block)
        if stack.ndim == 4:
            stack = stack.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            vectors: Vectors = network(stack.to(compute.device)).cpu().numpy()
        if not np.isfinite(vectors).all():
            raise SynthCXRError(f"The extractor {self.name} gives features that are not finite numbers.")
        return vectors
