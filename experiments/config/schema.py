"""The schema of `conf/`: everything that a user can set, with types, defaults and ranges.

Knows Hydra's store of schemas, not how a configuration is composed or read.
"""

from dataclasses import dataclass, field, fields

from hydra.core.config_store import ConfigStore

from experiments.config.grids import ExperimentConfig
from netstack.errors import ConfigError
from netstack.sim import MECHANISMS, EngineConfig, SimulationConfig
from netstack.sim.machine.config import MachineConfig
from netstack.sim.machine.costs import CostsConfig
from netstack.sim.organization.config import OrganizationConfig
from netstack.sim.workload.config import WorkloadConfig

MOST_WORKERS = 1024
MAX_BATCH = 1024
MOST_SEEDS = 100_000
REPORTS = ("auto", "sweep", "none")
"""When a sweep gets a page: where it has two axes or more, always, or never."""
MOST_TRACE_MS, MOST_TRACE_FROM_MS = 1000.0, 10_000.0
PLACEMENTS = ("PACK", "SPREAD")


@dataclass
class TrackingConfig:
    """Where MLflow keeps runs.

    Attributes:
        enabled: Whether runs are kept at all.
        uri: Of the store; null is a database file below `output_dir`.
        experiment: What MLflow calls the experiment of all runs.
        patience_s: How long a sweep waits for a store that is away.
    """

    enabled: bool = True
    uri: str | None = None
    experiment: str = "network-stack-parallelization"
    patience_s: float = 300.0

    def validate(self) -> None:
        """Raise ConfigError for the first value that cannot be used."""
        if self.uri == "":
            raise ConfigError("tracking.uri", "", "must be given, for example tracking.uri=http://host:5000")
        if not self.patience_s >= 0:
            raise ConfigError("tracking.patience_s", self.patience_s, "must be 0 or more seconds")


@dataclass
class RayConfig:
    """Where points run, and what becomes of those that are lost or do not end.

    Attributes:
        address: HOST:PORT of a running cluster, or auto for one on this machine; null starts Ray on this computer.
        send_sources: Whether a cluster gets the sources with the sweep; else it has the same ones installed.
        retries: How often a point is run again that was lost with its worker or node.
        time_limit_s: How long a point may take from its start in a worker; null for no limit.
        patience_s: How long a point waits for a node of the cluster that has what it needs.
        batch: How many points whose cores are actors (engine=ray) are simulated in lock-step.
        placement: Where the actors of a batch are put: PACK on few nodes, SPREAD over many.
        cores_per_actor: How many cores of a point share an actor; null for one actor per CPU that idles.
    """

    address: str | None = None
    send_sources: bool = True
    retries: int = 2
    time_limit_s: float | None = None
    patience_s: float = 300.0
    batch: int = 64
    placement: str = "PACK"
    cores_per_actor: int | None = None

    def validate(self) -> None:
        """Raise ConfigError for the first value that cannot be used."""
        if self.retries < 0:
            raise ConfigError("ray.retries", self.retries, "must be 0 or more")
        if self.time_limit_s is not None and not self.time_limit_s > 0:
            raise ConfigError("ray.time_limit_s", self.time_limit_s, "must be above 0 seconds, or null for no limit")
        if not self.patience_s >= 0:
            raise ConfigError("ray.patience_s", self.patience_s, "must be 0 or more seconds")
        if not 1 <= self.batch <= MAX_BATCH:
            raise ConfigError("ray.batch", self.batch, f"must be a whole number from 1 to {MAX_BATCH}")
        if self.cores_per_actor is not None and self.cores_per_actor < 1:
            raise ConfigError("ray.cores_per_actor", self.cores_per_actor, "must be 1 or more, or null for one actor per CPU")
        if self.placement not in PLACEMENTS:
            raise ConfigError("ray.placement", self.placement, f"allowed are {', '.join(PLACEMENTS)}")


@dataclass
class SeedsConfig:
    """How many seeds a point gets where a precision is asked for.

    Attributes:
        min: Seeds before the interval of confidence is looked at.
        max: Seeds after which a point gets no more.
    """

    min: int = 5
    max: int = 50

    def validate(self) -> None:
        """Raise ConfigError for numbers of seeds that give no interval."""
        if self.min < 2:
            raise ConfigError("seeds.min", self.min, "must be 2 or more: one seed has no interval")
        if not self.min <= self.max <= MOST_SEEDS:
            raise ConfigError("seeds.max", self.max, f"must be from {self.min} (seeds.min) to {MOST_SEEDS}")


@dataclass
class RunConfig:
    """Everything a user can set; `conf/config.yaml` explains the top level."""

    conns: int = 192
    seed: int = 1
    precision: str | None = None
    seeds: SeedsConfig = field(default_factory=SeedsConfig)
    ideal: list[str] = field(default_factory=list)
    output_dir: str = "outputs"
    workers: int | None = None
    ray: RayConfig = field(default_factory=RayConfig)
    dry_run: bool = False
    variant: str = ""
    trace: str | None = None
    trace_ms: float = 1.0
    trace_from_ms: float = 0.0
    targets: str | None = None
    report: str = "auto"
    machine: MachineConfig = field(default_factory=MachineConfig)
    costs: CostsConfig = field(default_factory=CostsConfig)
    org: OrganizationConfig = field(default_factory=OrganizationConfig)
    workload: WorkloadConfig = field(default_factory=WorkloadConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)

    @property
    def simulation(self) -> SimulationConfig:
        """The simulated part. Its sections are shared, not copied; it validates itself. Sets are in one order."""
        simulation = SimulationConfig(**{name: getattr(self, name) for name in SIMULATED})
        simulation.ideal = sorted(self.ideal, key=lambda name: MECHANISMS.index(name) if name in MECHANISMS else -1)
        return simulation

    def validate(self) -> None:
        """Raise ConfigError for the first value around the simulation that cannot be used."""
        if self.workers is not None and not 1 <= self.workers <= MOST_WORKERS:
            raise ConfigError("workers", self.workers, f"must be from 1 to {MOST_WORKERS}, or null for one per CPU")
        if self.targets is not None and self.experiment.report != "published":
            raise ConfigError("targets", self.targets, "needs an experiment with report: published, and -m")
        if self.report not in REPORTS:
            raise ConfigError("report", self.report, f"allowed are {', '.join(REPORTS)}")
        self.seeds.validate()
        if self.trace not in (None, "chrome"):
            raise ConfigError("trace", self.trace, "must be chrome, or null for none")
        if not 0 < self.trace_ms <= MOST_TRACE_MS:
            raise ConfigError("trace_ms", self.trace_ms, f"must be above 0 and at most {MOST_TRACE_MS:g}")
        if not 0 <= self.trace_from_ms <= MOST_TRACE_FROM_MS:
            raise ConfigError("trace_from_ms", self.trace_from_ms, f"must be from 0 to {MOST_TRACE_FROM_MS:g}")
        self.ray.validate()
        self.tracking.validate()
        self.experiment.validate()


KEYS = tuple(key.name for key in fields(RunConfig))
"""The top-level keys."""
SIMULATED = tuple(key.name for key in fields(SimulationConfig))
"""Keys of the simulation: those of a point."""
NAMING = ("variant",)
"""Keys that name points and change nothing else."""
SURROUNDINGS = tuple(key for key in KEYS if key not in (*SIMULATED, *NAMING))
"""Keys around the simulation: those of a whole sweep, not of a point."""


def register_schema() -> None:
    """Make Hydra check types and keys of every composed configuration."""
    ConfigStore.instance().store(name="schema", node=RunConfig)
