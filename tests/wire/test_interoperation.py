"""The stack and the kernel's TCP agree: congestion control, options, windows, the ways to end, and what happens on the path."""

import errno
import socket
import struct
from contextlib import suppress
from typing import Any

import pytest

from netstack.host import Address
from netstack.tcp.states import State
from netstack.wire.namespace import ENDPOINT_ADDRESSES, KERNEL_ADDRESSES, Network
from tests.helpers.conversation import Conversation, content, conversation, pending_error, start_connect

HOST, KERNEL = ENDPOINT_ADDRESSES[0], KERNEL_ADDRESSES[0]
TCP_CONGESTION = 13
KERNEL_CLOSED = 7
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def reset(kernel: socket.socket) -> None:
    kernel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    kernel.close()


@pytest.mark.parametrize("ours", ["reno", "cubic"])
@pytest.mark.parametrize("theirs", ["reno", "cubic", "bbr"])
@pytest.mark.parametrize("sack", [False, True])
def test_congestion_controls_through_loss(network: Network, ours: str, theirs: str, sack: bool) -> None:
    def choose(made: socket.socket) -> None:
        try:
            made.setsockopt(socket.IPPROTO_TCP, TCP_CONGESTION, theirs.encode())
        except OSError:
            pytest.skip(f"this kernel has no {theirs}")

    with conversation(network, loss=0.01, congestion_control=ours, sack=sack) as talk:
        talk.exchange(*talk.accept(prepare=choose), 600_000, 600_000)
        talk.exchange(*talk.connect(prepare=choose), 300_000, 300_000)


@pytest.mark.parametrize(
    ("sysctl", "setting", "bit"),
    [("tcp_timestamps", "timestamps", 1), ("tcp_sack", "sack", 2), ("tcp_window_scaling", "window_scaling", 4)],
)
@pytest.mark.parametrize("theirs", [0, 1])
@pytest.mark.parametrize("ours", [False, True])
def test_an_option_is_used_if_both_have_it(
    network: Network, sysctl: str, setting: str, bit: int, theirs: int, ours: bool
) -> None:
    with conversation(network, kernel={sysctl: theirs}, **{setting: ours}) as talk:
        for kernel, socket_ in (talk.accept(), talk.connect()):
            assert bool(socket_.info()["options"] & bit) == (bool(theirs) and ours)
            talk.exchange(kernel, socket_, 200_000, 200_000)


@pytest.mark.parametrize("theirs", [0, 1, 2])
@pytest.mark.parametrize("ours", [0, 1, 2])
def test_ecn_is_used_if_one_asks_and_the_other_grants(network: Network, theirs: int, ours: int) -> None:
    """RFC 3168; 0: never, 1: ask and grant, 2: grant."""
    with conversation(network, kernel={"tcp_ecn": theirs}, ecn=ours) as talk:
        kernel, accepted = talk.accept()
        assert bool(accepted.info()["options"] & 8) == (theirs == 1 and ours > 0)
        talk.exchange(kernel, accepted, 100_000, 100_000)
        kernel, connected = talk.connect()
        assert bool(connected.info()["options"] & 8) == (ours == 1 and theirs > 0)
        talk.exchange(kernel, connected, 100_000, 100_000)


@pytest.mark.parametrize("size", [88, 536, 1000])
def test_small_segments(network: Network, size: int) -> None:
    def limit(made: socket.socket) -> None:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, size)

    with conversation(network) as talk:
        kernel, ours = talk.accept(prepare=limit)
        assert ours.info()["snd_mss"] <= size
        talk.exchange(kernel, ours, 50_000, 50_000)
    with conversation(network, mtu_bytes=size + 52) as talk:
        talk.exchange(*talk.connect(), 50_000, 50_000)
        assert max(map(len, talk.tap.sent)) <= size + 52


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_both_versions_of_ip(network: Network, family: int) -> None:
    with conversation(network) as talk:
        talk.exchange(*talk.connect(family=family), 200_000, 200_000)


def test_our_reader_stops_and_goes_on(network: Network) -> None:
    """The kernel finds a closed window, probes it, and goes on when we have read."""
    data = content(300_000, 1)
    with conversation(network, receive_buffer_bytes=20_000) as talk:
        kernel, ours = talk.accept()
        sent = 0

        def push() -> None:
            nonlocal sent
            with suppress(BlockingIOError):
                sent += kernel.send(data[sent : sent + 65536])

        def full() -> bool:
            push()
            return ours.unread_bytes >= 18_000

        talk.pump(full)
        for _ in range(20):
            talk.settle()
        assert ours.unread_bytes <= 20_000 + 65536
        got = bytearray()

        def drained() -> bool:
            push()
            got.extend(ours.receive(7000, talk.now))
            return len(got) == len(data)

        talk.pump(drained)
        assert got == data


def test_the_kernels_reader_stops_and_goes_on(network: Network) -> None:
    data = content(300_000, 1)

    def small(made: socket.socket) -> None:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)

    with conversation(network) as talk:
        kernel, ours = talk.accept(prepare=small)
        assert ours.send(data, talk.now) == len(data)
        talk.pump(lambda: int(ours.pcb["snd_wnd"]) < 1448)
        talk.pump(lambda: int(ours.pcb["rto_us"]) > 400_000)  # probes were sent
        read = bytearray()

        def drained() -> bool:
            with suppress(BlockingIOError):
                read.extend(kernel.recv(3000))
            return len(read) == len(data)

        talk.pump(drained)
        assert read == data


def test_half_close_by_the_kernel(network: Network) -> None:
    with conversation(network) as talk:
        kernel, ours = talk.accept()
        kernel.shutdown(socket.SHUT_WR)
        talk.pump(lambda: ours.at_eof)
        assert ours.state is State.CLOSE_WAIT
        talk.exchange(kernel, ours, 0, 200_000, close=False)
        ours.close(talk.now)
        talk.pump(lambda: ours.state is State.CLOSED)
        assert kernel.recv(10) == b""


def test_half_close_by_us(network: Network) -> None:
    with conversation(network, maximum_segment_lifetime_us=50_000) as talk:
        kernel, ours = talk.accept()
        ours.shutdown(talk.now)
        talk.pump(lambda: ours.state is State.FIN_WAIT_2)
        talk.exchange(kernel, ours, 200_000, 0, close=False)
        assert kernel.recv(10) == b""
        kernel.close()
        talk.pump(lambda: ours.state is State.TIME_WAIT)
        talk.pump(lambda: ours.state is State.CLOSED)


def test_both_close_at_once(network: Network) -> None:
    with conversation(network) as talk:
        kernel, ours = talk.accept()
        kernel.close()  # its FIN waits in the device
        ours.close(talk.now)
        talk.pump(lambda: ours.state is State.TIME_WAIT)
        assert [state for state in (ours.error,) if state] == []


def in_state(talk: Conversation, state: State) -> tuple[socket.socket, Any]:
    """Both ends of a connection that is in `state` on our side."""
    kernel, ours = talk.accept()
    if state in (State.CLOSE_WAIT, State.LAST_ACK):
        kernel.shutdown(socket.SHUT_WR)
        talk.pump(lambda: ours.state is State.CLOSE_WAIT)
    if state in (State.FIN_WAIT_1, State.FIN_WAIT_2, State.LAST_ACK):
        ours.shutdown(talk.now)
    if state is State.FIN_WAIT_2:
        talk.pump(lambda: ours.state is State.FIN_WAIT_2)
    assert ours.state is state
    return kernel, ours


STATES = [State.ESTABLISHED, State.FIN_WAIT_1, State.FIN_WAIT_2, State.CLOSE_WAIT, State.LAST_ACK]


@pytest.mark.parametrize("state", STATES)
def test_the_kernel_resets_a_connection(network: Network, state: State) -> None:
    with conversation(network) as talk:
        kernel, ours = in_state(talk, state)
        reset(kernel)
        talk.pump(lambda: ours.state is State.CLOSED)
        assert talk.endpoint.connections == []


@pytest.mark.parametrize("state", STATES)
def test_we_reset_a_connection(network: Network, state: State) -> None:
    with conversation(network) as talk:
        kernel, ours = in_state(talk, state)
        ours.abort(talk.now)
        talk.settle()
        assert kernel.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == KERNEL_CLOSED
        expected = {State.FIN_WAIT_1: errno.EPIPE, State.FIN_WAIT_2: errno.EPIPE, State.LAST_ACK: 0}
        assert pending_error(kernel) == expected.get(state, errno.ECONNRESET)


def test_a_connection_is_reset_before_it_is_accepted(network: Network) -> None:
    with conversation(network) as talk:
        listener = talk.endpoint.listen(Address(HOST, 80))
        kernel = talk.kernel_socket()
        start_connect(kernel, (HOST, 80))
        talk.pump(lambda: listener.readable)
        reset(kernel)
        accepted = listener.accept()
        assert accepted is not None
        talk.pump(lambda: accepted.state is State.CLOSED)
        assert isinstance(accepted.error, ConnectionResetError)


def test_closed_ports_refuse(network: Network) -> None:
    with conversation(network) as talk:
        kernel = talk.kernel_socket()
        start_connect(kernel, (HOST, 81))
        ours = talk.endpoint.connect(Address(KERNEL, 81), talk.now)
        talk.pump(lambda: ours.error is not None)
        assert isinstance(ours.error, ConnectionRefusedError)
        assert pending_error(kernel) == errno.ECONNREFUSED


def test_closing_with_unread_bytes_resets(network: Network) -> None:
    """RFC 2525, section 2.17, both ways."""
    with conversation(network) as talk:
        kernel, ours = talk.accept()
        kernel.send(b"never read")
        talk.pump(lambda: ours.unread_bytes)
        ours.close(talk.now)
        talk.settle()
        assert pending_error(kernel) == errno.ECONNRESET
        kernel, ours = talk.connect()
        ours.send(b"never read", talk.now)
        talk.settle()
        kernel.close()
        talk.pump(lambda: isinstance(ours.error, ConnectionResetError))


def test_both_open_at_once(network: Network) -> None:
    """RFC 9293, figure 8: the kernel's SYN waits in the device until ours is on its way."""
    with conversation(network) as talk:
        kernel = talk.kernel_socket()
        kernel.bind((KERNEL, 7000))
        start_connect(kernel, (HOST, 7001))
        ours = talk.endpoint.connect(Address(KERNEL, 7000), talk.now, Address(HOST, 7001))
        talk.pump(lambda: ours.state is State.ESTABLISHED)
        talk.settle()
        assert pending_error(kernel) == 0
        talk.exchange(kernel, ours, 100_000, 100_000)


def test_a_port_is_used_again_out_of_our_time_wait(network: Network) -> None:
    def bind(made: socket.socket) -> None:
        made.bind((KERNEL, 7000))

    with conversation(network) as talk:
        kernel, first = talk.accept(prepare=bind)
        first.close(talk.now)
        talk.pump(lambda: first.state is State.FIN_WAIT_2)
        kernel.close()
        talk.pump(lambda: first.state is State.TIME_WAIT)
        kernel, second = talk.accept(prepare=bind)
        assert first.state is State.CLOSED
        talk.exchange(kernel, second, 10_000, 10_000)


def test_a_port_is_used_again_out_of_the_kernels_time_wait(network: Network) -> None:
    with conversation(network) as talk:
        listening = talk.kernel_socket()
        listening.bind((KERNEL, 7000))
        listening.listen(8)
        for _ in range(3):
            ours = talk.endpoint.connect(Address(KERNEL, 7000), talk.now, Address(HOST, 7001))
            talk.pump(lambda ours=ours: ours.writable)
            talk.settle()
            kernel, _ = listening.accept()
            kernel.close()
            talk.pump(lambda ours=ours: ours.at_eof)
            ours.close(talk.now)
            talk.pump(lambda ours=ours: ours.state is State.CLOSED)
            talk.settle()


def test_a_flood_of_connections_is_served_by_cookies(network: Network) -> None:
    """All SYNs are there before the first ACK: there are places for some, the others get cookies."""
    with conversation(network) as talk:
        listener = talk.endpoint.listen(Address(HOST, 80), backlog=64)
        kernels = [talk.kernel_socket() for _ in range(150)]
        for kernel in kernels:
            start_connect(kernel, (HOST, 80))
        accepted = []

        def all_there() -> bool:
            while (one := listener.accept()) is not None:
                accepted.append(one)
            return len(accepted) == len(kernels)

        talk.pump(all_there)
        assert listener.cookies_sent >= 20
        assert [pending_error(kernel) for kernel in kernels] == [0] * len(kernels)
        assert {one.info()["options"] & 7 for one in accepted} == {7}
        by_port = {kernel.getsockname()[1]: kernel for kernel in kernels}
        for ours in accepted[-3:]:
            talk.exchange(by_port[ours.remote.port], ours, 50_000, 50_000)


def test_many_short_connections(network: Network) -> None:
    with conversation(network) as talk:
        listener = talk.endpoint.listen(Address(HOST, 80), backlog=64)
        for number in range(100):
            kernel = talk.kernel_socket()
            start_connect(kernel, (HOST, 80))
            talk.pump(lambda: listener.readable)
            ours = listener.accept()
            assert ours is not None
            ours.send(str(number).encode(), talk.now)
            ours.close(talk.now)
            talk.pump(lambda ours=ours: ours.state is State.FIN_WAIT_2)
            assert kernel.recv(100) == str(number).encode()
            kernel.close()
        talk.settle()
        assert {one.state for one in talk.endpoint.connections} == {State.TIME_WAIT}


def test_keep_alive_finds_out_who_is_gone(network: Network) -> None:
    """The kernel answers probes; then its packets are dropped, and we give up."""
    with conversation(network, keepalive_idle_us=50_000, keepalive_interval_us=20_000, keepalive_probes=3) as talk:
        kernel, ours = talk.accept()
        ours.set_option("keepalive", 1, talk.now)
        before = len(talk.tap.sent)
        talk.pump(lambda: len(talk.tap.sent) >= before + 4)
        assert ours.state is State.ESTABLISHED
        talk.tap.read = lambda limit: talk.network.device.read(limit) and []
        talk.pump(lambda: ours.error is not None)
        assert isinstance(ours.error, TimeoutError)
        kernel.close()
