"""Who waits for whom, seen from outside: the state of the server microsecond by microsecond."""

from collections.abc import Callable, Iterator

import numpy as np

from netstack.engine import SimulationConfig, simulate
from netstack.engine.build import Simulation, build
from netstack.engine.conservation import check_conservation
from netstack.engine.inline import run_until, settle
from netstack.workload.state import PACKET

Compose = Callable[..., SimulationConfig]
SHORT = ("engine.warmup_ms=5", "engine.measure_ms=10")


def moments(config: SimulationConfig, milliseconds: int) -> Iterator[Simulation]:
    """Yield the server's state after each microsecond, and check the laws in the end."""
    simulation = build(config)
    for microsecond in range(1, milliseconds * 1000 + 1):
        run_until(simulation.m, simulation.s, microsecond * config.machine.clock_mhz)
        yield simulation
    settle(simulation.m, milliseconds * 1000 * config.machine.clock_mhz)
    check_conservation(simulation)


def queued(simulation: Simulation, head: int, count: int) -> list[int]:
    """Return the items of a queue, first to last."""
    items = []
    for _ in range(count):
        items.append(head)
        head = int(simulation.tables["packet"]["next"][head])
    return items


def check_order(simulation: Simulation, items: list[int]) -> None:
    """Received packets of a connection wait in the order they were sent, and none that came later was processed before."""
    packets, segments, pcbs = (simulation.tables[name] for name in ("packet", "segment", "pcb"))
    last: dict[int, int] = {}
    for item in items:
        if packets["kind"][item] == PACKET:
            flow = int(packets["flow"][item])
            acknowledged = int(segments["ack"][item] - pcbs["snd_una"][flow]) % (1 << 32)
            assert last.get(flow, 0) <= acknowledged < 1 << 31
            last[flow] = acknowledged


def test_a_backlog_keeps_the_order_of_its_connection(composed: Compose) -> None:
    seen = 0
    for simulation in moments(composed("org=linux", "conns=24", "engine.warmup_ms=1", "workload.start_spread_us=0"), 8):
        backlogs = simulation.tables["queue"][int(simulation.s["backlog_first"]) :]
        for flow in np.flatnonzero(backlogs["count"]):
            items = queued(simulation, int(backlogs["head"][flow]), int(backlogs["count"][flow]))
            assert {int(simulation.tables["packet"]["flow"][item]) for item in items} == {flow}
            check_order(simulation, items)
            seen += len(items)
    assert seen > 100
    assert int(simulation.s["messages_received"]) > 20


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
