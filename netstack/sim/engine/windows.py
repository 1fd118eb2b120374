"""One core of a windowed simulation: what it owns, and the step from the messages of a window to its own.

A core holds a replica of the machine's state, its own caches, and nothing that another core could reach. In a window it runs
its own events alone, step by step, on what it knows. Its messages say for each step: when, which records it touched, which
words it changed, and what it did with cache lines. At the window's end every core gets the messages of all, and puts them into
the same order. The first step that touched what another core changed before it, or that comes after an event which another
core was given, is taken back with all that follow it, and done again in the next window; those before hold on every replica.
Knows nothing of who carries the messages.
"""

from itertools import accumulate
from typing import Any

import numpy as np

from netstack.jit.compilation import compiled
from netstack.jit.journal import (
    ACCESS_DTYPE,
    JOURNAL_DTYPE,
    JOURNALED_DTYPE,
    UNDO_DTYPE,
    access_at,
    attach_functions,
    journal_at,
    journaled_at,
    note,
    save_word,
    undo_to,
    word_at,
)
from netstack.jit.records import record_accessor
from netstack.jit.tables import ADDED, EXCLUSIVE, JOURNALED, LOCAL_ONLY
from netstack.sim.build.build import build
from netstack.sim.config import SimulationConfig
from netstack.sim.engine.conservation import check_conservation
from netstack.sim.engine.exact import run_event, settle
from netstack.sim.engine.measurement import Measurement
from netstack.sim.engine.result import Result
from netstack.sim.engine.snapshot import Snapshot, result_of, snapshot
from netstack.sim.machine.memory import hear, heed
from netstack.sim.machine.state import MACHINE_TABLE, MACHINE_WITH_JOURNAL_DTYPE, NEVER, core_of, nic_of
from netstack.sim.stack.state import STACK_TABLE, STACK_WITH_JOURNAL_DTYPE

MAX_STEPS = 64  # of a core in a window
MESSAGE_WORDS = 1 << 18
ACCESSES, TWIN_WORDS, UNDONE, EVENTS = 1 << 16, 1 << 20, 1 << 18, 1 << 16
HEAD_WORDS, STEP_WORDS = 2, 5
INDEX_BITS, WORD_BITS = 40, 10
INDEX_MASK, WORD_MASK = (1 << INDEX_BITS) - 1, (1 << WORD_BITS) - 1


def _place_of(table: str, field: str) -> int:
    """Return how a change of a field is marked in a message."""
    journaled = JOURNALED[table]
    fields: Any = journaled.dtype.fields
    return journaled.number << WORD_BITS | fields[field][1] // 8


CORE_NEXT_TIME, NIC_NEXT_TIME = _place_of("core_table", "next_time"), _place_of("nic_table", "next_time")
MACHINE_NUMBER, STACK_NUMBER = MACHINE_TABLE.number, STACK_TABLE.number


_machine_at = record_accessor(MACHINE_WITH_JOURNAL_DTYPE)
_stack_at = record_accessor(STACK_WITH_JOURNAL_DTYPE)


@compiled(nogil=True)
def step_core(machine, stack, core, messages, starts, window_number, window_cycles, until, marks, order, message):
    """Finish the last window of one core and run its next one: the whole step, on the addresses of its state.

    Returns:
        The words of the message, -1 when the journal is full.
    """
    m = _machine_at(machine, 0)
    s = _stack_at(stack, 0)
    if len(messages) > 0:
        merge(m, s, m.journal, core, messages, starts, window_number - 1, marks, order)
    used = run_window(m, s, m.journal, core, min(next_event(m, s) + window_cycles, until), marks, message)
    return -1 if journal_at(m.journal, 0).overflow else used


@compiled
def merge(m, s, journal, core, messages, starts, window_number, marks, order):
    """Decide which steps of the last window hold, take back those of `core` that do not, and carry out those of others.

    Args:
        m: The machine.
        s: The stack.
        journal: Address of the journal.
        core: The core that this replica belongs to.
        messages: The messages of all cores, one after the other.
        starts: Where those of each core begin, and their end.
        window_number: Number of the window.
        marks: Entries in the journal's undo list before each step of `core`.
        order: Scratch memory: where the steps that hold begin, and whose they are, in order.

    Returns:
        How many steps hold.
    """
    cores = m.cores_used
    place = np.zeros(cores, np.int64)
    left = np.zeros(cores, np.int64)
    for other in range(cores):
        place[other] = starts[other] + HEAD_WORDS
        left[other] = messages[starts[other] + 1]
    total = 0
    own = 0
    horizon = NEVER
    while True:
        first = -1
        for other in range(cores):
            if left[other] > 0:
                at = place[other]
                if first < 0 or _before(messages, at, place[first]):
                    first = other
        if first < 0:
            break
        at = place[first]
        if messages[at] > horizon or _collides(journal, messages, at, first, window_number):
            break
        _mark_written(journal, messages, at, first, window_number)
        order[2 * total] = at
        order[2 * total + 1] = first
        total += 1
        own += first == core
        horizon = min(horizon, _wakes_at(m, messages, at, first))
        left[first] -= 1
        place[first] = _step_behind(messages, at)
    undo_to(journal, marks[own])
    for position in range(total):
        _carry_out(journal, messages, order[2 * position], order[2 * position + 1] == core)
    for position in range(total):
        _hear_all(m, messages, order[2 * position])
    for position in range(total):
        if order[2 * position + 1] != core:
            _heed_all(m, core, messages, order[2 * position])
    for other in range(cores):
        cpu = core_of(m, other)
        waits = cpu.thread < 0 or cpu.spinning_on >= 0
        if waits and cpu.next_time == NEVER and (cpu.interrupts > 0 or cpu.ipis > 0):
            cpu.next_time = cpu.clock  # interrupted in the same window in which it began to wait
    return total


@compiled
def _before(messages, one, other):
    """Return whether a step comes before another: by time, then by who acts first at the same time."""
    if messages[one] != messages[other]:
        return messages[one] < messages[other]
    return messages[one + 1] < messages[other + 1]


@compiled
def _changes_of(messages, at):
    """Return where the changes of a step begin, behind the records that it touched."""
    return at + STEP_WORDS + messages[at + 2]


@compiled
def _events_of(messages, at):
    """Return where the events of a step begin, behind its changes."""
    return _changes_of(messages, at) + 2 * messages[at + 3]


@compiled
def _step_behind(messages, at):
    """Return where the next step begins."""
    return _events_of(messages, at) + messages[at + 4]


@compiled
def _place_of_change(packed):
    """Return the table, the word and the record of a change."""
    return packed >> (INDEX_BITS + WORD_BITS), (packed >> INDEX_BITS) & WORD_MASK, packed & INDEX_MASK


@compiled
def _collides(journal, messages, at, core, window_number):
    """Return whether a step touched a record that another core changed before it in this window."""
    tables = journal_at(journal, 0).table_address
    for position in range(at + STEP_WORDS, _changes_of(messages, at)):
        record = messages[position]
        writer = word_at(journaled_at(tables, record >> INDEX_BITS).writers, record & INDEX_MASK).value
        if writer >> 8 == window_number and writer & 255 != core:
            return True
    return False


@compiled
def _wakes_at(m, messages, at, core):
    """Return when the earliest event of another core is due that a step brought about, NEVER if it brought about none."""
    earliest = NEVER
    first = _changes_of(messages, at)
    for change in range(messages[at + 3]):
        place = messages[first + 2 * change] >> INDEX_BITS
        index = messages[first + 2 * change] & INDEX_MASK
        if (place == CORE_NEXT_TIME and index != core) or (place == NIC_NEXT_TIME and index % m.cores_used != core):
            earliest = min(earliest, messages[first + 2 * change + 1])
    return earliest


@compiled
def _mark_written(journal, messages, at, core, window_number):
    tables = journal_at(journal, 0).table_address
    first = _changes_of(messages, at)
    for change in range(messages[at + 3]):
        number, word, index = _place_of_change(messages[first + 2 * change])
        table = journaled_at(tables, number)
        if word_at(table.policies, word).value == EXCLUSIVE:
            word_at(table.writers, index).value = window_number << 8 | core


@compiled
def _carry_out(journal, messages, at, is_own):
    """Make the changes of a step that holds. What a core added itself is there already."""
    tables = journal_at(journal, 0).table_address
    first = _changes_of(messages, at)
    for change in range(messages[at + 3]):
        number, word, index = _place_of_change(messages[first + 2 * change])
        value = messages[first + 2 * change + 1]
        table = journaled_at(tables, number)
        cell = word_at(table.base, index * table.words + word)
        if word_at(table.policies, word).value != ADDED:
            cell.value = value
        elif not is_own:
            cell.value += value


@compiled
def _hear_all(m, messages, at):
    first = _events_of(messages, at)
    for event in range(messages[at + 4]):
        hear(m, messages[first + event])


@compiled
def _heed_all(m, core, messages, at):
    first = _events_of(messages, at)
    for event in range(messages[at + 4]):
        heed(m, core, messages[first + event])


@compiled
def next_event(m, s):
    """Return the time of the earliest event of the whole machine."""
    time = s.clock_next
    for core in range(m.cores_used):
        time = min(time, core_of(m, core).next_time)
    for nic in range(m.nics):
        time = min(time, nic_of(m, nic).next_time)
    return time


@compiled
def run_window(m, s, journal, core, until, marks, message):
    """Run the events of `core`, of its NICs and, on core 0, of the timer wheel that begin before `until`; fill `message`.

    Returns:
        The words of the message.
    """
    entry = journal_at(journal, 0)
    entry.undone = 0
    entry.events = 0
    used = HEAD_WORDS
    steps = 0
    marks[0] = 0
    while steps < MAX_STEPS and m.fault == 0 and entry.overflow == 0:
        actor = -1
        time = until
        if core_of(m, core).next_time < time:
            time = core_of(m, core).next_time
            actor = core
        for nic in range(core, m.nics, m.cores_used):
            if nic_of(m, nic).next_time < time:
                time = nic_of(m, nic).next_time
                actor = m.cores_used + nic
        if core == 0 and s.clock_next < time:
            time = s.clock_next
            actor = m.cores_used + m.nics
        if actor < 0:
            break
        entry.step += 1
        entry.accesses = 0
        entry.twin_words = 0
        first_event = entry.events
        note(journal, MACHINE_NUMBER, 0)
        note(journal, STACK_NUMBER, 0)
        m.ready_sequence = (time << 12) | (actor << 4)
        run_event(m, s, actor, time)
        used = _report(journal, time, actor, first_event, message, used)
        steps += 1
        marks[steps] = entry.undone
    message[0] = used
    message[1] = steps
    return used


@compiled
def _report(journal, time, actor, first_event, message, used):
    """Append what the step did to the message; return where it ends now."""
    entry = journal_at(journal, 0)
    start = used
    message[start] = time
    message[start + 1] = actor
    used = start + STEP_WORDS
    if used + entry.accesses > len(message):
        entry.overflow = 1
        return start
    for position in range(entry.accesses):
        access = access_at(entry.access_address, position)
        message[used] = access.table << INDEX_BITS | access.index
        used += 1
    changes = 0
    for position in range(entry.accesses):
        access = access_at(entry.access_address, position)
        table = journaled_at(entry.table_address, access.table)
        record = table.base + access.index * table.words * 8
        for word in range(table.words):
            old = word_at(entry.twin_address, access.twin + word).value
            new = word_at(record, word).value
            if new == old:
                continue
            save_word(journal, record + word * 8, old)
            policy = word_at(table.policies, word).value
            if policy == LOCAL_ONLY:
                continue
            if used + 2 + entry.events - first_event > len(message):
                entry.overflow = 1
                return start
            message[used] = (access.table << WORD_BITS | word) << INDEX_BITS | access.index
            message[used + 1] = new - old if policy == ADDED else new
            used += 2
            changes += 1
    for position in range(first_event, entry.events):
        message[used] = word_at(entry.event_address, position).value
        used += 1
    message[start + 2] = entry.accesses
    message[start + 3] = changes
    message[start + 4] = entry.events - first_event
    return used


class WindowedCore:
    """A core of a windowed simulation: its replica of the state, and its journal."""

    def __init__(self, config: SimulationConfig, core: int) -> None:
        self.core = core
        self.simulation = build(config, with_journal=True)
        self.simulation.s["pool"] = self.simulation.m["own_core"] = core
        self._window_cycles = max(1, round(config.engine.window_us * config.machine.clock_mhz))
        self._measurement = Measurement(config)
        self._before: Snapshot | None = None
        self._window = 0
        self._machine, self._stack = self.simulation.machine.ctypes.data, self.simulation.stack.ctypes.data
        self._marks = np.zeros(MAX_STEPS + 1, np.int64)
        self._order = np.zeros(2 * MAX_STEPS * int(self.simulation.m["cores_used"]), np.int64)
        self._message = np.zeros(MESSAGE_WORDS, np.int64)
        self._build_journal()

    def _build_journal(self) -> None:
        simulation = self.simulation
        self._kept: list[np.ndarray] = []
        tables = self._allocate(JOURNALED_DTYPE, len(JOURNALED))
        roots = {"machine": simulation.machine, "stack": simulation.stack}
        for field, journaled in JOURNALED.items():
            table = roots[field] if field in roots else simulation.tables[field.removesuffix("_table")]
            policies = journaled.policies.copy()
            stamps, writers = np.zeros(len(table), np.int64), np.zeros(len(table), np.int64)
            self._kept += [policies, stamps, writers]
            tables[journaled.number] = (
                table.ctypes.data,
                journaled.dtype.itemsize // 8,
                stamps.ctypes.data,
                policies.ctypes.data,
                len(table),
                writers.ctypes.data,
            )
        journal = self._allocate(JOURNAL_DTYPE, 1)
        for name, dtype, length in (
            ("access", ACCESS_DTYPE, ACCESSES),
            ("twin", np.dtype("i8"), TWIN_WORDS),
            ("undo", UNDO_DTYPE, UNDONE),
            ("event", np.dtype("i8"), EVENTS),
        ):
            journal[f"{name}_address"] = self._allocate(dtype, length).ctypes.data
            journal[f"{name}_capacity"] = length
        journal["table_address"] = tables.ctypes.data
        attach_functions(journal)
        self.simulation.m["journal"] = self.simulation.s["journal"] = journal.ctypes.data

    def _allocate(self, dtype: np.dtype, length: int) -> np.ndarray:
        table = np.zeros(length, dtype)
        self._kept.append(table)
        return table

    @property
    def is_over(self) -> bool:
        """Whether the measured interval is at its end."""
        return self._measurement.is_over

    @property
    def share(self) -> float:
        """How much of the simulation is done, from 0 to 1."""
        return self._measurement.share

    def step(self, messages: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Finish the last window by the messages of all cores, and run the next one; return this core's message.

        When no core has a step to tell of, the simulation pauses. It is over when nothing is returned. The array is valid until
        the next step.

        Args:
            messages: The messages of all cores one after the other; empty before the first window.
            starts: Where each core's begin, and their end.

        Raises:
            RuntimeError: A window holds more than its journal does.
        """
        if len(messages) == HEAD_WORDS * (len(starts) - 1) and self._window > 0:
            self._pause()
        if self.is_over:
            return self._message[:0]
        self._window += 1
        used = step_core(
            self._machine,
            self._stack,
            self.core,
            messages,
            starts,
            self._window,
            self._window_cycles,
            self._measurement.next_pause_cycles,
            self._marks,
            self._order,
            self._message,
        )
        if used < 0:
            raise RuntimeError("a window's journal is full: choose a smaller engine.window_us")
        return self._message[:used]

    def _pause(self) -> None:
        """All events before the pause are done: account waiting cores, and take a snapshot where the measurement begins."""
        settle(self.simulation.m, self._measurement.next_pause_cycles)
        if self._measurement.pause(int(self.simulation.s["acked_bytes"])):
            self._before = snapshot(self.simulation)

    def own_counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the miss counters of this core's caches, before the measured interval and now: only this core has them."""
        assert self._before is not None
        rows = self._count_rows(self.core)
        return self._before.tables["count"][rows], self.simulation.tables["count"][rows]

    def _count_rows(self, core: int) -> slice:
        kinds = len(self.simulation.structures)
        return slice(core * kinds, (core + 1) * kinds)

    def result(self, counts: list[tuple[np.ndarray, np.ndarray]], wall_seconds: float) -> Result:
        """Check the laws and return the result, with the miss counters of all cores.

        Raises:
            ConservationError: A law was broken: the simulator has a bug.
        """
        assert self._before is not None
        check_conservation(self.simulation)
        for core, (before, now) in enumerate(counts):
            rows = self._count_rows(core)
            self._before.tables["count"][rows], self.simulation.tables["count"][rows] = before, now
        return result_of(self.simulation, self._before, self._measurement, wall_seconds)


def nothing(cores: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what the cores get before the first window: no message."""
    return np.zeros(0, np.int64), np.zeros(cores + 1, np.int64)


def join(parts: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return the messages of all cores one after the other, and where each begins."""
    return np.concatenate(parts), np.array(list(accumulate(map(len, parts), initial=0)))
