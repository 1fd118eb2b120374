"""One core of a windowed simulation: what it owns, and the step from the messages of a window to its own message.

A core owns a replica of the state, with its own caches, and nothing that another core could reach. In a window it runs its own
events alone, step by step, on what it knows. Its message says what each step did. At the end of the window every core gets the
messages of all. Steps that do not hold, see `merge`, are repeated in the next window. Knows nothing of who carries the messages.
"""

import numpy as np

from netstack.jit import journal as records
from netstack.jit.compilation import compiled
from netstack.jit.journal import attach_functions, journal_at, note
from netstack.jit.records import allocate, record_accessor
from netstack.jit.tables import JOURNALED
from netstack.sim.build.build import build
from netstack.sim.config import SimulationConfig
from netstack.sim.engine.conservation import check_conservation
from netstack.sim.engine.exact import next_actor, run_event, settle
from netstack.sim.engine.measurement import Measurement, carried_bytes
from netstack.sim.engine.result import Result
from netstack.sim.engine.snapshot import Snapshot, result_of, snapshot
from netstack.sim.engine.windows import messages as codec
from netstack.sim.engine.windows.holds import Holds, pay_owed
from netstack.sim.engine.windows.merge import merge
from netstack.sim.machine.numbers import Fault
from netstack.sim.machine.state import MACHINE_TABLE, MACHINE_WITH_JOURNAL, core_of, nic_of
from netstack.sim.stack.state import STACK_TABLE, STACK_WITH_JOURNAL

MAX_STEPS = 64  # per core and window
WORD = np.dtype("i8")
ACCESSES, TWIN_WORDS, UNDONE, EVENTS = 1 << 16, 1 << 20, 1 << 18, 1 << 16  # capacities of a journal
MACHINE_NUMBER, STACK_NUMBER = MACHINE_TABLE.number, STACK_TABLE.number
TIME_SHIFT, ACTOR_SHIFT = 12, 4
"""The bits of time and actor in the sequence numbers of the threads that a step makes runnable."""

_machine_at = record_accessor(MACHINE_WITH_JOURNAL)
_stack_at = record_accessor(STACK_WITH_JOURNAL)


@compiled
def step_core(
    machine_address, stack_address, core, messages, starts, window, window_cycles, until, marks, order, sections, message
):
    """Finish the last window of one core, unless it is the first one, and run its next one.

    The state is at two addresses; the other arguments are those of `merge` and `run_window`.

    Returns:
        The words of the message, -1 if the journal or the message is full.
    """
    machine = _machine_at(machine_address, 0)
    stack = _stack_at(stack_address, 0)
    journal = machine.journal
    if window > 1:
        merge(machine, stack, journal, core, messages, starts, window - 1, marks, order, sections)
    end = min(next_event(machine, stack) + window_cycles, until)
    used = run_window(machine, stack, journal, core, end, marks, sections, message)
    return -1 if journal_at(journal, 0).overflow else used


@compiled
def next_event(machine, stack):
    """Return the time of the earliest event of the whole machine."""
    time = stack.clock_next
    for core in range(machine.cores_used):
        time = min(time, core_of(machine, core).next_time)
    for nic in range(machine.nics):
        time = min(time, nic_of(machine, nic).next_time)
    return time


@compiled
def run_window(machine, stack, journal, core, until, marks, sections, message):
    """Run the events of `core`, of its NICs and, on core 0, of the timer wheel that begin before `until`, and fill `message`.

    Returns:
        The words of the message.
    """
    entry = journal_at(journal, 0)
    entry.undone = 0
    entry.events = 0
    used = codec.HEAD_WORDS
    steps = 0
    marks[0] = 0
    while steps < MAX_STEPS and machine.fault == Fault.NONE and entry.overflow == 0:
        actor, time = next_actor(machine, stack, core, machine.cores_used, until)
        if actor < 0:
            break
        entry.step += 1
        entry.accesses = 0
        entry.twin_words = 0
        first_event = entry.events
        note(journal, MACHINE_NUMBER, 0)
        note(journal, STACK_NUMBER, 0)
        machine.ready_sequence = (time << TIME_SHIFT) | (actor << ACTOR_SHIFT)
        if actor == core:
            pay_owed(machine, journal, core, sections)
        run_event(machine, stack, actor, time)
        used = codec.append_step(journal, time, actor, first_event, message, used)
        steps += 1
        marks[steps] = entry.undone
    message[codec.MESSAGE_WORDS] = used
    message[codec.MESSAGE_STEPS] = steps
    return used


class WindowedCore:
    """A core of a windowed simulation: its replica of the state, and its journal.

    Attributes:
        core: Its number.
        simulation: Its replica.
        window_cycles: How long a window is.
        sections: What it knows of kernel-wide sections beside its replica.
    """

    def __init__(self, config: SimulationConfig, core: int) -> None:
        self.core = core
        self.simulation = build(config, with_journal=True)
        self.simulation.stack["pool"] = self.simulation.machine["own_core"] = core
        self.window_cycles = max(1, round(config.engine.window_us * config.machine.clock_mhz))
        self._measurement = Measurement(config)
        self._before: Snapshot | None = None
        self.sections = allocate(Holds.dtype, 1)
        self.sections["starts"] = self.sections["ends"] = -1
        self._build_journal()

    def _build_journal(self) -> None:
        simulation = self.simulation
        self._kept: list[np.ndarray] = []
        tables = self._allocate(records.JournaledRecords.dtype, len(JOURNALED))
        roots = {"machine": simulation.machine_table, "stack": simulation.stack_table}
        for field, journaled in JOURNALED.items():
            table = roots[field] if field in roots else simulation.tables[field.removesuffix("_table")]
            policies = self._allocate(WORD, len(journaled.policies))
            policies[:] = journaled.policies
            stamps, writers = self._allocate(WORD, len(table)), self._allocate(WORD, len(table))
            tables[journaled.number] = (
                table.ctypes.data,
                journaled.dtype.itemsize // 8,
                stamps.ctypes.data,
                policies.ctypes.data,
                len(table),
                writers.ctypes.data,
            )
        journal = self._allocate(records.Journal.dtype, 1)
        for name, dtype, length in (
            ("access", records.Access.dtype, ACCESSES),
            ("twin", WORD, TWIN_WORDS),
            ("undo", records.Undo.dtype, UNDONE),
            ("event", WORD, EVENTS),
        ):
            journal[f"{name}_address"] = self._allocate(dtype, length).ctypes.data
            journal[f"{name}_capacity"] = length
        journal["table_address"] = tables.ctypes.data
        attach_functions(journal)
        self.simulation.machine["journal"] = self.simulation.stack["journal"] = journal.ctypes.data

    def _allocate(self, dtype: np.dtype, length: int) -> np.ndarray:
        table = allocate(dtype, length)
        self._kept.append(table)
        return table

    @property
    def is_over(self) -> bool:
        """Whether the measured interval is at its end."""
        return self._measurement.is_over

    @property
    def share(self) -> float:
        """How much of the planned simulation is done, from 0 to 1."""
        return self._measurement.share

    @property
    def next_pause_cycles(self) -> int:
        """When the simulation pauses next, in cycles."""
        return self._measurement.next_pause_cycles

    def pause(self) -> None:
        """Account for waiting cores up to the pause, before which all events are done; take a snapshot where measuring begins."""
        settle(self.simulation.machine, self._measurement.next_pause_cycles)
        if self._measurement.pause(carried_bytes(self.simulation)):
            self._before = snapshot(self.simulation)

    def own_counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the miss counters of this core's caches, before the measured interval and now. Only this core has them."""
        assert self._before is not None
        rows = self._count_rows(self.core)
        return self._before.tables["count"][rows], self.simulation.tables["count"][rows]

    def _count_rows(self, core: int) -> slice:
        kinds = len(self.simulation.structures)
        return slice(core * kinds, (core + 1) * kinds)

    def result(self, counts: list[tuple[np.ndarray, np.ndarray]], wall_seconds: float) -> Result:
        """Check the laws; return the result, with the miss counters of all cores.

        Raises:
            ConservationError: A law was broken: the simulator has a bug.
        """
        assert self._before is not None
        check_conservation(self.simulation)
        for core, (before, now) in enumerate(counts):
            rows = self._count_rows(core)
            self._before.tables["count"][rows], self.simulation.tables["count"][rows] = before, now
        return result_of(self.simulation, self._before, self._measurement, wall_seconds)
