"""The kernel's TCP behind the interface of the endpoint's sockets, so that applications are tested without the stack."""

import socket
from contextlib import suppress

PIECE_BYTES = 3000
"""Never more at a time, as with a small window."""


class KernelSocket:
    """A non-blocking socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.setblocking(False)
        self._ahead = b""
        self._finished = False
        self.error: OSError | None = None
        self.closed = False

    @property
    def readable(self) -> bool:
        self._look()
        return bool(self._ahead)

    @property
    def writable(self) -> bool:
        return True

    @property
    def at_eof(self) -> bool:
        self._look()
        return self._finished and not self._ahead

    def send(self, data: bytes, now_us: int) -> int:
        try:
            return self._connection.send(data[:PIECE_BYTES])
        except BlockingIOError:
            return 0

    def receive(self, limit: int, now_us: int) -> bytes:
        self._look()
        if self.error is not None:
            raise self.error
        data, self._ahead = self._ahead[:limit], self._ahead[limit:]
        return data

    def shutdown(self, now_us: int) -> None:
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def close(self, now_us: int) -> None:
        self._connection.close()
        self.closed = True

    def abort(self, now_us: int) -> None:
        self.close(now_us)

    def _look(self) -> None:
        if self._ahead or self._finished or self.error is not None:
            return
        try:
            self._ahead = self._connection.recv(PIECE_BYTES)
            self._finished = not self._ahead
        except BlockingIOError:
            pass
        except OSError as error:
            self.error = error


class KernelListener:
    """A listening socket on the loopback interface."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setblocking(False)
        self.port: int = self._listening.getsockname()[1]

    def accept(self) -> KernelSocket | None:
        try:
            return KernelSocket(self._listening.accept()[0])
        except BlockingIOError:
            return None

    def close(self) -> None:
        self._listening.close()
