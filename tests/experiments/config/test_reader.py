"""Composed configurations become validated dataclasses; what has the same settings is read once."""

from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.config import reader
from experiments.config.compose import compose_simulation
from experiments.config.reader import Composition, Reader, Setting, read_structured
from experiments.config.schema import RayConfig, RunConfig
from experiments.config.user_errors import InputError
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
    assert Reader().read(Composition(config)) == (SimulationConfig(costs=defaults.costs), defaults)
    simulation, _ = Reader().read(Composition(config))
    assert simulation == SimulationConfig(costs=defaults.costs)


def setting(key: str, value: object) -> Setting:
    return Setting(key, value, f"{key}={value}")


def test_sections_with_the_same_settings_are_shared_whatever_lies_between(config: DictConfig) -> None:
    read, composition = Reader(), Composition(config)
    two, four = setting("machine.cores", 2), setting("machine.cores", 4)
    first, _ = read.read(composition, [setting("conns", 6), two])
    second, _ = read.read(composition, [setting("conns", 7), four])
    third, whole = read.read(composition, [setting("conns", 6), two])
    assert [(each.conns, each.machine.cores) for each in (first, second, third)] == [(6, 2), (7, 4), (6, 2)]
    assert first.machine is third.machine is not second.machine
    assert first.costs is second.costs is third.costs is whole.costs


@pytest.mark.parametrize(
    ("given", "follows"), [({}, False), ({"conns": "${seed}"}, True), ({"org": {"groups": "${conns}"}}, True)]
)
def test_values_that_follow_from_others_are_found(config: DictConfig, given: dict, follows: bool) -> None:
    config.merge_with(given)
    assert Composition(config).interpolates() is follows


def test_costs_are_checked_once_and_everything_else_each_time(config: DictConfig) -> None:
    read, composition = Reader(), Composition(config)
    read.read(composition)
    with pytest.raises(ConfigError, match=r"^conns=0: "):
        read.read(composition, [setting("conns", 0)])
    with pytest.raises(ConfigError, match=r"^costs\.hash_buckets=3: "):
        read.read(composition, [setting("costs.hash_buckets", 3)])


def test_surroundings_are_checked_when_they_change(config: DictConfig) -> None:
    read, composition = Reader(), Composition(config)
    with pytest.raises(ConfigError, match=r"^workers=0: "):
        read.read(composition, [setting("workers", 0)])
    read.read(composition, [setting("workers", 1)])
    with pytest.raises(ConfigError, match=r"^ray\.retries=-1: "):
        read.read(composition, [setting("ray.retries", -1)])


def test_a_value_that_must_be_given(config: DictConfig) -> None:
    config.conns = "???"
    with pytest.raises(ConfigError, match=r"^conns=\?\?\?: must be given"):
        Reader().read(Composition(config))


def test_more_memory_than_there_is(config: DictConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "memory_needed_bytes", lambda _: 2**60)
    with pytest.raises(ConfigError, match=r"^conns=192: needs 1073741824\.0 GiB"):
        Reader().read(Composition(config))


def test_a_file_with_the_keys_of_a_dataclass(tmp_path: Path) -> None:
    path = tmp_path / "ray.yaml"
    path.write_text("retries: 5\n")
    assert read_structured(path, RayConfig) == RayConfig(retries=5)
    path.write_text("retry: 5\n")
    with pytest.raises(OmegaConfBaseException, match="retry"):
        read_structured(path, RayConfig)
    path.write_text("a: b: c")
    with pytest.raises(InputError, match="must be YAML"):
        read_structured(path, RayConfig)
    with pytest.raises(InputError, match="must be a file that can be read"):
        read_structured(tmp_path / "none.yaml", RayConfig)
