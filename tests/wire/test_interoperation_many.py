"""Many connections between the stack and the kernel's TCP: after each other, at a time, by cookies, and on ports used before."""

import socket
from collections.abc import Callable

import pytest
from scapy.layers.inet import TCP

from netstack.host import EndpointConfig, Socket
from netstack.tcp.states import State
from tests.helpers.laboratory import Exchange, Laboratory, is_connected

OpenLaboratory = Callable[..., Laboratory]
OPENERS = ["kernel", "stack"]
PORT = 4000


@pytest.mark.parametrize("opener", OPENERS)
def test_a_thousand_connections_one_after_another(open_laboratory: OpenLaboratory, opener: str) -> None:
    laboratory = open_laboratory()
    listener = laboratory.listen(PORT)
    listening = laboratory.kernel_listener(PORT)
    for number in range(1000):
        if opener == "kernel":
            theirs = laboratory.kernel_connect(PORT)
            laboratory.until(lambda: listener.readable)
            ours = listener.accept()
            assert ours is not None
        else:
            ours = laboratory.connect(PORT)
            theirs = laboratory.accept(listening)
        exchange = Exchange(laboratory, theirs, ours, 100, number)
        laboratory.until(exchange.step)
        exchange.check()
    laboratory.settle()
    states = {each.state for each in laboratory.endpoint.connections} | set(laboratory.kernel_states())
    assert states == {State.TIME_WAIT}


def test_many_connections_at_a_time(open_laboratory: OpenLaboratory) -> None:
    """Half of them opened by each side, all of them with data in both directions."""
    count, size = 256, 16_000
    laboratory = open_laboratory()
    listener = laboratory.listen(PORT, backlog=count)
    listening = laboratory.kernel_listener(PORT)
    opened = [laboratory.connect(PORT) for _ in range(count // 2)]
    connecting = {theirs.getsockname()[1]: theirs for theirs in (laboratory.kernel_connect(PORT) for _ in range(count // 2))}
    ends = [(laboratory.accept(listening), None) for _ in range(count // 2)]
    by_port = {ours.local.port: ours for ours in opened}
    pairs: list[tuple[socket.socket, Socket]] = [(theirs, by_port[theirs.getpeername()[1]]) for theirs, _ in ends]
    laboratory.until(lambda: all(is_connected(theirs) for theirs in connecting.values()))
    laboratory.settle()
    while (ours := listener.accept()) is not None:
        pairs.append((connecting[ours.remote.port], ours))
    assert len(pairs) == count
    left = exchanges = [Exchange(laboratory, theirs, ours, size, number) for number, (theirs, ours) in enumerate(pairs)]

    def all_done() -> bool:
        nonlocal left
        left = [exchange for exchange in left if not exchange.step()]
        return not left

    laboratory.until(all_done)
    for exchange in exchanges:
        exchange.check()


@pytest.mark.parametrize("timestamps", [0, 1])
def test_cookies_serve_more_than_there_is_place_for(open_laboratory: OpenLaboratory, timestamps: int) -> None:
    """All SYNs are there before the first answer. Without time stamps cookies carry neither scale nor SACK."""
    count, backlog = 60, 10
    laboratory = open_laboratory()
    laboratory.set_kernel(tcp_timestamps=timestamps)
    listener = laboratory.listen(PORT, backlog=backlog)
    connecting = {theirs.getsockname()[1]: theirs for theirs in (laboratory.kernel_connect(PORT) for _ in range(count))}
    laboratory.until(lambda: all(is_connected(theirs) for theirs in connecting.values()))
    assert listener.cookies_sent >= count - backlog
    left: list[Exchange] = []
    done: list[Exchange] = []
    for theirs in connecting.values():
        theirs.sendall(b"hello")  # what is sent again when there was no place

    def all_done() -> bool:
        while (ours := listener.accept()) is not None:
            left.append(Exchange(laboratory, connecting[ours.remote.port], ours, 5000))
        done.extend([exchange for exchange in left if exchange.step()])
        left[:] = [exchange for exchange in left if exchange not in done]
        return len(done) == count

    laboratory.until(all_done)
    for exchange in done:
        assert exchange.stack_got == b"hello" + exchange.to_stack
        assert exchange.kernel_got == exchange.to_kernel


@pytest.mark.parametrize("size", [1000, 1_000_000])
@pytest.mark.parametrize("timestamps", [False, True])
def test_a_port_again_out_of_the_kernels_time_wait(open_laboratory: OpenLaboratory, timestamps: bool, size: int) -> None:
    """After many bytes our clock of initial numbers may be behind: then time stamps help, or the second SYN."""
    laboratory = open_laboratory(config=EndpointConfig(timestamps=timestamps))
    listening = laboratory.kernel_listener(PORT)
    for _ in range(3):
        ours = laboratory.connect(PORT, local_port=5000)
        theirs = laboratory.accept(listening)
        laboratory.send(ours, bytes(1000))
        laboratory.kernel_read(theirs, 1000)
        for _ in range(size // 1000):
            laboratory.send(ours, bytes(1000))
            laboratory.kernel_read(theirs, 1000)
        theirs.close()
        laboratory.until(lambda ours=ours: ours.at_eof)
        ours.close(laboratory.now_us)
        laboratory.until(lambda ours=ours: ours.state is State.CLOSED)
        assert laboratory.kernel_states() == [State.TIME_WAIT]


@pytest.mark.parametrize("again", OPENERS)
@pytest.mark.parametrize("timestamps", [False, True])
def test_a_port_again_out_of_our_time_wait(open_laboratory: OpenLaboratory, timestamps: bool, again: str) -> None:
    """The kernel opens the same connection anew, or we do."""
    laboratory = open_laboratory(config=EndpointConfig(timestamps=timestamps))
    listener, listening = laboratory.listen(PORT), laboratory.kernel_listener(PORT)
    for number in range(3):
        if again == "kernel":
            theirs = laboratory.kernel_connect(PORT, local_port=5000)
            laboratory.until(lambda: listener.readable)
            ours = listener.accept()
            assert ours is not None
        else:
            ours = laboratory.connect(PORT, local_port=5000)
            theirs = laboratory.accept(listening)
        laboratory.send(ours, bytes(50_000))
        ours.shutdown(laboratory.now_us)
        laboratory.kernel_read(theirs, 50_000)
        laboratory.until(lambda ours=ours: ours.state is State.FIN_WAIT_2)
        theirs.close()
        laboratory.until(lambda ours=ours: ours.state is State.TIME_WAIT)
        assert laboratory.endpoint.connections == [ours]
        assert laboratory.kernel_states() == []
        assert len([packet for packet in laboratory.tap.sent() if "S" in str(packet[TCP].flags)]) == number + 1
