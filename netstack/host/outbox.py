"""What a host sends: the segments of its connections, replies without a connection, and when each connection must act next.

Knows a connection by what `Sender` names. Knows neither how connections are found nor what arrives.
"""

import heapq
from itertools import count
from typing import Protocol

import numpy as np

from netstack.host import core_calls
from netstack.tcp.header import SEGMENT

_LARGEST_PACKET_BYTES = 65536


class Sender(Protocol):
    """A connection that has something to send."""

    address: int
    """Of its protocol control block."""
    template: np.ndarray
    """The IP header of its packets."""
    send_ring: np.ndarray
    deadline_us: int
    """When its next timer expires; 0 is never."""
    scheduled_us: int
    """The earliest deadline of it that the outbox keeps; 0 is none."""

    def expire(self, now_us: int) -> None:
        """Run the timers that expired."""
        ...


class Outbox:
    """Packets in the order in which they were handed over, and the deadlines of connections.

    Attributes:
        segment: The record of the segment that is sent next; `reply` sends what its caller wrote there.
        segment_address: Of that record, for compiled code.
    """

    def __init__(self) -> None:
        self.segment = np.zeros(1, SEGMENT)
        self.segment_address: int = self.segment.ctypes.data
        self._packet = np.zeros(_LARGEST_PACKET_BYTES, np.uint8)
        self._results = np.zeros(core_calls.RESULTS, np.int64)
        self._packets: list[bytes] = []
        self._deadlines: list[tuple[int, int, Sender]] = []
        self._order = count()

    # Packets

    def output(self, sender: Sender, now_us: int) -> None:
        """Send all that a connection may send now."""
        packet, results = self._packet, self._results
        while True:
            length = core_calls.emit(
                sender.address, self.segment_address, sender.send_ring, sender.template, packet, results, now_us
            )
            if length == 0:
                break
            self._packets.append(packet[:length].tobytes())
        self.schedule(sender, int(results[core_calls.DEADLINE_US]))

    def reply(self, template: np.ndarray) -> None:
        """Send the segment in the record, which has no payload, behind an IP header."""
        length = core_calls.emit_segment(self.segment_address, template, self._packet)
        self._packets.append(self._packet[:length].tobytes())

    def put(self, packet: bytes) -> None:
        """Send a whole packet."""
        self._packets.append(packet)

    def take(self) -> list[bytes]:
        """Return the packets that were not taken yet, in order."""
        packets, self._packets = self._packets, []
        return packets

    # Deadlines

    def schedule(self, sender: Sender, deadline_us: int) -> None:
        """Note when a connection's next timer expires; 0 is never."""
        sender.deadline_us = deadline_us
        if deadline_us and (sender.scheduled_us == 0 or deadline_us < sender.scheduled_us):
            sender.scheduled_us = deadline_us
            heapq.heappush(self._deadlines, (deadline_us, next(self._order), sender))

    def next_deadline_us(self) -> int | None:
        """Return when `run_timers` must be called, None if no timer runs."""
        while self._deadlines:
            deadline_us, _, sender = self._deadlines[0]
            if deadline_us == sender.deadline_us == sender.scheduled_us:
                return deadline_us
            heapq.heappop(self._deadlines)
            if deadline_us == sender.scheduled_us:
                sender.scheduled_us = 0
                self.schedule(sender, sender.deadline_us)
        return None

    def run_timers(self, now_us: int) -> None:
        """Run all timers that are due."""
        while (deadline_us := self.next_deadline_us()) is not None and deadline_us <= now_us:
            sender = heapq.heappop(self._deadlines)[2]
            sender.scheduled_us = 0
            sender.deadline_us = 0
            sender.expire(now_us)
