"""The bar that shows how far points are, the same for all that runs them. Knows the terminal, not what runs."""

from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn


class Show(Protocol):
    """What shows how far points are."""

    def __call__(self, activity: str, running: int, share: float = 0.0, /) -> None:
        """Show what goes on, how many points run, and what share of them is done: 1.5 is one and a half points."""


def progress_bar(console: Console, *more: ProgressColumn, transient: bool = False) -> Progress:
    """Return the bar with a text before it and the time after it; `transient` bars leave no line."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), *more)
    return Progress(*columns, console=console, transient=transient)
