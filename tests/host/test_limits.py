"""What a peer can make grow has a limit, and what nobody uses goes away: connections, handshakes, orphans, payload, fragments."""

import gc
import weakref
from itertools import count
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.packet import Packet, Raw

from netstack.host import Address, EndpointConfig, Listener, Socket
from netstack.host.config import check
from netstack.host.fragments import MAX_PACKETS, MAX_PACKETS_OF_A_SOURCE, Reassembly
from netstack.host.memory import SMALLEST_RING_BYTES
from netstack.host.outbox import MOST_REPLIES
from netstack.tcp.states import State
from tests.host.test_endpoint import CLIENT_PORT, HOST, HOST6, PEER, PORT, Wire

SECOND_US = 1_000_000
DAY_US = 86400 * SECOND_US


class Crowd(Wire):
    """Many peers of one listener."""

    def __init__(self, backlog: int = 1000, **settings: Any) -> None:
        super().__init__(**settings)
        self.listener: Listener = self.endpoint.listen(Address(HOST, PORT), backlog)

    def packet(self, port: int, flags: str, seq: int, ack: int = 0, payload: bytes = b"", **fields: Any) -> Packet:
        packet = self.tcp(flags, seq, ack, payload, sport=port, **fields)
        return packet

    def opened(self, port: int, source: str = PEER) -> tuple[Socket, int]:
        """A connection, and our next number; the peer's is 1001."""
        syn = self.packet(port, "S", 1000, options=[("MSS", 1460)])
        syn[IP].src = source
        (answer,) = self.send(syn)
        last = self.packet(port, "A", 1001, answer.seq + 1)
        last[IP].src = source
        self.send(last)
        socket = self.listener.accept()
        assert socket is not None
        return socket, answer.seq + 1

    def run(self, until_us: int) -> list[Packet]:
        """Let timers run; return what was sent."""
        sent = []
        while (deadline_us := self.endpoint.next_deadline_us()) is not None and deadline_us <= until_us:
            self.now = max(self.now, deadline_us)
            self.endpoint.run_timers(self.now)
            sent += self.answers()
        self.now = until_us
        return sent

    @property
    def states(self) -> list[State]:
        return [socket.state for socket in self.endpoint.connections]


# Sources that no host has


NO_SOURCES = ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", HOST]
NO_SOURCES_6 = ["::", "::1", "ff02::1", "::ffff:10.0.0.1", HOST6]


@pytest.mark.parametrize("source", [*NO_SOURCES, "10.0.0.255"])
def test_nothing_from_an_address_of_no_host_is_answered(source: str) -> None:
    wire = Crowd(broadcast_addresses=("10.0.0.255",))
    for segment in (TCP(dport=PORT, flags="S"), TCP(dport=PORT + 1, flags="A"), ICMP() / b"ping"):
        assert wire.send(IP(src=source, dst=HOST) / segment) == []
    assert wire.endpoint.counters["bad_source"] == 3
    assert wire.endpoint.connections == []


@pytest.mark.parametrize("source", NO_SOURCES_6)
def test_nothing_from_an_address_of_no_host_is_answered_in_version_6(source: str) -> None:
    wire = Wire()
    wire.endpoint.listen(Address("::", PORT))
    for segment in (TCP(dport=PORT, flags="S"), TCP(dport=PORT + 1, flags="A"), ICMPv6EchoRequest()):
        assert wire.send(IPv6(src=source, dst=HOST6) / segment) == []
    assert wire.endpoint.counters["bad_source"] == 3


@pytest.mark.parametrize("source", ["1.0.0.1", "126.255.255.255", "128.0.0.1", "223.255.255.255", "10.0.0.254"])
def test_addresses_beside_those_are_answered(source: str) -> None:
    assert len(Crowd(broadcast_addresses=("10.0.0.255",)).send(IP(src=source, dst=HOST) / TCP(dport=PORT, flags="S"))) == 1


@pytest.mark.parametrize("remote", [*NO_SOURCES, *NO_SOURCES_6])
def test_connecting_to_no_host_is_an_error(remote: str) -> None:
    wire = Wire()
    with pytest.raises(OSError, match="is not an address of another host"):
        wire.endpoint.connect(Address(remote, PORT), wire.now)
    assert wire.endpoint.connections == []


@pytest.mark.parametrize("address", ["224.0.0.5", "0.0.0.0", "127.0.0.1", "255.255.255.255", "ff02::1", "::1"])
def test_a_host_cannot_have_such_an_address(address: str) -> None:
    with pytest.raises(ValueError, match="not the address of a single host"):
        check(EndpointConfig(addresses=(address,)))


# Connections


def test_syns_beyond_the_limit_of_connections_are_dropped() -> None:
    wire = Crowd(maximum_connections=3)
    for port in (1, 2, 3):
        wire.opened(port)
    assert wire.send(wire.packet(4, "S", 1000)) == []
    assert wire.endpoint.refusals()["connections_refused"] == 1
    with pytest.raises(OSError, match="as many connections as it may have"):
        wire.endpoint.connect(Address(PEER, PORT), wire.now)
    wire.send(wire.packet(2, "R", 1001))
    assert len(wire.send(wire.packet(4, "S", 1000))) == 1


def test_one_peer_has_no_more_than_its_share() -> None:
    wire = Crowd(maximum_connections=10, maximum_connections_of_peer=2)
    wire.opened(1)
    wire.opened(2)
    assert wire.send(wire.packet(3, "S", 1000)) == []
    wire.opened(3, source="10.0.0.3")
    assert len(wire.endpoint.connections) == 3


def test_a_connection_in_time_wait_makes_room() -> None:
    wire = Crowd(maximum_connections=2)
    (first, ack), _ = wire.opened(1), wire.opened(2)
    first.close(wire.now)
    wire.answers()
    wire.send(wire.packet(1, "FA", 1001, ack + 1))
    assert first.state is State.TIME_WAIT
    wire.opened(3)
    assert wire.states == [State.ESTABLISHED, State.ESTABLISHED]
    assert first.state is State.CLOSED


def test_a_handshake_has_an_end_however_often_the_syn_comes() -> None:
    wire = Crowd(synack_retries=10)
    wire.send(wire.packet(5, "S", 1000))
    (half_open,) = wire.endpoint.connections
    begin = wire.now
    while half_open.state is State.SYN_RECEIVED:
        wire.run(wire.now + 900_000)
        wire.send(wire.packet(5, "S", 1000))
        assert wire.now < begin + 80 * SECOND_US
    assert wire.now - begin >= EndpointConfig().half_open_life_us


def test_an_ended_handshake_leaves_the_established_connection_alone() -> None:
    wire = Crowd()
    socket, _ = wire.opened(5)
    wire.run(wire.now + DAY_US)
    assert socket.state is State.ESTABLISHED


def test_a_peer_that_has_gone_does_not_hold_its_connection_where_a_listener_asks_for_keep_alive() -> None:
    """Two hours of silence and nine probes, also where the clock began long ago and the handshake took a while."""
    wire = Crowd()
    wire.now = 10 * 3600 * SECOND_US
    wire.listener.set_option("keepalive", 1, wire.now)
    (answer,) = wire.send(wire.packet(5, "S", 1000))
    wire.run(wire.now + 500_000)
    wire.send(wire.packet(5, "A", 1001, answer.seq + 1))
    begin = wire.now
    wire.run(begin + 2 * 3600 * SECOND_US - 1)
    assert wire.states == [State.ESTABLISHED]
    probes = wire.run(begin + 3 * 3600 * SECOND_US)
    assert [str(packet[TCP].flags) for packet in probes] == ["A"] * 9 + ["RA"]
    assert wire.states == []


# Orphans


def shut_out(wire: Crowd, socket: Socket, ack: int, seconds: int) -> list[Packet]:
    """Let the peer keep its window shut and answer every probe for some time; return what was sent."""
    sent = []
    end = wire.now + seconds * SECOND_US
    while (deadline_us := wire.endpoint.next_deadline_us()) is not None and deadline_us <= end:
        for packet in wire.run(max(deadline_us, wire.now)):
            sent.append(packet)
            if not packet[TCP].flags.R:
                sent += wire.send(wire.packet(socket.remote.port, "A", 1001, ack, window=0))
    return sent


def sending(wire: Crowd, size: int) -> tuple[Socket, int]:
    """A connection on which the application has written, and the number behind what was sent of it."""
    socket, ack = wire.opened(5)
    socket.send(bytes(size), wire.now)
    return socket, ack + sum(len(packet[TCP].payload) for packet in wire.answers())


def test_a_closed_connection_does_not_wait_for_ever_for_a_shut_window() -> None:
    wire = Crowd()
    socket, ack = sending(wire, 100_000)
    wire.send(wire.packet(5, "A", 1001, ack, window=0))
    socket.close(wire.now)
    sent = shut_out(wire, socket, ack, 300)
    assert wire.endpoint.connections == []
    assert sent[-1][TCP].flags.R
    assert wire.endpoint.payload_bytes == 0
    assert sum(1 for packet in sent if not packet[TCP].flags.R) > 5


def test_a_connection_that_is_not_closed_waits_for_a_shut_window() -> None:
    """RFC 9293, section 3.8.6.1: probing may go on for as long as the peer answers; only an application knows better."""
    wire = Crowd()
    socket, ack = sending(wire, 100_000)
    wire.send(wire.packet(5, "A", 1001, ack, window=0))
    shut_out(wire, socket, ack, 3600)
    assert socket.state is State.ESTABLISHED


def test_a_closed_connection_ends_though_its_peer_takes_a_byte_a_minute() -> None:
    wire = Crowd()
    socket, ack = sending(wire, 50_000)
    socket.close(wire.now)
    begin = wire.now
    for taken in count(1):
        wire.send(wire.packet(5, "A", 1001, ack - 7000 + taken, window=0))
        wire.run(wire.now + 60 * SECOND_US)
        if not wire.endpoint.connections:
            break
    assert wire.now - begin == EndpointConfig().orphan_life_us


def test_what_a_slow_peer_still_takes_is_sent() -> None:
    wire = Crowd()
    socket, ack = wire.opened(5)
    socket.send(bytes(100_000), wire.now)
    socket.close(wire.now)
    received, begin = 0, wire.now
    while received < 100_000:
        for packet in [*wire.answers(), *wire.run(wire.now + 10 * SECOND_US)]:
            if packet.seq == ack + received:
                received += len(packet[TCP].payload)
        wire.endpoint.receive(bytes(wire.packet(5, "A", 1001, ack + received, window=2000)), wire.now)
    assert wire.now - begin > EndpointConfig().orphan_timeout_us


def test_the_oldest_orphan_makes_room() -> None:
    wire = Crowd(maximum_orphans=2)
    sockets = [wire.opened(port)[0] for port in (1, 2, 3)]
    for socket in sockets:
        socket.send(b"x", wire.now)
        socket.close(wire.now)
    assert [socket.state for socket in sockets] == [State.CLOSED, State.FIN_WAIT_1, State.FIN_WAIT_1]
    assert [packet.dport for packet in wire.answers() if packet[TCP].flags.R] == [1]
    assert wire.endpoint.refusals()["orphans_dropped"] == 1


def test_time_wait_makes_room_before_a_peer_that_still_receives() -> None:
    wire = Crowd(maximum_orphans=2)
    (first, _), (second, ack), (third, _) = (wire.opened(port) for port in (1, 2, 3))
    for socket in (first, second):
        socket.close(wire.now)
    wire.answers()
    wire.send(wire.packet(2, "FA", 1001, ack + 1))
    third.close(wire.now)
    assert [socket.state for socket in (first, second, third)] == [State.FIN_WAIT_1, State.CLOSED, State.FIN_WAIT_1]


# Payload


def test_idle_connections_hold_no_payload() -> None:
    wire = Crowd()
    for port in range(1, 50):
        wire.opened(port)
    assert wire.endpoint.payload_bytes == 0


def test_buffers_grow_with_what_comes_and_all_arrives_in_order() -> None:
    wire = Crowd()
    socket, ack = wire.opened(5)
    content = bytes(index * 7 % 251 for index in range(20_000))
    pieces = [(start, content[start : start + 1000]) for start in range(0, 20_000, 1000)]
    for start, piece in [*pieces[10:15], *pieces[:5], *pieces[15:], *pieces[5:10]]:
        wire.send(wire.packet(5, "A", 1001 + start, ack, piece))
    assert socket.receive(100_000, wire.now) == content
    assert wire.endpoint.payload_bytes == 32768


def test_a_peer_gets_half_of_the_memory_and_goes_on_with_less() -> None:
    limit = 64 * 1024
    wire = Crowd(memory_limit_bytes=limit)
    sockets = [wire.opened(port) for port in range(1, 41)]
    for port, (_, ack) in enumerate(sockets, 1):
        for start in range(0, 20_000, 1000):
            wire.send(wire.packet(port, "A", 1001 + start, ack, bytes([port]) * 1000))
    held = wire.endpoint.payload_bytes
    assert held <= limit // 2 + 40 * SMALLEST_RING_BYTES
    assert wire.endpoint.refusals()["rings_refused"] > 0
    for port, (socket, _) in enumerate(sockets, 1):
        data = socket.receive(100_000, wire.now)
        assert len(data) >= SMALLEST_RING_BYTES
        assert data == bytes([port]) * len(data)


def test_all_arrives_though_memory_is_short() -> None:
    """The peer sends again what there was no room for, from what is acknowledged on."""
    wire = Crowd(memory_limit_bytes=1)
    socket, ack = wire.opened(5)
    content, received = bytes(index * 7 % 251 for index in range(30_000)), b""
    confirmed = 0
    for _ in range(100):
        if confirmed == len(content):
            break
        for start in range(confirmed, min(confirmed + 8000, len(content)), 1000):
            answers = wire.send(wire.packet(5, "A", 1001 + start, ack, content[start : start + 1000]))
            confirmed = max([confirmed, *(answer[TCP].ack - 1001 for answer in answers)])
        received += socket.receive(100_000, wire.now)
        confirmed = max([confirmed, *(answer[TCP].ack - 1001 for answer in wire.run(wire.now + SECOND_US))])
        assert wire.endpoint.payload_bytes <= SMALLEST_RING_BYTES
    assert received == content


def test_the_application_is_told_that_less_is_taken_when_memory_is_short() -> None:
    wire = Crowd(memory_limit_bytes=1)
    socket, ack = wire.opened(5)
    assert socket.send(bytes(100_000), wire.now) == SMALLEST_RING_BYTES
    assert socket.send(b"more", wire.now) == 0
    wire.answers()
    wire.send(wire.packet(5, "A", 1001, ack + 1000))
    assert socket.send(bytes(100_000), wire.now) == 1000


@pytest.mark.parametrize("keepalive", [0, 1])
def test_a_connection_that_ended_is_let_go_of_at_once(keepalive: int) -> None:
    """An older one with an earlier or a later deadline stands before its timers."""
    wire = Crowd()
    living, _ = wire.opened(60_000)
    living.set_option("keepalive", 1, wire.now)
    references = []
    for port in range(1, 200):
        socket, _ = wire.opened(port)
        socket.set_option("keepalive", keepalive, wire.now)
        socket.send(bytes(5000), wire.now)
        wire.answers()
        wire.send(wire.packet(port, "R", 1001))
        references.append(weakref.ref(socket))
        del socket
    gc.collect()
    assert [reference for reference in references if reference() is not None] == []
    assert wire.endpoint.payload_bytes == 0
    assert wire.endpoint.connections == [living]


def test_answers_to_strangers_do_not_pile_up() -> None:
    wire = Wire()
    ping = bytes(IP(src=PEER, dst=HOST) / ICMP() / b"ping")
    for _ in range(MOST_REPLIES + 10):
        wire.endpoint.receive(ping, wire.now)
    assert len(wire.endpoint.take_packets(wire.now)) == MOST_REPLIES
    assert wire.endpoint.refusals()["replies_dropped"] == 10


# Fragments


def piece(offset: int, size: int, more: bool, **fields: Any) -> bytes:
    fields = {"src": PEER, "dst": HOST, "id": 7, "flags": "MF" if more else 0, "proto": 6} | fields
    return bytes(IP(frag=offset // 8, **fields) / Raw(bytes(size)))


@pytest.mark.parametrize(("first_header", "fits"), [(b"\1" * 40, False), (b"\1" * 20, True)])
def test_a_whole_that_is_too_large_with_the_first_header_is_dropped(first_header: bytes, fits: bool) -> None:
    """Each fragment would fit behind its own header: 65,495 bytes and 40 or 60."""
    reassembly = Reassembly()
    assert reassembly.add(piece(0, 60_000, True, options=first_header), 0) is None
    whole = reassembly.add(piece(60_000, 5495, False), 0)
    assert whole is None if not fits else whole is not None and len(whole) == 65_535


def test_such_a_whole_ends_no_host() -> None:
    wire = Wire()
    for packet in (piece(0, 60_000, True, options=b"\1" * 40), piece(60_000, 5495, False)):
        wire.endpoint.receive(packet, wire.now)
    (answer,) = wire.send(IP(src=PEER, dst=HOST) / ICMP() / b"ping")
    assert answer[ICMP].type == 0


def test_one_source_does_not_push_out_the_packets_of_others() -> None:
    reassembly = Reassembly()
    reassembly.add(piece(0, 800, True, src="10.0.0.9"), 0)
    for number in range(10 * MAX_PACKETS):
        reassembly.add(piece(0, 800, True, id=number), 0)
    assert len(reassembly.add(piece(800, 8, False, src="10.0.0.9"), 0) or b"") == 828
    newest_first = range(10 * MAX_PACKETS - 1, -1, -1)
    own = [number for number in newest_first if reassembly.add(piece(800, 8, False, id=number), 0) is not None]
    assert own == list(newest_first)[:MAX_PACKETS_OF_A_SOURCE]


# Paths with a small MTU


@pytest.mark.parametrize(("mtu", "size", "fragments"), [(600, 560, False), (552, 512, False), (551, 512, True), (68, 512, True)])
def test_routers_may_fragment_where_their_link_takes_less_than_we_send(mtu: int, size: int, fragments: bool) -> None:
    wire = Crowd()
    socket, _ = wire.opened(5)
    socket.send(bytes(5000), wire.now)
    first = wire.answers()[0]
    again = wire.send(IP(src="10.9.9.9", dst=HOST) / ICMP(type=3, code=4, nexthopmtu=mtu) / bytes(first)[:28])
    assert {len(packet[TCP].payload) for packet in again} == {size}
    assert {bool(packet[IP].flags.DF) for packet in again} == {not fragments}
    numbers = [packet[IP].id for packet in again]
    assert len(set(numbers)) == (len(numbers) if fragments else 1)
    other, _ = wire.opened(6)
    other.send(bytes(1000), wire.now)
    sent = wire.answers()
    assert {bool(packet[IP].flags.DF) for packet in sent} == {not fragments}
    assert len(sent[0][TCP].payload) == size


# Cookies


@pytest.mark.parametrize(("of_host", "of_listener"), [(524288, 4096), (524288, 1 << 24), (4096, 1 << 20), (65536, None)])
def test_a_cookie_offers_the_window_scale_of_its_listener(of_host: int, of_listener: int | None) -> None:
    """What the connection announces, shifted as the answer to the SYN said, is the room that it has."""
    wire = Crowd(backlog=8, receive_buffer_bytes=of_host, quick_acks=0)
    if of_listener is not None:
        wire.listener.set_option("receive_buffer_bytes", of_listener, wire.now)
    options = [("MSS", 1460), ("Timestamp", (100, 0)), ("WScale", 7)]
    answers = [wire.send(wire.packet(port, "S", 1000, options=options))[0] for port in range(1, 10)]
    assert wire.listener.cookies_sent == 1
    offered = dict(answers[-1][TCP].options)
    wire.listener.set_option("receive_buffer_bytes", 1 << 18, wire.now)  # what the peer knows must hold
    stamps = [("Timestamp", (101, offered["Timestamp"][0]))]
    for start in (0, 1000):
        ack = answers[-1].seq + 1
        sent = wire.send(wire.packet(9, "A", 1001 + start, ack, bytes(1000), options=stamps))
    socket = wire.listener.accept()
    assert socket is not None
    room = (1 << 18) - 2000
    scale = offered["WScale"]
    assert sent[-1][TCP].window << scale == min(room >> scale, 65535) << scale
    assert offered["WScale"] == next(bits for bits in range(15) if 65535 << bits >= (of_listener or of_host))


def test_the_port_of_a_client_is_not_foretold_without_a_seed() -> None:
    ports = {Wire(seed=None).endpoint.connect(Address(PEER, CLIENT_PORT), 0).local.port for _ in range(8)}
    assert len(ports) > 1
