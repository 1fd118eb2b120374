"""Data between the stack and the kernel's TCP: congestion controls, options, segment sizes, marks of the network."""

import itertools
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import TCP

from netstack.host import EndpointConfig
from netstack.wire.impairment import ImpairmentSettings
from tests.helpers.laboratory import ECN, SACK, TIMESTAMPS, WINDOW_SCALING, Laboratory, info_of, read

OpenLaboratory = Callable[..., Laboratory]
OPENERS = ["kernel", "stack"]
AVAILABLE = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("opener", OPENERS)
def test_both_directions_at_once(open_laboratory: OpenLaboratory, opener: str, version: int) -> None:
    laboratory = open_laboratory()
    laboratory.exchange(*laboratory.pair(opener, version), 300_000)


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("ours", ["cubic", "reno"])
@pytest.mark.parametrize("theirs", ["reno", "cubic", "bbr"])
def test_congestion_controls(open_laboratory: OpenLaboratory, theirs: str, ours: str, opener: str) -> None:
    if theirs not in AVAILABLE.read_text().split():
        pytest.skip(f"this kernel has no {theirs}")
    laboratory = open_laboratory(
        config=EndpointConfig(congestion_control=ours), impairments=ImpairmentSettings(loss=0.01, reorder=0.01, delay_us=500)
    )
    options = {(socket.IPPROTO_TCP, socket.TCP_CONGESTION): theirs.encode()}
    kernel_end, our_end = laboratory.pair(opener, options=options)
    assert kernel_end.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0") == theirs.encode()
    assert our_end.get_option("congestion_control") == ours
    laboratory.exchange(kernel_end, our_end, 300_000)


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("theirs", list(itertools.product((0, 1), repeat=3)), ids=lambda values: "".join(map(str, values)))
def test_options_of_both_ends(open_laboratory: OpenLaboratory, opener: str, theirs: tuple[int, int, int]) -> None:
    """An option is used exactly if both ends want it (RFC 2018, section 2; RFC 7323, sections 1.3 and 2.2)."""
    laboratory = open_laboratory()
    laboratory.set_kernel(**dict(zip(("tcp_sack", "tcp_timestamps", "tcp_window_scaling"), theirs, strict=True)))
    for number, ours in enumerate(itertools.product((0, 1), repeat=3)):
        config = laboratory.endpoint.config
        config.sack, config.timestamps, config.window_scaling = map(bool, ours)
        kernel_end, our_end = laboratory.pair(opener, port=5000 + number)
        expected = [mine & yours for mine, yours in zip(ours, theirs, strict=True)]
        options, pcb = info_of(kernel_end).options, our_end.pcb
        assert [bool(options & option) for option in (SACK, TIMESTAMPS, WINDOW_SCALING)] == expected
        assert [pcb["use_sack"], pcb["use_timestamps"], pcb["use_scaling"]] == expected
        laboratory.exchange(kernel_end, our_end, 20_000)


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("theirs", list(itertools.product((0, 1), repeat=2)), ids=lambda values: "".join(map(str, values)))
def test_recovery_with_and_without_options(open_laboratory: OpenLaboratory, opener: str, theirs: tuple[int, int]) -> None:
    laboratory = open_laboratory(impairments=ImpairmentSettings(loss=0.02, reorder=0.01))
    laboratory.set_kernel(tcp_sack=theirs[0], tcp_timestamps=theirs[1])
    laboratory.exchange(*laboratory.pair(opener), 200_000)


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("theirs", [0, 1, 2])
@pytest.mark.parametrize("ours", [0, 1, 2])
def test_agreement_on_ecn(open_laboratory: OpenLaboratory, opener: str, theirs: int, ours: int) -> None:
    """Who opens must ask (1), the other one may only grant (1 or 2)."""
    laboratory = open_laboratory(config=EndpointConfig(ecn=ours))
    laboratory.set_kernel(tcp_ecn=theirs, tcp_ecn_fallback=0)
    kernel_end, our_end = laboratory.pair(opener)
    asked, granted = (theirs, ours) if opener == "kernel" else (ours, theirs)
    expected = asked == 1 and granted > 0
    assert bool(info_of(kernel_end).options & ECN) == expected
    assert bool(our_end.pcb["use_ecn"]) == expected
    laboratory.exchange(kernel_end, our_end, 30_000)


class Marking:
    """A router that is congested for a while: it marks every capable packet with payload."""

    def __init__(self, first: int, count: int) -> None:
        self.marked = 0
        self._numbers = range(first, first + count)
        self._seen = 0

    def __call__(self, packet: bytes) -> list[bytes]:
        ip = read(packet)
        if TCP not in ip:
            return [packet]
        field = "tos" if ip.version == 4 else "tc"
        if getattr(ip, field) & 3 == 0 or not ip[TCP].payload:
            return [packet]
        self._seen += 1
        if self._seen not in self._numbers:
            return [packet]
        self.marked += 1
        setattr(ip, field, getattr(ip, field) | 3)
        if ip.version == 4:
            del ip.chksum
        return [bytes(ip)]


def has_flag(packets: list[Any], flag: str) -> bool:
    """Return whether a segment that is no SYN has a flag."""
    return any(flag in str(packet[TCP].flags) and "S" not in str(packet[TCP].flags) for packet in packets)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("opener", OPENERS)
def test_marks_make_the_stack_send_less(open_laboratory: OpenLaboratory, opener: str, version: int) -> None:
    laboratory = open_laboratory(config=EndpointConfig(ecn=1))
    laboratory.set_kernel(tcp_ecn=1)
    kernel_end, our_end = laboratory.pair(opener, version)
    threshold = int(our_end.pcb["snd_ssthresh"])
    laboratory.tap.outbound = marking = Marking(10, 3)
    laboratory.exchange(kernel_end, our_end, 100_000)
    assert marking.marked == 3
    assert our_end.pcb["snd_ssthresh"] < threshold
    echoed = [
        packet for packet in laboratory.tap.received() if "E" in str(packet[TCP].flags) and "S" not in str(packet[TCP].flags)
    ]
    told = [packet for packet in laboratory.tap.sent() if "C" in str(packet[TCP].flags) and "S" not in str(packet[TCP].flags)]
    assert echoed
    assert told


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("opener", OPENERS)
def test_marks_are_echoed_until_the_kernel_has_reduced(open_laboratory: OpenLaboratory, opener: str, version: int) -> None:
    laboratory = open_laboratory(config=EndpointConfig(ecn=1))
    laboratory.set_kernel(tcp_ecn=1)
    options = {(socket.IPPROTO_TCP, socket.TCP_CONGESTION): b"reno"}  # others need not heed marks
    kernel_end, our_end = laboratory.pair(opener, version, options=options)
    before = info_of(kernel_end).slow_start_threshold
    laboratory.tap.inbound = marking = Marking(10, 3)
    data = bytes(200_000)
    rest = memoryview(data)
    got = 0

    def all_arrived() -> bool:
        nonlocal rest, got
        with suppress(BlockingIOError):
            rest = rest[kernel_end.send(rest) :] if rest else rest
        got += len(our_end.receive(1 << 16, laboratory.now_us))
        return got == len(data)

    laboratory.until(all_arrived)
    assert marking.marked == 3
    assert info_of(kernel_end).slow_start_threshold < before
    assert has_flag(laboratory.tap.received(), "C")
    assert "E" not in str(laboratory.tap.sent()[-1][TCP].flags)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("opener", OPENERS)
def test_tiny_segments(open_laboratory: OpenLaboratory, opener: str, version: int) -> None:
    """The kernel asks for 100 bytes with their options, and sends no more either."""
    laboratory = open_laboratory()
    kernel_end, our_end = laboratory.pair(opener, version, options={(socket.IPPROTO_TCP, socket.TCP_MAXSEG): 100})
    assert our_end.pcb["mss"] == 100 - 12
    laboratory.exchange(kernel_end, our_end, 20_000)
    assert max(len(packet[TCP].payload) for packet in laboratory.tap.sent()) == 88


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize(("mtu_bytes", "version"), [(576, 4), (1280, 4), (1280, 6), (9000, 4), (65535, 4), (65535, 6)])
def test_sizes_of_packets(open_laboratory: OpenLaboratory, opener: str, mtu_bytes: int, version: int) -> None:
    laboratory = open_laboratory(mtu_bytes=mtu_bytes)
    laboratory.exchange(*laboratory.pair(opener, version), 400_000 if mtu_bytes > 1500 else 100_000)
    assert max(len(packet) for packet in laboratory.tap.sent()) == mtu_bytes


@pytest.mark.parametrize("opener", OPENERS)
def test_our_small_segments(open_laboratory: OpenLaboratory, opener: str) -> None:
    """Our MSS of less than the device's MTU is what the kernel keeps to."""
    laboratory = open_laboratory(config=EndpointConfig(timestamps=False))
    laboratory.endpoint.config.mtu_bytes = 340
    kernel_end, our_end = laboratory.pair(opener)
    assert info_of(kernel_end).send_mss == 300
    laboratory.exchange(kernel_end, our_end, 30_000)
    assert max(len(packet[TCP].payload) for packet in laboratory.tap.received()) == 300
