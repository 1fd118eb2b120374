"""Messages among processes that depend on each other's: each sends to all others, then blocks until theirs are there.

ZeroMQ over TCP, without anybody in the middle. CurveZMQ encrypts, and lets in who has the keys of the mesh. Knows arrays of
64-bit words, not what they mean.
"""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import zmq
from zmq.auth.thread import ThreadAuthenticator

WAIT_SECONDS = 600.0  # for the message of another process: the first one compiles before it answers


@dataclass(frozen=True)
class Keys:
    """The keys of a mesh. Whoever has them may send to all of its members."""

    server_public: bytes
    server_secret: bytes
    client_public: bytes
    client_secret: bytes


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


class Mesh:
    """One member of a mesh.

    Args:
        index: Its number, from 0.
        keys: Those of the mesh.
        host: The address of an interface by which the others reach it.

    Raises:
        zmq.ZMQError: There is no such interface.
    """

    def __init__(self, index: int, keys: Keys, host: str) -> None:
        self._index, self._keys = index, keys
        self._context = zmq.Context()
        self._authenticator = ThreadAuthenticator(self._context)
        self._authenticator.start()
        self._authenticator.configure_curve_callback(domain="*", credentials_provider=_OnlyMembers(keys.client_public))
        self._inbox = self._socket(zmq.ROUTER)
        self._inbox.curve_server = True
        self._inbox.curve_secretkey = keys.server_secret
        port = self._inbox.bind_to_random_port(f"tcp://{host}")
        self.address = f"tcp://{host}:{port}"
        self._outboxes: list[zmq.Socket] = []
        self._early: list[deque[bytes]] = []

    def _socket(self, kind: int) -> zmq.Socket:
        socket = self._context.socket(kind)
        socket.linger = 0
        socket.sndhwm = socket.rcvhwm = 0  # a member is never more than a round ahead
        return socket

    def connect(self, addresses: Sequence[str]) -> None:
        """Connect to the members at `addresses`, in the order of their numbers; this one's own is among them."""
        self._early = [deque() for _ in addresses]
        for member, address in enumerate(addresses):
            if member != self._index:
                outbox = self._socket(zmq.DEALER)
                outbox.routing_id = b"%d" % (self._index + 1)
                outbox.curve_serverkey = self._keys.server_public
                outbox.curve_publickey, outbox.curve_secretkey = self._keys.client_public, self._keys.client_secret
                outbox.connect(address)
                self._outboxes.append(outbox)

    def exchange(self, own: np.ndarray) -> list[np.ndarray]:
        """Send an array to all members; return those of all members in the order of their numbers, this one's among them.

        Raises:
            TimeoutError: A member was silent for ten minutes.
        """
        data = own.tobytes()
        for outbox in self._outboxes:
            outbox.send(data)
        deadline = time.monotonic() + WAIT_SECONDS
        arrays: list[np.ndarray] = []
        for member, early in enumerate(self._early):
            while member != self._index and not early:
                self._receive(deadline)
            arrays.append(own if member == self._index else np.frombuffer(early.popleft(), np.int64))
        return arrays

    def _receive(self, deadline: float) -> None:
        if not self._inbox.poll(max(0, int(1000 * (deadline - time.monotonic())))):
            raise TimeoutError(f"no message from another process for {WAIT_SECONDS:g} s")
        sender, data = self._inbox.recv_multipart()
        self._early[int(sender) - 1].append(data)

    def close(self) -> None:
        """Close all connections."""
        self._authenticator.stop()
        for socket in (self._inbox, *self._outboxes):
            socket.close()
        self._context.term()
