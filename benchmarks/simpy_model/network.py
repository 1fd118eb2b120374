"""Connections of the SimPy model in bytes, and the network interfaces that carry them to their remote ends."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import simpy

from benchmarks.simpy_model.scheduling import AdaptiveLock, Machine, ShortSection, Steps
from netstack.sim import SimulationConfig
from netstack.sim.machine.nic import ETHERNET_OVERHEAD_BYTES

DELAYED_ACK_SEGMENTS = 2


@dataclass(slots=True, eq=False)
class Connection:
    """A connection: socket, TCP and the remote end, in bytes since the start."""

    index: int
    nic: "Nic"
    application: int
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
    peer_window_bytes: int = 0  # that the remote end announced last
    received: int = 0  # by the remote end
    unread: int = 0  # by the application of the remote end
    read_at: int = 0  # when it reads that
    announced: int = 0  # the end of the window
    unacked_segments: int = 0
    buffer_section: ShortSection = field(default_factory=ShortSection)


class Nic:
    """A network interface with its link: a transmit ring with the queue before it, a receive ring, coalesced interrupts."""

    def __init__(self, machine: Machine, config: SimulationConfig, index: int) -> None:
        nic = config.machine.nic
        self.machine, self.env, self.index = machine, machine.env, index
        self.header_bytes = config.workload.mtu_bytes - config.workload.mss_bytes + ETHERNET_OVERHEAD_BYTES
        self.cycles_per_byte = 8 * config.machine.clock_mhz / nic.link_mbps
        self.transmit_slots, self.receive_slots = nic.transmit_ring + nic.interface_queue, nic.receive_ring
        self.transmit_descriptors = nic.transmit_ring
        self.interval_cycles = round(nic.interrupt_interval_us * config.machine.clock_mhz)
        self.link_free = 0.0
        self.sending: deque[tuple[int, int]] = deque()  # departure and mbuf
        self.frames_sent = 0
        self.refused: deque[Connection] = deque()
        self.receiving: deque[tuple[Connection, int, int]] = deque()  # acknowledgments: connection, bytes, window
        self.frames_arrived = 0
        self.masked = False  # while the inbound thread is awake
        self.pending = self.env.event()
        self.section = ShortSection()

    def transmit(self, now: int, payload_bytes: int, mbuf: int) -> int:
        """Queue a frame at `now`; return when its last bit leaves."""
        self.link_free = max(self.link_free, now) + (payload_bytes + self.header_bytes) * self.cycles_per_byte
        departure = round(self.link_free)
        self.sending.append((departure, mbuf))
        self.frames_sent += 1
        return departure

    def deliver(self, connection: Connection, delay: int) -> None:
        """Send an acknowledgment of what the remote end has, to arrive after `delay`."""
        connection.unacked_segments = 0
        arrival = self.env.timeout(delay, (connection, connection.received, connection.announced - connection.received))
        arrival.callbacks.append(self._arrive)

    def _arrive(self, event: simpy.Event) -> None:
        self.machine.dma_write("receive_ring", self.receive_slot(self.frames_arrived))
        self.machine.dma_write("receive_buffer", self.receive_slot(self.frames_arrived))
        self.frames_arrived += 1
        self.receiving.append(event.value)  # pyright: ignore[reportArgumentType]
        self._notice()

    def _notice(self) -> None:
        if self.receiving and not self.masked and not self.pending.triggered:
            self.pending.succeed()

    def transmit_descriptor(self, position: int) -> int:
        """Return the number of the ring's descriptor that a running position falls on."""
        return self.index * self.transmit_descriptors + position % self.transmit_descriptors

    def receive_slot(self, position: int) -> int:
        """Return the number of the receive slot that a running position falls on."""
        return self.index * self.receive_slots + position % self.receive_slots

    def unmask(self) -> None:
        """Allow interrupts again."""
        self.masked = False
        self._notice()

    def run(self, interrupt: Callable[[], None]) -> Steps:
        """Process: interrupt for frames that arrived, not before the coalescing interval has passed."""
        last = -self.interval_cycles
        while True:
            yield self.pending
            if self.env.now < last + self.interval_cycles:
                yield self.env.timeout(last + self.interval_cycles - self.env.now)
            last = int(self.env.now)
            self.masked = True
            self.pending = self.env.event()
            interrupt()


class RemoteEnds:
    """The remote ends of all connections: every second segment is acknowledged at once, an odd last one later."""

    def __init__(self, env: simpy.Environment, config: SimulationConfig) -> None:
        self.env = env
        self.tick_cycles = 1000 * config.machine.clock_mhz
        self.delay_cycles = config.workload.delayed_ack_us * config.machine.clock_mhz
        self.read_cycles = round(config.workload.read_delay_us * config.machine.clock_mhz)
        self.buffer_bytes, self.mss_bytes = config.workload.receive_buffer_bytes, config.workload.mss_bytes
        self.delayed: deque[tuple[int, Connection, int]] = deque()  # deadline, and what had been received

    def receive(self, connection: Connection, length: int, departure: int) -> None:
        """Take a segment whose last bit leaves the server at `departure`."""
        connection.received += length
        connection.unacked_segments += 1
        self._read_later(connection, length, departure)
        if connection.unacked_segments == DELAYED_ACK_SEGMENTS:
            connection.nic.deliver(connection, departure + connection.rtt_cycles - int(self.env.now))
        else:
            self.delayed.append((departure + self.delay_cycles, connection, connection.received))

    def _read_later(self, connection: Connection, length: int, now: int) -> None:
        """Announce what is left of the receive buffer. A window grows by a segment at least."""
        if self.read_cycles:
            if now >= connection.read_at:
                connection.unread = 0
            if not connection.unread:
                connection.read_at = now + self.read_cycles
            connection.unread += length
        end = connection.received + self.buffer_bytes - connection.unread
        if end >= connection.announced + self.mss_bytes:
            connection.announced = end

    def run(self) -> Steps:
        """Process: acknowledge odd segments that no second one followed, once a millisecond."""
        while True:
            yield self.env.timeout(self.tick_cycles)
            while self.delayed and self.delayed[0][0] <= self.env.now:
                _, connection, received = self.delayed.popleft()
                if connection.unacked_segments and connection.received == received:
                    connection.nic.deliver(connection, connection.rtt_cycles // 2)
