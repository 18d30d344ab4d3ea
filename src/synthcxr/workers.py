"""Work on many images in processes of their own."""

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from synthcxr.devices import worker_count
from synthcxr.errors import SynthCXRError

T = TypeVar("T")
R = TypeVar("R")


def map_in_workers(
    work: Callable[[T], R], items: Sequence[T], workers: int, *, set_up: Callable[[], None] | None = None
) -> Iterator[R]:
    """Results of `work` on every item, in order; `workers` 0 takes one process a core, 1 works right here.

    `set_up` runs once in each process. Ctrl-C ends the main process alone, which then gives up what has not begun.
    """
    count = min(worker_count(workers), len(items))
    if count <= 1:
        if set_up:
            set_up()
        yield from map(work, items)
        return
    pool = ProcessPoolExecutor(count, get_context("spawn"), _begin, (set_up,))
    try:
        yield from pool.map(work, items, chunksize=max(1, min(16, len(items) // (4 * count))))
    except BrokenProcessPool as error:
        raise SynthCXRError(
            "A worker process was killed, as happens when memory runs out. Run the same command again with fewer "
            "--workers; it goes on from there."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(set_up: Callable[[], None] | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if set_up:
        set_up()
