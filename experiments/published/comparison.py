"""What a sweep is held against: the figures of its experiment, and published values that a user gives.

Everything is read and checked before the first point starts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from experiments.config.grids import ExperimentConfig, variant_name
from experiments.config.values import flat_values, is_number
from experiments.points.point import Outcome, Point
from experiments.published.figures import MOST, Published, X, ordered, read_published
from experiments.published.targets import Targets, read_targets
from netstack.errors import ConfigError
from netstack.sim import Result, SimulationConfig

Places = dict[str, list[X]]
"""Where each variant is simulated, in the order of the experiment."""


@dataclass(frozen=True)
class Comparison:
    """The figures of a publication. `targets` are empty without a file, whose name is `file`."""

    title: str
    published: Published
    targets: Targets
    file: str | None = None

    def series(self, outcomes: Iterable[Outcome]) -> dict[str, dict[X, list[Result]]]:
        """Return the results by variant and place. Places whose points are not finished have none."""
        found: dict[str, dict[X, list[Result]]] = {}
        for outcome in outcomes:
            x = place_of(outcome.point.config, self.published.axis.key)
            results = found.setdefault(outcome.point.name.variant, {}).setdefault(x, [])
            if outcome.result is not None:
                results.append(outcome.result)
        return found


def comparison_of(points: Sequence[Point], experiment: ExperimentConfig, targets: str | None) -> Comparison:
    """Return what points of an experiment are held against.

    Raises:
        ConfigError: There are no figures, the file of targets cannot be used, or two points are one figure.
    """
    published = read_published(experiment.name)
    key = published.axis.key
    seen: set[tuple[str, X, int]] = set()
    for point in points:
        figure = (point.name.variant, place_of(point.config, key), point.config.seed)
        if figure in seen:
            what = f"{figure[0]} {key}={figure[1]} seed={figure[2]}"
            raise ConfigError("experiment.report", "published", f"compares variants and {key} only, and two points are {what}")
        seen.add(figure)
    places = experiment_places(experiment, key)
    for variant, x, _ in seen:
        places[variant] = ordered([*places.get(variant, []), x])
    values = read_targets(targets, places, published.statistics) if targets is not None else {}
    return Comparison(experiment.title or published.title, published, values, targets)


def experiment_places(experiment: ExperimentConfig, key: str) -> Places:
    """Return the variants of an experiment with the places that it has for each."""
    found: Places = {}
    for values in experiment.combined():
        given = values.get(key)
        xs = [as_place(x) for x in (given if isinstance(given, list) else [given])]
        found.setdefault(variant_name(values), []).extend(xs)
    return {variant: ordered(xs) for variant, xs in found.items()}


def place_of(config: SimulationConfig, key: str) -> X:
    """Return where a point is on the axis. Raises ConfigError for a value that is no number."""
    value = flat_values(config).get(key)
    if value is not None and not is_number(value):
        raise ConfigError(key, value, "must be a number, or null for as much as there can be, to be compared")
    return as_place(value)


def as_place(value: X | None) -> X:
    """Return a value of the axis's key as a place."""
    return MOST if value is None else value
