"""The one way to run points: finished ones first, others kept as they come, whatever simulates them."""

import io
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from experiments.points.folders import UnwritableError
from experiments.points.names import PointName
from experiments.points.point import Outcome, Point
from experiments.run.progress import Show
from experiments.run.stream import Simulation, stream
from netstack.sim import Result, SimulationConfig


@pytest.fixture
def points(tmp_path: Path) -> list[Point]:
    return [Point(SimulationConfig(conns=conns), PointName("up", "conns", conns), tmp_path) for conns in (6, 12, 24)]


class Simulator:
    """Simulates from the last point to the first, and fails one load. Says what it was asked for, and that it was closed."""

    def __init__(self, result: Result, failing: int = 0) -> None:
        self.result, self.failing = result, failing
        self.asked: list[int] = []
        self.closed = False

    def __call__(self, points: Sequence[Point], show: Show) -> Simulation:
        self.asked += [point.config.conns for point in points]
        show("working", len(points))
        try:
            for left, point in reversed(list(enumerate(points))):
                show("", left)
                failed = point.config.conns == self.failing
                yield Outcome.of_error(point, ValueError("made up"), "details") if failed else Outcome(point, self.result)
        finally:
            self.closed = True


def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def output(of: Console) -> str:
    assert isinstance(of.file, io.StringIO)
    return of.file.getvalue()


def test_outcomes_are_kept_as_they_come(points: list[Point], make_result: Callable[..., Result]) -> None:
    simulator = Simulator(make_result(), failing=12)
    arrivals = stream(points, simulator, console())
    for expected in (24, 12, 6):
        outcome = next(arrivals)
        assert outcome.point.config.conns == expected
        assert outcome.point.is_finished == (expected != 12)
        assert not outcome.done_before
    assert list(arrivals) == []
    assert points[1].failure_file.read_text() == f"{points[1].label}\ndetails\n"


def test_finished_points_come_first_and_are_not_simulated(points: list[Point], make_result: Callable[..., Result]) -> None:
    points[1].save(make_result(2000.0))
    simulator = Simulator(make_result())
    outcomes = list(stream(points, simulator, console()))
    assert [outcome.point.config.conns for outcome in outcomes] == [12, 24, 6]
    assert [outcome.done_before for outcome in outcomes] == [True, False, False]
    assert outcomes[0].result == make_result(2000.0)
    assert simulator.asked == [6, 24]
    assert all(outcome.done_before for outcome in stream(points, simulator, console()))
    assert simulator.asked == [6, 24]


def test_a_point_that_is_not_whole_is_run_again_and_a_line_says_so(
    points: list[Point], make_result: Callable[..., Result]
) -> None:
    for point in points:
        point.save(make_result(2000.0))
    points[0].result_file.write_text("")
    (points[2].folder / "provenance.json").unlink()
    before = [path.stat().st_mtime_ns for path in points[1].folder.iterdir()]
    simulator, terminal = Simulator(make_result()), console()
    outcomes = list(stream(points, simulator, terminal))
    assert simulator.asked == [6, 24]
    assert [outcome.point.config.conns for outcome in outcomes] == [12, 24, 6]
    said = [line for line in output(terminal).splitlines() if "is run again" in line]
    assert [line.split("; it is now in")[0] for line in said] == [
        f"{points[0].label}: {points[0].result_file} is empty",
        f"{points[2].label}: {points[2].folder / 'provenance.json'} is missing",
    ]
    assert [path.stat().st_mtime_ns for path in points[1].folder.iterdir()] == before
    assert all(outcome.done_before for outcome in stream(points, simulator, console()))


def test_whoever_is_closed_closes_the_simulator(points: list[Point], make_result: Callable[..., Result]) -> None:
    simulator = Simulator(make_result())
    with closing(stream(points, simulator, console())) as arrivals:
        next(arrivals)
        assert not simulator.closed
    assert simulator.closed
    assert [point.is_finished for point in points] == [False, False, True]


def test_what_cannot_be_kept_ends_it(points: list[Point], make_result: Callable[..., Result]) -> None:
    (points[0].output_dir / "points").write_text("in the way")
    simulator = Simulator(make_result())
    with pytest.raises(UnwritableError):
        list(stream(points, simulator, console()))
    assert simulator.closed


def test_the_bar_counts_and_says_when_points_begin_to_run(points: list[Point], make_result: Callable[..., Result]) -> None:
    busy: list[str] = []
    screen = console()
    list(stream(points, Simulator(make_result()), screen, when_busy=lambda: busy.append("now")))
    assert busy == ["now"]
    assert "3 done, 0 running, 0 left" in output(screen)
    quiet = console()
    list(stream(points, Simulator(make_result()), quiet, transient=True))
    assert "done" not in output(quiet)


def test_no_count_of_the_bar_is_negative(points: list[Point], make_result: Callable[..., Result]) -> None:
    """Points whose cores are actors end together: none was said to have ended before the first comes."""

    def simulate_together(points: Sequence[Point], show: Show) -> Simulation:
        show("in lock-step", len(points))
        for point in points:
            yield Outcome(point, make_result())

    terminal = console()
    assert len(list(stream(points, simulate_together, terminal))) == 3
    assert "3 done, 0 running, 0 left" in output(terminal)


def test_points_that_an_outcome_asks_for_are_run_beside(points: list[Point], make_result: Callable[..., Result]) -> None:
    """Those that are finished already are read, and may ask for more in turn."""
    asked_for = {6: [points[1]], 12: [points[2]]}
    points[1].save(make_result(2000.0))
    asked: list[int] = []

    def simulate(first: Sequence[Point], show: Show) -> Simulation:
        waiting = list(first)
        while waiting:
            point = waiting.pop()
            asked.append(point.config.conns)
            waiting += (yield Outcome(point, make_result())) or ()

    screen = console()
    more = [*stream(points[:1], simulate, screen, more=lambda outcome: asked_for.get(outcome.point.config.conns, ()))]
    assert [(outcome.point.config.conns, outcome.done_before) for outcome in more] == [(6, False), (12, True), (24, False)]
    assert asked == [6, 24]
    assert "3 done, 0 running, 0 left" in output(screen)
    assert points[2].is_finished
    assert all(
        each.done_before
        for each in stream(points[:1], simulate, screen, more=lambda each: asked_for.get(each.point.config.conns, ()))
    )
