"""A host with as little TCP as the interpreter's tests need: an endpoint's interface, with answers that are written down here.

It accepts and opens connections, acknowledges all data at once, sends what is written in segments of the MSS, resends an
unanswered SYN or SYN-ACK after a second, and answers to nothing else. It is independent of the stack.
"""

from collections import deque
from dataclasses import dataclass, field, replace

from netstack.script.host import Backend
from netstack.script.packets import TCP, Header, IcmpMessage, Segment, build_segment, flag_bits, read_packet
from netstack.script.settings import Settings
from netstack.script.syntax import TcpOption

ISN = 4_000_000_000
MSS = 1000
WINDOW = 65535
RESEND_AFTER_US = 1_000_000
MAXIMUM_SYN_RESENDS = 2


@dataclass(frozen=True)
class Address:
    host: str
    port: int


@dataclass
class FakeSocket:
    endpoint: "FakeEndpoint"
    local: Address
    remote: Address
    state: str
    rcv_nxt: int = 0
    snd_nxt: int = ISN
    room_bytes: int = 1 << 20
    received: bytearray = field(default_factory=bytearray)
    at_eof: bool = False
    error: OSError | None = None
    deadline_us: int | None = None
    resends: int = 0
    options: tuple[TcpOption, ...] = (TcpOption("mss", (MSS,)),)
    set_options: dict[str, object] = field(default_factory=dict)

    @property
    def readable(self) -> bool:
        return bool(self.received)

    @property
    def writable(self) -> bool:
        return self.state in ("ESTABLISHED", "CLOSE_WAIT") and self.room_bytes > 0

    @property
    def unread_bytes(self) -> int:
        return len(self.received)

    @property
    def finished(self) -> bool:
        return self.at_eof

    def emit(self, flags: str, payload: bytes = b"", options: tuple[TcpOption, ...] = (), seq: int | None = None) -> None:
        header = Header(self.local.host, self.remote.host, TCP, ttl=64)
        seq = self.snd_nxt if seq is None else seq
        ack = self.rcv_nxt if "." in flags else 0
        segment = Segment(header, self.local.port, self.remote.port, seq, ack, flag_bits(flags), WINDOW, 0, options, payload)
        self.endpoint.outgoing.append(build_segment(segment))

    def _raise_error(self) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error

    def send(self, data: bytes, now_us: int) -> int:
        self._raise_error()
        taken = data[: self.room_bytes]
        self.room_bytes -= len(taken)
        for at in range(0, len(taken), MSS):
            piece = taken[at : at + MSS]
            self.emit("P." if at + MSS >= len(taken) else ".", piece)
            self.snd_nxt = (self.snd_nxt + len(piece)) % (1 << 32)
        return len(taken)

    def receive(self, limit: int, now_us: int) -> bytes:
        if not self.received:
            self._raise_error()
        data = bytes(self.received[:limit])
        del self.received[:limit]
        return data

    def set_option(self, name: str, value: object, now_us: int) -> None:
        self.set_options[name] = value

    def get_option(self, name: str) -> object:
        return self.set_options[name]

    def shutdown(self, now_us: int) -> None:
        self.emit("F.")
        self.snd_nxt += 1
        self.state = "FIN_WAIT_1"

    def close(self, now_us: int) -> None:
        if self.set_options.get("linger_s") == 0:
            self.abort(now_us)
        elif self.state in ("ESTABLISHED", "CLOSE_WAIT"):
            self.shutdown(now_us)

    def abort(self, now_us: int) -> None:
        self.emit("R.")
        self.state = "CLOSED"

    def info(self) -> dict[str, int]:
        return {"snd_mss": MSS}


@dataclass
class FakeListener:
    ready: deque[FakeSocket] = field(default_factory=deque)
    set_options: dict[str, object] = field(default_factory=dict)

    @property
    def readable(self) -> bool:
        return bool(self.ready)

    def set_option(self, name: str, value: object, now_us: int) -> None:
        self.set_options[name] = value

    def get_option(self, name: str) -> object:
        return self.set_options[name]

    def accept(self) -> FakeSocket | None:
        return self.ready.popleft() if self.ready else None

    def close(self, now_us: int) -> None:
        self.ready.clear()


class FakeEndpoint:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.outgoing: list[bytes] = []
        self.sockets: dict[tuple[Address, Address], FakeSocket] = {}
        self.listeners: dict[int, FakeListener] = {}
        self.icmp: list[IcmpMessage] = []

    def listen(self, local: Address, backlog: int) -> FakeListener:
        return self.listeners.setdefault(local.port, FakeListener())

    def connect(
        self, remote: Address, now_us: int, local: Address | None = None, options: dict[str, int | str] | None = None
    ) -> FakeSocket:
        local = local or Address(self.settings.local_address, 60000)
        socket = self._new(local, remote, "SYN_SENT", now_us)
        socket.set_options.update(options or {})
        socket.emit("S", options=socket.options)
        socket.snd_nxt += 1
        return socket

    def _new(self, local: Address, remote: Address, state: str, now_us: int) -> FakeSocket:
        socket = FakeSocket(self, local, remote, state, deadline_us=now_us + RESEND_AFTER_US)
        self.sockets[(local, remote)] = socket
        return socket

    def receive(self, packet: bytes, now_us: int) -> None:
        segment = read_packet(packet)
        if isinstance(segment, IcmpMessage):
            self.icmp.append(segment)
            return
        local = Address(segment.header.destination, segment.destination_port)
        remote = Address(segment.header.source, segment.source_port)
        socket = self.sockets.get((local, remote))
        flags = segment.flags
        if socket is None and local.port in self.listeners and flags & flag_bits("S"):
            socket = self._new(local, remote, "SYN_RECEIVED", now_us)
            socket.rcv_nxt = (segment.seq + 1) % (1 << 32)
            timestamps = [option for option in segment.options if option.name == "TS"]
            echo = tuple(TcpOption("TS", (700_000, option.numbers[0])) for option in timestamps)
            socket.options = (*socket.options, *echo)
            socket.emit("S.", options=socket.options)
            socket.snd_nxt = (socket.snd_nxt + 1) % (1 << 32)
        elif socket is not None:
            self._receive(socket, segment, now_us)

    def _receive(self, socket: FakeSocket, segment: Segment, now_us: int) -> None:
        if segment.flags & flag_bits("R"):
            socket.error = ConnectionRefusedError() if socket.state == "SYN_SENT" else ConnectionResetError()
            socket.state, socket.deadline_us = "CLOSED", None
        elif socket.state == "SYN_SENT" and segment.flags & flag_bits("S"):
            socket.state, socket.deadline_us = "ESTABLISHED", None
            socket.rcv_nxt = (segment.seq + 1) % (1 << 32)
            socket.emit(".")
        elif socket.state == "SYN_RECEIVED":
            if segment.ack != socket.snd_nxt:
                return
            socket.state, socket.deadline_us = "ESTABLISHED", None
            self.listeners[socket.local.port].ready.append(socket)
        elif segment.payload or segment.flags & flag_bits("F"):
            socket.received += segment.payload
            socket.at_eof = socket.at_eof or bool(segment.flags & flag_bits("F"))
            socket.rcv_nxt = (socket.rcv_nxt + len(segment.payload) + socket.at_eof) % (1 << 32)
            socket.emit(".")
        else:
            socket.room_bytes = 1 << 20

    def run_timers(self, now_us: int) -> None:
        for socket in self.sockets.values():
            if socket.deadline_us is None or socket.deadline_us > now_us:
                continue
            socket.resends += 1
            if socket.resends > MAXIMUM_SYN_RESENDS:
                socket.error, socket.state, socket.deadline_us = TimeoutError(), "CLOSED", None
                continue
            socket.deadline_us = now_us + RESEND_AFTER_US * 2**socket.resends
            flags = "S" if socket.state == "SYN_SENT" else "S."
            socket.emit(flags, options=socket.options, seq=ISN)

    def next_deadline_us(self) -> int | None:
        return min((socket.deadline_us for socket in self.sockets.values() if socket.deadline_us is not None), default=None)

    def take_packets(self, now_us: int) -> list[bytes]:
        packets, self.outgoing = self.outgoing, []
        return packets


def fake_backend(**changes: object) -> tuple[Backend, list[FakeEndpoint]]:
    """Return a backend, and the list in which the endpoints that it makes appear."""
    made: list[FakeEndpoint] = []

    def make(settings: Settings) -> FakeEndpoint:
        made.append(FakeEndpoint(replace(settings, **changes)))  # type: ignore[arg-type]
        return made[-1]

    return Backend(make, Address), made
