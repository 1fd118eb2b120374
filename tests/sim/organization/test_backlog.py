"""Backlogs: packets that find an application inside their connection wait there, and look-ups that hold nothing meanwhile."""

from collections.abc import Callable

import numpy as np

from netstack.sim import SimulationConfig, simulate
from tests.helpers.moments import check_order, moments, queued

Compose = Callable[..., SimulationConfig]
SHORT = ("engine.warmup_ms=5", "engine.measure_ms=10")


def test_a_backlog_keeps_the_order_of_its_connection(composed: Compose) -> None:
    seen = 0
    for simulation in moments(composed("org=linux", "conns=24", "engine.warmup_ms=1", "workload.start_spread_us=0"), 8):
        backlogs = simulation.tables["queue"][int(simulation.stack["backlog_first"]) :]
        for flow in np.flatnonzero(backlogs["count"]):
            items = queued(simulation, int(backlogs["head"][flow]), int(backlogs["count"][flow]))
            assert {int(simulation.tables["item"]["flow"][item]) for item in items} == {flow}
            check_order(simulation, items)
            seen += len(items)
    assert seen > 100
    assert int(simulation.stack["messages_received"]) > 20


def test_a_backlog_instead_of_waiting_spares_the_interrupt_thread(composed: Compose) -> None:
    linux = ("org=linux", "conns=192", *SHORT)
    waiting = simulate(composed(*linux, "org.contention=wait"))
    leaving = simulate(composed(*linux))
    assert waiting.hand_offs_per_segment == 0 < leaving.hand_offs_per_segment
    assert leaving.lock["connection"].wait_cycles < waiting.lock["connection"].wait_cycles


def test_a_packet_that_finds_its_application_preempted_does_not_sleep(composed: Compose) -> None:
    """On one core, a busy connection is one whose application was interrupted."""
    linux = ("org=linux", "org.cores=1", "conns=24", *SHORT)
    assert simulate(composed(*linux, "org.contention=wait")).lock["connection"].sleeps > 0
    leaving = simulate(composed(*linux))
    assert leaving.lock["connection"].sleeps == 0
    assert leaving.hand_offs_per_segment > 0


def test_rcu_takes_no_global_lock(composed: Compose) -> None:
    result = simulate(composed("org=linux", "conns=48", *SHORT))
    assert "global" not in result.lock
    assert result.lock["connection"].acquisitions > result.data_segments / 4
