"""The one way to run points that are kept: finished ones are read, all others are simulated and kept as they come.

Knows how a point is kept, not where it is simulated, and not what is made of it.
"""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing

from rich.console import Console
from rich.progress import ProgressColumn

from experiments.config.user_errors import UnfinishedError
from experiments.points.point import Outcome, Point
from experiments.run.progress import Show, progress_bar

Simulation = Generator[Outcome, Sequence[Point] | None, None]
"""Yields each outcome when it comes, and takes further points for it. Closing it stops all that runs."""
Simulate = Callable[[Sequence[Point], Show], Simulation]
"""Simulates points in an order of its own."""
More = Callable[[Outcome], Sequence[Point]]
"""Is given each outcome, and returns the points that it asks for."""


class PointsFailedError(UnfinishedError):
    """Some points failed; the others are finished."""


def stream(
    points: Sequence[Point],
    simulate: Simulate,
    console: Console,
    *columns: ProgressColumn,
    when_busy: Callable[[], None] = lambda: None,
    transient: bool = False,
    more: More = lambda _: (),
) -> Generator[Outcome, None, None]:
    """Yield the outcome of each point: of finished ones first, of others when it comes. A bar shows how far they are.

    Args:
        points: What to run.
        simulate: How.
        console: Where the bar is. What is printed meanwhile goes above it.
        columns: What the bar shows beside counts and time.
        when_busy: Called when points begin to run after none did: workers are busy, this process is not.
        transient: Whether the bar leaves no line.
        more: What to run beside, when an outcome is known.

    Raises:
        UnwritableError: An outcome cannot be kept.
    """
    finished, waiting = _sifted(points, more, console)
    total = len(finished) + len(waiting)
    done, running = len(finished), 0
    with progress_bar(console, *columns, transient=transient) as progress:
        bar = progress.add_task("", total=total, completed=done)

        def show(activity: str, now_running: int, share: float = 0.0) -> None:
            nonlocal running
            if now_running and not running:
                when_busy()
            running = min(now_running, total - done)  # some end together, before it is said that one has
            counts = f"{done} done, {running} running, {total - done - running} left"
            text = f"{counts} ({activity})" if activity else counts
            progress.update(bar, total=total, completed=done + share, description=text)

        show("", 0)
        yield from finished
        if waiting:
            with closing(simulate(waiting, show)) as arrivals:
                outcome = next(arrivals, None)
                while outcome is not None:
                    _keep(outcome)
                    known, waiting = _sifted(more(outcome), more, console)
                    done, total = done + 1 + len(known), total + len(known) + len(waiting)
                    show("", running)
                    yield outcome
                    yield from known
                    try:
                        outcome = arrivals.send(waiting)
                    except StopIteration:
                        outcome = None


def _sifted(points: Sequence[Point], more: More, console: Console) -> tuple[list[Outcome], list[Point]]:
    """Return the outcomes of finished points, and the points that are to be run, with all that finished ones ask for."""
    finished: list[Outcome] = []
    waiting: list[Point] = []
    left = deque(points)
    while left:
        point = left.popleft()
        outcome = _finished_before(point, console)
        if outcome is None:
            waiting.append(point)
        else:
            finished.append(outcome)
            left.extend(more(outcome))
    return finished, waiting


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
