"""The configuration of one point: how the engine runs it, and all parts together in one dataclass."""

from dataclasses import dataclass, field

from netstack.errors import ConfigError
from netstack.sim.machine.config import MachineConfig
from netstack.sim.machine.costs import CostsConfig
from netstack.sim.organization.config import OrganizationConfig
from netstack.sim.workload.config import EPHEMERAL_PORTS, WorkloadConfig

MAX_CONNECTIONS = 4_000_000
MAX_WINDOW_US = 20.0
LEAST_MS = 0.01  # of a measured interval: 1,000 cycles per slice at 2 GHz
MOST_WARMUPS = 1000  # a warm-up has so many times the pauses of the measured interval as it is longer
MOST_CLIENTS = 16384  # of an address: each has four ports or more
ENGINES = ("inline", "ray")
MECHANISMS = ("locks", "coherence", "capacity", "scheduling", "interrupts", "atomics", "copies")
"""What `ideal` may make free, in its order. docs/why.md has what each means."""


@dataclass
class EngineConfig:
    """The engine and the simulated interval.

    The `kind` `inline` simulates a point in one process; `ray` makes each core an actor. `window_us` of 0 keeps the exact order
    of all events. Above 0 each core runs alone for that time, and the cores exchange messages at the end of each window.

    `warmup_ms` and `measure_ms` of null are chosen from the number of connections, and the warm-up is prolonged until the
    throughput of successive slices agrees. `run_ms` is the length of both together, in place of `measure_ms`. `steady_percent` is
    the largest difference between the goodput of the two halves of the measured interval that counts as steady.
    """

    kind: str = "inline"
    window_us: float = 0.0
    warmup_ms: float | None = None
    measure_ms: float | None = None
    run_ms: float | None = None
    steady_percent: float = 5.0

    def validate(self) -> None:
        """Raise ConfigError for the first value that cannot be run."""
        if self.kind not in ENGINES:
            raise ConfigError("engine.kind", self.kind, f"allowed are {', '.join(ENGINES)}")
        if not 0 <= self.window_us <= MAX_WINDOW_US:
            raise ConfigError(
                "engine.window_us", self.window_us, f"must be from 0, which keeps the exact order, to {MAX_WINDOW_US:g}"
            )
        if self.kind == "ray" and self.window_us == 0:
            raise ConfigError("engine.window_us", 0, "must be above 0 with engine=ray: cores exchange messages once a window")
        for name in ("warmup_ms", "measure_ms", "run_ms"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 600_000:
                raise ConfigError(f"engine.{name}", value, "must be above 0 and at most 600000, or null for automatic")
        if self.run_ms is not None:
            if self.warmup_ms is not None and self.warmup_ms >= self.run_ms:
                raise ConfigError(
                    "engine.warmup_ms", self.warmup_ms, f"must be shorter than the run, engine.run_ms={self.run_ms:g}"
                )
            if self.measure_ms is not None:
                raise ConfigError("engine.measure_ms", self.measure_ms, "give either run_ms or measure_ms, not both")
        if not 0 < self.steady_percent <= 100:
            raise ConfigError("engine.steady_percent", self.steady_percent, "must be above 0 and at most 100")


@dataclass
class SimulationConfig:
    """One point: a machine, its costs, an organization, a workload, a load and a seed.

    The `MECHANISMS` in `ideal` are free: what if they cost nothing?
    """

    conns: int = 192
    seed: int = 1
    ideal: list[str] = field(default_factory=list)
    machine: MachineConfig = field(default_factory=MachineConfig)
    costs: CostsConfig = field(default_factory=CostsConfig)
    org: OrganizationConfig = field(default_factory=OrganizationConfig)
    workload: WorkloadConfig = field(default_factory=WorkloadConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)

    @property
    def cores_used(self) -> int:
        """How many cores of the machine the organization uses."""
        return self.org.core_count(self.machine.cores)

    @property
    def flows(self) -> int:
        """How many connections, or clients with theirs, have a record: of a proxy two per client, the second to a backend."""
        return self.conns * self.workload.legs

    def validate(self) -> None:
        """Raise ConfigError for the first value or combination that cannot be simulated."""
        if not 1 <= self.conns <= MAX_CONNECTIONS:
            raise ConfigError("conns", self.conns, f"must be a whole number from 1 to {MAX_CONNECTIONS}")
        if not 0 <= self.seed < 1 << 63:
            raise ConfigError("seed", self.seed, "must be a whole number from 0 to 9223372036854775807")
        for mechanism in self.ideal:
            if mechanism not in MECHANISMS:
                raise ConfigError("ideal", mechanism, f"allowed are {', '.join(MECHANISMS)}")
        if len(set(self.ideal)) < len(self.ideal):
            raise ConfigError("ideal", ",".join(self.ideal), "must have each mechanism once")
        self.machine.validate()
        self.costs.validate()
        self.org.validate(self.machine.cores)
        self.workload.validate()
        self.engine.validate()
        self._validate_together()
        self._validate_pauses()

    def _validate_together(self) -> None:
        """Raise ConfigError for the first value that another part contradicts."""
        workload = self.workload
        self.org.validate_on(self.machine, workload.threads_per_core)
        addresses = workload.client_addresses
        if addresses is not None and -(-self.conns // addresses) > MOST_CLIENTS:
            raise ConfigError(
                "workload.client_addresses", addresses, f"must leave each address {MOST_CLIENTS} clients at most, of {self.conns}"
            )
        clients_per_backend = -(-self.conns // workload.backends)
        if workload.application == "proxy" and clients_per_backend > EPHEMERAL_PORTS // 2:
            raise ConfigError(
                "workload.backends", workload.backends, f"must leave each backend {EPHEMERAL_PORTS // 2} clients at most"
            )
        if self.engine.window_us > 0 and self.machine.llc.size_bytes > 0:
            raise ConfigError("engine.window_us", self.engine.window_us, "must be 0 with a last-level cache, which cores share")
        if self.engine.window_us > 0:
            self._validate_windows()

    def _validate_pauses(self) -> None:
        """Raise ConfigError for times with which a simulation does nothing but pause, for hours or for ever."""
        engine = self.engine
        warmup_ms, measure_ms = planned_ms(self)
        key = "engine.measure_ms" if engine.run_ms is None else "engine.run_ms"
        given = engine.measure_ms if engine.run_ms is None else engine.run_ms
        if measure_ms < LEAST_MS:
            raise ConfigError(key, given, f"must leave {LEAST_MS:g} ms or more to measure")
        if measure_ms * MOST_WARMUPS < warmup_ms:
            raise ConfigError(
                key, given, f"must leave a {MOST_WARMUPS}th of the warm-up or more to measure, which takes {warmup_ms:g} ms"
            )
        if engine.window_us != 0 and engine.window_us * self.machine.clock_mhz < 1:
            raise ConfigError(
                "engine.window_us", engine.window_us, f"must be 0, or a cycle or more: {1 / self.machine.clock_mhz:.2g}"
            )

    def _validate_windows(self) -> None:
        """Raise ConfigError for what cores of a window would have to know of each other at once."""
        if self.workload.connections_end or self.workload.application != "writer":
            raise ConfigError("engine.window_us", self.engine.window_us, f"must be 0 with workload={self.workload.name}")
        if not self.org.runs_in_windows:
            raise ConfigError(
                "engine.window_us",
                self.engine.window_us,
                "must be 0 with receive queues, polls, forwarding, balance and aggregates",
            )
        if self.workload.reorder.any:
            raise ConfigError("engine.window_us", self.engine.window_us, "must be 0 with workload.reorder")
        if self.machine.nic.interrupt_frames > 0:
            raise ConfigError("engine.window_us", self.engine.window_us, "must be 0 with machine.nic.interrupt_frames")
        if self.costs.locks:
            raise ConfigError("engine.window_us", self.engine.window_us, f"must be 0 with costs={self.costs.name}")
        if "locks" in self.ideal:
            raise ConfigError("engine.window_us", self.engine.window_us, "must be 0 with ideal=[locks], which goes back in time")


def planned_ms(config: SimulationConfig) -> tuple[float, float]:
    """Return warm-up and measured interval in ms: as configured, else longer with more connections.

    A connection of a large load is served rarely. The interval grows so that each is served several times.
    """
    engine = config.engine
    warmup_ms = 20.0 if config.conns <= 512 else min(2000.0, 20.0 + config.conns / 32)
    measure_ms = 60.0 if config.conns <= 512 else min(2000.0, 60.0 + config.conns / 32)
    if engine.warmup_ms is not None:
        warmup_ms = engine.warmup_ms
    if engine.run_ms is not None:
        if warmup_ms >= engine.run_ms:
            warmup_ms = engine.run_ms / 4
        return warmup_ms, engine.run_ms - warmup_ms
    return warmup_ms, engine.measure_ms if engine.measure_ms is not None else measure_ms
