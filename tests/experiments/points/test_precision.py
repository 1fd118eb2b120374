"""Seeds are added until an interval is narrow enough: by hand, in any order, and with the coverage that is promised."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from experiments.points.names import name_points
from experiments.points.point import Outcome, Point
from experiments.points.precision import Precision, SeedPlan
from netstack.errors import ConfigError
from netstack.sim import Result, SimulationConfig, simulate

MakeResult = Callable[..., Result]
SHORT = ("org=up", "conns=6", "engine.warmup_ms=1", "engine.measure_ms=2")
SEEDS, INTERVALS = 1000, 200


@pytest.fixture
def points(tmp_path: Path) -> list[Point]:
    configs = [SimulationConfig(conns=conns, seed=7) for conns in (6, 24)]
    return [Point(config, name, tmp_path) for config, name in zip(configs, name_points(configs), strict=True)]


def run(plan: SeedPlan, goodput: Callable[[SimulationConfig], float], make_result: MakeResult, shuffle: int = 0) -> None:
    """Give a plan the outcomes of all its points, one at a time, in an order by `shuffle`."""
    waiting, order = list(plan.points), random.Random(shuffle)
    while waiting:
        point = waiting.pop(order.randrange(len(waiting)))
        waiting += plan.more(Outcome(point, make_result(goodput(point.config))))


def seeds(plan: SeedPlan) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for point in plan.points:
        found.setdefault(point.config.conns, []).append(point.config.seed)
    return found


def noisy(config: SimulationConfig) -> float:
    """3 % of noise at 24 connections, none at 6."""
    return 1000 + (30 * random.Random(config.seed).gauss(0, 1) if config.conns == 24 else 0)


@pytest.mark.parametrize(("text", "name", "share"), [("1%", "", 0.01), ("p99_us:5%", "p99_us", 0.05), ("0.25%", "", 0.0025)])
def test_a_precision_is_read(text: str, name: str, share: float) -> None:
    found = Precision.of_text(text, 5, 50)
    assert (found.statistic, found.share, found.least, found.most) == (name, pytest.approx(share), 5, 50)


@pytest.mark.parametrize("text", ["1", "%", "-1%", "0%", "101%", "p99_us:", "p99:5%", "goodput_mbps", ":1%", "1%%"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="precision"):
        Precision.of_text(text, 5, 50)


def test_points_stay_as_they_are_without_a_precision(points: list[Point], make_result: MakeResult) -> None:
    plan = SeedPlan(points)
    assert plan.points == points
    assert plan.more(Outcome(points[0], make_result())) == []


def test_few_seeds_where_points_are_steady_and_many_where_they_are_not(points: list[Point], make_result: MakeResult) -> None:
    plan = SeedPlan(points, Precision("goodput_mbps", 0.01))
    assert seeds(plan) == {6: [7, 8, 9, 10, 11], 24: [7, 8, 9, 10, 11]}
    run(plan, noisy, make_result)
    found = seeds(plan)
    assert found[6] == [7, 8, 9, 10, 11]
    count = len(found[24])
    assert found[24] == list(range(7, 7 + count))
    values = [noisy(SimulationConfig(conns=24, seed=seed)) for seed in found[24]]
    low, high = scipy.stats.t.interval(0.95, count - 1, np.mean(values), scipy.stats.sem(values))
    assert (high - low) / 2 <= 0.01 * np.mean(values)
    assert 15 < count <= 50
    assert list(plan.not_reached()) == []


def test_which_seeds_are_run_does_not_depend_on_the_order_of_results(points: list[Point], make_result: MakeResult) -> None:
    found = []
    for shuffle in range(5):
        plan = SeedPlan(points, Precision("", 0.01))
        run(plan, noisy, make_result, shuffle)
        found.append(seeds(plan))
    assert found == found[:1] * 5


def test_the_next_number_of_seeds_by_hand() -> None:
    """Of 5 values with mean 100 and deviation 2: t(7) 2.365 x 2 / sqrt(8) is 1.672, t(6) 2.447 x 2 / sqrt(7) is 1.850."""
    values = [100 + 2 * np.sqrt(5 / 4) * sign for sign in (1, -1, 1, -1)] + [100.0]
    spread = float(np.std(values, ddof=1))
    values = [100 + (value - 100) * 2 / spread for value in values]
    assert not Precision("", 0.017).is_reached(values)
    assert Precision("", 0.017).seeds_needed(values) == 8
    assert Precision("", 0.001).seeds_needed(values) == 10  # twice as many at most
    assert Precision("", 0.001, 5, 7).seeds_needed(values) == 7
    assert Precision("", 0.025).is_reached(values)  # t(4) 2.776 x 2 / sqrt(5) is 2.483


def test_a_point_that_stays_imprecise_is_said(points: list[Point], make_result: MakeResult) -> None:
    plan = SeedPlan(points, Precision("", 0.0001, 5, 12))
    run(plan, noisy, make_result)
    ((point, count, share),) = plan.not_reached()
    assert (point.config.conns, count) == (24, 12)
    assert share > 0.0001


def test_given_seeds_come_first(points: list[Point]) -> None:
    both = [points[0], replace(points[0], config=replace(points[0].config, seed=3))]
    plan = SeedPlan(both, Precision("", 0.01, 4))
    assert seeds(plan) == {6: [7, 3, 8, 9]}
    assert len({point.label for point in plan.points}) == 4


def test_a_failed_point_asks_for_nothing(points: list[Point], make_result: MakeResult) -> None:
    plan = SeedPlan(points[1:], Precision("", 0.0001))
    *others, last = plan.points
    assert all(plan.more(Outcome(point, make_result(noisy(point.config)))) == [] for point in others)
    assert plan.more(Outcome.of_error(last, ValueError("made up"), "")) == []
    assert list(plan.not_reached()) == []


def interval(values: Sequence[float], precision: Precision) -> tuple[float, float]:
    """Return the interval at which seeds in this order stop."""
    count = precision.least
    while not precision.is_reached(values[:count]) and count < precision.most:
        count = precision.seeds_needed(values[:count])
    low, high = scipy.stats.t.interval(0.95, count - 1, np.mean(values[:count]), scipy.stats.sem(values[:count]))
    return float(low), float(high)


def test_intervals_hold_the_mean_as_often_as_they_promise(composed) -> None:
    """Of 200 intervals at 95 %, 180 to 198 hold the mean of 1,000 seeds. Looking several times costs a little of the 95 %."""
    config = composed(*SHORT)
    values = np.array([simulate(replace(config, seed=seed)).goodput_mbps for seed in range(SEEDS)])
    draw = np.random.default_rng(1)
    found = [interval(list(draw.permutation(values)), Precision("", 0.02)) for _ in range(INTERVALS)]
    holding = sum(low <= values.mean() <= high for low, high in found)
    assert 180 <= holding <= 198
