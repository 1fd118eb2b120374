"""The bar that shows how far points are, the same for all that runs them. Knows the terminal, not what runs."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn

Item = TypeVar("Item")
FEW = 200  # things that are counted before anybody waits


class Show(Protocol):
    """What shows how far points are."""

    def __call__(self, activity: str, running: int, share: float = 0.0, /) -> None:
        """Show what goes on, how many points run, and what share of them is done: 1.5 is one and a half points."""


def progress_bar(console: Console, *more: ProgressColumn, transient: bool = False) -> Progress:
    """Return the bar with a text before it and the time after it; `transient` bars leave no line."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), *more)
    return Progress(*columns, console=console, transient=transient)


def counted(items: Iterable[Item], total: int, text: str, console: Console) -> Iterator[Item]:
    """Yield items. Where there are many, a terminal shows how far they are, until the last one."""
    columns = (TextColumn(text), BarColumn(), MofNCompleteColumn())
    hidden = total < FEW or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("", total=total)
        for item in items:
            bar.advance(task)
            yield item
