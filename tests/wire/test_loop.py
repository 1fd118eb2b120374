"""The loop with a device, an endpoint and a clock that the tests hold."""

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.utils import rdpcap

from netstack.wire.impairment import Impairment, ImpairmentSettings
from netstack.wire.loop import PACKETS_PER_TURN, EventLoop, monotonic_us
from netstack.wire.pcap import PcapWriter
from netstack.wire.session import SessionConfig, connect_endpoint
from tests.helpers.echo_endpoint import EchoEndpoint


class QueueDevice:
    """Packets in two queues. `room` is how many it takes before it is full."""

    def __init__(self) -> None:
        self.inbound: deque[bytes] = deque()
        self.outbound: list[bytes] = []
        self.room = 1000
        self._pipe = os.pipe()

    def fileno(self) -> int:
        return self._pipe[0]

    def read(self, limit: int) -> list[bytes]:
        return [self.inbound.popleft() for _ in range(min(limit, len(self.inbound)))]

    def write(self, packets: deque[bytes]) -> bool:
        while packets and self.room:
            self.outbound.append(packets.popleft())
            self.room -= 1
        return not packets

    def close(self) -> None:
        for descriptor in self._pipe:
            os.close(descriptor)


class Recorder:
    """An application that remembers when it was called, and wants to be at `deadline_us`."""

    def __init__(self, deadline_us: int | None = None) -> None:
        self.deadline_us = deadline_us
        self.steps: list[int] = []
        self.aborted = False

    def step(self, now_us: int) -> None:
        self.steps.append(now_us)
        if self.deadline_us is not None and now_us >= self.deadline_us:
            self.deadline_us = None

    def next_deadline_us(self) -> int | None:
        return self.deadline_us

    def abort(self, now_us: int) -> None:
        self.aborted = True


class TimerEndpoint(EchoEndpoint):
    """Has a timer, which sends a packet."""

    def __init__(self, deadline_us: int) -> None:
        super().__init__()
        self.deadline_us: int | None = deadline_us

    def next_deadline_us(self) -> int | None:
        return self.deadline_us

    def run_timers(self, now_us: int) -> None:
        assert self.deadline_us is not None
        assert now_us >= self.deadline_us
        self.deadline_us = None
        self._replies.append(b"timer")


@pytest.fixture
def device() -> Iterator[QueueDevice]:
    opened = QueueDevice()
    yield opened
    opened.close()


def request(number: int) -> bytes:
    return bytes(IP(src="10.0.0.1", dst="10.0.0.2") / ICMP(seq=number))


def numbers(packets: list[bytes]) -> list[int]:
    return [IP(raw)[ICMP].seq for raw in packets]


def test_what_arrives_at_once_after_a_delay_is_taken_in_batches(device: QueueDevice) -> None:
    """Applications come to their turn in between: queues of listeners are for no more than a batch and what waits already."""
    now = 0
    application = Recorder()
    inbound = Impairment(ImpairmentSettings(delay_us=1000), "in")
    loop = EventLoop(device, EchoEndpoint(), [application], inbound=inbound, clock=lambda: now)
    device.inbound += [request(number) for number in range(2 * PACKETS_PER_TURN + 1)]
    while loop.turn():
        pass
    steps, now = len(application.steps), 1000
    received = []
    while loop.turn():
        received.append(loop.received)
    assert (received, loop.received) == ([PACKETS_PER_TURN, 2 * PACKETS_PER_TURN], 2 * PACKETS_PER_TURN + 1)
    assert len(application.steps) - steps == 3
    assert numbers(device.outbound) == list(range(2 * PACKETS_PER_TURN + 1))


class Stalling(Recorder):
    """Takes long in its second step, as if it compiled, or the process was stopped."""

    def __init__(self, stall_us: int) -> None:
        super().__init__()
        self.clock_us = 0
        self._stall_us = stall_us

    def step(self, now_us: int) -> None:
        super().step(now_us)
        self.clock_us += self._stall_us if len(self.steps) == 2 else 10


@pytest.mark.parametrize(("stall_us", "counts"), [(70_000_000, False), (1_000_001, False), (999_000, True)])
def test_time_in_which_the_process_stood_still_is_nobodys(device: QueueDevice, stall_us: int, counts: bool) -> None:
    """What peers sent meanwhile is read before a deadline of theirs has passed."""
    application = Stalling(stall_us)
    loop = EventLoop(device, EchoEndpoint(), [application], clock=lambda: application.clock_us)
    for _ in range(4):
        loop.turn()
    assert application.steps == ([0, 10, 10 + stall_us, 20 + stall_us] if counts else [0, 10, 10, 20])
    assert loop.now_us() == application.steps[-1] + 10


@pytest.mark.parametrize("late_us", [70_000_000, 500_000])
def test_a_wait_that_ends_late_ends_at_its_deadline(device: QueueDevice, late_us: int) -> None:
    application = Recorder(deadline_us=1000)
    times = iter([0, 0, 0, 0, *[1000 + late_us] * 100])
    loop = EventLoop(device, EchoEndpoint(), [application], clock=lambda: next(times))
    assert loop.run(until=lambda: len(application.steps) == 2)
    assert application.steps[1] == (1000 if late_us > 1_000_000 else 1000 + late_us)


def test_a_turn_takes_a_batch_and_answers_in_order(device: QueueDevice) -> None:
    application = Recorder()
    loop = EventLoop(device, EchoEndpoint(), [application], clock=lambda: 5)
    device.inbound += [request(number) for number in range(PACKETS_PER_TURN + 1)]
    assert loop.turn()
    assert numbers(device.outbound) == list(range(PACKETS_PER_TURN))
    assert loop.turn()
    assert numbers(device.outbound) == list(range(PACKETS_PER_TURN + 1))
    assert not loop.turn()
    assert application.steps == [5, 5, 5]
    assert (loop.received, loop.sent) == (PACKETS_PER_TURN + 1, PACKETS_PER_TURN + 1)
    loop.close()


def test_a_full_device_keeps_a_batch_and_no_more(device: QueueDevice) -> None:
    endpoint = EchoEndpoint()
    loop = EventLoop(device, endpoint, clock=lambda: 0)
    device.room = 1
    device.inbound += [request(1), request(2)]
    loop.turn()
    device.inbound.append(request(3))
    loop.turn()
    assert numbers(device.outbound) == [1]
    device.room = 10
    loop.turn()
    assert numbers(device.outbound) == [1, 2]
    loop.turn()
    assert numbers(device.outbound) == [1, 2, 3]
    loop.close()


def test_timers_of_the_endpoint_and_of_applications_wake_it_up(device: QueueDevice) -> None:
    start_us = monotonic_us()
    application = Recorder(start_us + 4000)
    loop = EventLoop(device, TimerEndpoint(start_us + 2000), [application])
    assert loop.run(until=lambda: application.deadline_us is None, limit_us=10_000_000)
    assert device.outbound == [b"timer"]
    assert application.steps[-1] >= start_us + 4000
    assert len(application.steps) <= 6  # it waited in between
    loop.close()


def test_a_limit_ends_it(device: QueueDevice) -> None:
    loop = EventLoop(device, EchoEndpoint())
    assert not loop.run(limit_us=1000)
    loop.stop()
    assert loop.run()
    loop.close()


def test_impairments_lie_on_both_ways(device: QueueDevice) -> None:
    now_us = 0
    inbound, outbound = Impairment(ImpairmentSettings(delay_us=10)), Impairment(ImpairmentSettings(delay_us=100))
    loop = EventLoop(device, EchoEndpoint(), inbound=inbound, outbound=outbound, clock=lambda: now_us)
    device.inbound.append(request(1))
    seen = {}
    for now_us in (0, 9, 10, 109, 110):
        loop.turn()
        seen[now_us] = (loop.received, len(device.outbound))
    assert seen == {0: (0, 0), 9: (0, 0), 10: (1, 0), 109: (1, 0), 110: (1, 1)}
    loop.close()


def test_a_capture_has_what_the_endpoint_received_and_sent(device: QueueDevice, tmp_path: Path) -> None:
    with PcapWriter(tmp_path / "trace.pcap") as capture:
        loop = EventLoop(device, EchoEndpoint(), capture=capture, outbound=Impairment(ImpairmentSettings(loss=1.0)))
        device.inbound.append(request(1))
        loop.turn()
        loop.close()
    kinds = [packet[ICMP].type for packet in rdpcap(str(tmp_path / "trace.pcap"))]
    assert kinds == [8, 0]
    assert device.outbound == []


def test_closing_aborts_the_applications(device: QueueDevice) -> None:
    application = Recorder()
    EventLoop(device, EchoEndpoint(), [application]).close()
    assert application.aborted


class FailingEndpoint(EchoEndpoint):
    """Cannot bear one packet, and its timer."""

    def receive(self, packet: bytes, now_us: int) -> None:
        if numbers([packet]) == [1]:
            raise OverflowError("int too big to convert")
        super().receive(packet, now_us)

    def next_deadline_us(self) -> int | None:
        return 0

    def run_timers(self, now_us: int) -> None:
        raise IndexError("of a timer")


def test_a_packet_that_the_endpoint_fails_at_is_lost_and_no_other(device: QueueDevice) -> None:
    lines: list[str] = []
    application = Recorder()
    loop = EventLoop(device, FailingEndpoint(), [application], clock=lambda: 5, log=lines.append)
    device.inbound += [request(number) for number in range(3)]
    loop.turn()
    assert numbers(device.outbound) == [0, 2]
    assert application.steps == [5]
    assert lines == ["a packet ended by OverflowError: int too big to convert", "a timer ended by IndexError: of a timer"]
    assert loop.faults == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("count", [1, 500])
def test_a_full_disk_ends_the_capture_and_nothing_else(device: QueueDevice, count: int) -> None:
    lines: list[str] = []
    with PcapWriter(Path("/dev/full")) as capture:
        loop = EventLoop(device, EchoEndpoint(), capture=capture, clock=lambda: 5, log=lines.append)
        device.inbound += [request(number) for number in range(count)]
        while loop.turn():
            pass
        loop.close()
    assert numbers(device.outbound) == list(range(count))
    assert lines == ["the capture ends early: No space left on device"]


def test_packets_do_not_pile_up_between_device_and_endpoint(device: QueueDevice) -> None:
    """Each that is read arrives twice, and a turn takes no more than it reads."""
    inbound = Impairment(ImpairmentSettings(duplicate=1.0), "in")
    loop = EventLoop(device, EchoEndpoint(), inbound=inbound, clock=lambda: 5)
    for _ in range(50):
        device.inbound += [request(number) for number in range(PACKETS_PER_TURN)]
        loop.turn()
        device.room = 1000
        assert len(loop._arrived) <= PACKETS_PER_TURN
    loop.close()


def test_secrets_of_a_session_are_drawn_from_the_system(device: QueueDevice) -> None:
    """128 bits: 32 would be found by trying, from two answers to SYNs."""
    with connect_endpoint(device, SessionConfig()) as session:  # pyright: ignore[reportArgumentType]
        assert session.endpoint.config.seed is None
