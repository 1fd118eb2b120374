"""Every file of `conf/` composes, and a composition says which files it was made of."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.errors import HydraException

from experiments.config.compose import compose, compose_simulation
from experiments.config.schema import SIMULATED
from netstack.errors import ConfigError
from netstack.sim import SimulationConfig
from tests.helpers.folders import CONF


@pytest.mark.parametrize("path", sorted(CONF.glob("*/*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_file_composes(composed: Callable[..., SimulationConfig], path: Path) -> None:
    queues = ["machine=epyc_7662"] if path.parent.name == "org" else []  # which some organizations need
    if path.parent.name != "tracking":
        composed(f"{path.parent.name}={path.stem}", *queues)


def test_the_chosen_files_are_named() -> None:
    found = compose("org=up", "machine=epyc_16")
    assert (found.config.org.name, found.config.machine.name) == ("up", "epyc_16")
    assert found.files["org"] == CONF / "org" / "up.yaml"
    assert found.files["machine"] == CONF / "machine" / "epyc_16.yaml"
    assert found.files.keys() < set(SIMULATED)
    assert all(path.exists() for path in found.files.values())


def test_compositions_share_nothing() -> None:
    one, other = compose_simulation("org=up"), compose_simulation("org=up")
    assert one == other
    one.org.groups = 7
    assert one != other


def test_what_cannot_be_composed_or_simulated_is_refused() -> None:
    with pytest.raises(HydraException):
        compose("org=nothing")
    with pytest.raises(ConfigError, match="conns=0"):
        compose("conns=0")
