"""Short critical sections: locks that are held for a few operations only, by a thread that cannot be preempted meanwhile.

They are no events of their own: a core that enters waits until the section is free. The caller knows which section protects what.
"""

from netstack.jit.compilation import compiled
from netstack.sim.machine.numbers import Category, LockClass
from netstack.sim.machine.state import RECENT, core_of, lock_class_of, section_of


@compiled
def enter_section(machine, core, section, lock_class):
    """Enter a section of `lock_class` on `core`: spin while it is occupied.

    A step runs to its end before other cores act: another core may have entered the section at a later time than this core's.
    That is no obstacle.
    """
    cpu = core_of(machine, core)
    wait = max(0, section.end - cpu.clock) if section.start <= cpu.clock else 0
    _wait(machine, core, lock_class, wait)
    section.start = cpu.clock


@compiled
def leave_section(machine, core, section, lock_class):
    """Leave a section that `core` entered."""
    cpu = core_of(machine, core)
    section.end = cpu.clock
    _count_release(machine, lock_class, cpu.clock - section.start)


@compiled
def enter_kernel_section(machine, core, lock_class):
    """Enter the kernel's only section of `lock_class` on `core`. The wait for it is known when the core leaves."""
    section_of(machine, lock_class).entered = core_of(machine, core).clock


@compiled
def leave_kernel_section(machine, core, lock_class):
    """Leave the kernel's only section of `lock_class`, which `core` entered, and spin for as long as it was not free.

    All cores share it, and several enter it within a step of another core. The last holds are therefore remembered, and this one
    goes into the first gap between them that has room for it.
    """
    section = section_of(machine, lock_class)
    length = core_of(machine, core).clock - section.entered
    start = section.entered
    moved = True
    while moved:
        moved = False
        for hold in range(RECENT):
            if section.starts[hold] < start + length and start < section.ends[hold]:
                start = section.ends[hold]
                moved = True
    _wait(machine, core, lock_class, start - section.entered)
    first = 0
    for hold in range(1, RECENT):
        if section.ends[hold] < section.ends[first]:
            first = hold
    section.starts[first] = start
    section.ends[first] = start + length
    _count_release(machine, lock_class, length)


@compiled
def _wait(machine, core, lock_class, cycles):
    """Let `core` spin for a section, and count the acquisition. The wait for the run queue counts as scheduling."""
    statistics = lock_class_of(machine, lock_class)
    statistics.acquisitions += 1
    if cycles > 0:
        cpu = core_of(machine, core)
        statistics.waited += 1
        statistics.wait_cycles += cycles
        cpu.cycles[Category.SCHEDULING if lock_class == LockClass.RUN_QUEUE else Category.LOCK_SPIN] += cycles
        cpu.clock += cycles


@compiled
def _count_release(machine, lock_class, held_cycles):
    statistics = lock_class_of(machine, lock_class)
    statistics.releases += 1
    statistics.hold_cycles += held_cycles
