"""The end of a window: which steps of all cores hold, in an order that every core computes by itself.

The first step does not hold that touched what another core changed before it, or that comes after an event that a step brought
about on another core. The steps after it do not hold either. Each core undoes its own of these, and applies those of other cores
that hold.
"""

import numpy as np

from netstack.jit.compilation import compiled
from netstack.jit.journal import journal_at, journaled_at, undo_to, word_at
from netstack.jit.tables import ADDED, EXCLUSIVE
from netstack.sim.engine.windows import messages as codec
from netstack.sim.engine.windows.holds import place_holds
from netstack.sim.engine.windows.messages import changes_of, events_of, records_of, step_behind
from netstack.sim.machine.memory import apply_directory, update_directory
from netstack.sim.machine.state import NEVER, core_of

CORE_NEXT_TIME = codec.field_mark("core_table", "next_time")
NIC_NEXT_TIME = codec.field_mark("nic_table", "next_time")
CORE_BITS = 8


@compiled
def writer_mark(window, core):
    """Return the mark of a record that `core` changed in a window."""
    return window << CORE_BITS | core


@compiled
def _is_by_another(mark, window, core):
    """Return whether a mark says that a core other than `core` changed the record in this window."""
    return mark >> CORE_BITS == window and mark & ((1 << CORE_BITS) - 1) != core


@compiled
def merge(machine, stack, journal, core, messages, starts, window, marks, order, sections):
    """Decide which steps of the last window hold, undo those of `core` that do not, and apply those of other cores.

    Args:
        machine: The machine.
        stack: The stack.
        journal: Address of the journal.
        core: The core that this replica belongs to.
        messages: The messages of all cores, one after the other.
        starts: Where the message of each core begins, and where the last one ends.
        window: Number of the window.
        marks: How many changes the journal had noted before each step of `core`.
        order: Scratch memory for the steps that hold, in order: where each begins, and its core.
        sections: Address of what this replica knows of kernel-wide sections, see `holds`.

    Returns:
        How many steps hold.
    """
    total, own = _put_in_order(machine, journal, core, messages, starts, window, order)
    undo_to(journal, marks[own])
    for position in range(total):
        _carry_out(journal, messages, order[2 * position], order[2 * position + 1] == core)
    place_holds(machine, core, messages, order, total, sections)
    for position in range(total):
        _update_directory(machine, messages, order[2 * position])
    for position in range(total):
        if order[2 * position + 1] != core:
            _apply_directory(machine, core, messages, order[2 * position])
    for other in range(machine.cores_used):
        cpu = core_of(machine, other)
        waits = cpu.thread < 0 or cpu.spinning_on >= 0
        if waits and cpu.next_time == NEVER and (cpu.interrupts > 0 or cpu.ipis > 0):
            cpu.next_time = cpu.clock  # interrupted in the same window in which it began to wait
    return total


@compiled
def _put_in_order(machine, journal, core, messages, starts, window, order):
    """Fill `order` with the steps that hold; return how many there are, and how many of them are by `core`."""
    cores = machine.cores_used
    steps = np.zeros(cores, np.int64)
    left = np.zeros(cores, np.int64)
    for other in range(cores):
        steps[other] = starts[other] + codec.HEAD_WORDS
        left[other] = messages[starts[other] + codec.MESSAGE_STEPS]
    total = 0
    own = 0
    horizon = NEVER
    while True:
        first = -1
        for other in range(cores):
            if left[other] > 0 and (first < 0 or codec.is_before(messages, steps[other], steps[first])):
                first = other
        if first < 0:
            break
        step = steps[first]
        if messages[step + codec.TIME] > horizon or _collides(journal, messages, step, first, window):
            break
        _mark_written(journal, messages, step, first, window)
        order[2 * total] = step
        order[2 * total + 1] = first
        total += 1
        own += first == core
        horizon = min(horizon, _wakes_at(machine, messages, step, first))
        left[first] -= 1
        steps[first] = step_behind(messages, step)
    return total, own


@compiled
def _collides(journal, messages, step, core, window):
    """Return whether a step touched a record that another core changed before it in this window."""
    tables = journal_at(journal, 0).table_address
    for position in range(records_of(step), changes_of(messages, step)):
        record = messages[position]
        table = journaled_at(tables, codec.record_table(record))
        if _is_by_another(word_at(table.writers, codec.record_index(record)).value, window, core):
            return True
    return False


@compiled
def _wakes_at(machine, messages, step, core):
    """Return the time of the earliest event that a step brought about on another core, NEVER for none."""
    earliest = NEVER
    for position in range(changes_of(messages, step), events_of(messages, step), 2):
        field = codec.word_field(messages[position])
        index = codec.record_index(messages[position])
        if (field == CORE_NEXT_TIME and index != core) or (field == NIC_NEXT_TIME and index % machine.cores_used != core):
            earliest = min(earliest, messages[position + 1])
    return earliest


@compiled
def _mark_written(journal, messages, step, core, window):
    tables = journal_at(journal, 0).table_address
    for position in range(changes_of(messages, step), events_of(messages, step), 2):
        place = messages[position]
        table = journaled_at(tables, codec.word_table(place))
        if word_at(table.policies, codec.word_number(place)).value == EXCLUSIVE:
            word_at(table.writers, codec.record_index(place)).value = writer_mark(window, core)


@compiled
def _carry_out(journal, messages, step, is_own):
    """Apply the changes of a step that holds. What a core itself added to counters is there already."""
    tables = journal_at(journal, 0).table_address
    for position in range(changes_of(messages, step), events_of(messages, step), 2):
        place = messages[position]
        value = messages[position + 1]
        table = journaled_at(tables, codec.word_table(place))
        word = codec.word_number(place)
        cell = word_at(table.base, codec.record_index(place) * table.words + word)
        if word_at(table.policies, word).value != ADDED:
            cell.value = value
        elif not is_own:
            cell.value += value


@compiled
def _update_directory(machine, messages, step):
    for position in range(events_of(messages, step), step_behind(messages, step)):
        update_directory(machine, messages[position])


@compiled
def _apply_directory(machine, core, messages, step):
    for position in range(events_of(messages, step), step_behind(messages, step)):
        apply_directory(machine, core, messages[position])
