"""Packets on the wire: builds those of a script's inbound events, and reads those that the stack sent.

IPv4 and IPv6, TCP, and ICMP of both (RFC 791, 8200, 9293, 792, 4443). Numbers are those of the wire. Knows no time of a script
and no relative sequence number.
"""

import ipaddress
import struct
from dataclasses import dataclass

from netstack.script.syntax import IpInfo, TcpOption

TCP, ICMP, ICMPV6 = 6, 1, 58
FLAG_BITS = {"F": 1, "S": 2, "R": 4, "P": 8, ".": 16, "U": 32, "E": 64, "W": 128, "A": 256}
"""The letters of scripts; W is CWR, E is ECE (RFC 3168, section 6.1), A is AE (RFC 9768)."""
ECN_BITS = {"noecn": 0, "ect1": 1, "ect0": 2, "ce": 3}
_ECN_NAMES = {bits: name for name, bits in ECN_BITS.items()}
TTL = 255  # of packets of the script's host
_FAST_OPEN_EXPERIMENT = b"\xf9\x89"  # RFC 7413, appendix A
_OPTION_KINDS = {"eol": 0, "nop": 1, "mss": 2, "wscale": 3, "sackOK": 4, "sack": 5, "TS": 8, "md5": 19, "FO": 34, "FOEXP": 254}
_OPTION_NAMES = {kind: name for name, kind in _OPTION_KINDS.items()}

ICMP_TYPES: dict[int, dict[str, int]] = {
    4: {
        "echo_reply": 0,
        "unreachable": 3,
        "source_quench": 4,
        "redirect": 5,
        "echo_request": 8,
        "time_exceeded": 11,
        "parameter_problem": 12,
        "timestamp_request": 13,
        "timestamp_reply": 14,
        "information_request": 15,
        "information_reply": 16,
        "address_mask_request": 17,
        "address_mask_reply": 18,
    },
    6: {
        "unreachable": 1,
        "packet_too_big": 2,
        "time_exceeded": 3,
        "parameter_problem": 4,
        "echo_request": 128,
        "echo_reply": 129,
    },
}
"""ICMP types by their names in scripts, for each IP version (the registries of IANA)."""
ICMP_CODES: dict[tuple[int, str], dict[str, int]] = {
    (4, "unreachable"): {
        "net_unreachable": 0,
        "host_unreachable": 1,
        "protocol_unreachable": 2,
        "port_unreachable": 3,
        "frag_needed": 4,
        "source_route_failed": 5,
        "net_unknown": 6,
        "host_unknown": 7,
        "source_host_isolated": 8,
        "net_prohibited": 9,
        "host_prohibited": 10,
        "net_unreachable_for_tos": 11,
        "host_unreachable_for_tos": 12,
        "packet_filtered": 13,
        "precedence_violation": 14,
        "precedence_cutoff": 15,
    },
    (4, "time_exceeded"): {"ttl_exceeded_in_transit": 0, "frag_reass_exceeded": 1},
    (6, "unreachable"): {
        "net_unreachable": 0,
        "no_route": 0,
        "admin_prohibited": 1,
        "not_neighbour": 2,
        "address_unreachable": 3,
        "port_unreachable": 4,
    },
    (6, "time_exceeded"): {"exceeded_hop_limit": 0, "exceeded_frag_time": 1},
    (6, "parameter_problem"): {"header_field": 0, "unknown_next_header": 1, "unknown_option": 2},
}


class PacketError(ValueError):
    """A packet that cannot be built or read; the message says why."""


@dataclass(frozen=True)
class Header:
    """What the IP header says, whatever is in the packet."""

    source: str
    destination: str
    protocol: int
    tos: int = 0
    ttl: int = TTL
    flow_label: int = 0

    @property
    def version(self) -> int:
        return ipaddress.ip_address(self.source).version

    @property
    def ecn(self) -> str:
        """The ECN codepoint as scripts call it."""
        return _ECN_NAMES[self.tos & 3]


@dataclass(frozen=True)
class Segment:
    """A TCP segment with its IP header; `window` is not scaled."""

    header: Header
    source_port: int
    destination_port: int
    seq: int
    ack: int
    flags: int
    window: int
    urgent: int
    options: tuple[TcpOption, ...]
    payload: bytes


@dataclass(frozen=True)
class IcmpMessage:
    """An ICMP message; `rest` is the second word of its header, `quoted` the beginning of the packet that it is about."""

    header: Header
    type: int
    code: int
    rest: int
    quoted: bytes


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071): 0 over data that has the right one in it."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


def flag_bits(letters: str, ace: int | None = None) -> int:
    """Return the bits of flags in the letters of scripts; an AccECN counter stands in AE, CWR and ECE."""
    bits = sum(FLAG_BITS[letter] for letter in dict.fromkeys(letters))
    if ace is not None:
        bits |= (256 if ace & 4 else 0) | (128 if ace & 2 else 0) | (64 if ace & 1 else 0)
    return bits


def flag_letters(bits: int) -> str:
    """Return flags in the order in which scripts write them, ACK last; ``-`` for none."""
    return "".join(letter for letter in "FSRPUEWA." if bits & FLAG_BITS[letter]) or "-"


def header_of(source: str, destination: str, protocol: int, ip: IpInfo) -> Header:
    """Return the header that a script asks for; what it leaves open is zero, and the TTL `TTL`."""
    tos = ip.tos if ip.tos is not None else ECN_BITS.get(ip.ecn or "noecn", 0)
    return Header(source, destination, protocol, tos, ip.ttl if ip.ttl is not None else TTL, ip.flow_label or 0)


def icmp_numbers(version: int, kind: str, code: str | None) -> tuple[int, int]:
    """Return an ICMP type and code of an IP version by their names in scripts, or by number, as ``type_3`` or ``code_1``.

    Raises:
        PacketError: The type or code does not exist in this version.
    """
    number = _number(kind, "type_", ICMP_TYPES[version], f"an ICMP type of IPv{version}")
    if code is None:
        return number, 0
    return number, _number(code, "code_", ICMP_CODES.get((version, kind), {}), f"a code of ICMP {kind}")


def icmp_names(version: int, kind: int, code: int) -> tuple[str, str | None]:
    """Return type and code of ICMP as scripts write them; the code is None if it is 0 and has no name."""
    name = next((name for name, number in ICMP_TYPES[version].items() if number == kind), f"type_{kind}")
    codes = ICMP_CODES.get((version, name), {})
    return name, next((text for text, number in codes.items() if number == code), f"code_{code}" if code else None)


def _number(name: str, prefix: str, names: dict[str, int], what: str) -> int:
    if name in names:
        return names[name]
    digits = name.removeprefix(prefix)
    if name.startswith(prefix) and digits.isdigit() and int(digits) < 256:
        return int(digits)
    raise PacketError(f"{name} is not {what}")


def build_segment(segment: Segment) -> bytes:
    """Return the IP packet of a segment, with its checksums.

    Raises:
        PacketError: An option cannot be built, or the options are longer than 40 bytes.
    """
    options = b"".join(_build_option(option) for option in segment.options)
    options += b"\0" * (-len(options) % 4)
    if len(options) > 40:
        raise PacketError(f"the TCP options have {len(options)} bytes, at most 40 fit")
    offset_and_flags = ((20 + len(options)) // 4) << 12 | segment.flags
    fixed = (segment.source_port, segment.destination_port, segment.seq, segment.ack, offset_and_flags, segment.window)
    body = struct.pack(">HHIIHHHH", *fixed, 0, segment.urgent) + options + segment.payload
    return _with_ip_header(segment.header, body, 16)


def build_icmp(message: IcmpMessage) -> bytes:
    """Return the IP packet of an ICMP message, with its checksums."""
    body = struct.pack(">BBHI", message.type, message.code, 0, message.rest) + message.quoted
    return _with_ip_header(message.header, body, 2)


def quoted_segment(header: Header, ports: tuple[int, int], seq: int, payload_bytes: int) -> bytes:
    """Return what a router quotes of a segment: the IP header and the first 8 bytes behind it (RFC 792)."""
    first = struct.pack(">HHI", *ports, seq)
    return _ip_header(header, 20 + payload_bytes) + first


def _ip_header(header: Header, body_bytes: int) -> bytes:
    addresses = ipaddress.ip_address(header.source).packed + ipaddress.ip_address(header.destination).packed
    if header.version == 6:
        return (
            struct.pack(">IHBB", 6 << 28 | header.tos << 20 | header.flow_label, body_bytes, header.protocol, header.ttl)
            + addresses
        )
    fixed = struct.pack(">BBHHHBBH", 0x45, header.tos, 20 + body_bytes, 0, 0x4000, header.ttl, header.protocol, 0)
    return fixed[:10] + struct.pack(">H", checksum(fixed + addresses)) + addresses


def _pseudo_header(header: Header, body_bytes: int) -> bytes:
    if header.protocol == ICMP:
        return b""
    addresses = ipaddress.ip_address(header.source).packed + ipaddress.ip_address(header.destination).packed
    if header.version == 6:
        return addresses + struct.pack(">II", body_bytes, header.protocol)
    return addresses + struct.pack(">HH", header.protocol, body_bytes)


def _with_ip_header(header: Header, body: bytes, checksum_at: int) -> bytes:
    total = checksum(_pseudo_header(header, len(body)) + body)
    body = body[:checksum_at] + struct.pack(">H", total) + body[checksum_at + 2 :]
    return _ip_header(header, len(body)) + body


def _build_option(option: TcpOption) -> bytes:
    if option.name not in _OPTION_KINDS or None in option.numbers:
        raise PacketError(f"the TCP option {option.text or option.name} cannot be built")
    kind = _OPTION_KINDS[option.name]
    if kind < 2:
        return bytes([kind])
    numbers = [number for number in option.numbers if number is not None]
    formats = {"mss": ">H", "wscale": ">B", "TS": ">II", "sack": f">{len(numbers)}I"}
    data = struct.pack(formats[option.name], *numbers) if option.name in formats else option.blob
    if option.name == "FOEXP":
        data = _FAST_OPEN_EXPERIMENT + data
    return bytes([kind, 2 + len(data)]) + data


def read_packet(packet: bytes) -> Segment | IcmpMessage:
    """Return what is in an IP packet.

    Raises:
        PacketError: It is malformed, a checksum is wrong, or it is neither TCP nor ICMP.
    """
    header, body = _read_ip(packet)
    if header.protocol not in (TCP, ICMP, ICMPV6):
        raise PacketError(f"IP protocol {header.protocol} is neither TCP nor ICMP")
    if checksum(_pseudo_header(header, len(body)) + body) != 0:
        raise PacketError(f"the {'TCP' if header.protocol == TCP else 'ICMP'} checksum is wrong")
    if header.protocol != TCP:
        if len(body) < 8:
            raise PacketError("the ICMP message is shorter than its header")
        kind, code, _, rest = struct.unpack(">BBHI", body[:8])
        return IcmpMessage(header, kind, code, rest, body[8:])
    return _read_segment(header, body)


def _read_ip(packet: bytes) -> tuple[Header, bytes]:
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= 20:
        length = (packet[0] & 15) * 4
        total = struct.unpack(">H", packet[2:4])[0]
        if length < 20 or total != len(packet):
            raise PacketError(f"the IPv4 header says {total} bytes, {length} of them header, and the packet has {len(packet)}")
        if checksum(packet[:length]) != 0:
            raise PacketError("the IPv4 header checksum is wrong")
        source, destination = (str(ipaddress.IPv4Address(packet[at : at + 4])) for at in (12, 16))
        return Header(source, destination, packet[9], packet[1], packet[8]), packet[length:]
    if version == 6 and len(packet) >= 40:
        word, body_bytes, protocol, hop_limit = struct.unpack(">IHBB", packet[:8])
        if body_bytes != len(packet) - 40:
            raise PacketError(f"the IPv6 header says {body_bytes} bytes of payload and the packet has {len(packet) - 40}")
        source, destination = (str(ipaddress.IPv6Address(packet[at : at + 16])) for at in (8, 24))
        return Header(source, destination, protocol, word >> 20 & 255, hop_limit, word & 0xFFFFF), packet[40:]
    raise PacketError(f"{len(packet)} bytes beginning with {packet[:1].hex() or 'nothing'} are no IP packet")


def _read_segment(header: Header, body: bytes) -> Segment:
    if len(body) < 20:
        raise PacketError("the segment is shorter than a TCP header")
    source, destination, seq, ack, offset_and_flags, window, _, urgent = struct.unpack(">HHIIHHHH", body[:20])
    length = (offset_and_flags >> 12) * 4
    if not 20 <= length <= len(body):
        raise PacketError(f"the TCP data offset says {length} bytes of header and the segment has {len(body)}")
    options = _read_options(body[20:length])
    return Segment(header, source, destination, seq, ack, offset_and_flags & 0xFFF, window, urgent, options, body[length:])


def _read_options(data: bytes) -> tuple[TcpOption, ...]:
    options = []
    at = 0
    while at < len(data):
        kind = data[at]
        if kind < 2:
            options.append(TcpOption(_OPTION_NAMES[kind]))
            at += 1
            continue
        length = data[at + 1] if at + 1 < len(data) else 0
        if length < 2 or at + length > len(data):
            raise PacketError(f"TCP option {kind} has a length of {length}")
        options.append(_read_option(kind, data[at + 2 : at + length]))
        at += length
    return tuple(options)


def _read_option(kind: int, value: bytes) -> TcpOption:
    name = _OPTION_NAMES.get(kind, f"kind_{kind}")
    formats = {"mss": ">H", "wscale": ">B", "TS": ">II"}
    if name in formats and len(value) == struct.calcsize(formats[name]):
        return TcpOption(name, struct.unpack(formats[name], value))
    if name == "sack" and value and len(value) % 8 == 0:
        return TcpOption(name, struct.unpack(f">{len(value) // 4}I", value))
    if name == "FOEXP" and value.startswith(_FAST_OPEN_EXPERIMENT):
        return TcpOption(name, blob=value[2:])
    if name == "sackOK" and not value:
        return TcpOption(name)
    return TcpOption(name, blob=value)
