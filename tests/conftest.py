"""Configurations that tests start from, composed from `conf/` as a user's are."""

from collections.abc import Callable

import pytest
from hydra import compose, initialize_config_dir

from experiments.config.configuration import register_schema, simulation_config
from experiments.run.task import compile_once
from netstack.sim import SimulationConfig
from tests.helpers.folders import CONF


@pytest.fixture(scope="session")
def composed() -> Callable[..., SimulationConfig]:
    """Return a function that composes a simulation from overrides such as ``org=up``. What it needs is compiled once."""
    register_schema()
    compile_once()

    def compose_config(*overrides: str) -> SimulationConfig:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return simulation_config(compose("config", list(overrides)))

    return compose_config
