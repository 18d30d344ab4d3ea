"""Progress of long work, and plain words beside it, on stderr."""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")


@cache
def console() -> "Console":
    """The console of messages (stderr); results go to stdout."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def say(message: str) -> None:
    """A line for the person who waits."""
    console().print(message, markup=False)


def track(items: Iterable[T], description: str, total: int, *, done: int = 0) -> Iterator[T]:
    """Go through items under a progress bar with count, rate and time left (only where stderr is a terminal)."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    if not console().is_terminal:
        yield from items
        return
    with Progress(*columns, console=console()) as progress:
        task = progress.add_task(description, total=total, completed=done)
        for item in items:
            yield item
            progress.advance(task)
