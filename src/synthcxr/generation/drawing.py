"""Drawing the blocks of a set, in this process or in several: what one process needs, does, and leaves behind.

A block is `batch_size` rows of one size in the order of their indices, a short one padded with its last row. Every
image is drawn at its own place of a batch of that size, whatever else is there already, so that its bytes do not depend
on when a set was stopped, on the order of the blocks, or on which process drew them.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np

from synthcxr import __version__
from synthcxr.buckets import blocks_by_size
from synthcxr.devices import describe, is_out_of_memory, pick, release_memory
from synthcxr.errors import SynthCXRError, UsageError
from synthcxr.generation.provenance import png_text
from synthcxr.generation.sampler import Request, draw
from synthcxr.images import Grey, write_png
from synthcxr.models.families.base import NotFiniteError
from synthcxr.models.registry import Model, Reference, load, model_hash
from synthcxr.progress import say
from synthcxr.store import Json, manifest_hash, read_json, write_json


@dataclass(frozen=True)
class Sampling:
    """How every image of a set is drawn: the keywords of `draw`."""

    steps: int
    guidance: float
    scheduler: str | None
    guidance_start: float
    guidance_end: float
    guidance_rescale: float

    @classmethod
    def of(cls, source: Any) -> Self:
        """Those of a config, or of anything that has them as attributes."""
        return cls(**{field.name: getattr(source, field.name) for field in fields(cls)})


@dataclass(frozen=True)
class Job:
    """What a process needs to draw blocks: the model, how, where on, how many at once."""

    reference: Reference
    sampling: Sampling
    batch_size: int
    device: str
    dtype: str


@dataclass(frozen=True)
class Drawn:
    """An image, or None where it was not finite, and the model that drew it: the job's, or the same in float32."""

    image: Grey | None
    model: Model


@dataclass(frozen=True)
class Outcome:
    """What became of a block: the rows of its images, and of those that were rejected, with the reason."""

    rows: list[Json]
    rejected: list[Json]

    def __len__(self) -> int:
        """The number of images that were asked for."""
        return len(self.rows) + len(self.rejected)


class Artist:
    """A loaded model that draws batches, smaller ones where memory runs out, in float32 where one is not finite."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.model = load(job.reference, pick(job.device, job.dtype))
        if not self.model.family.draws:
            raise UsageError(f"{self.model.family.name} draws into masks only; `clean --inpainter diffusion` takes it.")
        self.at_once = job.batch_size

    def draw(self, rows: Sequence[Json]) -> list[Drawn]:
        """The images of at most `batch_size` rows, in their order; the batch is filled up with the last row."""
        padded = [*rows, *[rows[-1]] * (self.job.batch_size - len(rows))]
        requests = [
            Request(row["text"], row["negative_prompt"], row["seed"], (row["height"], row["width"])) for row in padded
        ]
        drawn = self._draw(self.model, requests)
        if any(each.image is None for each in drawn[: len(rows)]) and self.model.compute.dtype.itemsize < 4:
            exact = self._draw(load_exact(self.job), requests)
            drawn = [two if one.image is None else one for one, two in zip(drawn, exact, strict=True)]
        return drawn[: len(rows)]

    def _draw(self, model: Model, requests: Sequence[Request]) -> list[Drawn]:
        while True:
            try:
                blocks = [requests[at : at + self.at_once] for at in range(0, len(requests), self.at_once)]
                return [Drawn(image, model) for block in blocks for image in self._draw_at_once(model, block)]
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if self.at_once == 1:
                    raise SynthCXRError(
                        f"The memory of the {model.compute.device.type} does not hold one image at this size. "
                        "Try a smaller --resolution or --size, --dtype bfloat16, or another --device."
                    ) from error
            self.at_once = -(-self.at_once // 2)  # after the handler: the error holds on to the tensors of its frames
            release_memory(model.compute)
            say(f"Memory ran out; going on with {self.at_once} images at once. The images stay the same.")

    def _draw_at_once(self, model: Model, requests: Sequence[Request]) -> list[Grey | None]:
        try:
            return list(draw(model, requests, **asdict(self.job.sampling)))
        except NotFiniteError as error:
            return [None if place in error.bad else image for place, image in enumerate(error.images)]


@lru_cache(maxsize=1)
def artist_for(job: Job) -> Artist:
    """The process's own artist: the model is loaded once, whatever the number of blocks."""
    return Artist(job)


@lru_cache(maxsize=1)
def load_exact(job: Job) -> Model:
    """The job's model in float32, loaded when it is first needed."""
    return load(job.reference, pick(job.device, "float32"))


_held = ContextVar("held", default=False)


@contextmanager
def held_models() -> Iterator[None]:
    """Keep this process's models until the end of the (outermost) block, then let go of them.

    They take memory, and what lies under a name may change.
    """
    if _held.get():
        yield
        return
    token = _held.set(True)
    try:
        yield
    finally:
        _held.reset(token)
        artist_for.cache_clear()
        load_exact.cache_clear()
        model_hash.cache_clear()


def share_cores(threads: int) -> None:
    """Set up a worker process with its share of the cores: more threads than cores wait for each other."""
    import torch

    torch.set_num_threads(threads)


def blocks_of(rows: Sequence[Json], batch_size: int) -> list[list[int]]:
    """The places of rows in the blocks that they are drawn in."""
    return blocks_by_size([(row["height"], row["width"]) for row in rows], batch_size)


def with_places(rows: Sequence[Json], batch_size: int) -> list[Json]:
    """The rows, each with its `place` in its block, by which it can be drawn again alone."""
    places = {index: place for block in blocks_of(rows, batch_size) for place, index in enumerate(block)}
    return [row | {"place": places[index]} for index, row in enumerate(rows)]


# --- a block on the disk ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """Rows to draw, the folder of their images, and the file that says what became of them."""

    rows: list[Json]
    folder: Path
    journal: Path

    def read(self) -> Outcome | None:
        """What an earlier call made of it, or None where it was not finished."""
        if not self.journal.is_file():
            return None
        outcome = Outcome(**read_json(self.journal))
        return outcome if all((self.folder / row["file_name"]).is_file() for row in outcome.rows) else None


def draw_block(job: Job, block: Block) -> Outcome:
    """Draw a block and write its images, those that are there already left as they are; note what became of it.

    Images are encoded in as many threads as the process draws with: zlib's time would otherwise add up while the
    device waits.
    """
    import torch

    rows, rejected, missing = [], [], []
    for row, drawn in zip(block.rows, artist_for(job).draw(block.rows), strict=True):
        if drawn.image is None:
            rejected.append({**row, "reason": "The image is not finite, not in float32 either."})
            continue
        path = block.folder / row["file_name"]
        if not path.exists():
            missing.append((path, np.asarray(drawn.image), png_text(row, describe_making(drawn.model))))
        rows.append(row)
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        list(threads.map(lambda image: write_png(*image), missing))  # the list raises what a thread raised
    outcome = Outcome(rows, rejected)
    write_json(block.journal, asdict(outcome))
    return outcome


def describe_making(model: Model) -> Json:
    """The part of the provenance that does not differ from row to row."""
    return {
        "model": model.reference.name,
        "model_sha256": model.sha256,
        "adapter_sha256": model.adapter_sha256,
        "run_manifest_sha256": manifest_hash(model.reference.run) if model.reference.run else None,
        "environment": {"synthcxr": __version__, **describe(model.compute)},
    }
