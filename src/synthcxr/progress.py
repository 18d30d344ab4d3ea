"""Progress of long work, and plain words beside it, on stderr."""

from collections.abc import Callable, Iterable, Iterator
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


def track(
    items: Iterable[T], description: str, total: int, *, done: int = 0, size: Callable[[T], int] = lambda _: 1
) -> Iterator[T]:
    """Go through items under a progress bar with count, rate and time left (only where stderr is a terminal).

    `size` says for how many of the `total` an item counts.
    """
    from rich import progress as bars

    if not console().is_terminal:
        yield from items
        return
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
