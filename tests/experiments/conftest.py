"""A simulated result and others made by hand, for whatever judges or shows them."""

from collections.abc import Callable

import pytest

from experiments.paper.claims import CONNP_L, CONTENTION_PERCENT, LOADS, LOCKED, MSGP, PARALLEL, TABULATED, UP
from experiments.paper.verdicts import PointKey
from experiments.points.breakdown import COLUMNS
from netstack.sim import simulate
from netstack.sim.engine.result import LockStatistics, MissStatistics, Result

MakeResult = Callable[..., Result]


@pytest.fixture(scope="session")
def result(composed) -> Result:
    """Return the result of a short simulation."""
    return simulate(composed("conns=6", "engine.warmup_ms=1", "engine.measure_ms=3"))


@pytest.fixture(scope="session")
def make_result() -> MakeResult:
    """Return a function that makes a result from its goodput, misses, contention and cycles per KB by category."""

    def make(goodput: float = 1000.0, misses: float = 1.0, contention: float | None = None, **cycles: float) -> Result:
        categories = {name: cycles.get(name, 0.0) for names in COLUMNS.values() for name in names} | {"idle": 100.0}
        lock = LockStatistics(
            acquisitions=1000, not_immediate_percent=contention or 0.0, wait_cycles=50.0, hold_cycles=900.0, sleeps=3
        )
        return Result(
            goodput_mbps=goodput,
            utilization=0.9,
            cycles_per_kb=categories,
            core_cycles_per_kb=[categories],
            l1_misses_per_kb=3 * misses,
            l2_misses_per_kb=misses,
            coherence_misses_per_kb=misses / 2,
            upgrades_per_kb=0.1,
            misses={
                name: MissStatistics(
                    l1_misses_per_kb=share * misses, l2_misses_per_kb=share * misses, coherence_misses_per_kb=0.0
                )
                for name, share in (("tcpcb", 0.5), ("socket", 0.3), ("mbuf", 0.2))
            },
            lock={"socket_buffer": lock, **({"global": lock} if contention is not None else {})},
            context_switches_per_segment=0.5,
            hand_offs_per_segment=0.0,
            ipis_per_segment=0.1,
            data_segments=1000,
            retransmitted_segments=0,
            retransmission_timeouts=0,
            interface_queue_drops=0,
            receive_ring_drops=0,
            queue_drops=0,
            connections_per_second=0.0,
            connections_opened=0,
            stray_segments=0,
            resets_sent=0,
            jain_fairness=0.99,
            write_to_ack_us={"p50": 100.0, "p90": 200.0, "p99": 400.0},
            goodput_over_time_mbps=[goodput] * 4,
            slice_ms=1.0,
            warmup_ms=2.0,
            simulated_ms=2.0,
            halves_difference_percent=1.0,
            steady=True,
            wall_seconds=0.1,
            wall_segments_per_second=10000.0,
        )

    return make


@pytest.fixture
def published_world(make_result: MakeResult) -> dict[PointKey, Result]:
    """Points of three seeds in which everything is as published; seeds differ by a thousandth."""
    points = {}
    for seed in (1, 2, 3):
        near = 1 + 0.001 * (seed - 2)
        for step, load in enumerate(LOADS):
            up_goodput = 4034.0 - 100 * step if load < 16384 else 2407.0
            up_misses = {6: 1.83, 192: 4.08, 16384: 18.49}.get(load, 5.0)
            shares = {
                UP: (up_goodput, up_misses, 0, 700, 300),
                MSGP: (4500.0, 25.0, 3000, 1400, 1200),
                ("connp_t", 4): (3000.0 if load < 16384 else 2600.0, 40.0, 400, 5000, 1500),
                CONNP_L: (5440.0, 24.0, 600, 1300, 900),
            }
            for (org, groups), (goodput, misses, locks, scheduling, stalls) in shares.items():
                row = CONTENTION_PERCENT.get((org, groups))
                contention = None if row is None else float(row[TABULATED.index(load)] if load in TABULATED else row[1])
                cycles = {"lock_spin": locks * near, "scheduling": scheduling * near, "cache_stall": stalls * near}
                made = make_result(goodput * near, misses * near, contention, protocol=1500.0, **cycles)
                points[PointKey(org, load, groups, seed)] = made
            for row in LOCKED:
                if load in TABULATED and row not in (MSGP, CONNP_L):
                    contention = float(CONTENTION_PERCENT[row][TABULATED.index(load)])
                    points[PointKey(row[0], load, row[1], seed)] = make_result(5000.0 * near, 24.0, contention, protocol=1500.0)
    assert {key.org for key in points} == {UP[0], *(org for org, _ in PARALLEL)}
    return points
