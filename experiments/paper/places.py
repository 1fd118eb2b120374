"""Configurations of places, each an organization at a load, and points of them. Does not know what the places are for."""

import copy
import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.config.compose import Composed, compose
from experiments.paper.verdicts import Place, PointKey
from experiments.points.names import AXIS, PointName
from experiments.points.point import Point
from netstack.sim import SimulationConfig

HEAVY = 1024
"""Connections from which on seeds differ by a few tenths of a percent, and points take longest."""


@dataclass(frozen=True)
class Composition:
    """The configurations of some places with some seeds.

    Attributes:
        configs: A configuration per place and seed. They share nothing.
        files: The file that was chosen in each group of `conf/`, by the group's name.
    """

    configs: dict[PointKey, SimulationConfig]
    files: dict[str, Path]


def compose_places(places: Iterable[Place], seeds: Iterable[int]) -> Composition:
    """Compose the configurations of places, each with each seed; everything else is as `conf/config.yaml` has it.

    Raises:
        ConfigError: A place or a file has a value that cannot be simulated.
    """
    composed: dict[str, Composed] = {}
    configs: dict[PointKey, SimulationConfig] = {}
    seeds = tuple(seeds)
    for place in places:
        if place.org not in composed:
            composed[place.org] = compose(f"org={place.org}")
        for seed in seeds:
            config = copy.deepcopy(composed[place.org].config)
            config = dataclasses.replace(config, conns=place.conns, seed=seed)
            config.org.groups = place.groups
            config.costs.lock_profiling = place.profiled
            config.validate()
            configs[PointKey.of(config)] = config
    return Composition(configs, {group: path for found in composed.values() for group, path in found.files.items()})


def points_of(configs: Mapping[PointKey, SimulationConfig], series: str, output_dir: Path) -> dict[PointKey, Point]:
    """Return configurations as points, which are named by a series, their place and their seed."""

    def name(key: PointKey) -> PointName:
        kernel = " with lock profiling" if key.profiled else ""
        return PointName(f"{series}: {key.org}({key.groups}){kernel}", AXIS, key.conns, key.seed)

    return {key: Point(config, name(key), output_dir) for key, config in configs.items()}
