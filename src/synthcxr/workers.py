"""Work on many images in processes of their own."""

import faulthandler
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context, parent_process, resource_tracker
from pathlib import Path
from threading import Thread
from typing import TypeVar

from synthcxr.devices import worker_count
from synthcxr.errors import SynthCXRError

T = TypeVar("T")
R = TypeVar("R")
SetUp = Callable[[], None] | None

AHEAD = 8
"""Items in flight a worker: enough that none waits, few enough that memory does not grow with their number."""


def map_in_workers(
    work: Callable[[T], R],
    items: Sequence[T],
    workers: int,
    *,
    set_up: SetUp = None,
    lost: Callable[[T, str], R] | None = None,
    limit_seconds: float | None = None,
) -> Iterator[R]:
    """Results of `work` on every item, in order; `workers` 0 takes one process a core, 1 works right here.

    `set_up` runs once in each process. Ctrl-C ends the main process alone, which then gives up what has not begun.
    With `lost` there are always processes, and one that dies costs its item alone: `lost(item, how)` gives that
    item's result, `how` being ``hung`` after `limit_seconds`, else ``crashed``. Without `lost` it is a SynthCXRError.
    """
    count = min(worker_count(workers), len(items))
    if lost is None and count <= 1:
        if set_up:
            set_up()
        yield from map(work, items)
        return
    pending, in_flight = iter(items), deque[tuple[T, Future[R] | None]]()
    pool = _start(count, set_up)
    try:
        while True:
            try:
                for item in islice(pending, count * AHEAD - len(in_flight)):
                    in_flight.append((item, None))  # noted first: to a pool that has just died nothing can be given
                    in_flight[-1] = (item, _submit(pool, _bounded, work, limit_seconds, item))
                if not in_flight:
                    return
                first = in_flight[0][1]
                assert first is not None
                result = first.result()
            except BrokenProcessPool as error:
                if lost is None:
                    raise SynthCXRError(
                        "A worker process was killed, as happens when memory runs out. Run the same command again "
                        "with fewer --workers; it goes on from there."
                    ) from error
                pool.shutdown(cancel_futures=True)
                yield from _one_by_one(work, [item for item, _ in in_flight], set_up, lost, limit_seconds)
                in_flight.clear()
                pool = _start(count, set_up)
            else:
                in_flight.popleft()
                yield result
    finally:
        pool.shutdown(cancel_futures=True)


def _one_by_one(
    work: Callable[[T], R],
    items: Sequence[T],
    set_up: SetUp,
    lost: Callable[[T, str], R],
    limit_seconds: float | None,
) -> Iterator[R]:
    """The items that were in flight when a process died, one at a time, so that it is seen which of them kills it."""
    pool: ProcessPoolExecutor | None = None
    try:
        for item in items:
            if pool is None:
                pool = _start(1, set_up)
                _check_that_it_runs(pool)
            begun = time.monotonic()
            try:
                result = _submit(pool, _bounded, work, limit_seconds, item).result()
            except BrokenProcessPool:
                took_too_long = limit_seconds is not None and time.monotonic() - begun >= limit_seconds
                pool.shutdown()
                pool = None
                result = lost(item, "hung" if took_too_long else "crashed")
            yield result
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)


def _check_that_it_runs(pool: ProcessPoolExecutor) -> None:
    try:
        _submit(pool, os.getpid).result()
    except BrokenProcessPool as error:
        raise SynthCXRError(
            "Worker processes die as soon as they start, as happens when memory runs out. Run the same command again "
            "with fewer --workers; it goes on from there."
        ) from error


def _start(count: int, set_up: SetUp) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(count, get_context("spawn"), _begin, (set_up,))


def _submit(pool: ProcessPoolExecutor, work: Callable[..., R], *arguments: object) -> Future[R]:
    """Hand over work; a process that starts for it never sees Ctrl-C, not even while it still imports."""
    with _interrupts_wait():
        return pool.submit(work, *arguments)


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Ctrl-C waits until the end of the block; processes that start in it keep it blocked for life."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # its own start would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(set_up: SetUp) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it could not be blocked
    Thread(target=_end_with_parent, daemon=True).start()
    if set_up:
        set_up()


def _end_with_parent() -> None:
    """A main process that was killed leaves nobody who would end its workers: they do it themselves."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _bounded(work: Callable[[T], R], limit_seconds: float | None, item: T) -> R:
    """Work on one item; a timer in C ends the process after the limit, even inside a decoder that never returns."""
    if limit_seconds is None:
        return work(item)
    with Path(os.devnull).open("w") as nowhere:
        faulthandler.dump_traceback_later(limit_seconds, exit=True, file=nowhere)
        try:
            return work(item)
        finally:
            faulthandler.cancel_dump_traceback_later()
