"""Distributions of sizes and times, as data, and the tables of quantiles that compiled code draws from. Knows no workload."""

import math
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np

from netstack.errors import ConfigError

SAMPLES = 4096
"""Quantiles of a distribution, at the middles of as many equal parts of the probability. A draw takes one of them."""
PARAMETERS = {
    "constant": ("mean",),
    "uniform": ("low", "high"),
    "exponential": ("mean",),
    "lognormal": ("median", "sigma"),
    "generalized_pareto": ("location", "scale", "shape"),
    "generalized_extreme_value": ("location", "scale", "shape"),
    "quantiles": ("values",),
}
"""The parameters that each kind of distribution reads."""


@dataclass
class DistributionConfig:
    """A distribution of numbers from 0 on. Draws are rounded to whole numbers, and at most `most`.

    `constant` is `mean` always, `uniform` is between `low` and `high`, `exponential` has a `mean`, `lognormal` a `median` and the
    `sigma` of its logarithm. `generalized_pareto` and `generalized_extreme_value` have `location`, `scale` and `shape`, where a
    positive shape has a heavy tail on the right. `quantiles` are `values` in rising order, which are equally likely.
    """

    kind: str = "constant"
    mean: float = 0.0
    low: float = 0.0
    high: float = 0.0
    median: float = 1.0
    sigma: float = 0.0
    location: float = 0.0
    scale: float = 1.0
    shape: float = 0.0
    values: list[float] = field(default_factory=list)
    most: float = 1e9

    def validate(self, key: str) -> None:
        """Raise ConfigError for the first parameter that gives no distribution."""
        if self.kind not in PARAMETERS:
            raise ConfigError(f"{key}.kind", self.kind, f"allowed are {', '.join(PARAMETERS)}")
        numbers = (self.mean, self.low, self.high, self.median, self.sigma, self.location, self.scale, self.shape, self.most)
        if not all(math.isfinite(number) for number in (*numbers, *self.values)):
            raise ConfigError(key, self.kind, "must have finite parameters")
        for name in ("mean", "low", "sigma", "location", "most"):
            if not 0 <= getattr(self, name) <= 1e12:
                raise ConfigError(f"{key}.{name}", getattr(self, name), "must be from 0 to 1000000000000")
        for name in ("median", "scale"):
            if not 0 < getattr(self, name) <= 1e12:
                raise ConfigError(f"{key}.{name}", getattr(self, name), "must be above 0 and at most 1000000000000")
        if self.kind == "uniform" and not self.low <= self.high <= 1e12:
            raise ConfigError(f"{key}.high", self.high, f"must be from low={self.low:g} to 1000000000000")
        if not -1 < self.shape < 1:
            raise ConfigError(f"{key}.shape", self.shape, "must be between -1 and 1, so that there is a mean")
        if self.kind == "quantiles" and (not self.values or self.values != sorted(self.values) or self.values[0] < 0):
            raise ConfigError(f"{key}.values", self.values, "must be numbers from 0 on in rising order, at least one")

    def samples(self) -> np.ndarray:
        """Return `SAMPLES` quantiles as whole numbers, in rising order; shape (SAMPLES,), int64."""
        middles = (np.arange(SAMPLES) + 0.5) / SAMPLES
        return np.clip(np.round(self._quantiles(middles)), 0, self.most).astype(np.int64)

    def mean_of_samples(self) -> float:
        """Return the mean of what is drawn."""
        return float(self.samples().mean())

    def _quantiles(self, at: np.ndarray) -> np.ndarray:
        """Return the quantiles at probabilities. Sources: Johnson, Kotz, Balakrishnan, Continuous Univariate Distributions."""
        if self.kind == "uniform":
            return self.low + (self.high - self.low) * at
        if self.kind == "exponential":
            return -self.mean * np.log1p(-at)
        if self.kind == "lognormal":
            normal = NormalDist()
            return self.median * np.exp(self.sigma * np.array([normal.inv_cdf(value) for value in at]))
        if self.kind == "generalized_pareto":
            return self.location + self.scale * _stretched(-np.log1p(-at), self.shape)
        if self.kind == "generalized_extreme_value":
            return self.location + self.scale * _stretched(-np.log(-np.log(at)), self.shape)
        if self.kind == "quantiles":
            return np.array(self.values)[(at * len(self.values)).astype(int)]
        return np.full(len(at), self.mean)


def _stretched(logarithm: np.ndarray, shape: float) -> np.ndarray:
    """Return (exp(shape x logarithm) - 1) / shape, or its limit for a shape of 0."""
    return logarithm if shape == 0 else np.expm1(shape * logarithm) / shape
