"""Two ends talk over a network that loses, doubles, delays and reorders segments, in virtual time.

Whatever it does, every byte arrives once and in order, and what RFC 9293 (section 3.4), RFC 5681 and RFC 6298 demand of a sender
holds after every segment. All segments travel as bytes, with header and checksum.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netstack.tcp.header import SEGMENT, checksum, decode, encode, fill_checksum
from netstack.tcp.output import tcp_output, tcp_output_refused
from tests.helpers.packet_trace import FOREIGN, LOCAL, MODULUS, Endpoint, record

DELAY_US = 10_000
Fate = list[int] | None
"""What happens to a segment: after which delays copies of it arrive (no copy: it is lost); None: the interface refuses it."""


@dataclass
class Host:
    """One end with the bytes it writes and gets, and what a sender has to keep to, in plain integers from the first byte on."""

    end: Endpoint
    allowed: int
    """The right edge of the window that the peer has offered."""
    written: bytearray = field(default_factory=bytearray)
    delivered: bytearray = field(default_factory=bytearray)
    arrived: dict[int, int] = field(default_factory=dict)
    sent: int = 0
    acknowledged: int = 0

    def write(self, size: int) -> None:
        start = len(self.written)
        self.written += bytes((start + index) * 167 % 251 for index in range(size))
        self.end.write(size)

    def check(self) -> None:
        pcb = self.end.pcb
        una, nxt, top = ((int(pcb[name]) - self.end.iss) % MODULUS for name in ("snd_una", "snd_nxt", "snd_max"))
        assert una <= nxt <= top
        assert (una, top) == (self.acknowledged, self.sent)
        assert pcb.send_buffered_bytes == len(self.written) - una
        assert (pcb.rcv_nxt - self.end.irs) % MODULUS == len(self.delivered)
        assert pcb.snd_cwnd >= pcb.mss
        assert pcb.snd_ssthresh >= 2 * pcb.mss
        assert pcb.rexmt_deadline_us > 0 or una == len(self.written), "bytes wait and no timer runs"

    def check_segment(self, start: int, end: int) -> None:
        """Check a segment before it counts as sent."""
        pcb = self.end.pcb
        assert start <= self.sent
        assert end <= len(self.written)
        assert end <= max(self.allowed, self.acknowledged + 1), "beyond the window, and no probe"
        assert end - start <= pcb.mss
        if end > self.sent:
            assert end - self.acknowledged <= pcb.snd_cwnd
            assert end - start == pcb.mss or start < self.sent or self.sent == self.acknowledged, "against Nagle's rule"


class Conversation:
    """The two hosts and the segments under way."""

    def __init__(
        self,
        fates: list[Fate],
        window: int = 64_000,
        iss: int = MODULUS - 700,
        irs: int = MODULUS - 1100,
        **options: int,
    ) -> None:
        options |= {"send_window": window, "receive_buffer": window}
        ends = Endpoint(iss=iss, irs=irs, **options), Endpoint(iss=irs, irs=iss, **options)
        self.hosts = [Host(end, window) for end in ends]
        self.fates = iter(fates)
        self.now = 1
        self.order = count()
        self.events: list[tuple[int, int, Callable[[], None]]] = []

    def at(self, time: int, action: Callable[[], None]) -> None:
        heapq.heappush(self.events, (time, next(self.order), action))

    def write(self, time: int, side: int, size: int) -> None:
        def action() -> None:
            self.hosts[side].write(size)
            self.output(side)

        self.at(time, action)

    def offer(self, time: int, side: int, window: int) -> None:
        """Change the receive window of one end, and tell the other one."""

        def action() -> None:
            end = self.hosts[side].end
            end.pcb.rcv_wnd = window
            end.pcb.ack_now = 1
            end.output_due = True
            self.output(side)

        self.at(time, action)

    def run(self) -> None:
        """Go on until nothing is under way and no timer runs."""
        for _ in range(20_000):
            times = [host.end.deadline for host in self.hosts if host.end.deadline] + [event[0] for event in self.events[:1]]
            if not times:
                return
            self.now = max(self.now, min(times))
            if self.events and self.events[0][0] <= self.now:
                heapq.heappop(self.events)[2]()
            for side, host in enumerate(self.hosts):
                if 0 < host.end.deadline <= self.now:
                    host.end.expire(self.now)
                    self.output(side)
        raise AssertionError("the conversation does not end")

    def output(self, side: int) -> None:
        """Send all that the end wants to send, each segment to its fate."""
        host = self.hosts[side]
        while host.end.output_due:
            segment = record(SEGMENT)
            host.end.output_due = bool(tcp_output(host.end.pcb, segment, self.now))
            if host.end.output_due:
                fate = next(self.fates, [DELAY_US])
                if fate is None:
                    tcp_output_refused(host.end.pcb, segment, self.now)
                    host.end.output_due = False
                else:
                    self.transmit(side, segment, fate)
        host.check()

    def transmit(self, side: int, segment: Any, delays: list[int]) -> None:
        host = self.hosts[side]
        assert (segment.ack - host.end.irs) % MODULUS == len(host.delivered)
        start = int(segment.seq - host.end.iss) % MODULUS
        end = start + int(segment.length)
        if segment.length == 0:
            window_end = int(host.end.pcb.snd_una + host.end.pcb.snd_wnd - host.end.iss) % MODULUS
            assert start == min(host.sent, window_end)  # the peer would drop what is beyond its window
        else:
            host.check_segment(start, end)
            host.sent = max(host.sent, end)
        wire = to_wire(segment, bytes(host.written[start:end]))
        for delay in delays:
            self.at(self.now + delay, lambda: self.arrive(1 - side, wire))

    def arrive(self, side: int, wire: np.ndarray) -> None:
        host = self.hosts[side]
        pcb = host.end.pcb
        segment, payload = from_wire(wire)
        start, ack = int(segment.seq - host.end.irs) % MODULUS, int(segment.ack - host.end.iss) % MODULUS
        host.arrived |= {start + index: byte for index, byte in enumerate(payload)}
        host.end.receive_segment(self.now, segment)
        first = len(host.delivered)
        host.delivered += bytes(host.arrived[offset] for offset in range(first, first + int(pcb.delivered_bytes)))
        if pcb.acked_bytes:
            assert pcb.acked_bytes == ack - host.acknowledged > 0
            host.acknowledged = ack
        host.allowed = max(host.allowed, ack + (int(segment.window) << int(pcb.snd_scale)))
        self.output(side)

    def check_all_arrived(self) -> None:
        for sender, receiver in (self.hosts, self.hosts[::-1]):
            assert receiver.delivered == sender.written
            assert sender.acknowledged == len(sender.written)


def to_wire(segment: Any, payload: bytes) -> np.ndarray:
    wire = np.zeros(40 + len(payload), np.uint8)
    header = encode(segment, wire, 0)
    wire = wire[: header + len(payload)]
    wire[header:] = np.frombuffer(payload, np.uint8)
    fill_checksum(wire, 0, len(wire), LOCAL[0], FOREIGN[0])
    return wire


def from_wire(wire: np.ndarray) -> tuple[Any, bytes]:
    segment = record(SEGMENT)
    assert checksum(wire, 0, len(wire), LOCAL[0], FOREIGN[0]) == 0
    header = decode(wire, 0, len(wire), segment)
    assert header == len(wire) - segment.length
    return segment, wire[header:].tobytes()


delays = st.integers(0, 20 * DELAY_US)
fates = st.one_of(st.just([]), st.lists(delays, min_size=1, max_size=1), st.lists(delays, min_size=2, max_size=2), st.none())
writes = st.lists(st.tuples(st.integers(1, 300_000), st.integers(0, 1), st.integers(1, 1500)), min_size=1, max_size=6)
options = st.fixed_dictionaries(
    {
        "mss": st.sampled_from([50, 64, 100]),
        "window": st.integers(30, 1500),
        "delayed_ack_us": st.sampled_from([0, 40_000, 200_000]),
        "iss": st.integers(0, MODULUS - 1) | st.integers(MODULUS - 2000, MODULUS - 1),
        "irs": st.integers(0, MODULUS - 1) | st.integers(MODULUS - 2000, MODULUS - 1),
    }
)


@settings(deadline=None, max_examples=200)
@given(st.lists(fates, max_size=50), writes, options)
def test_every_byte_arrives_in_order(fates: list[Fate], writes: list[tuple[int, int, int]], options: dict[str, int]) -> None:
    conversation = Conversation(fates, **options)
    for write in writes:
        conversation.write(*write)
    conversation.run()
    conversation.check_all_arrived()


@settings(deadline=None, max_examples=100)
@given(
    st.lists(fates, max_size=30),
    writes,
    options,
    st.lists(
        st.tuples(st.integers(1, 400_000), st.integers(0, 1), st.sampled_from([0, 1, 40, 70, 1000])), min_size=1, max_size=6
    ),
)
@example([], [(1, 0, 31), (1, 1, 31)], {"mss": 50, "window": 30, "delayed_ack_us": 0, "iss": 0, "irs": 0}, [(1, 0, 1), (1, 1, 1)])
def test_every_byte_arrives_through_windows_that_change(
    fates: list[Fate], writes: list[tuple[int, int, int]], options: dict[str, int], offers: list[tuple[int, int, int]]
) -> None:
    """RFC 9293, section 3.8.6: a window may shrink below what is under way, and its updates may be lost."""
    conversation = Conversation(fates, **options)
    for write in writes:
        conversation.write(*write)
    for offer in [*offers, (500_000, 0, options["window"]), (500_000, 1, options["window"])]:
        conversation.offer(*offer)
    conversation.run()
    conversation.check_all_arrived()


@settings(deadline=None, max_examples=50)
@given(writes, options)
def test_nothing_is_sent_twice_without_need(writes: list[tuple[int, int, int]], options: dict[str, int]) -> None:
    """A network that only delays causes no retransmission: RTO is above a round trip with a delayed ACK (RFC 6298, 2.1, 2.4)."""
    conversation = Conversation([], min_rto_us=300_000, **options)
    for write in writes:
        conversation.write(*write)
    conversation.run()
    conversation.check_all_arrived()
    for host in conversation.hosts:
        assert host.end.pcb.retransmitted_segments == 0
        assert host.end.pcb.retransmission_timeouts == 0


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 90), st.integers(0, MODULUS - 1))
def test_one_lost_segment_of_a_stream_is_repaired_without_timeout(lost: int, iss: int) -> None:
    """RFC 5681, section 3.2: wherever in a stream of 100 segments it is lost, three more follow and their ACKs tell."""
    conversation = Conversation([], iss=iss, mss=100)
    transmit = conversation.transmit
    data_segments = count()

    def lossy(side: int, segment: Any, delays: list[int]) -> None:
        transmit(side, segment, [] if segment.length and next(data_segments) == lost else delays)

    conversation.transmit = lossy
    conversation.write(1, 0, 10_000)
    conversation.run()
    conversation.check_all_arrived()
    sender = conversation.hosts[0].end.pcb
    assert (sender.retransmitted_segments, sender.retransmission_timeouts) == (1, 0)


def test_a_lost_last_segment_is_repaired_by_the_timer() -> None:
    """RFC 6298, section 5: nothing follows that could tell of the loss. The round trip of 20 ms makes RTO the least one."""
    conversation = Conversation([[DELAY_US], [DELAY_US], [DELAY_US], []], mss=1000)
    conversation.write(1, 0, 2000)
    conversation.write(500_001, 0, 700)
    conversation.run()
    conversation.check_all_arrived()
    sender = conversation.hosts[0].end.pcb
    assert (sender.retransmitted_segments, sender.retransmission_timeouts) == (1, 1)
    assert conversation.now == 500_001 + 200_000 + DELAY_US + 100_000 + DELAY_US  # and the ACK of one segment is delayed


@pytest.mark.parametrize("lost_updates", [0, 1, 2])
def test_a_window_that_closes_and_opens_again(lost_updates: int) -> None:
    """RFC 9293, section 3.8.6.1: the ACKs that open the window are lost, and only probes find out."""
    conversation = Conversation([], mss=1000, window=3000)
    transmit = conversation.transmit

    def lossy(side: int, segment: Any, delays: list[int]) -> None:
        nonlocal lost_updates
        if side == 1 and segment.window > 0 and conversation.now >= 3_000_000 and lost_updates > 0:
            lost_updates -= 1
            delays = []
        transmit(side, segment, delays)

    conversation.transmit = lossy
    conversation.offer(1, 1, 0)
    conversation.write(2, 0, 3000)
    conversation.write(2_000_000, 0, 5000)
    conversation.offer(3_000_000, 1, 64_000)
    conversation.run()
    conversation.check_all_arrived()
    assert lost_updates == 0
