"""Aggregates worked out by hand: which frames are joined, what is charged for them, and how often they are acknowledged."""

import dataclasses

import pytest

from netstack.errors import ConfigError
from netstack.jit.compilation import compiled
from netstack.sim import simulate
from netstack.sim.build.build import build
from netstack.sim.build.simulation import Simulation
from netstack.sim.engine.conservation import check_conservation
from netstack.sim.engine.exact import run_until, settle
from netstack.sim.machine.numbers import Category
from netstack.sim.organization.aggregation import join_or_hold, pass_on, take_closed
from netstack.sim.stack.numbers import ItemKind
from netstack.sim.stack.state import HELD, item_of, segment_of, take_item
from netstack.tcp.header import ACK, FIN, PSH
from tests.sim.organization.test_receiving import CLOCK_MHZ, FOUR_CORES, ONE_CLIENT, RUN_MS, Compose
from tests.sim.workload.test_requests import at_no_cost

MSS = 1448
SEGMENTS = 10
LARGE_WRITES = ("workload.send_unit_bytes=65536", "workload.write_bytes=65536", "workload.lowat_bytes=65536")


@pytest.fixture
def queue(composed: Compose) -> Simulation:
    return build(composed("org=linux_rss", *FOUR_CORES, "org.aggregate_receive=gro", "org.aggregate_bytes=10000", "conns=24"))


@compiled
def _receive(machine, stack, flow, seq, length, flags, time):
    """Receive a frame; return the packet that goes up, -1 for none."""
    packet = take_item(machine, stack)
    item_of(stack, packet).kind = ItemKind.PACKET
    item_of(stack, packet).flow = flow
    segment = segment_of(stack, packet)
    segment.seq = seq
    segment.length = length
    segment.flags = flags
    segment.ts_val = time
    return join_or_hold(stack, 0, packet)


@compiled
def _closed(stack):
    return take_closed(stack, 0)


@compiled
def _end_of_poll(stack):
    return pass_on(stack, 0)


def receive(queue: Simulation, seq: int, length: int = MSS, flags: int = ACK, flow: int = 0, time: int = 0) -> int:
    return _receive(queue.machine, queue.stack, flow, seq, length, flags, time)


def shape(queue: Simulation, packet: int) -> tuple[int, int]:
    """Return where a packet begins and how long it is."""
    segment = queue.tables["segment"][packet]
    return int(segment["seq"]), int(segment["length"])


def test_the_segments_of_a_poll_are_one_packet(queue: Simulation) -> None:
    assert [receive(queue, number * MSS) for number in range(5)] == [-1] * 5
    assert _closed(queue.stack) == -1
    packet = _end_of_poll(queue.stack)
    assert shape(queue, packet) == (0, 5 * MSS)
    assert _end_of_poll(queue.stack) == -1
    assert int(queue.stack["items_taken"] - queue.stack["items_freed"]) == 1
    assert int(queue.stack["merged_frames"]) == 4


@pytest.mark.parametrize(
    ("seq", "length", "flags", "time"),
    [
        (2 * MSS, MSS, ACK, 0),  # one is missing
        (MSS, MSS, ACK, 5000),  # another time stamp
        (MSS, 8000, ACK, 0),  # longer than the first
        (MSS, 0, ACK, 0),  # an acknowledgment alone
        (MSS, MSS, ACK | FIN, 0),
    ],
    ids=["a hole", "later", "longer", "no payload", "the end"],
)
def test_what_does_not_follow_goes_up_behind_what_is_held(
    queue: Simulation, seq: int, length: int, flags: int, time: int
) -> None:
    assert receive(queue, 0) == -1
    assert shape(queue, receive(queue, seq, length, flags, time=time)) == (0, MSS)
    assert shape(queue, _end_of_poll(queue.stack)) == (seq, length)


def test_a_shorter_segment_or_one_that_is_pushed_is_the_last(queue: Simulation) -> None:
    for flow, (length, flags) in enumerate(((700, ACK), (MSS, ACK | PSH))):
        assert receive(queue, 0, flow=flow) == -1
        assert receive(queue, MSS, length, flags, flow=flow) == -1
        assert shape(queue, _closed(queue.stack)) == (0, MSS + length)
        assert _closed(queue.stack) == -1
    assert shape(queue, receive(queue, 0, MSS, ACK | PSH)) == (0, MSS)  # alone it does not wait
    assert shape(queue, receive(queue, 0, 0, ACK)) == (0, 0)


def test_no_packet_has_more_than_is_allowed(queue: Simulation) -> None:
    """Six segments of 1,448 bytes fit in 10,000."""
    went_up = [receive(queue, number * MSS) for number in range(7)]
    assert went_up[:6] == [-1] * 6
    assert shape(queue, went_up[6]) == (0, 6 * MSS)
    assert shape(queue, _end_of_poll(queue.stack)) == (6 * MSS, MSS)


def test_connections_are_held_apart_and_the_oldest_gives_way(queue: Simulation) -> None:
    assert [receive(queue, 0, flow=flow) for flow in range(HELD)] == [-1] * HELD
    assert [receive(queue, MSS, flow=flow) for flow in range(HELD)] == [-1] * HELD
    oldest = receive(queue, 0, flow=HELD)
    assert int(queue.tables["item"]["flow"][oldest]) == 0
    assert shape(queue, oldest) == (0, 2 * MSS)
    order = [int(queue.tables["item"]["flow"][_end_of_poll(queue.stack)]) for _ in range(HELD)]
    assert order == list(range(1, HELD + 1))


def after(composed: Compose, cycles: dict[str, int], *overrides: str) -> tuple[Simulation, int]:
    """Return the state after 20 ms of one client, and how many requests were answered; only some operations take time."""
    config = composed(*ONE_CLIENT, "org=linux_rss", *LARGE_WRITES, *overrides)
    costs = at_no_cost(config.costs)
    for name, count in cycles.items():
        costs.operations[name] = dataclasses.replace(costs.operations[name], cycles=count)
    simulation = build(dataclasses.replace(config, costs=costs))
    run_until(simulation.machine, simulation.stack, RUN_MS * 1000 * CLOCK_MHZ)
    settle(simulation.machine, RUN_MS * 1000 * CLOCK_MHZ)
    check_conservation(simulation)
    return simulation, int(simulation.stack["requests_answered"])


@pytest.mark.parametrize(
    ("receive", "packets", "drivers", "joined", "sent"),
    [("none", 10, 10, 0, 6), ("gro", 1, 10, 9, 2), ("lro", 2, 2, 8, 2)],
)
def test_a_request_of_ten_segments(composed: Compose, receive: str, packets: int, drivers: int, joined: int, sent: int) -> None:
    """The driver needs 1 us for what it takes for a frame; meanwhile the other nine arrive.

    Joined by the kernel, all are in one poll: one aggregate, which is acknowledged once, and the response follows. The card gives
    the first segment away before the others come, which are one aggregate at the next interrupt. Segment by segment every second
    one is acknowledged.
    """
    request = (f"workload.requests.request_bytes.mean={SEGMENTS * MSS}", "machine.nic.interrupt_interval_us=50")
    cycles = {"ip_input": 33, "driver_receive": 3300}
    simulation, requests = after(composed, cycles, *request, f"org.aggregate_receive={receive}")
    cores = simulation.tables["core"]["cycles"].sum(axis=0)
    assert requests > 80
    assert cores[Category.PROTOCOL] / 33 == pytest.approx(packets * requests, rel=0.03)
    assert cores[Category.DRIVER] / 3300 == pytest.approx(drivers * requests, rel=0.03)
    assert int(simulation.stack["merged_frames"]) == pytest.approx(joined * requests, rel=0.03)
    assert int(simulation.tables["nic"]["frames_sent"].sum()) == pytest.approx(sent * requests, rel=0.03)


@pytest.mark.parametrize(("send", "tcp", "cuts", "drivers"), [("none", 10, 0, 10), ("gso", 2, 8, 10), ("tso", 2, 0, 2)])
def test_a_response_of_ten_segments(composed: Compose, send: str, tcp: int, cuts: int, drivers: int) -> None:
    """Aggregates of five segments are two for TCP. The client gets ten whoever cuts them, and acknowledges every second one."""
    response = (f"workload.requests.response_bytes.mean={SEGMENTS * MSS}", f"org.aggregate_bytes={5 * MSS}")
    cycles = {"tcp_output": 33, "driver_transmit": 330}
    simulation, requests = after(composed, cycles, *response, f"org.aggregate_send={send}")
    cores = simulation.tables["core"]["cycles"].sum(axis=0)
    assert requests > 80
    assert cores[Category.PROTOCOL] / 33 == pytest.approx(tcp * requests, rel=0.03)
    assert cores[Category.DRIVER] / 330 == pytest.approx(drivers * requests, rel=0.03)
    assert int(simulation.stack["data_segments"]) == pytest.approx(SEGMENTS * requests, rel=0.03)
    assert int(simulation.tables["nic"]["frames_sent"].sum()) == pytest.approx(SEGMENTS * requests, rel=0.03)
    if cuts:
        cut = after(composed, {"segment_send": 33}, *response, f"org.aggregate_send={send}")
        assert cut[0].tables["core"]["cycles"].sum(axis=0)[Category.PROTOCOL] / 33 == pytest.approx(cuts * cut[1], rel=0.03)


@pytest.mark.parametrize("org", ["linux_rss", "linux_rfs", "linux_busy_poll", "ix", "mtcp", "tas", "freebsd_smr", "connp_t"])
@pytest.mark.parametrize("kinds", [("gro", "gso"), ("lro", "tso")], ids=str)
@pytest.mark.parametrize("workload", ["bulk_receive", "bulk_send"])
def test_the_laws_hold_with_losses(composed: Compose, org: str, kinds: tuple[str, str], workload: str) -> None:
    lossy = ("workload.loss.to_host=0.01", "workload.loss.to_peers=0.01", "workload.min_rto_us=2000")
    aggregates = (f"org.aggregate_receive={kinds[0]}", f"org.aggregate_send={kinds[1]}")
    short = ("conns=24", "workload.start_spread_us=500", "engine.warmup_ms=4", "engine.measure_ms=8")
    result = simulate(composed(f"org={org}", *FOUR_CORES, f"workload={workload}", *lossy, *aggregates, *short))
    assert result.goodput_mbps > 100
    assert result.frames_per_aggregate > 1 or workload == "bulk_send"
    assert result.retransmitted_segments > 0 or workload == "bulk_receive"


@pytest.mark.parametrize("choice", ["org.aggregate_receive=gro", "org.aggregate_send=tso"])
def test_aggregates_run_in_no_windows(composed: Compose, choice: str) -> None:
    with pytest.raises(ConfigError, match=r"^engine.window_us=1.0: must be 0 with receive queues"):
        composed("org=connp_l", "engine.window_us=1", choice).validate()
