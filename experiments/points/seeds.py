"""Points that differ only in the seed, summarized: mean and 95 % confidence interval."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from experiments.points.point import Outcome, Point
from netstack.sim import Result

STUDENT_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120)
"""Two-sided 95 % points of Student's t for 1, 2, ... degrees of freedom."""


def student_t(freedom: int) -> float:
    """Return the two-sided 95 % point of Student's t; beyond the table by its expansion around the normal distribution's 1.96."""
    return STUDENT_T[freedom - 1] if freedom <= len(STUDENT_T) else 1.96 * (1 + 1.25 / freedom)


def mean(values: Sequence[float]) -> float:
    """Return the mean of one value a seed."""
    return statistics.fmean(values)


def half_width(values: Sequence[float]) -> float:
    """Return half the width of the mean's 95 % confidence interval (Student's t); 0 for a single seed."""
    count = len(values)
    return student_t(count - 1) * statistics.stdev(values) / math.sqrt(count) if count > 1 else 0.0


@dataclass(frozen=True)
class Repetitions:
    """The finished points of one place in a sweep, a result a seed."""

    point: Point
    results: list[Result]

    def mean(self, statistic: Callable[[Result], float]) -> float:
        """Return the mean of a statistic over the seeds."""
        return mean([statistic(result) for result in self.results])

    def half_width(self, statistic: Callable[[Result], float]) -> float:
        """Return half the width of the mean's 95 % confidence interval; 0 for a single seed."""
        return half_width([statistic(result) for result in self.results])


def repetitions(outcomes: Sequence[Outcome]) -> list[Repetitions]:
    """Return the finished points by series, in the order of `outcomes`, and by rising x; seeds are put together."""
    places: dict[str, dict[float, Repetitions]] = {}
    for outcome in outcomes:
        name = outcome.point.name
        series = places.setdefault(name.series, {})
        if outcome.result is not None:
            series.setdefault(name.x, Repetitions(outcome.point, [])).results.append(outcome.result)
    return [series[x] for series in places.values() for x in sorted(series)]
