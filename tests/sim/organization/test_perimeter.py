"""Perimeters: whoever has a message enters and processes it, or leaves it to whoever is inside."""

from collections.abc import Callable

import numpy as np
import pytest

from netstack.errors import ConservationError
from netstack.sim import SimulationConfig, simulate
from netstack.sim.build.build import build
from netstack.sim.engine.conservation import check_conservation
from netstack.sim.engine.exact import run_until, settle
from netstack.sim.machine.numbers import ThreadState
from netstack.sim.stack.numbers import ItemKind, Phase, ThreadKind, WaitsFor
from tests.helpers.moments import check_order, moments, queued

Compose = Callable[..., SimulationConfig]
SHORT = ("engine.warmup_ms=5", "engine.measure_ms=10")
BUSY = ("org=solaris10", "conns=24", "engine.warmup_ms=1", "workload.start_spread_us=0")


@pytest.mark.parametrize("batch", [2, 1024])
def test_what_finds_a_perimeter_busy_waits_in_order_for_somebody(composed: Compose, batch: int) -> None:
    packets = requests = 0
    for simulation in moments(composed(*BUSY, f"org.batch={batch}"), 4):
        queues, threads, kinds = (simulation.tables[name] for name in ("queue", "thread", "item"))
        owners = simulation.tables["lock"]["owner"][int(simulation.stack["group_lock_first"]) :]
        groups = simulation.tables["flow"]["group"]
        for group in np.flatnonzero(queues["count"]):
            items = queued(simulation, int(queues["head"][group]), int(queues["count"][group]))
            assert {int(groups[kinds["flow"][item]]) for item in items} == {group}
            check_order(simulation, items)
            worker = threads[queues["thread"][group]]
            assert owners[group] >= 0 or worker["state"] != ThreadState.BLOCKED or worker["waits_for"] == WaitsFor.TICK
            packets += sum(int(kinds["kind"][item] == ItemKind.PACKET) for item in items)
            requests += sum(int(kinds["kind"][item] == ItemKind.SEND) for item in items)
    assert packets > 100
    assert requests > 100


def test_requests_that_wait_are_written_in_order_and_fit_the_send_buffer(composed: Compose) -> None:
    """A connection's pages were built in the order that its application wrote them, and so they are in its send buffer."""
    waited = 0
    for simulation in moments(composed(*BUSY, "workload.send_buffer_bytes=32768"), 8):
        flows, pcbs, packets = (simulation.tables[name] for name in ("flow", "pcb", "item"))
        assert (pcbs["send_buffered_bytes"] + flows["waiting_bytes"] <= 32768).all()
        waited += int((flows["waiting_bytes"] > 0).sum())
        written: dict[int, int] = {}
        for queue in simulation.tables["queue"]:
            for item in queued(simulation, int(queue["head"]), int(queue["count"])):
                if packets["kind"][item] == ItemKind.SEND:
                    flow = int(packets["flow"][item])
                    assert written.get(flow, 0) <= packets["written_at"][item]
                    written[flow] = int(packets["written_at"][item])
    assert waited > 100


def test_nobody_waits_for_a_perimeter(composed: Compose) -> None:
    result = simulate(composed("org=solaris10", "conns=192", *SHORT))
    assert result.hand_offs_per_segment > 0.1
    assert result.lock["global"].not_immediate_percent == 0
    assert result.lock["global"].sleeps == 0
    assert result.cycles_per_kb["lock_sleep"] == 0


@pytest.mark.parametrize("batch", [1, 3])
def test_a_drain_takes_a_batch_and_the_perimeters_thread_goes_on(composed: Compose, batch: int) -> None:
    entered_by_thread = breaks = 0
    simulation = None
    for simulation in moments(composed(*BUSY, f"org.batch={batch}"), 5):
        owners = simulation.tables["lock"]["owner"][1:]
        threads = simulation.tables["thread"]
        entered_by_thread += sum(int(owner >= 0 and threads["kind"][owner] == ThreadKind.PORT) for owner in owners)
        resting = threads[threads["waits_for"] == WaitsFor.TICK]
        assert (resting["kind"] == ThreadKind.PORT).all()
        assert (resting["phase"] == Phase.NEXT).all()
        breaks += len(resting)
    assert simulation is not None
    entries = int(simulation.tables["lock_class"]["acquisitions"][0])
    received = int(simulation.stack["messages_received"])
    assert 0 < received <= batch * entries
    assert entered_by_thread > 0
    assert breaks > 0


def test_a_drain_without_an_effective_limit_needs_no_thread(composed: Compose) -> None:
    for simulation in moments(composed(*BUSY), 5):
        threads = simulation.tables["thread"]
        assert (threads["state"][threads["kind"] == ThreadKind.PORT] == ThreadState.BLOCKED).all()
    assert int(simulation.stack["messages_received"]) > int(simulation.tables["lock_class"]["acquisitions"][0]) / 4


def ran(composed: Compose):
    """Return a simulation that stopped while requests wait."""
    simulation = build(composed(*BUSY))
    for microsecond in range(2000, 8000):
        run_until(simulation.machine, simulation.stack, microsecond * 2200)
        if simulation.tables["flow"]["waiting_bytes"].any():
            break
    settle(simulation.machine, microsecond * 2200)
    check_conservation(simulation)
    return simulation


def test_bytes_of_lost_requests_break_a_law(composed: Compose) -> None:
    simulation = ran(composed)
    simulation.tables["flow"]["waiting_bytes"][3] += 4096
    with pytest.raises(ConservationError, match="bytes of requests that wait"):
        check_conservation(simulation)


def test_a_perimeter_left_to_nobody_breaks_a_law(composed: Compose) -> None:
    simulation = ran(composed)
    for group in np.flatnonzero(simulation.tables["queue"]["count"]):
        lock = simulation.tables["lock"][1 + group]
        simulation.tables["thread"]["locks_held"][lock["owner"]] -= 1
        simulation.tables["lock_class"]["releases"][0] += 1
        lock["owner"] = -1
    with pytest.raises(ConservationError, match="nobody is inside"):
        check_conservation(simulation)
