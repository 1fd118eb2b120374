"""Simulates points in threads of this process: compiled code runs beside other threads.

For a single point, and for many calls in a row: starting and ending Ray takes 3 to 7 s per call. Knows points and outcomes, not
what is done with them.
"""

import threading
import traceback
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from experiments.points.modes import unshared
from experiments.points.point import Outcome, Point
from experiments.run.progress import Show
from experiments.run.stream import Simulation
from experiments.run.task import compile_once, compiling, compiling_apart, engines_to_compile
from netstack.sim import simulate


class _StoppedError(Exception):
    """A point was stopped before its end."""


def simulate_in_process(points: Sequence[Point], workers: int, show: Show) -> Simulation:
    """Simulate so many points at a time, in their order, and yield each outcome when it comes.

    Closing the generator stops what runs.
    """
    stopped = threading.Event()
    points = list(points)
    shares: dict[int, float] = {}  # of running points

    def show_shares() -> None:
        running = list(shares.values())
        show("simulating" if running else "", len(running), sum(running))

    def run(index: int) -> Outcome:
        def follow(share: float) -> None:
            if stopped.is_set():
                raise _StoppedError
            shares[index] = share
            show_shares()

        try:
            return Outcome(points[index], simulate(points[index].config, follow))
        except Exception as error:
            return Outcome.of_error(points[index], error, traceback.format_exc())
        finally:
            shares.pop(index, None)

    try:
        _compile(points, show)
    except Exception as error:
        for point in points:
            yield Outcome.of_error(point, error, traceback.format_exc())
        return
    threads = ThreadPoolExecutor(workers)
    try:
        show("simulating", min(workers, len(points)))
        left: set[Future[Outcome]] = {threads.submit(run, index) for index in range(len(points))}
        while left:
            ready, left = wait(left, return_when=FIRST_COMPLETED)
            for finished in ready:
                show_shares()
                added = yield finished.result()
                for point in added or ():
                    points.append(point)
                    left.add(threads.submit(run, len(points) - 1))
    finally:
        stopped.set()
        threads.shutdown(cancel_futures=True)


def _compile(points: Sequence[Point], show: Show) -> None:
    """Compile what the points need, in this thread: an interrupt ends it. A second engine is compiled beside the first."""
    if engines := engines_to_compile(point.config for point in points):
        show(compiling(engines), 0)
        with compiling_apart(engines[1:]), unshared():
            for windows in engines:
                compile_once(windows=windows)
