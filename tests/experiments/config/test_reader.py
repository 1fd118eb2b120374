"""Composed configurations become validated dataclasses; what did not change is read once."""

from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.config import reader
from experiments.config.compose import compose_simulation
from experiments.config.reader import Reader, read_structured, simulation_config
from experiments.config.schema import RayConfig, RunConfig
from netstack.errors import ConfigError
from netstack.sim import SimulationConfig


@pytest.fixture(scope="module")
def defaults() -> RunConfig:
    """The defaults of the schema with costs, which have none."""
    return RunConfig(costs=compose_simulation().costs)


@pytest.fixture
def config(defaults: RunConfig) -> DictConfig:
    return OmegaConf.structured(defaults)


def test_the_defaults_are_read(config: DictConfig, defaults: RunConfig) -> None:
    assert Reader().read(config) == (SimulationConfig(costs=defaults.costs), defaults)
    assert simulation_config(config) == SimulationConfig(costs=defaults.costs)


def test_sections_that_did_not_change_are_shared(config: DictConfig) -> None:
    read = Reader()
    first, _ = read.read(config)
    config.conns = 6
    config.machine.cores = 2
    second, whole = read.read(config, {"conns"})
    assert (second.conns, second.machine.cores) == (6, first.machine.cores)
    assert second.costs is first.costs is whole.costs
    third, _ = read.read(config, {"machine"})
    assert third.machine.cores == 2


def test_surroundings_are_checked_when_they_change(config: DictConfig) -> None:
    config.workers = 0
    with pytest.raises(ConfigError, match=r"^workers=0: "):
        Reader().read(config)
    read = Reader()
    config.workers = 1
    read.read(config)
    config.ray.retries = -1
    with pytest.raises(ConfigError, match=r"^ray\.retries=-1: "):
        read.read(config, {"ray"})


def test_a_value_that_must_be_given(config: DictConfig) -> None:
    config.conns = "???"
    with pytest.raises(ConfigError, match=r"^conns=\?\?\?: must be given"):
        Reader().read(config)


def test_more_memory_than_there_is(config: DictConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "memory_needed_bytes", lambda _: 2**60)
    with pytest.raises(ConfigError, match=r"^conns=192: needs 1073741824\.0 GiB"):
        Reader().read(config)


def test_a_file_with_the_keys_of_a_dataclass(tmp_path: Path) -> None:
    path = tmp_path / "ray.yaml"
    path.write_text("retries: 5\n")
    assert read_structured(path, RayConfig) == RayConfig(retries=5)
    path.write_text("retry: 5\n")
    with pytest.raises(OmegaConfBaseException, match="retry"):
        read_structured(path, RayConfig)
    path.write_text("a: b: c")
    with pytest.raises(ConfigError, match="must be YAML"):
        read_structured(path, RayConfig)
    with pytest.raises(ConfigError, match="must be a file that can be read"):
        read_structured(tmp_path / "none.yaml", RayConfig)
