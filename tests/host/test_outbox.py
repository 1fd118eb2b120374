"""The outbox: packets leave in the order in which they come, replies need no connection, and the earliest deadline is next."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import ICMP, IP, TCP

from netstack.host import Address, Endpoint, EndpointConfig, Socket, core_calls
from netstack.host.ip import TCP as PROTOCOL
from netstack.host.ip import header_template, packed
from netstack.host.memory import Memory
from netstack.host.outbox import Outbox
from netstack.tcp.flags import TCP_OUTPUT
from netstack.tcp.header import ACK, RST, SEGMENT, SYN
from netstack.tcp.states import State

HOST, PEER, OTHER = "10.0.0.2", "10.0.0.1", "10.0.0.3"
PORT = 80
START_US = 1_000_000


@dataclass
class Timer:
    """A connection that does nothing but expire."""

    outbox: Outbox
    name: str = ""
    log: list[tuple[str, int]] = field(default_factory=list)
    again_us: int = 0
    """When it wants to expire once more."""
    address: int = 0
    template: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint8))
    send_ring: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint8))
    deadline_us: int = 0
    timer: list[Any] | None = None

    def expire(self, now_us: int) -> None:
        self.log.append((self.name, now_us))
        again_us, self.again_us = self.again_us, 0
        self.outbox.schedule(self, again_us)


def template(remote: str = PEER) -> np.ndarray:
    return header_template(packed(HOST), packed(remote), PROTOCOL)


@dataclass
class Keeper:
    """Nothing but a list of the connections that have ended."""

    forgotten: list[Socket]

    def forget(self, socket: Socket, /) -> None:
        self.forgotten.append(socket)

    def closed(self, socket: Socket, now_us: int, /) -> None: ...

    def waits(self, socket: Socket, /) -> None: ...


def connecting_socket(outbox: Outbox, port: int, forgotten: list[Socket]) -> Socket:
    """A socket that has handed its SYN to the outbox; no endpoint is there."""
    config = EndpointConfig(addresses=(HOST,), timestamps=False)
    local, remote = Address(HOST, port), Address(PEER, PORT)
    keeper = Keeper(forgotten)
    socket = Socket(local, remote, template(), outbox=outbox, memory=Memory(), config=lambda: config, keeper=keeper)
    socket.pcb["own_mss"] = socket.pcb["mss"] = 1460
    socket.pcb["rcv_wnd"] = socket.pcb["receive_buffer_bytes"] = socket.receive_buffer_bytes
    core_calls.connect(socket.address, 100, START_US)
    socket.state_now = State.SYN_SENT
    socket.open_buffers()
    outbox.output(socket, START_US)
    return socket


def receive(socket: Socket, flags: int, seq: int, ack: int) -> int:
    """Give a socket a segment of its peer."""
    segment = np.zeros(1, SEGMENT)
    segment["source_port"], segment["destination_port"] = PORT, socket.local.port
    segment["seq"], segment["ack"], segment["flags"], segment["window"], segment["wscale"] = seq, ack, flags, 60000, -1
    return socket.input(np.zeros(0, np.uint8), 0, segment.ctypes.data, START_US)


def segments(packets: list[bytes]) -> list[tuple[int, str, int, bytes]]:
    """Port, flags, sequence number and payload of each packet."""
    found = [IP(packet) for packet in packets]
    return [(packet.sport, str(packet[TCP].flags), packet.seq, bytes(packet[TCP].payload)) for packet in found]


class TestPackets:
    def test_a_socket_without_an_endpoint_hands_over_all_that_it_sends(self) -> None:
        outbox, forgotten = Outbox(), []
        socket = connecting_socket(outbox, 5000, forgotten)
        assert segments(outbox.take()) == [(5000, "S", 100, b"")]
        assert receive(socket, SYN | ACK, 900, 101) & TCP_OUTPUT
        assert socket.state is State.ESTABLISHED
        socket.set_option("no_delay", 1, START_US)
        socket.send(b"one", START_US)
        socket.send(b"two", START_US)
        socket.abort(START_US)
        handed_over = [(5000, "A", 101, b""), (5000, "PA", 101, b"one"), (5000, "PA", 104, b"two"), (5000, "RA", 107, b"")]
        assert segments(outbox.take()) == handed_over
        assert forgotten == [socket]
        assert outbox.next_deadline_us() is None

    def test_sockets_share_an_outbox_and_packets_stay_in_order(self) -> None:
        outbox, forgotten = Outbox(), []
        sockets = [connecting_socket(outbox, port, forgotten) for port in (5000, 5001)]
        for socket in sockets:
            receive(socket, SYN | ACK, 900, 101)
        outbox.take()
        for count, socket in enumerate([*sockets, *sockets]):
            socket.set_option("no_delay", 1, START_US)
            socket.send(b"%d" % count, START_US)
        sent = [(port, data) for port, _, _, data in segments(outbox.take())]
        assert sent == [(5000, b"0"), (5001, b"1"), (5000, b"2"), (5001, b"3")]

    def test_packets_are_taken_once(self) -> None:
        outbox = Outbox()
        outbox.put(b"first")
        outbox.put(b"second")
        taken = outbox.take()
        outbox.put(b"third")
        assert (taken, outbox.take(), outbox.take()) == ([b"first", b"second"], [b"third"], [])

    def test_a_reply_needs_no_connection(self) -> None:
        outbox = Outbox()
        outbox.put(b"before")
        reply = outbox.segment[0]
        reply["source_port"], reply["destination_port"], reply["seq"], reply["flags"], reply["wscale"] = PORT, 5000, 7, RST, -1
        outbox.reply(template(OTHER))
        outbox.put(b"after")
        before, packet, after = outbox.take()
        assert (before, after) == (b"before", b"after")
        assert segments([packet]) == [(PORT, "R", 7, b"")]
        assert (IP(packet).src, IP(packet).dst, IP(packet)[TCP].dport, IP(packet).window) == (HOST, OTHER, 5000, 0)

    def test_nothing_of_a_segment_shows_in_a_reset_that_follows_it(self) -> None:
        """Segments and replies are written to the same record."""
        outbox, forgotten = Outbox(), []
        socket = connecting_socket(outbox, 5000, forgotten)
        assert IP(outbox.take()[0])[TCP].options
        receive(socket, SYN | ACK, 900, 101)
        outbox.take()
        socket.abort(START_US)
        (reset,) = (IP(packet)[TCP] for packet in outbox.take())
        assert (reset.flags, reset.window, reset.options, bytes(reset.payload)) == ("RA", 0, [], b"")


class TestEndpoint:
    """What an endpoint emits is what its outbox holds."""

    def test_replies_and_segments_leave_in_the_order_of_their_causes(self) -> None:
        endpoint = Endpoint(EndpointConfig(addresses=(HOST,), seed=1))
        first = endpoint.connect(Address(PEER, PORT), START_US)
        for packet in (
            IP(src=OTHER, dst=HOST) / TCP(sport=6000, dport=9, flags="S", seq=1),
            IP(src=OTHER, dst=HOST) / ICMP(type=8, id=1, seq=1) / b"ping",
            IP(src=OTHER, dst=HOST) / TCP(sport=6001, dport=9, flags="A", seq=1, ack=77),
        ):
            endpoint.receive(bytes(packet), START_US)
        second = endpoint.connect(Address(OTHER, PORT), START_US)
        syn, reset, echo, other_reset, last = (IP(packet) for packet in endpoint.take_packets(START_US))
        assert (syn.dst, syn.sport, syn[TCP].flags) == (PEER, first.local.port, "S")
        assert (reset.dst, reset.dport, reset[TCP].flags, reset.ack) == (OTHER, 6000, "RA", 2)
        assert (echo.dst, echo[ICMP].type) == (OTHER, 0)
        assert (other_reset.dport, other_reset[TCP].flags, other_reset.seq) == (6001, "R", 77)
        assert (last.dst, last.sport, last[TCP].flags) == (OTHER, second.local.port, "S")
        assert endpoint.take_packets(START_US) == []
        assert endpoint.counters["sent"] == 5

    def test_a_reset_is_not_answered(self) -> None:
        endpoint = Endpoint(EndpointConfig(addresses=(HOST,), seed=1))
        endpoint.receive(bytes(IP(src=PEER, dst=HOST) / TCP(sport=6000, dport=9, flags="R", seq=1)), START_US)
        assert endpoint.take_packets(START_US) == []


class TestDeadlines:
    @pytest.mark.parametrize("order", [(100, 200, 300), (300, 200, 100), (200, 300, 100)])
    def test_the_earliest_is_next(self, order: tuple[int, ...]) -> None:
        outbox = Outbox()
        for deadline_us in order:
            outbox.schedule(Timer(outbox), deadline_us)
        assert outbox.next_deadline_us() == 100

    def test_timers_that_are_due_expire_in_order_and_the_rest_waits(self) -> None:
        outbox, log = Outbox(), []
        for name, deadline_us in (("late", 300), ("second", 200), ("first", 100), ("third", 200)):
            outbox.schedule(Timer(outbox, name, log), deadline_us)
        outbox.run_timers(50)
        assert log == []
        outbox.run_timers(250)
        assert log == [("first", 250), ("second", 250), ("third", 250)]
        assert outbox.next_deadline_us() == 300

    def test_a_deadline_can_move_both_ways_and_go_away(self) -> None:
        outbox, log = Outbox(), []
        timer = Timer(outbox, "timer", log)
        for deadline_us, expected_us in ((200, 200), (500, 500), (100, 100), (400, 400), (0, None), (300, 300)):
            outbox.schedule(timer, deadline_us)
            assert outbox.next_deadline_us() == expected_us
        outbox.run_timers(1000)
        assert log == [("timer", 1000)]
        assert outbox.next_deadline_us() is None

    def test_what_expires_can_set_its_next_timer(self) -> None:
        outbox, log = Outbox(), []
        outbox.schedule(Timer(outbox, "timer", log, again_us=150), 100)
        outbox.run_timers(120)
        assert log == [("timer", 120)]
        assert outbox.next_deadline_us() == 150
        outbox.run_timers(150)
        assert log == [("timer", 120), ("timer", 150)]
        assert outbox.next_deadline_us() is None
