"""Turns counters before and after the measured interval into a result. Reads the state, never changes it."""

from dataclasses import dataclass

import numpy as np

from netstack.sim.build.simulation import Simulation
from netstack.sim.engine.measurement import Measurement
from netstack.sim.engine.result import LockStatistics, MissStatistics, Result
from netstack.sim.machine.numbers import Category, LockClass
from netstack.sim.stack.state import LATENCY_BUCKETS_PER_OCTAVE

_COPIED = ("core", "lock_class", "nic", "latency", "count", "llc_count", "flow")
_MISSES = {"count": ("l1_misses", "l2_misses", "coherence_misses", "upgrades"), "llc_count": ("llc_misses",)}
"""Counters by core and structure, by their tables."""


@dataclass(frozen=True)
class Snapshot:
    """The counters at one moment."""

    tables: dict[str, np.ndarray]
    stack: np.ndarray


def snapshot(simulation: Simulation) -> Snapshot:
    """Copy the counters that a result is computed from."""
    return Snapshot({name: simulation.tables[name].copy() for name in _COPIED}, simulation.stack_table.copy())


def result_of(simulation: Simulation, before: Snapshot, measurement: Measurement, wall_seconds: float) -> Result:
    """Return the result of the interval from `before` to now.

    `wall_seconds` is the time that the whole simulation took.
    """
    config, machine = simulation.config, simulation.machine
    acked, warm_slices, slice_ms = measurement.acked, measurement.warm_slices, measurement.slice_ms
    after = snapshot(simulation)
    slices = len(acked) - 1
    simulated_ms = (slices - warm_slices) * slice_ms
    payload_bytes = acked[-1] - acked[warm_slices]
    kilobytes = max(payload_bytes / 1024, 1e-9)

    def difference(table: str, name: str) -> np.ndarray:
        return after.tables[table][name] - before.tables[table][name]

    def stack_difference(name: str) -> int:
        return int(after.stack[0][name] - before.stack[0][name])

    used = int(machine["cores_used"])
    cycles = difference("core", "cycles")[:used]
    per_core = [_by_category(row / kilobytes) for row in cycles]
    segments = max(stack_difference("data_segments"), 1)
    counts = {
        name: difference(table, name)[: int(machine["cores"]) * len(simulation.structures)]
        .reshape(int(machine["cores"]), -1)
        .sum(axis=0)
        / kilobytes
        for table, names in _MISSES.items()
        for name in names
    }
    middle = warm_slices + (slices - warm_slices) // 2
    halves = np.array([acked[middle] - acked[warm_slices], acked[-1] - acked[middle]], float)
    halves_difference = float(abs(halves[0] - halves[1]) / max(halves.mean(), 1) * 100)
    to_mbps = 8 / 1000 / slice_ms
    total_segments = int(simulation.stack["data_segments"])
    return Result(
        goodput_mbps=payload_bytes * 8 / 1000 / simulated_ms,
        utilization=float(1 - cycles[:, Category.IDLE].sum() / cycles.sum()),
        cycles_per_kb=_by_category(cycles.sum(axis=0) / kilobytes),
        core_cycles_per_kb=per_core,
        l1_misses_per_kb=float(counts["l1_misses"].sum()),
        l2_misses_per_kb=float(counts["l2_misses"].sum()),
        coherence_misses_per_kb=float(counts["coherence_misses"].sum()),
        upgrades_per_kb=float(counts["upgrades"].sum()),
        llc_misses_per_kb=float(counts["llc_misses"].sum()),
        misses={
            name: MissStatistics(
                l1_misses_per_kb=float(counts["l1_misses"][index]),
                l2_misses_per_kb=float(counts["l2_misses"][index]),
                coherence_misses_per_kb=float(counts["coherence_misses"][index]),
                llc_misses_per_kb=float(counts["llc_misses"][index]),
            )
            for index, name in enumerate(simulation.structures)
        },
        lock=_lock_statistics(before, after),
        context_switches_per_segment=float(difference("core", "context_switches").sum() / segments),
        hand_offs_per_segment=stack_difference("hand_offs") / segments,
        ipis_per_segment=float(difference("core", "ipis_sent").sum() / segments),
        data_segments=stack_difference("data_segments"),
        retransmitted_segments=stack_difference("retransmitted_segments"),
        retransmission_timeouts=stack_difference("timeouts"),
        interface_queue_drops=stack_difference("interface_queue_drops"),
        receive_ring_drops=int(difference("nic", "receive_drops").sum()),
        queue_drops=stack_difference("queue_drops"),
        connections_per_second=stack_difference("connections_closed") * 1000 / simulated_ms,
        connections_opened=stack_difference("connections_opened"),
        stray_segments=stack_difference("stray_segments"),
        resets_sent=stack_difference("resets_sent"),
        jain_fairness=_jain(difference("flow", "acked_bytes")),
        write_to_ack_us=_percentiles(difference("latency", "value")),
        goodput_over_time_mbps=[round(float(step) * to_mbps, 3) for step in np.diff(acked)],
        slice_ms=slice_ms,
        warmup_ms=warm_slices * slice_ms,
        simulated_ms=simulated_ms,
        halves_difference_percent=halves_difference,
        steady=bool(halves_difference <= config.engine.steady_percent),
        wall_seconds=wall_seconds,
        wall_segments_per_second=total_segments / wall_seconds,
    )


def _by_category(values: np.ndarray) -> dict[str, float]:
    return {category.key: float(value) for category, value in zip(Category, values, strict=True)}


def _lock_statistics(before: Snapshot, after: Snapshot) -> dict[str, LockStatistics]:
    """Return the statistics of every lock class that was used."""
    statistics = {}
    for lock_class in LockClass:
        old, new = before.tables["lock_class"][lock_class], after.tables["lock_class"][lock_class]
        change = {key: int(new[key] - old[key]) for key in new.dtype.names}
        acquisitions = change["acquisitions"]
        if acquisitions == 0:
            continue
        statistics[lock_class.key] = LockStatistics(
            acquisitions=acquisitions,
            not_immediate_percent=100 * change["waited"] / acquisitions,
            wait_cycles=change["wait_cycles"] / acquisitions,
            hold_cycles=change["hold_cycles"] / acquisitions,
            sleeps=change["sleeps"],
        )
    return statistics


def _jain(payload: np.ndarray) -> float:
    """Return Jain's fairness index: 1 if all got the same, 1/n if one got everything, 0 if nobody got anything."""
    squares = float((payload.astype(float) ** 2).sum())
    return float(payload.sum()) ** 2 / (len(payload) * squares) if squares else 0.0


def _percentiles(histogram: np.ndarray) -> dict[str, float]:
    """Return percentiles of the write-to-acknowledgment latency in us: upper edges of histogram buckets, sixteen per octave."""
    total = int(histogram.sum())
    if total == 0:
        return {"p50": 0.0, "p90": 0.0, "p99": 0.0}
    cumulated = np.cumsum(histogram)
    edges = {}
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99)):
        bucket = int(np.searchsorted(cumulated, share * total))
        octave = max(0, bucket // LATENCY_BUCKETS_PER_OCTAVE - 1)
        edges[name] = float((bucket - octave * LATENCY_BUCKETS_PER_OCTAVE + 1) << octave)
    return edges
