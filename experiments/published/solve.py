"""Finds parameters that each have one value to meet, one after the other, until all are met.

Knows functions of numbers, not that a simulator is behind them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from experiments.published.score import relative

MOST_STEPS = 8  # of one parameter in one round
FIRST_STEP = 0.25  # of the parameter's logarithm, where no slope is known
LONGEST_STEP = 1.0  # of the same

Evaluate = Callable[[int, tuple[float, ...]], float]
"""From the number of a goal, and the values of all parameters, to the simulated value of that goal."""


@dataclass(frozen=True)
class Goal:
    """A parameter with its bounds, and the value that it has to meet. Whole parameters take whole numbers only."""

    name: str
    start: float
    low: float
    high: float
    wanted: float
    whole: bool = False

    def taken(self, logarithm: float) -> float:
        """Return the parameter as it is used and written: whole, or of five digits, between its bounds."""
        value = min(max(math.exp(logarithm), self.low), self.high)
        return float(round(value)) if self.whole else float(f"{value:.5g}")


@dataclass(frozen=True)
class Solution:
    """The parameters, the simulated value of each goal with them, and how often a goal was evaluated."""

    values: tuple[float, ...]
    simulated: tuple[float, ...]
    evaluations: int

    def residuals(self, goals: Sequence[Goal]) -> list[float]:
        """Return by what share each goal is missed."""
        return [relative(value, goal.wanted) or 0.0 for value, goal in zip(self.simulated, goals, strict=True)]


class _Known:
    """Evaluations, each made once."""

    def __init__(self, evaluate: Evaluate, goals: Sequence[Goal]) -> None:
        self._evaluate = evaluate
        self._goals = goals
        self._values: dict[tuple[int, tuple[float, ...]], float] = {}

    def miss(self, index: int, values: Sequence[float]) -> float:
        """Return by what share a goal is missed."""
        return (self.value(index, values) - self._goals[index].wanted) / abs(self._goals[index].wanted)

    def value(self, index: int, values: Sequence[float]) -> float:
        """Return the simulated value of a goal."""
        key = (index, tuple(values))
        if key not in self._values:
            self._values[key] = self._evaluate(*key)
        return self._values[key]

    @property
    def count(self) -> int:
        """How many evaluations were made."""
        return len(self._values)


def solve(evaluate: Evaluate, goals: Sequence[Goal], tolerance: float = 0.005, rounds: int = 4) -> Solution:
    """Return parameters with which each goal is met to within `tolerance`, a share of it, or as nearly as was found.

    Each parameter in turn is moved along the secant of its own goal, others as they are; then again, since they move each other's
    goals. The best values of all are kept.
    """
    known = _Known(evaluate, goals)
    values = [goal.start for goal in goals]
    best, least = list(values), math.inf
    for _ in range(rounds):
        for index, goal in enumerate(goals):
            values[index] = _secant(known, values, index, goal, tolerance)
        worst = max(abs(known.miss(index, values)) for index in range(len(goals)))
        if worst < least:
            best, least = list(values), worst
        if worst <= tolerance:
            break
    simulated = tuple(known.value(index, best) for index in range(len(goals)))
    return Solution(tuple(best), simulated, known.count)


def _secant(known: _Known, values: Sequence[float], index: int, goal: Goal, tolerance: float) -> float:
    """Return the value of one parameter that meets its goal best, of those that were tried."""
    tried: dict[float, float] = {}

    def miss(value: float) -> float:
        tried[value] = known.miss(index, [*values[:index], value, *values[index + 1 :]])
        return tried[value]

    one = values[index]
    if abs(miss(one)) <= tolerance:
        return one
    upwards = one * math.exp(FIRST_STEP) <= goal.high
    other = goal.taken(math.log(one) + (FIRST_STEP if upwards else -FIRST_STEP))
    if other == one:  # of a small whole parameter
        other = one + 1 if upwards else one - 1
    for _ in range(MOST_STEPS):
        if abs(miss(other)) <= tolerance:
            break
        following = goal.taken(_next(tried, one, other))
        if following in tried:
            break
        one, other = other, following
    return min(tried, key=lambda value: abs(tried[value]))


def _next(tried: dict[float, float], one: float, other: float) -> float:
    """Return the logarithm to try next: where the secant through the last two is zero, inside a bracket if one is known."""
    at, end = math.log(one), math.log(other)
    slope = (tried[other] - tried[one]) / (end - at)
    step = -tried[other] / slope if slope else 0.0
    following = end + min(max(step, -LONGEST_STEP), LONGEST_STEP)
    for low, high in pairwise(sorted(tried)):
        if tried[low] * tried[high] < 0 and not math.log(low) < following < math.log(high):
            return (math.log(low) + math.log(high)) / 2
    return following
