"""Rings between applications and threads of the stack, worked out by hand for one client whose requests come every 100 us."""

import dataclasses

import numpy as np
import pytest

from netstack.errors import ConfigError
from netstack.sim.build.build import build
from netstack.sim.build.simulation import Simulation
from netstack.sim.engine.conservation import check_conservation
from netstack.sim.engine.exact import run_until, settle
from netstack.sim.machine.numbers import Category
from netstack.sim.stack.numbers import ItemKind, Phase, ThreadKind
from netstack.tcp.header import ACK, FIN, PSH, RST, SYN
from tests.sim.organization.test_receiving import CLOCK_MHZ, ONE_CLIENT, ROUNDS, RUN_MS, Compose, after_one_client
from tests.sim.workload.test_requests import at_no_cost

APART = ("org=tas", "org.cores=2", "org.stack_cores=1")
FOUR_CORES = ("machine=epyc_7662", "machine.cores=4", "machine.nic.queues=4", "costs=linux6", "workload=memcached", "conns=64")


@pytest.mark.parametrize(
    ("overrides", "switches", "ipis"),
    [
        (("org=mtcp",), 2, 0),  # to the application at the end of a poll, and back when it has no events
        ((*APART, "org.busy_us=0"), 1, 1),  # the application slept
        ((*APART, "org.busy_us=1000"), 0, 0),  # it polls its events
        ((*APART, "org.busy_us=30"), 1, 1),  # it has stopped to poll before the next request comes
    ],
    ids=["one core", "an application that sleeps", "that polls", "that polls for too short a time"],
)
def test_what_one_request_needs(composed: Compose, overrides: tuple[str, ...], switches: int, ipis: int) -> None:
    simulation = after_one_client(composed, *overrides)
    cores = simulation.tables["core"]
    assert int(simulation.stack["requests_answered"]) == pytest.approx(ROUNDS, abs=4)
    assert int(simulation.stack["hand_offs"]) == pytest.approx(ROUNDS, abs=4)  # the write; a read announces no window
    assert int(cores["context_switches"].sum()) == pytest.approx(switches * ROUNDS, abs=4)
    assert int(cores["ipis_sent"].sum()) == pytest.approx(ipis * ROUNDS, abs=4)
    assert int(simulation.tables["nic"]["interrupts"].sum()) == 1  # the first frame; then the stack polls


def after(composed: Compose, cycles: dict[str, int], *overrides: str) -> Simulation:
    """Return the state after 20 ms in which only some operations take time, so many cycles."""
    config = composed(*ONE_CLIENT, *overrides)
    costs = at_no_cost(config.costs)
    for name, count in cycles.items():
        costs.operations[name] = dataclasses.replace(costs.operations[name], cycles=count)
    simulation = build(dataclasses.replace(config, costs=costs))
    run_until(simulation.machine, simulation.stack, RUN_MS * 1000 * CLOCK_MHZ)
    settle(simulation.machine, RUN_MS * 1000 * CLOCK_MHZ)
    check_conservation(simulation)
    return simulation


def test_who_pays_for_a_ring(composed: Compose) -> None:
    """The core of the application puts requests in, that of the stack takes them out. Nothing is a system call."""
    cycles = {"ring_put": 330, "ring_take": 660, "syscall": 1_000_000}
    cores = after(composed, cycles, *APART).tables["core"]["cycles"]
    rounds = (RUN_MS - 1) * 1000 / (100 + 0.3)  # the round trip; 0.1 us and 0.2 us for the ring
    assert cores[:2, Category.APPLICATION].tolist() == pytest.approx([0, 330 * rounds], rel=0.01)
    assert cores[:2, Category.SCHEDULING].tolist() == pytest.approx([660 * rounds, 0], rel=0.01)
    (alone,) = after(composed, cycles, "org=mtcp").tables["core"]["cycles"][:1]
    assert alone[[Category.APPLICATION, Category.SCHEDULING]].tolist() == pytest.approx([330 * rounds, 660 * rounds], rel=0.01)


def test_a_stack_that_polls_never_idles_and_an_application_apart_does(composed: Compose) -> None:
    stack, application = after_one_client(composed, *APART, "org.busy_us=0").tables["core"]["cycles"][:2]
    assert stack[Category.POLL] > 0.99 * stack.sum() * (RUN_MS - 1) / RUN_MS
    assert application[Category.IDLE] > 0.999 * application.sum()


def test_each_side_works_through_what_the_other_left(composed: Compose) -> None:
    """256 clients keep an application busy that needs 1 us for each: two switches for the 64 frames of a poll."""
    many = ("org=mtcp", "conns=256", "org.budget=64")
    simulation = after(composed, {"app_service": 3300}, *many)
    requests, switches = int(simulation.stack["requests_answered"]), int(simulation.tables["core"]["context_switches"].sum())
    assert requests > 10_000
    assert switches == pytest.approx(2 * requests / 64, rel=0.1)


def test_stack_cores_run_no_application_and_no_other_core_has_a_queue(composed: Compose) -> None:
    simulation = build(composed("org=tas", *FOUR_CORES, "org.stack_cores=3"))
    threads, flows = simulation.tables["thread"], simulation.tables["flow"]
    assert threads["pinned"][threads["kind"] == ThreadKind.APPLICATION].tolist() == [3]
    assert threads["pinned"][threads["kind"] == ThreadKind.INBOUND].tolist() == [0, 1, 2]
    assert np.unique(flows["queue"]).tolist() == [0, 1, 2]
    assert np.unique(flows["app_thread"]).tolist() == [0]
    run_until(simulation.machine, simulation.stack, 12_000 * CLOCK_MHZ)
    cycles = simulation.tables["core"]["cycles"]
    assert (cycles[:3, Category.APPLICATION] == 0).all()
    assert cycles[3, Category.DRIVER] == 0
    assert (cycles[:3, Category.DRIVER] > 0).all()


def test_nobody_but_its_thread_of_the_stack_enters_a_connection(composed: Compose) -> None:
    """With nothing locked, items of a connection are only ever with the thread that polls its receive queue."""
    simulation = build(composed("org=mtcp", *FOUR_CORES, "workload=proxy_short", "workload.start_spread_us=500"))
    threads, flows = simulation.tables["thread"], simulation.tables["flow"]
    seen = 0
    for tenth in range(20_000, 80_000):
        run_until(simulation.machine, simulation.stack, tenth * CLOCK_MHZ // 10)
        for index in np.flatnonzero((threads["item"] >= 0) & (flows["open"][threads["flow"]] == 1)):
            seen += 1
            assert threads["kind"][index] == ThreadKind.INBOUND
            assert threads["index"][index] == flows["queue"][threads["flow"][index]]
    assert seen > 1000


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (("org=mtcp", "org.transmit=caller"), "org.transmit=caller: must be owner with boundary=ring"),
        (("org=mtcp", "org.drive=napi"), "org.drive=napi: must be poll with "),
        (("org=mtcp", "org.dispatch=nic_thread"), "org.dispatch=nic_thread: must be rss with boundary=ring"),
        (("org=tas", "org.stack_cores=4"), "org.stack_cores=4: must be from 1 to less than the 4 cores"),
        (("org=ix", "org.stack_cores=1"), "org.stack_cores=1: needs boundary=ring"),
        (("org=tas", "org.accept=local"), "org.accept=local: must be any with org.stack_cores"),
        (("org=tas", "org.active_ports=core"), "org.active_ports=core: must be any with org.stack_cores"),
        (("org=tas", "org.stack_cores=3", "machine.nic.queues=2"), "org.drive=poll: needs one card, a queue per core"),
        (("org=linux_rss", "org.transmit=owner"), "org.transmit=owner: owner goes with serialize=group_thread"),
        (("org=mtcp", "engine.window_us=1", "workload=bulk_send"), "engine.window_us=1.0: must be 0 with receive queues"),
    ],
)
def test_what_is_refused(composed: Compose, overrides: tuple[str, ...], line: str) -> None:
    machine = (
        "machine=epyc_7662",
        "machine.cores=4",
        "machine.nic.queues=4",
        "machine.llc.size_bytes=0",
        "machine.llc.ddio_ways=0",
    )
    with pytest.raises(ConfigError, match=f"^{line}"):
        composed(*machine, "workload=request_response", *overrides).validate()


ONE_CONNECTION = (
    "workload=web_short",
    "workload.requests.per_connection=2",
    "conns=1",
    "workload.start_spread_us=0",
    "costs=linux6",
)
LATER_CORES = FOUR_CORES[:3]


@pytest.mark.parametrize(("slow_path", "kind", "hand_offs"), [("thread", ThreadKind.PORT, 9), ("none", ThreadKind.INBOUND, 3)])
def test_who_processes_what_of_a_short_connection(composed: Compose, slow_path: str, kind: ThreadKind, hand_offs: int) -> None:
    """The second request and the responses are common; all that opens and closes the connection is not.

    The first request comes right behind the handshake, which is not processed by then. Handed over are both writes and the close
    of the application; beside them the slow path gets the handshake, that request, the close, its acknowledgment and the FIN.
    """
    simulation = build(composed("org=tas", *LATER_CORES, *ONE_CONNECTION, f"org.slow_path={slow_path}"))
    threads, items, segments = (simulation.tables[name] for name in ("thread", "item", "segment"))
    seen, before = [], threads["item"].copy()
    for tenth in range(10_000, 15_000):
        run_until(simulation.machine, simulation.stack, tenth * CLOCK_MHZ // 10)
        for index in np.flatnonzero((threads["item"] != before) & (threads["item"] >= 0)):
            item = int(threads["item"][index])
            what = ItemKind(int(items["kind"][item]))
            seen.append((threads["kind"][index], what, segments["flags"][item] if what == ItemKind.PACKET else 0))
        before = threads["item"].copy()
    packet, fast = ItemKind.PACKET, ThreadKind.INBOUND
    assert seen == [
        (kind, packet, SYN),
        (kind, packet, ACK),
        (kind, packet, PSH | ACK),
        (fast, ItemKind.SEND, 0),
        (fast, packet, PSH | ACK),
        (fast, ItemKind.SEND, 0),
        (kind, ItemKind.CLOSE, 0),
        (kind, packet, ACK),
        (kind, packet, FIN | ACK),
    ]
    assert int(simulation.stack["hand_offs"]) == hand_offs


def test_only_the_slow_path_opens_and_closes_and_runs_timers(composed: Compose) -> None:
    """Of a proxy whose network loses segments, seen while items wait for their connection's lock. No law breaks."""
    times = ("workload.min_rto_us=1000", "workload.initial_rto_us=1000", "workload.time_wait_us=0")
    lossy = ("workload.loss.to_host=0.05", "workload.loss.to_peers=0.05", "workload.start_spread_us=500")
    simulation = build(composed("org=tas", *LATER_CORES, "costs=linux6", "workload=proxy_short", "conns=64", *times, *lossy))
    threads, items, segments = (simulation.tables[name] for name in ("thread", "item", "segment"))
    slow: set[tuple[ItemKind, bool]] = set()
    fast: set[tuple[ItemKind, bool]] = set()
    for fifth in range(5_000, 60_000):
        run_until(simulation.machine, simulation.stack, fifth * CLOCK_MHZ // 5)
        for index in np.flatnonzero((threads["item"] >= 0) & (threads["phase"] == Phase.SERIALIZE)):
            item = int(threads["item"][index])
            kind = ItemKind(int(items["kind"][item]))
            ends = kind == ItemKind.PACKET and bool(segments["flags"][item] & (SYN | FIN | RST))
            (slow if threads["kind"][index] == ThreadKind.PORT else fast).add((kind, ends))
    rare = {(ItemKind.PACKET, True), (ItemKind.TIMER, False), (ItemKind.CLOSE, False), (ItemKind.CONNECT, False)}
    assert rare <= slow <= rare | {(ItemKind.PACKET, False)}
    assert fast == {(ItemKind.PACKET, False), (ItemKind.SEND, False), (ItemKind.READ, False)} & fast
    assert {(ItemKind.PACKET, False), (ItemKind.SEND, False)} <= fast
    settle(simulation.machine, 12_000 * CLOCK_MHZ)
    check_conservation(simulation)


@pytest.mark.parametrize(
    ("org", "line"),
    [
        ("org=linux_rss", "org.boundary=syscall: must be ring with slow_path=thread"),
        ("org=mtcp", "org.serialize=own_core: must be connection_lock with slow_path=thread"),
    ],
)
def test_a_slow_path_is_beside_threads_of_the_stack(composed: Compose, org: str, line: str) -> None:
    with pytest.raises(ConfigError, match=f"^{line}"):
        composed(org, *LATER_CORES, "org.slow_path=thread").validate()
