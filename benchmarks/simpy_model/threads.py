"""The server's threads in the SimPy model: applications, inbound threads, owners of connections, and the stack they run."""

from collections import deque
from dataclasses import dataclass

import simpy

from benchmarks.simpy_model.network import Connection, Nic, RemoteEnds
from benchmarks.simpy_model.scheduling import (
    APPLICATION_PRIORITY,
    INBOUND_PRIORITY,
    PORT_PRIORITY,
    AdaptiveLock,
    CpuCore,
    KernelSection,
    Machine,
    ShortSection,
    Steps,
    Thread,
)
from netstack.sim import SimulationConfig
from netstack.sim.build.sizes import Sizes
from netstack.sim.kernel.mbufs import ZONE_BATCH, ZONE_LIMIT
from netstack.sim.machine.numbers import Instance
from netstack.sim.stack.numbers import Callout
from netstack.sim.stack.timer_wheel import TICK_US

BUCKETS_PER_LINE = 8


@dataclass(slots=True, eq=False)
class Message:
    """Work on a connection: a page to send (`mbuf`), an acknowledgment that arrived (`ack`), or a retry of output (neither)."""

    connection: Connection
    mbuf: int = -1
    ack: int = -1
    window: int = 0
    asker: "Application | None" = None


class CalloutList:
    """The timers of one kind, by the tick in which they were set: neighbours are in one list of the callout wheel."""

    def __init__(self) -> None:
        self.lists: dict[int, list[int]] = {}
        self.tick_of: dict[int, int] = {}

    def remove(self, connection: int) -> list[int]:
        """Take a timer off its list; return the connections whose timers are its neighbours."""
        tick = self.tick_of.pop(connection, -1)
        if tick < 0:
            return []
        members = self.lists[tick]
        place = members.index(connection)
        neighbours = [*members[max(0, place - 1) : place], *members[place + 1 : place + 2]]
        members.pop(place)
        if not members:
            del self.lists[tick]
        return neighbours

    def append(self, connection: int, tick: int) -> list[int]:
        """Put a timer at the end of a list; return the connection whose timer is before it, if there is one."""
        members = self.lists.setdefault(tick, [])
        neighbours = members[-1:]
        members.append(connection)
        self.tick_of[connection] = tick
        return neighbours


class Stack:
    """What all threads share: sizes, kernel-wide critical sections, free mbufs, and who is there."""

    def __init__(self, config: SimulationConfig, machine: Machine, sizes: Sizes, remote_ends: RemoteEnds) -> None:
        workload = config.workload
        self.machine, self.remote_ends = machine, remote_ends
        self.bound = config.org.placement == "pinned"
        self.mss_bytes, self.page_bytes = workload.mss_bytes, workload.send_unit_bytes
        self.pages_per_write = workload.write_bytes // workload.send_unit_bytes
        self.send_buffer_bytes = sizes.send_buffer_bytes
        self.receive_buffer_bytes = workload.receive_buffer_bytes
        self.events_per_call = workload.events_per_call
        self.tick_cycles = TICK_US * config.machine.clock_mhz
        self.callouts = {callout: CalloutList() for callout in Callout}
        self.lowat_bytes = min(workload.lowat_bytes, self.send_buffer_bytes)
        self.zone = list(range(sizes.mbufs))[::-1]
        self.zone_section, self.route, self.callout, self.page_queue = (KernelSection() for _ in range(4))
        self.table_lock: AdaptiveLock | None = None
        self.applications: list[Application] = []
        self.owners: list[Owner] = []  # by group; without any, who has a message handles it
        self.data_segments = 0

    def space_bytes(self, connection: Connection) -> int:
        """Return how much fits in the connection's send buffer."""
        return self.send_buffer_bytes - (connection.written - connection.acked)


class StackThread(Thread):
    """A thread that works in the stack."""

    def __init__(self, stack: Stack, index: int, core: CpuCore, priority: int, bound: bool) -> None:
        super().__init__(stack.machine, index, core, priority, bound)
        self.stack = stack

    # Mbufs.

    def get_mbuf(self) -> int:
        """Allocate an mbuf from the core's free list, refilled from the shared zone."""
        free, zone = self.core.free_mbufs, self.stack.zone
        if not free:
            self.charge_shared(self.stack.zone_section, "mbuf_zone")
            free.extend(zone[-ZONE_BATCH:])
            del zone[-ZONE_BATCH:]
        mbuf = self.instance[Instance.MBUF] = free.pop()
        self.charge("mbuf_alloc")
        return mbuf

    def put_mbuf(self, mbuf: int) -> None:
        """Free an mbuf to the core's free list; a long list gives a batch back to the shared zone."""
        free = self.core.free_mbufs
        self.instance[Instance.MBUF] = mbuf
        self.charge("mbuf_free")
        free.append(mbuf)
        if len(free) > ZONE_LIMIT:
            self.charge_shared(self.stack.zone_section, "mbuf_zone")
            self.stack.zone.extend(free[-ZONE_BATCH:])
            del free[-ZONE_BATCH:]

    # A message's way through the stack.

    def handle(self, message: Message) -> Steps:
        """Find the connection, serialize, run the protocol and its output, and let go."""
        connection, table_lock = message.connection, self.stack.table_lock
        lock = connection.lock
        if table_lock is not None and lock is not None:
            yield from self.acquire(table_lock)
            self._look_up(message)
            yield from self.acquire(lock)
            self._admit(message)
            if message.ack >= 0 and not self._is_predicted(message):
                self._take_ack(message)
                message.ack = -1
            yield from self.release(table_lock)
        else:
            if lock is not None:
                yield from self.acquire(lock)
            self._look_up(message)
            self._admit(message)
        if message.ack >= 0:
            self._take_ack(message)
        while self._output(connection):
            yield from self.spend()
        if lock is not None:
            yield from self.release(lock)

    def _look_up(self, message: Message) -> None:
        if message.ack < 0:
            return
        self.instance[Instance.BUCKET] = message.connection.bucket // BUCKETS_PER_LINE
        self.charge("lookup")
        for index in message.connection.chain:
            self.instance[Instance.FLOW] = index
            self.charge("pcb_visit")

    def _admit(self, message: Message) -> None:
        """Do what is done under the table's lock, if there is one: append the page, or predict the segment's header."""
        connection = message.connection
        self.instance[Instance.FLOW], self.instance[Instance.NIC] = connection.index, connection.nic.index
        if message.mbuf >= 0:
            self._append_page(message)
        elif message.ack >= 0:
            self.charge("tcp_predict")
            self._set_callout(connection, Callout.KEEP_ALIVE)

    def _is_predicted(self, message: Message) -> bool:
        """Return whether header prediction takes an acknowledgment, so that it needs the table's lock no more."""
        connection = message.connection
        is_usual = message.window == connection.peer_window_bytes <= connection.window_bytes
        return is_usual and message.ack > connection.acked

    def _set_callout(self, connection: Connection, callout: Callout, stop: bool = False) -> None:
        """Move a timer to the end of the list of its new time, or take it off its list; its neighbours are written."""
        begin = self.now()
        self.charge("callout_set")
        callouts = self.stack.callouts[callout]
        self._link(callouts.remove(connection.index))
        if not stop:
            self._link(callouts.append(connection.index, self.now() // self.stack.tick_cycles))
        self.debt += self.stack.callout.hold_cycles(begin, self.now() - begin)

    def _link(self, neighbours: list[int]) -> None:
        flow = self.instance[Instance.FLOW]
        for neighbour in neighbours:
            self.instance[Instance.FLOW] = neighbour
            self.charge("callout_link")
        self.instance[Instance.FLOW] = flow

    def _append_page(self, message: Message) -> None:
        self.instance[Instance.MBUF] = message.mbuf
        self.charge_in(message.connection.buffer_section, "pru_send")
        message.connection.pages.append(message.mbuf)
        message.connection.written += self.stack.page_bytes

    def _take_ack(self, message: Message) -> None:
        connection, stack = message.connection, self.stack
        self.charge("tcp_input")
        connection.peer_window_bytes = message.window
        if message.ack <= connection.acked:
            return
        connection.acked = message.ack
        self._set_callout(connection, Callout.RETRANSMISSION, stop=connection.acked == connection.sent)
        connection.window_bytes = min(connection.window_bytes + stack.mss_bytes, stack.receive_buffer_bytes)
        self.enter(connection.buffer_section)
        while connection.acked - connection.dropped >= stack.page_bytes:
            connection.dropped += stack.page_bytes
            page = self.instance[Instance.MBUF] = connection.pages.popleft()
            self.charge("sb_drop")
            self.charge_shared(stack.page_queue, "page_unwire")
            self.put_mbuf(page)
        self.leave(connection.buffer_section)
        self._tell_writer(connection)

    def _output(self, connection: Connection) -> bool:
        """Send the next segment: a full one, or the last of the buffer with nothing in flight (Nagle)."""
        stack, nic = self.stack, connection.nic
        in_flight, unsent = connection.sent - connection.acked, connection.written - connection.sent
        window = min(connection.window_bytes, connection.peer_window_bytes)
        length = min(stack.mss_bytes, unsent, window - in_flight)
        if length <= 0 or (length < stack.mss_bytes and (length < unsent or in_flight)):
            return False
        mbuf = self.get_mbuf()
        self.charge("tcp_output")
        if not in_flight:
            self._set_callout(connection, Callout.RETRANSMISSION)
        self.charge_shared(stack.route, "route_lookup")
        self.charge("ip_output")
        self.enter(nic.section)
        if len(nic.sending) >= nic.transmit_slots:
            self._reclaim(nic)
        if len(nic.sending) >= nic.transmit_slots:
            self.leave(nic.section)
            self.put_mbuf(mbuf)
            connection.window_bytes = stack.mss_bytes
            if not in_flight:
                nic.refused.append(connection)
            return False
        self.instance[Instance.TX_SLOT] = nic.transmit_descriptor(nic.frames_sent)
        self.charge("driver_transmit")
        departure = nic.transmit(self.now(), length, mbuf)
        self.leave(nic.section)
        connection.sent += length
        stack.data_segments += 1
        stack.remote_ends.receive(connection, length, departure)
        return True

    def clean_ring(self, nic: Nic) -> bool:
        """Reclaim what has departed from a transmit ring; return whether there was anything."""
        if not nic.sending or nic.sending[0][0] > self.now():
            return False
        self.instance[Instance.NIC] = nic.index
        self.enter(nic.section)
        self._reclaim(nic)
        self.leave(nic.section)
        return True

    def _reclaim(self, nic: Nic) -> None:
        oldest = nic.frames_sent - len(nic.sending)
        now = self.now()
        while nic.sending and nic.sending[0][0] <= now:
            _, mbuf = nic.sending.popleft()
            slot = self.instance[Instance.TX_SLOT] = nic.transmit_descriptor(oldest)
            oldest += 1
            self.machine.dma_write("transmit_ring", slot)
            self.instance[Instance.MBUF] = mbuf
            self.charge("driver_transmit_done")
            self.put_mbuf(mbuf)

    def _tell_writer(self, connection: Connection) -> None:
        """Test whether a connection became writable, and put it on its application's event queue if so."""
        application = self.stack.applications[connection.application]
        becomes_ready = not connection.ready and self.stack.space_bytes(connection) >= self.stack.lowat_bytes
        self.instance[Instance.THREAD] = application.index
        self.charge_in(application.section, "so_notify")
        if becomes_ready:
            self.charge_in(application.section, "so_wakeup")
        self.instance[Instance.THREAD] = self.index
        if not becomes_ready:
            return
        connection.ready = True
        application.ready.append(connection)
        if application.waits_for_events:
            self.wake(application)

    def send_message(self, message: Message) -> None:
        """Queue a message to the owner of its connection's group."""
        owner = self.stack.owners[message.connection.group]
        self.instance[Instance.GROUP] = message.connection.group
        self.charge_in(owner.section, "message_send")
        owner.port.append(message)
        self.wake(owner)


class Application(StackThread):
    """An event-driven application thread: keeps the send buffers of its connections full."""

    def __init__(self, stack: Stack, index: int, core: CpuCore) -> None:
        super().__init__(stack, index, core, APPLICATION_PRIORITY, stack.bound)
        self.ready: deque[Connection] = deque()
        self.waits_for_events = True
        self.section = ShortSection()

    def start(self, event: simpy.Event) -> None:
        """Begin a connection's transfer: it is writable."""
        self.ready.append(event.value)  # pyright: ignore[reportArgumentType]
        if self.waits_for_events and self.asleep:
            self.machine.interrupt(self, self.core)

    def run(self) -> Steps:
        """Process: visit writable connections in turn."""
        yield from self.wait_for_core()
        while True:
            yield from self.spend()
            self.charge("app_wait")
            events = min(len(self.ready), self.stack.events_per_call)
            for _ in range(events):
                yield from self._write(self.ready.popleft())
                yield from self.spend()
            if not events:
                self.waits_for_events = True
                yield from self.sleep()
                self.waits_for_events = False

    def _write(self, connection: Connection) -> Steps:
        stack = self.stack
        self.instance[Instance.FLOW] = connection.index
        self.charge("app_event")
        self.charge("write_call")
        for _ in range(stack.pages_per_write):
            if stack.space_bytes(connection) < stack.page_bytes:
                break
            message = Message(connection, mbuf=self.get_mbuf())
            self.charge("sosend_unit")
            self.charge_shared(stack.page_queue, "page_wire")
            if stack.owners:
                message.asker = self
                self.send_message(message)
                yield from self.sleep()
            else:
                yield from self.handle(message)
            self.instance[Instance.FLOW] = connection.index
        if stack.space_bytes(connection) >= stack.lowat_bytes:
            self.ready.append(connection)
        else:
            connection.ready = False


class Inbound(StackThread):
    """The inbound thread of a NIC: takes acknowledgments up to IP and on, and cleans the transmit ring."""

    def __init__(self, stack: Stack, index: int, core: CpuCore, nic: Nic, nic_core: CpuCore) -> None:
        super().__init__(stack, index, core, INBOUND_PRIORITY, stack.bound)
        self.nic, self.nic_core = nic, nic_core

    def interrupt(self) -> None:
        """The NIC has something."""
        self.machine.interrupt(self, self.nic_core)

    def run(self) -> Steps:
        """Process: work until the receive ring is empty and the transmit ring clean, then sleep until an interrupt."""
        nic = self.nic
        yield from self.wait_for_core()
        while True:
            yield from self.spend()
            if nic.receiving:
                connection, ack, window = nic.receiving.popleft()
                self.instance[Instance.NIC] = nic.index
                self.instance[Instance.RX_SLOT] = nic.receive_slot(nic.frames_arrived - len(nic.receiving) - 1)
                self.charge("driver_receive")
                self.charge("ip_input")
                yield from self._pass_on(Message(connection, ack=ack, window=window))
            elif self.clean_ring(nic):
                for _ in range(len(nic.refused)):
                    yield from self._pass_on(Message(nic.refused.popleft()))
            else:
                nic.unmask()
                yield from self.sleep()

    def _pass_on(self, message: Message) -> Steps:
        if self.stack.owners:
            self.send_message(message)
        else:
            yield from self.handle(message)


class Owner(StackThread):
    """A protocol thread that owns the connections of a group: everyone else sends it messages."""

    def __init__(self, stack: Stack, index: int, core: CpuCore, group: int) -> None:
        super().__init__(stack, index, core, PORT_PRIORITY, bound=True)
        self.group = group
        self.port: deque[Message] = deque()
        self.section = ShortSection()

    def run(self) -> Steps:
        """Process: handle messages in order, and answer those that are waited for."""
        yield from self.wait_for_core()
        while True:
            yield from self.spend()
            if not self.port:
                yield from self.sleep()
                continue
            message = self.port.popleft()
            self.instance[Instance.GROUP] = self.group
            self.charge_in(self.section, "message_receive")
            yield from self.handle(message)
            if message.asker is not None:
                self.wake(message.asker)
