"""Adaptive mutexes: a waiter spins while the owner runs on another core, and sleeps otherwise.

Sleepers lend their priority to the owner (turnstiles). A release hands the lock to the spinner that has waited longest, and wakes
all sleepers. Knows nothing of what the locks protect.
If locks are free (`Machine.free_locks`), a waiter still goes on after the owner's release, but at the time when it asked, and
pays for one try only.
Source of the semantics: mutex(9), turnstile(9) and kern_mutex.c of FreeBSD 7-CURRENT of early 2006. There a waiter marks the
mutex as contested before it spins, each time anew, and the release of a marked one is not the short one. In a windowed simulation
the caches of other cores are out of reach: there a spinner marks the mutex once, and reads its word once, when it gets it.
"""

from netstack.jit.compilation import compiled
from netstack.jit.tables import has_journal
from netstack.sim.machine.charging import charge, charge_in, charge_lock_word, profile_acquisition, profile_release
from netstack.sim.machine.numbers import Instance, LockClass, Operation, Recorded, ThreadState, Waiting
from netstack.sim.machine.recording import record_now
from netstack.sim.machine.scheduler import make_runnable, notify_core, settle_spin, sleep
from netstack.sim.machine.state import NEVER, core_of, lock_class_of, lock_of, thread_of


@compiled
def acquire(machine, core, lock_index):
    """Try to take a lock for the thread that runs on `core`; return whether it has it now.

    On False the thread spins or sleeps. A core that spins takes no step until it is granted the lock. The thread repeats the same
    call when it runs again.
    """
    cpu = core_of(machine, core)
    thread = thread_of(machine, cpu.thread)
    lock = lock_of(machine, lock_index)
    if thread.waiting == Waiting.GRANTED:
        thread.waiting = Waiting.NOT
        if has_journal(machine):
            charge_lock_word(machine, core, lock_index, Operation.LOCK_POLL)
            charge_lock_word(machine, core, lock_index, Operation.LOCK_ACQUIRE)
            _count_wait(lock_class_of(machine, lock.lock_class), cpu.clock - thread.wait_since)
        profile_acquisition(machine, core)
        return True
    charge_lock_word(machine, core, lock_index, Operation.LOCK_ACQUIRE)
    if lock.owner < 0:
        _own(machine, core, lock_index)
        profile_acquisition(machine, core)
        return True
    if thread.waiting == Waiting.NOT:
        thread.waiting = Waiting.FOR_LOCK
        thread.wait_since = cpu.clock
    if machine.free_locks == 0:
        _mark_contested(machine, core, lock_index)
    if thread_of(machine, lock.owner).state == ThreadState.RUNNING:
        cpu.spinning_on = lock_index
    else:
        lock_class_of(machine, lock.lock_class).sleeps += 1
        charge(machine, core, Operation.LOCK_BLOCK)
        thread.blocked_on = lock_index
        lock.sleepers += 1
        _lend_priority(machine, core, lock_index, thread.priority)
        sleep(machine, core)
    return False


@compiled
def _mark_contested(machine, core, lock_index):
    """Mark a lock that `core` waits for as contested, under the lock of its turnstile chain: its owner must look for sleepers."""
    lock_of(machine, lock_index).contested = 1
    _charge_in_chain(machine, core, lock_index, Operation.LOCK_CONTEND)


@compiled
def _charge_in_chain(machine, core, lock_index, operation):
    """Run an operation on `core` against the word of a lock, under the lock of its turnstile chain."""
    core_of(machine, core).instance[Instance.LOCK] = lock_index
    charge_in(machine, core, lock_of(machine, lock_index).chain, LockClass.TURNSTILE, operation)


@compiled
def enter(machine, core, lock_index):
    """Make the thread that runs on `core` the owner of a free lock whose word is a mutex around its state."""
    charge_lock_word(machine, core, lock_index, Operation.LOCK_ACQUIRE)
    profile_acquisition(machine, core)
    _own(machine, core, lock_index)
    profile_release(machine, core)
    charge_lock_word(machine, core, lock_index, Operation.LOCK_RELEASE)


@compiled
def leave(machine, core, lock_index):
    """Release a lock that the thread on `core` entered."""
    charge_lock_word(machine, core, lock_index, Operation.LOCK_ACQUIRE)
    profile_acquisition(machine, core)
    release(machine, core, lock_index)


@compiled
def _own(machine, core, lock_index):
    """Make the thread that runs on `core` the owner of a free lock."""
    cpu = core_of(machine, core)
    thread = thread_of(machine, cpu.thread)
    lock = lock_of(machine, lock_index)
    lock.owner = cpu.thread
    lock.acquired_at = cpu.clock
    thread.locks_held += 1
    statistics = lock_class_of(machine, lock.lock_class)
    statistics.acquisitions += 1
    if thread.waiting == Waiting.FOR_LOCK:
        _count_wait(statistics, cpu.clock - thread.wait_since)
        thread.waiting = Waiting.NOT


@compiled
def _count_wait(statistics, cycles):
    statistics.waited += 1
    statistics.wait_cycles += cycles


@compiled
def _lend_priority(machine, core, lock_index, priority):
    """Raise the owner, and the owners that it waits for in turn, to `priority`. The core of a runnable owner is notified."""
    while lock_index >= 0:
        owner_index = lock_of(machine, lock_index).owner
        if owner_index < 0:
            return
        owner = thread_of(machine, owner_index)
        if owner.priority >= priority:
            return
        owner.priority = priority
        if owner.state == ThreadState.RUNNABLE:
            notify_core(machine, core, owner_index)
        lock_index = owner.blocked_on if owner.state == ThreadState.BLOCKED else -1


@compiled
def release(machine, core, lock_index):
    """Release a lock that the thread on `core` owns: the longest spinner gets it, all sleepers wake up to try again."""
    cpu = core_of(machine, core)
    lock = lock_of(machine, lock_index)
    profile_release(machine, core)
    charge_lock_word(machine, core, lock_index, Operation.LOCK_RELEASE)
    thread = thread_of(machine, cpu.thread)
    thread.locks_held -= 1
    statistics = lock_class_of(machine, lock.lock_class)
    statistics.releases += 1
    if lock.contested != 0:
        _release_contested(machine, core, lock_index)
    statistics.hold_cycles += cpu.clock - lock.acquired_at
    lock.owner = -1
    _grant_spinner(machine, core, lock_index)
    if lock.sleepers > 0:
        lock.sleepers = 0
        charge(machine, core, Operation.LOCK_UNBLOCK)
        for index in range(machine.threads):
            sleeper = thread_of(machine, index)
            if sleeper.blocked_on == lock_index:
                sleeper.blocked_on = -1
                make_runnable(machine, core, index)
    if thread.priority != thread.base_priority:
        _restore_priority(machine, core)


@compiled
def _grant_spinner(machine, core, lock_index):
    """Hand a free lock to the core whose thread has waited longest of those that spin for it."""
    now = core_of(machine, core).clock
    first = -1
    since = NEVER
    for other in range(machine.cores_used):
        spinner = core_of(machine, other)
        if spinner.spinning_on == lock_index and (spinner.resched == 0 or machine.free_locks != 0):
            asked = thread_of(machine, spinner.thread).wait_since
            if asked < since:
                first = other
                since = asked
    if first < 0:
        return
    winner = core_of(machine, first)
    settle_spin(machine, first, now)
    if machine.recording != 0:
        record_now(machine, Recorded.GRANT, first, lock_index, core)
    before = winner.clock
    thread = thread_of(machine, winner.thread)
    if has_journal(machine):
        thread.waiting = Waiting.GRANTED  # the windowed winner pays for the lock itself, in `acquire`
    elif machine.free_locks == 0:
        charge_lock_word(machine, first, lock_index, Operation.LOCK_ACQUIRE)
    winner.spinning_on = -1
    winner.next_time = winner.clock
    _own(machine, first, lock_index)
    thread.waiting = Waiting.GRANTED
    lock_of(machine, lock_index).acquired_at = before
    if machine.free_locks == 0 and not has_journal(machine):
        _mark_again(machine, lock_index, winner.clock)


@compiled
def _release_contested(machine, core, lock_index):
    """Do the rest of a release when the lock is marked: the short way has failed, and spinners read the word that it wrote."""
    if not has_journal(machine):
        for other in range(machine.cores_used):
            if core_of(machine, other).spinning_on == lock_index:
                charge_lock_word(machine, other, lock_index, Operation.LOCK_POLL)
    lock_of(machine, lock_index).contested = 0
    _charge_in_chain(machine, core, lock_index, Operation.LOCK_RELEASE_CONTESTED)


@compiled
def _mark_again(machine, lock_index, now):
    """Let those who spin for a lock that another one got mark it again."""
    for other in range(machine.cores_used):
        if core_of(machine, other).spinning_on == lock_index:
            settle_spin(machine, other, now)
            _mark_contested(machine, other, lock_index)


@compiled
def _restore_priority(machine, core):
    """Return lent priority that no lock still held justifies, and give way to a more urgent thread that is pinned to the core."""
    cpu = core_of(machine, core)
    thread = thread_of(machine, cpu.thread)
    priority = thread.base_priority
    if thread.locks_held > 0:
        for index in range(machine.threads):
            waiter = thread_of(machine, index)
            if waiter.blocked_on >= 0 and lock_of(machine, waiter.blocked_on).owner == cpu.thread:
                priority = max(priority, waiter.priority)
    thread.priority = priority
    for index in range(machine.threads):
        other = thread_of(machine, index)
        if other.state == ThreadState.RUNNABLE and other.pinned == core and other.priority > priority:
            cpu.resched = 1
