"""ICMP of both versions: echo, and what error messages say of a TCP segment (RFC 792, 4443, 5927). Knows no connection."""

import errno
import os
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from netstack.host.ip import ICMP, ICMPV6, TCP, internet_checksum
from netstack.tcp.states import State


class Trouble(Enum):
    """What a router or host says about a packet of ours."""

    UNREACHABLE_NETWORK = "network"
    UNREACHABLE_HOST = "host"
    UNREACHABLE_PORT = "port"
    UNREACHABLE_PROTOCOL = "protocol"
    PROHIBITED_NETWORK = "prohibited network"
    PROHIBITED_HOST = "prohibited host"
    TIME_EXCEEDED = "time exceeded"
    PARAMETER = "parameter"
    TOO_BIG = "too big"
    OTHER = "other"


@dataclass(frozen=True)
class IcmpError:
    """An error message about a segment that we sent: its connection's key (our end first) and sequence number."""

    trouble: Trouble
    key: bytes
    seq: int
    mtu_bytes: int


_V4_CODES = {
    0: Trouble.UNREACHABLE_NETWORK,
    1: Trouble.UNREACHABLE_HOST,
    2: Trouble.UNREACHABLE_PROTOCOL,
    3: Trouble.UNREACHABLE_PORT,
    4: Trouble.TOO_BIG,
    5: Trouble.UNREACHABLE_NETWORK,
    6: Trouble.UNREACHABLE_NETWORK,
    7: Trouble.UNREACHABLE_HOST,
    9: Trouble.PROHIBITED_NETWORK,
    10: Trouble.PROHIBITED_HOST,
    11: Trouble.UNREACHABLE_NETWORK,
    12: Trouble.UNREACHABLE_HOST,
    13: Trouble.PROHIBITED_HOST,
    14: Trouble.PROHIBITED_HOST,
    15: Trouble.PROHIBITED_HOST,
}
_V6_CODES = {
    0: Trouble.UNREACHABLE_NETWORK,
    1: Trouble.PROHIBITED_HOST,
    2: Trouble.UNREACHABLE_HOST,
    3: Trouble.UNREACHABLE_HOST,
    4: Trouble.UNREACHABLE_PORT,
    5: Trouble.UNREACHABLE_HOST,
    6: Trouble.UNREACHABLE_HOST,
}
_ERRNO = {
    Trouble.UNREACHABLE_NETWORK: errno.ENETUNREACH,
    Trouble.UNREACHABLE_HOST: errno.EHOSTUNREACH,
    Trouble.UNREACHABLE_PORT: errno.ECONNREFUSED,
    Trouble.UNREACHABLE_PROTOCOL: errno.ENOPROTOOPT,
    Trouble.PROHIBITED_NETWORK: errno.ENETUNREACH,
    Trouble.PROHIBITED_HOST: errno.EHOSTUNREACH,
}
_ERRNO_LINUX = _ERRNO | {Trouble.TIME_EXCEEDED: errno.EHOSTUNREACH, Trouble.PARAMETER: errno.EPROTO}
_ERRNO_FREEBSD = {
    Trouble.UNREACHABLE_NETWORK: errno.EHOSTUNREACH,
    Trouble.UNREACHABLE_HOST: errno.EHOSTUNREACH,
    Trouble.UNREACHABLE_PORT: errno.ECONNREFUSED,
    Trouble.UNREACHABLE_PROTOCOL: errno.ECONNREFUSED,
    Trouble.PROHIBITED_NETWORK: errno.ECONNREFUSED,
    Trouble.PROHIBITED_HOST: errno.ECONNREFUSED,
    Trouble.TIME_EXCEEDED: errno.EHOSTUNREACH,
}
_SOFT_FREEBSD = (Trouble.UNREACHABLE_NETWORK, Trouble.UNREACHABLE_HOST)
_DROPS_REQUEST_LINUX = (*_SOFT_FREEBSD, Trouble.TIME_EXCEEDED, Trouble.PARAMETER)
_PERSISTENT_RETRIES = 3  # after so many retransmissions a second soft error ends an attempt of FreeBSD
PLATEAUS = (32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68)  # of MTUs, for routers that do not report theirs (RFC 1191)


def message_of(packet: bytes) -> tuple[int, bytes] | None:
    """Return protocol and ICMP message of an IP packet whose checksum is right, else None."""
    if packet[0] >> 4 == 4:
        header = (packet[0] & 15) << 2
        length = int.from_bytes(packet[2:4], "big")
        message = packet[header:length]
        if packet[9] != ICMP or len(message) < 8 or internet_checksum(message) != 0:
            return None
        return ICMP, message
    message = packet[40 : 40 + int.from_bytes(packet[4:6], "big")]
    if packet[6] != ICMPV6 or len(message) < 8:
        return None
    pseudo = packet[8:40] + len(message).to_bytes(4, "big") + bytes([0, 0, 0, ICMPV6])
    return (ICMPV6, message) if internet_checksum(pseudo + message) == 0 else None


def echo_reply(protocol: int, message: bytes, source: bytes, destination: bytes) -> bytes | None:
    """Return the answer to an echo request, from `source` to `destination`; None if it is none."""
    if (protocol, message[0]) not in ((ICMP, 8), (ICMPV6, 128)) or message[1] != 0:
        return None
    reply = bytes([0 if protocol == ICMP else 129, 0, 0, 0]) + message[4:]
    pseudo = b"" if protocol == ICMP else source + destination + len(reply).to_bytes(4, "big") + bytes([0, 0, 0, ICMPV6])
    return reply[:2] + internet_checksum(pseudo + reply).to_bytes(2, "big") + reply[4:]


def error_of(protocol: int, message: bytes) -> IcmpError | None:
    """Return what an error message about a TCP segment says; None if it is another message, or too short."""
    trouble, mtu_bytes = _classify(protocol, message)
    if trouble is None:
        return None
    inner = message[8:]
    if protocol == ICMP:
        header = (inner[0] & 15) << 2 if inner else 0
        if len(inner) < header + 8 or header < 20 or inner[0] >> 4 != 4 or inner[9] != TCP:
            return None
        addresses, segment = inner[12:20], inner[header:]
        if trouble is Trouble.TOO_BIG and mtu_bytes == 0:
            total = int.from_bytes(inner[2:4], "big")
            mtu_bytes = next((plateau for plateau in PLATEAUS if plateau < total), PLATEAUS[-1])
    else:
        if len(inner) < 48 or inner[0] >> 4 != 6 or inner[6] != TCP:
            return None
        addresses, segment = inner[8:40], inner[40:]
    return IcmpError(trouble, addresses + segment[:4], int.from_bytes(segment[4:8], "big"), mtu_bytes)


def _classify(protocol: int, message: bytes) -> tuple[Trouble | None, int]:
    kind, code = message[0], message[1]
    if protocol == ICMP:
        if kind == 3:
            return _V4_CODES.get(code, Trouble.OTHER), int.from_bytes(message[6:8], "big") if code == 4 else 0
        return {11: Trouble.TIME_EXCEEDED, 12: Trouble.PARAMETER}.get(kind), 0
    if kind == 1:
        return _V6_CODES.get(code, Trouble.OTHER), 0
    if kind == 2:
        return Trouble.TOO_BIG, int.from_bytes(message[4:8], "big")
    if kind == 4 and code == 1:
        return Trouble.UNREACHABLE_PROTOCOL, 0
    return {3: Trouble.TIME_EXCEEDED, 4: Trouble.PARAMETER}.get(kind), 0


class Attempt(Protocol):
    """A connection as far as an error message matters to it."""

    state_now: int
    soft_error: OSError | None

    @property
    def passive(self) -> bool:
        """Whether the peer opened it."""
        ...

    @property
    def retries(self) -> int:
        """Retransmissions in a row."""
        ...

    def fail(self, error: OSError) -> None:
        """End an attempt to connect for a reason outside of TCP."""
        ...


def apply_error(socket: Attempt, trouble: Trouble, platform: str) -> None:
    """Tell a connection what is wrong with its path (RFC 1122, section 4.2.3.9; tcp_notify() of FreeBSD, tcp_v4_err() of Linux).

    It ends an attempt to connect, and is otherwise the reason if the connection times out.
    """
    numbers = {"linux": _ERRNO_LINUX, "freebsd": _ERRNO_FREEBSD}.get(platform, _ERRNO)
    number = numbers.get(trouble)
    if number is None:
        return
    reason = OSError(number, os.strerror(number))
    opening = socket.state_now in (State.SYN_SENT, State.SYN_RECEIVED)
    if platform == "freebsd":
        _apply_as_freebsd(socket, trouble, reason, opening)
    elif platform == "linux" and socket.passive and socket.state_now == State.SYN_RECEIVED:
        if trouble in _DROPS_REQUEST_LINUX:
            socket.fail(reason)
    elif opening:
        socket.fail(reason)
    else:
        socket.soft_error = reason


def _apply_as_freebsd(socket: Attempt, trouble: Trouble, reason: OSError, opening: bool) -> None:
    if opening and socket.passive:
        return  # its cache of half-open connections gives up only after a while
    if trouble not in _SOFT_FREEBSD:
        if socket.state_now == State.SYN_SENT:
            socket.fail(reason)
    elif opening and socket.retries > _PERSISTENT_RETRIES and socket.soft_error is not None:
        socket.fail(reason)
    elif socket.state_now != State.ESTABLISHED:
        socket.soft_error = reason
