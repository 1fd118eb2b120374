"""Turns counters before and after the measured interval into a result. Reads the state, never changes it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from netstack.sim.build.simulation import Simulation
from netstack.sim.engine.latency import LatencyHistogram
from netstack.sim.engine.measurement import Measurement
from netstack.sim.engine.result import LockStatistics, MissStatistics, Result
from netstack.sim.machine.numbers import Category, LockClass
from netstack.sim.stack.state import LATENCY_BUCKETS_PER_OCTAVE

_COPIED = ("core", "lock_class", "nic", "latency", "request_latency", "count", "llc_count")
_COUNTED = {"flow": "acked_bytes", "exchange": "read_bytes"}
"""The counter that is copied of each table with a record per connection, which is large."""
_MISSES = {"count": ("l1_misses", "l2_misses", "coherence_misses", "upgrades"), "llc_count": ("llc_misses",)}
"""Counters by core and structure, by their tables."""


@dataclass(frozen=True)
class Snapshot:
    """The counters at one moment."""

    tables: dict[str, Any]
    stack: np.ndarray


def snapshot(simulation: Simulation) -> Snapshot:
    """Copy the counters that a result is computed from."""
    tables: dict[str, Any] = {name: simulation.tables[name].copy() for name in _COPIED}
    counted = {name: {counter: simulation.tables[name][counter].copy()} for name, counter in _COUNTED.items()}
    return Snapshot(tables | counted, simulation.stack_table.copy())


def result_of(simulation: Simulation, before: Snapshot, measurement: Measurement, wall_seconds: float) -> Result:
    """Return the result of the interval from `before` to now.

    `wall_seconds` is the time that the whole simulation took.
    """
    config, machine = simulation.config, simulation.machine
    carried, warm_slices, slice_ms = measurement.carried, measurement.warm_slices, measurement.slice_ms
    after = snapshot(simulation)
    slices = len(carried) - 1
    simulated_ms = (slices - warm_slices) * slice_ms
    payload_bytes = carried[-1] - carried[warm_slices]
    kilobytes = max(payload_bytes / 1024, 1e-9)

    def difference(table: str, name: str) -> np.ndarray:
        return after.tables[table][name] - before.tables[table][name]

    def stack_difference(name: str) -> int:
        return int(after.stack[0][name] - before.stack[0][name])

    used = int(machine["cores_used"])
    cycles = difference("core", "cycles")[:used]
    per_core = [_by_category(row / kilobytes) for row in cycles]
    reads = bool(simulation.stack["streams"])
    segments = max(int(difference("nic", "frames_received").sum()) if reads else stack_difference("data_segments"), 1)
    counts = {
        name: difference(table, name)[: int(machine["cores"]) * len(simulation.structures)]
        .reshape(int(machine["cores"]), -1)
        .sum(axis=0)
        / kilobytes
        for table, names in _MISSES.items()
        for name in names
    }
    middle = warm_slices + (slices - warm_slices) // 2
    halves = np.array([carried[middle] - carried[warm_slices], carried[-1] - carried[middle]], float)
    halves_difference = float(abs(halves[0] - halves[1]) / max(halves.mean(), 1) * 100)
    to_mbps = 8 / 1000 / slice_ms
    answered = stack_difference("requests_answered")
    busy_cycles = int(cycles.sum() - cycles[:, Category.IDLE].sum())
    latency = LatencyHistogram.of_counts(difference("request_latency", "value"))
    total_segments = int(after.tables["nic"]["frames_received"].sum() if reads else simulation.stack["data_segments"])
    payload = (
        difference("exchange", "read_bytes") if reads else difference("flow", "acked_bytes")[: int(simulation.stack["clients"])]
    )
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
        lock=_lock_statistics(before, after, config.costs.declared_locks()),
        context_switches_per_segment=float(difference("core", "context_switches").sum() / segments),
        hand_offs_per_segment=stack_difference("hand_offs") / segments,
        ipis_per_segment=float(difference("core", "ipis_sent").sum() / segments),
        data_segments=stack_difference("data_segments"),
        retransmitted_segments=stack_difference("retransmitted_segments"),
        peer_retransmitted_segments=stack_difference("peer_retransmitted_segments"),
        retransmission_timeouts=stack_difference("timeouts"),
        interface_queue_drops=stack_difference("interface_queue_drops"),
        receive_ring_drops=int(difference("nic", "receive_drops").sum()),
        queue_drops=stack_difference("queue_drops"),
        connections_per_second=stack_difference("connections_closed") * 1000 / simulated_ms,
        connections_opened=stack_difference("connections_opened"),
        listen_drops=stack_difference("listen_drops"),
        lost_to_host=stack_difference("lost_to_host"),
        lost_to_peers=stack_difference("lost_to_peers"),
        stray_segments=stack_difference("stray_segments"),
        resets_sent=stack_difference("resets_sent"),
        jain_fairness=_jain(payload),
        requests_per_second=answered * 1000 / simulated_ms,
        request_us=latency.statistics_us(),
        kilocycles_per_request=busy_cycles / 1000 / answered if answered else 0.0,
        stall_kilocycles_per_request=_stalls(cycles) / 1000 / answered if answered else 0.0,
        request_histogram=latency.encode(),
        **_receiving(difference, simulated_ms),
        frames_per_aggregate=_per_packet(int(difference("nic", "frames_received").sum()), stack_difference("merged_frames")),
        core_imbalance=_imbalance(cycles.sum(axis=1) - cycles[:, Category.IDLE]),
        thread_connections=_thread_connections(simulation),
        write_to_ack_us=_percentiles(difference("latency", "value")),
        goodput_over_time_mbps=[round(float(step) * to_mbps, 3) for step in np.diff(carried)],
        slice_ms=slice_ms,
        warmup_ms=warm_slices * slice_ms,
        simulated_ms=simulated_ms,
        halves_difference_percent=halves_difference,
        steady=bool(halves_difference <= config.engine.steady_percent),
        wall_seconds=wall_seconds,
        wall_segments_per_second=total_segments / wall_seconds,
    )


def _receiving(difference: Callable[[str, str], np.ndarray], simulated_ms: float) -> dict[str, Any]:
    """Return what became of received frames, by the names of the statistics."""
    frames, polls = difference("nic", "frames_received"), int(difference("nic", "polls").sum())
    interrupts = int(difference("nic", "interrupts").sum())
    per_second = 1000 / simulated_ms
    return {
        "interrupts_per_second": interrupts * per_second,
        "frames_per_interrupt": float(frames.sum() / max(interrupts, 1)),
        "frames_per_poll": float(frames.sum() / polls) if polls else 0.0,
        "useful_polls_percent": 100 * float(difference("nic", "useful_polls").sum() / polls) if polls else 0.0,
        "queue_frames_per_second": [round(float(count) * per_second, 3) for count in frames],
        "queue_imbalance": _imbalance(frames),
    }


def _per_packet(frames: int, merged: int) -> float:
    """Return frames per packet, if so many were joined to others; 1 if there are none."""
    return frames / (frames - merged) if frames > merged else 1.0


def _imbalance(loads: np.ndarray) -> float:
    """Return the largest load by the mean, 0 if there is none."""
    return float(loads.max() / loads.mean()) if loads.any() else 0.0


def _thread_connections(simulation: Simulation) -> list[int]:
    """Return how many open connections each application thread has."""
    flows = simulation.tables["flow"][: int(simulation.stack["clients"])]
    threads = int(simulation.stack["app_threads"])
    return np.bincount(flows["app_thread"][flows["open"] == 1], minlength=threads).tolist()


def _stalls(cycles: np.ndarray) -> int:
    """Return the cycles in which cores executed nothing, though they were busy; shape (cores, categories)."""
    return int(cycles[:, [Category.CACHE_STALL, Category.LOCK_SPIN, Category.LOCK_ATOMIC]].sum())


def _by_category(values: np.ndarray) -> dict[str, float]:
    return {category.key: float(value) for category, value in zip(Category, values, strict=True)}


def _lock_statistics(before: Snapshot, after: Snapshot, declared: list[str]) -> dict[str, LockStatistics]:
    """Return the statistics of every lock class that was used, and of the locks that the costs file declares."""
    statistics = {}
    for index, name in enumerate((*LockClass.all_keys(), *declared)):
        old, new = before.tables["lock_class"][index], after.tables["lock_class"][index]
        change = {key: int(new[key] - old[key]) for key in new.dtype.names}
        acquisitions = change["acquisitions"]
        if acquisitions == 0:
            continue
        statistics[name] = LockStatistics(
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
