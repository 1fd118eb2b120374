"""Configurations of places, an organization at a load, composed from `conf/` without a command line.

Knows Hydra. Does not know what the places are for.
"""

import copy
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

from hydra import compose, initialize_config_dir

from experiments.config.configuration import register_schema, simulation_config
from experiments.paper.verdicts import Place, PointKey
from experiments.points.provenance import ROOT
from netstack.sim import SimulationConfig

CONF = ROOT / "conf"
HEAVY = 1024
"""Connections from which on seeds differ by a few tenths of a percent, and points take longest."""


@dataclass(frozen=True)
class Composition:
    """The configurations of some places with some seeds.

    Attributes:
        configs: A configuration a place and seed. They share nothing.
        choices: The file that was chosen in each group of `conf/`, by the group's name.
    """

    configs: dict[PointKey, SimulationConfig]
    choices: dict[str, str]


def compose_places(places: Iterable[Place], seeds: Iterable[int]) -> Composition:
    """Compose the configurations of places, each with each seed; everything else is as `conf/config.yaml` has it.

    Raises:
        ConfigError: A place or a file has a value that cannot be simulated.
    """
    register_schema()
    composed: dict[str, SimulationConfig] = {}
    configs: dict[PointKey, SimulationConfig] = {}
    choices: dict[str, str] = {}
    seeds = tuple(seeds)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for place in places:
            if place.org not in composed:
                config = compose("config", [f"org={place.org}"], return_hydra_config=True)
                choices = dict(config.hydra.runtime.choices)
                composed[place.org] = simulation_config(config)
            for seed in seeds:
                config = copy.deepcopy(composed[place.org])
                config = dataclasses.replace(config, conns=place.conns, seed=seed)
                config.org.groups = place.groups
                config.validate()
                configs[PointKey.of(config)] = config
    return Composition(configs, choices)
