"""Reads composed configurations and YAML files into validated dataclasses.

Knows OmegaConf; the simulator below does not.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import psutil
from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf

from experiments.config.files import read_yaml
from experiments.config.schema import KEYS, SURROUNDINGS, RunConfig
from netstack.errors import ConfigError
from netstack.sim import SimulationConfig, memory_needed_bytes
from netstack.sim.machine.costs import CostsConfig

Schema = TypeVar("Schema")


class _ValidCosts(CostsConfig):
    """Stands for costs that were found valid: they contradict no other section."""

    def validate(self) -> None:
        """Find nothing wrong."""


_VALID_COSTS = _ValidCosts()


@dataclass(frozen=True)
class Setting:
    """A plain value of a dotted key, and how it was given, which tells it from all others."""

    key: str
    value: Any
    text: str

    @property
    def section(self) -> str:
        """The top-level key."""
        return self.key.partition(".")[0]


@dataclass
class Composition:
    """A composed configuration. Points that differ in plain values only share one, and its sections."""

    config: DictConfig
    _sections: dict[tuple[str, ...], Any] = field(default_factory=dict)

    def sections(self, settings: Iterable[Setting]) -> dict[str, Any]:
        """Return the value of each top-level key, with settings. What has the same settings is the same object.

        Raises:
            ConfigError: A value is missing.
            OmegaConfBaseException: A value has the wrong type.
        """
        of_section: dict[str, list[Setting]] = {}
        for setting in settings:
            of_section.setdefault(setting.section, []).append(setting)
        return {key: self._section(key, of_section.get(key, ())) for key in KEYS}

    def interpolates(self) -> bool:
        """Return whether a value follows from another one. Then nothing can be set without composing again."""
        values = OmegaConf.to_container(self.config)
        assert isinstance(values, dict)
        return "${" in repr([values[key] for key in KEYS])

    def _section(self, key: str, settings: Iterable[Setting]) -> Any:
        name = (key, *(setting.text for setting in settings))
        if name not in self._sections:
            for setting in settings:
                OmegaConf.update(self.config, setting.key, setting.value)
            try:
                self._sections[name] = _plain(self.config[key])
            except MissingMandatoryValue as error:
                raise ConfigError(str(error.full_key), "???", "must be given") from error
        return self._sections[name]


class Reader:
    """Reads the composed configurations of a sweep one after the other. What they share is checked once."""

    def __init__(self) -> None:
        self._surroundings: list[Any] = []
        self._costs: dict[int, CostsConfig] = {}
        self._available_bytes = psutil.virtual_memory().available

    def read(self, composition: Composition, settings: Iterable[Setting] = ()) -> tuple[SimulationConfig, RunConfig]:
        """Return the simulated part and the whole configuration, both validated.

        Raises:
            ConfigError: A value is missing, out of range, contradicts another, or needs more memory than there is.
            OmegaConfBaseException: A value has the wrong type.
        """
        whole = RunConfig(**composition.sections(settings))
        surroundings = [getattr(whole, key) for key in SURROUNDINGS]
        if not self._surroundings or any(one is not other for one, other in zip(surroundings, self._surroundings, strict=True)):
            whole.validate()
            self._surroundings = surroundings
        simulation = whole.simulation
        costs = self._costs.get(id(simulation.costs))
        (simulation if costs is None else replace(simulation, costs=_VALID_COSTS)).validate()
        self._costs[id(simulation.costs)] = simulation.costs
        needed = memory_needed_bytes(simulation)
        if needed > self._available_bytes:
            raise ConfigError(
                "conns",
                simulation.conns,
                f"needs {needed / 2**30:.1f} GiB of memory and {self._available_bytes / 2**30:.1f} GiB are available",
            )
        return simulation, whole


def read_structured(path: Path, schema: type[Schema]) -> Schema:
    """Read a YAML file that has the keys and types of a dataclass.

    Raises:
        InputError: The file is missing or no YAML.
        OmegaConfBaseException: A key or a type is wrong.
    """
    _, given = read_yaml(path)
    values = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), given))
    assert isinstance(values, schema)
    return values


def _plain(value: Any) -> Any:
    """Return a value of a composed configuration without OmegaConf: sections become dataclasses."""
    return OmegaConf.to_object(value) if OmegaConf.is_config(value) else value
