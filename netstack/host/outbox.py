"""What a host sends: the segments of its connections, replies without a connection, and when each connection must act next.

Knows a connection by what `Sender` names. Knows neither how connections are found nor what arrives.
"""

from typing import Any, Protocol

import numpy as np

from netstack.host import core_calls
from netstack.host.deadlines import Deadlines
from netstack.tcp.header import SEGMENT

_LARGEST_PACKET_BYTES = 65536
MOST_REPLIES = 4096
"""While so many packets wait, answers to segments of no connection are dropped: what strangers ask for must not pile up."""


class Sender(Protocol):
    """A connection that has something to send."""

    address: int
    """Of its protocol control block."""
    template: np.ndarray
    """The IP header of its packets."""
    send_ring: np.ndarray
    deadline_us: int
    """When its next timer expires; 0 is never."""
    timer: list[Any] | None
    """Its entry among the deadlines of the outbox."""

    def expire(self, now_us: int) -> None:
        """Run the timers that expired."""
        ...


class Outbox:
    """Packets in the order in which they were handed over, and the deadlines of connections.

    Attributes:
        segment: The record of the segment that is sent next; `reply` sends what its caller wrote there.
        segment_address: Of that record, for compiled code.
        dropped: Replies and whole packets for which there was no room.
        schedule: Notes when a connection's next timer expires; 0 is never.
    """

    def __init__(self) -> None:
        self.segment = np.zeros(1, SEGMENT)
        self.segment_address: int = self.segment.ctypes.data
        self._packet = np.zeros(_LARGEST_PACKET_BYTES, np.uint8)
        self._results = np.zeros(core_calls.RESULTS, np.int64)
        self._packets: list[bytes] = []
        self.dropped = 0
        self._deadlines: Deadlines[Sender] = Deadlines()
        self.schedule = self._deadlines.schedule

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
        if len(self._packets) >= MOST_REPLIES:
            self.dropped += 1
            return
        length = core_calls.emit_segment(self.segment_address, template, self._packet)
        self._packets.append(self._packet[:length].tobytes())

    def put(self, packet: bytes) -> None:
        """Send a whole packet."""
        if len(self._packets) >= MOST_REPLIES:
            self.dropped += 1
            return
        self._packets.append(packet)

    def take(self) -> list[bytes]:
        """Return the packets that were not taken yet, in order."""
        packets, self._packets = self._packets, []
        return packets

    # Deadlines

    def forget(self, sender: Sender) -> None:
        """Let go of a connection that has ended."""
        self._deadlines.forget(sender)

    def next_deadline_us(self) -> int | None:
        """Return when `run_timers` must be called, None if no timer runs."""
        return self._deadlines.earliest_us()

    def run_timers(self, now_us: int) -> None:
        """Run all timers that are due."""
        while (sender := self._deadlines.take_due(now_us)) is not None:
            sender.expire(now_us)
