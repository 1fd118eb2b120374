"""Callouts: the lists of the kernel's timer wheel as far as they cost something. When timers expire is decided elsewhere.

Source: callout_reset() of kern_timeout.c of FreeBSD 7: one lock, and lists that link the callouts of different connections.
"""

from netstack.jit.compilation import compiled
from netstack.sim.machine.charging import charge, touch_structure
from netstack.sim.machine.numbers import Access, LockClass, Operation
from netstack.sim.machine.sections import enter_kernel_section, leave_kernel_section
from netstack.sim.stack.state import flow_of


@compiled
def set_callout(machine, stack, core, flow_index, callout):
    """Move a callout to the end of its list: the neighbour before it and the list's last one are written.

    The neighbour behind it is written, too, but is left out.
    """
    enter_kernel_section(machine, core, LockClass.CALLOUT)
    charge(machine, core, Operation.CALLOUT_SET)
    flow = flow_of(stack, flow_index)
    last = stack.callout_last[callout]
    if last != flow_index and stack.timers_kind >= 0:
        before = flow.callout_before[callout]
        if before >= 0:
            touch_structure(machine, core, stack.timers_kind, before, callout, Access.STORE)
        if last >= 0:
            touch_structure(machine, core, stack.timers_kind, last, callout, Access.STORE)
        flow.callout_before[callout] = last
        stack.callout_last[callout] = flow_index
    leave_kernel_section(machine, core, LockClass.CALLOUT)
