"""Distributions against the means of textbooks, and what is refused."""

import math

import numpy as np
import pytest

from netstack.errors import ConfigError
from netstack.sim.workload.distributions import SAMPLES, DistributionConfig

EULER_GAMMA = 0.5772156649015329


@pytest.mark.parametrize(
    ("distribution", "mean"),
    [
        (DistributionConfig("constant", mean=64), 64),
        (DistributionConfig("uniform", low=100, high=300), 200),
        (DistributionConfig("exponential", mean=5000), 5000),
        (DistributionConfig("lognormal", median=1000, sigma=0.5), 1000 * math.exp(0.125)),
        (DistributionConfig("generalized_pareto", location=15, scale=214.476, shape=0.2), 15 + 214.476 / 0.8),
        (DistributionConfig("generalized_extreme_value", location=500, scale=80, shape=0), 500 + 80 * EULER_GAMMA),
        (DistributionConfig("quantiles", values=[10, 20, 90]), 40),
    ],
    ids=lambda value: value.kind if isinstance(value, DistributionConfig) else "",
)
def test_means(distribution: DistributionConfig, mean: float) -> None:
    distribution.validate("workload.x")
    assert distribution.samples().shape == (SAMPLES,)
    assert distribution.mean_of_samples() == pytest.approx(mean, rel=0.005)
    assert (np.diff(distribution.samples()) >= 0).all()


def test_the_median_of_a_generalized_pareto_by_hand() -> None:
    """F(x) = 1 - (1 + k x / s) ** (-1 / k): half at x = s (2 ** k - 1) / k."""
    samples = DistributionConfig("generalized_pareto", scale=1000, shape=0.5).samples()
    assert samples[SAMPLES // 2] == pytest.approx(1000 * (2**0.5 - 1) / 0.5, rel=0.001)


def test_nothing_is_above_the_most() -> None:
    assert DistributionConfig("exponential", mean=1000, most=1500).samples().max() == 1500


@pytest.mark.parametrize(
    ("distribution", "line"),
    [
        (DistributionConfig("gaussian"), "w.x.kind=gaussian: allowed are constant, "),
        (DistributionConfig(mean=math.nan), "w.x=constant: must have finite parameters"),
        (DistributionConfig(mean=-1), "w.x.mean=-1: must be from 0"),
        (DistributionConfig("uniform", low=3, high=2), "w.x.high=2: must be from low=3"),
        (DistributionConfig("generalized_pareto", shape=1), "w.x.shape=1: must be between"),
        (DistributionConfig("lognormal", median=0), "w.x.median=0: must be above 0"),
        (DistributionConfig("quantiles"), r"w.x.values=\[\]: must be numbers"),
        (DistributionConfig("quantiles", values=[2, 1]), r"w.x.values=\[2, 1\]: must be numbers"),
    ],
)
def test_what_is_refused(distribution: DistributionConfig, line: str) -> None:
    with pytest.raises(ConfigError, match=f"^{line}"):
        distribution.validate("w.x")
