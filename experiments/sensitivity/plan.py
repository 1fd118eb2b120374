"""What a sensitivity analysis simulates: the points before and after a change of each group of constants.

Knows `conf/sensitivity.yaml` and the places of the paper, not how points are run or what they show.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import MISSING

from experiments.config.constant_groups import Constants, scaled
from experiments.config.locations import CONF
from experiments.config.reader import read_structured
from experiments.paper.grid import LOCKED, ORGANIZATIONS
from experiments.paper.places import HEAVY, compose_places, points_of
from experiments.paper.verdicts import Place, PointKey
from experiments.points.point import Point
from netstack.errors import ConfigError
from netstack.sim import Result

SPECIFICATION = CONF / "sensitivity.yaml"
COMMON = ("costs", "machine", "workload")
"""Parts of a configuration that hold constants; all points of a change share them, but for lock profiling."""
ROWS = {organization[1]: organization for organization in LOCKED}
"""The rows of table 1 by their connection groups."""

Change = tuple[str, bool]
"""A group of constants, and whether it is raised."""


@dataclass
class GridConfig:
    """The points of each change: all organizations at `loads`, and rows of table 1 with lock profiling, each at loads of its own.

    Rows are named by their connection groups; msgp has one. Loads of 1,024 connections and more have only the first of the
    `seeds`.
    """

    seeds: list[int] = MISSING
    loads: list[int] = MISSING
    profiled: dict[int, list[int]] = field(default_factory=dict)


@dataclass
class SensitivityConfig:
    """All of `conf/sensitivity.yaml`."""

    percent: float = 20.0
    full: GridConfig = field(default_factory=GridConfig)
    quick: GridConfig = field(default_factory=GridConfig)
    parameters: dict[str, list[str]] = field(default_factory=dict)

    def validate(self) -> None:
        """Raise ConfigError for the first value that cannot be used."""
        if not 0 < self.percent < 100:
            raise ConfigError("percent", self.percent, "must be above 0 and below 100")
        for name in ("full", "quick"):
            for groups in getattr(self, name).profiled:
                if groups not in ROWS:
                    raise ConfigError(f"{name}.profiled", groups, f"is no row of table 1: {', '.join(map(str, ROWS))}")


@dataclass(frozen=True)
class Plan:
    """The points before (None) and after each change, by their place and seed. Equal points of two changes are one.

    Attributes:
        points: By change.
        percent: By how much each group of constants is changed, down and up.
        seeds: Of every point; heavy ones have the first only.
        parameters: Keys of each group of constants.
    """

    points: dict[Change | None, dict[PointKey, Point]]
    percent: float
    seeds: tuple[int, ...]
    parameters: dict[str, list[str]]

    @property
    def distinct(self) -> list[Point]:
        """The points, equal ones once."""
        return list({point.fingerprint: point for points in self.points.values() for point in points.values()}.values())

    @property
    def places(self) -> frozenset[Place]:
        """The places of each change."""
        return frozenset(key.place for key in self.points[None])

    def results(self, finished: Mapping[str, Result]) -> dict[Change | None, dict[PointKey, Result]]:
        """Return the results before and after each change from those of finished points by their fingerprint."""
        return {
            change: {key: finished[point.fingerprint] for key, point in points.items() if point.fingerprint in finished}
            for change, points in self.points.items()
        }


def read_specification(path: Path) -> SensitivityConfig:
    """Read what is changed and simulated.

    Raises:
        ConfigError: The file is missing or no YAML, or a value cannot be used.
        OmegaConfBaseException: A key or a type is wrong.
    """
    specification = read_structured(path, SensitivityConfig)
    specification.validate()
    return specification


def plan_of(specification: SensitivityConfig, grid: GridConfig, output_dir: Path) -> Plan:
    """Compose the points of all changes.

    Raises:
        ConfigError: A group of constants has an unknown key, or cannot be changed that far.
    """
    places = [Place(*organization, load) for load in grid.loads for organization in ORGANIZATIONS]
    places += [Place(*ROWS[groups], load, profiled=True) for groups, loads in grid.profiled.items() for load in loads]
    configs = {
        **compose_places([place for place in places if place.conns < HEAVY], grid.seeds).configs,
        **compose_places([place for place in places if place.conns >= HEAVY], grid.seeds[:1]).configs,
    }
    config = next(iter(configs.values()))
    points: dict[Change | None, dict[PointKey, Point]] = {None: points_of(configs, "unchanged", output_dir)}
    for name, keys in specification.parameters.items():
        members = Constants(name, tuple(keys)).members(config)
        for key in members:
            if key.partition(".")[0] not in COMMON:
                raise ConfigError(f"parameters.{name}", key, f"must be below {', '.join(COMMON)}")
        for raised in (False, True):
            percent = specification.percent if raised else -specification.percent
            common = scaled(config, members, 1 + percent / 100)
            try:
                common.validate()
            except ConfigError as error:
                raise ConfigError(f"parameters.{name}", f"{percent:+g} %", f"cannot be simulated: {error}") from error
            parts = {part: getattr(common, part) for part in COMMON}
            kernels = {profiled: dataclasses.replace(common.costs, lock_profiling=profiled) for profiled in (False, True)}
            changed = {key: dataclasses.replace(one, **{**parts, "costs": kernels[key.profiled]}) for key, one in configs.items()}
            points[name, raised] = points_of(changed, f"{name} {percent:+g} %", output_dir)
    return Plan(points, specification.percent, tuple(grid.seeds), specification.parameters)
