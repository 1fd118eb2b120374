"""What is fitted in an experiment beside a publication, with the simulator in this process, and the record of it in `conf/`.

Only values that are given enter. Knows no terminal.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from experiments.calibrate.yaml_edit import NotInFileError, with_block, with_values
from experiments.config.compose import compose_simulation
from experiments.config.grids import ExperimentConfig, variant_name
from experiments.config.values import flat_values, is_number
from experiments.points.provenance import commit_label, provenance
from experiments.published.comparison import as_place
from experiments.published.figures import FACTOR, Given, Published, X, digits, shown
from experiments.published.solve import Goal, Solution, solve
from netstack.errors import ConfigError
from netstack.sim import Result, SimulationConfig, simulate

BLOCK = "fit"


@dataclass(frozen=True)
class Fitted:
    """A fit: the goals with the given values behind them, what was found, and factors by statistic, which need no search."""

    goals: list[Goal]
    given: list[Given]
    solution: Solution
    factors: dict[str, float]
    factor_residuals: dict[str, list[tuple[Given, float]]]
    seeds: list[int]


class Experiment:
    """An experiment's file, as configurations of single points."""

    def __init__(self, path: Path, published: Published) -> None:
        """Read the file. Raises ConfigError if it is none."""
        self.path = path
        try:
            self.values: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError("experiment.name", path.stem, f"must be a file of {path.parent} ({error.strerror})") from error
        values = self.values
        grids = ExperimentConfig(
            path.stem, common=values.get("common"), grids=values.get("grids"), variants=values.get("variants")
        )
        self._grids = grids.combined()
        self._key = published.axis.key

    @property
    def seeds(self) -> list[int]:
        """The seeds of the experiment."""
        given = self._grids[0].get("seed", 1)
        return given if isinstance(given, list) else [given]

    def config(self, variant: str, x: X, seed: int, changed: Mapping[str, float]) -> SimulationConfig:
        """Return the configuration of a point, with other values of some keys.

        Raises:
            ConfigError: The experiment has no such point, or has several.
        """
        for values in self._grids:
            xs = values.get(self._key)
            if variant_name(values) == variant and x in [as_place(each) for each in (xs if isinstance(xs, list) else [xs])]:
                mine = {**values, self._key: None if isinstance(x, str) else x, "seed": seed, **changed}
                del mine["variant"]
                several = [key for key, value in mine.items() if isinstance(value, list)]
                if several:
                    raise ConfigError(several[0], mine[several[0]], "must be one value, to be fitted")
                return compose_simulation(*(f"{key}={'null' if value is None else value}" for key, value in mine.items()))
        raise ConfigError("variant", variant, f"has no {self._key}={x} in {self.path.name}")

    def rewritten(self, published: Published, values: Mapping[str, float], lines: Sequence[str]) -> str:
        """Return the file with fitted values of parameters, and a record of the fit at its end.

        Raises:
            ConfigError: The file does not hold a value where the parameter belongs.
        """
        changes: dict[tuple[str | int, ...], int | float | str] = {}
        for name, value in values.items():
            free = published.parameters[name]
            text = int(value) if float(value).is_integer() and value > 10 else value
            for key in free.keys:
                if not free.variants:
                    changes["common", key] = text
                for index, variant in enumerate(self.values.get("variants") or []):
                    if variant_name(variant) in free.variants:
                        changes["variants", index, key] = text
        try:
            return with_block(with_values(self.path.read_text(encoding="utf-8"), changes), BLOCK, lines)
        except NotInFileError as error:
            raise ConfigError(str(error), self.path.name, "must hold the value itself to be fitted") from error


def fit_experiment(
    published: Published,
    experiment: Experiment,
    seeds: Sequence[int],
    show: Callable[[str], None],
) -> Fitted:
    """Fit the parameters to the given values, each to its own, then compute the factors that are fitted.

    Args:
        published: What is given and free.
        experiment: Where the parameters start, and what the points are.
        seeds: Those whose mean is fitted.
        show: Is told of each evaluation.
    """
    given = [each for each in published.given if each.fitted in published.parameters]
    known: dict[tuple[Any, ...], list[Result]] = {}

    def results(one: Given, values: Sequence[float]) -> list[Result]:
        changed: dict[str, float] = {}
        for goal, value in zip(goals, values, strict=True):
            free = published.parameters[goal.name]
            if not free.variants or one.variant in free.variants:
                changed |= dict.fromkeys(free.keys, int(value) if goal.whole else value)
        key = (one.variant, one.x, tuple(changed.items()))
        if key not in known:
            known[key] = [simulate(experiment.config(one.variant, one.x, seed, changed)) for seed in seeds]
        return known[key]

    def evaluate(index: int, values: tuple[float, ...]) -> float:
        one = given[index]
        value = _mean(published, one, results(one, values))
        show(f"{goals[index].name} {values[index]:g}: {one.statistic} {value:,.5g}, given {one.value:,g}")
        return value

    goals = [_goal(published, experiment, one, seeds[0]) for one in given]
    solution = solve(evaluate, goals)
    factors: dict[str, float] = {}
    residuals: dict[str, list[tuple[Given, float]]] = {}
    for name, statistic in published.statistics.items():
        own = [one for one in published.given if one.statistic == name and one.fitted == FACTOR]
        if own:
            plain = [_mean(published, one, results(one, solution.values)) / statistic.factor for one in own]
            factors[name] = float(f"{least_squares_factor(plain, [one.value for one in own]):.5g}")
            residuals[name] = [(one, factors[name] * value / one.value - 1) for one, value in zip(own, plain, strict=True)]
    return Fitted(goals, given, solution, factors, residuals, list(seeds))


def least_squares_factor(simulated: Sequence[float], given: Sequence[float]) -> float:
    """Return the factor of simulated values whose relative residuals have the least sum of squares."""
    ratios = [value / wanted for value, wanted in zip(simulated, given, strict=True)]
    return sum(ratios) / sum(ratio * ratio for ratio in ratios)


def record(fitted: Fitted, command: str) -> list[str]:
    """Return what the experiment's file says about its fit."""
    known = provenance()
    commit = commit_label(known)
    seeds = ", ".join(map(str, fitted.seeds))
    lines = [
        f"{command}, {date.today():%Y-%m-%d}",
        f"{f'commit {commit}, ' if commit else ''}model {known['model.version']}, seeds {seeds}, "
        f"{fitted.solution.evaluations} evaluations",
        "parameter: value; simulated and given value of what it is fitted on (residual):",
    ]
    simulated, residuals = fitted.solution.simulated, fitted.solution.residuals(fitted.goals)
    for goal, one, value, got, residual in zip(
        fitted.goals, fitted.given, fitted.solution.values, simulated, residuals, strict=True
    ):
        place = f"{one.statistic} of {one.variant} at {shown(one.x)}"
        bound = ", at its bound" if value in (goal.low, goal.high) else ""
        lines.append(f"  {goal.name}: {value:g}{bound}; {place}: {digits(got)} and {digits(one.value)} ({100 * residual:+.1f} %)")
    for name, factor in fitted.factors.items():
        at = ", ".join(
            f"{digits(one.value)} at {shown(one.x)} ({100 * miss:+.1f} %)" for one, miss in fitted.factor_residuals[name]
        )
        lines.append(f"  {FACTOR} of {name}: {factor:g}; {at}")
    return lines


def with_factors(text: str, factors: Mapping[str, float]) -> str:
    """Return a file of figures with other factors of statistics."""
    return with_values(text, {("statistics", name, "factor"): factor for name, factor in factors.items()})


def _goal(published: Published, experiment: Experiment, one: Given, seed: int) -> Goal:
    free = published.parameters[one.fitted]
    start = flat_values(experiment.config(one.variant, one.x, seed, {})).get(free.keys[0])
    if not is_number(start) or not free.low <= start <= free.high:
        raise ConfigError(free.keys[0], start, f"must be from {free.low:g} to {free.high:g} to be fitted as {one.fitted}")
    return Goal(one.fitted, float(start), free.low, free.high, one.value, isinstance(start, int))


def _mean(published: Published, one: Given, results: Sequence[Result]) -> float:
    statistic = published.statistics[one.statistic]
    return sum(statistic.value(result) for result in results) / len(results)
