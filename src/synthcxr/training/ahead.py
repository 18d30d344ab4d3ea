"""What the next steps see, drawn in threads while a step is computed."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
MOST_THREADS = 12


def threads_for(device: "torch.device") -> int:
    """Threads that draw: as many as help a GPU; one beside a CPU's own work."""
    import os

    return 1 if device.type == "cpu" else max(1, min(MOST_THREADS, (os.cpu_count() or 2) - 2))


class Ahead(Generic[T]):
    """Gives `draw(step, slots)`, having begun on the next steps' draws, one a thread.

    What a draw gives must come from step and slots alone (and a seed), so that threads change nothing but the time.
    """

    def __init__(self, draw: Callable[[int, range], T], steps: int, threads: int) -> None:
        self.draw, self.steps, self.threads = draw, steps, threads
        self.pool = ThreadPoolExecutor(threads, "ahead")
        self.begun: dict[tuple[int, range], Future[T]] = {}

    def get(self, step: int, slots: range) -> T:
        """The draw of a step's slots; raises what `draw` raises."""
        for later in range(step, min(step + 1 + self.threads, self.steps)):
            if (later, slots) not in self.begun:
                self.begun[later, slots] = self.pool.submit(self.draw, later, slots)
        return self.begun.pop((step, slots)).result()
