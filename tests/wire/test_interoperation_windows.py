"""Windows between the stack and the kernel's TCP: readers that stop, readers of few bytes, small buffers, windows that shrink."""

import socket
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise

import pytest
from scapy.layers.inet import TCP

from netstack.host import EndpointConfig
from tests.helpers.laboratory import Laboratory, receive_now
from tests.helpers.segment_check import offset

OpenLaboratory = Callable[..., Laboratory]
OPENERS = ["kernel", "stack"]
RECEIVE_BUFFER = {(socket.SOL_SOCKET, socket.SO_RCVBUF): 4096}
DATA = bytes(range(256)) * 400


class KernelWriter:
    """Lets the kernel's application write all that its socket takes."""

    def __init__(self, theirs: socket.socket, data: bytes) -> None:
        self._theirs = theirs
        self._rest = memoryview(data)

    def step(self) -> None:
        with suppress(BlockingIOError):
            while self._rest:
                self._rest = self._rest[self._theirs.send(self._rest) :]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("opener", OPENERS)
def test_our_reader_stops(open_laboratory: OpenLaboratory, opener: str, version: int) -> None:
    """The window closes, the kernel probes it and gets answers, and all arrives once there is a reader."""
    laboratory = open_laboratory(config=EndpointConfig(receive_buffer_bytes=8192))
    theirs, ours = laboratory.pair(opener, version)
    writer = KernelWriter(theirs, DATA)
    probes = []

    def probed_twice() -> bool:
        writer.step()
        if laboratory.tap.records and laboratory.tap.sent()[-1][TCP].window == 0:
            closed_at = laboratory.tap.sent()[-1][TCP].ack
            probes[:] = [packet for packet in laboratory.tap.received() if offset(packet[TCP].seq, closed_at) == -1]
        return len(probes) >= 2

    laboratory.until(probed_twice)
    assert ours.unread_bytes == 8192
    got = bytearray()

    def all_arrived() -> bool:
        writer.step()
        got.extend(ours.receive(1 << 16, laboratory.now_us))
        return len(got) == len(DATA)

    laboratory.until(all_arrived)
    assert got == DATA


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("opener", OPENERS)
def test_the_kernels_reader_stops(open_laboratory: OpenLaboratory, opener: str, version: int) -> None:
    """We probe the closed window and go on when it opens."""
    laboratory = open_laboratory()
    theirs, ours = laboratory.pair(opener, version, options=RECEIVE_BUFFER)
    assert ours.send(DATA, laboratory.now_us) == len(DATA)

    laboratory.until(lambda: ours.pcb["snd_wnd"] == 0)
    before = len(laboratory.tap.sent())
    laboratory.until(lambda: len(laboratory.tap.sent()) >= before + 2)
    assert ours.error is None
    assert laboratory.kernel_read(theirs, len(DATA)) == DATA


@pytest.mark.parametrize("opener", OPENERS)
def test_the_kernel_sends_while_its_own_reader_stops(open_laboratory: OpenLaboratory, opener: str) -> None:
    """We probe its closed window with a byte. Of our ACKs it then drops those whose number is behind that byte."""
    laboratory = open_laboratory()
    theirs, ours = laboratory.pair(opener, options=RECEIVE_BUFFER)
    assert ours.send(DATA, laboratory.now_us) == len(DATA)
    laboratory.until(lambda: ours.pcb["snd_wnd"] == 0 and ours.pcb["snd_max"] != ours.pcb["snd_una"])
    writer, stream, got = KernelWriter(theirs, DATA * 10), len(DATA) * 10, bytearray()

    def all_arrived() -> bool:
        writer.step()
        got.extend(ours.receive(1 << 16, laboratory.now_us))
        return len(got) == stream

    start_us = laboratory.now_us
    laboratory.until(all_arrived)
    assert got == DATA * 10
    assert laboratory.now_us - start_us < 5_000_000
    assert laboratory.kernel_read(theirs, len(DATA)) == DATA


@pytest.mark.parametrize("opener", OPENERS)
def test_our_reader_takes_few_bytes_at_a_time(open_laboratory: OpenLaboratory, opener: str) -> None:
    """The window opens by a segment or half of the buffer at least (RFC 9293, section 3.8.6.2.2)."""
    laboratory = open_laboratory(config=EndpointConfig(receive_buffer_bytes=4096))
    theirs, ours = laboratory.pair(opener)
    data = DATA[:30_000]
    writer = KernelWriter(theirs, data)
    got = bytearray()

    def all_arrived() -> bool:
        writer.step()
        got.extend(ours.receive(50, laboratory.now_us))
        return len(got) == len(data)

    laboratory.until(all_arrived)
    assert got == data
    ends = [packet[TCP].ack + packet[TCP].window for packet in laboratory.tap.sent() if "S" not in str(packet[TCP].flags)]
    steps = [offset(end, start) for start, end in pairwise(ends) if end != start]
    assert len(steps) >= 30_000 // 4096
    assert min(steps) >= min(1448, 4096 // 2)


@pytest.mark.parametrize("opener", OPENERS)
def test_the_kernels_reader_takes_few_bytes_at_a_time(open_laboratory: OpenLaboratory, opener: str) -> None:
    """We send no small segments into a window that opens bit by bit, but where nothing else would end the wait."""
    laboratory = open_laboratory()
    theirs, ours = laboratory.pair(opener, options=RECEIVE_BUFFER)
    data = DATA[:30_000]
    assert ours.send(data, laboratory.now_us) == len(data)
    got = bytearray()

    def all_arrived() -> bool:
        got.extend(receive_now(theirs, 50) or b"")
        return len(got) == len(data)

    laboratory.until(all_arrived)
    assert got == data
    sizes = [len(packet[TCP].payload) for packet in laboratory.tap.sent() if packet[TCP].payload]
    assert sum(sizes) / len(sizes) > 500


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("size", [256, 1000, 3000])
def test_receive_buffers_of_a_few_segments(open_laboratory: OpenLaboratory, opener: str, size: int) -> None:
    laboratory = open_laboratory(config=EndpointConfig(receive_buffer_bytes=size, send_buffer_bytes=size))
    laboratory.exchange(*laboratory.pair(opener, options={(socket.SOL_SOCKET, socket.SO_RCVBUF): size}), 20_000)


@pytest.mark.parametrize("opener", OPENERS)
def test_the_kernel_shrinks_its_window(open_laboratory: OpenLaboratory, opener: str) -> None:
    """The application makes the buffer smaller while it is filled (RFC 9293, section 3.8.6: be robust)."""
    laboratory = open_laboratory()
    try:
        laboratory.set_kernel(tcp_shrink_window=1)
    except FileNotFoundError:
        pytest.skip("this kernel does not shrink windows")
    theirs, ours = laboratory.pair(opener)
    assert ours.send(DATA, laboratory.now_us) == len(DATA)
    laboratory.until(lambda: ours.unacknowledged_bytes < len(DATA))
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    laboratory.settle()
    assert laboratory.kernel_read(theirs, len(DATA)) == DATA
