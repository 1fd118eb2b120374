"""Summarizes points that differ in the seed only: mean and 95 % confidence interval. Knows outcomes, not how they are shown."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from experiments.points.point import Outcome, Point
from netstack.sim import Result

STUDENT_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120)
"""Two-sided 95 % points of Student's t for 1, 2, ... degrees of freedom."""


def student_t(freedom: int) -> float:
    """Return the two-sided 95 % point of Student's t. Beyond the table it is expanded around the normal distribution's 1.96."""
    return STUDENT_T[freedom - 1] if freedom <= len(STUDENT_T) else 1.96 * (1 + 1.25 / freedom)


def mean(values: Sequence[float]) -> float:
    """Return the mean of one value per seed."""
    return statistics.fmean(values)


def half_width(values: Sequence[float]) -> float:
    """Return half the width of the mean's 95 % confidence interval (Student's t); 0 for a single seed."""
    count = len(values)
    return student_t(count - 1) * statistics.stdev(values) / math.sqrt(count) if count > 1 else 0.0


@dataclass(frozen=True)
class Repetitions:
    """Finished points that differ in the seed only: the first of them, and a result per seed."""

    point: Point
    results: list[Result]

    def mean(self, statistic: Callable[[Result], float]) -> float:
        """Return the mean of a statistic over the seeds."""
        return mean([statistic(result) for result in self.results])

    def half_width(self, statistic: Callable[[Result], float]) -> float:
        """Return half the width of the mean's 95 % confidence interval; 0 for a single seed."""
        return half_width([statistic(result) for result in self.results])


def repetitions(outcomes: Sequence[Outcome]) -> list[Repetitions]:
    """Return the finished points by series, in the order of `outcomes`, and by rising x. Seeds are put together."""
    found: dict[str, dict[float, Repetitions]] = {}
    for outcome in outcomes:
        name = outcome.point.name
        series = found.setdefault(name.series, {})
        if outcome.result is not None:
            series.setdefault(name.x, Repetitions(outcome.point, [])).results.append(outcome.result)
    return [series[x] for series in found.values() for x in sorted(series)]
