"""Processes that train as one: each takes its share of every batch, gradients are added up, the first one writes.

`accelerate launch` and `torchrun` say by environment variables who is who (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR,
MASTER_PORT). All processes see the same folders.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from synthcxr.errors import SynthCXRError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

LONGEST_WAIT = timedelta(days=2)
"""Others wait while the first process encodes all images or draws samples."""


@dataclass(frozen=True)
class Team:
    """One process's place among those that train together; alone unless told."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def shares(self, batch_size: int, accumulate: int) -> list[range]:
        """The slots of a batch that this process takes, in the order of its passes.

        Raises UsageError where a batch cannot be divided evenly.
        """
        parts = self.size * accumulate
        if batch_size % parts:
            raise UsageError(
                f"--batch-size {batch_size} cannot be divided evenly over {self.size} processes of {accumulate} "
                f"passes each; take a multiple of {parts}."
            )
        part = batch_size // parts
        first = self.rank * accumulate * part
        return [range(first + number * part, first + (number + 1) * part) for number in range(accumulate)]

    def add(self, tensors: "Sequence[Tensor]") -> None:
        """Replace each tensor by its sum over all processes."""
        if self.size == 1 or not tensors:
            return
        import torch
        from torch import distributed

        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _plain_words():
            distributed.all_reduce(flat)
        for tensor, part in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def in_turn(self, work: Callable[[], None]) -> None:
        """Let the first process do some work, and the others when it is done."""
        if self.leads:
            work()
        self.agree(None)
        if not self.leads:
            work()

    def agree(self, value: T) -> T:
        """What the first process says, for all."""
        if self.size == 1:
            return value
        from torch import distributed

        said = [value]
        with _plain_words():
            distributed.broadcast_object_list(said)
        return said[0]


@contextmanager
def assemble(device: str) -> Iterator[Team]:
    """The team that the environment names; each process takes the device of its number, and the first one talks."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Team()
        return
    import torch
    from torch import distributed

    from synthcxr.devices import pick
    from synthcxr.progress import console

    kind = pick(device).device.type
    if kind in ("cuda", "xpu"):
        getattr(torch, kind).set_device(int(os.environ.get("LOCAL_RANK", "0")))
    backend = {"cuda": "nccl", "xpu": "xccl"}.get(kind, "gloo")
    with _plain_words():
        distributed.init_process_group(backend, timeout=LONGEST_WAIT)
    try:
        console().quiet = distributed.get_rank() > 0
        yield Team(distributed.get_rank(), size)
    finally:
        console().quiet = False  # whatever ended this process is said by it
        distributed.destroy_process_group()


@contextmanager
def _plain_words() -> Iterator[None]:
    """What a process says when another one is gone."""
    try:
        yield
    except RuntimeError as error:
        raise SynthCXRError(f"Another process of this training ended; see what it said. ({error})") from error
