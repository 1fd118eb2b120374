"""Reads composed configurations and YAML files into validated dataclasses.

Knows OmegaConf; the simulator below does not.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

import psutil
import yaml
from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf

from experiments.config.schema import KEYS, SURROUNDINGS, RunConfig
from netstack.errors import ConfigError
from netstack.sim import SimulationConfig, memory_needed_bytes

Schema = TypeVar("Schema")


class Reader:
    """Reads the composed configurations of a sweep one after the other. Sections that did not change are read once and shared."""

    def __init__(self) -> None:
        self._sections: dict[str, Any] = {}

    def read(self, config: DictConfig, changed: Collection[str] | None = None) -> tuple[SimulationConfig, RunConfig]:
        """Return the simulated part and the whole configuration, both validated.

        Args:
            config: A composed configuration.
            changed: The top-level keys that differ from the configuration before; None if anything may.

        Raises:
            ConfigError: A value is missing, out of range, contradicts another, or needs more memory than there is.
        """
        try:
            self._sections |= {key: _plain(config[key]) for key in (KEYS if changed is None else changed)}
        except MissingMandatoryValue as error:
            raise ConfigError(str(error.full_key), "???", "must be given") from error
        whole = RunConfig(**self._sections)
        if changed is None or not set(SURROUNDINGS).isdisjoint(changed):
            whole.validate()
        simulation = whole.simulation
        simulation.validate()
        needed, available = memory_needed_bytes(simulation), psutil.virtual_memory().available
        if needed > available:
            raise ConfigError(
                "conns",
                simulation.conns,
                f"needs {needed / 2**30:.1f} GiB of memory and {available / 2**30:.1f} GiB are available",
            )
        return simulation, whole


def simulation_config(config: DictConfig) -> SimulationConfig:
    """Return the simulated part of a composed configuration, validated. Raises ConfigError as `Reader.read`."""
    simulation, _ = Reader().read(config)
    return simulation


def read_structured(path: Path, schema: type[Schema]) -> Schema:
    """Read a YAML file that has the keys and types of a dataclass.

    Raises:
        ConfigError: The file is missing or no YAML.
        OmegaConfBaseException: A key or a type is wrong.
    """
    try:
        given = OmegaConf.create(path.read_text())
    except OSError as error:
        raise ConfigError("specification", path, f"must be a file that can be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise ConfigError("specification", path, f"must be YAML ({' '.join(str(error).split())})") from error
    values = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), given))
    assert isinstance(values, schema)
    return values


def _plain(value: Any) -> Any:
    """Return a value of a composed configuration without OmegaConf: sections become dataclasses."""
    return OmegaConf.to_object(value) if OmegaConf.is_config(value) else value
