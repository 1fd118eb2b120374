"""The schema of `conf/`, and the way from a composed configuration to one that can be simulated.

Knows Hydra and OmegaConf; the simulator below knows neither.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import yaml
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf

from experiments.config.grids import ExperimentConfig
from netstack.errors import ConfigError
from netstack.sim import EngineConfig, SimulationConfig, memory_needed_bytes
from netstack.sim.machine.config import MachineConfig
from netstack.sim.machine.costs import CostsConfig
from netstack.sim.organization.config import OrganizationConfig
from netstack.sim.workload.config import WorkloadConfig

Schema = TypeVar("Schema")
MOST_WORKERS = 1024
SIMULATED = ("conns", "seed", "machine", "costs", "org", "workload", "engine")
SURROUNDINGS = ("output_dir", "workers", "ray", "dry_run", "tracking", "experiment")
"""Keys around the simulation: those of a whole sweep, not of a point."""


@dataclass
class TrackingConfig:
    """Where MLflow keeps runs: a `uri` of null is a database file below `output_dir`. `patience_s`: for a store that is away."""

    enabled: bool = True
    uri: str | None = None
    experiment: str = "network-stack-parallelization"
    patience_s: float = 300.0


MAX_BATCH = 1024
PLACEMENTS = ("PACK", "SPREAD")


@dataclass
class RayConfig:
    """Where points run, and what becomes of those that are lost or do not end.

    Attributes:
        address: HOST:PORT of a running cluster, or auto for one on this machine; null starts Ray on this computer.
        send_sources: Whether a cluster gets the sources of this project with the sweep, or has the same installed.
        retries: How often a point is run again that was lost with its worker or node.
        time_limit_s: Of a point, from its start in a worker; null for none.
        patience_s: How long a point waits for a node of the cluster that has what it needs.
        batch: Points whose cores are actors (engine=ray) that are simulated in lock-step.
        placement: Where the actors of a batch are put: PACK on few nodes, SPREAD over many.
        pin: Whether each actor is bound to a CPU of its node, round robin.
    """

    address: str | None = None
    send_sources: bool = True
    retries: int = 2
    time_limit_s: float | None = None
    patience_s: float = 300.0
    batch: int = 64
    placement: str = "PACK"
    pin: bool = True


@dataclass
class RunConfig:
    """Everything a user can set; `conf/config.yaml` explains the top level."""

    conns: int = 192
    seed: int = 1
    output_dir: str = "outputs"
    workers: int | None = None
    ray: RayConfig = field(default_factory=RayConfig)
    dry_run: bool = False
    machine: MachineConfig = field(default_factory=MachineConfig)
    costs: CostsConfig = field(default_factory=CostsConfig)
    org: OrganizationConfig = field(default_factory=OrganizationConfig)
    workload: WorkloadConfig = field(default_factory=WorkloadConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)


def register_schema() -> None:
    """Make Hydra check types and keys of every composed configuration."""
    ConfigStore.instance().store(name="schema", node=RunConfig)


class Reader:
    """Reads the composed configurations of a sweep one after the other. Sections that did not change are read once and shared."""

    def __init__(self) -> None:
        self._sections: dict[str, Any] = {}

    def read(self, config: DictConfig, changed: Collection[str] | None = None) -> tuple[SimulationConfig, dict[str, Any]]:
        """Return the simulated part, validated, and what surrounds it by its keys.

        Args:
            config: A composed configuration.
            changed: The top-level keys that differ from the configuration before; None if anything may.

        Raises:
            ConfigError: A value is missing, out of range, contradicts another, or needs more memory than there is.
        """
        names = (*SIMULATED, *SURROUNDINGS)
        try:
            self._sections |= {name: plain(config[name]) for name in (names if changed is None else changed)}
        except MissingMandatoryValue as error:
            raise ConfigError(str(error.full_key), "???", "must be given") from error
        if changed is None or not set(SURROUNDINGS).isdisjoint(changed):
            check_run(config)
        simulation = SimulationConfig(**{name: self._sections[name] for name in SIMULATED})
        simulation.validate()
        needed, available = memory_needed_bytes(simulation), psutil.virtual_memory().available
        if needed > available:
            raise ConfigError(
                "conns",
                simulation.conns,
                f"needs {needed / 2**30:.1f} GiB of memory and {available / 2**30:.1f} GiB are available",
            )
        return simulation, {name: self._sections[name] for name in SURROUNDINGS}


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


def check_workers(workers: int) -> None:
    """Raise ConfigError when the option ``--workers`` has no number of workers."""
    if not 1 <= workers <= MOST_WORKERS:
        raise ConfigError("--workers", workers, f"must be from 1 to {MOST_WORKERS}")


def check_run(config: DictConfig) -> None:
    """Raise ConfigError when what surrounds the simulation cannot work: workers, tracking."""
    if config.workers is not None and not 1 <= config.workers <= MOST_WORKERS:
        raise ConfigError("workers", config.workers, f"must be a whole number from 1 to {MOST_WORKERS}, or null for one a CPU")
    if config.ray.retries < 0:
        raise ConfigError("ray.retries", config.ray.retries, "must be 0 or more")
    if config.ray.time_limit_s is not None and not config.ray.time_limit_s > 0:
        raise ConfigError("ray.time_limit_s", config.ray.time_limit_s, "must be above 0 seconds, or null for no limit")
    if not config.ray.patience_s >= 0:
        raise ConfigError("ray.patience_s", config.ray.patience_s, "must be 0 or more seconds")
    if not 1 <= config.ray.batch <= MAX_BATCH:
        raise ConfigError("ray.batch", config.ray.batch, f"must be a whole number from 1 to {MAX_BATCH}")
    if config.ray.placement not in PLACEMENTS:
        raise ConfigError("ray.placement", config.ray.placement, f"allowed are {', '.join(PLACEMENTS)}")
    if config.tracking.uri == "":
        raise ConfigError("tracking.uri", "", "must be given, for example tracking.uri=http://host:5000")
    if not config.tracking.patience_s >= 0:
        raise ConfigError("tracking.patience_s", config.tracking.patience_s, "must be 0 or more seconds")


def plain(value: Any) -> Any:
    """Return a value of a composed configuration without OmegaConf: sections become dataclasses."""
    return OmegaConf.to_object(value) if OmegaConf.is_config(value) else value
