"""How many seeds a point needs for the precision that was asked for. Knows points and results, not how they run.

Seeds are added until the mean's 95 % confidence interval is narrow enough. Decisions follow from results alone, never from the
order in which they come: a sweep that is launched again asks for the same seeds.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from experiments.points.point import Outcome, Point
from experiments.points.seeds import half_width, mean, student_t
from experiments.points.statistics import check_measured, check_statistic, main_statistic, statistic
from netstack.errors import ConfigError
from netstack.sim import SimulationConfig

LARGEST_SEED = 2**63 - 1
_FORM = re.compile(r"(?:(?P<name>[^:]*):)?(?P<percent>\d+(?:\.\d+)?)%")


@dataclass(frozen=True)
class Precision:
    """The half width that an interval may have, and how many seeds a point gets.

    Attributes:
        statistic: Whose interval it is; empty for that which the point's workload is about.
        share: Half the width of the 95 % confidence interval by the mean.
        least: Seeds of each point before its interval is looked at.
        most: Seeds after which a point gets no more.
    """

    statistic: str
    share: float
    least: int = 5
    most: int = 50

    @classmethod
    def of_text(cls, text: str, least: int, most: int) -> "Precision":
        """Read ``1%`` or ``p99_us:5%``. Raises ConfigError for anything else."""
        found = _FORM.fullmatch(text)
        if found is None or not 0 < float(found["percent"]) <= 100:
            allowed = "must be a share of the mean, as 1%, or that of a statistic, as p99_us:5%, above 0 and up to 100 %"
            raise ConfigError("precision", text, allowed)
        if found["name"] is not None:
            check_statistic("precision", found["name"])
        return cls(found["name"] or "", float(found["percent"]) / 100, least, most)

    def __str__(self) -> str:
        return f"{100 * self.share:g} % of {self.statistic or 'goodput or requests'}"

    def check(self, config: SimulationConfig) -> None:
        """Raise ConfigError if a point does not measure the statistic."""
        if self.statistic:
            check_measured("precision", self.statistic, config)

    def values(self, outcomes: Sequence[Outcome]) -> list[float]:
        """Return the statistic of each finished outcome of one point."""
        read = statistic(self.statistic or main_statistic(outcomes[0].point.config))
        return [read(outcome.result) for outcome in outcomes if outcome.result is not None]

    def is_reached(self, values: Sequence[float]) -> bool:
        """Return whether the interval of a value per seed is narrow enough."""
        return len(values) > 1 and half_width(values) <= self.share * abs(mean(values))

    def seeds_needed(self, values: Sequence[float]) -> int:
        """Return how many seeds to have next: as many as would do if further ones spread alike, but at most twice as many."""
        count = len(values)
        spread = half_width(values) * math.sqrt(count) / student_t(count - 1)
        needed = count + 1
        while needed < 2 * count and student_t(needed - 1) * spread / math.sqrt(needed) > self.share * abs(mean(values)):
            needed += 1
        return min(needed, self.most)


@dataclass
class _Case:
    """A point and its seeds: those asked for, in their order, and what came of them."""

    points: list[Point]
    outcomes: dict[int, Outcome] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        return len(self.outcomes) == len(self.points)

    @property
    def in_order(self) -> list[Outcome]:
        return [self.outcomes[point.config.seed] for point in self.points if point.config.seed in self.outcomes]

    def with_seed(self, seed: int) -> Point:
        """Return the point with another seed."""
        first = self.points[0]
        return replace(first, config=replace(first.config, seed=seed), name=replace(first.name, seed=seed))


class SeedPlan:
    """The points of a sweep, which become more while their results come.

    Args:
        points: What was composed. Seeds of one point are its first ones; further ones count up from the largest.
        precision: What is asked for; None for the points as they are.
    """

    def __init__(self, points: Sequence[Point], precision: Precision | None = None) -> None:
        self.precision = precision
        self._cases: dict[str, _Case] = {}
        for point in points:
            self._cases.setdefault(_case_of(point), _Case([])).points.append(
                point if precision is None else replace(point, name=replace(point.name, seed=point.config.seed))
            )
        if precision is not None:
            for case in self._cases.values():
                self._extend(case, precision.least)

    @property
    def points(self) -> list[Point]:
        """All points so far, those of a case side by side."""
        return [point for case in self._cases.values() for point in case.points]

    def more(self, outcome: Outcome) -> list[Point]:
        """Take an outcome; return the points that it asks for: none, or further seeds of the same case."""
        if self.precision is None:
            return []
        case = self._cases[_case_of(outcome.point)]
        case.outcomes[outcome.point.config.seed] = outcome
        if not case.is_whole or any(each.result is None for each in case.outcomes.values()):
            return []
        values = self.precision.values(case.in_order)
        return [] if self.precision.is_reached(values) else self._extend(case, self.precision.seeds_needed(values))

    def not_reached(self) -> Iterator[tuple[Point, int, float]]:
        """Yield a point of each case that is finished and not precise, its seeds, and half its interval by the mean."""
        if self.precision is None:
            return
        for case in self._cases.values():
            if case.is_whole and all(each.result is not None for each in case.outcomes.values()):
                values = self.precision.values(case.in_order)
                if not self.precision.is_reached(values):
                    yield case.points[0], len(values), half_width(values) / abs(mean(values)) if mean(values) else math.inf

    def _extend(self, case: _Case, count: int) -> list[Point]:
        """Add seeds until a case has so many; return the new points."""
        largest = max(point.config.seed for point in case.points)
        seeds = range(largest + 1, min(largest + 1 + count - len(case.points), LARGEST_SEED + 1))
        new = [case.with_seed(seed) for seed in seeds]
        case.points += new
        return new


def _case_of(point: Point) -> str:
    """Return what points have in common that differ in the seed only."""
    return replace(point, config=replace(point.config, seed=0)).fingerprint
