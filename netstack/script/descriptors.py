"""File descriptors of a script, and what a socket's state means to calls. Knows no call."""

from dataclasses import dataclass, field
from typing import Any

from netstack.script.host import state_name

CONNECTING_STATES = ("SYN_SENT", "SYN_RECEIVED")
GONE_STATES = ("CLOSED", "TIME_WAIT")
"""The application's side of the connection has ended: Linux and FreeBSD both call the socket disconnected."""


@dataclass
class Interest:
    """What an epoll descriptor asks of another: the events as bits, and what it gives back with them."""

    events: int
    data: Any = None
    seen: object = None
    """What the socket had done when it was reported last; only for edges."""
    disabled: bool = False
    """After a report, if only one was asked for."""


@dataclass
class Descriptor:
    """A descriptor by the number that the script gives it: of a socket, or, by `kind`, of an epoll, a file or a pipe."""

    number: int
    nonblocking: bool = False
    local: Any = None
    """Address that `bind` chose."""
    listener: Any = None
    socket: Any = None
    connecting: bool = False
    read_shut: bool = False
    write_shut: bool = False
    no_space: bool = False
    """The last write found the send buffer full."""
    expects_more: bool = False
    """The last write said that more follows."""
    options: dict[str, int | str] = field(default_factory=dict)
    kind: str = "socket"
    interests: dict[int, Interest] = field(default_factory=dict)
    """Of an epoll, by descriptor."""
    pipe: bytearray = field(default_factory=bytearray)
    """What waits in a pipe; both of its ends have the same one."""

    @property
    def state(self) -> str:
        """The state of the connection, NONE for a socket that has none."""
        if self.listener is not None:
            return "LISTEN"
        return state_name(self.socket) if self.socket is not None else "NONE"

    @property
    def connected(self) -> bool:
        """Whether the handshake is done and the connection has not ended."""
        return self.socket is not None and self.state not in (*CONNECTING_STATES, *GONE_STATES)

    @property
    def gone(self) -> bool:
        """Whether there was a connection, which has ended."""
        return self.socket is not None and self.state in GONE_STATES
