"""Holds simulated points against a publication: a row per figure, the null models, and scores of what was not given.

Knows numbers, not how they are shown.
"""

import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from experiments.paper.verdicts import Estimate
from experiments.points.seeds import half_width, mean
from experiments.published.figures import LINEAR, MOST, Given, Published, X, ordered, positions
from experiments.published.targets import Targets
from netstack.sim import Result

Series = Mapping[str, Mapping[X, Sequence[Result]]]
"""The results of each seed by variant and place; a place that is not finished has none."""


@dataclass(frozen=True)
class Row:
    """One figure: a statistic of a variant at a place."""

    statistic: str
    variant: str
    x: X
    given: Given | None
    simulated: Estimate | None
    null: float | None
    published: float | None

    @property
    def is_predicted(self) -> bool:
        """Whether it can be scored: it is published, simulated, and was not given."""
        return self.given is None and self.error is not None

    @property
    def error(self) -> float | None:
        """The relative error of the simulation, None where it has no meaning or there is nothing to compare."""
        return relative(self.simulated.mean if self.simulated else None, self.published)

    @property
    def null_error(self) -> float | None:
        """The same of the null model."""
        return relative(self.null, self.published)

    @property
    def residual(self) -> float | None:
        """The relative distance of the simulation from the given value."""
        return relative(self.simulated.mean if self.simulated else None, self.given.value if self.given else None)


@dataclass(frozen=True)
class Errors:
    """Absolute relative errors of some figures."""

    count: int
    mean: float
    median: float

    @classmethod
    def of(cls, errors: Iterable[float]) -> "Errors | None":
        """Return the summary of some errors, None if there are none."""
        sizes = [abs(error) for error in errors]
        return cls(len(sizes), statistics.fmean(sizes), statistics.median(sizes)) if sizes else None


@dataclass(frozen=True)
class Score:
    """How far simulation and null model are from predicted figures.

    Attributes:
        scope: Which figures they are.
        simulated: Of all of them.
        beside: Of the simulation, of those that the null model has, too.
        null: Of the null model, of the same.
    """

    scope: str
    simulated: Errors
    beside: Errors | None
    null: Errors | None


def relative(value: float | None, reference: float | None) -> float | None:
    """Return by what share of a reference a value is above it; None without one of them, or with a reference of 0."""
    return None if value is None or not reference else (value - reference) / abs(reference)


def rows(published: Published, series: Series, targets: Targets) -> list[Row]:
    """Return a row for each statistic, variant and place, in this order."""
    places = ordered([x for variant in series.values() for x in variant])
    found = []
    for name, statistic in published.statistics.items():
        for variant, results_at in series.items():
            for x in ordered(list(results_at)):
                values = [statistic.value(result) for result in results_at[x]]
                simulated = Estimate(mean(values), half_width(values), len(values)) if values else None
                given = published.of(variant, x, name)
                null = null_value(published, name, variant, x, list(series), places)
                found.append(Row(name, variant, x, given, simulated, null, targets.get((variant, x, name))))
    return found


def null_value(
    published: Published, statistic: str, variant: str, x: X, variants: Sequence[str], places: Sequence[X]
) -> float | None:
    """Return what the null model of a statistic says; None if no value of it is given.

    Proportion needs numbers: at `MOST` a linear model is a constant one.

    Args:
        published: The given values.
        statistic: The statistic's name.
        variant: The variant that is asked for.
        x: The place that is asked for.
        variants: All variants in order.
        places: All places of the experiment.
    """
    of_variant = {
        each: {given.x: given.value for given in published.given if (given.statistic, given.variant) == (statistic, each)}
        for each in variants
    }
    if published.statistics[statistic].null_model == LINEAR and x != MOST:
        for given in (of_variant.get(variant, {}), *of_variant.values()):
            numbers = [place for place in ordered(list(given)) if place != MOST]
            if numbers:
                return given[numbers[0]] * float(x) / float(numbers[0])
    given = next((values for values in of_variant.values() if values), None)
    if given is None:
        return None
    position = positions([*places, *given, x])
    return given[min(ordered(list(given)), key=lambda place: abs(position[place] - position[x]))]


def score(scope: str, some: Collection[Row]) -> Score | None:
    """Return the score of the predicted figures among some rows, None if there are none."""
    predicted = [row for row in some if row.is_predicted]
    beside = [row for row in predicted if row.null_error is not None]
    simulated = Errors.of(row.error for row in predicted if row.error is not None)
    if simulated is None:
        return None
    return Score(
        scope,
        simulated,
        Errors.of(row.error for row in beside if row.error is not None),
        Errors.of(row.null_error for row in beside if row.null_error is not None),
    )


def scores(found: Sequence[Row], labels: Mapping[str, str]) -> list[Score]:
    """Return the scores of all figures, of each variant and of each statistic; `labels` has the names of statistics."""
    variants = dict.fromkeys(row.variant for row in found)
    parts = [score("all", found)]
    parts += [score(variant, [row for row in found if row.variant == variant]) for variant in variants]
    parts += [score(label, [row for row in found if row.statistic == name]) for name, label in labels.items()]
    return [part for part in parts if part is not None]
