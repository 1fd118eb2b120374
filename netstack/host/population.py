"""The connections of a host by their keys, and the limits of their numbers: in all, of one peer, and of those nobody uses.

Knows a connection as a socket, and no packet.
"""

from netstack.host.config import EndpointConfig
from netstack.host.ip import ends_of
from netstack.host.socket import Socket


class Population:
    """All connections of a host, in any state.

    Attributes:
        refused: Connections for which there was no room.
        orphans_dropped: Connections that were closed by the application, and dropped for later ones.
    """

    def __init__(self) -> None:
        self.refused = 0
        self.orphans_dropped = 0
        self._sockets: dict[bytes, Socket] = {}
        self._of_peer: dict[bytes, int] = {}
        self._closing: dict[Socket, None] = {}  # nobody uses them, but the peer does; in order of their closing
        self._waiting: dict[Socket, None] = {}  # in TIME-WAIT

    def __len__(self) -> int:
        return len(self._sockets)

    def get(self, key: bytes) -> Socket | None:
        """Return the connection of a key."""
        return self._sockets.get(key)

    def __contains__(self, key: bytes) -> bool:
        return key in self._sockets

    def sockets(self) -> list[Socket]:
        """Return all connections."""
        return list(self._sockets.values())

    def has_room(self, key: bytes, config: EndpointConfig) -> bool:
        """Return whether one more connection may be opened; count it as refused if not."""
        peer = ends_of(key)[0]
        there_is = (len(self._sockets) < config.maximum_connections or bool(self._waiting)) and self._of_peer.get(
            peer, 0
        ) < config.maximum_connections_of_peer
        self.refused += not there_is
        return there_is

    def add(self, socket: Socket, config: EndpointConfig) -> None:
        """Keep a connection; the one that has been in TIME-WAIT for longest makes room if there is none."""
        if len(self._sockets) >= config.maximum_connections and self._waiting:
            self._drop(next(iter(self._waiting)), 0)
        peer = ends_of(socket.key)[0]
        self._sockets[socket.key] = socket
        self._of_peer[peer] = self._of_peer.get(peer, 0) + 1

    def forget(self, socket: Socket) -> None:
        """Drop a connection that has ended."""
        self._closing.pop(socket, None)
        self._waiting.pop(socket, None)
        if self._sockets.get(socket.key) is not socket:
            return
        del self._sockets[socket.key]
        peer = ends_of(socket.key)[0]
        self._of_peer[peer] -= 1
        if self._of_peer[peer] == 0:
            del self._of_peer[peer]

    def orphan(self, socket: Socket, config: EndpointConfig, now_us: int) -> None:
        """Note that the application has closed a connection, which goes on, unless there are too many of them."""
        if socket not in self._waiting:
            self._closing[socket] = None
        while len(self._closing) + len(self._waiting) > config.maximum_orphans:
            self._drop(next(iter(self._waiting or self._closing)), now_us)

    def waits(self, socket: Socket) -> None:
        """Note that a connection is in TIME-WAIT."""
        self._closing.pop(socket, None)
        self._waiting[socket] = None

    def _drop(self, socket: Socket, now_us: int) -> None:
        self.orphans_dropped += 1
        socket.abort(now_us)
