"""Servers that are not HTTP: echo, discard and a source of bytes; and what every server does with its connections.

Know sockets and a time that is given, no device.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from netstack.wire.interface import ListenerLike, SocketLike

CHUNK_BYTES = 64 * 1024
"""What an application holds of a stream at a time."""
SEND_BYTES = 16 * 1024
"""What is offered to a socket at a time: it may take less, and the rest was copied in vain."""


class Outgoing:
    """Bytes on their way into a socket."""

    def __init__(self, socket: SocketLike) -> None:
        self._socket = socket
        self._data = b""
        self._offset = 0

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

    def next_deadline_us(self) -> int | None: ...

    def release(self) -> None:
        """Let go of files: the connection ended, no matter how."""
        ...


class Server:
    """Accepts connections and drives them.

    Attributes:
        connections: Those that are open.
        accepted, failed: How many there were, and how many of them ended with an error of the socket.
    """

    def __init__(self, listeners: Sequence[ListenerLike], serve: Callable[[SocketLike, int], Connection]) -> None:
        """Call `serve` with each new socket and the time."""
        self.connections: list[Connection] = []
        self.accepted = self.failed = 0
        self._listeners = listeners
        self._serve = serve

    def step(self, now_us: int) -> None:
        for listener in self._listeners:
            while (socket := listener.accept()) is not None:
                self.accepted += 1
                self.connections.append(self._serve(socket, now_us))
        ended = [connection for connection in self.connections if not self._drive(connection, now_us)]
        for connection in ended:
            connection.release()
            self.connections.remove(connection)

    def next_deadline_us(self) -> int | None:
        deadlines = [connection.next_deadline_us() for connection in self.connections]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def abort(self, now_us: int) -> None:
        for connection in self.connections:
            connection.socket.abort(now_us)
            connection.release()
        self.connections.clear()

    def _drive(self, connection: Connection, now_us: int) -> bool:
        try:
            if connection.socket.error is not None:
                raise connection.socket.error
            return connection.step(now_us)
        except OSError:
            self.failed += 1
            connection.socket.abort(now_us)
            return False


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
