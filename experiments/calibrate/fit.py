"""Fits a few positive parameters to published numbers, and says which of them the numbers determine.

Knows a function from parameters to numbers, not that a simulator is behind it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from experiments.config.user_errors import InputError

NO_INFLUENCE = 0.2  # tolerances of all targets together, for a parameter 2.7 times as large
ALIKE = 0.95  # cosine between the effects of two parameters
NEAR_BOUND = 0.005  # relative
ENOUGH = 0.01  # tolerances; a fit that comes nearer by less changes nothing
PRECISION = 3e-4  # relative, of a parameter's logarithm

Model = Callable[[tuple[float, ...]], tuple[float, ...]]
"""From the values of the parameters to those of the targets, each in order."""


class FitError(InputError):
    """Parameters that the targets cannot determine."""


@dataclass(frozen=True)
class Parameter:
    """A positive number to be found between two bounds."""

    name: str
    start: float
    low: float
    high: float


@dataclass(frozen=True)
class Target:
    """A published number, and how far from it is as good as on it."""

    name: str
    unit: str
    published: float
    tolerance: float


@dataclass(frozen=True)
class Fit:
    """A fit's result.

    Attributes:
        values: Of the parameters, in order.
        before: The targets' values with the parameters' start values.
        simulated: The targets' values with the fitted ones.
        elasticities: By target, then parameter: by how many percent a target grows with a percent of the parameter.
        determined_by: Of each parameter, the target that it pairs with: most of its relative gain (Bristol 1966: slope times
            entry of the inverse, which sums to 1 over the targets) is there.
        uncertainties: Of each parameter, its relative change with a tolerance of that target.
        warnings: Sentences on what the targets do not tell.
        evaluations: How often the model was evaluated.
    """

    values: tuple[float, ...]
    before: tuple[float, ...]
    simulated: tuple[float, ...]
    elasticities: tuple[tuple[float, ...], ...]
    determined_by: tuple[str, ...]
    uncertainties: tuple[float, ...]
    warnings: tuple[str, ...]
    evaluations: int


class _Evaluated:
    """A model whose values are kept, seen through logarithms of parameters and residuals in tolerances."""

    def __init__(self, model: Model, parameters: Sequence[Parameter], targets: Sequence[Target], step: float) -> None:
        self._model = model
        self._targets = targets
        self._low = np.log([parameter.low for parameter in parameters])
        self._high = np.log([parameter.high for parameter in parameters])
        self._step = math.log1p(step)
        self.known: dict[tuple[float, ...], tuple[float, ...]] = {}

    def at(self, logarithms: np.ndarray) -> tuple[float, ...]:
        """Return the targets' values. Parameters are taken to six digits, so that equal ones are recognized."""
        values = tuple(float(f"{value:.6g}") for value in np.exp(logarithms))
        if values not in self.known:
            self.known[values] = self._model(values)
        return self.known[values]

    def residuals(self, logarithms: np.ndarray) -> np.ndarray:
        """Return by how many tolerances each target is missed."""
        pairs = zip(self.at(logarithms), self._targets, strict=True)
        return np.array([(value - target.published) / target.tolerance for value, target in pairs])

    def jacobian(self, logarithms: np.ndarray) -> np.ndarray:
        """Return the residuals' slopes by central differences: steps are large, since a simulation is not smooth."""
        columns = []
        for index in range(len(logarithms)):
            below, above = logarithms.copy(), logarithms.copy()
            below[index] = max(self._low[index], logarithms[index] - self._step)
            above[index] = min(self._high[index], logarithms[index] + self._step)
            columns.append((self.residuals(above) - self.residuals(below)) / (above[index] - below[index]))
        return np.array(columns).T


def fit(model: Model, parameters: Sequence[Parameter], targets: Sequence[Target], step: float, rounds: int = 12) -> Fit:
    """Return the parameters with the least sum of squared residuals, each in tolerances of its target.

    Args:
        model: What is fitted.
        parameters: What is free. Their start values are returned when no others are clearly better.
        targets: What is met.
        step: Relative step of finite differences, for example 0.04.
        rounds: The most steps of the search.

    Raises:
        FitError: A parameter moves no target, or there are more parameters than targets, or bounds without the start.
    """
    if not parameters:
        raise FitError("parameters: none are given")
    if len(parameters) > len(targets):
        raise FitError(f"parameters: {len(parameters)} cannot be determined by {len(targets)} targets")
    for parameter in parameters:
        if not 0 < parameter.low <= parameter.start <= parameter.high or parameter.low == parameter.high:
            bounds = f"{parameter.low:g} to {parameter.high:g}"
            raise FitError(f"{parameter.name}: starts at {parameter.start:g}, outside its bounds {bounds}")
    evaluated = _Evaluated(model, parameters, targets, step)
    start = np.log([parameter.start for parameter in parameters])
    _refuse_without_influence(evaluated.jacobian(start), parameters)
    bounds = (np.log([parameter.low for parameter in parameters]), np.log([parameter.high for parameter in parameters]))
    settings: dict[str, Any] = {"jac": evaluated.jacobian, "xtol": PRECISION, "ftol": None, "gtol": None, "max_nfev": rounds}
    found = least_squares(evaluated.residuals, start, bounds=bounds, **settings)
    better = np.linalg.norm(evaluated.residuals(start)) - np.linalg.norm(found.fun)
    best = found.x if better > ENOUGH else start
    return _described(evaluated, best, parameters, targets, evaluated.at(start))


def _refuse_without_influence(jacobian: np.ndarray, parameters: Sequence[Parameter]) -> None:
    for parameter, effect in zip(parameters, np.linalg.norm(jacobian, axis=0), strict=True):
        if effect < NO_INFLUENCE:
            raise FitError(f"{parameter.name}: has no influence on any target, so that nothing determines it; take it out")


def _described(
    evaluated: _Evaluated,
    best: np.ndarray,
    parameters: Sequence[Parameter],
    targets: Sequence[Target],
    before: tuple[float, ...],
) -> Fit:
    jacobian = evaluated.jacobian(best)
    simulated = evaluated.at(best)
    moves = np.linalg.pinv(jacobian)
    paired = (moves * jacobian.T).argmax(axis=1)
    scale = np.array([target.tolerance / value if value else 0.0 for target, value in zip(targets, simulated, strict=True)])
    values = tuple(float(value) for value in np.exp(best))
    return Fit(
        values=tuple(p.start if math.isclose(v, p.start, rel_tol=1e-9) else v for v, p in zip(values, parameters, strict=True)),
        before=before,
        simulated=simulated,
        elasticities=tuple(tuple(float(slope) for slope in row) for row in jacobian * scale[:, None]),
        determined_by=tuple(targets[index].name for index in paired),
        uncertainties=tuple(abs(float(row[index])) for row, index in zip(moves, paired, strict=True)),
        warnings=tuple(_warnings(jacobian, values, parameters, targets)),
        evaluations=len(evaluated.known),
    )


def _warnings(
    jacobian: np.ndarray, values: Sequence[float], parameters: Sequence[Parameter], targets: Sequence[Target]
) -> list[str]:
    found = []
    lengths = np.linalg.norm(jacobian, axis=0)
    for parameter, value, length in zip(parameters, values, lengths, strict=True):
        if value <= parameter.low * (1 + NEAR_BOUND) or value >= parameter.high * (1 - NEAR_BOUND):
            found.append(f"{parameter.name} ends at a bound, {value:g}: the targets ask for more than it may give")
        if length < NO_INFLUENCE:
            found.append(f"{parameter.name} has no influence on any target where it ends")
    for one, other in combinations(range(len(parameters)), 2):
        if lengths[one] > 0 and lengths[other] > 0:
            cosine = abs(jacobian[:, one] @ jacobian[:, other]) / (lengths[one] * lengths[other])
            if cosine > ALIKE:
                names = f"{parameters[one].name} and {parameters[other].name}"
                found.append(f"{names} move the targets alike (cosine {cosine:.2f}): one of them can stand for the other")
    for target, row in zip(targets, jacobian, strict=True):
        if np.linalg.norm(row) < NO_INFLUENCE:
            found.append(f"no parameter moves {target.name}: it is not fitted, whatever it is")
    return found
