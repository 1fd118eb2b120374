"""Composes configurations from `conf/` as the command line does, for studies, tests and benchmarks.

Knows Hydra, not what the configurations are for.
"""

from dataclasses import dataclass
from pathlib import Path

import hydra

from experiments.config.files import use_checked_files
from experiments.config.locations import CONF
from experiments.config.reader import Composition, Reader
from experiments.config.schema import SIMULATED, RunConfig, register_schema
from netstack.sim import SimulationConfig


@dataclass(frozen=True)
class Composed:
    """A composed simulation, the file of `conf/` that was chosen for each group, and the configuration with all around it."""

    config: SimulationConfig
    files: dict[str, Path]
    whole: RunConfig


def compose(*overrides: str) -> Composed:
    """Compose `conf/config.yaml` with overrides such as ``org=up``.

    Raises:
        ConfigError: A value cannot be simulated.
        HydraException: An override or a file cannot be used.
    """
    register_schema()
    use_checked_files()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        found = hydra.compose("config", list(overrides), return_hydra_config=True)
    choices = found.hydra.runtime.choices
    files = {group: CONF / group / f"{choices[group]}.yaml" for group in SIMULATED if group in choices}
    config, whole = Reader().read(Composition(found))
    return Composed(config, files, whole)


def compose_simulation(*overrides: str) -> SimulationConfig:
    """Return the validated simulation that overrides such as ``org=up`` give. Raises what `compose` raises."""
    return compose(*overrides).config
