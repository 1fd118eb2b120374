"""A preemptive scheduler with priorities: run queues, context switches, wake-ups across cores.

A core runs its thread step by step; preemption happens between steps. Knows threads, not their programs.
"""

from netstack.jit.compilation import compiled
from netstack.sim.machine.memory import charge
from netstack.sim.machine.sections import charge_section
from netstack.sim.machine.state import (
    BLOCKED,
    IDLE,
    LOCK_SPIN,
    NEVER,
    OP_CONTEXT_SWITCH,
    OP_INTERRUPT,
    OP_IPI_RECEIVE,
    OP_IPI_SEND,
    OP_WAKEUP,
    RUN_QUEUE,
    RUNNABLE,
    RUNNING,
    THREAD,
    core_of,
    lock_of,
    thread_of,
)


@compiled
def settle_spin(m, core, now):
    """Account the time that `core` has spun up to `now`."""
    cpu = core_of(m, core)
    if now > cpu.clock:
        cpu.cycles[LOCK_SPIN] += now - cpu.clock
        cpu.clock = now
    cpu.spin_settlements += 1


@compiled
def settle_idle(m, core, now):
    """Account the time that `core` has idled up to `now`."""
    cpu = core_of(m, core)
    if now > cpu.clock:
        cpu.cycles[IDLE] += now - cpu.clock
        cpu.clock = now


@compiled
def _choose_core(m, thread):
    """Return the core a runnable thread should get: its own if pinned, else an idle one, else the least urgent."""
    if thread.pinned >= 0:
        return thread.pinned
    best = thread.core
    if core_of(m, best).thread < 0:
        return best
    lowest = thread_of(m, core_of(m, best).thread).priority
    for core in range(m.cores_used):
        cpu = core_of(m, core)
        if cpu.thread < 0:
            return core
        priority = thread_of(m, cpu.thread).priority
        if priority < lowest:
            lowest = priority
            best = core
    return best


@compiled
def notify_core(m, waker, thread_index):
    """Let the core of a runnable thread know, by interprocessor interrupt if it is another one than `waker`."""
    thread = thread_of(m, thread_index)
    target = _choose_core(m, thread)
    thread.core = target
    cpu = core_of(m, target)
    if cpu.thread >= 0:
        if thread_of(m, cpu.thread).priority >= thread.priority:
            return
        cpu.resched = 1
    if target != waker:
        send_ipi(m, waker, target)


@compiled
def send_ipi(m, core, target):
    """Interrupt another core from `core`: one that runs a thread takes it before its next step, any other after the latency."""
    charge(m, core, OP_IPI_SEND)
    core_of(m, core).ipis_sent += 1
    cpu = core_of(m, target)
    cpu.ipis += 1
    if cpu.thread < 0 or cpu.spinning_on >= 0:
        cpu.next_time = min(cpu.next_time, max(cpu.clock, core_of(m, core).clock + m.ipi_latency))


@compiled
def make_runnable(m, waker, thread_index):
    """Put a thread that waits for nothing any more on the run queue."""
    thread = thread_of(m, thread_index)
    thread.state = RUNNABLE
    m.ready_sequence += 1
    thread.ready_sequence = m.ready_sequence
    charge_section(m, waker, RUN_QUEUE, OP_WAKEUP)
    notify_core(m, waker, thread_index)


@compiled
def wakeup(m, waker, thread_index):
    """Wake a thread that waits for work. Any other looks for work before it sleeps, in the same step: nothing is lost."""
    thread = thread_of(m, thread_index)
    if thread.state == BLOCKED and thread.blocked_on < 0:
        make_runnable(m, waker, thread_index)


@compiled
def sleep(m, core):
    """Put the thread that runs on `core` to sleep, for work or for the lock in its `blocked_on`."""
    thread_of(m, core_of(m, core).thread).state = BLOCKED
    _deschedule(m, core)


@compiled
def _deschedule(m, core):
    """Take the current thread from `core`. Those who spin on its locks stop: their step decides again, and sleeps."""
    cpu = core_of(m, core)
    if thread_of(m, cpu.thread).locks_held > 0:
        for other in range(m.cores_used):
            spinner = core_of(m, other)
            if spinner.spinning_on >= 0 and lock_of(m, spinner.spinning_on).owner == cpu.thread:
                settle_spin(m, other, cpu.clock)
                spinner.spinning_on = -1
                spinner.next_time = spinner.clock
    cpu.thread = -1


@compiled
def take_interrupts(m, core, now):
    """Bring `core` to `now`: end idling, take what interrupts it."""
    cpu = core_of(m, core)
    if cpu.spinning_on >= 0:
        settle_spin(m, core, now)
    elif cpu.thread < 0:
        settle_idle(m, core, now)
    while cpu.interrupts > 0:
        cpu.interrupts -= 1
        charge(m, core, OP_INTERRUPT)
    while cpu.ipis > 0:
        cpu.ipis -= 1
        charge(m, core, OP_IPI_RECEIVE)


@compiled
def begin_step(m, core):
    """Switch threads on `core` where due, after its interrupts. Return whether a thread runs."""
    cpu = core_of(m, core)
    if cpu.spinning_on >= 0:
        if cpu.resched == 0:
            return False
        cpu.spinning_on = -1
    if cpu.resched != 0:
        cpu.resched = 0
        if cpu.thread >= 0:
            thread_of(m, cpu.thread).state = RUNNABLE
            _deschedule(m, core)
    if cpu.thread < 0:
        return switch(m, core)
    return True


@compiled
def switch(m, core):
    """Give `core` the most urgent runnable thread, the one that waits longest among equals. Return whether there is one."""
    cpu = core_of(m, core)
    best = -1
    priority = -1
    sequence = 0
    for index in range(m.threads):
        thread = thread_of(m, index)
        if thread.state != RUNNABLE or (thread.pinned >= 0 and thread.pinned != core):
            continue
        if thread.priority > priority or (thread.priority == priority and thread.ready_sequence < sequence):
            best = index
            priority = thread.priority
            sequence = thread.ready_sequence
    cpu.resched = 0
    if best < 0:
        return False
    thread = thread_of(m, best)
    thread.state = RUNNING
    thread.core = core
    cpu.thread = best
    cpu.instance[THREAD] = best
    cpu.context_switches += 1
    charge_section(m, core, RUN_QUEUE, OP_CONTEXT_SWITCH)
    return True


@compiled
def end_step(m, core):
    """Set when `core` acts next: at its clock if a thread runs or waits for it, never while it spins or idles."""
    cpu = core_of(m, core)
    if cpu.spinning_on >= 0:
        cpu.next_time = NEVER
        return
    if cpu.thread >= 0:
        cpu.next_time = cpu.clock
        return
    cpu.next_time = NEVER
    for index in range(m.threads):
        thread = thread_of(m, index)
        if thread.state == RUNNABLE and (thread.pinned < 0 or thread.pinned == core):
            cpu.next_time = cpu.clock
            return


@compiled
def interrupt_core(m, core, now):
    """Interrupt `core` at `now` from a device; it pays on its next step."""
    cpu = core_of(m, core)
    cpu.interrupts += 1
    if cpu.thread < 0 or cpu.spinning_on >= 0:
        cpu.next_time = min(cpu.next_time, max(cpu.clock, now))


@compiled
def make_runnable_from_interrupt(m, core, thread_index):
    """Wake a thread from a device interrupt taken by `core`; the interrupt's own cost covers the wake-up."""
    thread = thread_of(m, thread_index)
    if thread.state != BLOCKED or thread.blocked_on >= 0:
        return
    thread.state = RUNNABLE
    m.ready_sequence += 1
    thread.ready_sequence = m.ready_sequence
    thread.core = core
    cpu = core_of(m, core)
    if cpu.thread >= 0 and thread.priority > thread_of(m, cpu.thread).priority:
        cpu.resched = 1
