"""What a publication says, as data: statistics, given values, what may be fitted on them.

Knows names of statistics and of variants, not how anything is simulated or shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.config.values import is_number
from netstack.errors import ConfigError
from netstack.sim import Result

DATA = Path(__file__).parent / "data"
MOST = "max"
"""The x of points whose key is null: as much as there can be."""
LINEAR, CONSTANT = "linear", "constant"
FACTOR = "factor"
"""What a given value is said to be fitted by that sets the factor of its own statistic."""

X = int | float | str
"""A place on the horizontal axis: a number, or `MOST`."""


@dataclass
class Axis:
    """The horizontal axis: a key of the configuration, and what it counts."""

    key: str = MISSING
    label: str = MISSING


@dataclass
class Statistic:
    """What is compared: statistics of a result, dotted where they have parts, added up, less others, times a factor.

    The null model is what somebody would say who knows the given values and no mechanism: `linear` is proportional to x, from the
    given value with the smallest x of the same variant, or else of the first one that has any. `constant` is the given value that
    is nearest on the axis, of the first variant that has any.
    """

    label: str = MISSING
    unit: str = MISSING
    null_model: str = MISSING
    of: list[str] = field(default_factory=list)
    less: list[str] = field(default_factory=list)
    factor: float = 1.0
    logarithmic: bool = False  # whether its chart is

    def value(self, result: Result) -> float:
        """Return the statistic of one result."""
        return self.factor * (sum(_part(result, name) for name in self.of) - sum(_part(result, name) for name in self.less))


@dataclass
class Given:
    """A published value that is known, and the parameter that was fitted on it, if one was."""

    variant: str = MISSING
    x: Any = MISSING  # int | float | str: OmegaConf has no such union
    statistic: str = MISSING
    value: float = MISSING
    fitted: str = ""


@dataclass
class Free:
    """A parameter: keys that take one value, of some variants or of all, between two bounds."""

    keys: list[str] = MISSING
    low: float = MISSING
    high: float = MISSING
    variants: list[str] = field(default_factory=list)


@dataclass
class Published:
    """All that is known of a publication's figures."""

    source: str = MISSING
    title: str = MISSING
    axis: Axis = field(default_factory=Axis)
    statistics: dict[str, Statistic] = field(default_factory=dict)
    given: list[Given] = field(default_factory=list)
    parameters: dict[str, Free] = field(default_factory=dict)

    def validate(self, file: str) -> None:
        """Raise ConfigError for the first value that contradicts another. `file` is named in the line."""
        for name, statistic in self.statistics.items():
            if statistic.null_model not in (LINEAR, CONSTANT):
                allowed = f"allowed are {LINEAR} and {CONSTANT}"
                raise ConfigError(f"{file}: statistics.{name}.null_model", statistic.null_model, allowed)
            for part in (*statistic.of, *statistic.less):
                if part.partition(".")[0] not in {declared.name for declared in fields(Result)}:
                    raise ConfigError(f"{file}: statistics.{name}", part, "is no statistic of a result, see docs/results.md")
        for number, given in enumerate(self.given):
            where = f"{file}: given[{number}]"
            if given.statistic not in self.statistics:
                raise ConfigError(f"{where}.statistic", given.statistic, f"allowed are {', '.join(self.statistics)}")
            if not is_number(given.x) and given.x != MOST:
                raise ConfigError(f"{where}.x", given.x, f"must be a number, or {MOST}")
            if given.fitted and given.fitted not in (*self.parameters, FACTOR):
                allowed = ", ".join((*self.parameters, FACTOR))
                raise ConfigError(f"{where}.fitted", given.fitted, f"allowed are {allowed}")
        for name, free in self.parameters.items():
            if not 0 < free.low < free.high:
                raise ConfigError(f"{file}: parameters.{name}.low", free.low, f"must be above 0 and below {free.high:g}")
            if sum(given.fitted == name for given in self.given) != 1:
                raise ConfigError(f"{file}: parameters", name, "must be what one given value is fitted by")

    def of(self, variant: str, x: X, statistic: str) -> Given | None:
        """Return the value that is given for a place, None if none is."""
        wanted = (variant, x, statistic)
        return next((given for given in self.given if (given.variant, given.x, given.statistic) == wanted), None)


def names() -> list[str]:
    """Return the experiments that have figures."""
    return sorted(path.stem for path in DATA.glob("*.yaml"))


def read_published(name: str, folder: Path | None = None) -> Published:
    """Read the figures of an experiment.

    Raises:
        ConfigError: There are none, or a value cannot be used.
    """
    path = (folder or DATA) / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError("experiment.name", name, f"has no published figures; {', '.join(names())} have")
    try:
        found = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Published), OmegaConf.create(path.read_text("utf-8"))))
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError("experiment.name", name, f"{path.name}: {str(error).splitlines()[0]}") from error
    assert isinstance(found, Published)
    for key, statistic in found.statistics.items():
        statistic.of = statistic.of or [key]
    found.validate(path.name)
    return found


def ordered(xs: Sequence[X]) -> list[X]:
    """Return places by their order on the axis, each once."""
    numbers = sorted({x for x in xs if not isinstance(x, str)})
    return [*numbers, *([MOST] if MOST in xs else [])]


def positions(xs: Sequence[X]) -> dict[X, float]:
    """Return where places lie on the axis: numbers where they are, `MOST` one step beyond the last two."""
    found: dict[X, float] = {x: float(x) for x in ordered(xs) if not isinstance(x, str)}
    if MOST in xs:
        numbers = list(found.values())
        last = numbers[-1] if numbers else 0.0
        found[MOST] = last + (last - numbers[-2] if len(numbers) > 1 else 1.0)
    return found


def shown(x: X) -> str:
    """Return a place as a reader sees it."""
    return x if isinstance(x, str) else f"{x:,g}" if isinstance(x, float) and not x.is_integer() else f"{x:,.0f}"


def digits(value: float) -> str:
    """Return a value with as many digits as it needs."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.1f}" if abs(value) >= 10 else f"{value:,.2f}"


def _part(result: Result, name: str) -> float:
    """Return a statistic of a result by its name, with a dot where it has parts."""
    first, _, rest = name.partition(".")
    value = getattr(result, first)
    return float(value[rest] if rest else value)
