"""Neighbours of an experiment: a variant, the one beside it, what their configurations differ in, and results by seed.

Knows outcomes and configurations, not how changes are shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.config.grids import BESIDE, ExperimentConfig, variant_name
from experiments.config.values import FlatValues, flat_values, number, varied_keys
from experiments.points.point import Outcome, Point
from experiments.points.seeds import half_width, mean
from experiments.steps.quantities import Quantity
from netstack.errors import ConfigError
from netstack.sim import Result

NOT_A_LOAD = ("seed", "org.name")
CHOICES = "org"
"""The section whose keys tell a variant from its neighbour, if all others are alike."""


@dataclass(frozen=True)
class Change:
    """A change of a quantity: the mean over seeds, and half its 95 % confidence interval, which one seed has not."""

    before: float
    after: float
    change: float | None
    half_width: float | None

    @property
    def is_certain(self) -> bool:
        """Whether the interval leaves out no change at all."""
        return self.change is not None and self.half_width is not None and abs(self.change) > self.half_width


@dataclass(frozen=True)
class Step:
    """A variant beside its neighbour at a load: results of the same seeds."""

    variant: str
    beside: str
    load: str
    choices: Sequence[str]
    before: Sequence[Result]
    after: Sequence[Result]

    def change(self, quantity: Quantity) -> Change:
        """Return what the variant changes of a quantity, seed by seed."""
        pairs = list(zip(self.before, self.after, strict=True))
        changes = [found for pair in pairs if (found := quantity.change(*pair)) is not None]
        complete = len(changes) == len(pairs)
        return Change(
            mean([quantity.value(result) for result in self.before]),
            mean([quantity.value(result) for result in self.after]),
            mean(changes) if complete else None,
            half_width(changes) if complete and len(changes) > 1 else None,
        )


def steps_of(outcomes: Sequence[Outcome], experiment: ExperimentConfig) -> list[Step]:
    """Return each variant that has a neighbour, by load and in the order of the experiment, if both have a seed that finished."""
    loads = _loads([outcome.point for outcome in outcomes])
    results: dict[tuple[str, str], dict[int, Result]] = {}
    configs: dict[tuple[str, str], FlatValues] = {}
    for outcome in outcomes:
        if outcome.result is not None:
            key = (outcome.point.name.variant, loads[outcome.point.fingerprint])
            results.setdefault(key, {})[outcome.point.config.seed] = outcome.result
            configs[key] = flat_values(outcome.point.config)
    steps = []
    for load in dict.fromkeys(loads.values()):
        for variant, beside in _neighbours(experiment).items():
            after, before = results.get((variant, load), {}), results.get((beside, load), {})
            both = sorted(after.keys() & before.keys())
            if both:
                choices = _choices(configs[beside, load], configs[variant, load])
                steps.append(
                    Step(variant, beside, load, choices, [before[seed] for seed in both], [after[seed] for seed in both])
                )
    return steps


def check_steps(points: Sequence[Point], experiment: ExperimentConfig) -> None:
    """Raise ConfigError if no point has a neighbour, or two of a variant differ in nothing but what no load is called by."""
    variants = dict.fromkeys(point.name.variant for point in points)
    neighbours = _neighbours(experiment)
    if not any(variant in variants and beside in variants for variant, beside in neighbours.items()):
        raise ConfigError("variant", ",".join(variants), f"must be two that the experiment has beside each other ({BESIDE})")
    loads = _loads(points)
    seen: set[tuple[str, str, int]] = set()
    for point in points:
        key = (point.name.variant, loads[point.fingerprint], point.config.seed)
        if key in seen:
            raise ConfigError("experiment.report", "steps", f"compares variants, and two points are {' '.join(map(str, key))}")
        seen.add(key)


def _neighbours(experiment: ExperimentConfig) -> dict[str, str]:
    """Return the variant that each is beside, for all but the first."""
    return {variant_name(values): variant_name(values, BESIDE) for values in experiment.variants or [] if BESIDE in values}


def _loads(points: Sequence[Point]) -> dict[str, str]:
    """Return what the load of each point is called, by fingerprint: the values of keys that vary within a variant."""
    by_variant: dict[str, list[FlatValues]] = {}
    for point in points:
        by_variant.setdefault(point.name.variant, []).append(flat_values(point.config))
    varied = dict.fromkeys(key for flat in by_variant.values() for key in varied_keys(flat))
    keys = [key for key in varied if key not in NOT_A_LOAD and not key.startswith("engine.")] or ["conns"]
    called = {}
    for point in points:
        values = flat_values(point.config)
        called[point.fingerprint] = " ".join(f"{key.rpartition('.')[2]}={number(values[key])}" for key in keys)
    return called


def _choices(before: FlatValues, after: FlatValues) -> list[str]:
    """Return the choices that differ: those of the organization, then any other values; each with its old and new value."""
    keys = [key for key in varied_keys([before, after]) if key not in NOT_A_LOAD]
    keys.sort(key=lambda key: not key.startswith(f"{CHOICES}."))
    return [f"{key.removeprefix(f'{CHOICES}.')}: {_shown(before[key])} → {_shown(after[key])}" for key in keys]


def _shown(value: object) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else number(value)
