"""An endpoint and the kernel of a namespace, in one thread, and between them whatever a test does to packets.

Nothing here waits for a time: a test runs the loop until something is the case.
"""

import ctypes
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from netstack.host import Address, Endpoint, EndpointConfig, Listener, Socket
from netstack.tcp.states import State
from netstack.wire.device import run_ip
from netstack.wire.impairment import Impairment, ImpairmentSettings
from netstack.wire.loop import EventLoop
from netstack.wire.namespace import ENDPOINT_ADDRESSES, KERNEL_ADDRESSES, Network, open_network
from tests.helpers.segment_check import Judge, Key

PATIENCE_S = 60
IPV6_MINIMUM_MTU_BYTES = 1280
CLONE_NEWNET = 0x40000000  # <linux/sched.h>
TIMESTAMPS, SACK, WINDOW_SCALING, ECN = 1, 2, 4, 8  # TCPI_OPT_* of <linux/tcp.h>
KERNEL_STATES = {
    1: State.ESTABLISHED,
    2: State.SYN_SENT,
    3: State.SYN_RECEIVED,
    4: State.FIN_WAIT_1,
    5: State.FIN_WAIT_2,
    6: State.TIME_WAIT,
    7: State.CLOSED,
    8: State.CLOSE_WAIT,
    9: State.LAST_ACK,
    10: State.LISTEN,
    11: State.CLOSING,
}
_libc = ctypes.CDLL(None, use_errno=True)

Filter = Callable[[bytes], list[bytes]]
"""What becomes of a packet."""


class Tap:
    """Stands between a loop and an endpoint: records packets, and lets tests change what passes.

    Attributes:
        records: Packets, with whether the endpoint sent them: all that it sent, and what it got.
        inbound, outbound: Filters of packets to and from the endpoint.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.records: list[tuple[bool, bytes]] = []
        self.inbound: Filter = passed
        self.outbound: Filter = passed
        self._released: list[bytes] = []

    def receive(self, packet: bytes, now_us: int) -> None:
        for kept in self.inbound(packet):
            self.records.append((False, kept))
            self.endpoint.receive(kept, now_us)

    def take_packets(self, now_us: int) -> list[bytes]:
        packets = self.endpoint.take_packets(now_us)
        self.records += [(True, packet) for packet in packets]
        released, self._released = self._released, []
        return released + [kept for packet in packets for kept in self.outbound(packet)]

    def release(self, packets: list[bytes]) -> None:
        """Send what a filter has held back."""
        self._released += packets

    def run_timers(self, now_us: int) -> None:
        self.endpoint.run_timers(now_us)

    def next_deadline_us(self) -> int | None:
        return self.endpoint.next_deadline_us()

    def sent(self) -> list[Any]:
        """Return the endpoint's segments, read by scapy."""
        return [read(packet) for sent, packet in self.records if sent and TCP in read(packet)]

    def received(self) -> list[Any]:
        """Return the kernel's segments."""
        return [read(packet) for sent, packet in self.records if not sent and TCP in read(packet)]


def read(packet: bytes) -> Any:
    return IP(packet) if packet[0] >> 4 == 4 else IPv6(packet)


def flags_of(packet: bytes) -> str:
    """Return the flags of a TCP packet by their letters, nothing for another one."""
    ip = read(packet)
    return str(ip[TCP].flags) if TCP in ip else ""


def passed(packet: bytes) -> list[bytes]:
    """Let a packet pass."""
    return [packet]


def dropped(packet: bytes) -> list[bytes]:
    """Lose a packet."""
    return []


class Holding:
    """A filter that keeps packets back."""

    def __init__(self, condition: Callable[[bytes], bool] = lambda packet: True) -> None:
        """Hold those for which `condition` is true."""
        self.packets: list[bytes] = []
        self._condition = condition

    def __call__(self, packet: bytes) -> list[bytes]:
        if not self._condition(packet):
            return [packet]
        self.packets.append(packet)
        return []


@dataclass(frozen=True)
class KernelInfo:
    """A part of struct tcp_info of <linux/tcp.h>."""

    state: State
    options: int
    send_mss: int
    slow_start_threshold: int


class Laboratory:
    """One endpoint, one kernel."""

    def __init__(self, network: Network, config: EndpointConfig, impairments: ImpairmentSettings) -> None:
        self.network = network
        self.endpoint = Endpoint(config)
        self.tap = Tap(self.endpoint)
        self.streams: dict[tuple[Key, int], bytearray] = {}
        ways = [None, None] if impairments.is_perfect else [Impairment(impairments, way) for way in ("in", "out")]
        self.loop = EventLoop(network.device, self.tap, inbound=ways[0], outbound=ways[1])
        self._kernel_sockets: list[socket.socket] = []

    # Time

    @property
    def now_us(self) -> int:
        return self.loop.now_us()

    def until(self, condition: Callable[[], Any], patience_s: float = PATIENCE_S) -> None:
        """Run the loop until something is the case; fail if it never is."""
        end_s = time.monotonic() + patience_s
        while not condition():
            assert time.monotonic() < end_s, "waited in vain"
            if not self.loop.turn():
                select.select([self.network.device], [], [], 0.001)

    def settle(self, turns: int = 3) -> None:
        """Let packets that are on the way arrive."""
        for _ in range(turns):
            while self.loop.turn():
                pass

    # The kernel

    def kernel_socket(self, version: int = 4, options: Mapping[tuple[int, int], int | bytes] | None = None) -> socket.socket:
        """Return a socket in the namespace that does not wait."""
        with namespace(self.network.namespace):
            opened = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6)
        self._kernel_sockets.append(opened)
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for (level, option), value in (options or {}).items():
            opened.setsockopt(level, option, value)
        return opened

    def kernel_listener(self, port: int, version: int = 4, **arguments: Any) -> socket.socket:
        listening = self.kernel_socket(version, **arguments)
        listening.bind((kernel_host(version), port))
        listening.listen(1024)
        return listening

    def set_kernel(self, **values: int | str) -> None:
        """Set variables of ``net.ipv4`` in the namespace."""
        with namespace(self.network.namespace):
            for name, value in values.items():
                Path(f"/proc/sys/net/ipv4/{name}").write_text(str(value))

    def kernel_states(self) -> list[State]:
        """Return the states of the kernel's connections over IPv4, without listeners."""
        with namespace(self.network.namespace):
            lines = Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
        states = [KERNEL_STATES[3 if (number := int(line.split()[3], 16)) == 12 else number] for line in lines]
        return [state for state in states if state != State.LISTEN]

    # Connections

    def pair(
        self,
        opener: str,
        version: int = 4,
        port: int = 4000,
        options: Mapping[tuple[int, int], int | bytes] | None = None,
    ) -> tuple[socket.socket, Socket]:
        """Return both ends of a new connection that `opener` opened, ``kernel`` or ``stack``; `options` are the kernel's."""
        if opener == "kernel":
            listener = self.listen(port, version)
            theirs = self.kernel_connect(port, version, options)
            self.until(lambda: listener.readable and is_connected(theirs))
            ours = listener.accept()
            assert ours is not None
            listener.close(self.now_us)
            return theirs, ours
        listening = self.kernel_listener(port, version, options=options)
        ours = self.connect(port, version)
        self.until(lambda: ours.state is State.ESTABLISHED)
        theirs = self.accept(listening)
        listening.close()
        return theirs, ours

    def listen(self, port: int, version: int = 4, backlog: int = 128) -> Listener:
        return self.endpoint.listen(Address(our_host(version), port), backlog)

    def connect(self, port: int, version: int = 4, local_port: int = 0) -> Socket:
        local = Address(our_host(version), local_port)
        return self.endpoint.connect(Address(kernel_host(version), port), self.now_us, local)

    def kernel_connect(
        self,
        port: int,
        version: int = 4,
        options: Mapping[tuple[int, int], int | bytes] | None = None,
        local_port: int = 0,
    ) -> socket.socket:
        theirs = self.kernel_socket(version, options)
        if local_port:
            theirs.bind((kernel_host(version), local_port))
        theirs.connect_ex((our_host(version), port))
        return theirs

    def accept(self, listening: socket.socket) -> socket.socket:
        """Return the kernel's next connection."""
        accepted: list[socket.socket] = []

        def one() -> bool:
            try:
                accepted.append(listening.accept()[0])
            except BlockingIOError:
                return False
            return True

        self.until(one)
        accepted[0].setblocking(False)
        self._kernel_sockets.append(accepted[0])
        return accepted[0]

    def send(self, ours: Socket, data: bytes) -> None:
        """Let our application write all of it."""
        rest = memoryview(data)

        def all_sent() -> bool:
            nonlocal rest
            rest = rest[ours.send(rest, self.now_us) :]
            return not rest

        self.until(all_sent)

    def read(self, ours: Socket, count: int) -> bytes:
        """Let our application read so many bytes."""
        data = bytearray()

        def all_read() -> bool:
            data.extend(ours.receive(count - len(data), self.now_us))
            return len(data) == count

        self.until(all_read)
        return bytes(data)

    def kernel_read(self, theirs: socket.socket, count: int) -> bytes:
        """Let the kernel's application read so many bytes."""
        data = bytearray()

        def all_read() -> bool:
            data.extend(receive_now(theirs, count - len(data)) or b"")
            return len(data) == count

        self.until(all_read)
        return bytes(data)

    def exchange(self, theirs: socket.socket, ours: Socket, size: int) -> None:
        """Send different bytes both ways at once and close; what arrives is what was sent."""
        exchange = Exchange(self, theirs, ours, size)
        self.until(exchange.step)
        exchange.check()

    def show_that_it_works(self, theirs: socket.socket, ours: Socket) -> None:
        """Show that a connection works, and leave it open."""
        data = bytes(range(200))
        theirs.sendall(data)
        assert self.read(ours, 200) == data
        self.send(ours, data)
        assert self.kernel_read(theirs, 200) == data
        self.until(lambda: ours.unacknowledged_bytes == 0)

    def kernel_error(self, theirs: socket.socket) -> int:
        """Return the error that the kernel's connection ends with."""
        errors: list[int] = []

        def failed() -> bool:
            error = theirs.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                errors.append(error)
            return bool(error)

        self.until(failed)
        return errors[0]

    def close(self) -> None:
        for opened in self._kernel_sockets:
            opened.close()
        self.loop.close()

    def judge(self) -> Judge:
        """Check all that the endpoint sent."""
        judge = Judge(self.endpoint.config.mtu_bytes, self.streams)  # pyright: ignore[reportArgumentType]
        judge.read(self.tap.records)
        return judge


class Exchange:
    """Both applications of a connection: each sends its bytes, shuts down, and reads to the end."""

    def __init__(self, laboratory: Laboratory, theirs: socket.socket, ours: Socket, size: int, seed: int = 0) -> None:
        self.to_kernel = (bytes(range(251)) * (size // 251 + 2))[seed % 251 :][:size]
        self.to_stack = (bytes(range(240, 9, -1)) * (size // 231 + 2))[seed % 231 :][:size]
        self.kernel_got = bytearray()
        self.stack_got = bytearray()
        self.theirs, self.ours = theirs, ours
        self._laboratory = laboratory
        self._kernel_rest = memoryview(self.to_stack)
        self._stack_rest = memoryview(self.to_kernel)
        self._kernel_shut = self._stack_shut = self._kernel_done = self._stack_done = False

    def step(self) -> bool:
        """Do what can be done now; return whether all is done."""
        if not self._kernel_shut:
            self._kernel_send()
        if not self._kernel_done:
            while (data := receive_now(self.theirs, 1 << 16)) is not None:
                self.kernel_got += data
                if not data:
                    self._kernel_done = True
                    break
        now_us = self._laboratory.now_us
        if not self._stack_shut:
            while self._stack_rest and (taken := self.ours.send(self._stack_rest[:16384], now_us)):
                self._stack_rest = self._stack_rest[taken:]
            if not self._stack_rest:
                self.ours.shutdown(now_us)
                self._stack_shut = True
        if not self._stack_done:
            while data := self.ours.receive(1 << 16, now_us):
                self.stack_got += data
            if self.ours.at_eof:
                self._stack_done = True
        if not (self._kernel_done and self._stack_done and self._kernel_shut and self._stack_shut):
            return False
        self.theirs.close()
        self.ours.close(now_us)
        return True

    def check(self) -> None:
        """What arrived is what was sent."""
        assert self.kernel_got == self.to_kernel
        assert self.stack_got == self.to_stack

    def _kernel_send(self) -> None:
        try:
            while self._kernel_rest:
                self._kernel_rest = self._kernel_rest[self.theirs.send(self._kernel_rest[:65536]) :]
        except BlockingIOError:
            return
        self.theirs.shutdown(socket.SHUT_WR)
        self._kernel_shut = True


def our_host(version: int) -> str:
    return ENDPOINT_ADDRESSES[version == 6]


def kernel_host(version: int) -> str:
    return KERNEL_ADDRESSES[version == 6]


def receive_now(theirs: socket.socket, limit: int) -> bytes | None:
    """Return what has arrived, None if nothing has."""
    try:
        return theirs.recv(limit)
    except BlockingIOError:
        return None


def is_connected(theirs: socket.socket) -> bool:
    return info_of(theirs).state is State.ESTABLISHED


def info_of(theirs: socket.socket) -> KernelInfo:
    """Return what the kernel tells of a connection."""
    data = theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    words = struct.unpack_from("=18I", data, 8)  # from tcpi_rto on
    return KernelInfo(
        state=KERNEL_STATES[data[0]],
        options=data[5],
        send_mss=words[2],
        slow_start_threshold=words[17],
    )


@contextmanager
def namespace(name: str) -> Iterator[None]:
    """Let this thread be in a network namespace: what it opens meanwhile belongs there."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _enter(f"/run/netns/{name}")
        try:
            yield
        finally:
            _enter(f"/proc/self/fd/{own}")
    finally:
        os.close(own)


def _enter(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if _libc.setns(descriptor, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns to {path}")
    finally:
        os.close(descriptor)


@cache
def compile_once() -> None:
    """Use an endpoint without the kernel, so that no timer of a test expires while code is compiled."""
    client, server = (Endpoint(EndpointConfig(addresses=(host,), seed=1)) for host in ("10.0.0.1", "10.0.0.2"))
    listener = server.listen(Address("10.0.0.2", 1))
    opened = client.connect(Address("10.0.0.2", 1), 0)
    client.connect(Address("10.0.0.2", 2), 0)  # refused
    for now_us in range(1, 7):
        for source, target in ((client, server), (server, client)):
            for packet in source.take_packets(now_us):
                target.receive(packet, now_us)
        accepted = listener.accept()
        if accepted is not None:
            accepted.send(b"1", now_us)
        if now_us == 5:
            assert opened.receive(1, now_us) == b"1"
            opened.shutdown(now_us)
        client.run_timers(now_us)
    client.run_timers(10_000_000)
    opened.abort(10_000_000)


@contextmanager
def laboratory(
    monkeypatch: pytest.MonkeyPatch,
    *,
    mtu_bytes: int = 1500,
    impairments: ImpairmentSettings = ImpairmentSettings(),  # noqa: B008 - it is frozen
    config: EndpointConfig | None = None,
) -> Iterator[Laboratory]:
    """Open a namespace with an endpoint; at the end all that the endpoint has sent is judged."""
    compile_once()
    config = replace(config or EndpointConfig(), addresses=ENDPOINT_ADDRESSES, mtu_bytes=mtu_bytes)
    with open_network(max(mtu_bytes, IPV6_MINIMUM_MTU_BYTES)) as network:
        if mtu_bytes < IPV6_MINIMUM_MTU_BYTES:  # takes the addresses of IPv6 away
            run_ip("link", "set", network.device.name, "mtu", str(mtu_bytes), namespace=network.namespace)
        opened = Laboratory(network, config, impairments)
        send = Socket.send

        def recording_send(self: Socket, data: bytes | bytearray | memoryview, now_us: int) -> int:
            taken = send(self, data, now_us)
            key = (self.local.host, self.local.port, self.remote.host, self.remote.port)
            opened.streams.setdefault((key, int(self.pcb["iss"])), bytearray()).extend(data[:taken])
            return taken

        monkeypatch.setattr(Socket, "send", recording_send)
        try:
            yield opened
        finally:
            opened.close()
    judge = opened.judge()
    assert judge.checked > 0
