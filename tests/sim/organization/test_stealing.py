"""What idle cores take from busy ones: queueing formulas, invariants at every moment, and tables worked out by hand."""

import dataclasses
import math

import numpy as np
import pytest

from netstack.errors import ConfigError
from netstack.jit.compilation import compiled
from netstack.sim import Result, simulate
from netstack.sim.build.build import build
from netstack.sim.build.simulation import Simulation
from netstack.sim.engine.conservation import check_conservation
from netstack.sim.engine.exact import run_until, settle
from netstack.sim.kernel.listener import note_length
from netstack.sim.organization.stealing import migrate_group
from netstack.sim.stack.numbers import WaitsFor
from netstack.sim.stack.state import listener_of
from netstack.sim.stack.steering import migrate_entry
from tests.sim.organization.test_receiving import CLOCK_MHZ, Compose
from tests.sim.workload.test_requests import at_no_cost

CORES, SERVICE_US, LOAD = 4, 50.0, 0.7
FOUR_CORES = ("machine=epyc_7662", "machine.cores=4", "machine.nic.queues=4")
AT_ONCE = ("machine.ipi_latency_us=0", "machine.wake_us=0", "machine.nic.link_mbps=1000000")


def open_loop(composed: Compose, org: str) -> Result:
    """Return what four cores do for clients of an open loop, if nothing but a service of 50 us in the mean takes time."""
    config = composed(
        f"org={org}",
        *FOUR_CORES,
        *AT_ONCE,
        "workload=request_response",
        "conns=4000",
        "workload.rtt_min_us=10",
        "workload.rtt_max_us=10",
        "workload.client_delayed_ack_us=0",
        f"workload.requests.rate_per_second={LOAD * CORES / SERVICE_US * 1e6:.0f}",
        "workload.requests.service_cycles.kind=exponential",
        f"workload.requests.service_cycles.mean={SERVICE_US * CLOCK_MHZ:.0f}",
        "workload.requests.service_cycles.most=1e12",
        "engine.warmup_ms=100",
        "engine.measure_ms=4000",
    )
    return simulate(dataclasses.replace(config, costs=at_no_cost(config.costs)))


def erlang_c(servers: int, offered: float) -> float:
    """Return the share of requests that wait in an M/M/n queue (Erlang's C formula)."""
    waits = offered**servers / math.factorial(servers) / (1 - offered / servers)
    return waits / (sum(offered**k / math.factorial(k) for k in range(servers)) + waits)


def test_cores_that_take_events_are_one_queue_with_four_servers(composed: Compose) -> None:
    """A request waits as in M/M/4. It travels 10 us, and a core that computes is interrupted within 1 us, there and back."""
    waits_us = erlang_c(CORES, LOAD * CORES) * SERVICE_US / (CORES * (1 - LOAD))
    result = open_loop(composed, "zygos")
    assert result.requests_per_second == pytest.approx(LOAD * CORES / SERVICE_US * 1e6, rel=0.01)
    assert result.request_us["mean"] == pytest.approx(10 + SERVICE_US + waits_us + 1, abs=2)


def test_cores_on_their_own_are_four_queues(composed: Compose) -> None:
    """A request waits as in M/M/1."""
    result = open_loop(composed, "ix")
    assert result.request_us["mean"] == pytest.approx(10 + SERVICE_US / (1 - LOAD), rel=0.05)


@pytest.mark.parametrize("workload", [("workload=request_response", "conns=64"), ("workload=web_short", "conns=200")], ids=str)
def test_no_core_polls_in_vain_while_events_wait(composed: Compose, workload: tuple[str, ...]) -> None:
    """At no moment of 6 ms, but for the 2 us that a core needs to come."""
    costs = ("costs=lean", "workload.requests.service_cycles.mean=20000", "workload.requests.service_cycles.kind=exponential")
    simulation = build(composed("org=zygos", *FOUR_CORES, *costs, *workload, "workload.start_spread_us=500"))
    assert longest_us(simulation, WaitsFor.POLL, simulation.tables["ready"]["count"]) <= 2
    assert int(simulation.stack["stolen"]) > 100


@pytest.mark.parametrize(("balance", "conserves"), [("[steal_connection]", True), ("[]", False)])
def test_no_worker_sleeps_while_connections_wait_for_another(composed: Compose, balance: str, conserves: bool) -> None:
    """All SYNs come to the first core. Without stealing the other three have nothing to do.

    With it each connection wakes one. Until that one has accepted its own, some 5 us later, the next connections may come.
    """
    org = ("org=affinity_accept", "org.steal_from=working", f"org.balance={balance}", "org.migrate_us=0", "costs=linux6")
    config = composed(*org, *FOUR_CORES, "workload=web_short", "workload.start_spread_us=500", "conns=256")
    simulation = build(config)
    simulation.tables["indirection"]["value"][:] = 0
    longest = longest_us(simulation, WaitsFor.EVENTS, simulation.tables["listener"]["waiting"])
    accepted = np.bincount(simulation.tables["flow"]["app_thread"], minlength=CORES)
    assert longest <= 12 if conserves else longest > 100
    assert (accepted[1:] > 0).all() == conserves


def longest_us(simulation: Simulation, idle: WaitsFor, waiting: np.ndarray) -> int:
    """Return for how long an application waited in this way while more than one item waited for another one, in 8 ms."""
    threads = simulation.tables["thread"][:CORES]
    longest = since = 0
    for microsecond in range(1, 8001):
        run_until(simulation.machine, simulation.stack, microsecond * CLOCK_MHZ)
        wasted = (threads["waits_for"] == idle).any() and (waiting[:CORES] > 1).any()
        since = since + 1 if wasted else 0
        longest = max(longest, since)
    settle(simulation.machine, 8000 * CLOCK_MHZ)
    check_conservation(simulation)
    return longest


def test_only_the_core_of_a_connection_enters_it_and_one_application_at_a_time_serves_it(composed: Compose) -> None:
    costs = ("costs=lean", "workload.requests.service_cycles.mean=8000", "workload=proxy_short", "conns=64")
    simulation = build(composed("org=zygos", *FOUR_CORES, *costs, "workload.start_spread_us=500"))
    threads, flows = simulation.tables["thread"], simulation.tables["flow"]
    seen = 0
    for tenth in range(15_000, 60_000):
        run_until(simulation.machine, simulation.stack, tenth * CLOCK_MHZ // 10)
        for index in np.flatnonzero((threads["item"] >= 0) & (flows["open"][threads["flow"]] == 1)):
            seen += 1
            assert threads["core"][index] == flows["queue"][threads["flow"][index]]
        served = threads["writes_to"][:CORES]
        assert len(np.unique(served[served >= 0])) == np.count_nonzero(served >= 0)
    assert seen > 1000
    assert int(simulation.stack["stolen"]) > 100


def test_an_owner_hears_at_once_that_a_thief_leaves_a_connection_ready(composed: Compose) -> None:
    """A writer leaves a connection after 4,096 bytes, whose buffer has room: nobody polls while that waits for him."""
    sends = ("workload=bulk_send", "costs=lean", "conns=4", "workload.start_spread_us=0")
    simulation = build(composed("org=zygos", *FOUR_CORES, *sends))
    threads, ready = simulation.tables["thread"][:CORES], simulation.tables["ready"]["count"][:CORES]
    longest = since = 0
    for tenth in range(15_000, 60_000):
        run_until(simulation.machine, simulation.stack, tenth * CLOCK_MHZ // 10)
        since = since + 1 if ((threads["waits_for"] == WaitsFor.POLL) & (ready > 0)).any() else 0
        longest = max(longest, since)
    assert longest <= 10
    assert int(simulation.stack["stolen"]) > 100


@compiled
def _migrate(machine, stack):
    migrate_entry(machine, stack)


def test_an_entry_moves_from_the_queue_with_most_frames_to_the_one_with_fewest(composed: Compose) -> None:
    """Of 8 entries each queue has two: 0 and 4 lead to queue 0, 1 and 5 to queue 1."""
    table = ("machine.nic.rss_table=8", "org.balance=[migrate_group]", "org.migrate_us=1000", "org.steal_from=working")
    simulation = build(composed("org=affinity_accept", *FOUR_CORES, *table, "workload=request_response", "conns=64"))
    machine, stack = simulation.machine, simulation.stack
    entries, nics, flows = (simulation.tables[name] for name in ("indirection", "nic", "flow"))
    before = flows["queue"].copy()
    nics["frames_received"] = [100, 900, 100, 50]
    _migrate(machine, stack)  # 850 more than the idlest one, and its two entries have 450 each: one less leaves it at 450
    assert entries["value"].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    nics["frames_received"] += [0, 1000, 500, 400]
    _migrate(machine, stack)  # 1,000 more in this period: the same
    assert entries["value"].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    entries["value"][[2, 3]] = 1  # now five entries lead to queue 1
    nics["frames_received"] += [0, 1000, 500, 400]
    _migrate(machine, stack)  # 200 frames an entry
    assert entries["value"].tolist() == [0, 0, 1, 1, 0, 1, 2, 3]
    moved = np.flatnonzero(flows["queue"] != before)
    assert len(moved) > 0
    assert (before[moved] == 1).all()
    assert (flows["queue"][moved] == 0).all()
    nics["frames_received"] += [500, 700, 600, 500]
    _migrate(machine, stack)  # 200 more; two of three entries would have 467
    assert entries["value"].tolist() == [0, 0, 1, 1, 0, 1, 2, 3]
    assert int(stack["migrated"]) == 1


def test_groups_migrate_until_queues_are_as_busy(composed: Compose) -> None:
    """All entries lead to the first queue at the beginning."""
    moves = ("org.balance=[migrate_group]", "org.migrate_us=1000", "machine.nic.rss_table=16")
    org = ("org=affinity_accept", "org.steal_from=working", *moves)
    config = composed(*org, *FOUR_CORES, "costs=linux6", "workload=request_response", "conns=256")
    simulation = build(config)
    simulation.tables["indirection"]["value"][:] = 0
    simulation.tables["flow"]["queue"] = 0
    run_until(simulation.machine, simulation.stack, 40_000 * CLOCK_MHZ)
    assert np.bincount(simulation.tables["indirection"]["value"], minlength=CORES).tolist() == [4, 4, 4, 4]
    settle(simulation.machine, 40_000 * CLOCK_MHZ)
    check_conservation(simulation)


@compiled
def _find(stack, length):
    """Let a new connection find a length of the first accept queue."""
    listener_of(stack, 0).waiting = length
    note_length(stack, 0)


def marked(composed: Compose, *overrides: str) -> Simulation:
    """Return clients of two cores that mark accept queues; all connect within 100 us."""
    machine = ("machine=epyc_7662", "machine.cores=2", "machine.nic.queues=2", "machine.nic.rss_table=8")
    org = ("org=affinity_accept", "org.migrate_us=1000", "costs=linux6", "workload=web_short", "workload.start_spread_us=100")
    return build(composed(*machine, *org, *overrides))


def test_a_queue_is_busy_from_the_high_water_line_until_its_mean_is_below_the_low_one(composed: Compose) -> None:
    """Of 20 connections at most, 75 % are 15 and 10 % are 2. New lengths weigh 1/40 in the mean.

    Lengths of 0 to 16 leave a mean of 40 x ((39/40)^17 - 1) + 17 = 3.01. Then empty queues lower it to below 2 at the 17th, since
    (39/40)^17 = 0.650 and 2 / 3.01 = 0.664 > 0.650, and (39/40)^16 = 0.667 is not enough.
    """
    simulation = marked(composed, "workload.backlog=20", "conns=6")
    socket = simulation.tables["listener"][0]
    marks = []
    for length in range(17):
        _find(simulation.stack, length)
        marks.append(int(socket["busy"]))
    assert marks == [0] * 16 + [1]
    assert socket["mean"] / 65536 == pytest.approx(40 * ((39 / 40) ** 17 - 1) + 17, abs=0.001)
    marks = []
    for _ in range(18):
        _find(simulation.stack, 0)
        marks.append(int(socket["busy"]))
    assert marks == [1] * 16 + [0] * 2


def test_a_worker_takes_one_connection_after_five_of_its_own(composed: Compose) -> None:
    """The other one stays marked. Of 512 clients at once both have connections to accept for a while."""
    simulation = marked(composed, "workload.backlog=1000000", "conns=512", "org.balance=[steal_connection]", "org.migrate_us=0")
    stack, listeners, flows = simulation.stack, simulation.tables["listener"], simulation.tables["flow"]
    listeners["busy"][1], listeners["mean"][1] = 1, 1 << 50
    accepts = ""
    stolen, before = int(stack["stolen"]), flows["accepted"].copy()
    for tenth in range(40_000, 60_000):
        run_until(simulation.machine, stack, tenth * CLOCK_MHZ // 10)
        new = np.flatnonzero((flows["accepted"] == 1) & (before == 0) & (flows["app_thread"] == 0))
        assert len(new) <= 1
        if (listeners["waiting"] > 0).all() and len(new) > 0:
            accepts += "t" if int(stack["stolen"]) > stolen else "o"
        stolen, before = int(stack["stolen"]), flows["accepted"].copy()
    runs = accepts.split("t")[1:-1]  # whole ones
    assert len(runs) >= 5
    assert set(runs) == {"ooooo"}


@pytest.mark.parametrize(("marks", "steals"), [((1, 0), True), ((1, 1), False), ((0, 0), False)])
def test_only_who_is_not_marked_takes_from_who_is(composed: Compose, marks: tuple[int, int], steals: bool) -> None:
    """All SYNs come to the first core; the second one has nothing of its own."""
    simulation = marked(composed, "workload.backlog=1000000", "conns=256", "org.balance=[steal_connection]", "org.migrate_us=0")
    simulation.tables["indirection"]["value"][:] = 0
    simulation.tables["listener"]["busy"] = marks
    simulation.tables["listener"]["mean"] = [mark << 50 for mark in marks]
    run_until(simulation.machine, simulation.stack, 8000 * CLOCK_MHZ)
    stolen = int(simulation.stack["stolen"])
    assert int(simulation.tables["listener"]["own_accepts"][0]) + stolen > 50
    assert (stolen > 0) == steals


def test_groups_follow_the_connections_that_were_taken(composed: Compose) -> None:
    """All SYNs come to the first core, whose queue fills. The second core takes connections, and an entry a millisecond."""
    simulation = marked(composed, "workload.backlog=32", "conns=512")
    entries = simulation.tables["indirection"]["value"]
    entries[:] = 0
    moved = [0]
    for millisecond in range(1, 11):
        run_until(simulation.machine, simulation.stack, millisecond * 1000 * CLOCK_MHZ + CLOCK_MHZ)
        moved.append(int(entries.sum()))
        assert 0 <= moved[-1] - moved[-2] <= 1
        assert moved[-1] == 0 or int(simulation.stack["stolen"]) > 0
    assert moved[-1] >= 3
    settle(simulation.machine, 10_001 * CLOCK_MHZ)
    check_conservation(simulation)


def test_the_mark_decides_whose_entry_moves_and_to_whom(composed: Compose) -> None:
    """Of four threads the first two took connections, most of the fourth. The second is marked, and gets none."""
    machine = (*FOUR_CORES, "machine.nic.rss_table=8")
    simulation = build(composed(*machine, "org=affinity_accept", "workload=web_short", "conns=6", "costs=linux6"))
    thefts = simulation.tables["theft"]["value"].reshape(CORES, CORES)
    thefts[0], thefts[1] = [0, 2, 0, 3], [0, 0, 0, 9]
    simulation.tables["listener"]["busy"][[1, 3]] = 1
    _migrate_group(simulation.machine, simulation.stack)
    assert simulation.tables["indirection"]["value"].tolist() == [0, 1, 2, 0, 0, 1, 2, 3]
    assert (thefts == 0).all()
    _migrate_group(simulation.machine, simulation.stack)
    assert int(simulation.stack["migrated"]) == 1


@compiled
def _migrate_group(machine, stack):
    migrate_group(machine, stack)


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (("org=ix", "org.balance=[steal]"), "org.balance=steal: allowed are steal_connection, steal_event, migrate_group"),
        (("org=linux_rss", "org.balance=[steal_connection]"), "org.balance=steal_connection: needs accept queues per thread"),
        (("org=linux_busy_poll", "org.balance=[steal_connection]"), "org.balance=steal_connection: needs threads that sleep"),
        (("org=linux_rss", "org.balance=[steal_event]"), "org.balance=steal_event: needs boundary=call"),
        (("org=ix", "org.balance=[migrate_group]", "org.migrate_us=1000"), "org.balance=migrate_group: needs dispatch=rss, and"),
        (
            ("org=linux_arfs", "org.balance=[migrate_group]", "org.migrate_us=1000"),
            "org.balance=migrate_group: needs dispatch=rss",
        ),
        (("org=linux_reuseport", "org.steal_from=marked"), "org.steal_from=marked: needs balance=[steal_connection]"),
        (("org=tas", "org.migrate_us=0"), "org.migrate_us=0.0: must be whole milliseconds with balance"),
        (("org=linux_rss", "org.migrate_us=1000"), "org.migrate_us=1000.0: must be whole milliseconds with balance"),
    ],
)
def test_what_is_refused(composed: Compose, overrides: tuple[str, ...], line: str) -> None:
    with pytest.raises(ConfigError, match=f"^{line.replace('[', '.')}"):
        composed(*FOUR_CORES, "workload=request_response", *overrides).validate()


def test_stealing_runs_in_no_windows(composed: Compose) -> None:
    llc = ("machine.llc.size_bytes=0", "machine.llc.ddio_ways=0")
    org = ("org=linux", "org.listener=replicated", "org.balance=[steal_connection]")
    with pytest.raises(ConfigError, match=r"^engine.window_us=1.0: must be 0 with receive queues"):
        composed(*FOUR_CORES, *llc, *org, "engine.window_us=1").validate()
