"""IP headers of both versions (RFC 791, RFC 8200), and the keys by which packets find their connection. Knows no segment."""

import socket

import numpy as np

ICMP, TCP, ICMPV6 = 1, 6, 58  # protocols
DONT_FRAGMENT = 0x40
HEADER_BYTES = {4: 20, 6: 40}
_MAPPED = bytes(10) + b"\xff\xff"  # IPv4 addresses in IPv6
FRAGMENT_HEADER, FRAGMENT_HEADER_BYTES = 44, 8  # of IPv6: its number as the next header, and its size


def version_of(host: str) -> int:
    """Return 4 or 6."""
    return 6 if ":" in host else 4


def packed(host: str) -> bytes:
    """Return an address as bytes; raises ValueError if it is none."""
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    except OSError:
        raise ValueError(f"{host!r} is not an IP address") from None


def unpacked(address: bytes) -> str:
    """Return an address as text."""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def is_unicast(address: bytes) -> bool:
    """Return whether an address may be that of a single host on a network; directed broadcasts look as if they were.

    None is in "this network", loopback, multicast and the reserved block with the limited broadcast of IPv4, nor unspecified,
    loopback, multicast or mapped in IPv6 (RFC 1122, section 3.2.1.3; RFC 4291, section 2.5; RFC 6890).
    """
    first = address[0]
    if len(address) == 4:
        return 0 < first < 224 and first != 127
    unspecified_or_loopback = not any(address[:15]) and address[15] <= 1
    return first != 0xFF and not unspecified_or_loopback and not address.startswith(_MAPPED)


def header_template(source: bytes, destination: bytes, protocol: int, hop_limit: int = 64, traffic_class: int = 0) -> np.ndarray:
    """Return an IP header without lengths and checksum. IPv4 packets may not be fragmented: path MTU discovery (RFC 1191)."""
    if len(source) == 4:
        fixed = bytes([0x45, traffic_class, 0, 0, 0, 0, DONT_FRAGMENT, 0, hop_limit, protocol, 0, 0])
        return np.frombuffer(fixed + source + destination, np.uint8).copy()
    fixed = bytes([0x60 | traffic_class >> 4, (traffic_class & 15) << 4, 0, 0, 0, 0, protocol, hop_limit])
    return np.frombuffer(fixed + source + destination, np.uint8).copy()


HEADER_FIELDS = ("tos", "ttl")
"""What applications set of the header of their packets: the class of traffic without the ECN bits, and the hop limit."""


def set_header_field(template: np.ndarray, name: str, value: int) -> None:
    """Set one of HEADER_FIELDS; TCP alone sets the ECN bits (RFC 3168, section 6)."""
    if len(template) == HEADER_BYTES[4]:
        template[8 if name == "ttl" else 1] = value if name == "ttl" else value & ~3
    elif name == "ttl":
        template[7] = value
    else:
        template[0], template[1] = 0x60 | value >> 4, (value & 12) << 4


def get_header_field(template: np.ndarray, name: str) -> int:
    """Return one of HEADER_FIELDS."""
    if len(template) == HEADER_BYTES[4]:
        return int(template[8 if name == "ttl" else 1])
    return int(template[7]) if name == "ttl" else (int(template[0]) & 15) << 4 | int(template[1]) >> 4


def with_header(template: np.ndarray, payload: bytes) -> bytes:
    """Return an IP packet of any protocol."""
    header = bytearray(template.tobytes())
    if len(header) == HEADER_BYTES[4]:
        header[2:4] = (len(header) + len(payload)).to_bytes(2, "big")
        header[10:12] = internet_checksum(bytes(header)).to_bytes(2, "big")
    else:
        header[4:6] = len(payload).to_bytes(2, "big")
    return bytes(header) + payload


def internet_checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of bytes whose checksum field is 0."""
    total = int.from_bytes(data + b"\0" * (len(data) & 1), "big") % 0xFFFF
    return 0xFFFF - total if total or not any(data) else 0


def addresses_of(packet: bytes) -> tuple[bytes, bytes]:
    """Return source and destination of a packet whose header has been checked."""
    return (packet[12:16], packet[16:20]) if packet[0] >> 4 == 4 else (packet[8:24], packet[24:40])


def key_of(source: bytes, destination: bytes, source_port: int, destination_port: int) -> bytes:
    """Return the key of a connection, seen from its destination: both addresses, and both ports."""
    return source + destination + source_port.to_bytes(2, "big") + destination_port.to_bytes(2, "big")


def ends_of(key: bytes) -> tuple[bytes, bytes, int, int]:
    """Return what `key_of` put together."""
    size = (len(key) - 4) // 2
    return key[:size], key[size : 2 * size], int.from_bytes(key[-4:-2], "big"), int.from_bytes(key[-2:], "big")


def connection_key(packet: bytes) -> bytes:
    """Return the key of a TCP packet whose headers have been checked."""
    if packet[0] >> 4 == 4:
        header = (packet[0] & 15) << 2
        return packet[12:20] + packet[header : header + 4]
    return packet[8:44]


def reverse_key(key: bytes) -> bytes:
    """Return the key of the opposite direction."""
    source, destination, source_port, destination_port = ends_of(key)
    return key_of(destination, source, destination_port, source_port)
