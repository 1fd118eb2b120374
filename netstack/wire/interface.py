"""What the wire needs of a host without I/O. `netstack.host` is one; tests bring simpler ones.

All times are microseconds of the clock of whoever calls.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable


class SocketLike(Protocol):
    """One connection, as an application sees it."""

    @property
    def readable(self) -> bool: ...

    @property
    def writable(self) -> bool: ...

    @property
    def at_eof(self) -> bool:
        """Whether the peer has finished sending and everything was received."""
        ...

    @property
    def error(self) -> OSError | None:
        """What the next `send` or `receive` raises."""
        ...

    def send(self, data: bytes, now_us: int) -> int:
        """Return how many bytes there was room for."""
        ...

    def receive(self, limit: int, now_us: int) -> bytes:
        """Return up to `limit` bytes; ``b""`` if there is nothing, or at the end."""
        ...

    def shutdown(self, now_us: int) -> None: ...

    def close(self, now_us: int) -> None: ...

    def abort(self, now_us: int) -> None: ...


@runtime_checkable
class Watchable(Protocol):
    """A socket that says when there is something new, so that nobody needs to ask it in each turn."""

    def watch(self, changed: Callable[[], None] | None) -> None:
        """Call `changed` whenever something comes that the application may wait for, or the connection ends; None stops it."""
        ...


class ListenerLike(Protocol):
    """A socket that connections arrive at."""

    def accept(self) -> SocketLike | None: ...


class EndpointLike(Protocol):
    """A host: IP packets in, IP packets out."""

    def receive(self, packet: bytes, now_us: int) -> None: ...

    def run_timers(self, now_us: int) -> None: ...

    def next_deadline_us(self) -> int | None: ...

    def take_packets(self, now_us: int) -> list[bytes]: ...
