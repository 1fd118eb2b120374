"""Kernel-wide sections in windows: who would have waited for a hold that it could not see.

In a window a core knows the holds of others up to the window before. When windows are merged, the holds of all are put one behind
the other in the common order, and a core that a hold of another would have kept out owes the time. It pays in its next step.
"""

from typing import Annotated

import numpy as np

from netstack.jit.compilation import compiled
from netstack.jit.journal import save_words
from netstack.jit.records import Record, i8, record_accessor
from netstack.sim.engine.windows import messages as codec
from netstack.sim.machine.numbers import Category, LockClass
from netstack.sim.machine.state import RECENT, KernelSection, core_of, lock_class_of

CLASSES = len(LockClass)
STARTS, ENDS = codec.field_mark("section_table", "starts"), codec.field_mark("section_table", "ends")
OWED_BYTES = 8 * (CLASSES + 1)


class Holds(Record):
    """What the core of a replica owes, and the last holds of each section, on which all replicas agree."""

    owed: i8  # cycles of waits
    owed_for: Annotated[i8, CLASSES]  # the same by lock class
    starts: Annotated[i8, CLASSES * RECENT]  # when holds began, -1 before; by lock class
    ends: Annotated[i8, CLASSES * RECENT]  # when these holds ended


holds_at = record_accessor(Holds.dtype)
_section_at = record_accessor(KernelSection.dtype)


@compiled
def pay_owed(machine, journal, core, address):
    """Let `core` spin for what it owes, as a part of the step that it is about to do. One that idles has less to idle."""
    holds = holds_at(address, 0)
    if holds.owed == 0:
        return
    save_words(journal, address, OWED_BYTES)
    cpu = core_of(machine, core)
    for lock_class in range(CLASSES):
        cycles = holds.owed_for[lock_class]
        if cycles > 0:
            cpu.cycles[Category.SCHEDULING if lock_class == LockClass.RUN_QUEUE else Category.LOCK_SPIN] += cycles
            lock_class_of(machine, lock_class).wait_cycles += cycles
            holds.owed_for[lock_class] = 0
    cpu.clock += holds.owed
    holds.owed = 0


@compiled
def place_holds(machine, core, messages, order, total, address):
    """Put the holds of all steps that hold one behind the other, and note what `core` owes.

    Args:
        machine: The machine.
        core: The core that this replica belongs to.
        messages: The messages of all cores.
        order: The steps in order: where each begins, and its core.
        total: How many steps there are.
        address: Of the replica's record of holds.
    """
    holds = holds_at(address, 0)
    delays = np.zeros(machine.cores_used, np.int64)
    found = False
    for position in range(total):
        step = order[2 * position]
        other = order[2 * position + 1]
        end = codec.events_of(messages, step)
        for change in range(codec.changes_of(messages, step), end, 2):
            field = codec.word_field(messages[change])
            if field < STARTS or field >= STARTS + RECENT:
                continue
            lock_class = codec.record_index(messages[change])
            start = messages[change + 1]
            length = _end_of_hold(messages, change + 2, end, ENDS + field - STARTS) - start
            moved = _place(holds, lock_class, start + delays[other], length)
            delays[other] += moved
            if other == core:
                holds.owed_for[lock_class] += moved
            found = True
    holds.owed += delays[core]
    if found:
        _adopt(machine, holds)


@compiled
def _end_of_hold(messages, change, end, field):
    """Return when a hold ended: a later change of the same step and section says it."""
    while change < end and codec.word_field(messages[change]) != field:
        change += 2
    return messages[change + 1]


@compiled
def _place(holds, lock_class, earliest, length):
    """Put a hold into the first gap between those that are known; return how much later it begins."""
    first = lock_class * RECENT
    start = earliest
    moved = True
    while moved:
        moved = False
        for hold in range(first, first + RECENT):
            if holds.starts[hold] < start + length and start < holds.ends[hold]:
                start = holds.ends[hold]
                moved = True
    oldest = first
    for hold in range(first + 1, first + RECENT):
        if holds.ends[hold] < holds.ends[oldest]:
            oldest = hold
    holds.starts[oldest] = start
    holds.ends[oldest] = start + length
    return start - earliest


@compiled
def _adopt(machine, holds):
    """Let the replica's sections be those that all replicas agree on."""
    for lock_class in range(CLASSES):
        section = _section_at(machine.section_table, lock_class)
        for hold in range(RECENT):
            section.starts[hold] = holds.starts[lock_class * RECENT + hold]
            section.ends[hold] = holds.ends[lock_class * RECENT + hold]
