"""Seeds are put together: means and confidence intervals against SciPy's."""

import statistics
from pathlib import Path

import pytest
import scipy.stats

from experiments.points.seeds import repetitions, student_t
from netstack.sim import Result
from tests.helpers.outcomes import outcomes


@pytest.mark.parametrize("freedom", [1, 2, 5, 16, 17, 30, 1000])
def test_students_t(freedom: int) -> None:
    assert student_t(freedom) == pytest.approx(scipy.stats.t.ppf(0.975, freedom), rel=5e-3)


def test_seeds_are_put_together(result: Result, composed, tmp_path: Path) -> None:
    configs = [composed("conns=24", f"seed={seed}") for seed in (1, 2, 3)] + [composed("conns=6", "seed=1")]
    made = outcomes(result, configs, tmp_path)
    values = [outcome.result.goodput_mbps for outcome in made if outcome.result is not None]
    lone, repeated = repetitions(made)
    assert [each.point.name.x for each in (lone, repeated)] == [6, 24]
    assert repeated.mean(lambda result: result.goodput_mbps) == pytest.approx(statistics.mean(values[:3]))
    low, high = scipy.stats.t.interval(0.95, 2, statistics.mean(values[:3]), scipy.stats.sem(values[:3]))
    assert repeated.half_width(lambda result: result.goodput_mbps) == pytest.approx((high - low) / 2, rel=1e-3)
    assert lone.half_width(lambda result: result.goodput_mbps) == 0
