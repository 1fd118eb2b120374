"""The endpoint packet by packet: what it answers, checked by scapy, and what it must not believe."""

from dataclasses import replace
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, TCPerror
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6PacketTooBig, IPv6
from scapy.packet import Packet, Raw

from netstack.host import Address, Endpoint, EndpointConfig, Listener, Socket
from netstack.host.secrets import Secrets, cookie_options, cookie_timestamp
from netstack.tcp.states import State

HOST, PEER = "10.0.0.2", "10.0.0.1"
HOST6, PEER6 = "fd00::2", "fd00::1"
PORT, CLIENT_PORT = 80, 5000
SYN_OPTIONS = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (100, 0)), ("NOP", None), ("WScale", 7)]


class Wire:
    """A peer that speaks scapy, on a clock that stands still unless told."""

    def __init__(self, **settings: Any) -> None:
        self.endpoint = Endpoint(replace(EndpointConfig(addresses=(HOST, HOST6), seed=1), **settings))
        self.now = 1_000_000
        self.listeners: list[Listener] = []

    def send(self, packet: Packet, checked: bool = True) -> list[Packet]:
        """The peer sends a packet; return what comes back, each with checksums that scapy computes too."""
        self.endpoint.receive(bytes(packet), self.now)
        return self.answers() if checked else []

    def answers(self) -> list[Packet]:
        found = []
        for raw in self.endpoint.take_packets(self.now):
            packet = IPv6(raw) if raw[0] >> 4 == 6 else IP(raw)
            again = packet.copy()
            if IP in again:
                del again[IP].chksum, again[IP].len
            else:
                del again[IPv6].plen
            if TCP in again:
                del again[TCP].chksum, again[TCP].dataofs
            assert bytes(again) == raw
            found.append(packet)
        return found

    def tcp(self, flags: str, seq: int, ack: int = 0, payload: bytes = b"", **fields: Any) -> Packet:
        segment = TCP(sport=CLIENT_PORT, dport=PORT, flags=flags, seq=seq, ack=ack, window=8000)
        for name, value in fields.items():
            setattr(segment, name, value)
        return IP(src=PEER, dst=HOST) / segment / Raw(payload)

    def accepted(self, **settings: Any) -> tuple[Socket, int]:
        """A connection that the peer opened from 1000 on, and our next sequence number."""
        listener = self.endpoint.listen(Address(HOST, PORT))
        self.listeners.append(listener)
        (answer,) = self.send(self.tcp("S", 1000, options=[("MSS", 1460)]))
        self.send(self.tcp("A", 1001, answer.seq + 1))
        socket = listener.accept()
        assert socket is not None
        return socket, answer.seq + 1


class TestHandshake:
    def test_all_options_are_agreed_on(self) -> None:
        wire = Wire()
        wire.endpoint.listen(Address(HOST, PORT))
        (answer,) = wire.send(wire.tcp("S", 1000, options=SYN_OPTIONS))
        assert (answer.src, answer.dst, answer[IP].ttl, answer[IP].flags.DF) == (HOST, PEER, 64, True)
        assert (answer[TCP].flags, answer.ack) == ("SA", 1001)
        names = [name for name, _ in answer[TCP].options]
        assert names == ["MSS", "SAckOK", "Timestamp", "NOP", "WScale"]
        assert dict(answer[TCP].options)["Timestamp"][1] == 100

    def test_what_the_peer_does_not_offer_is_not_used(self) -> None:
        wire = Wire()
        wire.endpoint.listen(Address(HOST, PORT))
        (answer,) = wire.send(wire.tcp("S", 1000))
        assert [name for name, _ in answer[TCP].options] == ["MSS"]

    def test_ip_version_6(self) -> None:
        wire = Wire()
        wire.endpoint.listen(Address(HOST6, PORT))
        (answer,) = wire.send(IPv6(src=PEER6, dst=HOST6) / TCP(sport=CLIENT_PORT, dport=PORT, flags="S", seq=7))
        assert (answer.src, answer.dst, answer[TCP].flags, answer[TCP].ack) == (HOST6, PEER6, "SA", 8)
        assert dict(answer[TCP].options)["MSS"] == 1440

    def test_sequence_numbers_cannot_be_guessed_and_go_on(self) -> None:
        """RFC 6528: another port begins elsewhere; the same connection 4 us later is one further."""
        secrets = Secrets(None)
        assert secrets.initial_sequence(b"a", 4000) != secrets.initial_sequence(b"b", 4000)
        assert secrets.initial_sequence(b"a", 4004) == (secrets.initial_sequence(b"a", 4000) + 1) % (1 << 32)
        assert Secrets(None).initial_sequence(b"a", 0) != Secrets(None).initial_sequence(b"a", 0)


class TestCookies:
    """RFC 4987, section 3.6."""

    @staticmethod
    def flooded(**settings: Any) -> tuple[Wire, Any]:
        wire = Wire(**settings)
        listener = wire.endpoint.listen(Address(HOST, PORT), backlog=8)
        for port in range(6000, 6008):
            assert wire.send(wire.tcp("S", 1, sport=port))
        return wire, listener

    def test_a_flood_does_not_keep_others_out_and_keeps_nothing(self) -> None:
        wire, listener = self.flooded()
        (answer,) = wire.send(wire.tcp("S", 1000, options=SYN_OPTIONS))
        assert len(wire.endpoint.connections) == 8
        value, _ = dict(answer[TCP].options)["Timestamp"]
        request = wire.tcp("PA", 1001, answer.seq + 1, b"hello", options=[("Timestamp", (200, value))])
        wire.now += 50_000
        wire.send(request)
        socket = listener.accept()
        assert socket.state is State.ESTABLISHED
        assert socket.receive(10, wire.now) == b"hello"
        info = socket.info()
        assert (info["snd_mss"], info["snd_wscale"], info["options"] & 7) == (1448, 7, 7)

    def test_without_time_stamps_only_the_segment_size_is_kept(self) -> None:
        wire, listener = self.flooded()
        (answer,) = wire.send(wire.tcp("S", 1000, options=[("MSS", 1400), ("WScale", 7)]))
        wire.send(wire.tcp("A", 1001, answer.seq + 1))
        info = listener.accept().info()
        assert (info["snd_mss"], info["snd_wscale"], info["options"] & 7) == (1300, 0, 0)

    @pytest.mark.parametrize(("delta", "later_us"), [(1, 0), (0, 200_000_000), (1 << 24, 0)])
    def test_a_wrong_or_old_cookie_is_refused(self, delta: int, later_us: int) -> None:
        wire, listener = self.flooded()
        (answer,) = wire.send(wire.tcp("S", 1000))
        wire.now += later_us
        (reset,) = wire.send(wire.tcp("A", 1001, (answer.seq + 1 + delta) % (1 << 32)))
        assert reset[TCP].flags == "R"
        assert listener.accept() is None

    def test_a_cookie_for_which_there_is_no_place_yet_is_not_refused(self) -> None:
        """The peer believes in its connection: its data comes again, and finds a place then."""
        wire, listener = self.flooded()
        (answer,) = wire.send(wire.tcp("S", 1000))
        for port, socket in zip(range(6000, 6008), wire.endpoint.connections, strict=True):
            wire.send(wire.tcp("A", 2, int(socket.pcb["snd_max"]), sport=port))
        request = wire.tcp("PA", 1001, answer.seq + 1, b"hello")
        assert wire.send(request) == []
        while listener.accept() is not None:
            pass
        wire.send(request)
        assert listener.accept().receive(10, wire.now) == b"hello"

    @pytest.mark.parametrize("payload", [b" world", b""])
    def test_what_follows_a_lost_segment_with_the_cookie_is_not_refused(self, payload: bytes) -> None:
        """More data, or the acknowledgment of a second SYN-ACK: only what comes first can open the connection."""
        wire, listener = self.flooded()
        (answer,) = wire.send(wire.tcp("S", 1000))
        later = wire.tcp("A", 1006, answer.seq + 1, payload)
        assert wire.send(later) == []
        wire.send(wire.tcp("A", 1001, answer.seq + 1, b"hello"))
        wire.send(later)
        assert listener.accept().receive(20, wire.now) == b"hello" + payload

    @pytest.mark.parametrize("first", [b"", b"hello"])
    def test_a_cookie_holds_though_a_second_syn_found_place(self, first: bytes) -> None:
        """The peer goes by the first SYN-ACK that it gets."""
        wire, listener = self.flooded()
        (answer,) = wire.send(wire.tcp("S", 1000))
        wire.send(wire.tcp("R", 2, sport=6000))
        (second,) = wire.send(wire.tcp("S", 1000))
        assert second.seq != answer.seq
        assert wire.send(wire.tcp("A", 1006, answer.seq + 1, b" world")) == []  # overtook the first
        wire.send(wire.tcp("A", 1001, answer.seq + 1, first))
        socket = listener.accept()
        assert (socket.state, socket.receive(10, wire.now)) == (State.ESTABLISHED, first)
        assert len(wire.endpoint.connections) == 8

    def test_numbers_of_an_earlier_connection_are_no_cookie(self) -> None:
        """Both ends sent as much: the distance of the numbers is that of the handshake."""
        wire, listener = self.flooded()
        (answer,) = wire.send(wire.tcp("S", 1000))
        (reset,) = wire.send(wire.tcp("A", 1001 + 500, answer.seq + 1 + 500))
        assert reset[TCP].flags == "R"
        assert listener.accept() is None

    def test_when_they_are_off_the_flood_wins(self) -> None:
        wire, listener = self.flooded(syn_cookies=False)
        assert wire.send(wire.tcp("S", 1000)) == []
        assert listener.dropped == 1

    @pytest.mark.parametrize(("scale", "sack"), [(-1, False), (0, True), (14, True)])
    def test_options_travel_in_the_time_stamp(self, scale: int, sack: bool) -> None:
        for value in (0, 31, 32, 12345, (1 << 32) - 1):
            stamp = cookie_timestamp(value, scale, sack)
            assert cookie_options(stamp) == (scale, sack)
            assert 0 <= (value - stamp) % (1 << 32) < 32


class TestUntrusted:
    @pytest.mark.parametrize("damage", ["ip checksum", "tcp checksum", "short", "offset", "version"])
    def test_damaged_packets_are_counted_and_not_answered(self, damage: str) -> None:
        wire = Wire()
        packet = wire.tcp("S", 1000)
        raw = bytearray(bytes(packet))
        if damage == "ip checksum":
            raw[10] ^= 1
        elif damage == "tcp checksum":
            raw[36] ^= 1
        elif damage == "short":
            raw = raw[:30]
        elif damage == "offset":
            raw = bytearray(bytes(wire.tcp("S", 1000, dataofs=4)))
        else:
            raw[0] = 0x55
        wire.endpoint.receive(bytes(raw), wire.now)
        assert wire.answers() == []
        assert wire.endpoint.counters["bad"] == 1

    def test_packets_for_others_are_not_answered(self) -> None:
        wire = Wire()
        assert wire.send(IP(src=PEER, dst="10.0.0.9") / TCP(flags="S", dport=PORT)) == []
        assert wire.send(IP(src=PEER, dst=HOST) / UDP(dport=53) / Raw(b"x")) == []

    def test_a_closed_port_refuses(self) -> None:
        (answer,) = Wire().send(IP(src=PEER, dst=HOST) / TCP(sport=9, dport=9, flags="S", seq=5) / Raw(b"abc"))
        assert (answer[TCP].flags, answer[TCP].seq, answer[TCP].ack) == ("RA", 0, 9)


class TestIcmp:
    @pytest.mark.parametrize("payload", [b"", b"abc", bytes(1000)])
    def test_echo(self, payload: bytes) -> None:
        (answer,) = Wire().send(IP(src=PEER, dst=HOST) / ICMP(id=7, seq=3) / Raw(payload))
        assert (answer[ICMP].type, answer[ICMP].id, answer[ICMP].seq, bytes(answer[ICMP].payload)) == (0, 7, 3, payload)

    def test_echo_of_version_6(self) -> None:
        (answer,) = Wire().send(IPv6(src=PEER6, dst=HOST6) / ICMPv6EchoRequest(id=7, seq=3, data=b"abc"))
        reply = answer[ICMPv6EchoReply]
        assert (reply.id, reply.seq, reply.data) == (7, 3, b"abc")

    @staticmethod
    def about(seq: int, kind: int, code: int, mtu: int = 0) -> Packet:
        inner = IPerror(src=HOST, dst=PEER, proto=6) / TCPerror(sport=PORT, dport=CLIENT_PORT, seq=seq)
        return IP(src="10.9.9.9", dst=HOST) / ICMP(type=kind, code=code, nexthopmtu=mtu) / inner

    def test_a_smaller_path_makes_smaller_segments_and_sends_again(self) -> None:
        """RFC 1191: 800 bytes of MTU carry 760 of payload."""
        wire = Wire()
        socket, seq = wire.accepted()
        socket.send(bytes(1460), wire.now)
        assert [len(packet[TCP].payload) for packet in wire.answers()] == [1460]
        again = wire.send(self.about(seq, 3, 4, 800))
        assert [(packet.seq - seq, len(packet[TCP].payload)) for packet in again] == [(0, 760), (760, 700)]

    def test_a_message_about_what_is_not_outstanding_is_an_attack(self) -> None:
        """RFC 5927, section 4.1."""
        wire = Wire()
        socket, seq = wire.accepted()
        socket.send(bytes(100), wire.now)
        wire.answers()
        for wrong in (seq - 1, seq + 100, seq + 5000):
            assert wire.send(self.about(wrong % (1 << 32), 3, 4, 800)) == []
        assert socket.info()["snd_mss"] == 1460

    def test_an_idle_connection_has_no_segment_that_a_message_could_be_about(self) -> None:
        """RFC 5927, section 4.1: from SND.UNA on, and below SND.NXT."""
        wire = Wire()
        socket, seq = wire.accepted()
        wire.send(self.about(seq, 3, 4, 800))
        wire.send(self.about(seq, 3, 1))
        assert wire.endpoint.path_mss(PEER) == 1460
        assert socket.soft_error is None

    def test_no_router_can_ask_for_tiny_segments(self) -> None:
        wire = Wire()
        socket, seq = wire.accepted()
        socket.send(bytes(1460), wire.now)
        wire.answers()
        wire.send(self.about(seq, 3, 4, 68))
        assert socket.info()["snd_mss"] == 552 - 40

    def test_unreachable_ends_an_attempt_and_not_a_connection(self) -> None:
        """RFC 1122, section 4.2.3.9, and RFC 5461."""
        wire = Wire()
        socket, seq = wire.accepted()
        socket.send(bytes(10), wire.now)
        wire.answers()
        wire.send(self.about(seq, 3, 1))
        assert (socket.state, socket.error) == (State.ESTABLISHED, None)
        attempt = wire.endpoint.connect(Address(PEER, 9), wire.now)
        (syn,) = wire.answers()
        inner = IPerror(bytes(syn)[:28])
        wire.send(IP(src="10.9.9.9", dst=HOST) / ICMP(type=3, code=1) / inner)
        assert isinstance(attempt.error, OSError)
        assert attempt.state is State.CLOSED

    def test_packet_too_big_of_version_6(self) -> None:
        wire = Wire()
        wire.endpoint.connect(Address(PEER6, 9), wire.now)
        (syn,) = wire.answers()
        reply = TCP(sport=9, dport=syn[TCP].sport, flags="SA", seq=100, ack=syn[TCP].seq + 1, options=[("MSS", 1440)])
        wire.send(IPv6(src=PEER6, dst=HOST6) / reply)
        (socket,) = wire.endpoint.connections
        socket.send(bytes(1440), wire.now)
        (packet,) = wire.answers()
        again = wire.send(IPv6(src="fd00::9", dst=HOST6) / ICMPv6PacketTooBig(mtu=1300) / Raw(bytes(packet)))
        assert [len(one[TCP].payload) for one in again] == [1240, 200]


class TestTimeWait:
    @staticmethod
    def waiting(wire: Wire) -> tuple[Socket, int]:
        socket, seq = wire.accepted()
        socket.close(wire.now)
        wire.answers()
        wire.send(wire.tcp("FA", 1001, seq + 1))
        assert socket.state is State.TIME_WAIT
        return socket, seq

    def test_a_newer_syn_opens_the_connection_anew(self) -> None:
        """RFC 9293, section 3.10.7.4: its sequence number is beyond all that was received."""
        wire = Wire()
        old, _ = self.waiting(wire)
        (answer,) = wire.send(wire.tcp("S", 5000))
        assert (answer[TCP].flags, answer[TCP].ack, old.state) == ("SA", 5001, State.CLOSED)

    def test_an_old_syn_does_not(self) -> None:
        wire = Wire()
        old, _ = self.waiting(wire)
        (answer,) = wire.send(wire.tcp("S", 900))
        assert (answer[TCP].flags, answer[TCP].ack, old.state) == ("A", 1002, State.TIME_WAIT)

    def test_when_nobody_listens_it_goes_on(self) -> None:
        """RFC 9293, section 3.10.7.4: only a passive open may take its place."""
        wire = Wire()
        old, _ = self.waiting(wire)
        for listener in wire.listeners:
            listener.close(wire.now)
        (answer,) = wire.send(wire.tcp("S", 5000))
        assert (answer[TCP].flags, answer[TCP].ack, old.state) == ("A", 1002, State.TIME_WAIT)

    def test_it_ends_after_two_segment_lifetimes(self) -> None:
        wire = Wire(maximum_segment_lifetime_us=10_000_000)
        old, seq = self.waiting(wire)
        wire.now += 15_000_000
        wire.send(wire.tcp("FA", 1001, seq + 1))  # again, and the wait begins anew
        wire.now += 19_999_999
        wire.endpoint.run_timers(wire.now)
        assert old.state is State.TIME_WAIT
        wire.now += 1
        wire.endpoint.run_timers(wire.now)
        assert (old.state, wire.endpoint.connections) == (State.CLOSED, [])


class TestSocket:
    def test_closing_with_unread_bytes_resets(self) -> None:
        """RFC 2525, section 2.17."""
        wire = Wire()
        socket, seq = wire.accepted()
        wire.send(wire.tcp("PA", 1001, seq, b"never read"))
        socket.close(wire.now)
        (answer,) = wire.answers()
        assert answer[TCP].flags == "RA"

    def test_an_error_is_raised_once(self) -> None:
        wire = Wire()
        socket, seq = wire.accepted()
        wire.send(wire.tcp("R", 1001, seq))
        assert socket.readable
        with pytest.raises(ConnectionResetError):
            socket.receive(10, wire.now)
        assert socket.receive(10, wire.now) == b""
        assert socket.at_eof
        with pytest.raises(BrokenPipeError):
            socket.send(b"x", wire.now)

    def test_what_was_received_before_a_reset_can_still_be_read(self) -> None:
        wire = Wire()
        socket, seq = wire.accepted()
        wire.send(wire.tcp("PA", 1001, seq, b"last words"))
        wire.send(wire.tcp("R", 1011, seq))
        assert socket.receive(100, wire.now) == b"last words"
        with pytest.raises(ConnectionResetError):
            socket.receive(10, wire.now)

    def test_the_buffer_is_the_limit(self) -> None:
        wire = Wire(send_buffer_bytes=1000)
        socket, _ = wire.accepted()
        assert socket.send(bytes(5000), wire.now) == 1000
        assert not socket.writable
        assert socket.send(b"x", wire.now) == 0

    @pytest.mark.parametrize(
        ("settings", "text"),
        [
            ({"addresses": ()}, "addresses: at least one"),
            ({"mtu_bytes": 20}, "mtu_bytes=20: must be from 68 to 65535"),
            ({"congestion_control": "vegas"}, "congestion_control=vegas: allowed are cubic, reno"),
            ({"receive_buffer_bytes": 1}, "receive_buffer_bytes=1: must be"),
            ({"initial_window_segments": 65536}, "initial_window_segments=65536: must be from 0 to 65535"),
            ({"initial_rto_us": 1 << 31}, "initial_rto_us=2147483648: must be from 0 to 2147483647"),
            ({"addresses": ("10.0.0",)}, "'10.0.0' is not an IP address"),
        ],
    )
    def test_a_wrong_setting_is_refused(self, settings: dict, text: str) -> None:
        with pytest.raises(ValueError, match=text):
            Wire(**settings)

    def test_addresses_that_are_not_ours_or_in_use(self) -> None:
        wire = Wire()
        wire.endpoint.listen(Address(HOST, PORT))
        with pytest.raises(OSError, match=r"10\.0\.0\.2:80 is listened to already"):
            wire.endpoint.listen(Address(HOST, PORT))
        with pytest.raises(OSError, match="not an address of this host"):
            wire.endpoint.listen(Address("10.0.0.9", PORT))
        wire.endpoint.connect(Address(PEER, 9), wire.now, Address(HOST, 1000))
        with pytest.raises(OSError, match="is connected to"):
            wire.endpoint.connect(Address(PEER, 9), wire.now, Address(HOST, 1000))
