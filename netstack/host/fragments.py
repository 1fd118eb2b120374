"""Reassembly of IP packets from fragments (RFC 791, section 3.2; RFC 8200, section 4.5), in bounded memory. Knows no transport.

A packet whose fragments overlap is discarded (RFC 5722). The sender of a packet that stays incomplete learns nothing.
"""

from bisect import bisect_left
from dataclasses import dataclass, field

from netstack.host.ip import FRAGMENT_HEADER, FRAGMENT_HEADER_BYTES, HEADER_BYTES, addresses_of, internet_checksum

LIFE_US = 60_000_000
"""From the first fragment on (RFC 8200, section 4.5; RFC 1122, section 3.3.2)."""
MAX_PACKETS = 64
"""That are incomplete at a time: the oldest makes room. With the largest size of a packet this is the bound in bytes, 4 MiB."""
MAX_PACKETS_OF_A_SOURCE = 16
"""Of them; then the oldest of that source makes room, so that one source does not push out the packets of others."""
MAX_FRAGMENTS = 128
"""Of a packet: enough for the largest one by the least MTU that every IPv4 host takes, 576 bytes (RFC 791)."""
MAX_PACKET_BYTES = 65535
UNIT_BYTES = 8  # of offsets
NOT_ECT, CE = 0, 3


@dataclass(frozen=True)
class _Fragment:
    """A part of a payload; `header` is that of the IP packet which it came in."""

    start: int
    payload: bytes
    header: bytes
    is_last: bool
    ecn: int

    @property
    def end(self) -> int:
        return self.start + len(self.payload)


@dataclass
class _Incomplete:
    """What has arrived of a packet, in order."""

    until_us: int
    source: bytes
    fragments: list[_Fragment] = field(default_factory=list)
    is_discarded: bool = False

    def add(self, fragment: _Fragment) -> None:
        """Keep a fragment, unless it is an exact copy; one that contradicts others discards the packet."""
        fragments = self.fragments
        position = bisect_left(fragments, fragment.start, key=lambda other: other.start)
        if position < len(fragments) and self._is_copy(fragments[position], fragment):
            return
        overlaps = (position > 0 and fragments[position - 1].end > fragment.start) or (
            position < len(fragments) and fragments[position].start < fragment.end
        )
        behind_the_end = bool(fragments) and fragments[-1].is_last and (fragment.is_last or position == len(fragments))
        before_the_end = fragment.is_last and position < len(fragments)
        if overlaps or behind_the_end or before_the_end or len(fragments) == MAX_FRAGMENTS:
            self.is_discarded = True
            fragments.clear()
            return
        fragments.insert(position, fragment)

    @staticmethod
    def _is_copy(one: _Fragment, other: _Fragment) -> bool:
        return (one.start, one.payload, one.is_last) == (other.start, other.payload, other.is_last)

    @property
    def is_complete(self) -> bool:
        if not self.fragments or not self.fragments[-1].is_last:
            return False
        return sum(len(fragment.payload) for fragment in self.fragments) == self.fragments[-1].end


class Reassembly:
    """The incomplete packets of a host."""

    def __init__(self) -> None:
        self._incomplete: dict[bytes, _Incomplete] = {}

    def add(self, packet: bytes, now_us: int) -> bytes | None:
        """Take a fragment, whose lengths and header checksum are right; return the whole packet when this completes it."""
        version = packet[0] >> 4
        key, fragment = _read_version_4(packet) if version == 4 else _read_version_6(packet)
        header_bytes = len(fragment.header) if version == 4 else 0
        if not fragment.is_last and (len(fragment.payload) % UNIT_BYTES or not fragment.payload):
            return None
        if header_bytes + fragment.end > MAX_PACKET_BYTES:
            return None
        if fragment.is_last and fragment.start == 0:
            return _whole(version, [fragment])  # of version 6: complete by itself, whatever else has its number (RFC 6946)
        self._forget_old(now_us)
        incomplete = self._incomplete.get(key)
        if incomplete is None:
            source = addresses_of(packet)[0]
            self._make_room(source)
            incomplete = self._incomplete[key] = _Incomplete(now_us + LIFE_US, source)
        if incomplete.is_discarded:
            return None
        incomplete.add(fragment)
        if not incomplete.is_complete:
            return None
        del self._incomplete[key]
        return _whole(version, incomplete.fragments)

    def _make_room(self, source: bytes) -> None:
        own = [key for key, incomplete in self._incomplete.items() if incomplete.source == source]
        if len(own) >= MAX_PACKETS_OF_A_SOURCE:
            del self._incomplete[own[0]]
        elif len(self._incomplete) >= MAX_PACKETS:
            del self._incomplete[next(iter(self._incomplete))]

    def _forget_old(self, now_us: int) -> None:
        while self._incomplete:
            oldest = next(iter(self._incomplete))
            if self._incomplete[oldest].until_us > now_us:
                return
            del self._incomplete[oldest]


def _read_version_4(packet: bytes) -> tuple[bytes, _Fragment]:
    header_bytes = (packet[0] & 15) << 2
    word = int.from_bytes(packet[6:8], "big")
    payload = packet[header_bytes : int.from_bytes(packet[2:4], "big")]
    key = packet[12:20] + packet[9:10] + packet[4:6]
    return key, _Fragment((word & 0x1FFF) * UNIT_BYTES, payload, packet[:header_bytes], not word & 0x2000, packet[1] & 3)


def _read_version_6(packet: bytes) -> tuple[bytes, _Fragment]:
    """Read a packet whose fragment header follows the IP header."""
    first = HEADER_BYTES[6]
    behind = first + FRAGMENT_HEADER_BYTES
    word = int.from_bytes(packet[first + 2 : first + 4], "big")
    payload = packet[behind : first + int.from_bytes(packet[4:6], "big")]
    header = packet[:6] + packet[first : first + 1] + packet[7:first]  # as if there were no fragment header
    key = packet[8:first] + packet[first + 4 : behind]
    return key, _Fragment(word & 0xFFF8, payload, header, not word & 1, packet[1] >> 4 & 3)


def _whole(version: int, fragments: list[_Fragment]) -> bytes | None:
    """Return a packet with the first fragment's header.

    None if it is larger than a packet can be: the first header may be longer than those by which the fragments were judged. None
    as well if a router marked what was not to be marked (RFC 3168, section 5.3).
    """
    payload = b"".join(fragment.payload for fragment in fragments)
    header = bytearray(fragments[0].header)
    marks = {fragment.ecn for fragment in fragments}
    if CE in marks:
        if NOT_ECT in marks:
            return None
        header[1] |= CE if version == 4 else CE << 4
    if version == 4:
        if len(header) + len(payload) > MAX_PACKET_BYTES:
            return None
        header[2:4] = (len(header) + len(payload)).to_bytes(2, "big")
        header[6:8] = header[10:12] = bytes(2)
        header[10:12] = internet_checksum(bytes(header)).to_bytes(2, "big")
    else:
        if len(payload) > MAX_PACKET_BYTES:
            return None
        header[4:6] = len(payload).to_bytes(2, "big")
        if header[6] == FRAGMENT_HEADER:
            return None  # nested: never legitimate, and would be taken apart again and again
    return bytes(header) + payload
