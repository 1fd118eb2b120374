"""Short critical sections: locks that are held for one operation only, by a thread that cannot be preempted meanwhile.

They are no events of their own: whoever enters waits out the time that the section was last occupied. Who owns which section
is the caller's business.
"""

from netstack.jit.compilation import compiled
from netstack.sim.machine.memory import charge
from netstack.sim.machine.state import LOCK_SPIN, core_of, lock_class_of, section_of


@compiled
def brief_wait(m, core, lock_class, start, end):
    """Enter a short critical section that was last occupied from `start` to `end`: spin out what is left of it.

    Short sections are not events of their own. A core's step runs ahead of its clock, so that a section may have been
    reserved for later: one that has not started yet is no obstacle.
    """
    cpu = core_of(m, core)
    statistics = lock_class_of(m, lock_class)
    statistics.acquisitions += 1
    if start <= cpu.clock < end:
        wait = end - cpu.clock
        statistics.waited += 1
        statistics.wait_cycles += wait
        cpu.cycles[LOCK_SPIN] += wait
        cpu.clock = end


@compiled
def brief_leave(m, core, lock_class, entered):
    """Leave a short critical section entered at `entered`."""
    statistics = lock_class_of(m, lock_class)
    statistics.releases += 1
    statistics.hold_cycles += core_of(m, core).clock - entered


@compiled
def charge_section(m, core, lock_class, operation):
    """Run an operation on `core` inside the kernel's only critical section of `lock_class`."""
    charge_in(m, core, section_of(m, lock_class), lock_class, operation)


@compiled
def charge_in(m, core, section, lock_class, operation):
    """Run an operation on `core` inside one of the critical sections of `lock_class`."""
    brief_wait(m, core, lock_class, section.start, section.end)
    section.start = core_of(m, core).clock
    charge(m, core, operation)
    section.end = core_of(m, core).clock
    brief_leave(m, core, lock_class, section.start)
