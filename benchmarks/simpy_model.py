"""The same server as one would write it by hand with SimPy: the peer that the simulator's speed is compared with.

Threads are SimPy processes, cores are priority resources, adaptive locks are resources, message ports are stores. Machine,
operations, footprints, workload and organization come from the same composed configuration, so that instruction cycles and
lines touched per operation are the same. Time is in core cycles.

What is simplified, always in the direction of less work:

* TCP is byte counts: no headers, no sequence arithmetic, no timestamps, no RTT estimate, no retransmission. The congestion
  window is slow start up to the receive buffer, cut to one segment when the interface has no room; nothing on the wire is lost.
* A frame that found no room and has nothing in flight goes out when the ring is next cleaned, not after a timeout; the TCP
  clock thread does not exist.
* Short critical sections (socket buffer, NIC, run queue, message port, mbuf zone, event queue, route, callout wheel, page
  queues) are intervals that a later comer waits out, not resources. Sleepers on a lock do not lend their priority.
* An acknowledgment takes no time on the link, and receive ring and message ports never overflow.
* The hash function is a table of random numbers. Of statistics there are payload, segments, and waits of locks.

Threads are pinned, and preempted only where their costs are spent: before and after locks, and after each segment; what a
step changes is seen by the others from its beginning on. Only the exclusive L2 is there.
"""

import random
import time
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass, field

import simpy
from simpy.resources.resource import PriorityRequest, Request

from netstack.engine import SimulationConfig
from netstack.machine.costs import parse_touch

ETHERNET_OVERHEAD_BYTES = 38  # preamble, header, frame check sequence, interframe gap (IEEE 802.3)
ZONE_BATCH, ZONE_LIMIT = 128, 256  # mbufs a core exchanges with the shared zone, and keeps at most
PAGE_LINES = 64  # memory nodes take turns page by page
BUCKETS_PER_LINE = 8
INITIAL_SEGMENTS = 3  # congestion window at the start: 4,380 bytes (RFC 3390)
DELAYED_ACK_SEGMENTS = 2
INBOUND_PRIORITY, PORT_PRIORITY, APPLICATION_PRIORITY = range(3)  # SimPy serves the smallest first

INSTANCES = ("kernel", "core", "thread", "flow", "bucket", "lock", "group", "nic", "tx_slot", "rx_slot", "mbuf")
KERNEL, CORE, THREAD, FLOW, BUCKET, LOCK, GROUP, NIC, TX_SLOT, RX_SLOT, MBUF = range(len(INSTANCES))

Steps = Generator[simpy.Event, object, None]
Footprint = list[tuple[int, int, int, int, bool]]
"""Rows of first line of the structure, lines of an instance, what it exists once for, lines touched, whether written."""


class UnsupportedError(Exception):
    """The configuration asks for something that the SimPy model does not have."""


@dataclass(frozen=True)
class PeerResult:
    """One simulated interval of the peer."""

    goodput_mbps: float
    data_segments: int
    lock_waits_percent: float  # acquisitions that had to wait, over locks of all kinds
    simulated_ms: float
    wall_seconds: float


class Caches:
    """Private L1 and exclusive L2 of every core: a dict a set, least recently used line first, kept coherent by a directory.

    The value of a line is whether its core may write it without asking: it is modified, and nobody else holds it.
    """

    def __init__(self, config: SimulationConfig, lines: int) -> None:
        machine = config.machine
        if machine.l2_policy != "exclusive":
            raise UnsupportedError("the SimPy model has an exclusive L2 only")
        l1_sets = machine.l1.size_bytes // (machine.line_bytes * machine.l1.ways)
        l2_sets = machine.l2.size_bytes // (machine.line_bytes * machine.l2.ways)
        self.l1: list[list[dict[int, bool]]] = [[{} for _ in range(l1_sets)] for _ in range(machine.cores)]
        self.l2: list[list[dict[int, bool]]] = [[{} for _ in range(l2_sets)] for _ in range(machine.cores)]
        self.l1_mask, self.l2_mask, self.l1_ways, self.l2_ways = l1_sets - 1, l2_sets - 1, machine.l1.ways, machine.l2.ways
        self.latency, self.nodes = machine.latency, machine.nodes
        self.node_of = [core * machine.nodes // machine.cores for core in range(machine.cores)]
        self.sharers = [0] * lines  # bit k: core k holds it
        self.owner = bytearray(lines)  # 1 + the core whose copy is newer than memory

    def stall_cycles(self, core: int, footprint: Footprint, instance: list[int]) -> int:
        """Touch all lines of a footprint from `core` and return the stall."""
        stall = 0
        l1, l1_mask = self.l1[core], self.l1_mask
        for structure, stride, per, count, write in footprint:
            first = structure + instance[per] * stride
            for line in range(first, first + count):
                ways = l1[line & l1_mask]
                writable = ways.pop(line, None)
                if writable is None:
                    cycles, writable = self._miss(core, line)
                    stall += cycles
                    if len(ways) == self.l1_ways:
                        self._evict(core, ways)
                if write and not writable:
                    stall += self._own_cycles(core, line)
                    writable = True
                ways[line] = writable
        return stall

    def _miss(self, core: int, line: int) -> tuple[int, bool]:
        """Find a line that is not in the L1; return the stall and whether it is writable."""
        latency = self.latency
        writable = self.l2[core][line & self.l2_mask].pop(line, None)
        if writable is not None:
            return latency.l2_hit_cycles, writable
        node = self.node_of[core]
        owner = self.owner[line] - 1
        self.sharers[line] |= 1 << core
        if owner < 0:
            home = line // PAGE_LINES % self.nodes
            return (latency.memory_local_cycles if home == node else latency.memory_remote_cycles), False
        ways = self.l1[owner][line & self.l1_mask]
        if line not in ways:
            ways = self.l2[owner][line & self.l2_mask]
        ways[line] = False
        near = self.node_of[owner] == node
        return (latency.cache_same_node_cycles if near else latency.cache_other_node_cycles), False

    def _evict(self, core: int, ways: dict[int, bool]) -> None:
        """Move the oldest line of an L1 set to the L2, whose oldest line leaves the core."""
        victim = next(iter(ways))
        writable = ways.pop(victim)
        ways = self.l2[core][victim & self.l2_mask]
        if len(ways) == self.l2_ways:
            gone = next(iter(ways))
            del ways[gone]
            self.sharers[gone] &= ~(1 << core)
            if self.owner[gone] == core + 1:
                self.owner[gone] = 0
        ways[victim] = writable

    def _own_cycles(self, core: int, line: int) -> int:
        """Make `core` the only holder of a line; return the cycles of the upgrade, if one is needed."""
        self.owner[line] = core + 1
        others = self.sharers[line] & ~(1 << core)
        if not others:
            return 0
        self._invalidate(line, others)
        self.sharers[line] = 1 << core
        return self.latency.upgrade_cycles

    def _invalidate(self, line: int, holders: int) -> None:
        for core in range(len(self.l1)):
            if holders >> core & 1:
                ways = self.l1[core][line & self.l1_mask]
                if line not in ways:
                    ways = self.l2[core][line & self.l2_mask]
                del ways[line]

    def dma_write(self, first_line: int, count: int) -> None:
        """A device writes lines to memory: every cached copy is lost."""
        for line in range(first_line, first_line + count):
            if self.sharers[line]:
                self._invalidate(line, self.sharers[line])
                self.sharers[line] = 0
                self.owner[line] = 0


class AdaptiveLock:
    """A mutex: a waiter spins while the owner runs on another core, and sleeps otherwise."""

    def __init__(self, env: simpy.Environment, index: int) -> None:
        self.index = index
        self.resource = simpy.Resource(env)
        self.request: Request | None = None
        self.owner: Thread | None = None
        self.sleepers: list[Thread] = []
        self.spinners: list[simpy.Event] = []
        self.acquisitions = 0
        self.waits = 0

    def stop_spinning(self) -> None:
        """Let the spinners decide again: the owner left its core."""
        for spinner in self.spinners:
            if not spinner.triggered:
                spinner.succeed()


class ShortSection:
    """A short critical section, last occupied from `start` to `end`."""

    __slots__ = ("end", "start")

    def __init__(self) -> None:
        self.start = self.end = -1


class CpuCore:
    """A core: whoever has the resource runs on it."""

    def __init__(self, env: simpy.Environment, index: int) -> None:
        self.index = index
        self.resource = simpy.PriorityResource(env)
        self.running: Thread | None = None
        self.spinning: simpy.Event | None = None
        self.free_mbufs: list[int] = []


@dataclass(slots=True, eq=False)
class Connection:
    """A connection: socket, TCP and the remote end, in bytes since the start."""

    index: int
    nic: "Nic"
    application: "Application"
    rtt_cycles: int
    group: int
    bucket: int
    window_bytes: int
    lock: AdaptiveLock | None = None
    chain: list[int] = field(default_factory=list)  # connections up to this one in its bucket
    written: int = 0
    sent: int = 0
    acked: int = 0
    dropped: int = 0  # whole pages that left the send buffer
    pages: deque[int] = field(default_factory=deque)  # mbufs of the send buffer
    ready: bool = True
    received: int = 0  # by the remote end
    unacked_segments: int = 0
    buffer_section: ShortSection = field(default_factory=ShortSection)


@dataclass(slots=True, eq=False)
class Message:
    """Work on a connection: a page to send (`mbuf`), an acknowledgment that arrived (`ack`), or a retry of output (neither)."""

    connection: Connection
    mbuf: int = -1
    ack: int = -1
    asker: "Application | None" = None
    done: bool = False


@dataclass(slots=True, frozen=True)
class Wakeup:
    """When a thread may run again, and the operation that its core pays for being told."""

    time: int
    operation: str | None = None


class Nic:
    """A network interface with its link: a transmit ring with the queue before it, a receive ring, coalesced interrupts."""

    def __init__(self, server: "Server", index: int) -> None:
        machine = server.config.machine
        self.server, self.env, self.index = server, server.env, index
        self.cycles_per_byte = 8 * machine.clock_mhz / machine.nic.link_mbps
        self.transmit_slots = machine.nic.transmit_ring + machine.nic.interface_queue
        self.receive_slots = machine.nic.receive_ring
        self.interval_cycles = round(machine.nic.interrupt_interval_us * machine.clock_mhz)
        self.link_free = 0.0
        self.sending: deque[tuple[int, int]] = deque()  # departure and mbuf
        self.frames_sent = 0
        self.refused: deque[Connection] = deque()
        self.receiving: deque[tuple[Connection, int]] = deque()
        self.frames_arrived = 0
        self.masked = True  # until the inbound thread sleeps
        self.pending = self.env.event()
        self.inbound: Inbound | None = None
        self.section = ShortSection()

    def transmit(self, now: int, payload_bytes: int, mbuf: int) -> int:
        """Queue a frame at `now`; return when its last bit leaves."""
        wire_bytes = payload_bytes + self.server.header_bytes + ETHERNET_OVERHEAD_BYTES
        self.link_free = max(self.link_free, now) + wire_bytes * self.cycles_per_byte
        departure = round(self.link_free)
        self.sending.append((departure, mbuf))
        self.frames_sent += 1
        return departure

    def deliver(self, connection: Connection, delay: int) -> None:
        """Send an acknowledgment of what the remote end has, to arrive after `delay`."""
        connection.unacked_segments = 0
        arrival = self.env.timeout(delay, (connection, connection.received))
        arrival.callbacks.append(self._arrive)

    def _arrive(self, event: simpy.Event) -> None:
        self.server.dma_write("receive_ring", self.receive_slot(self.frames_arrived))
        self.server.dma_write("receive_buffer", self.receive_slot(self.frames_arrived))
        self.frames_arrived += 1
        self.receiving.append(event.value)  # pyright: ignore[reportArgumentType]
        self._notice()

    def _notice(self) -> None:
        if self.receiving and not self.masked and not self.pending.triggered:
            self.pending.succeed()

    def transmit_slot(self, position: int) -> int:
        """Return the number of the transmit slot that a running position falls on."""
        return self.index * self.transmit_slots + position % self.transmit_slots

    def receive_slot(self, position: int) -> int:
        """Return the number of the receive slot that a running position falls on."""
        return self.index * self.receive_slots + position % self.receive_slots

    def unmask(self) -> None:
        """Allow interrupts again."""
        self.masked = False
        self._notice()

    def run(self) -> Steps:
        """Process: interrupt for frames that arrived, not before the coalescing interval has passed."""
        last = -self.interval_cycles
        while True:
            yield self.pending
            if self.env.now < last + self.interval_cycles:
                yield self.env.timeout(last + self.interval_cycles - self.env.now)
            last = int(self.env.now)
            self.masked = True
            self.pending = self.env.event()
            assert self.inbound is not None
            self.inbound.wake_event.succeed(Wakeup(last, "interrupt"))


class Thread:
    """A thread on its core. Costs gather as `debt` and are spent where other threads could matter."""

    def __init__(self, server: "Server", index: int, core: CpuCore, priority: int) -> None:
        self.server, self.env, self.core, self.priority = server, server.env, core, priority
        self.operations, self.stall_cycles = server.operations, server.caches.stall_cycles
        self.instance = [0] * len(INSTANCES)
        self.instance[CORE], self.instance[THREAD] = core.index, index
        self.index = index
        self.debt = 0
        self.request: PriorityRequest | None = None
        self.running = False
        self.held: list[AdaptiveLock] = []
        self.wake_event = self.env.event()
        self.wake_event.succeed()

    # The core.

    def charge(self, operation: str) -> None:
        """Run an operation: its instructions, and the stalls of its footprint on the current instances."""
        cycles, footprint = self.operations[operation]
        self.debt += cycles + self.stall_cycles(self.core.index, footprint, self.instance)

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

    def spend(self) -> Steps:
        """Let the time of what was charged pass; then give way to a more urgent thread."""
        if self.debt:
            debt, self.debt = self.debt, 0
            yield self.env.timeout(debt)
        if self._must_give_way():
            yield from self._give_way()

    def _must_give_way(self) -> bool:
        queue = self.core.resource.queue
        return bool(queue) and queue[0].priority < self.priority

    def _give_way(self) -> Steps:
        self._leave_core()
        yield from self._take_core()

    def _take_core(self) -> Steps:
        core = self.core
        self.request = core.resource.request(self.priority)
        if core.spinning is not None and not core.spinning.triggered:
            core.spinning.succeed()
        yield self.request
        core.running = self
        self.running = True
        self.charge_in(self.server.run_queue, "context_switch")

    def _leave_core(self) -> None:
        assert self.request is not None
        self.core.running = None
        self.running = False
        self.core.resource.release(self.request)
        for lock in self.held:
            lock.stop_spinning()

    def sleep(self) -> Steps:
        """Leave the core until woken, then pay for how that came. What was charged before has been spent."""
        self._leave_core()
        self.wake_event = self.env.event()
        wakeup: Wakeup = yield self.wake_event  # pyright: ignore[reportAssignmentType]
        if wakeup.time > self.env.now:
            yield self.env.timeout(wakeup.time - self.env.now)
        yield from self._take_core()
        if wakeup.operation is not None:
            self.charge(wakeup.operation)

    def wake(self, other: "Thread") -> None:
        """Wake a thread if it sleeps, by interprocessor interrupt if its core would not look for itself."""
        if other.wake_event.triggered:
            return
        self.charge_in(self.server.run_queue, "wakeup")
        running = other.core.running
        if other.core is not self.core and (running is None or running.priority > other.priority):
            self.charge("ipi_send")
            other.wake_event.succeed(Wakeup(self.now() + self.server.ipi_latency_cycles, "ipi_receive"))
        else:
            other.wake_event.succeed(Wakeup(self.now()))

    # Locks.

    def acquire(self, lock: AdaptiveLock) -> Steps:
        """Take a lock."""
        self.instance[LOCK] = lock.index
        waited = False
        while True:
            self.charge("lock_acquire")
            yield from self.spend()
            request = lock.resource.request()
            while not request.triggered and self._may_spin(lock):
                waited = True
                stop = self.core.spinning = self.env.event()
                lock.spinners.append(stop)
                yield request | stop
                lock.spinners.remove(stop)
                self.core.spinning = None
                if request.triggered:
                    self.charge("lock_acquire")
            if request.triggered:
                break
            waited = True
            request.cancel()
            if self._must_give_way():
                yield from self._give_way()
                continue
            self.charge("lock_block")
            yield from self.spend()
            if lock.owner is not None and not lock.owner.running:
                lock.sleepers.append(self)
                yield from self.sleep()
        lock.owner, lock.request = self, request
        lock.acquisitions += 1
        lock.waits += waited
        self.held.append(lock)

    def _may_spin(self, lock: AdaptiveLock) -> bool:
        return (lock.owner is None or lock.owner.running) and not self._must_give_way()

    def release(self, lock: AdaptiveLock) -> Steps:
        """Release a lock: the first spinner gets it, all sleepers are woken to try again."""
        self.instance[LOCK] = lock.index
        self.charge("lock_release")
        debt, self.debt = self.debt, 0
        yield self.env.timeout(debt)
        assert lock.request is not None
        lock.owner = None
        self.held.remove(lock)
        lock.resource.release(lock.request)
        if lock.sleepers:
            self.charge("lock_unblock")
            sleepers, lock.sleepers = lock.sleepers, []
            for sleeper in sleepers:
                self.wake(sleeper)

    # Mbufs.

    def get_mbuf(self) -> int:
        """Allocate an mbuf from the core's free list, refilled from the shared zone."""
        free, zone = self.core.free_mbufs, self.server.zone
        if not free:
            self.charge_in(self.server.zone_section, "mbuf_zone")
            free.extend(zone[-ZONE_BATCH:])
            del zone[-ZONE_BATCH:]
        mbuf = self.instance[MBUF] = free.pop()
        self.charge("mbuf_alloc")
        return mbuf

    def put_mbuf(self, mbuf: int) -> None:
        """Free an mbuf to the core's free list; a long list gives a batch back to the shared zone."""
        free = self.core.free_mbufs
        self.instance[MBUF] = mbuf
        self.charge("mbuf_free")
        free.append(mbuf)
        if len(free) > ZONE_LIMIT:
            self.charge_in(self.server.zone_section, "mbuf_zone")
            self.server.zone.extend(free[-ZONE_BATCH:])
            del free[-ZONE_BATCH:]

    # The stack.

    def handle(self, message: Message) -> Steps:
        """Find the connection, serialize, run the protocol and its output, and let go."""
        connection, table_lock = message.connection, self.server.table_lock
        lock = connection.lock
        if table_lock is not None and lock is not None:
            yield from self.acquire(table_lock)
            self._look_up(message)
            yield from self.acquire(lock)
            yield from self.release(table_lock)
        else:
            if lock is not None:
                yield from self.acquire(lock)
            self._look_up(message)
        self.instance[FLOW], self.instance[NIC] = connection.index, connection.nic.index
        if message.mbuf >= 0:
            self._append_page(message)
        elif message.ack >= 0:
            self._take_ack(message)
        while self._output(connection):
            yield from self.spend()
        if message.ack >= 0:
            self._tell_writer(connection)
        if lock is not None:
            yield from self.release(lock)
        else:
            yield from self.spend()

    def _look_up(self, message: Message) -> None:
        if message.ack < 0:
            return
        self.instance[BUCKET] = message.connection.bucket // BUCKETS_PER_LINE
        self.charge("lookup")
        for index in message.connection.chain:
            self.instance[FLOW] = index
            self.charge("pcb_visit")

    def _append_page(self, message: Message) -> None:
        self.instance[MBUF] = message.mbuf
        self.charge_in(message.connection.buffer_section, "pru_send")
        message.connection.pages.append(message.mbuf)
        message.connection.written += self.server.page_bytes

    def _take_ack(self, message: Message) -> None:
        connection, server = message.connection, self.server
        self.charge("tcp_input")
        if message.ack <= connection.acked:
            return
        self.charge_in(server.callout, "callout_set")
        connection.acked = message.ack
        connection.window_bytes = min(connection.window_bytes + server.mss_bytes, server.receive_buffer_bytes)
        self.enter(connection.buffer_section)
        while connection.acked - connection.dropped >= server.page_bytes:
            connection.dropped += server.page_bytes
            page = self.instance[MBUF] = connection.pages.popleft()
            self.charge("sb_drop")
            self.charge_in(server.page_queue, "page_unwire")
            self.put_mbuf(page)
        self.leave(connection.buffer_section)

    def _output(self, connection: Connection) -> bool:
        """Send the next segment: a full one, or the last of the buffer with nothing in flight (Nagle)."""
        server, nic = self.server, connection.nic
        in_flight, unsent = connection.sent - connection.acked, connection.written - connection.sent
        length = min(server.mss_bytes, unsent, connection.window_bytes - in_flight)
        if length <= 0 or (length < server.mss_bytes and (length < unsent or in_flight)):
            return False
        mbuf = self.get_mbuf()
        self.charge("tcp_output")
        if not in_flight:
            self.charge_in(server.callout, "callout_set")
        self.charge_in(server.route, "route_lookup")
        self.charge("ip_output")
        self.enter(nic.section)
        if len(nic.sending) >= nic.transmit_slots:
            self._reclaim(nic)
        if len(nic.sending) >= nic.transmit_slots:
            self.leave(nic.section)
            self.put_mbuf(mbuf)
            connection.window_bytes = server.mss_bytes
            if not in_flight:
                nic.refused.append(connection)
            return False
        self.instance[TX_SLOT] = nic.transmit_slot(nic.frames_sent)
        self.charge("driver_transmit")
        departure = nic.transmit(self.now(), length, mbuf)
        self.leave(nic.section)
        connection.sent += length
        server.data_segments += 1
        self._receive_at_peer(connection, length, departure)
        return True

    def _receive_at_peer(self, connection: Connection, length: int, departure: int) -> None:
        """The remote end acknowledges every second segment; a clock of its own takes care of the odd last one."""
        connection.received += length
        connection.unacked_segments += 1
        if connection.unacked_segments == DELAYED_ACK_SEGMENTS:
            connection.nic.deliver(connection, departure + connection.rtt_cycles - int(self.env.now))
        else:
            deadline = departure + self.server.delayed_ack_cycles
            self.server.delayed_acks.append((deadline, connection, connection.received))

    def clean_ring(self, nic: Nic) -> bool:
        """Reclaim what has departed from a transmit ring; return whether there was anything."""
        if not nic.sending or nic.sending[0][0] > self.now():
            return False
        self.instance[NIC] = nic.index
        self.enter(nic.section)
        self._reclaim(nic)
        self.leave(nic.section)
        return True

    def _reclaim(self, nic: Nic) -> None:
        oldest = nic.frames_sent - len(nic.sending)
        now = self.now()
        while nic.sending and nic.sending[0][0] <= now:
            _, mbuf = nic.sending.popleft()
            slot = self.instance[TX_SLOT] = nic.transmit_slot(oldest)
            oldest += 1
            self.server.dma_write("transmit_ring", slot)
            self.instance[MBUF] = mbuf
            self.charge("driver_transmit_done")
            self.put_mbuf(mbuf)

    def _tell_writer(self, connection: Connection) -> None:
        """Put a connection that became writable on its application's event queue."""
        if connection.ready or self.server.space_bytes(connection) < self.server.lowat_bytes:
            return
        application = connection.application
        self.instance[THREAD] = application.index
        self.charge_in(application.section, "so_wakeup")
        self.instance[THREAD] = self.index
        connection.ready = True
        application.ready.append(connection)
        if application.waits_for_events:
            self.wake(application)

    def send_message(self, message: Message) -> None:
        """Queue a message to the owner of its connection's group."""
        owner = self.server.owners[message.connection.group]
        self.instance[GROUP] = message.connection.group
        self.charge_in(owner.section, "message_send")
        owner.port.put(message)
        self.wake(owner)


class Application(Thread):
    """An event-driven application thread: keeps the send buffers of its connections full."""

    def __init__(self, server: "Server", index: int, core: CpuCore) -> None:
        super().__init__(server, index, core, APPLICATION_PRIORITY)
        self.ready: deque[Connection] = deque()
        self.waits_for_events = False
        self.section = ShortSection()

    def start(self, event: simpy.Event) -> None:
        """Begin a connection's transfer: it is writable."""
        self.ready.append(event.value)  # pyright: ignore[reportArgumentType]
        if self.waits_for_events and not self.wake_event.triggered:
            self.wake_event.succeed(Wakeup(int(self.env.now), "interrupt"))

    def run(self) -> Steps:
        """Process: visit writable connections in turn."""
        yield from self._take_core()
        while True:
            if self.ready:
                yield from self._write(self.ready.popleft())
                continue
            self.charge("app_wait")
            yield from self.spend()
            if not self.ready:
                self.waits_for_events = True
                yield from self.sleep()
                self.waits_for_events = False

    def _write(self, connection: Connection) -> Steps:
        server = self.server
        self.instance[FLOW] = connection.index
        self.charge("app_event")
        self.charge("write_call")
        for _ in range(server.pages_per_write):
            if server.space_bytes(connection) < server.page_bytes:
                break
            message = Message(connection, mbuf=self.get_mbuf())
            self.charge("sosend_unit")
            self.charge_in(server.page_queue, "page_wire")
            if server.owners:
                yield from self._ask(message)
            else:
                yield from self.handle(message)
            self.instance[FLOW] = connection.index
        if server.space_bytes(connection) >= server.lowat_bytes:
            self.ready.append(connection)
        else:
            connection.ready = False

    def _ask(self, message: Message) -> Steps:
        """Send a request to the connection's owner and sleep until it is answered."""
        message.asker = self
        self.send_message(message)
        yield from self.spend()
        while not message.done:
            yield from self.sleep()


class Inbound(Thread):
    """The inbound thread of a NIC: takes acknowledgments up to IP and on, and cleans the transmit ring."""

    def __init__(self, server: "Server", index: int, core: CpuCore, nic: Nic) -> None:
        super().__init__(server, index, core, INBOUND_PRIORITY)
        self.nic = nic

    def run(self) -> Steps:
        """Process: work until the receive ring is empty and the transmit ring clean, then sleep until an interrupt."""
        nic = self.nic
        yield from self._take_core()
        while True:
            if nic.receiving:
                connection, ack = nic.receiving.popleft()
                self.instance[NIC] = nic.index
                self.instance[RX_SLOT] = nic.receive_slot(nic.frames_arrived - len(nic.receiving) - 1)
                self.charge("driver_receive")
                self.charge("ip_input")
                yield from self._pass_on(Message(connection, ack=ack))
            elif self.clean_ring(nic):
                for _ in range(len(nic.refused)):
                    yield from self._pass_on(Message(nic.refused.popleft()))
            elif self.debt:
                yield from self.spend()
            else:
                nic.unmask()
                yield from self.sleep()

    def _pass_on(self, message: Message) -> Steps:
        if self.server.owners:
            self.send_message(message)
            yield from self.spend()
        else:
            yield from self.handle(message)


class Owner(Thread):
    """A protocol thread that owns the connections of a group: everyone else sends it messages."""

    def __init__(self, server: "Server", index: int, core: CpuCore, group: int) -> None:
        super().__init__(server, index, core, PORT_PRIORITY)
        self.group = group
        self.port = simpy.Store(self.env)
        self.section = ShortSection()

    def run(self) -> Steps:
        """Process: handle messages in order, and answer those that are waited for."""
        yield from self._take_core()
        while True:
            if not self.port.items:
                yield from self.spend()
                if not self.port.items:
                    yield from self.sleep()
                continue
            message: Message = yield self.port.get()  # pyright: ignore[reportAssignmentType]
            self.instance[GROUP] = self.group
            self.charge_in(self.section, "message_receive")
            yield from self.handle(message)
            message.done = True
            if message.asker is not None:
                self.wake(message.asker)


class Server:
    """The whole simulation: machine, threads, connections and the remote ends."""

    def __init__(self, config: SimulationConfig) -> None:
        config.validate()
        machine, org, workload = config.machine, config.org, config.workload
        if org.dispatch != "nic_thread" or org.placement != "pinned" or org.batch != 1:
            raise UnsupportedError("the SimPy model has dispatch=nic_thread, placement=pinned and batch=1 only")
        self.config = config
        self.env = simpy.Environment()
        self.mss_bytes, self.header_bytes = workload.mss_bytes, workload.mtu_bytes - workload.mss_bytes
        self.page_bytes, self.pages_per_write = workload.send_unit_bytes, workload.write_bytes // workload.send_unit_bytes
        pages = max(1, min(workload.send_buffer_bytes // self.page_bytes, workload.mbufs // config.conns))
        self.send_buffer_bytes = pages * self.page_bytes
        self.receive_buffer_bytes = workload.receive_buffer_bytes
        self.lowat_bytes = min(workload.lowat_bytes, self.send_buffer_bytes)
        self.ipi_latency_cycles = round(machine.ipi_latency_us * machine.clock_mhz)
        self.delayed_ack_cycles = workload.delayed_ack_us * machine.clock_mhz
        self.data_segments = 0
        self.delayed_acks: deque[tuple[int, Connection, int]] = deque()
        cores = org.cores or machine.cores
        applications, nics = workload.threads_per_core * cores, machine.nic.count
        owners = org.groups if org.serialize == "group_thread" else 0
        locks = {"group_lock": org.groups, "connection_lock": config.conns}.get(org.serialize, 0)
        transmit_slots = machine.nic.transmit_ring + machine.nic.interface_queue
        mbufs = config.conns * pages + nics * transmit_slots + cores * (ZONE_LIMIT + 2 * ZONE_BATCH) + applications
        self.buckets_per_group = max(BUCKETS_PER_LINE, config.costs.hash_buckets // org.groups)
        instances = {
            "kernel": 1,
            "core": machine.cores,
            "thread": applications + nics + owners,
            "flow": config.conns,
            "bucket": org.groups * self.buckets_per_group // BUCKETS_PER_LINE + 1,
            "lock": 1 + locks,
            "group": org.groups,
            "nic": nics,
            "tx_slot": nics * transmit_slots,
            "rx_slot": nics * machine.nic.receive_ring,
            "mbuf": mbufs,
        }
        self._lay_out(instances)
        self.zone = list(range(mbufs))[::-1]
        self.zone_section, self.run_queue, self.route, self.callout, self.page_queue = (ShortSection() for _ in range(5))
        self.table_lock = AdaptiveLock(self.env, 0) if org.lookup == "global_lock" else None
        self.locks = [AdaptiveLock(self.env, 1 + index) for index in range(locks)]
        self._create_threads(cores, applications, owners)
        self._open_connections()

    def _lay_out(self, instances: dict[str, int]) -> None:
        """Put every structure's instances on consecutive lines and turn footprints into rows."""
        costs = self.config.costs
        first_line: dict[str, int] = {}
        lines = 0
        for name, structure in costs.structures.items():
            first_line[name] = lines
            lines += structure.lines * instances[structure.per]
        self.first_line = first_line
        atomic_cycles = 0 if self.config.org.serialize == "none" else self.config.machine.latency.atomic_cycles
        self.operations: dict[str, tuple[int, Footprint]] = {}
        for name, operation in costs.operations.items():
            footprint: Footprint = []
            for text in operation.touches:
                touch = parse_touch(text, name, costs.structures)
                structure = costs.structures[touch.structure]
                first = first_line[touch.structure] + touch.first_line
                footprint.append((first, structure.lines, INSTANCES.index(structure.per), touch.count, touch.write))
            self.operations[name] = (operation.cycles + operation.atomics * atomic_cycles, footprint)
        visit = [(first_line["inpcb"], costs.structures["inpcb"].lines, FLOW, 1, False)]
        self.operations["pcb_visit"] = (0, visit)
        self.caches = Caches(self.config, lines)

    def _create_threads(self, cores: int, applications: int, owners: int) -> None:
        self.cores = [CpuCore(self.env, index) for index in range(cores)]
        self.nics = [Nic(self, index) for index in range(self.config.machine.nic.count)]
        self.applications = [Application(self, index, self.cores[index % cores]) for index in range(applications)]
        threads: list[Thread] = list(self.applications)
        for nic in self.nics:
            nic.inbound = Inbound(self, len(threads), self.cores[nic.index % cores], nic)
            threads.append(nic.inbound)
        self.owners = [Owner(self, len(threads) + group, self.cores[group % cores], group) for group in range(owners)]
        for process in [*threads, *self.owners, *self.nics]:
            self.env.process(process.run())  # pyright: ignore[reportAttributeAccessIssue]
        self.env.process(self._acknowledge_late())

    def _open_connections(self) -> None:
        """Draw distances, start times, groups and buckets from the seed."""
        config, workload = self.config, self.config.workload
        draw = random.Random(config.seed)
        chains: dict[int, list[int]] = {}
        self.connections: list[Connection] = []
        for index in range(config.conns):
            rtt_us = draw.uniform(workload.rtt_min_us, workload.rtt_max_us)
            start_us = draw.uniform(0, workload.start_spread_us)
            group = draw.randrange(config.org.groups)
            bucket = group * self.buckets_per_group + draw.randrange(self.buckets_per_group)
            connection = Connection(
                index=index,
                nic=self.nics[index % len(self.nics)],
                application=self.applications[(index + index // len(self.nics)) % len(self.applications)],
                rtt_cycles=round(rtt_us * config.machine.clock_mhz),
                group=group,
                bucket=bucket,
                window_bytes=INITIAL_SEGMENTS * self.mss_bytes,
            )
            if self.locks:
                connection.lock = self.locks[group if config.org.serialize == "group_lock" else index]
            chain = chains.setdefault(bucket, [])
            chain.append(index)
            connection.chain = chain[:]
            self.connections.append(connection)
            started = self.env.timeout(round(start_us * config.machine.clock_mhz), connection)
            started.callbacks.append(connection.application.start)

    def dma_write(self, structure: str, instance: int) -> None:
        """A NIC writes an instance of a structure to memory."""
        lines = self.config.costs.structures[structure].lines
        self.caches.dma_write(self.first_line[structure] + instance * lines, lines)

    def space_bytes(self, connection: Connection) -> int:
        """Return how much fits in the connection's send buffer."""
        return self.send_buffer_bytes - (connection.written - connection.acked)

    def _acknowledge_late(self) -> Steps:
        """Process: acknowledge odd segments that no second one followed, once a millisecond."""
        tick = 1000 * self.config.machine.clock_mhz
        while True:
            yield self.env.timeout(tick)
            while self.delayed_acks and self.delayed_acks[0][0] <= self.env.now:
                _, connection, received = self.delayed_acks.popleft()
                if connection.unacked_segments and connection.received == received:
                    connection.nic.deliver(connection, connection.rtt_cycles // 2)

    def run(self, interval_ms: float) -> PeerResult:
        """Simulate a further interval and return what happened in it."""
        before = self._counters()
        until = self.env.now + round(interval_ms * 1000 * self.config.machine.clock_mhz)
        started = time.perf_counter()
        self.env.run(until)
        wall_seconds = time.perf_counter() - started
        acked_bytes, data_segments, acquisitions, waits = (now - then for now, then in zip(self._counters(), before, strict=True))
        return PeerResult(
            goodput_mbps=acked_bytes * 8 / 1000 / interval_ms,
            data_segments=data_segments,
            lock_waits_percent=100 * waits / max(acquisitions, 1),
            simulated_ms=interval_ms,
            wall_seconds=wall_seconds,
        )

    def _counters(self) -> tuple[int, int, int, int]:
        """Return bytes acknowledged, data segments sent, locks acquired, and how many of those had to wait."""
        locks = [self.table_lock, *self.locks] if self.table_lock is not None else self.locks
        acked_bytes = sum(connection.acked for connection in self.connections)
        return acked_bytes, self.data_segments, sum(lock.acquisitions for lock in locks), sum(lock.waits for lock in locks)
