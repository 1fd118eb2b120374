"""Records what cores and cards do into a table that has been laid out before, for traces. Nothing is recorded unless asked for.

Callers test `Machine.recording` first. Knows no time but that of its records, and changes nothing else.
"""

from netstack.jit.compilation import compiled
from netstack.sim.machine.numbers import Instance, Recorded
from netstack.sim.machine.state import core_of, trace_record_of


@compiled
def record(machine, kind, core, time, cycles, subject, other):
    """Record what takes `cycles` from `time` on, or happens then. Beyond the capacity it is counted only."""
    index = machine.trace_records
    machine.trace_records += 1
    if index >= machine.trace_capacity:
        return
    entry = trace_record_of(machine, index)
    entry.kind = kind
    entry.core = core
    entry.time = time
    entry.cycles = cycles
    entry.atomic = 0
    entry.stall = 0
    entry.subject = subject
    entry.other = other
    entry.connection = -1
    entry.mbuf = -1


@compiled
def record_operation(machine, core, operation, time, cycles, atomic, stall):
    """Record an operation of `core`, with what it is charged against."""
    record(machine, Recorded.OPERATION, core, time, cycles, operation, -1)
    if machine.trace_records <= machine.trace_capacity:
        entry = trace_record_of(machine, machine.trace_records - 1)
        cpu = core_of(machine, core)
        entry.atomic = atomic
        entry.stall = stall
        entry.connection = cpu.instance[Instance.FLOW]
        entry.mbuf = cpu.instance[Instance.MBUF]


@compiled
def record_now(machine, kind, core, subject, other):
    """Record what happens at the clock of `core`."""
    record(machine, kind, core, core_of(machine, core).clock, 0, subject, other)
