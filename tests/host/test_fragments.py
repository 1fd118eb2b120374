"""Packets in fragments: scapy takes them apart, and the endpoint puts them together."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, fragment
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6, IPv6ExtHdrFragment, fragment6
from scapy.packet import Packet, Raw

from netstack.host import Address
from netstack.host.fragments import LIFE_US, MAX_FRAGMENTS, MAX_PACKETS, Reassembly
from tests.host.test_endpoint import HOST, HOST6, PEER, PEER6, PORT, Wire

NOW = 1_000_000


def rebuilt(reassembly: Reassembly, pieces: list[bytes], now_us: int = NOW) -> list[bytes]:
    """Return what becomes complete."""
    return [whole for piece in pieces if (whole := reassembly.add(piece, now_us)) is not None]


def in_version_4(payload: bytes, size: int, number: int = 7, **fields: Any) -> list[bytes]:
    return [bytes(piece) for piece in fragment(IP(src=PEER, dst=HOST, id=number, proto=6, **fields) / Raw(payload), size)]


def in_version_6(payload: bytes, packet_bytes: int, number: int = 7) -> list[bytes]:
    packet = IPv6(src=PEER6, dst=HOST6, nh=44) / IPv6ExtHdrFragment(id=number, nh=6) / Raw(payload)
    return [bytes(piece) for piece in fragment6(packet, packet_bytes)]


PAYLOADS = st.binary(min_size=200, max_size=6000)


def assert_complete_with_the_last(pieces: list[bytes], order: random.Random, whole: bytes) -> None:
    """All fragments but one, twice and in any order, make nothing; with that one they make the whole."""
    if len(pieces) == 1:
        return
    last = order.choice(pieces)
    others = [piece for piece in pieces if piece is not last] * 2
    order.shuffle(others)
    reassembly = Reassembly()
    assert rebuilt(reassembly, others) == []
    assert rebuilt(reassembly, [last]) == [whole]


@given(payload=PAYLOADS, size=st.integers(56, 1480), order=st.randoms(), options=st.sampled_from([b"", b"\1" * 8]))
def test_fragments_of_version_4_in_any_order_and_doubled(payload: bytes, size: int, order: random.Random, options: bytes) -> None:
    """The whole is what scapy builds without fragmentation: that also has the checksum of the header."""
    pieces = in_version_4(payload, size, options=options, tos=32)
    whole = bytes(IP(src=PEER, dst=HOST, id=7, proto=6, options=options, tos=32) / Raw(payload))
    assert_complete_with_the_last(pieces, order, whole)


@given(payload=PAYLOADS, size=st.integers(104, 1500), order=st.randoms())
def test_fragments_of_version_6_in_any_order_and_doubled(payload: bytes, size: int, order: random.Random) -> None:
    pieces = in_version_6(payload, size)
    assert_complete_with_the_last(pieces, order, bytes(IPv6(src=PEER6, dst=HOST6, nh=6) / Raw(payload)))


@given(order=st.randoms())
def test_packets_that_arrive_mixed_are_kept_apart(order: random.Random) -> None:
    contents = {number: bytes([number]) * 500 for number in range(5)}
    pieces = [piece for number, payload in contents.items() for piece in in_version_4(payload, 200, number)]
    order.shuffle(pieces)
    whole = rebuilt(Reassembly(), pieces)
    assert {IP(packet).id: bytes(IP(packet).payload) for packet in whole} == contents


def part(start: int, payload: bytes, more: bool, version: int) -> bytes:
    if version == 4:
        flags = "MF" if more else 0
        return bytes(IP(src=PEER, dst=HOST, id=7, proto=6, frag=start // 8, flags=flags) / Raw(payload))
    header = IPv6ExtHdrFragment(id=7, nh=6, offset=start // 8, m=int(more))
    return bytes(IPv6(src=PEER6, dst=HOST6) / header / Raw(payload))


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("start", "size", "more"),
    [(0, 24, True), (8, 8, True), (8, 16, True), (0, 16, True), (24, 16, True), (16, 16, False), (40, 8, True), (48, 1, False)],
)
def test_what_contradicts_other_fragments_spoils_the_packet(version: int, start: int, size: int, more: bool) -> None:
    """RFC 5722, section 4: also what arrives later, so that nothing is completed by other contents than the sender's."""
    reassembly = Reassembly()
    sent = [part(0, b"a" * 16, True, version), part(16, b"b" * 16, True, version), part(32, b"c" * 5, False, version)]
    assert rebuilt(reassembly, [sent[0], sent[2]]) == []
    assert rebuilt(reassembly, [part(start, b"x" * size, more, version)]) == []
    assert rebuilt(reassembly, sent) == []
    assert len(rebuilt(reassembly, sent, NOW + LIFE_US)) == 1


@pytest.mark.parametrize("version", [4, 6])
def test_fragments_that_cannot_be_are_dropped(version: int) -> None:
    """Not a multiple of 8 bytes with more to come, empty, and beyond the largest packet: a copy that is right still counts."""
    reassembly = Reassembly()
    wrong = [part(0, b"x" * 15, True, version), part(16, b"", True, version), part(65528, b"x" * 8, False, version)]
    assert rebuilt(reassembly, wrong) == []
    assert len(rebuilt(reassembly, [part(0, b"a" * 16, True, version), part(16, b"b", False, version)])) == 1


def test_time_and_number_of_incomplete_packets_are_bounded() -> None:
    reassembly = Reassembly()
    firsts, seconds = zip(*(in_version_4(bytes(200), 104, number) for number in range(MAX_PACKETS + 1)), strict=True)
    assert rebuilt(reassembly, list(firsts)) == []
    assert rebuilt(reassembly, [seconds[0]]) == []  # made room for the last one, and now begins anew in place of the next
    assert rebuilt(reassembly, [seconds[1]]) == []
    assert len(rebuilt(reassembly, [seconds[-1]])) == 1
    assert rebuilt(reassembly, [seconds[-2]], NOW + LIFE_US) == []


def test_number_of_fragments_is_bounded() -> None:
    for count, complete in ((MAX_FRAGMENTS, 1), (MAX_FRAGMENTS + 1, 0)):
        pieces = [part(8 * place, bytes(8), place < count - 1, 4) for place in range(count)]
        assert len(rebuilt(Reassembly(), pieces)) == complete


@pytest.mark.parametrize(("marks", "found"), [((2, 2), 2), ((2, 3), 3), ((3, 2), 3), ((1, 1), 1), ((0, 3), None)])
@pytest.mark.parametrize("version", [4, 6])
def test_congestion_marks_of_fragments(version: int, marks: tuple[int, int], found: int | None) -> None:
    """RFC 3168, section 5.3."""
    pieces: list[bytes] = []
    for place, mark in enumerate(marks):
        packet: Packet = (
            IP(part(8 * place, bytes(8), place == 0, 4)) if version == 4 else IPv6(part(8 * place, bytes(8), place == 0, 6))
        )
        if version == 4:
            packet.tos = mark
            del packet.chksum
        else:
            packet.tc = mark
        pieces.append(bytes(packet))
    whole = rebuilt(Reassembly(), pieces)
    assert [(IP(packet).tos if version == 4 else IPv6(packet).tc) for packet in whole] == ([] if found is None else [found])


@given(
    pieces=st.lists(
        st.tuples(st.integers(0, 4), st.binary(max_size=24), st.booleans(), st.sampled_from([4, 6])), min_size=2, max_size=30
    )
)
def test_any_fragments_make_only_packets_of_what_was_sent(pieces: list[tuple[int, bytes, bool, int]]) -> None:
    """Every byte was sent for its place, and the end is that of a last fragment."""
    reassembly = Reassembly()
    for count, (place, payload, more, version) in enumerate(pieces, 1):
        whole = reassembly.add(part(8 * place, payload, more, version), NOW)
        if whole is None:
            continue
        body = whole[20:] if version == 4 else whole[40:]
        sent = [(8 * start, data, last) for start, data, follows, of in pieces[:count] if of == version for last in [not follows]]
        assert len(body) in {start + len(data) for start, data, last in sent if last}
        for index, byte in enumerate(body):
            assert byte in {data[index - start] for start, data, _ in sent if start <= index < start + len(data)}


class TestEndpoint:
    def test_a_segment_in_fragments_is_received(self) -> None:
        wire = Wire()
        socket, seq = wire.accepted()
        for piece in fragment(wire.tcp("PA", 1001, seq, bytes(range(200))), 64):
            wire.send(piece)
        assert socket.receive(1000, wire.now) == bytes(range(200))
        assert wire.endpoint.counters["bad"] == 0
        assert wire.endpoint.counters["fragments"] == 4

    def test_a_syn_and_an_echo_request_of_version_6(self) -> None:
        wire = Wire()
        wire.endpoint.listen(Address(HOST6, PORT))
        for behind in (TCP(sport=5000, dport=PORT, flags="S", seq=7) / Raw(bytes(100)), ICMPv6EchoRequest(id=3, data=bytes(100))):
            packet = IPv6(src=PEER6, dst=HOST6) / behind
            number = packet.nh if packet.nh != 59 else IPv6(bytes(packet)).nh
            plain = bytes(packet)[40:]
            head = IPv6(src=PEER6, dst=HOST6) / IPv6ExtHdrFragment(id=9, nh=number, m=1) / Raw(plain[:48])
            rest = IPv6(src=PEER6, dst=HOST6) / IPv6ExtHdrFragment(id=9, nh=number, offset=6) / Raw(plain[48:])
            assert wire.send(rest) == []
            (answer,) = wire.send(head)
            assert TCP in answer or answer[ICMPv6EchoReply].data == bytes(100)

    @pytest.mark.parametrize(("size", "answered"), [(1472, True), (1473, False)])
    def test_an_echo_request_is_answered_if_the_answer_needs_no_fragments(self, size: int, answered: bool) -> None:
        wire = Wire(mtu_bytes=1500)
        pieces = fragment(IP(src=PEER, dst=HOST) / ICMP(id=7) / Raw(bytes(size)), 400)
        answers = [answer for piece in pieces for answer in wire.send(piece)]
        assert [bytes(answer[ICMP].payload) for answer in answers] == ([bytes(size)] if answered else [])

    def test_fragments_for_others_are_not_kept(self) -> None:
        wire = Wire()
        for piece in fragment(IP(src=PEER, dst="10.0.0.9") / ICMP() / Raw(bytes(1000)), 400):
            assert wire.send(piece) == []
        assert wire.endpoint.counters["not_for_us"] == 3
