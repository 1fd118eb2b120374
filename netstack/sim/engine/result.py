"""The result of a point: every statistic is declared once, with its unit and meaning.

`result.json`, MLflow metrics, tables and figures all follow from these declarations.
"""

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any


def _statistic(unit: str, meaning: str, **default: Any) -> Any:
    return field(metadata={"unit": unit, "meaning": meaning}, **default)


@dataclass(kw_only=True)
class LockStatistics:
    """The statistics of one class of locks over the measured interval."""

    acquisitions: int = _statistic("1", "acquisitions")
    not_immediate_percent: float = _statistic("%", "acquisitions that had to wait")
    wait_cycles: float = _statistic("cycles", "mean wait of an acquisition, waiting or not")
    hold_cycles: float = _statistic("cycles", "mean time held")
    sleeps: int = _statistic("1", "waits that slept because the owner did not run")


@dataclass(kw_only=True)
class MissStatistics:
    """Misses of one data structure per KB (1,024 bytes) of acknowledged payload."""

    l1_misses_per_kb: float = _statistic("1/KB", "accesses that left the L1")
    l2_misses_per_kb: float = _statistic("1/KB", "accesses that left the L2")
    coherence_misses_per_kb: float = _statistic("1/KB", "L2 misses on lines that another core wrote since")
    llc_misses_per_kb: float = _statistic(
        "1/KB", "L2 misses that left the group of cores with an LLC; 0 without one", default=0.0
    )


@dataclass(kw_only=True)
class Result:
    """The statistics of one simulated point. All are deterministic but `wall_*`, which depend on the host computer."""

    goodput_mbps: float = _statistic("Mb/s", "payload acknowledged, or read by applications that only read, per simulated time")
    utilization: float = _statistic("1", "share of cycles that were not idle, over all cores used")
    cycles_per_kb: dict[str, float] = _statistic("cycles/KB", "cycles of all cores per KB of payload, by category")
    core_cycles_per_kb: list[dict[str, float]] = _statistic("cycles/KB", "the same for each core")
    l1_misses_per_kb: float = _statistic("1/KB", "data accesses that left the L1, per KB of payload")
    l2_misses_per_kb: float = _statistic("1/KB", "data accesses that left the L2, per KB of payload")
    coherence_misses_per_kb: float = _statistic("1/KB", "L2 misses on lines that another core or a NIC wrote since")
    upgrades_per_kb: float = _statistic("1/KB", "writes to lines held shared")
    llc_misses_per_kb: float = _statistic(
        "1/KB", "L2 misses that left the group of cores with an LLC; 0 without one", default=0.0
    )
    misses: dict[str, MissStatistics] = _statistic("1/KB", "misses by data structure")
    lock: dict[str, LockStatistics] = _statistic("", "lock classes; `global` are the global TCP/IP locks")
    context_switches_per_segment: float = _statistic("1", "thread switches per data segment")
    hand_offs_per_segment: float = _statistic("1", "requests and packets left to whoever owns their connection per data segment")
    ipis_per_segment: float = _statistic("1", "interprocessor interrupts per data segment")
    data_segments: int = _statistic("1", "data segments sent in the measured interval")
    retransmitted_segments: int = _statistic("1", "data segments sent more than once")
    peer_retransmitted_segments: int = _statistic("1", "segments that peers sent more than once: payload, SYN or FIN")
    retransmission_timeouts: int = _statistic("1", "retransmission timer expiries")
    interface_queue_drops: int = _statistic("1", "segments refused by a full interface queue (ENOBUFS)")
    receive_ring_drops: int = _statistic("1", "frames lost because a receive ring was full")
    queue_drops: int = _statistic("1", "packets lost because an owner's message queue was full")
    connections_per_second: float = _statistic("1/s", "connections that ended, closed at both ends, per simulated second")
    connections_opened: int = _statistic("1", "connections that the host answered a SYN for")
    listen_drops: int = _statistic("1", "SYNs that a listening socket had no room for")
    lost_to_host: int = _statistic("1", "segments of peers that the network lost (`workload.loss`)")
    lost_to_peers: int = _statistic("1", "segments of the host that the network lost (`workload.loss`)")
    stray_segments: int = _statistic("1", "received segments of no connection, except SYNs that opened one")
    resets_sent: int = _statistic("1", "resets that answered such segments")
    jain_fairness: float = _statistic("1", "Jain's index of payload per connection")
    requests_per_second: float = _statistic("1/s", "responses that clients have completely, per simulated second")
    request_us: dict[str, float] = _statistic("us", "mean, percentiles and most of the time from a request's intended start")
    kilocycles_per_request: float = _statistic("1", "thousand cycles of all cores, without idle ones, per response")
    stall_kilocycles_per_request: float = _statistic("1", "of these, waits for caches and memory, and for locks")
    request_histogram: str = _statistic("ns", "all these times, in the text form of HdrHistogram; merges with others")
    interrupts_per_second: float = _statistic("1/s", "interrupts of receive queues, per simulated second")
    frames_per_interrupt: float = _statistic("1", "received frames per such interrupt")
    frames_per_poll: float = _statistic("1", "received frames per poll of a ring; 0 unless the organization polls")
    frames_per_aggregate: float = _statistic("1", "received frames per packet that the stack processed", default=1.0)
    useful_polls_percent: float = _statistic("%", "polls that found a frame; 0 unless the organization polls")
    queue_frames_per_second: list[float] = _statistic("1/s", "received frames of each receive queue, per simulated second")
    queue_imbalance: float = _statistic("1", "frames of the busiest receive queue by those of a mean one")
    core_imbalance: float = _statistic("1", "busy time of the busiest core by that of a mean one")
    thread_connections: list[int] = _statistic("1", "connections that each application thread has at the end")
    write_to_ack_us: dict[str, float] = _statistic("us", "percentiles p50, p90, p99 from write to acknowledgment, by page")
    goodput_over_time_mbps: list[float] = _statistic("Mb/s", "goodput of successive slices, warm-up included")
    slice_ms: float = _statistic("ms", "length of such a slice")
    warmup_ms: float = _statistic("ms", "simulated time before the measured interval")
    simulated_ms: float = _statistic("ms", "measured interval")
    halves_difference_percent: float = _statistic("%", "difference of goodput between the measured halves")
    steady: bool = _statistic("", "whether the halves agree within engine.steady_percent")
    wall_seconds: float = _statistic("s", "host time of the simulation, without compilation")
    wall_segments_per_second: float = _statistic("1/s", "data segments simulated per host second, warm-up included")

    def to_json(self) -> str:
        """Return the result as indented JSON with a trailing newline."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Result":
        """Read what `to_json` wrote. Raises ValueError, KeyError, TypeError or AttributeError for anything else."""
        values = json.loads(text)
        for declared in dataclasses.fields(cls):
            value = values[declared.name]
            if declared.type in (float, int, bool) and not (isinstance(value, float | int) and math.isfinite(value)):
                raise ValueError(f"{declared.name} must be a number, and is {value!r}")
        values["misses"] = {name: MissStatistics(**row) for name, row in values["misses"].items()}
        values["lock"] = {name: LockStatistics(**row) for name, row in values["lock"].items()}
        return cls(**values)

    def metrics(self) -> dict[str, float]:
        """Return the statistics as flat metrics, named ``statistic``, ``statistic/part`` or ``lock/class/statistic``.

        Those of last-level caches are left out if there is none.
        """
        flat: dict[str, float] = {}
        for name, value in vars(self).items():
            if isinstance(value, bool | int | float):
                flat[name] = float(value)
            elif name == "misses":
                for structure, row in value.items():
                    flat.update({f"{statistic}/{structure}": number for statistic, number in vars(row).items()})
            elif name == "lock":
                for lock_class, row in value.items():
                    flat.update({f"lock/{lock_class}/{statistic}": float(number) for statistic, number in vars(row).items()})
            elif isinstance(value, dict):
                flat.update({f"{name}/{part}": float(number) for part, number in value.items()})
        if self.llc_misses_per_kb == 0:
            flat = {name: value for name, value in flat.items() if not name.startswith("llc_misses_per_kb")}
        return flat
