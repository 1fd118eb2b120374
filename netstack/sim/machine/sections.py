"""Short critical sections: locks that are held for a few operations only, by a thread that cannot be preempted meanwhile.

They are no events of their own: a core that enters waits until the section is free. The caller knows which section protects what.
"""

from netstack.jit.compilation import compiled
from netstack.sim.machine.numbers import Category, Instance, LockClass, LockScope, Recorded
from netstack.sim.machine.recording import record
from netstack.sim.machine.state import (
    QUEUED,
    RECENT,
    core_of,
    declared_of,
    declared_plan_of,
    lock_class_of,
    node_of,
    section_of,
    section_plan_of,
)


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
    """Enter the section of `lock_class` for `core`, the kernel's only one unless the costs file gives another scope.

    The wait for it is known when the core leaves.
    """
    index = _instance(machine, core, section_plan_of(machine, lock_class))
    if index >= 0:
        section_of(machine, index).entered = core_of(machine, core).clock


@compiled
def _instance(machine, core, plan):
    """Return the section of a lock for what `core` works on now, -1 if there is no lock."""
    if plan.scope == LockScope.KERNEL:
        return plan.first
    if plan.scope == LockScope.CORE:
        return plan.first + core
    if plan.scope == LockScope.NODE:
        return plan.first + node_of(machine, core)
    if plan.scope == LockScope.BUCKET:
        return plan.first + core_of(machine, core).instance[Instance.BUCKET]
    if plan.scope == LockScope.LISTENER:
        return plan.first + core_of(machine, core).instance[Instance.LISTENER]
    return -1


@compiled
def leave_kernel_section(machine, core, lock_class):
    """Leave the section of `lock_class` that `core` entered, and spin for as long as it was not free.

    All cores share it, and several enter it within a step of another core. The last holds are therefore remembered, and this one
    goes into the first gap between them that has room for it.
    """
    index = _instance(machine, core, section_plan_of(machine, lock_class))
    if index < 0:
        return
    section = section_of(machine, index)
    length = core_of(machine, core).clock - section.entered
    _wait(machine, core, lock_class, _occupy(section, RECENT, section.entered, length) - section.entered)
    _count_release(machine, lock_class, length)


@compiled
def _occupy(section, holds, asked, length):
    """Put a hold of `length` cycles into the first gap from `asked` on between the remembered `holds`; return where it begins.

    It takes the place of the one that ended first.
    """
    start = asked
    moved = True
    while moved:
        moved = False
        for hold in range(holds):
            if section.starts[hold] < start + length and start < section.ends[hold]:
                start = section.ends[hold]
                moved = True
    first = 0
    for hold in range(1, holds):
        if section.ends[hold] < section.ends[first]:
            first = hold
    section.starts[first] = start
    section.ends[first] = start + length
    return start


@compiled
def end_declared(machine, core, lock, entered):
    """End an operation under a lock of the costs file, which began at `entered`, and spin for as long as the lock was not free.

    As in `leave_kernel_section`, the hold goes into the first gap between others. If waiters queue by tickets, all of them read
    the lock's line again at each release, and the next one in the queue has it after half of these reads.
    """
    plan = declared_plan_of(machine, lock)
    index = _instance(machine, core, plan)
    if index < 0:
        return
    section = declared_of(machine, index)
    length = core_of(machine, core).clock - entered
    hand_over = 0
    if plan.ticket != 0:
        waiting = 0
        for hold in range(QUEUED):
            waiting += section.ends[hold] > entered
        hand_over = waiting * machine.cache_same_node // 2
    start = _occupy(section, QUEUED, entered, length + hand_over)
    _wait(machine, core, plan.lock_class, start + hand_over - entered)
    _count_release(machine, plan.lock_class, length + hand_over)


@compiled
def _wait(machine, core, lock_class, cycles):
    """Let `core` spin for a section, unless locks are free, and count the acquisition.

    The wait for the run queue counts as scheduling.
    """
    statistics = lock_class_of(machine, lock_class)
    statistics.acquisitions += 1
    if cycles > 0:
        statistics.waited += 1
    if cycles > 0 and machine.free_locks == 0:
        cpu = core_of(machine, core)
        statistics.wait_cycles += cycles
        if machine.recording != 0:
            record(machine, Recorded.WAIT, core, cpu.clock, cycles, lock_class, -1)
        cpu.cycles[Category.SCHEDULING if lock_class == LockClass.RUN_QUEUE else Category.LOCK_SPIN] += cycles
        cpu.clock += cycles


@compiled
def _count_release(machine, lock_class, held_cycles):
    statistics = lock_class_of(machine, lock_class)
    statistics.releases += 1
    statistics.hold_cycles += held_cycles
