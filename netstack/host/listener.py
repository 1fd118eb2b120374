"""A socket that connections arrive at: half-open ones, those that wait to be accepted, and cookies when there are too many.

Knows no endpoint and no segment.
"""

from collections import deque
from collections.abc import Callable

from netstack.host.config import Address
from netstack.host.options import check_option
from netstack.host.socket import Socket
from netstack.tcp.states import State

MINIMUM_HALF_OPEN = 8
COOKIES_AFTER_US = 2 * 64_000_000  # how long after the last one was sent a cookie may come back


class Listener:
    """Accepts connections to one address.

    Attributes:
        local: Where it listens.
        dropped: SYNs and ACKs for which there was no room.
        arrived: Connections whose handshake was done.
        cookies_sent: SYNs that were answered without keeping anything.
        cookie_scale: The window scale that these answers offer, the same while one of them may come back.
    """

    state = State.LISTEN

    def __init__(self, local: Address, backlog: int, unlisten: Callable[["Listener"], None]) -> None:
        """Listen; at most `backlog` connections wait for `accept`, and `unlisten` is told of the end."""
        self.local = local
        self.dropped = 0
        self.cookies_sent = 0
        self.arrived = 0
        self.cookie_scale = 0
        self.options: dict[str, int | str] = {}
        self._unlisten = unlisten
        self._backlog = max(backlog, 1)
        self._half_open: set[Socket] = set()
        self._ready: deque[Socket] = deque()
        self._last_cookie_us: int | None = None

    @property
    def readable(self) -> bool:
        """Whether `accept` would return a connection."""
        return bool(self._ready)

    writable = False
    at_eof = False
    error = None

    def accept(self) -> Socket | None:
        """Return the oldest connection that waits, None if there is none."""
        return self._ready.popleft() if self._ready else None

    def close(self, now_us: int) -> None:
        """Listen no more; connections that nobody has accepted are reset."""
        self._unlisten(self)
        for socket in [*self._half_open, *self._ready]:
            socket.abort(now_us)
        self._half_open.clear()
        self._ready.clear()

    def set_option(self, name: str, value: int | str, now_us: int) -> None:
        """Set an option that connections of this listener begin with.

        Raises:
            ValueError: There is no such option, or not with this value.
        """
        check_option(name, value)
        self.options[name] = value

    def get_option(self, name: str) -> int | str:
        """Return an option that was set."""
        if name not in self.options:
            raise ValueError(f"{name}: was not set")
        return self.options[name]

    # What the endpoint and sockets call

    @property
    def full(self) -> bool:
        """Whether no more connections can wait for `accept`."""
        return len(self._ready) >= self._backlog

    @property
    def flooded(self) -> bool:
        """Whether no more half-open connections can be kept."""
        return len(self._half_open) >= max(self._backlog, MINIMUM_HALF_OPEN)

    def begin(self, socket: Socket) -> None:
        """Keep a half-open connection, whose SYN was answered."""
        self._half_open.add(socket)

    def established(self, socket: Socket) -> None:
        """Let a connection whose handshake is done wait for `accept`."""
        self._half_open.discard(socket)
        self._ready.append(socket)
        self.arrived += 1

    def forget(self, socket: Socket) -> None:
        """Drop a half-open connection that ended; one that waits is still accepted, and raises its error then."""
        self._half_open.discard(socket)

    def sent_cookie(self, now_us: int, scale: int) -> None:
        """Count a SYN that is answered with a cookie. `scale` is the window scale of connections by now."""
        if not self.expects_cookies(now_us):
            self.cookie_scale = scale
        self.cookies_sent += 1
        self._last_cookie_us = now_us

    def expects_cookies(self, now_us: int) -> bool:
        """Whether an ACK of no connection may carry one."""
        return self._last_cookie_us is not None and now_us - self._last_cookie_us < COOKIES_AFTER_US
