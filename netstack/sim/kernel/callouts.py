"""Callouts: the lists of the kernel's timer wheel as far as they cost something. When timers expire is decided elsewhere.

Source: kern_timeout.c of FreeBSD 7: one lock, and a list per tick that links the callouts of different connections.
"""

from netstack.jit.compilation import compiled
from netstack.sim.machine.charging import charge, touch_structure
from netstack.sim.machine.numbers import Access, LockClass, Operation
from netstack.sim.machine.sections import enter_kernel_section, leave_kernel_section
from netstack.sim.machine.state import core_of
from netstack.sim.stack.state import flow_of


@compiled
def set_callout(machine, stack, core, flow_index, callout):
    """Move a callout to the end of the list of its new time. Callouts that were set in the same tick are in one list.

    The neighbours in both lists are written. In a windowed simulation cores may disagree about them, which changes costs only.
    """
    enter_kernel_section(machine, core, LockClass.CALLOUT)
    charge(machine, core, Operation.CALLOUT_SET)
    if stack.timers_kind >= 0:
        _unlink(machine, stack, core, flow_index, callout)
        _append(machine, stack, core, flow_index, callout)
    leave_kernel_section(machine, core, LockClass.CALLOUT)


@compiled
def stop_callout(machine, stack, core, flow_index, callout):
    """Take a callout off its list."""
    enter_kernel_section(machine, core, LockClass.CALLOUT)
    charge(machine, core, Operation.CALLOUT_SET)
    if stack.timers_kind >= 0:
        _unlink(machine, stack, core, flow_index, callout)
        flow = flow_of(stack, flow_index)
        flow.callout_before[callout] = -1
        flow.callout_behind[callout] = -1
    leave_kernel_section(machine, core, LockClass.CALLOUT)


@compiled
def _unlink(machine, stack, core, flow_index, callout):
    flow = flow_of(stack, flow_index)
    before = flow.callout_before[callout]
    behind = flow.callout_behind[callout]
    if before >= 0:
        _write_link(machine, stack, core, before, callout)
        flow_of(stack, before).callout_behind[callout] = behind
    if behind >= 0:
        _write_link(machine, stack, core, behind, callout)
        flow_of(stack, behind).callout_before[callout] = before
    if stack.callout_last[callout] == flow_index:
        stack.callout_last[callout] = before


@compiled
def _append(machine, stack, core, flow_index, callout):
    flow = flow_of(stack, flow_index)
    tick = core_of(machine, core).clock // stack.tick_cycles
    last = stack.callout_last[callout]
    if last >= 0 and flow_of(stack, last).callout_tick[callout] == tick:
        _write_link(machine, stack, core, last, callout)
        flow_of(stack, last).callout_behind[callout] = flow_index
    else:
        last = -1
    flow.callout_before[callout] = last
    flow.callout_behind[callout] = -1
    flow.callout_tick[callout] = tick
    stack.callout_last[callout] = flow_index


@compiled
def _write_link(machine, stack, core, flow_index, callout):
    """Store a pointer in a neighbour, which is not read."""
    touch_structure(machine, core, stack.timers_kind, flow_index, callout, Access.STORE)
