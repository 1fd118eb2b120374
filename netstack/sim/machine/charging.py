"""The charging of operations: instructions, stalls of a footprint, the store buffer, and lock profiling.

What an operation costs is data. Knows no operation by name, except what profiles a lock.
"""

from netstack.jit.compilation import compiled
from netstack.sim.machine import cache_state
from netstack.sim.machine.cache_state import l1_set_address
from netstack.sim.machine.memory import touch_line
from netstack.sim.machine.numbers import Access, Category, Instance, LockClass, Operation, Recorded
from netstack.sim.machine.recording import record, record_operation
from netstack.sim.machine.sections import end_declared, enter_kernel_section, enter_section, leave_kernel_section, leave_section
from netstack.sim.machine.state import core_of, operation_of, structure_of, touch_of
from netstack.sim.machine.ways import tag_at


@compiled
def charge(machine, core, operation):
    """Run one operation on `core`: its instructions, and the stalls of its footprint on the current instances.

    It runs under a lock if the costs file says so. A profiling kernel adds what it does for each mutex of the operation.
    """
    lock = operation_of(machine, operation).lock
    entered = core_of(machine, core).clock
    _charge(machine, core, operation)
    if lock != 0:
        end_declared(machine, core, lock - 1, entered)
    if machine.lock_profiling != 0:
        for _ in range(operation_of(machine, operation).mutexes):
            profile_acquisition(machine, core)
            profile_release(machine, core)


@compiled
def _charge(machine, core, operation):
    cpu = core_of(machine, core)
    cost = operation_of(machine, operation)
    stall = _touch_footprint(machine, core, cost)
    work = cost.cycles + cost.atomic_cycles + stall
    if cpu.store_cycles != 0 or cpu.stores_done > cpu.clock:
        wait = _wait_for_stores(machine, cpu, cost, cpu.clock + work)
        stall += wait
        work += wait
    if machine.recording != 0:
        record_operation(machine, core, operation, cpu.clock, cost.cycles, cost.atomic_cycles, stall)
    cpu.clock += work
    if cost.category == Category.SCHEDULING:  # the scheduler's synchronization and stalls are its own
        cpu.cycles[Category.SCHEDULING] += work
        return
    cpu.cycles[cost.category] += cost.cycles
    cpu.cycles[Category.LOCK_ATOMIC] += cost.atomic_cycles
    cpu.cycles[Category.CACHE_STALL] += stall


@compiled
def _touch_footprint(machine, core, cost):
    """Access the lines of an operation's footprint; return the stalls in cycles."""
    cpu = core_of(machine, core)
    first_set = l1_set_address(machine, core, 0)
    set_mask = machine.l1_sets - 1
    stride = machine.l1_stride
    stall = 0
    for row in range(cost.first_touch, cost.last_touch):
        touch = touch_of(machine, row)
        access = touch.access
        start = touch.first_line + cpu.instance[touch.per] * touch.lines
        for line in range(start, start + touch.count):
            tag = tag_at(first_set + (line & set_mask) * stride, 0).tag
            # else the access changes nothing
            if tag != (line << 1 | cache_state.WRITABLE) and (access != Access.READ or tag != line << 1):
                stall += touch_line(machine, core, line, touch.kind, access)
    return stall


@compiled
def _wait_for_stores(machine, cpu, cost, end):
    """Put an operation's stores into the store buffer of a core; return how long it must wait at `end`, in cycles.

    The buffer writes one store after the other to the cache. A core runs ahead of it until it is full. A locked instruction waits
    until it is empty, and a mutex is released by the last one of an operation.
    """
    cpu.stores_done = max(cpu.stores_done, cpu.clock) + cpu.store_cycles
    cpu.store_cycles = 0
    run_ahead = 0 if cost.atomic_cycles > 0 else machine.store_run_ahead
    return max(0, cpu.stores_done - run_ahead - end)


@compiled
def charge_in(machine, core, section, lock_class, operation):
    """Run an operation on `core` inside a section of `lock_class`."""
    enter_section(machine, core, section, lock_class)
    charge(machine, core, operation)
    leave_section(machine, core, section, lock_class)


@compiled
def charge_section(machine, core, lock_class, operation):
    """Run an operation on `core` inside the kernel's only section of `lock_class`."""
    enter_kernel_section(machine, core, lock_class)
    charge(machine, core, operation)
    leave_kernel_section(machine, core, lock_class)


@compiled
def touch_structure(machine, core, kind, instance, first_line, access):
    """Access one line of an instance of a structure, -1 for none, and charge the stall to `core`."""
    if kind < 0:
        return
    layout = structure_of(machine, kind)
    stall = touch_line(machine, core, layout.first_line + instance * layout.lines + first_line, kind, access)
    cpu = core_of(machine, core)
    if machine.recording != 0 and stall > 0:
        record(machine, Recorded.PASSED, core, cpu.clock, stall, Category.CACHE_STALL, -1)
    cpu.cycles[Category.CACHE_STALL] += stall
    cpu.clock += stall


@compiled
def charge_lock_word(machine, core, lock, operation):
    """Run a lock operation on `core` against the word of `lock`."""
    core_of(machine, core).instance[Instance.LOCK] = lock
    _charge(machine, core, operation)


@compiled
def profile_acquisition(machine, core):
    """Lock profiling: note the time at which a mutex was acquired, while it is held."""
    if machine.lock_profiling != 0:
        _charge(machine, core, Operation.READ_TIMECOUNTER)


@compiled
def profile_release(machine, core):
    """Lock profiling: read the time and update the kernel-wide profile under its spin lock, before a mutex is released.

    Source: _mtx_unlock_flags() of FreeBSD 7, with MUTEX_PROFILING.
    """
    if machine.lock_profiling != 0:
        _charge(machine, core, Operation.READ_TIMECOUNTER)
        enter_kernel_section(machine, core, LockClass.LOCK_PROFILE)
        _charge(machine, core, Operation.LOCK_PROFILE)
        leave_kernel_section(machine, core, LockClass.LOCK_PROFILE)
