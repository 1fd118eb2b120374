"""What starts receive processing, worked out by hand for one client whose requests come every 100 us; and where packets go."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from netstack.errors import ConfigError
from netstack.jit.compilation import compiled
from netstack.sim import SimulationConfig, simulate
from netstack.sim.build.build import build
from netstack.sim.build.simulation import Simulation
from netstack.sim.engine.conservation import check_conservation
from netstack.sim.engine.exact import run_until, settle
from netstack.sim.machine.numbers import Category
from netstack.sim.organization.queues import deliver_forwards, forward
from netstack.sim.stack.state import item_of, take_item
from netstack.sim.stack.steering import note_consumer, steer
from tests.helpers.moments import queued
from tests.sim.workload.test_requests import at_no_cost

Compose = Callable[..., SimulationConfig]
RTT_US, CLOCK_MHZ, RUN_MS = 100, 3300, 20
START_MS = 1  # the first tick of the timer wheel
ROUNDS = (RUN_MS - START_MS) * 1000 // RTT_US
ONE_CLIENT = (
    "machine=epyc_7662",
    "machine.nic.interrupt_interval_us=0",
    "machine.nic.link_mbps=1000000",
    "machine.wake_us=0",
    "machine.ipi_latency_us=0",
    "org.cores=1",
    "conns=1",
    "workload=request_response",
    f"workload.rtt_min_us={RTT_US}",
    f"workload.rtt_max_us={RTT_US}",
    "workload.start_spread_us=0",
    "workload.delayed_ack_us=400000",
)
FOUR_CORES = ("machine=epyc_7662", "machine.cores=4", "machine.nic.queues=4", "workload=request_response", "costs=linux6")


def after_one_client(composed: Compose, *overrides: str) -> Simulation:
    """Return the state after 20 ms in which a client asks again as soon as it is answered, and nothing takes time."""
    config = composed(*ONE_CLIENT, *overrides)
    config = dataclasses.replace(config, costs=at_no_cost(config.costs))
    config.validate()
    simulation = build(config)
    run_until(simulation.machine, simulation.stack, RUN_MS * 1000 * CLOCK_MHZ)
    settle(simulation.machine, RUN_MS * 1000 * CLOCK_MHZ)
    check_conservation(simulation)
    return simulation


@pytest.mark.parametrize(
    ("overrides", "rounds", "interrupts", "timers", "polls"),
    [
        (("org=linux_incoming_cpu",), 1, 1, 0, 1),
        (("org=linux_threaded_napi",), 1, 1, 0, 1),
        (("org=linux_incoming_cpu", "org.defer_us=20", "org.defer_limit=0"), 1, 1, 1, 2),  # one in vain, then interrupts
        (("org=linux_incoming_cpu", "org.defer_us=20", "org.defer_limit=2"), 1, 1, 3, 4),  # three in vain
        (("org=linux_incoming_cpu", "org.defer_us=40", "org.defer_limit=9"), 100 / 120, 0, 2.5, 2.5),  # at 40, 80, 120
        (("org=linux_incoming_cpu", "org.defer_us=160", "org.defer_limit=9"), 100 / 160, 0, 100 / 160, 100 / 160),
        (("org=linux_busy_poll",), 1, 0, 0, 1),
        (("org=linux_suspend", "org.defer_us=40"), 100 / 120, 0, 2.5, None),
        (("org=linux_suspend", "org.defer_us=160"), 100 / 160, 0, 100 / 160, None),
    ],
    ids=[
        "softirq",
        "thread",
        "a timer once",
        "a timer three times",
        "a timer that comes late",
        "a timer that comes later",
        "polling",
        "suspended",
        "suspended for longer",
    ],
)
def test_what_one_client_needs(
    composed: Compose, overrides: tuple[str, ...], rounds: float, interrupts: int, timers: float, polls: float | None
) -> None:
    """In 100 us: how many rounds, interrupts, polls that a timer began, and polls."""
    simulation = after_one_client(composed, *overrides)
    (nic,) = simulation.tables["nic"]
    assert int(simulation.stack["requests_answered"]) == pytest.approx(rounds * ROUNDS, abs=4)
    assert int(nic["interrupts"]) == pytest.approx(interrupts * ROUNDS, abs=4)
    assert int(nic["timer_polls"]) == pytest.approx(timers * ROUNDS, abs=4)
    if polls is not None:
        assert int(nic["polls"]) == pytest.approx(polls * ROUNDS, abs=4)


def test_a_polling_core_never_idles_and_another_one_does(composed: Compose) -> None:
    polling = after_one_client(composed, "org=linux_busy_poll").tables["core"][0]["cycles"]
    sleeping = after_one_client(composed, "org=linux_incoming_cpu").tables["core"][0]["cycles"]
    assert polling[Category.POLL] > 0.99 * polling.sum() * ROUNDS * RTT_US / 1000 / RUN_MS
    assert sleeping[Category.IDLE] > 0.9999 * sleeping.sum()  # the first misses of a connection take some


@pytest.mark.parametrize(("org", "switches"), [("linux_incoming_cpu", 1), ("linux_threaded_napi", 2), ("linux_busy_poll", 0)])
def test_who_is_switched_to_for_a_request(composed: Compose, org: str, switches: int) -> None:
    """A softirq is none; a thread of a queue is one, and so is the application that slept."""
    simulation = after_one_client(composed, f"org={org}")
    assert int(simulation.tables["core"]["context_switches"].sum()) == pytest.approx(switches * ROUNDS, abs=4)


def test_a_softirq_gives_way_after_its_budget(composed: Compose) -> None:
    """With a budget of one frame the application answers each request before the next frame is taken."""
    many = ("org=linux_incoming_cpu", "conns=64", "costs=linux6")
    config = composed(*ONE_CLIENT, *many, "org.budget=1")
    simulation = build(config)
    waiting = 0
    for microsecond in range(1000, 6000):
        run_until(simulation.machine, simulation.stack, microsecond * CLOCK_MHZ)
        waiting = max(waiting, int(simulation.tables["ready"]["count"][0]))
    without = build(composed(*ONE_CLIENT, *many))
    run_until(without.machine, without.stack, 1000 * CLOCK_MHZ)
    most = 0
    for microsecond in range(1000, 6000):
        run_until(without.machine, without.stack, microsecond * CLOCK_MHZ)
        most = max(most, int(without.tables["ready"]["count"][0]))
    assert waiting < most


@compiled
def _forward(machine, stack, core, flow_index):
    """Forward a packet of a connection; return its item."""
    packet = take_item(machine, stack)
    item_of(stack, packet).flow = flow_index
    forward(machine, stack, core, packet)
    return packet


@compiled
def _consume(machine, stack, core, flow_index):
    """Make a call for a connection on a core."""
    note_consumer(machine, stack, core, flow_index)


def test_a_packet_stays_where_its_consumer_was(composed: Compose) -> None:
    """RFS: what was forwarded before the application moved waits for the old core; what comes later goes to the new one."""
    simulation = build(composed("org=linux_rfs", *FOUR_CORES, "conns=8"))
    machine, stack, queues = simulation.machine, simulation.stack, simulation.tables["queue"]
    _consume(machine, stack, 1, 5)
    before = _forward(machine, stack, 0, 5)
    _consume(machine, stack, 3, 5)
    behind = _forward(machine, stack, 0, 5)
    assert queues["count"][:4].tolist() == [0, 1, 0, 1]
    assert queued(simulation, int(queues["head"][1]), 1) == [before]
    assert queued(simulation, int(queues["head"][3]), 1) == [behind]


def test_a_poll_interrupts_each_core_once(composed: Compose) -> None:
    simulation = build(composed("org=linux_rfs", *FOUR_CORES, "conns=8"))
    machine, stack, cores = simulation.machine, simulation.stack, simulation.tables["core"]
    for flow, consumer in enumerate((0, 1, 1, 2, 2, 2)):
        _consume(machine, stack, consumer, flow)
        _forward(machine, stack, 0, flow)
    deliver_forwards(machine, stack, 0)
    deliver_forwards(machine, stack, 0)
    assert cores["ipis"].tolist() == [0, 1, 1, 0]
    assert int(cores["ipis_sent"][0]) == 2


@compiled
def _steer_all(machine, stack):
    for index in range(stack.conns):
        steer(machine, stack, index)


def test_an_exact_entry_goes_before_the_hash_until_another_takes_it(composed: Compose) -> None:
    """With one entry for all, the second connection's entry throws out the first, which goes by its hash again."""
    simulation = build(composed("org=linux_arfs", *FOUR_CORES, "machine.nic.flow_table=1", "conns=8"))
    machine, stack, flows = simulation.machine, simulation.stack, simulation.tables["flow"]
    _steer_all(machine, stack)
    by_hash = flows["queue"].tolist()
    one, other = 0, 1
    new_one, new_other = (by_hash[one] + 1) % 4, (by_hash[other] + 2) % 4
    _consume(machine, stack, new_one, one)
    assert flows["queue"][one] == new_one
    _consume(machine, stack, new_other, other)
    assert flows["queue"][:2].tolist() == [by_hash[one], new_other]
    assert flows["queue"][2:].tolist() == by_hash[2:]


def test_local_accept_serves_connections_where_their_queue_is(composed: Compose) -> None:
    simulation = build(composed("org=linux_incoming_cpu", *FOUR_CORES, "conns=64"))
    flows = simulation.tables["flow"]
    assert (flows["app_thread"] == flows["queue"]).all()
    assert len(np.unique(flows["queue"])) == 4


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (("org=linux", "org.drive=poll"), "org.drive=poll: needs a receive queue per application thread"),
        (("org=linux_rss", "org.placement=free"), "org.placement=free: must be pinned with drive=napi"),
        (("org=linux_arfs", "machine.nic.flow_table=0"), "machine.nic.flow_table=0: must be above 0"),
        (("org=linux_busy_poll", "machine.nic.queues=2"), "org.drive=poll: needs one card, a queue per core"),
        (("org=linux", "org.owner=consumer"), "org.owner=consumer: needs handoff=forward"),
        (("org=linux", "org.defer_us=5"), "org.defer_us=5.0: needs drive="),
        (("org=linux", "org.listener=local"), "org.accept=client: must be local with listener=local"),
        (("org=linux", "org.boundary=call"), "org.boundary=call: needs serialize=own_core"),
        (("org=ix", "org.drive=napi"), "org.drive=napi: must be poll with serialize=own_core"),
        (("org=linux_rss", "engine.window_us=2", "workload=bulk_send"), "engine.window_us=2.0: must be 0 with"),
    ],
)
def test_what_is_refused(composed: Compose, overrides: tuple[str, ...], line: str) -> None:
    machine = ("machine=epyc_7662", "machine.cores=4", "machine.nic.queues=4", "workload=request_response")
    with pytest.raises(ConfigError, match=f"^{line}"):
        composed(*machine, *overrides).validate()


@pytest.mark.parametrize(("frames", "interrupts", "waits_us"), [(0, 2, 50), (9, 2, 0), (4, 4, 50), (3, 4, 0), (1, 10, 0)])
def test_interrupts_after_so_many_frames(composed: Compose, frames: int, interrupts: int, waits_us: int) -> None:
    """A request of ten segments that come within a microsecond. The first one interrupts, the others wait for 50 us or for more.

    Nine make groups of three or nine, of groups of four one is left, which waits.
    """
    simulation = after_one_client(
        composed,
        "org=linux_incoming_cpu",
        "workload.requests.request_bytes.mean=14480",
        "machine.nic.interrupt_interval_us=50",
        f"machine.nic.interrupt_frames={frames}",
    )
    rounds = (RUN_MS - START_MS) * 1000 // (RTT_US + waits_us)
    assert int(simulation.stack["requests_answered"]) == pytest.approx(rounds, rel=0.03)
    assert int(simulation.tables["nic"]["interrupts"].sum()) == pytest.approx(interrupts * rounds, rel=0.03)


def test_frames_that_wait_for_a_thread_that_waits_for_applications_have_room(composed: Callable[..., SimulationConfig]) -> None:
    """Acknowledgments of whole send buffers: links carry 1 Gb/s, but inbound threads run no more often than applications."""
    overrides = ("org=linux_threaded_napi", "conns=192", "engine.warmup_ms=60", "engine.measure_ms=10")
    assert simulate(composed(*overrides)).goodput_mbps > 1000
