"""Peers that mean no good: what they send, and how they answer. Their packets are made here by hand.

Each attacks one server in a network that the caller drives, on a clock that the caller holds. Knows no server.
"""

import random
import struct
from collections import deque
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Protocol

from netstack.host.ip import TCP, internet_checksum

SERVER = IPv4Address("10.0.0.2").packed
SERVER_PORT = 80
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
OPTIONS = b"\x02\x04\x05\xb4\x01\x03\x03\x07\x04\x02\x01\x01"  # MSS of 1460, window scale of 7, SACK
REQUEST = b"GET /bulk HTTP/1.1\r\nHost: x\r\n\r\n"
PER_TURN = 48
SECOND_US = 1_000_000
LONGEST_PACKET_BYTES = 1500


def ip_packet(
    source: bytes, payload: bytes, *, protocol: int = TCP, number: int = 0, fragment: int = 0, options: bytes = b""
) -> bytes:
    """Return a packet to the server; `fragment` are the 16 bits with the offset."""
    size = 20 + len(options)
    head = bytearray(struct.pack(">BBHHHBBH", 0x40 | size >> 2, 0, size + len(payload), number, fragment, 64, protocol, 0))
    head += source + SERVER + options
    head[10:12] = internet_checksum(bytes(head)).to_bytes(2, "big")
    return bytes(head) + payload


def tcp_packet(
    source: bytes, port: int, seq: int, ack: int, flags: int, *, window: int = 65535, options: bytes = b"", payload: bytes = b""
) -> bytes:
    """Return a segment to the server."""
    seq, ack, offset = seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 5 + len(options) // 4 << 4
    segment = struct.pack(">HHIIBBHHH", port, SERVER_PORT, seq, ack, offset, flags, window, 0, 0) + options + payload
    pseudo = source + SERVER + bytes([0, TCP]) + len(segment).to_bytes(2, "big")
    checksum = internet_checksum(pseudo + segment).to_bytes(2, "big")
    return ip_packet(source, segment[:16] + checksum + segment[18:])


@dataclass(frozen=True)
class Answer:
    """What a server's segment says to a peer."""

    destination: bytes
    port: int
    seq: int
    ack: int
    flags: int
    length: int

    @classmethod
    def of(cls, packet: bytes) -> "Answer":
        _, port, seq, ack, offset, flags = struct.unpack_from(">HHIIBB", packet, 20)
        return cls(packet[16:20], port, seq, ack, flags, len(packet) - 20 - (offset >> 4 << 2))


class Attack(Protocol):
    """Peers of one kind.

    Attributes:
        step_us: How much time a turn of the network takes.
        opened: Connections that they have made.
    """

    step_us: int
    opened: int

    def packets(self, now_us: int) -> list[bytes]:
        """Return what arrives at the server in this turn."""
        ...

    def receive(self, packet: bytes, now_us: int) -> None:
        """Take a packet of the server's."""
        ...

    @property
    def begun(self) -> bool:
        """Whether turns are to be measured by now."""
        ...

    @property
    def done(self) -> bool: ...


class Openers:
    """Peers that open `count` connections, in order, and answer a SYN-ACK with an ACK and `after`."""

    def __init__(self, count: int, after: bytes = b"", window: int = 65535) -> None:
        self.step_us = 1000
        self.opened = 0
        self.answers: deque[bytes] = deque()
        self._after = after
        self._window = window
        self._left = count
        self._next = 0

    def packets(self, now_us: int) -> list[bytes]:
        found = [self.answers.popleft() for _ in range(min(len(self.answers), PER_TURN))]
        while self._left and len(found) < PER_TURN:
            self._left -= 1
            self._next += 1
            found.append(tcp_packet(*self._end(self._next), 1000, 0, SYN, options=OPTIONS))
        return found

    @staticmethod
    def _end(number: int) -> tuple[bytes, int]:
        return IPv4Address((11 << 24) + number // 50_000 + 1).packed, number % 50_000 + 1024

    def receive(self, packet: bytes, now_us: int) -> None:
        answer = Answer.of(packet)
        if answer.flags & (SYN | RST) == SYN:
            self.opened += 1
            options = {"window": self._window, "payload": self._after}
            self.answers.append(tcp_packet(answer.destination, answer.port, 1001, answer.seq + 1, ACK | PSH, **options))
        else:
            self.receive_more(answer, now_us)

    def receive_more(self, answer: Answer, now_us: int) -> None: ...

    begun = True

    @property
    def done(self) -> bool:
        return not self._left and not self.answers


class Idle(Openers):
    """Connections on which nothing happens for `turns`."""

    def __init__(self, count: int, turns: int = 2000) -> None:
        super().__init__(count)
        self._turns = turns

    def packets(self, now_us: int) -> list[bytes]:
        found = super().packets(now_us)
        self._turns -= not found
        return found

    @property
    def begun(self) -> bool:
        return super().done

    @property
    def done(self) -> bool:
        return super().done and self._turns <= 0


class Slowloris(Openers):
    """Requests whose heads come a byte every ten seconds, for two minutes."""

    def __init__(self, count: int) -> None:
        super().__init__(count, b"GET / HTTP/1.1\r\n")
        self._ends: dict[tuple[bytes, int], tuple[int, int]] = {}
        self._begin_us = 0
        self._due: deque[tuple[int, tuple[bytes, int]]] = deque()
        self._is_over = False

    def receive(self, packet: bytes, now_us: int) -> None:
        answer = Answer.of(packet)
        end = answer.destination, answer.port
        if answer.flags & RST:
            self._ends.pop(end, None)
        elif answer.flags & SYN:
            self._ends[end] = 1017, answer.seq + 1
            self._due.append((now_us + 10 * SECOND_US, end))
        super().receive(packet, now_us)

    def packets(self, now_us: int) -> list[bytes]:
        self._begin_us = self._begin_us or now_us
        self._is_over = now_us - self._begin_us > 120 * SECOND_US
        found = super().packets(now_us)
        if super().done:
            self.step_us = 20_000
        while self._due and self._due[0][0] <= now_us and len(found) < PER_TURN:
            _, end = self._due.popleft()
            if end in self._ends:
                seq, ack = self._ends[end]
                found.append(tcp_packet(*end, seq, ack, ACK, payload=b"a"))
                self._ends[end] = seq + 1, ack
                self._due.append((now_us + 10 * SECOND_US, end))
        return found

    @property
    def done(self) -> bool:
        return self._is_over


class Sockstress(Openers):
    """Requests for a large file, with a window that is shut and stays so; every probe is answered, for ten minutes."""

    def __init__(self, count: int) -> None:
        super().__init__(count, REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), window=0)
        self._begin_us = 0
        self._is_over = False

    def receive_more(self, answer: Answer, now_us: int) -> None:
        if not answer.flags & RST:
            self.answers.append(tcp_packet(answer.destination, answer.port, answer.ack, answer.seq, ACK, window=0))

    def packets(self, now_us: int) -> list[bytes]:
        self._begin_us = self._begin_us or now_us
        self._is_over = now_us - self._begin_us > 600 * SECOND_US
        found = super().packets(now_us)
        self.step_us = 1000 if found else 50_000
        return found

    @property
    def done(self) -> bool:
        return self._is_over


class Silent:
    """Packets that nobody waits for an answer to, `count` of them."""

    def __init__(self, count: int, seed: int) -> None:
        self.step_us = 1000
        self.opened = 0
        self.random = random.Random(seed)
        self._left = count

    def packets(self, now_us: int) -> list[bytes]:
        count = min(PER_TURN, self._left)
        self._left -= count
        return [self.packet() for _ in range(count)]

    begun = True

    def packet(self) -> bytes:
        raise NotImplementedError

    def receive(self, packet: bytes, now_us: int) -> None: ...

    @property
    def done(self) -> bool:
        return self._left == 0

    def source(self) -> bytes:
        return IPv4Address((11 << 24) + self.random.getrandbits(20) + 1).packed


class Syns(Silent):
    """SYNs from as many sources, none of which goes on."""

    def packet(self) -> bytes:
        port, seq = self.random.randrange(1024, 65536), self.random.getrandbits(32)
        return tcp_packet(self.source(), port, seq, 0, SYN, options=OPTIONS)


class Fragments(Silent):
    """Fragments: most lack others, some overlap, and some make a whole that its first header makes too large."""

    def __init__(self, count: int, seed: int) -> None:
        super().__init__(count, seed)
        self._pair: list[bytes] = []

    def packet(self) -> bytes:
        if self._pair:
            return self._pair.pop()
        chance = self.random
        if chance.random() < 0.02:
            source, number = self.source(), chance.getrandbits(16)
            first = ip_packet(source, bytes(65_000), number=number, fragment=0x2000, options=b"\1" * 40)
            self._pair = [ip_packet(source, bytes(515), number=number, fragment=65_000 >> 3)]
            return first
        source = self.source() if chance.random() < 0.5 else IPv4Address("11.0.0.1").packed
        number, offset = chance.randrange(8), chance.choice((0, 64, 185, 370, 8006, 8188))
        more = 0x2000 if chance.random() < 0.9 else 0
        options = b"\1" * chance.choice((0, 40))
        size = chance.choice((8, 512, 1400)) if more else chance.randrange(1, 31)
        return ip_packet(source, bytes(size), number=number, fragment=offset | more, options=options)


@dataclass
class Session:
    """A peer that would open a connection, ask for a file, take it and close, if its packets were not changed on the way."""

    source: bytes
    port: int
    seq: int
    left: int
    ack: int = 0
    waiting: deque[bytes] = field(default_factory=deque)


class Mutants:
    """`count` packets of valid sessions, of which many are changed, doubled, or left out."""

    SESSIONS = 40
    begun = True

    def __init__(self, count: int, seed: int) -> None:
        self.step_us = 1000
        self.opened = 0
        self._random = random.Random(seed)
        self._left = count
        self._sessions: dict[tuple[bytes, int], Session] = {}

    def packets(self, now_us: int) -> list[bytes]:
        chance = self._random
        self.step_us = chance.choice((100, 1000, 1000, 1000, 20_000, 300_000)) if chance.random() < 0.2 else 1000
        while len(self._sessions) < self.SESSIONS:
            self._begin()
        found: list[bytes] = []
        for session in list(self._sessions.values()):
            if session.waiting:
                packet = session.waiting.popleft()
            elif chance.random() < 0.2:
                packet = self._next(session)
            else:
                continue
            session.left -= 1
            if session.left == 0:
                del self._sessions[session.source, session.port]
            found += self._on_the_way(packet)
        del found[self._left :]
        self._left -= len(found)
        return found

    def receive(self, packet: bytes, now_us: int) -> None:
        if packet[9] != TCP:
            return
        answer = Answer.of(packet)
        session = self._sessions.get((answer.destination, answer.port))
        if session is None:
            return
        if answer.flags & RST:
            del self._sessions[answer.destination, answer.port]
            return
        session.ack = answer.seq + answer.length + (1 if answer.flags & (SYN | FIN) else 0)
        if answer.flags & SYN:
            self.opened += 1
            session.seq += 1
            session.waiting.append(tcp_packet(session.source, session.port, session.seq, session.ack, ACK))
        elif answer.length or answer.flags & FIN:
            session.waiting.append(tcp_packet(session.source, session.port, session.seq, session.ack, ACK))

    @property
    def done(self) -> bool:
        return self._left == 0

    def _begin(self) -> None:
        chance = self._random
        source = IPv4Address((11 << 24) + chance.randrange(1, 200)).packed
        session = Session(source, chance.randrange(1024, 65536), chance.getrandbits(32), chance.randrange(1, 60))
        self._sessions[source, session.port] = session
        session.waiting.append(tcp_packet(source, session.port, session.seq, 0, SYN, options=OPTIONS))

    def _next(self, session: Session) -> bytes:
        """Something that a peer may send now."""
        chance = self._random
        data = chance.choice(
            (REQUEST, REQUEST[:10], bytes(chance.randrange(1400)), b"PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n123")
        )
        flags = chance.choice((ACK | PSH, ACK | PSH, ACK | PSH, ACK | FIN, ACK, RST))
        window = chance.choice((0, 1, 100, 8000, 65535))
        payload = data if flags & PSH else b""
        packet = tcp_packet(session.source, session.port, session.seq, session.ack, flags, window=window, payload=payload)
        session.seq += len(payload) + (flags & FIN)
        return packet

    def _on_the_way(self, packet: bytes) -> list[bytes]:
        chance = self._random.random()
        if chance < 0.45:
            return [packet]
        if chance < 0.5:
            return []
        if chance < 0.55:
            return [packet, packet]
        return [self._changed(packet)]

    def _changed(self, packet: bytes) -> bytes:
        """Return a packet with other bytes; of most the checksums are right all the same."""
        chance = self._random
        data = bytearray(packet)
        kind = chance.randrange(4)
        if kind == 0:
            del data[chance.randrange(1, len(data)) :]
        elif kind == 1 and len(data) < LONGEST_PACKET_BYTES - 40:
            at = chance.randrange(20, len(data) + 1)
            data[at:at] = bytes(chance.getrandbits(8) for _ in range(chance.choice((1, 4, 12, 40))))
        for _ in range(chance.choice((0, 1, 1, 2, 8))):
            data[chance.randrange(len(data))] = chance.choice((0, 255, 1, chance.getrandbits(8)))
        return bytes(data) if chance.random() < 0.1 else repaired(data)


def repaired(data: bytearray) -> bytes:
    """Return a packet with the length and checksums that its bytes ask for, as far as there is a segment in it."""
    header = (data[0] & 15) << 2
    if len(data) < 40 or not 20 <= header <= len(data) - 20:
        return bytes(data)
    data[2:4] = len(data).to_bytes(2, "big")
    data[10:12] = bytes(2)
    data[10:12] = internet_checksum(bytes(data[:header])).to_bytes(2, "big")
    data[header + 16 : header + 18] = bytes(2)
    pseudo = bytes(data[12:20]) + bytes([0, data[9]]) + (len(data) - header).to_bytes(2, "big")
    data[header + 16 : header + 18] = internet_checksum(pseudo + bytes(data[header:])).to_bytes(2, "big")
    return bytes(data)
