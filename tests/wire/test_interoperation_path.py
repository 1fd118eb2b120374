"""Paths between the stack and the kernel's TCP that get smaller, fail for a while, or end: path MTU, timeouts, keep-alive."""

import errno
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from scapy.layers.inet import TCP

from netstack.host import Address, EndpointConfig, Socket
from netstack.tcp.states import State
from netstack.wire.device import run_ip
from tests.helpers.laboratory import PATIENCE_S, Exchange, Laboratory, dropped, namespace, our_host, passed
from tests.helpers.segment_check import offset

OpenLaboratory = Callable[..., Laboratory]
OPENERS = ["kernel", "stack"]
NEAR = {4: "10.98.0.1", 6: "fd98::1"}
FAR = {4: "10.98.0.2", 6: "fd98::2"}
PREFIX = {4: 24, 6: 64}
UNUSED_PORT = 9


class FarHost:
    """A second namespace, which the first one forwards to."""

    def __init__(self, laboratory: Laboratory, name: str) -> None:
        self.name = name
        self._laboratory = laboratory
        near = laboratory.network.namespace
        run_ip("link", "add", "near", "type", "veth", "peer", "name", "far", "netns", name, namespace=near)
        for device, addresses, where in (("near", NEAR, near), ("far", FAR, name)):
            run_ip("link", "set", device, "up", namespace=where)
            for version, address in addresses.items():
                options = ["nodad"] if version == 6 else []
                run_ip("address", "add", f"{address}/{PREFIX[version]}", "dev", device, *options, namespace=where)
        for version in (4, 6):
            run_ip(f"-{version}", "route", "add", "default", "via", NEAR[version], namespace=name)
        with namespace(near):
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
            Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
        for version in (4, 6):
            laboratory.until(lambda version=version: self._is_reached(version))

    def _is_reached(self, version: int) -> bool:
        """Return whether both kernels have found each other, which takes IPv6 some seconds.

        Until then the first one calls the other unreachable, and that ends an attempt to connect (RFC 5461).
        """
        with namespace(self._laboratory.network.namespace):
            probe = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6)
        with probe:
            probe.settimeout(PATIENCE_S)
            return probe.connect_ex((FAR[version], UNUSED_PORT)) == errno.ECONNREFUSED

    def limit(self, version: int, mtu_bytes: int) -> None:
        """Let the first namespace forward no longer packets than these, and say so to their sender."""
        target = f"{FAR[version]}/{32 if version == 4 else 128}"
        mtu = ("mtu", "lock", str(mtu_bytes))
        near = self._laboratory.network.namespace
        run_ip(f"-{version}", "route", "replace", target, "dev", "near", *mtu, namespace=near)

    def pair(self, opener: str, version: int) -> tuple[socket.socket, Socket]:
        """Return both ends of a new connection."""
        laboratory = self._laboratory
        with namespace(self.name):
            opened = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6)
        opened.setblocking(False)
        if opener == "stack":
            opened.bind((FAR[version], 0))
            opened.listen()
            remote = Address(FAR[version], opened.getsockname()[1])
            ours = laboratory.endpoint.connect(remote, laboratory.now_us, Address(our_host(version), 0))
            theirs = laboratory.accept(opened)
            opened.close()
            return theirs, ours
        listener = laboratory.listen(4000, version)
        opened.connect_ex((our_host(version), 4000))
        laboratory.until(lambda: listener.readable)
        ours = listener.accept()
        assert ours is not None
        listener.close(laboratory.now_us)
        return opened, ours


@contextmanager
def far_host(laboratory: Laboratory) -> Iterator[FarHost]:
    name = f"netstack-{uuid.uuid4().hex[:12]}"
    with ExitStack() as stack:
        run_ip("netns", "add", name)
        stack.callback(run_ip, "netns", "delete", name)
        yield FarHost(laboratory, name)


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize(("version", "limits"), [(4, (1400, 1000, 600)), (6, (1450, 1350, 1280))])
def test_a_path_gets_smaller(open_laboratory: OpenLaboratory, version: int, limits: tuple[int, ...], opener: str) -> None:
    """A router between both ends forwards less and less (RFC 1191, RFC 8201)."""
    laboratory = open_laboratory()
    size = 200_000
    with far_host(laboratory) as far:
        theirs, ours = far.pair(opener, version)
        ours.set_option("send_buffer_bytes", 16_384, laboratory.now_us)  # less under way than passes between two limits
        exchange = Exchange(laboratory, theirs, ours, size)
        for number, limit in enumerate(limits):
            share = size * (number + 1) // (len(limits) + 1)
            laboratory.until(lambda share=share: exchange.step() or len(exchange.kernel_got) >= share)
            far.limit(version, limit)
        laboratory.until(exchange.step)
        exchange.check()
        lengths = [len(packet) for packet in laboratory.tap.sent()]
        assert max(lengths) == 1500
        assert set(limits) < set(lengths)
        before = len(lengths)
        exchange = Exchange(laboratory, *far.pair(opener, version), 20_000)  # what is known of the path stays known
        laboratory.until(exchange.step)
        exchange.check()
        assert max(len(packet) for packet in laboratory.tap.sent()[before:]) == limits[-1]


@pytest.mark.parametrize("opener", OPENERS)
def test_a_path_fails_for_a_while(open_laboratory: OpenLaboratory, opener: str) -> None:
    laboratory = open_laboratory()
    exchange = Exchange(laboratory, *laboratory.pair(opener), 200_000)
    laboratory.until(lambda: exchange.step() or len(exchange.kernel_got) > 50_000)
    laboratory.tap.inbound = laboratory.tap.outbound = dropped
    laboratory.until(lambda: exchange.step() or exchange.ours.pcb["retransmission_timeouts"] >= 2)
    laboratory.tap.inbound = laboratory.tap.outbound = passed
    laboratory.until(exchange.step)
    exchange.check()


def test_the_kernels_keep_alive(open_laboratory: OpenLaboratory) -> None:
    """We answer its probes; when answers are lost it gives up."""
    laboratory = open_laboratory()
    values = {socket.TCP_KEEPIDLE: 1, socket.TCP_KEEPINTVL: 1, socket.TCP_KEEPCNT: 2}
    options: dict[tuple[int, int], int | bytes] = {(socket.IPPROTO_TCP, name): value for name, value in values.items()}
    theirs, ours = laboratory.pair("stack", options=options | {(socket.SOL_SOCKET, socket.SO_KEEPALIVE): 1})
    laboratory.settle()
    before = len(laboratory.tap.received())
    answers = len(laboratory.tap.sent())
    laboratory.until(lambda: len(laboratory.tap.received()) == before + 2)
    for probe in laboratory.tap.received()[before:]:
        assert offset(probe[TCP].seq, int(ours.pcb["rcv_nxt"])) == -1
    assert len(laboratory.tap.sent()) == answers + 2
    laboratory.show_that_it_works(theirs, ours)
    laboratory.tap.outbound = dropped
    assert laboratory.kernel_error(theirs) == errno.ETIMEDOUT


@pytest.mark.parametrize("opener", OPENERS)
def test_our_keep_alive(open_laboratory: OpenLaboratory, opener: str) -> None:
    """The kernel answers our probes; when answers are lost we give up."""
    laboratory = open_laboratory(config=EndpointConfig(keepalive_interval_us=100_000, keepalive_probes=3))
    laboratory.set_kernel(tcp_invalid_ratelimit=0)  # else it answers one probe in half a second
    theirs, ours = laboratory.pair(opener)
    laboratory.settle()
    before = len(laboratory.tap.received())
    ours.set_option("keepalive_idle_us", 100_000, laboratory.now_us)
    laboratory.until(lambda: len(laboratory.tap.received()) >= before + 5)
    assert ours.state is State.ESTABLISHED
    assert offset(laboratory.tap.sent()[-1][TCP].seq, int(ours.pcb["snd_una"])) == -1
    laboratory.show_that_it_works(theirs, ours)
    laboratory.tap.inbound = dropped
    laboratory.until(lambda: ours.state is State.CLOSED)
    with pytest.raises(TimeoutError):
        ours.receive(1, laboratory.now_us)
    assert laboratory.kernel_error(theirs) == errno.ECONNRESET


@pytest.mark.parametrize("opener", OPENERS)
def test_our_user_timeout(open_laboratory: OpenLaboratory, opener: str) -> None:
    laboratory = open_laboratory(config=EndpointConfig(user_timeout_us=700_000))
    theirs, ours = laboratory.pair(opener)
    laboratory.tap.inbound = dropped
    laboratory.send(ours, bytes(5000))
    laboratory.until(lambda: ours.state is State.CLOSED)
    with pytest.raises(TimeoutError):
        ours.receive(1, laboratory.now_us)
    assert laboratory.kernel_error(theirs) == errno.ECONNRESET


@pytest.mark.parametrize("opener", OPENERS)
def test_the_kernels_user_timeout(open_laboratory: OpenLaboratory, opener: str) -> None:
    laboratory = open_laboratory()
    theirs, ours = laboratory.pair(opener, options={(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT): 700})
    laboratory.settle()
    laboratory.tap.outbound = dropped
    theirs.sendall(bytes(5000))
    assert laboratory.kernel_error(theirs) == errno.ETIMEDOUT
    laboratory.tap.outbound = passed
    if ours.state is State.ESTABLISHED:  # nothing told us
        laboratory.send(ours, b"are you there?")
    laboratory.until(lambda: ours.state is State.CLOSED)
    assert isinstance(ours.error, ConnectionError)
