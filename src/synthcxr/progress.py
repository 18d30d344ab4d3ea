"""Progress of long work, and plain words beside it, on stderr."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

    from synthcxr.images import Grey

T = TypeVar("T")


class Listener(Protocol):
    """Somebody who wants to know how far the work is, where no terminal shows it."""

    def said(self, message: str) -> None:
        """A message for the person who waits."""

    def advanced(self, description: str, done: int, total: int) -> None:
        """So many of the items are done."""

    def forming(self, draw: Callable[[], "Grey"]) -> None:
        """Images (n, height, width) are on their way; `draw` gives them as they are now, which costs a moment."""


_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell a listener of everything that is said and done within the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@cache
def console() -> "Console":
    """The console of messages (stderr); results go to stdout."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def say(message: str) -> None:
    """A line for the person who waits."""
    if listener := _listener.get():
        listener.said(message)
    console().print(message, markup=False)


def show_forming(draw: Callable[[], "Grey"]) -> None:
    """Offer a look at images that are being drawn to whoever listens."""
    if listener := _listener.get():
        listener.forming(draw)


def track(
    items: Iterable[T], description: str, total: int, *, done: int = 0, size: Callable[[T], int] = lambda _: 1
) -> Iterator[T]:
    """Go through items under a progress bar with count, rate and time left (only where stderr is a terminal).

    `size` says for how many of the `total` an item counts.
    """
    if listener := _listener.get():
        items = _told(items, description, total, done, size, listener)
    if not console().is_terminal:
        yield from items
        return
    from rich import progress as bars

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[rate]}"),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=console()) as progress:
        task = progress.add_task(description, total=total, completed=done, rate="")
        for item in items:
            yield item
            speed = progress.tasks[task].speed
            progress.update(task, advance=size(item), rate=f"{speed:.1f}/s" if speed else "")


def _told(
    items: Iterable[T], description: str, total: int, done: int, size: Callable[[T], int], listener: Listener
) -> Iterator[T]:
    listener.advanced(description, done, total)
    for item in items:
        yield item
        done += size(item)
        listener.advanced(description, done, total)
