"""The device, the loop and the namespace, proved by the kernel: its pings come back from a minimal host."""

import sys
import threading
from collections import deque

import pytest

from netstack.wire import device as device_module
from netstack.wire.device import TunDevice, run_ip
from netstack.wire.errors import WireError
from netstack.wire.impairment import Impairment, ImpairmentSettings
from netstack.wire.loop import EventLoop
from netstack.wire.namespace import ENDPOINT_ADDRESSES, Network
from tests.helpers.echo_endpoint import EchoEndpoint

PING = """
import socket, struct, sys, time
address, count = sys.argv[1], int(sys.argv[2])
v6 = ":" in address
ping = socket.socket(*((socket.AF_INET6, socket.SOCK_RAW, 58) if v6 else (socket.AF_INET, socket.SOCK_RAW, 1)))
ping.settimeout(2)
def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xffff) + (total >> 16)
    return ~((total & 0xffff) + (total >> 16)) & 0xffff
answers, times = 0, []
for number in range(count):
    body = struct.pack("!HH", 7, number) + bytes(range(56))
    head = struct.pack("!BBH", 128 if v6 else 8, 0, 0)
    if not v6:
        head = struct.pack("!BBH", 8, 0, checksum(head + body))
    start = time.monotonic()
    ping.sendto(head + body, (address, 0))
    try:
        while True:
            answer = ping.recv(2000)
            answer = answer if v6 else answer[20:]
            if answer[0] == (129 if v6 else 0) and answer[4:] == body:
                break
    except TimeoutError:
        continue
    times.append(time.monotonic() - start)
    answers += 1
print(answers, min(times, default=0))
"""
"""The kernel checks the checksums of ICMPv6 itself, and those of IPv4 headers."""


def ping(network: Network, loop: EventLoop, address: str, count: int) -> tuple[int, float]:
    """Return how many of the pings came back, and the shortest time in seconds."""
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        output, errors = network.popen(sys.executable, "-c", PING, address, str(count)).communicate(timeout=60)
    finally:
        loop.stop()
        thread.join()
        loop.close()
    assert not errors
    answers, shortest = output.split()
    return int(answers), float(shortest)


@pytest.mark.parametrize("address", ENDPOINT_ADDRESSES)
def test_the_kernels_pings_come_back(network: Network, address: str) -> None:
    loop = EventLoop(network.device, EchoEndpoint())
    assert ping(network, loop, address, 20)[0] == 20
    assert loop.sent == 20


def test_a_delay_each_way_is_the_round_trip(network: Network) -> None:
    settings = ImpairmentSettings(delay_us=20_000)
    loop = EventLoop(network.device, EchoEndpoint(), inbound=Impairment(settings), outbound=Impairment(settings))
    answers, shortest_s = ping(network, loop, ENDPOINT_ADDRESSES[0], 3)
    assert answers == 3
    assert shortest_s >= 0.040


def test_the_kernel_sees_what_ip_configured(network: Network) -> None:
    shown = run_ip("address", "show", "dev", network.device.name, namespace=network.namespace)
    assert "10.99.0.1/24" in shown
    assert "fd99::1/64" in shown
    assert "mtu 1500" in shown


def test_what_is_no_ip_packet_is_counted_and_dropped(network: Network) -> None:
    packets = deque([b"\x00" * 40])
    assert network.device.write(packets)
    assert (network.device.refused, len(packets)) == (1, 0)


def test_a_device_that_is_down_loses_packets(network: Network) -> None:
    run_ip("link", "set", network.device.name, "down", namespace=network.namespace)
    assert network.device.write(deque([b"\x45" + bytes(39)]))
    assert network.device.refused == 1
    network.device.read(10)  # what the kernel sent before
    assert network.device.read(10) == []


def test_a_device_that_was_removed_is_an_error(network: Network) -> None:
    run_ip("link", "delete", network.device.name, namespace=network.namespace)
    with pytest.raises(WireError, match=network.device.name):
        network.device.read(1)


def test_a_device_in_use_is_an_error(network: Network) -> None:
    with TunDevice() as first, pytest.raises(WireError, match="in use"):
        TunDevice(first.name)


def test_what_ip_says_is_the_error(network: Network) -> None:
    with pytest.raises(WireError, match=r"10\.0\.0\.300"):
        run_ip("address", "add", "10.0.0.300/24", "dev", "lo", namespace=network.namespace)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "sixteen-letters-", "é" * 8])
def test_impossible_names_are_refused(name: str) -> None:
    with pytest.raises(WireError, match="15 bytes"):
        TunDevice(name)


@pytest.mark.parametrize(
    ("error", "says"),
    [(FileNotFoundError(2, "No such file or directory"), "modprobe tun"), (PermissionError(13, ""), "run as root")],
)
def test_it_says_what_is_missing(error: OSError, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise error

    monkeypatch.setattr(device_module.os, "open", refuse)
    with pytest.raises(WireError, match=says):
        TunDevice()


def test_a_missing_ip_command_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(WireError, match="iproute2"):
        run_ip("link")
