"""The event loop between a device, impairments, an endpoint and applications: the only code that waits or reads a clock.

Each turn reads what is there, lets every application look at its sockets once, and writes what the endpoint has to send.
"""

import os
import selectors
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from netstack.wire.errors import one_line
from netstack.wire.impairment import Impairment
from netstack.wire.interface import EndpointLike
from netstack.wire.pcap import PcapWriter

PACKETS_PER_TURN = 64
"""More would not make a packet cheaper, but keep the peer waiting for acknowledgments, and fill the queues of listeners."""

STALL_US = 1_000_000
"""A turn that takes longer, or a wait that ends so much too late, is time in which the process stood still: it compiled, or was
stopped. Nobody could be heard meanwhile, and deadlines of peers do not come nearer."""


class Application(Protocol):
    """Something that uses sockets."""

    def step(self, now_us: int) -> None:
        """Do all that can be done now."""
        ...

    def next_deadline_us(self) -> int | None:
        """Return when `step` must be called though no packet arrives."""
        ...

    def abort(self, now_us: int) -> None:
        """Abort all connections: the process ends."""
        ...


class Device(Protocol):
    """Where packets come from and go to. Methods never wait."""

    def fileno(self) -> int: ...

    def read(self, limit: int) -> list[bytes]: ...

    def write(self, packets: deque[bytes]) -> bool: ...


def monotonic_us() -> int:
    return time.monotonic_ns() // 1000


class EventLoop:
    """Drives one endpoint on one device.

    Attributes:
        applications: Are called in this order; may be changed between turns.
        received, sent: Packets of the endpoint.
        faults: Packets and timers that the endpoint failed at. They are lost, and all else goes on.
    """

    def __init__(
        self,
        device: Device,
        endpoint: EndpointLike,
        applications: Sequence[Application] = (),
        *,
        inbound: Impairment | None = None,
        outbound: Impairment | None = None,
        capture: PcapWriter | None = None,
        clock: Callable[[], int] = monotonic_us,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Connect the parts.

        `inbound` is the path to the endpoint; `capture` gets what the endpoint receives and sends; `log` a line for each fault.
        """
        self.applications = list(applications)
        self.received = self.sent = self.faults = 0
        self._log = log
        self._device = device
        self._endpoint = endpoint
        self._inbound = inbound
        self._outbound = outbound
        self._capture = capture
        self._clock = clock
        self._epoch_offset_us = time.time_ns() // 1000 - clock()
        self._arrived: deque[bytes] = deque()  # what the endpoint did not get yet
        self._backlog: deque[bytes] = deque()  # what the device did not take yet
        self._stopping = False
        self._stalled_us = 0
        self._wake_up = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector = selectors.SelectSelector()  # of these, the one that waits for less than a millisecond
        self._selector.register(device, selectors.EVENT_READ)
        self._selector.register(self._wake_up, selectors.EVENT_READ)

    def now_us(self) -> int:
        """Return the time that the endpoint and applications get, in microseconds of an arbitrary start. Stalls do not count."""
        return self._clock() - self._stalled_us

    def run(self, *, until: Callable[[], bool] = lambda: False, limit_us: int | None = None) -> bool:
        """Run until `until` is true after a turn, or `stop` was called; return False if `limit_us` microseconds passed before."""
        end_us = None if limit_us is None else self.now_us() + limit_us
        while True:
            busy = self.turn()
            if self._stopping or until():
                return True
            if end_us is not None and self.now_us() >= end_us:
                return False
            if not busy:
                self._wait(end_us)

    def stop(self) -> None:
        """Let `run` return soon. May be called from any thread."""
        self._stopping = True
        os.eventfd_write(self._wake_up, 1)

    def close(self) -> None:
        """Abort all connections, send what tells their peers so, and let go of the device, which stays open."""
        now_us = self.now_us()
        for application in self.applications:
            application.abort(now_us)
        self._backlog.extend(self._take(now_us))
        self._device.write(self._backlog)
        if self._capture is not None:
            self._end_capture(self._capture)
        self._selector.close()
        os.close(self._wake_up)

    def turn(self) -> bool:
        """Do once what can be done now; return whether it is worth looking again: packets were read, or are left."""
        packets = self._device.read(PACKETS_PER_TURN - min(len(self._arrived), PACKETS_PER_TURN))
        now_us = self.now_us()
        busy = bool(packets)
        if self._inbound is not None:
            for packet in packets:
                self._inbound.offer(packet, now_us)
            self._arrived.extend(self._inbound.take(now_us))  # all that have arrived by now
            packets = [self._arrived.popleft() for _ in range(min(len(self._arrived), PACKETS_PER_TURN))]
            busy = busy or bool(self._arrived)
        if self._capture is not None:
            self._record(packets, now_us)
        self.received += len(packets)
        receive = self._endpoint.receive
        for packet in packets:
            try:
                receive(packet, now_us)
            except Exception as error:
                self._note_fault("a packet", error)
        deadline_us = self._endpoint.next_deadline_us()
        if deadline_us is not None and deadline_us <= now_us:
            try:
                self._endpoint.run_timers(now_us)
            except Exception as error:
                self._note_fault("a timer", error)
        for application in self.applications:
            application.step(now_us)
        if not self._backlog:  # else the endpoint keeps its packets, and the backlog stays a single batch
            self._backlog.extend(self._take(now_us))
        self._device.write(self._backlog)
        self._forgive(now_us)
        return busy

    def _forgive(self, since_us: int) -> None:
        """Take the time since then out of the endpoint's if it is a stall."""
        passed_us = self.now_us() - since_us
        if passed_us > STALL_US:
            self._stalled_us += passed_us
            self._epoch_offset_us += passed_us

    def _take(self, now_us: int) -> list[bytes]:
        packets = self._endpoint.take_packets(now_us)
        self.sent += len(packets)
        if self._capture is not None:
            self._record(packets, now_us)
        if self._outbound is None:
            return packets
        for packet in packets:
            self._outbound.offer(packet, now_us)
        return self._outbound.take(now_us)

    def _record(self, packets: Sequence[bytes], now_us: int) -> None:
        assert self._capture is not None
        try:
            for packet in packets:
                self._capture.write(packet, now_us + self._epoch_offset_us)
        except OSError as error:
            self._lose_capture(error)

    def _end_capture(self, capture: PcapWriter) -> None:
        try:
            capture.flush()
        except OSError as error:
            self._lose_capture(error)

    def _lose_capture(self, error: OSError) -> None:
        self._log(f"the capture ends early: {error.strerror}")
        self._capture = None

    def _note_fault(self, what: str, error: Exception) -> None:
        self.faults += 1
        self._log(f"{what} ended by {type(error).__name__}: {one_line(str(error))}")

    def _wait(self, end_us: int | None) -> None:
        deadlines = [end_us, self._endpoint.next_deadline_us()]
        deadlines += [application.next_deadline_us() for application in self.applications]
        deadlines += [stage.next_deadline_us() for stage in (self._inbound, self._outbound) if stage is not None]
        first_us = min((deadline for deadline in deadlines if deadline is not None), default=None)
        now_us = self.now_us()
        timeout_s = None if first_us is None else max(0, first_us - now_us) / 1e6
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._backlog else 0)
        self._selector.modify(self._device, events)
        for key, _ in self._selector.select(timeout_s):
            if key.fd == self._wake_up:
                os.eventfd_read(self._wake_up)
        if first_us is not None:
            self._forgive(max(first_us, now_us))
