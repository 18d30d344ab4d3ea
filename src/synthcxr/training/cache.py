"""What is encoded once: latents of images and embeddings of prompts, on the disk, under the hash of all they depend on.

A run that goes on finds them, and so does another run on the same data and base in the same ``--cache``; of a changed
dataset, crop or model it finds nothing. Encoding that was stopped goes on where it was.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from synthcxr.buckets import spell
from synthcxr.config import TrainConfig
from synthcxr.imagefolder import Row
from synthcxr.images import Grey, Size, cover
from synthcxr.models.families.base import Text
from synthcxr.models.registry import Model
from synthcxr.progress import track
from synthcxr.seeds import seed_for
from synthcxr.store import Json, canonical_json, manifest_hash, read_json, sha256_bytes, write_json
from synthcxr.training.ahead import Ahead, threads_for
from synthcxr.training.data import LARGEST_CONTRAST, LARGEST_TURN_DEGREES, LARGEST_ZOOM, augment, group

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[Any]

ENCODING_BATCH = 8
NOTED_EVERY_S = 10.0
"""Seconds between notes of how far the encoding is."""


def encode_posteriors(model: Model, config: TrainConfig, rows: list[Row], folder: Path) -> list[Array]:
    """Mean and deviation of each image's latents: (variants, 2 × channels, height, width), float16, mapped from disk.

    The first variant is the image itself, the others are slightly other crops and contrasts of it. Images of one size
    lie in one file.
    """
    found: dict[int, Array] = {}
    for size, places in group(rows, model.image_size).items():
        found |= zip(places, _encode_group(model, config, [rows[place] for place in places], size, folder), strict=True)
    return [found[place] for place in range(len(rows))]


def _encode_group(model: Model, config: TrainConfig, rows: list[Row], size: Size, folder: Path) -> Array:
    """The same of rows whose images are brought to one size, in one array."""
    import torch

    jobs = [(index, variant) for index in range(len(rows)) for variant in range(config.latent_variants)]

    def crop(number: int, slots: range) -> Grey:
        block = jobs[number * len(slots) : (number + 1) * len(slots)]
        return np.stack([variant_of(rows[i], v, size, config.seed) for i, v in block])

    crops = Ahead(crop, -(-len(jobs) // ENCODING_BATCH), threads_for(model.compute.device))

    def encode(block: slice) -> Array:
        images = crops.get(block.start // ENCODING_BATCH, range(ENCODING_BATCH))
        with torch.no_grad():
            latents: Array = torch.cat(model.family.encode_images(model.pipeline, images), dim=1).float().cpu().numpy()
        return latents.astype(np.float16)

    channels, height, width = model.family.latent_shape(model.pipeline, size)
    known: Json = {
        "latents_of": [manifest_hash(dataset) for dataset in config.datasets],
        "limit": config.limit,
        "size": size,
        "variants": config.latent_variants,
        "augmentation": [config.seed, LARGEST_ZOOM, LARGEST_CONTRAST, LARGEST_TURN_DEGREES],
    }
    path, words = folder / f"latents-{key_of(model, config, known)}.npy", f"Encoding images of {spell(size)}"
    found = cached_array(path, (len(jobs), 2 * channels, height, width), np.dtype(np.float16), encode, words)
    return found.reshape(len(rows), config.latent_variants, *found.shape[1:])


class Embeddings:
    """Embeddings of prompts by an encoder that does not change, each encoded by itself once.

    Those of `prompts` lie on the disk; any other is encoded when it is first asked for.
    """

    def __init__(self, model: Model, config: TrainConfig, prompts: Sequence[str], folder: Path) -> None:
        self.model = model
        listed = sorted(set(prompts))
        self.places = {prompt: place for place, prompt in enumerate(listed)}
        self.others: dict[str, Text] = {}
        self.first = self._encode(listed[0])
        key = key_of(model, config, {"embeddings_of": listed})
        self.arrays = {
            name: cached_array(
                folder / f"text-{key}-{name}.npy",
                (len(listed), *tensor.shape[1:]),
                _as_numpy(tensor).dtype,
                partial(self._encode_block, listed, name),
                "Encoding prompts",
            )
            for name, tensor in self.first.items()
        }

    def _encode_block(self, listed: list[str], name: str, block: slice) -> Array:
        return np.concatenate([_as_numpy(self._encode(prompt)[name]) for prompt in listed[block]])

    def _encode(self, prompt: str) -> Text:
        import torch

        with torch.no_grad():
            return self.model.family.encode_text(self.model.pipeline, [prompt])

    def of(self, prompts: Sequence[str]) -> Text:
        """Embeddings of prompts as one batch."""
        import torch

        for prompt in set(prompts) - self.places.keys() - self.others.keys():
            self.others[prompt] = self._encode(prompt)
        return {
            name: torch.cat([self._one(prompt, name) for prompt in prompts]).to(like.device)
            for name, like in self.first.items()
        }

    def _one(self, prompt: str, name: str) -> "Tensor":
        import torch

        if prompt in self.others:
            return self.others[prompt][name]
        held = self.arrays[name][self.places[prompt]][None].copy()
        return torch.from_numpy(held).to(self.first[name].dtype)


def variant_of(row: Row, variant: int, size: Size, seed: int) -> Grey:
    """A row's image at a size: as it is (0), or one of its crops."""
    image = cover(row.read(), size)
    if variant == 0:
        return image
    return augment(image, np.random.default_rng(seed_for(seed, "variant", row.path.name, variant)))


def key_of(model: Model, config: TrainConfig, known: Json) -> str:
    """Name of a cached file: a hash of the model, its number format and what else decides the values."""
    base = {"model": model.sha256, "adapter": model.adapter_sha256, "dtype": str(model.compute.dtype)}
    random_weights = {"seed": config.seed} if model.sha256 == model.reference.name else {}  # of a layout
    return sha256_bytes(canonical_json({**base, **random_weights, **known}))[:24]


def _as_numpy(tensor: "Tensor") -> Array:
    """A tensor's values; bfloat16, which numpy does not know, as float32."""
    import torch

    exact = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    values: Array = exact.cpu().numpy()
    return values


def cached_array(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], encode: Callable[[slice], Array], words: str
) -> Array:
    """An array (n, …) that lies under `path`, or is put there; of runs that want it at one time, one encodes."""
    from filelock import FileLock

    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                _encode_blocks(path, shape, dtype, encode, words)
    found: Array = np.load(path, mmap_mode="r")
    return found


def _encode_blocks(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], encode: Callable[[slice], Array], words: str
) -> None:
    """Put an array there block by block; what was stopped goes on."""
    part, note = path.with_suffix(".part"), path.with_suffix(".json")
    done = int(read_json(note)["done"]) if note.is_file() and part.is_file() else 0
    held = np.lib.format.open_memmap(str(part), mode="r+" if done else "w+", dtype=dtype, shape=None if done else shape)
    starts = range(done, shape[0], ENCODING_BATCH)
    noted = time.monotonic()
    for start in track(starts, words, len(starts)):
        block = slice(start, min(start + ENCODING_BATCH, shape[0]))
        held[block] = encode(block)
        if time.monotonic() - noted > NOTED_EVERY_S:
            held.flush()
            write_json(note, {"done": block.stop})
            noted = time.monotonic()
    held.flush()
    del held
    part.replace(path)
    note.unlink(missing_ok=True)
