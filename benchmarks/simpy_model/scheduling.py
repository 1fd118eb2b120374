"""Threads and cores of the SimPy model: one queue of ready threads, wake-ups, preemption, and locks."""

from collections.abc import Generator

import simpy

from benchmarks.simpy_model.caches import Caches, Layout
from netstack.sim import SimulationConfig
from netstack.sim.machine.numbers import Instance

INBOUND_PRIORITY, PORT_PRIORITY, APPLICATION_PRIORITY, IDLE_PRIORITY = range(4)  # the smallest is the most urgent

REMEMBERED_HOLDS = 8

Steps = Generator[simpy.Event, object, None]


class ShortSection:
    """A short critical section, last occupied from `start` to `end`."""

    __slots__ = ("end", "start")

    def __init__(self) -> None:
        self.start = self.end = -1


class KernelSection:
    """A short critical section of the whole kernel: when it was held lately, by the end of the hold."""

    __slots__ = ("holds",)

    def __init__(self) -> None:
        self.holds: list[tuple[int, int]] = []

    def hold_cycles(self, start: int, length: int) -> int:
        """Put a hold into the first gap from `start` on; return how long it waits for that."""
        first = start
        for end, begin in self.holds:
            if begin < first + length and first < end:
                first = end
        self.holds = sorted([*self.holds, (first + length, first)])[-REMEMBERED_HOLDS:]
        return first - start


class AdaptiveLock:
    """A mutex: a waiter spins while the owner runs on another core, and sleeps otherwise."""

    __slots__ = ("chain", "contested", "index", "owner", "sleepers", "spinners")

    def __init__(self, index: int) -> None:
        self.index = index
        self.contested = False  # whether a thread has waited since the owner took it
        self.chain = ShortSection()  # of the lock of its turnstile chain
        self.owner: Thread | None = None
        self.sleepers: list[Thread] = []
        self.spinners: list[Thread] = []  # the one that spins longest first


class CpuCore:
    """A core: the thread that runs on it, and what it has been told."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.running: Thread | None = None
        self.free_at = 0  # when the last thread's work will have been done
        self.must_switch = False  # a more urgent thread is ready
        self.interrupts: list[str] = []  # operations that whoever runs next pays
        self.free_mbufs: list[int] = []
        self.stores_done = 0  # when the store buffer is empty

    @property
    def priority(self) -> int:
        """The priority of the thread that runs."""
        return IDLE_PRIORITY if self.running is None else self.running.priority


class Machine:
    """The cores with their caches, and the queue of ready threads that all of them take from."""

    def __init__(self, env: simpy.Environment, config: SimulationConfig, instances: dict[Instance, int]) -> None:
        self.env = env
        self.layout = Layout(config, instances)
        self.caches = Caches(config, self.layout.lines)
        self.cores = [CpuCore(index) for index in range(config.cores_used)]
        self.ready: list[Thread] = []
        self.run_queue = KernelSection()
        self.turns = 0
        self.affine = config.org.scheduler == "ule"
        self.fixed_interrupts = config.machine.nic.interrupts == "fixed"
        self.store_run_ahead_cycles = config.machine.latency.store_run_ahead_cycles
        self.ipi_latency_cycles = round(config.machine.ipi_latency_us * config.machine.clock_mhz)

    def dma_write(self, structure: str, instance: int) -> None:
        """A device writes an instance of a structure to memory."""
        self.caches.dma_write(self.layout.lines_of(structure, instance))

    def make_ready(self, thread: "Thread") -> None:
        """Queue a thread that waits for nothing any more."""
        thread.asleep = False
        self.turns += 1
        thread.turn = self.turns
        self.ready.append(thread)

    def core_for(self, thread: "Thread") -> CpuCore:
        """Return the core that a ready thread should get: its own if bound, else an idle one, else the least urgent."""
        if thread.bound or (self.affine and thread.core.running is None):
            return thread.core
        idle = (core for core in self.cores if core.running is None)
        return next(idle, max([thread.core, *self.cores], key=lambda core: core.priority))

    def interrupt(self, thread: "Thread", preferred: CpuCore) -> None:
        """A device interrupts a core, an idle one if the thread may run there, and makes a sleeping thread ready."""
        idle = (core for core in [preferred, *self.cores] if core.running is None)
        preferred = thread.core if thread.bound else preferred
        core = thread.core = preferred if thread.bound else next(idle, preferred)
        self.make_ready(thread)
        if core.priority > thread.priority:
            core.must_switch = True
        if core is not preferred and self.fixed_interrupts:
            preferred.interrupts.append("interrupt")
            core.interrupts.append("ipi_receive")
            self.look_later(core, self.ipi_latency_cycles)
        else:
            core.interrupts.append("interrupt")
            self.look(core)

    def look_later(self, core: CpuCore, delay: int) -> None:
        """Let a core look at the queue after `delay`."""
        self.env.timeout(delay).callbacks.append(lambda _: self.look(core))

    def look(self, core: CpuCore) -> None:
        """Give an idle core its next thread: the most urgent, among equals the one that was woken first."""
        if core.running is not None:
            if core.must_switch:
                core.running.stop_spinning()
            return
        if self.env.now < core.free_at:  # it looks then
            return
        core.must_switch = False
        threads = [thread for thread in self.ready if thread.core is core or not thread.bound]
        if threads:
            thread = min(threads, key=lambda thread: (thread.priority, thread.turn))
            self.ready.remove(thread)
            thread.core, core.running = core, thread
            thread.dispatched.succeed()


class Thread:
    """A thread. Costs gather as `debt` and are spent where other threads could matter."""

    def __init__(self, machine: Machine, index: int, core: CpuCore, priority: int, bound: bool) -> None:
        self.machine, self.env, self.index = machine, machine.env, index
        self.core, self.bound = core, bound  # the core it runs on or ran last
        self.priority = self.base_priority = priority  # others lend theirs
        self.operations, self.touch = machine.layout.operations, machine.caches.touch
        self.instance = [0] * len(Instance)
        self.instance[Instance.THREAD] = index
        self.debt = 0
        self.asleep = True
        self.turn = 0  # the number of its last wake-up
        self.dispatched = self.env.event()
        self.spinning: simpy.Event | None = None
        self.held: list[AdaptiveLock] = []
        self.blocked_on: AdaptiveLock | None = None

    @property
    def running(self) -> bool:
        """Whether a core runs this thread."""
        return self.core.running is self

    def charge(self, operation: str) -> None:
        """Run an operation: its instructions, the stalls of its footprint on the current instances, and waits for stores."""
        cycles, locked, footprint = self.operations[operation]
        core, begin = self.core, self.now()
        stall, stores = self.touch(core.index, footprint, self.instance)
        self.debt += cycles + stall
        core.stores_done = max(core.stores_done, begin) + stores
        run_ahead = 0 if locked else self.machine.store_run_ahead_cycles
        self.debt += max(0, core.stores_done - run_ahead - self.now())

    def charge_shared(self, section: KernelSection, operation: str) -> None:
        """Run an operation in a short critical section of the whole kernel."""
        begin = self.now()
        self.charge(operation)
        self.debt += section.hold_cycles(begin, self.now() - begin)

    def now(self) -> int:
        """Return the time at which what was charged will have been spent."""
        return int(self.env.now) + self.debt

    def enter(self, section: ShortSection) -> None:
        """Enter a short critical section: wait out what is left of it."""
        now = self.now()
        if section.start <= now < section.end:
            self.debt += section.end - now
            now = section.end
        section.start = now

    def leave(self, section: ShortSection) -> None:
        """Leave a short critical section."""
        section.end = self.now()

    def charge_in(self, section: ShortSection, operation: str) -> None:
        """Run an operation in a short critical section."""
        self.enter(section)
        self.charge(operation)
        self.leave(section)

    # The core.

    def spend(self) -> Steps:
        """Let the time of what was charged pass; then take interrupts, and give way to a more urgent thread."""
        if self.debt:
            debt, self.debt = self.debt, 0
            yield self.env.timeout(debt)
        if self.core.must_switch:
            yield from self._give_way()
        elif self.core.interrupts:
            self._take_interrupts()

    def _take_interrupts(self) -> None:
        operations, self.core.interrupts = self.core.interrupts, []
        for operation in operations:
            self.charge(operation)

    def _give_way(self) -> Steps:
        self.machine.ready.append(self)
        yield from self._leave_core()

    def sleep(self) -> Steps:
        """Leave the core until woken, when what was charged is spent. A wake-up from now on is not missed."""
        if self.blocked_on is None:
            self.charge("sleep")
        self.asleep = True
        yield from self._leave_core()

    def _leave_core(self) -> Steps:
        core = self.core
        self.charge_shared(self.machine.run_queue, "switch_out")
        core.running = None
        core.free_at = self.now()
        for lock in self.held:
            for spinner in lock.spinners:
                spinner.stop_spinning()
        self.dispatched = self.env.event()
        self.machine.look_later(core, self.debt)
        self.debt = 0
        yield from self.wait_for_core()

    def wait_for_core(self) -> Steps:
        """Wait until a core takes this thread, and pay for that."""
        yield self.dispatched
        self.instance[Instance.CORE] = self.core.index
        self.instance[Instance.CORE_PAIR] = self.core.index // 2
        self._take_interrupts()
        self.charge_shared(self.machine.run_queue, "context_switch")
        self.charge("switch_in")

    def wake(self, other: "Thread") -> None:
        """Make a thread ready if it sleeps."""
        if other.asleep:
            self.machine.make_ready(other)
            self.instance[Instance.THREAD] = other.index
            self.charge("wakeup")
            self.charge_shared(self.machine.run_queue, "run_queue_add")
            self.instance[Instance.THREAD] = self.index
            self._notify(other)

    def _notify(self, other: "Thread") -> None:
        """Tell the core that a ready thread should get, by interprocessor interrupt if it is not the own one."""
        core = other.core = self.machine.core_for(other)
        if core.priority <= other.priority:
            return
        core.must_switch = True
        if core is not self.core:
            self.charge("ipi_send")
            core.interrupts.append("ipi_receive")
            self.machine.look_later(core, self.debt + self.machine.ipi_latency_cycles)

    # Locks.

    def acquire(self, lock: AdaptiveLock) -> Steps:
        """Take a lock: nobody else has it from the moment on at which it is found free."""
        yield from self.spend()
        self.instance[Instance.LOCK] = lock.index
        self.charge("lock_acquire")
        while lock.owner is not None and lock.owner is not self:
            self.mark_contested(lock)
            if not lock.owner.running:
                yield from self._block(lock)
            else:
                yield from self._spin(lock)
                if self.core.must_switch and lock.owner is not self:
                    yield from self._give_way()
            self.charge("lock_acquire")
        lock.owner = self
        self.held.append(lock)

    def mark_contested(self, lock: AdaptiveLock) -> None:
        """Mark a lock that this thread waits for, under the lock of its turnstile chain."""
        lock.contested = True
        self.instance[Instance.LOCK] = lock.index
        self.charge_in(lock.chain, "lock_contend")

    def spin_through(self, operation: str) -> int:
        """Run an operation while spinning, which delays nothing; return how long it takes."""
        cycles, _, footprint = self.operations[operation]
        stall, _ = self.touch(self.core.index, footprint, self.instance)
        return cycles + stall

    def _spin(self, lock: AdaptiveLock) -> Steps:
        """Wait until the lock is handed over, the owner leaves its core, or the own core must switch."""
        spinning_from = self.now()
        self.spinning = self.env.event()
        lock.spinners.append(self)
        yield self.spinning
        lock.spinners.remove(self)
        self.spinning = None
        self.debt = max(0, spinning_from - int(self.env.now))

    def _block(self, lock: AdaptiveLock) -> Steps:
        """Sleep until the lock is released, and let its owner run as urgently as this thread until then."""
        self.charge("lock_block")
        lock.sleepers.append(self)
        self.blocked_on = lock
        owner = lock.owner
        while owner is not None and owner.priority > self.priority:
            owner.priority = self.priority
            if owner in self.machine.ready:
                self._notify(owner)
            owner = owner.blocked_on.owner if owner.blocked_on is not None else None  # whom the owner waits for
        yield from self.sleep()

    def stop_spinning(self) -> None:
        """Let a thread that spins decide again."""
        if self.spinning is not None and not self.spinning.triggered:
            self.spinning.succeed()

    def release(self, lock: AdaptiveLock) -> Steps:
        """Release a lock: the thread that spins longest gets it, all sleepers are woken to try again."""
        self.instance[Instance.LOCK] = lock.index
        self.charge("lock_release")
        if lock.contested:
            lock.contested = False
            for spinner in lock.spinners:
                spinner.spin_through("lock_poll")
            self.charge_in(lock.chain, "lock_release_contested")
        debt, self.debt = self.debt, 0
        yield self.env.timeout(debt)
        self.held.remove(lock)
        lock.owner = None
        for spinner in lock.spinners:
            if not spinner.core.must_switch:
                lock.owner = spinner
                spinner.stop_spinning()
                break
        for spinner in lock.spinners:
            if spinner is not lock.owner:
                lock.contested = True
                lock.chain.start = max(int(self.env.now), lock.chain.end)
                lock.chain.end = lock.chain.start + spinner.spin_through("lock_contend")
        if lock.sleepers:
            self.charge("lock_unblock")
            sleepers, lock.sleepers = lock.sleepers, []
            for sleeper in sleepers:
                sleeper.blocked_on = None
                self.wake(sleeper)
        if self.priority != self.base_priority:
            self._return_priority()

    def _return_priority(self) -> None:
        """Drop lent priority to what those who sleep on locks still held justify."""
        lenders = [sleeper.priority for lock in self.held for sleeper in lock.sleepers]
        self.priority = min([self.base_priority, *lenders])
        for thread in self.machine.ready:
            if thread.bound and thread.core is self.core and thread.priority < self.priority:
                self.core.must_switch = True
