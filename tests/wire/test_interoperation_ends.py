"""How connections between the stack and the kernel's TCP begin at once, end, and are reset in every state."""

import errno
import socket
import struct
from collections.abc import Callable

import pytest
from scapy.layers.inet import TCP

from netstack.host import Address, EndpointConfig, Socket
from netstack.tcp.states import State
from tests.helpers.laboratory import Holding, Laboratory, dropped, flags_of, is_connected, kernel_host, our_host, passed

OpenLaboratory = Callable[..., Laboratory]
OPENERS = ["kernel", "stack"]
VERSIONS = [4, 6]
STATES = [
    State.ESTABLISHED,
    State.FIN_WAIT_1,
    State.FIN_WAIT_2,
    State.CLOSE_WAIT,
    State.CLOSING,
    State.LAST_ACK,
    State.TIME_WAIT,
]
NO_LINGER = struct.pack("ii", 1, 0)


def bring_to(laboratory: Laboratory, state: State, opener: str) -> tuple[socket.socket, Socket, Holding]:
    """Return both ends of a connection that is in `state` on our side, and what of ours the kernel did not get yet."""
    theirs, ours = laboratory.pair(opener)
    held = Holding()
    if state in (State.CLOSE_WAIT, State.LAST_ACK):
        theirs.shutdown(socket.SHUT_WR)
        laboratory.until(lambda: ours.state is State.CLOSE_WAIT)
        laboratory.settle()
    if state in (State.FIN_WAIT_2, State.TIME_WAIT):
        ours.shutdown(laboratory.now_us)
        laboratory.until(lambda: ours.state is State.FIN_WAIT_2)
    if state in (State.FIN_WAIT_1, State.CLOSING, State.LAST_ACK, State.TIME_WAIT):
        laboratory.tap.outbound = held
        ours.shutdown(laboratory.now_us)
    if state in (State.CLOSING, State.TIME_WAIT):
        theirs.shutdown(socket.SHUT_WR)
    laboratory.until(lambda: ours.state is state)
    laboratory.settle()
    return theirs, ours, held


def reset_by_kernel(theirs: socket.socket) -> None:
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    theirs.close()


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_the_kernel_resets(open_laboratory: OpenLaboratory, state: State, opener: str) -> None:
    laboratory = open_laboratory()
    theirs, ours, held = bring_to(laboratory, state, opener)
    reset_by_kernel(theirs)
    if state is State.TIME_WAIT:  # the kernel's end is gone without a word, and refuses what comes late
        laboratory.tap.outbound = passed
        laboratory.tap.release(held.packets)
    laboratory.until(lambda: ours.state is State.CLOSED)
    assert laboratory.endpoint.connections == []
    assert laboratory.kernel_states() == []
    if state is State.TIME_WAIT:
        assert ours.error is None
    else:
        with pytest.raises(ConnectionError):
            ours.receive(1, laboratory.now_us)


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_the_stack_resets(open_laboratory: OpenLaboratory, state: State, opener: str) -> None:
    laboratory = open_laboratory()
    theirs, ours, _ = bring_to(laboratory, state, opener)
    laboratory.tap.outbound = passed
    ours.abort(laboratory.now_us)
    laboratory.until(lambda: laboratory.kernel_states() == [])
    assert laboratory.endpoint.connections == []
    error = theirs.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    assert error == (errno.EPIPE if state in (State.FIN_WAIT_2,) else errno.ECONNRESET)


@pytest.mark.parametrize("answered", [False, True])
def test_the_kernel_resets_what_is_half_open(open_laboratory: OpenLaboratory, answered: bool) -> None:
    """We are in SYN-RECEIVED: our SYN-ACK is still on its way, or the kernel's answer to it is lost."""
    laboratory = open_laboratory()
    listener = laboratory.listen(4000)
    held = Holding()
    if answered:
        laboratory.tap.inbound = lambda packet: [] if flags_of(packet) == "A" else [packet]
    else:
        laboratory.tap.outbound = held
    theirs = laboratory.kernel_connect(4000)
    laboratory.until(lambda: is_connected(theirs) if answered else held.packets)
    assert [each.state for each in laboratory.endpoint.connections] == [State.SYN_RECEIVED]
    reset_by_kernel(theirs)
    laboratory.tap.outbound = passed
    laboratory.tap.release(held.packets)
    laboratory.until(lambda: laboratory.endpoint.connections == [])
    assert listener.accept() is None
    assert laboratory.kernel_states() == []


def test_the_stack_resets_what_is_half_open(open_laboratory: OpenLaboratory) -> None:
    laboratory = open_laboratory()
    listener = laboratory.listen(4000)
    laboratory.tap.inbound = lambda packet: [] if flags_of(packet) == "A" else [packet]
    theirs = laboratory.kernel_connect(4000)
    laboratory.until(lambda: is_connected(theirs))
    assert [each.state for each in laboratory.endpoint.connections] == [State.SYN_RECEIVED]
    listener.close(laboratory.now_us)
    assert laboratory.kernel_error(theirs) == errno.ECONNRESET
    assert laboratory.endpoint.connections == []


@pytest.mark.parametrize("answered", [False, True])
def test_the_stack_gives_up_what_the_kernel_has_half_open(open_laboratory: OpenLaboratory, answered: bool) -> None:
    """The kernel is in SYN-RECEIVED: we abort before its SYN-ACK comes, or before our answer to it has left."""
    laboratory = open_laboratory()
    laboratory.kernel_listener(4000)
    if answered:
        laboratory.tap.outbound = lambda packet: [] if flags_of(packet) == "A" else [packet]
    else:
        laboratory.tap.inbound = held = Holding()
    ours = laboratory.connect(4000)
    laboratory.until(lambda: ours.state is State.ESTABLISHED if answered else held.packets)
    assert laboratory.kernel_states() == [State.SYN_RECEIVED]
    ours.abort(laboratory.now_us)
    laboratory.tap.inbound = passed  # its SYN-ACK is sent again
    laboratory.until(lambda: laboratory.kernel_states() == [])
    assert laboratory.endpoint.connections == []


@pytest.mark.parametrize("opener", OPENERS)
def test_a_reset_counts_though_older_data_is_sent_again(open_laboratory: OpenLaboratory, opener: str) -> None:
    """The kernel got all, its acknowledgments are lost: the reset has the number that it waits for (RFC 9293, 3.10.7.4)."""
    laboratory = open_laboratory()
    theirs, ours = laboratory.pair(opener)
    laboratory.tap.inbound = dropped
    ours.set_option("no_delay", 1, laboratory.now_us)
    laboratory.send(ours, bytes(10_000))
    assert len(laboratory.kernel_read(theirs, 10_000)) == 10_000
    laboratory.until(lambda: ours.pcb["retransmitted_segments"] > 0)
    ours.abort(laboratory.now_us)
    assert laboratory.kernel_error(theirs) == errno.ECONNRESET


@pytest.mark.parametrize("version", VERSIONS)
def test_closed_ports_refuse(open_laboratory: OpenLaboratory, version: int) -> None:
    laboratory = open_laboratory()
    theirs = laboratory.kernel_connect(4000, version)
    assert laboratory.kernel_error(theirs) == errno.ECONNREFUSED
    ours = laboratory.connect(4000, version)
    laboratory.until(lambda: ours.state is State.CLOSED)
    with pytest.raises(ConnectionRefusedError):
        ours.receive(1, laboratory.now_us)


@pytest.mark.parametrize("opener", OPENERS)
def test_the_stack_closes_its_half(open_laboratory: OpenLaboratory, opener: str) -> None:
    laboratory = open_laboratory()
    theirs, ours = laboratory.pair(opener)
    laboratory.send(ours, b"question")
    ours.shutdown(laboratory.now_us)
    assert laboratory.kernel_read(theirs, 8) == b"question"
    laboratory.until(lambda: ours.state is State.FIN_WAIT_2)
    assert theirs.recv(1) == b""
    for _ in range(10):
        theirs.sendall(bytes(5000))
        assert laboratory.read(ours, 5000) == bytes(5000)
    theirs.close()
    laboratory.until(lambda: ours.at_eof)
    assert ours.state is State.TIME_WAIT
    assert laboratory.kernel_states() == []


@pytest.mark.parametrize("opener", OPENERS)
def test_the_kernel_closes_its_half(open_laboratory: OpenLaboratory, opener: str) -> None:
    laboratory = open_laboratory()
    theirs, ours = laboratory.pair(opener)
    theirs.sendall(b"question")
    theirs.shutdown(socket.SHUT_WR)
    assert laboratory.read(ours, 8) == b"question"
    laboratory.until(lambda: ours.at_eof)
    assert ours.state is State.CLOSE_WAIT
    for _ in range(10):
        laboratory.send(ours, bytes(5000))
        assert laboratory.kernel_read(theirs, 5000) == bytes(5000)
    ours.close(laboratory.now_us)
    laboratory.until(lambda: ours.state is State.CLOSED)
    assert laboratory.kernel_states() == [State.TIME_WAIT]
    assert theirs.recv(1) == b""


@pytest.mark.parametrize("opener", OPENERS)
def test_closing_with_unread_bytes_resets(open_laboratory: OpenLaboratory, opener: str) -> None:
    """RFC 9293, section 3.6.1: both ends say that bytes were lost."""
    laboratory = open_laboratory()
    theirs, ours = laboratory.pair(opener)
    theirs.sendall(b"unread")
    laboratory.until(lambda: ours.readable)
    ours.close(laboratory.now_us)
    assert laboratory.kernel_error(theirs) == errno.ECONNRESET
    theirs, ours = laboratory.pair(opener, port=4001)
    laboratory.send(ours, b"unread")
    laboratory.until(lambda: ours.unacknowledged_bytes == 0)
    theirs.close()
    laboratory.until(lambda: ours.state is State.CLOSED)
    with pytest.raises(ConnectionResetError):
        ours.receive(1, laboratory.now_us)


@pytest.mark.parametrize("opener", OPENERS)
def test_data_after_the_end_of_its_reader_resets(open_laboratory: OpenLaboratory, opener: str) -> None:
    """One end has closed both directions, the other one goes on sending (RFC 9293, section 3.6.1)."""
    laboratory = open_laboratory()
    theirs, ours = laboratory.pair(opener)
    ours.close(laboratory.now_us)
    laboratory.until(lambda: ours.state is State.FIN_WAIT_2)
    theirs.sendall(b"nobody reads")
    assert laboratory.kernel_error(theirs) in (errno.ECONNRESET, errno.EPIPE)
    assert laboratory.endpoint.connections == []
    theirs, ours = laboratory.pair(opener, port=4001)
    theirs.close()
    laboratory.until(lambda: ours.state is State.CLOSE_WAIT)
    laboratory.send(ours, b"nobody reads")
    laboratory.until(lambda: ours.state is State.CLOSED)
    assert ours.error is not None


@pytest.mark.parametrize("options", [True, False])
@pytest.mark.parametrize("version", VERSIONS)
def test_both_open_at_once(open_laboratory: OpenLaboratory, version: int, options: bool) -> None:
    """RFC 9293, figure 8: the SYNs cross, because the kernel's waits in the device until ours has left.

    Without our window scale Linux would shift its windows by its own nevertheless, and get 63 bytes at a time.
    """
    config = EndpointConfig(timestamps=options, sack=options)
    laboratory = open_laboratory(config=config)
    theirs = laboratory.kernel_connect(4001, version, local_port=4000)
    ours = laboratory.endpoint.connect(Address(kernel_host(version), 4000), laboratory.now_us, Address(our_host(version), 4001))
    laboratory.until(lambda: ours.state is State.ESTABLISHED and is_connected(theirs))
    assert ["A" in str(packet[TCP].flags) for packet in laboratory.tap.sent()[:2]] == [False, True]
    assert "A" not in str(laboratory.tap.received()[0][TCP].flags)
    laboratory.exchange(theirs, ours, 50_000)


@pytest.mark.parametrize("opener", OPENERS)
def test_both_close_at_once(open_laboratory: OpenLaboratory, opener: str) -> None:
    """RFC 9293, figure 13: the FINs cross."""
    laboratory = open_laboratory()
    theirs, ours = laboratory.pair(opener)
    laboratory.tap.outbound = held = Holding()
    ours.shutdown(laboratory.now_us)
    laboratory.settle()
    theirs.shutdown(socket.SHUT_WR)
    laboratory.tap.outbound = passed
    laboratory.tap.release(held.packets)
    laboratory.until(lambda: ours.state is State.TIME_WAIT)
    laboratory.until(lambda: laboratory.kernel_states() == [State.TIME_WAIT])
