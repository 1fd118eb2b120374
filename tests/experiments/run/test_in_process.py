"""Points in threads of this process: the same results, failures as outcomes, and an end when nobody waits any more."""

import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from experiments.points.names import PointName
from experiments.points.point import Point
from experiments.run import in_process
from experiments.run.in_process import simulate_in_process
from netstack.errors import ConservationError
from netstack.sim import Result, SimulationConfig, simulate

SHORT = ("engine.warmup_ms=1", "engine.measure_ms=1")


def shown_nowhere(activity: str, running: int, share: float = 0.0) -> None:
    pass


@pytest.fixture
def points(composed: Callable[..., SimulationConfig]) -> list[Point]:
    configs = [composed(f"conns={conns}", *SHORT) for conns in (6, 12, 24)]
    return [Point(config, PointName("connp_l", "conns", config.conns), Path()) for config in configs]


@pytest.mark.parametrize("workers", [1, 2])
def test_results_are_those_of_the_simulator(workers: int, points: list[Point]) -> None:
    found = {outcome.point.config.conns: outcome.result for outcome in simulate_in_process(points, workers, shown_nowhere)}
    for point in points:
        result = found[point.config.conns]
        assert result is not None
        assert result.metrics()["goodput_mbps"] == simulate(point.config).goodput_mbps


def test_the_share_of_running_points_is_shown(points: list[Point]) -> None:
    shown: list[tuple[str, int, float]] = []
    list(simulate_in_process(points[:1], 1, lambda activity, running, share=0.0: shown.append((activity, running, share))))
    shares = [share for activity, _, share in shown if activity == "simulating"]
    assert len(shares) > 2
    assert shares == sorted(shares)
    assert 0 < shares[-1] <= 1
    assert {running for _, running, _ in shown} == {0, 1}
    assert shown[-1] == ("", 0, 0)


def test_a_point_that_fails_is_an_outcome(
    points: list[Point], monkeypatch: pytest.MonkeyPatch, make_result: Callable[..., Result]
) -> None:
    def broken(config: SimulationConfig, _follow: Callable[[float], None]) -> Result:
        if config.conns == 12:
            raise ConservationError("cycles are missing")
        return make_result()

    monkeypatch.setattr(in_process, "simulate", broken)
    found = {outcome.point.config.conns: outcome for outcome in simulate_in_process(points, 2, shown_nowhere)}
    assert [found[conns].result is None for conns in (6, 12, 24)] == [False, True, False]
    assert found[12].failure == "ConservationError: cycles are missing"
    assert "broken" in found[12].details  # the traceback


def test_what_cannot_be_compiled_fails_all_points(points: list[Point], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*, windows: bool) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(in_process, "engines_to_compile", lambda configs: [False])
    monkeypatch.setattr(in_process, "compile_once", full)
    outcomes = list(simulate_in_process(points, 2, shown_nowhere))
    assert [outcome.point for outcome in outcomes] == points
    assert all("No space left on device" in outcome.failure for outcome in outcomes)


def test_closing_stops_what_runs(
    points: list[Point], monkeypatch: pytest.MonkeyPatch, make_result: Callable[..., Result]
) -> None:
    """The first point is finished, the second never would be, and the third is not begun."""
    begun: list[int] = []
    running = threading.Event()

    def endless(config: SimulationConfig, follow: Callable[[float], None]) -> Result:
        begun.append(config.conns)
        while config.conns != 6:
            follow(0.5)
            running.set()
        return make_result()

    monkeypatch.setattr(in_process, "simulate", endless)
    with closing(simulate_in_process(points, 1, shown_nowhere)) as arrivals:
        assert next(arrivals).point is points[0]
        assert running.wait(60)
    assert begun == [6, 12]
