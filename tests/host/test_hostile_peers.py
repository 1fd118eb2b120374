"""Peers that forge, repeat or leave out what an endpoint might rely on: it goes on, at a bounded cost."""

import heapq
from itertools import count
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP

from netstack.host import Address, Endpoint, EndpointConfig, Socket
from netstack.tcp.states import State
from tests.host.test_endpoint import HOST, PEER, PORT, SYN_OPTIONS, Wire

SECOND = 1_000_000


class Pair:
    """Two endpoints and the way between them, on a clock of its own."""

    def __init__(self, delay_us: int, **settings: Any) -> None:
        self.now = 1_000_000
        self.packets = 0
        self.server, self.client = (
            Endpoint(EndpointConfig(addresses=(host,), seed=seed, **settings)) for host, seed in ((HOST, 1), (PEER, 2))
        )
        self._delay_us = delay_us
        self._under_way: list[tuple[int, int, Endpoint, bytes]] = []
        self._order = count()
        listener = self.server.listen(Address(HOST, PORT))
        self.client_socket = self.client.connect(Address(HOST, PORT), self.now)
        self.run(self.now + SECOND)
        accepted = listener.accept()
        assert accepted is not None
        self.server_socket = accepted
        self.packets = 0

    def run(self, until_us: int, most_packets: int = 10_000) -> None:
        """Let the time pass, and all that happens in it."""
        while self.packets < most_packets:
            for source, target in ((self.server, self.client), (self.client, self.server)):
                for packet in source.take_packets(self.now):
                    heapq.heappush(self._under_way, (self.now + self._delay_us, next(self._order), target, packet))
                    self.packets += 1
            times = [self._under_way[0][0]] if self._under_way else []
            times += [at for end in (self.server, self.client) if (at := end.next_deadline_us()) is not None]
            if not times or min(times) > until_us:
                break
            self.now = max(self.now, min(times))
            while self._under_way and self._under_way[0][0] <= self.now:
                _, _, target, packet = heapq.heappop(self._under_way)
                target.receive(packet, self.now)
            self.server.run_timers(self.now)
            self.client.run_timers(self.now)
        self.now = until_us

    def forge(self, source: Socket, target: Endpoint, payload: bytes) -> None:
        """A third party sends the target what might be the source's next segment."""
        numbers = int(source.pcb["snd_max"]), int(source.pcb["rcv_nxt"])
        stamp = (self.now // 1000 + int(source.pcb["timestamp_offset"])) & 0xFFFFFFFF
        segment = TCP(sport=source.local.port, dport=source.remote.port, flags="PA", seq=numbers[0], ack=numbers[1])
        segment.options = [("NOP", None), ("NOP", None), ("Timestamp", (stamp, 0))]
        target.receive(bytes(IP(src=source.local.host, dst=source.remote.host) / segment / payload), self.now)


class TestTwoEnds:
    @pytest.mark.parametrize("both", [False, True])
    def test_forged_data_makes_no_storm(self, both: bool) -> None:
        """Both ends then acknowledge what was not sent, and each would answer the other's ACK for ever (Joncheray 1995)."""
        pair = Pair(1000)
        pair.forge(pair.client_socket, pair.server, b"x" * 12)
        if both:
            pair.forge(pair.server_socket, pair.client, b"y" * 12)
        pair.run(pair.now + 3600 * SECOND)
        assert pair.packets <= 22  # the first ACK of each end, and ten answers

    @pytest.mark.parametrize("rack", [True, False])
    @pytest.mark.parametrize("delay_us", [100, 10_000])
    def test_closed_windows_are_probed_at_the_pace_of_timers(self, delay_us: int, rack: bool) -> None:
        """Each end sends more than the other reads: both windows are closed, and both probe.

        The timer of each end expires at most after 0.2, 0.4, ... s, and 9 times in 100 s (RFC 9293, section 3.8.6.1).
        """
        pair = Pair(delay_us, receive_buffer_bytes=4096, rack=rack)
        for socket in (pair.client_socket, pair.server_socket):
            socket.send(b"a" * 100_000, pair.now)
        pair.run(pair.now + 5 * SECOND)
        filled = pair.packets
        pair.run(pair.now + 100 * SECOND)
        assert pair.packets - filled <= 2 * 2 * 9  # each probe of an end, and its answer
        got = len(pair.client_socket.receive(1 << 20, pair.now))
        assert got == 4096
        start = pair.now
        while got < 100_000:
            pair.run(pair.now + 10_000)
            got += len(pair.client_socket.receive(1 << 20, pair.now))
            assert pair.now < start + 5 * SECOND


class TestHandshake:
    def test_a_repeated_syn_does_not_keep_a_half_open_connection(self) -> None:
        """The SYN-ACK is sent 1 + 5 times, after 1, 2, 4, 8 and 16 s (RFC 6298); after 32 s more the connection is dropped."""
        wire = Wire()
        wire.endpoint.listen(Address(HOST, PORT))
        wire.send(wire.tcp("S", 1000))
        (half_open,) = wire.endpoint.connections
        for _ in range(100):
            wire.now += 900_000
            wire.endpoint.run_timers(wire.now)
            if half_open.state is State.CLOSED:
                break
            wire.send(wire.tcp("S", 1000))
        assert half_open.state is State.CLOSED
        assert 63 * SECOND <= wire.now - 1_000_000 < 63 * SECOND + 6 * 900_000  # the clock is looked at every 0.9 s

    def test_a_repeated_syn_is_answered_a_few_times(self) -> None:
        wire = Wire()
        wire.endpoint.listen(Address(HOST, PORT))
        wire.send(wire.tcp("S", 1000))
        assert sum(len(wire.send(wire.tcp("S", 1000))) for _ in range(50)) == 10

    def test_a_repeated_syn_without_options_takes_them_back(self) -> None:
        """Peers leave options out after some tries, as something on the way may drop them; they use none then."""
        wire = Wire()
        listener = wire.endpoint.listen(Address(HOST, PORT))
        wire.send(wire.tcp("S", 1000, options=SYN_OPTIONS))
        (answer,) = wire.send(wire.tcp("S", 1000, options=[("MSS", 1460)]))
        assert [name for name, _ in answer[TCP].options] == ["MSS"]
        wire.send(wire.tcp("PA", 1001, answer.seq + 1, b"hello"))
        socket = listener.accept()
        assert socket is not None
        assert socket.receive(10, wire.now) == b"hello"
        assert (socket.info()["options"], socket.info()["snd_mss"]) == (0, 1460)

    def test_a_repeated_syn_with_more_options_changes_nothing(self) -> None:
        wire = Wire()
        wire.endpoint.listen(Address(HOST, PORT))
        wire.send(wire.tcp("S", 1000))
        (answer,) = wire.send(wire.tcp("S", 1000, options=SYN_OPTIONS))
        assert [name for name, _ in answer[TCP].options] == ["MSS"]

    @pytest.mark.parametrize("again", [False, True])
    def test_data_of_a_syn_waits_for_the_handshake(self, again: bool) -> None:
        """RFC 9293, section 3.10.7.2: it is delivered once, whether or not the peer sends it again."""
        wire = Wire()
        listener = wire.endpoint.listen(Address(HOST, PORT))
        (answer,) = wire.send(wire.tcp("S", 1000, payload=b"hello"))
        assert answer.ack == 1001
        seq, payload = (1001, b"hello world") if again else (1006, b" world")
        wire.send(wire.tcp("A", seq, answer.seq + 1, payload))
        socket = listener.accept()
        assert socket is not None
        assert socket.receive(100, wire.now) == b"hello world"
        wire.send(wire.tcp("FA", 1012, answer.seq + 1))
        assert socket.at_eof

    def test_data_of_a_syn_is_cut_to_the_buffer(self) -> None:
        wire = Wire(receive_buffer_bytes=256)
        listener = wire.endpoint.listen(Address(HOST, PORT))
        (answer,) = wire.send(wire.tcp("S", 1000, payload=bytes(range(200)) * 2))
        wire.send(wire.tcp("A", 1401, answer.seq + 1))
        (socket,) = wire.endpoint.connections
        assert socket.state is State.SYN_RECEIVED  # behind the window: answered
        wire.send(wire.tcp("A", 1001, answer.seq + 1))
        assert listener.accept() is socket
        assert socket.receive(500, wire.now) == (bytes(range(200)) * 2)[:256]

    @pytest.mark.parametrize("mss", [1, 12, 47])
    def test_a_tiny_mss_is_not_honoured(self, mss: int) -> None:
        """A peer must not make a host send a packet per byte (CVE-2019-11479): 48 bytes, as the default of Linux."""
        wire = Wire()
        listener = wire.endpoint.listen(Address(HOST, PORT))
        (answer,) = wire.send(wire.tcp("S", 1000, options=[("MSS", mss)]))
        wire.send(wire.tcp("A", 1001, answer.seq + 1))
        socket = listener.accept()
        assert socket is not None
        socket.send(bytes(480), wire.now)
        assert [len(packet[TCP].payload) for packet in wire.answers()] == [48] * 10


class TestLife:
    def test_forged_segments_do_not_keep_a_dead_peer(self) -> None:
        """Keep-alive (RFC 9293, section 3.8.4) asks for a segment that only the peer can send."""
        wire = Wire(keepalive_idle_us=60 * SECOND, keepalive_interval_us=10 * SECOND, keepalive_probes=3)
        socket, ours = wire.accepted()
        socket.set_option("keepalive", 1, wire.now)
        start = wire.now
        while wire.endpoint.connections and wire.now < start + 600 * SECOND:
            wire.now += 5 * SECOND
            wire.endpoint.run_timers(wire.now)
            for packet in (
                wire.tcp("A", 0x40001000, ours),
                wire.tcp("A", 1001, (ours + (1 << 28)) % (1 << 32)),
                wire.tcp("R", 1005),
            ):
                wire.send(packet)
        assert isinstance(socket.error, TimeoutError)
        assert wire.now - start == 90 * SECOND  # the idle time, and three probes

    def test_resets_have_the_time_stamps_that_were_agreed(self) -> None:
        """RFC 7323, section 3.2: they SHOULD be sent in a reset."""
        wire = Wire()
        listener = wire.endpoint.listen(Address(HOST, PORT))
        (answer,) = wire.send(wire.tcp("S", 1000, options=SYN_OPTIONS))
        value, _ = dict(answer[TCP].options)["Timestamp"]
        wire.send(wire.tcp("A", 1001, answer.seq + 1, options=[("Timestamp", (101, value))]))
        socket = listener.accept()
        assert socket is not None
        wire.now += 7000
        socket.abort(wire.now)
        (reset,) = wire.answers()
        assert reset[TCP].flags == "RA"
        assert dict(reset[TCP].options)["Timestamp"] == ((value + 7) % (1 << 32), 101)

    def test_a_connection_that_nobody_answers_ends_without_a_reset(self) -> None:
        """RFC 9293, section 3.10.5: an abort in SYN-SENT sends none, and no option is agreed on either."""
        wire = Wire(connect_timeout_us=10 * SECOND)
        socket = wire.endpoint.connect(Address(PEER, PORT), wire.now)
        while wire.endpoint.connections:
            wire.now += SECOND
            wire.endpoint.run_timers(wire.now)
        assert isinstance(socket.error, TimeoutError)
        assert all(packet[TCP].flags == "S" for packet in wire.answers())

    def test_a_new_start_of_the_peer_without_time_stamps_is_challenged(self) -> None:
        """RFC 5961, section 4.2: the peer answers the challenge with a reset, and opens its connection then."""
        wire = Wire()
        listener = wire.endpoint.listen(Address(HOST, PORT))
        (answer,) = wire.send(wire.tcp("S", 1000, options=SYN_OPTIONS))
        value, _ = dict(answer[TCP].options)["Timestamp"]
        wire.send(wire.tcp("A", 1001, answer.seq + 1, options=[("Timestamp", (101, value))]))
        assert listener.accept() is not None
        (challenge,) = wire.send(wire.tcp("S", 1500, options=[("MSS", 1460)]))
        assert (challenge[TCP].flags, challenge.ack) == ("A", 1001)


class TestQuickAcknowledgments:
    """The first segments are acknowledged at once, as Linux does, until there is an answer."""

    def test_the_first_segments(self) -> None:
        wire = Wire(quick_acks=3)
        _, ours = wire.accepted()
        acknowledged = [len(wire.send(wire.tcp("A", 1001 + 10 * number, ours, bytes(10)))) for number in range(7)]
        assert acknowledged == [1, 1, 1, 0, 1, 0, 1]

    def test_end_with_an_answer(self) -> None:
        wire = Wire()
        socket, ours = wire.accepted()
        socket.send(b"greeting", wire.now)  # no answer yet
        assert [len(wire.answers()), len(wire.send(wire.tcp("A", 1001, ours + 8, b"ask")))] == [1, 1]
        socket.send(b"reply", wire.now)
        wire.answers()
        assert wire.send(wire.tcp("A", 1004, ours + 8, b"ask")) == []
