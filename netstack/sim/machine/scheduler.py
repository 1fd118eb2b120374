"""A preemptive scheduler with priorities: run queues, context switches, wake-ups across cores.

A core runs its thread step by step. Preemption happens between steps. Knows threads, not their programs.
"""

from netstack.jit.compilation import compiled
from netstack.sim.machine.charging import charge, charge_section
from netstack.sim.machine.memory import evict_from_l1
from netstack.sim.machine.numbers import Category, Instance, LockClass, Operation, Recorded, ThreadState
from netstack.sim.machine.recording import record, record_now
from netstack.sim.machine.state import NEVER, core_of, lock_of, thread_of, thread_on


@compiled
def settle_spin(machine, core, now):
    """Account for the time that `core` has spun up to `now`: none if locks are free. It then goes on when it asked."""
    if machine.free_locks != 0:
        return
    cpu = core_of(machine, core)
    _settle(machine, core, now, Category.LOCK_SPIN, cpu.spinning_on)
    cpu.spin_settlements += 1


@compiled
def settle_idle(machine, core, now):
    """Account for the time that `core` has idled up to `now`."""
    _settle(machine, core, now, Category.IDLE, -1)


@compiled
def settle_poll(machine, core, now):
    """Account for the time that `core` has polled an empty receive queue up to `now`."""
    _settle(machine, core, now, Category.POLL, -1)


@compiled
def _settle(machine, core, now, category, lock):
    """Let a core's clock be `now`, if that is later, and count the time as a category of cycles, spent on `lock` or none."""
    cpu = core_of(machine, core)
    if now > cpu.clock:
        if machine.recording != 0:
            record(machine, Recorded.PASSED, core, cpu.clock, now - cpu.clock, category, lock)
        cpu.cycles[category] += now - cpu.clock
        cpu.clock = now


@compiled
def _waits(machine, cpu):
    """Return whether a core has no step of its own to take: it idles, spins or polls. To spin for free is no time to act in."""
    return cpu.thread < 0 or (cpu.spinning_on >= 0 and machine.free_locks == 0) or cpu.polling != 0


@compiled
def _choose_core(machine, thread):
    """Return the core for a runnable thread: its own if it is pinned, else an idle one, else that of the least urgent thread.

    An affine scheduler prefers the core that the thread ran on if that idles, any other takes the first idle one.
    """
    if thread.pinned >= 0:
        return thread.pinned
    best = thread.core
    running = core_of(machine, best).thread
    if machine.affine != 0 and running < 0:
        return best
    lowest = thread_of(machine, running).priority if running >= 0 else 0  # if it idles, no priority decides below
    for core in range(machine.cores_used):
        cpu = core_of(machine, core)
        if cpu.thread < 0:
            return core
        priority = thread_of(machine, cpu.thread).priority
        if priority < lowest:
            lowest = priority
            best = core
    return best


@compiled
def notify_core(machine, waker, thread_index):
    """Notify the core of a runnable thread, by an interprocessor interrupt if the core is not `waker`."""
    thread = thread_of(machine, thread_index)
    target = _choose_core(machine, thread)
    thread.core = target
    cpu = core_of(machine, target)
    if cpu.thread >= 0:
        if thread_of(machine, cpu.thread).priority >= thread.priority:
            return
        cpu.resched = 1
    if target != waker:
        send_ipi(machine, waker, target)


@compiled
def send_ipi(machine, core, target):
    """Interrupt another core from `core`. One that runs a thread takes it before its next step, any other after the latency."""
    if machine.recording != 0:
        record_now(machine, Recorded.IPI, core, target, -1)
    charge(machine, core, Operation.IPI_SEND)
    core_of(machine, core).ipis_sent += 1
    cpu = core_of(machine, target)
    cpu.ipis += 1
    _rouse(machine, cpu, core_of(machine, core).clock + machine.ipi_latency)


@compiled
def forward_ipi(machine, core, target, now):
    """Interrupt an idle core at `now` for a thread that a device's interrupt on `core` woke. That one's cost covers the sending.

    Source: forward_wakeup() of sched_4bsd.c.
    """
    if machine.recording != 0:
        record(machine, Recorded.IPI, core, now, 0, target, -1)
    core_of(machine, core).ipis_sent += 1
    cpu = core_of(machine, target)
    cpu.ipis += 1
    _rouse(machine, cpu, now + machine.ipi_latency)


@compiled
def _rouse(machine, cpu, now):
    """Let a core that waits act on an interrupt that reaches it at `now`. One that idles leaves its idle state first."""
    if not _waits(machine, cpu):
        return
    if cpu.thread < 0:
        now += machine.wake
    cpu.next_time = min(cpu.next_time, max(cpu.clock, now))


@compiled
def make_runnable(machine, waker, thread_index):
    """Put a thread on the run queue, and notify its core."""
    thread = thread_of(machine, thread_index)
    thread.state = ThreadState.RUNNABLE
    machine.ready_sequence += 1
    thread.ready_sequence = machine.ready_sequence
    running = core_of(machine, waker).instance[Instance.THREAD]
    core_of(machine, waker).instance[Instance.THREAD] = thread_index
    if machine.recording != 0:
        record_now(machine, Recorded.WAKE, waker, thread_index, -1)
    charge(machine, waker, Operation.WAKEUP)
    charge_section(machine, waker, LockClass.RUN_QUEUE, Operation.RUN_QUEUE_ADD)
    core_of(machine, waker).instance[Instance.THREAD] = running
    notify_core(machine, waker, thread_index)


@compiled
def wakeup(machine, waker, thread_index):
    """Wake a thread that waits for work. Any other thread looks for work in the step in which it sleeps: no wake-up is lost."""
    thread = thread_of(machine, thread_index)
    if thread.state == ThreadState.BLOCKED and thread.blocked_on < 0:
        make_runnable(machine, waker, thread_index)


@compiled
def sleep(machine, core):
    """Put the thread that runs on `core` to sleep, for work or for the lock in its `blocked_on`."""
    thread = thread_on(machine, core)
    thread.state = ThreadState.BLOCKED
    if thread.blocked_on < 0:
        charge(machine, core, Operation.SLEEP)
    _deschedule(machine, core)


@compiled
def _deschedule(machine, core):
    """Take the thread off `core`. Cores that spin for its locks stop: their threads try again, and sleep."""
    cpu = core_of(machine, core)
    if thread_of(machine, cpu.thread).locks_held > 0:
        for other in range(machine.cores_used):
            spinner = core_of(machine, other)
            if spinner.spinning_on >= 0 and lock_of(machine, spinner.spinning_on).owner == cpu.thread:
                settle_spin(machine, other, cpu.clock)
                spinner.spinning_on = -1
                spinner.next_time = spinner.clock
    if machine.light_threads == 0:
        charge_section(machine, core, LockClass.RUN_QUEUE, Operation.SWITCH_OUT)
    else:
        _leave_for_light_thread(machine, core)
    if machine.recording != 0:
        record_now(machine, Recorded.STOP, core, cpu.thread, -1)
    cpu.thread = -1


@compiled
def _leave_for_light_thread(machine, core):
    """Charge what it takes to leave a thread: nothing if it runs in the context of an interrupt, or gives way to one that does.

    The interrupted thread goes on before others that are as urgent.
    """
    cpu = core_of(machine, core)
    thread = thread_of(machine, cpu.thread)
    if thread.light != 0:
        return
    if thread.state == ThreadState.RUNNABLE and _light_thread_waits(machine, core):
        cpu.interrupted = cpu.thread
        thread.ready_sequence = 0
        return
    charge_section(machine, core, LockClass.RUN_QUEUE, Operation.SWITCH_OUT)


@compiled
def _light_thread_waits(machine, core):
    """Return whether a thread in the context of an interrupt is to run on `core`."""
    for index in range(machine.threads):
        thread = thread_of(machine, index)
        if thread.light != 0 and thread.state == ThreadState.RUNNABLE and thread.pinned == core:
            return True
    return False


@compiled
def take_interrupts(machine, core, now):
    """Account for spinning or idling of `core` up to `now`, and charge the interrupts that it took."""
    cpu = core_of(machine, core)
    if cpu.spinning_on >= 0:
        settle_spin(machine, core, now)
    elif cpu.thread < 0:
        settle_idle(machine, core, now)
    elif cpu.polling != 0:
        settle_poll(machine, core, now)
        cpu.polling = 0
    while cpu.interrupts > 0:
        cpu.interrupts -= 1
        if machine.interrupt_evicts > 0 and cpu.thread >= 0:
            evict_from_l1(machine, core, machine.interrupt_evicts)
        charge(machine, core, Operation.INTERRUPT)
    while cpu.timer_interrupts > 0:
        cpu.timer_interrupts -= 1
        charge(machine, core, Operation.TIMER_INTERRUPT)
    while cpu.ipis > 0:
        cpu.ipis -= 1
        charge(machine, core, Operation.IPI_RECEIVE)


@compiled
def begin_step(machine, core):
    """Switch threads on `core` if one is due; return whether a thread runs.

    If locks are free, a thread keeps its core while it has one: nobody would wait for it without sleeping.
    """
    cpu = core_of(machine, core)
    if cpu.spinning_on >= 0:
        if cpu.resched == 0:
            return False
        cpu.spinning_on = -1
    if cpu.resched != 0 and not (machine.free_locks != 0 and cpu.thread >= 0 and thread_on(machine, core).locks_held > 0):
        cpu.resched = 0
        if cpu.thread >= 0:
            thread_of(machine, cpu.thread).state = ThreadState.RUNNABLE
            _deschedule(machine, core)
    if cpu.thread < 0:
        return switch(machine, core)
    return True


@compiled
def switch(machine, core):
    """Give `core` the most urgent runnable thread, among equals the one that waits longest; return whether there is one."""
    cpu = core_of(machine, core)
    best = -1
    priority = -1
    sequence = 0
    for index in range(machine.threads):
        thread = thread_of(machine, index)
        if thread.state != ThreadState.RUNNABLE or (thread.pinned >= 0 and thread.pinned != core):
            continue
        if thread.priority > priority or (thread.priority == priority and thread.ready_sequence < sequence):
            best = index
            priority = thread.priority
            sequence = thread.ready_sequence
    cpu.resched = 0
    if best < 0:
        return False
    thread = thread_of(machine, best)
    thread.state = ThreadState.RUNNING
    thread.core = core
    cpu.thread = best
    if machine.recording != 0:
        record_now(machine, Recorded.RUN, core, best, -1)
    if machine.light_threads != 0 and _switch_lightly(machine, core, best):
        return True
    cpu.instance[Instance.THREAD] = best
    cpu.context_switches += 1
    charge_section(machine, core, LockClass.RUN_QUEUE, Operation.CONTEXT_SWITCH)
    charge(machine, core, Operation.SWITCH_IN)
    return True


@compiled
def _switch_lightly(machine, core, index):
    """Switch to a thread in the context of an interrupt, or back from it, which is no switch; return whether that is all.

    If another thread than the interrupted one follows, that one is left now.
    """
    cpu = core_of(machine, core)
    if thread_of(machine, index).light != 0:
        cpu.instance[Instance.THREAD] = index
        charge(machine, core, Operation.SOFTIRQ)
        return True
    interrupted = cpu.interrupted
    cpu.interrupted = -1
    if interrupted >= 0:
        cpu.instance[Instance.THREAD] = interrupted
        if interrupted == index:
            return True
        charge_section(machine, core, LockClass.RUN_QUEUE, Operation.SWITCH_OUT)
    return False


@compiled
def give_way(machine, core):
    """Let the thread on `core` be no more urgent than applications, and let others run that wait."""
    cpu = core_of(machine, core)
    thread = thread_of(machine, cpu.thread)
    thread.light = 0
    thread.priority = 0
    thread.base_priority = 0
    machine.ready_sequence += 1
    thread.ready_sequence = machine.ready_sequence
    cpu.resched = 1


@compiled
def another_waits(machine, core):
    """Return whether a thread that is pinned to `core` waits for the one that runs."""
    for index in range(machine.threads):
        thread = thread_of(machine, index)
        if thread.state == ThreadState.RUNNABLE and thread.pinned == core:
            return True
    return False


@compiled
def be_urgent_again(thread):
    """Undo `give_way` for a thread that is about to sleep."""
    thread.base_priority = thread.own_priority
    thread.priority = thread.own_priority
    thread.light = thread.own_light


@compiled
def raise_softirq(machine, waker, thread_index):
    """Make a thread that runs in the context of an interrupt runnable, by an interprocessor interrupt to another core."""
    thread = thread_of(machine, thread_index)
    if thread.state != ThreadState.BLOCKED:
        return
    make_runnable_from_interrupt(machine, thread.pinned, thread_index)
    if thread.pinned != waker:
        send_ipi(machine, waker, thread.pinned)


@compiled
def end_step(machine, core):
    """Set when `core` acts next: at its clock if a thread runs or waits for it, never while it spins or idles."""
    cpu = core_of(machine, core)
    if cpu.spinning_on >= 0:
        cpu.next_time = NEVER
        return
    if cpu.polling != 0:
        return  # who polls has set the time
    if cpu.thread >= 0:
        cpu.next_time = cpu.clock
        return
    cpu.next_time = NEVER
    for index in range(machine.threads):
        thread = thread_of(machine, index)
        if thread.state == ThreadState.RUNNABLE and (thread.pinned < 0 or thread.pinned == core):
            cpu.next_time = cpu.clock
            return


@compiled
def interrupt_core(machine, core, now):
    """Interrupt `core` at `now` from a device. Its next step is charged for it."""
    cpu = core_of(machine, core)
    cpu.interrupts += 1
    _rouse(machine, cpu, now)


@compiled
def interrupt_core_by_timer(machine, core, now):
    """Interrupt `core` at `now` by a timer of its own. Its next step is charged for it."""
    cpu = core_of(machine, core)
    cpu.timer_interrupts += 1
    _rouse(machine, cpu, now)


@compiled
def nudge(machine, core, now):
    """Let a core that polls look again at `now`."""
    cpu = core_of(machine, core)
    if cpu.polling != 0:
        cpu.next_time = min(cpu.next_time, max(cpu.clock, now))


@compiled
def make_runnable_from_interrupt(machine, core, thread_index):
    """Wake a thread from a device interrupt that `core` takes. The cost of the interrupt covers the wake-up."""
    thread = thread_of(machine, thread_index)
    if thread.state != ThreadState.BLOCKED or thread.blocked_on >= 0:
        return
    thread.state = ThreadState.RUNNABLE
    machine.ready_sequence += 1
    thread.ready_sequence = machine.ready_sequence
    thread.core = core
    cpu = core_of(machine, core)
    if cpu.thread >= 0 and thread.priority > thread_of(machine, cpu.thread).priority:
        cpu.resched = 1
