"""The one way to run points that are kept: finished ones are read, all others are simulated and kept as they come.

Knows how a point is kept, not where it is simulated, and not what is made of it.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing

from rich.console import Console
from rich.progress import ProgressColumn

from experiments.config.user_errors import UnfinishedError
from experiments.points.point import Outcome, Point
from experiments.run.progress import Show, progress_bar

Simulate = Callable[[Sequence[Point], Show], Generator[Outcome, None, None]]
"""Simulates points in an order of its own, and yields each outcome when it comes. Closing it stops all that runs."""


class PointsFailedError(UnfinishedError):
    """Some points failed; the others are finished."""


def stream(
    points: Sequence[Point],
    simulate: Simulate,
    console: Console,
    *columns: ProgressColumn,
    when_busy: Callable[[], None] = lambda: None,
    transient: bool = False,
) -> Generator[Outcome, None, None]:
    """Yield the outcome of each point: of finished ones first, of others when it comes. A bar shows how far they are.

    Args:
        points: What to run.
        simulate: How.
        console: Where the bar is. What is printed meanwhile goes above it.
        columns: What the bar shows beside counts and time.
        when_busy: Called when points begin to run after none did: workers are busy, this process is not.
        transient: Whether the bar leaves no line.

    Raises:
        UnwritableError: An outcome cannot be kept.
    """
    finished = [outcome for point in points if (outcome := _finished_before(point, console)) is not None]
    known = {outcome.point.fingerprint for outcome in finished}
    waiting = [point for point in points if point.fingerprint not in known]
    done, running = len(finished), 0
    with progress_bar(console, *columns, transient=transient) as progress:
        bar = progress.add_task("", total=len(points), completed=done)

        def show(activity: str, now_running: int, share: float = 0.0) -> None:
            nonlocal running
            if now_running and not running:
                when_busy()
            running = min(now_running, len(points) - done)  # some end together, before it is said that one has
            counts = f"{done} done, {running} running, {len(points) - done - running} left"
            progress.update(bar, completed=done + share, description=f"{counts} ({activity})" if activity else counts)

        show("", 0)
        yield from finished
        if waiting:
            with closing(simulate(waiting, show)) as arrivals:
                for outcome in arrivals:
                    done += 1
                    show("", running)
                    _keep(outcome)
                    yield outcome


def _finished_before(point: Point, console: Console) -> Outcome | None:
    """Return the outcome of a finished point. What is left of one that is not whole is set aside, and a line says so."""
    result = point.load()
    if result is not None:
        return Outcome(point, result, done_before=True)
    if line := point.set_aside():
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    return None


def _keep(outcome: Outcome) -> None:
    if outcome.result is None:
        outcome.point.save_failure(outcome.details)
    else:
        outcome.point.save(outcome.result)
