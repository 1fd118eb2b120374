"""Messages among processes that depend on each other's: each sends to all others, then blocks until theirs are there.

Unix-domain sockets on one node, ZeroMQ over TCP between nodes, without anybody in the middle. CurveZMQ encrypts, and lets in who
has the keys of the mesh. Knows arrays of 64-bit words, not what they mean.
"""

import shutil
import socket
import struct
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from zmq.auth.thread import ThreadAuthenticator

WAIT_SECONDS = 600.0  # for the message of another process: the first one compiles before it answers
READ_BYTES = 1 << 20
_LENGTH = struct.Struct("q")


@dataclass(frozen=True)
class Keys:
    """The keys of a mesh. Whoever has them may send to all of its members."""

    server_public: bytes
    server_secret: bytes
    client_public: bytes
    client_secret: bytes


@dataclass(frozen=True)
class Address:
    """Where a member is reached: by members of its node over the socket at `path`, by others over TCP."""

    node: str
    path: str
    tcp: str


def new_keys() -> Keys:
    """Draw the keys of a mesh."""
    return Keys(*zmq.curve_keypair(), *zmq.curve_keypair())


class _OnlyMembers:
    """Says whose key is accepted, as ZeroMQ's authentication asks it."""

    def __init__(self, client_public: bytes) -> None:
        self._accepted = client_public

    def callback(self, domain: str, key: bytes) -> bool:
        """Return whether a client with this public key may connect."""
        return key == self._accepted


class _Pipe:
    """A socket to a member on the same node. A message follows its length. What the socket does not take at once waits here."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self.socket = connected
        self._unsent, self._received = b"", bytearray()
        self._has_ended = False

    def send(self, data: bytes) -> None:
        """Send a message, behind what waits."""
        self._unsent += _LENGTH.pack(len(data)) + data
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as the socket takes it."""
        try:
            while self._unsent:
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self._has_ended, self._unsent = True, b""

    def read(self) -> list[bytes]:
        """Return the messages that have become complete."""
        try:
            data = self.socket.recv(READ_BYTES)
            self._has_ended = not data
        except BlockingIOError:
            return []
        except OSError:
            self._has_ended, data = True, b""
        self._received += data
        messages = []
        while len(self._received) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._received)[0]
            if len(self._received) < end:
                break
            messages.append(bytes(self._received[_LENGTH.size : end]))
            del self._received[:end]
        return messages

    @property
    def awaited(self) -> int:
        """What to wait for. A member that has ended is as one that is silent: who started it sees that it is lost."""
        if self._has_ended:
            return 0
        return zmq.POLLIN | (zmq.POLLOUT if self._unsent else 0)

    @property
    def is_sent(self) -> bool:
        """Whether nothing waits."""
        return not self._unsent

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


class Mesh:
    """One member of a mesh.

    Args:
        index: Its number, from 0.
        keys: Those of the mesh.
        host: The address of an interface by which the others reach it.
        node: The name of its node. Members of one node see the same files.

    Raises:
        zmq.ZMQError: There is no such interface.
    """

    def __init__(self, index: int, keys: Keys, host: str, node: str) -> None:
        self._index, self._keys = index, keys
        self._folder = Path(tempfile.mkdtemp(prefix="netstack-mesh-"))  # private
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._folder / "socket"))
        self._listener.listen(socket.SOMAXCONN)
        self._context = zmq.Context()
        self._authenticator = ThreadAuthenticator(self._context)
        self._authenticator.start()
        self._authenticator.configure_curve_callback(domain="*", credentials_provider=_OnlyMembers(keys.client_public))
        self._inbox = self._socket(zmq.ROUTER)
        self._inbox.curve_server = True
        self._inbox.curve_secretkey = keys.server_secret
        port = self._inbox.bind_to_random_port(f"tcp://{host}")
        self.address = Address(node, self._listener.getsockname(), f"tcp://{host}:{port}")
        self._near: dict[int, _Pipe] = {}
        self._far: dict[int, zmq.Socket] = {}
        self._early: list[deque[bytes]] = []

    def _socket(self, kind: int) -> zmq.Socket:
        made = self._context.socket(kind)
        made.linger = 0
        made.sndhwm = made.rcvhwm = 0  # a member is never more than a few messages ahead
        return made

    def connect(self, addresses: Sequence[Address]) -> None:
        """Connect to the members at `addresses`, in the order of their numbers; this one's own is among them.

        Raises:
            TimeoutError: A member of this node was silent for ten minutes.
        """
        self._early = [deque() for _ in addresses]
        own = addresses[self._index]
        later = 0
        for member, address in enumerate(addresses):
            if address.node != own.node:
                self._far[member] = self._connect_far(address.tcp)
            elif member < self._index:
                connected = socket.socket(socket.AF_UNIX)
                connected.connect(address.path)
                connected.sendall(_LENGTH.pack(self._index))
                self._near[member] = _Pipe(connected)
            elif member > self._index:
                later += 1
        self._listener.settimeout(WAIT_SECONDS)
        for _ in range(later):
            connected = self._listener.accept()[0]
            connected.settimeout(WAIT_SECONDS)
            (member,) = _LENGTH.unpack(connected.recv(_LENGTH.size, socket.MSG_WAITALL))
            self._near[member] = _Pipe(connected)
        shutil.rmtree(self._folder)

    def _connect_far(self, address: str) -> zmq.Socket:
        outbox = self._socket(zmq.DEALER)
        outbox.routing_id = b"%d" % (self._index + 1)
        outbox.curve_serverkey = self._keys.server_public
        outbox.curve_publickey, outbox.curve_secretkey = self._keys.client_public, self._keys.client_secret
        outbox.connect(address)
        return outbox

    def send(self, own: np.ndarray) -> None:
        """Send an array to all other members."""
        data = own.tobytes()
        for link in (*self._near.values(), *self._far.values()):
            link.send(data)

    def receive(self, own: np.ndarray) -> list[np.ndarray]:
        """Return the next array of each member in the order of their numbers; this one's is given. All that was sent has left.

        Raises:
            TimeoutError: A member was silent for ten minutes.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        for member, pipe in self._near.items():
            if not self._early[member]:
                self._early[member] += pipe.read()
        others = [early for member, early in enumerate(self._early) if member != self._index]
        while not (all(others) and all(pipe.is_sent for pipe in self._near.values())):
            self._wait(deadline)
        return [
            own if member == self._index else np.frombuffer(early.popleft(), np.int64) for member, early in enumerate(self._early)
        ]

    def _wait(self, deadline: float) -> None:
        """Wait until something comes, and take it, or until more of a message can be sent."""
        files: dict[Any, int] = {}
        awaited: list[tuple[Any, int]] = [(self._inbox, zmq.POLLIN)] if self._far else []
        for member, pipe in self._near.items():
            if wanted := pipe.awaited:
                awaited.append((pipe.socket.fileno(), wanted))
                files[pipe.socket.fileno()] = member
        ready = zmq.zmq_poll(awaited, max(0, int(1000 * (deadline - time.monotonic()))))
        if not ready and time.monotonic() >= deadline:
            raise TimeoutError(f"no message from another process for {WAIT_SECONDS:g} s")
        for found, events in ready:
            if found is self._inbox:
                sender, data = self._inbox.recv_multipart()
                self._early[int(sender) - 1].append(data)
                continue
            member = files[found]
            self._near[member].flush()
            if events & ~zmq.POLLOUT:
                self._early[member] += self._near[member].read()

    def close(self) -> None:
        """Close all connections."""
        self._authenticator.stop()
        for link in (self._listener, self._inbox, *self._near.values(), *self._far.values()):
            link.close()
        self._context.term()
