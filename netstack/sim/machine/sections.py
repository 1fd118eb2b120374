"""Short critical sections: locks that are held for a few operations only, by a thread that cannot be preempted meanwhile.

They are no events of their own: a core that enters waits until the section was last left. The caller knows which section
protects what.
"""

from netstack.jit.compilation import compiled
from netstack.sim.machine.memory import charge
from netstack.sim.machine.numbers import Category
from netstack.sim.machine.state import core_of, lock_class_of, section_of


@compiled
def enter_section(machine, core, section, lock_class):
    """Enter a section of `lock_class` on `core`: spin while it is occupied.

    A step runs to its end before other cores act: another core may have entered the section at a later time than this core's.
    That is no obstacle.
    """
    cpu = core_of(machine, core)
    statistics = lock_class_of(machine, lock_class)
    statistics.acquisitions += 1
    if section.start <= cpu.clock < section.end:
        wait = section.end - cpu.clock
        statistics.waited += 1
        statistics.wait_cycles += wait
        cpu.cycles[Category.LOCK_SPIN] += wait
        cpu.clock = section.end
    section.start = cpu.clock


@compiled
def leave_section(machine, core, section, lock_class):
    """Leave a section that `core` entered."""
    cpu = core_of(machine, core)
    statistics = lock_class_of(machine, lock_class)
    section.end = cpu.clock
    statistics.releases += 1
    statistics.hold_cycles += cpu.clock - section.start


@compiled
def charge_in(machine, core, section, lock_class, operation):
    """Run an operation on `core` inside a section of `lock_class`."""
    enter_section(machine, core, section, lock_class)
    charge(machine, core, operation)
    leave_section(machine, core, section, lock_class)


@compiled
def charge_section(machine, core, lock_class, operation):
    """Run an operation on `core` inside the kernel's only section of `lock_class`."""
    charge_in(machine, core, section_of(machine, lock_class), lock_class, operation)
