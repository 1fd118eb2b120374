"""Configurations that tests start from, composed from `conf/` as a user's are."""

from collections.abc import Callable

import pytest

from experiments.config.compose import compose_simulation
from experiments.run.task import compile_once
from netstack.sim import SimulationConfig


@pytest.fixture(scope="session")
def composed() -> Callable[..., SimulationConfig]:
    """Return a function that composes a simulation from overrides such as ``org=up``. What it needs is compiled once."""
    compile_once()
    return compose_simulation
