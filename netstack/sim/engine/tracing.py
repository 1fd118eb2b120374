"""Simulates the beginning of a point once more and records what its cores and cards do. Results are those without a record.

Knows when to record, not how a trace is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from netstack.errors import ConfigError
from netstack.sim.build.build import build
from netstack.sim.build.simulation import Simulation
from netstack.sim.config import SimulationConfig
from netstack.sim.engine.exact import run_until, settle
from netstack.sim.engine.measurement import Measurement, carried_bytes
from netstack.sim.machine.costs import parse_touch
from netstack.sim.machine.numbers import Category, LockClass, Operation
from netstack.sim.machine.state import TraceRecord
from netstack.sim.stack.numbers import ThreadKind

MOST_RECORDS = 1_000_000
"""Of a trace: about 200 MB as a file."""
OF_CONNECTIONS = ("flow", "mbuf")
"""What operations are charged against that are about a connection."""


@dataclass(frozen=True)
class Recording:
    """What happened from `start` to `end`, in cycles.

    Attributes:
        records: Records in the order of execution; those of a core are in the order of its clock.
        wanted: How many there would have been.
        running: The thread that each core ran at the start, and since when it counts: its clock then.
        clocks: Of the cores at the end.
        cycles_before: Cycles of each core by category at the start.
        cycles_after: The same at the end.
        threads: The name of each thread.
        lock_classes: The name of each class of locks.
        categories: The category of each operation.
        of_connections: Operations that are about a connection.
    """

    records: np.ndarray
    wanted: int
    start: int
    end: int
    clock_mhz: float
    cores: int
    cards: int
    running: Mapping[int, tuple[int, int]]
    clocks: Sequence[int]
    cycles_before: np.ndarray
    cycles_after: np.ndarray
    threads: Sequence[str]
    lock_classes: Sequence[str]
    categories: Mapping[Operation, Category]
    of_connections: frozenset[Operation]

    @property
    def is_cut_off(self) -> bool:
        """Whether there was no room for all records."""
        return self.wanted > len(self.records)


def trace(config: SimulationConfig, from_ms: float, length_ms: float, most_records: int = MOST_RECORDS) -> Recording:
    """Simulate a point up to the end of its trace, and return what happened from `from_ms` on.

    It pauses where the point itself does, so that every core does what it does there.

    Raises:
        ConfigError: The point cannot be simulated, or its cores run in windows.
    """
    config.validate()
    if config.engine.window_us > 0:
        raise ConfigError("engine.window_us", config.engine.window_us, "must be 0 with a trace")
    simulation = build(config)
    machine, cores = simulation.machine, simulation.tables["core"][: int(simulation.machine["cores_used"])]
    records = simulation.add(machine, "trace", TraceRecord.dtype, most_records)
    start, end = (round(ms * config.machine.clock_mhz * 1000) for ms in (from_ms, from_ms + length_ms))
    measurement = Measurement(config)
    _run(simulation, measurement, start)
    before = cores["cycles"].copy()
    running = {index: (int(core["thread"]), int(core["clock"])) for index, core in enumerate(cores) if core["thread"] >= 0}
    machine["recording"], machine["trace_capacity"] = 1, most_records
    _run(simulation, measurement, end)
    machine["recording"] = 0
    wanted = int(machine["trace_records"])
    costs = simulation.config.costs
    return Recording(
        records=records[: min(wanted, most_records)],
        wanted=wanted,
        start=start,
        end=end,
        clock_mhz=config.machine.clock_mhz,
        cores=len(cores),
        cards=int(machine["nics"]),
        running=running,
        clocks=[int(clock) for clock in cores["clock"]],
        cycles_before=before,
        cycles_after=cores["cycles"].copy(),
        threads=[f"{ThreadKind(thread['kind']).key} {thread['index']}" for thread in simulation.tables["thread"]],
        lock_classes=[*LockClass.all_keys(), *costs.declared_locks()],
        categories={number: Category(simulation.tables["operation"]["category"][number]) for number in Operation},
        of_connections=_of_connections(config),
    )


def _run(simulation: Simulation, measurement: Measurement, until: int) -> None:
    """Run events before `until`, with the pauses of the measurement."""
    while not measurement.is_over and measurement.next_pause_cycles <= until:
        pause = measurement.next_pause_cycles
        run_until(simulation.machine, simulation.stack, pause)
        settle(simulation.machine, pause)
        measurement.pause(carried_bytes(simulation))
    run_until(simulation.machine, simulation.stack, until)


def _of_connections(config: SimulationConfig) -> frozenset[Operation]:
    """Return the operations that touch what exists once per connection or mbuf."""
    structures = config.costs.structures
    return frozenset(
        Operation.of(name)
        for name, operation in config.costs.operations.items()
        if any(structures[parse_touch(text, name, structures).structure].per in OF_CONNECTIONS for text in operation.touches)
    )
