"""Packets as scapy reads and writes them."""

from dataclasses import replace

import pytest
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6
from scapy.packet import Packet, Raw

from netstack.script import packets
from netstack.script.packets import Header, IcmpMessage, PacketError, Segment, build_icmp, build_segment, read_packet
from netstack.script.syntax import IpInfo, TcpOption

V4 = Header("192.0.2.1", "192.168.0.1", packets.TCP, tos=2)
V6 = Header("2001:db8::1", "fd3d:fa7b:d17d::1", packets.TCP, flow_label=0x12345)
OPTIONS = (
    TcpOption("mss", (1460,)),
    TcpOption("nop"),
    TcpOption("wscale", (7,)),
    TcpOption("sackOK"),
    TcpOption("TS", (100, 0xFFFFFFFF)),
)
SYN = Segment(V4, 49152, 8080, 0xFFFFFFFF, 0, packets.flag_bits("SEW"), 65535, 0, OPTIONS, b"")


def has_right_checksums(packet: Packet) -> bool:
    again = packet.copy()
    if isinstance(again, IP):
        del again.chksum
    del again[TCP].chksum
    return bytes(again) == bytes(packet)


@pytest.mark.parametrize(("header", "kind"), [(V4, IP), (V6, IPv6)])
def test_scapy_reads_a_segment(header: Header, kind: type) -> None:
    packet = kind(build_segment(replace(SYN, header=header)))
    assert (packet.src, packet.dst) == (header.source, header.destination)
    tcp = packet[TCP]
    assert (tcp.sport, tcp.dport, tcp.seq, tcp.ack, tcp.window) == (49152, 8080, 0xFFFFFFFF, 0, 65535)
    assert str(tcp.flags) == "SEC"
    assert tcp.options == [("MSS", 1460), ("NOP", None), ("WScale", 7), ("SAckOK", b""), ("Timestamp", (100, 0xFFFFFFFF))] + [
        ("EOL", None)
    ] * (len(tcp.options) - 5)
    assert has_right_checksums(packet)


def test_scapy_reads_data_with_selective_acknowledgments() -> None:
    segment = replace(SYN, flags=packets.flag_bits("P."), options=(TcpOption("sack", (1, 2, 3, 4)),), payload=b"odd")
    packet = IP(build_segment(segment))
    assert packet.tos == 2
    assert packet[TCP].options[0] == ("SAck", (1, 2, 3, 4))
    assert bytes(packet[TCP].payload) == b"odd"
    assert has_right_checksums(packet)


@pytest.mark.parametrize("header", [V4, V6])
def test_a_segment_is_read_as_it_was_built(header: Header) -> None:
    segment = replace(SYN, header=header, flags=packets.flag_bits("FRPU.", ace=5), urgent=7, payload=b"abc")
    options = (TcpOption("FO", blob=b"12345678"), TcpOption("FOEXP", blob=b"1234"))
    read = read_packet(build_segment(replace(segment, options=options)))
    assert isinstance(read, Segment)
    assert read == replace(segment, options=read.options)
    assert read.options[:2] == options


def test_what_scapy_builds_is_read() -> None:
    built = bytes(
        IP(src="192.168.0.1", dst="192.0.2.1", ttl=64)
        / TCP(sport=1, dport=2, seq=5, flags="PA", options=[("MSS", 9)])
        / Raw(b"x")
    )
    segment = read_packet(built)
    assert isinstance(segment, Segment)
    assert (segment.seq, segment.flags, segment.options, segment.payload) == (5, 24, (TcpOption("mss", (9,)),), b"x")
    assert segment.header == Header("192.168.0.1", "192.0.2.1", packets.TCP, ttl=64)


def test_scapy_reads_an_icmp_message_about_a_segment() -> None:
    quoted = packets.quoted_segment(Header("192.168.0.1", "192.0.2.1", packets.TCP), (8080, 49152), 1000, 1460)
    packet = IP(build_icmp(IcmpMessage(replace(V4, protocol=packets.ICMP), 3, 4, 1200, quoted)))
    assert (packet[ICMP].type, packet[ICMP].code, packet[ICMP].nexthopmtu) == (3, 4, 1200)
    inner = packet[ICMP].payload
    assert (inner.src, inner.dst, inner.len, inner.sport, inner.dport, inner.seq) == (
        "192.168.0.1",
        "192.0.2.1",
        1500,
        8080,
        49152,
        1000,
    )
    again = packet.copy()
    del again[ICMP].chksum
    assert bytes(again) == bytes(packet)


def test_scapy_reads_an_icmpv6_message() -> None:
    quoted = packets.quoted_segment(Header(V6.destination, V6.source, packets.TCP), (8080, 49152), 1000, 1440)
    packet = IPv6(build_icmp(IcmpMessage(replace(V6, protocol=packets.ICMPV6), 2, 0, 1280, quoted)))
    assert packet[ICMPv6PacketTooBig].mtu == 1280
    again = packet.copy()
    del again[ICMPv6PacketTooBig].cksum
    assert bytes(again) == bytes(packet)


@pytest.mark.parametrize(
    ("position", "message"),
    [(40, "TCP checksum"), (8, "IPv4 header checksum"), (0, "no IP packet")],
)
def test_a_damaged_packet_is_refused(position: int, message: str) -> None:
    damaged = bytearray(build_segment(SYN))
    damaged[position] ^= 0xFF
    with pytest.raises(PacketError, match=message):
        read_packet(bytes(damaged))


@pytest.mark.parametrize("cut", [0, 1, 19, 20, 30, 50])
def test_a_cut_packet_is_refused(cut: int) -> None:
    with pytest.raises(PacketError):
        read_packet(build_segment(SYN)[:cut])


@pytest.mark.parametrize(
    ("version", "kind", "code", "numbers"),
    [
        (4, "unreachable", "frag_needed", (3, 4)),
        (6, "unreachable", "no_route", (1, 0)),
        (4, "source_quench", None, (4, 0)),
        (4, "type_40", None, (40, 0)),
        (6, "parameter_problem", "code_7", (4, 7)),
    ],
)
def test_icmp_types_and_codes_have_names_and_numbers(version: int, kind: str, code: str | None, numbers: tuple[int, int]) -> None:
    assert packets.icmp_numbers(version, kind, code) == numbers


@pytest.mark.parametrize(
    ("version", "kind", "code", "message"),
    [
        (6, "source_quench", None, "source_quench is not an ICMP type of IPv6"),
        (4, "type_256", None, "type_256 is not an ICMP type of IPv4"),
        (4, "redirect", "no_route", "no_route is not a code of ICMP redirect"),
    ],
)
def test_an_icmp_type_or_code_that_there_is_not(version: int, kind: str, code: str | None, message: str) -> None:
    with pytest.raises(PacketError, match=f"^{message}$"):
        packets.icmp_numbers(version, kind, code)


def test_too_many_options_are_refused() -> None:
    with pytest.raises(PacketError, match="44 bytes, at most 40"):
        build_segment(replace(SYN, options=(TcpOption("sack", tuple(range(10))),)))


def test_what_a_script_leaves_open_in_the_ip_header() -> None:
    assert packets.header_of("192.0.2.1", "192.0.2.2", packets.TCP, IpInfo(ecn="ce")).tos == 3
    assert packets.header_of("192.0.2.1", "192.0.2.2", packets.TCP, IpInfo()).ttl == packets.TTL
