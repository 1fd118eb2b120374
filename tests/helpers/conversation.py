"""A conversation between the stack and sockets of the kernel, in one thread: the test decides who acts when.

All packets that the stack sends are kept, and checked by scapy at the end.
"""

import ctypes
import errno
import os
import random
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from netstack.host import Address, Endpoint, EndpointConfig, Socket
from netstack.wire.device import TunDevice
from netstack.wire.impairment import Impairment, ImpairmentSettings
from netstack.wire.loop import EventLoop
from netstack.wire.namespace import ENDPOINT_ADDRESSES, KERNEL_ADDRESSES, Network

CLONE_NEWNET = 0x40000000
LIMIT_S = 60
SYN_ONLY = {"MSS", "WScale", "SAckOK"}


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Let this thread be in a network namespace: sockets that it opens there stay there."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(target: IO[str]) -> None:
        if libc.setns(target.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")

    with Path("/proc/thread-self/ns/net").open() as here, Path(f"/run/netns/{namespace}").open() as there:
        enter(there)
        try:
            yield
        finally:
            enter(here)


class Tap:
    """A device that keeps what the stack sends."""

    def __init__(self, device: TunDevice) -> None:
        self._device = device
        self.sent: list[bytes] = []

    def fileno(self) -> int:
        return self._device.fileno()

    def read(self, limit: int) -> list[bytes]:
        return self._device.read(limit)

    def write(self, packets: deque[bytes]) -> bool:
        waiting = list(packets)
        done = self._device.write(packets)
        self.sent += waiting[: len(waiting) - len(packets)]
        return done


class Conversation:
    """The stack on a network, and kernel sockets beside it."""

    def __init__(self, network: Network, loss: float = 0, kernel: dict[str, int] | None = None, **settings: Any) -> None:
        self.network = network
        self.endpoint = Endpoint(EndpointConfig(addresses=ENDPOINT_ADDRESSES, seed=1, **settings))
        self.tap = Tap(network.device)
        stages = [Impairment(ImpairmentSettings(loss=loss, seed=3), side) if loss else None for side in ("in", "out")]
        self.loop = EventLoop(self.tap, self.endpoint, inbound=stages[0], outbound=stages[1])
        for name, value in (kernel or {}).items():
            self.sysctl(name, value)

    def sysctl(self, name: str, value: int | str) -> None:
        with inside(self.network.namespace):
            Path(f"/proc/sys/net/ipv4/{name}").write_text(str(value))

    @property
    def now(self) -> int:
        return self.loop.now_us()

    def kernel_socket(self, family: int = socket.AF_INET) -> socket.socket:
        with inside(self.network.namespace):
            made = socket.socket(family, socket.SOCK_STREAM)
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return made

    def pump(self, until: Callable[[], Any], limit_s: float = LIMIT_S) -> None:
        """Run the loop until something is true."""
        end = time.monotonic() + limit_s
        while not until():
            assert time.monotonic() < end, "it does not happen"
            if not self.loop.turn():
                time.sleep(0.0002)

    def settle(self) -> None:
        """Let everything that is under way arrive."""
        end = time.monotonic() + 0.02
        self.pump(lambda: time.monotonic() > end)

    def accept(
        self, port: int = 80, prepare: Callable[[socket.socket], None] = lambda made: None
    ) -> tuple[socket.socket, Socket]:
        """The kernel connects to the stack: return both ends."""
        listener = self.endpoint.listen(Address(ENDPOINT_ADDRESSES[0], port))
        kernel = self.kernel_socket()
        prepare(kernel)
        start_connect(kernel, (ENDPOINT_ADDRESSES[0], port))
        accepted: list[Socket] = []
        self.pump(lambda: accepted or ((one := listener.accept()) and accepted.append(one) is None))
        listener.close(self.now)
        self.settle()
        assert kernel.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        return kernel, accepted[0]

    def connect(
        self, port: int = 8000, prepare: Callable[[socket.socket], None] = lambda made: None, family: int = socket.AF_INET
    ):
        """The stack connects to the kernel: return both ends."""
        host = KERNEL_ADDRESSES[family == socket.AF_INET6]
        listening = self.kernel_socket(family)
        prepare(listening)
        listening.bind((host, port))
        listening.listen(8)
        ours = self.endpoint.connect(Address(host, port), self.now)
        self.pump(lambda: ours.writable)
        accepted: list[socket.socket] = []

        def take() -> bool:
            try:
                accepted.append(listening.accept()[0])
            except BlockingIOError:
                return False
            return True

        self.pump(take)
        listening.close()
        accepted[0].setblocking(False)
        return accepted[0], ours

    def exchange(self, kernel: socket.socket, ours: Socket, there: int, back: int, close: bool = True) -> None:
        """Bytes from the kernel to the stack, and back, at the same time; both arrive as they were."""
        outgoing, incoming = content(there, 1), content(back, 2)
        sent = written = 0
        got, read = bytearray(), bytearray()

        def step() -> bool:
            nonlocal sent, written
            if sent < there:
                with suppress(BlockingIOError):
                    sent += kernel.send(outgoing[sent : sent + 65536])
            with suppress(BlockingIOError):
                read.extend(kernel.recv(1 << 20))
            while written < back and ours.writable:
                written += ours.send(incoming[written : written + 65536], self.now)
            got.extend(ours.receive(1 << 20, self.now))
            return len(got) >= there and len(read) >= back

        self.pump(step)
        assert got == outgoing
        assert read == incoming
        if close:
            ours.close(self.now)
            kernel.close()
            self.settle()

    def verify(self) -> None:
        """Every segment that the stack sent: lengths, checksums, and options only where they may be."""
        offered: dict[tuple, set[str]] = {}
        for raw in self.tap.sent:
            packet = IPv6(raw) if raw[0] >> 4 == 6 else IP(raw)
            if TCP not in packet:
                continue
            again = packet.copy()
            if IP in again:
                del again[IP].len, again[IP].chksum
            else:
                del again[IPv6].plen
            del again[TCP].chksum, again[TCP].dataofs
            assert bytes(again) == raw
            names = {name for name, _ in packet[TCP].options} - {"NOP", "EOL"}
            connection = (packet.src, packet.dst, packet[TCP].sport, packet[TCP].dport)
            if packet[TCP].flags.S:
                offered[connection] = names
                assert names <= SYN_ONLY | {"Timestamp"}
            elif not packet[TCP].flags.R:
                assert names <= {"Timestamp", "SAck"}
                known = offered.get(connection, {"SAckOK", "Timestamp"})
                assert "SAck" not in names or "SAckOK" in known
                assert "Timestamp" not in names or "Timestamp" in known


@contextmanager
def conversation(network: Network, **settings: Any) -> Iterator[Conversation]:
    """A conversation whose packets are checked at the end."""
    made = Conversation(network, **settings)
    try:
        yield made
        made.verify()
    finally:
        for one in made.endpoint.connections:
            one.abort(made.now)
        made.loop.close()


def start_connect(kernel: socket.socket, address: tuple[str, int]) -> None:
    """Begin to connect, without waiting."""
    result = kernel.connect_ex(address)
    assert result in (0, errno.EINPROGRESS), os.strerror(result)


def content(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def pending_error(kernel: socket.socket) -> int:
    """The kernel's error of a socket, 0 if there is none."""
    return kernel.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
