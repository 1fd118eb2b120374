"""What every server does with its connections, whatever happens to them; and those that are not HTTP: echo, discard, a source.

Know sockets and a time that is given, no device.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from netstack.host.deadlines import Deadlines
from netstack.wire.errors import one_line
from netstack.wire.interface import ListenerLike, SocketLike, Watchable

CHUNK_BYTES = 64 * 1024
"""What an application holds of a stream at a time."""
SEND_BYTES = 64 * 1024
"""What is offered to a socket at a time: it may take less, and the rest was copied in vain. A smaller piece would end in a short
segment more often."""


class Outgoing:
    """Bytes on their way into a socket."""

    def __init__(self, socket: SocketLike) -> None:
        self._socket = socket
        self._data = b""
        self._offset = 0

    @property
    def waiting_bytes(self) -> int:
        """How many bytes the socket did not take yet."""
        return len(self._data) - self._offset

    def put(self, data: bytes) -> None:
        """Append bytes."""
        self._data = self._data[self._offset :] + data if self._offset < len(self._data) else data
        self._offset = 0

    def flush(self, now_us: int) -> bool:
        """Send what there is room for; return whether that was all.

        Raises:
            OSError: The socket's error.
        """
        while self._offset < len(self._data):
            taken = self._socket.send(self._data[self._offset : self._offset + SEND_BYTES], now_us)
            if taken == 0:
                return False
            self._offset += taken
        return True


class Connection(Protocol):
    """What a server does with one socket."""

    socket: SocketLike

    def step(self, now_us: int) -> bool:
        """Do all that can be done now; return False when the connection is no longer of interest.

        Raises:
            OSError: The socket's error.
        """
        ...

    def next_deadline_us(self) -> int | None:
        """Return when `step` must be called though nothing came. Only `step` changes it."""
        ...

    def release(self) -> None:
        """Let go of files: the connection ended, no matter how."""
        ...


class _Driven:
    """A connection, and its deadline."""

    __slots__ = ("_awake", "connection", "deadline_us", "timer")

    def __init__(self, connection: Connection, awake: "dict[_Driven, None]") -> None:
        self.connection = connection
        self.deadline_us = 0
        self.timer: list[Any] | None = None
        self._awake = awake

    def wake(self) -> None:
        """Let the connection be looked at in the next turn."""
        self._awake[self] = None


class Server:
    """Accepts connections and drives them. A turn costs as much as there is to do, however many connections wait.

    Whatever goes wrong in a connection ends that one only.

    Attributes:
        accepted, failed: How many there were, and how many of them ended with an error.
        faults: How many of those ended with an error that is not the socket's.
    """

    def __init__(
        self,
        listeners: Sequence[ListenerLike],
        serve: Callable[[SocketLike, int], Connection],
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Call `serve` with each new socket and the time; `log` gets a line for each connection that ends with a fault."""
        self.accepted = self.failed = self.faults = 0
        self._listeners = listeners
        self._serve = serve
        self._log = log
        self._driven: dict[_Driven, None] = {}
        self._asked: dict[_Driven, None] = {}  # in each turn: their sockets say nothing of their own
        self._awake: dict[_Driven, None] = {}
        self._deadlines: Deadlines[_Driven] = Deadlines()

    @property
    def connections(self) -> list[Connection]:
        """Those that are open."""
        return [driven.connection for driven in self._driven]

    def step(self, now_us: int) -> None:
        for listener in self._listeners:
            while (socket := listener.accept()) is not None:
                self.accepted += 1
                self._begin(socket, now_us)
        while (due := self._deadlines.take_due(now_us)) is not None:
            due.wake()
        for driven in self._asked:
            driven.wake()
        if self._awake:
            now_awake = list(self._awake)
            self._awake.clear()
            for driven in now_awake:
                if driven in self._driven:
                    self._drive(driven, now_us)

    def next_deadline_us(self) -> int | None:
        return self._deadlines.earliest_us()

    def abort(self, now_us: int) -> None:
        for driven in list(self._driven):
            driven.connection.socket.abort(now_us)
            self._end(driven)

    def _begin(self, socket: SocketLike, now_us: int) -> None:
        try:
            driven = _Driven(self._serve(socket, now_us), self._awake)
        except Exception as error:
            self._fail(socket, error, now_us)
            return
        self._driven[driven] = None
        if isinstance(socket, Watchable):
            socket.watch(driven.wake)
        else:
            self._asked[driven] = None
        driven.wake()

    def _drive(self, driven: _Driven, now_us: int) -> None:
        connection = driven.connection
        try:
            if connection.socket.error is not None:
                raise connection.socket.error
            goes_on = connection.step(now_us)
        except Exception as error:
            self._fail(connection.socket, error, now_us)
            goes_on = False
        if goes_on:
            self._deadlines.schedule(driven, connection.next_deadline_us() or 0)
        else:
            self._end(driven)

    def _fail(self, socket: SocketLike, error: Exception, now_us: int) -> None:
        """End a connection: the error of a socket is its peer's affair, any other one is ours."""
        self.failed += 1
        if not isinstance(error, OSError):
            self._say(socket, error)
        try:
            socket.abort(now_us)
        except Exception as second:
            self._say(socket, second)

    def _end(self, driven: _Driven) -> None:
        del self._driven[driven]
        self._asked.pop(driven, None)
        self._deadlines.forget(driven)
        connection = driven.connection
        if isinstance(connection.socket, Watchable):
            connection.socket.watch(None)
        self._awake.pop(driven, None)
        try:
            connection.release()
        except Exception as error:
            self._say(connection.socket, error)

    def _say(self, socket: SocketLike, error: Exception) -> None:
        self.faults += 1
        peer = getattr(socket, "remote", "a peer")
        self._log(f"connection of {peer} ended by {type(error).__name__}: {one_line(str(error))}")


class PlainConnection:
    """Neither deadlines nor files."""

    def __init__(self, socket: SocketLike) -> None:
        self.socket = socket

    def next_deadline_us(self) -> int | None:
        return None

    def release(self) -> None: ...


class Echo(PlainConnection):
    """Sends back what it receives (RFC 862), and closes when the peer has."""

    def __init__(self, socket: SocketLike) -> None:
        super().__init__(socket)
        self._outgoing = Outgoing(socket)

    def step(self, now_us: int) -> bool:
        while self._outgoing.flush(now_us):
            data = self.socket.receive(CHUNK_BYTES, now_us)
            if not data:
                if self.socket.at_eof:
                    self.socket.close(now_us)
                    return False
                return True
            self._outgoing.put(data)
        return True


class Sink(PlainConnection):
    """Throws away what it receives (RFC 863), and tells `count` how many bytes that was."""

    def __init__(self, socket: SocketLike, count: Callable[[int], None]) -> None:
        super().__init__(socket)
        self._count = count

    def step(self, now_us: int) -> bool:
        while data := self.socket.receive(CHUNK_BYTES, now_us):
            self._count(len(data))
        if self.socket.at_eof:
            self.socket.close(now_us)
            return False
        return True


class Source(PlainConnection):
    """Sends `size_bytes` bytes, 0 to 255 again and again, and closes; what it receives is thrown away."""

    PATTERN = bytes(range(256)) * (SEND_BYTES // 256 + 1)

    def __init__(self, socket: SocketLike, size_bytes: int, count: Callable[[int], None] = lambda size: None) -> None:
        """Tell `count` how many bytes the socket took."""
        super().__init__(socket)
        self._sent_bytes = 0
        self._size_bytes = size_bytes
        self._count = count

    def step(self, now_us: int) -> bool:
        while self.socket.receive(CHUNK_BYTES, now_us):
            pass
        while left_bytes := self._size_bytes - self._sent_bytes:
            phase = self._sent_bytes % 256
            taken = self.socket.send(self.PATTERN[phase : phase + min(SEND_BYTES, left_bytes)], now_us)
            if taken == 0:
                return True
            self._sent_bytes += taken
            self._count(taken)
        self.socket.close(now_us)
        return False
