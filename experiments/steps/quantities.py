"""What is compared between neighbours: numbers per request, or per KB and segment where nobody makes requests.

Knows results, not what they belong to.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from netstack.sim import Result


@dataclass(frozen=True)
class Quantity:
    """A number of a result.

    Attributes:
        name: Of its column of values.
        label: In words.
        unit: Empty if it is a count.
        value: Reads it.
        relative: Changes are percentages. Else they are differences, for what may be 0.
        better: 1 if more is better, -1 if less is, 0 if neither.
    """

    name: str
    label: str
    unit: str
    value: Callable[[Result], float]
    relative: bool = True
    better: int = -1

    @property
    def change_unit(self) -> str:
        """The unit of a change."""
        return "%" if self.relative else self.unit

    def change(self, before: Result, after: Result) -> float | None:
        """Return what changed, in `change_unit`; None if that is a percentage of 0."""
        old, new = self.value(before), self.value(after)
        if not self.relative:
            return new - old
        return 100 * (new / old - 1) if old else None


def _per_request(per_second: Callable[[Result], float]) -> Callable[[Result], float]:
    return lambda result: per_second(result) / result.requests_per_second if result.requests_per_second else 0.0


def _segments_per_second(result: Result) -> float:
    return result.data_segments * 1000 / result.simulated_ms


def _kb_per_second(result: Result) -> float:
    return result.goodput_mbps * 1e6 / 8 / 1024


def _busy_cycles_per_kb(result: Result) -> float:
    return sum(cycles for category, cycles in result.cycles_per_kb.items() if category != "idle")


OF_REQUESTS = (
    Quantity("requests_per_second", "requests per second", "1/s", lambda result: result.requests_per_second, better=1),
    Quantity("p50_us", "median latency", "us", lambda result: result.request_us["p50"]),
    Quantity("p99_us", "99th percentile", "us", lambda result: result.request_us["p99"]),
    Quantity("kilocycles", "kilocycles per request", "", lambda result: result.kilocycles_per_request),
    Quantity(
        "l2_misses",
        "L2 misses per request",
        "",
        _per_request(lambda result: result.l2_misses_per_kb * _kb_per_second(result)),
    ),
    Quantity(
        "interrupts",
        "card's interrupts per request",
        "",
        _per_request(lambda result: result.interrupts_per_second),
        relative=False,
    ),
    Quantity(
        "ipis",
        "IPIs per request",
        "",
        _per_request(lambda result: result.ipis_per_segment * _segments_per_second(result)),
        relative=False,
    ),
    Quantity(
        "switches",
        "thread switches per request",
        "",
        _per_request(lambda result: result.context_switches_per_segment * _segments_per_second(result)),
        relative=False,
    ),
)
"""Of clients with requests."""
OF_STREAMS = (
    Quantity("goodput_mbps", "goodput", "Mb/s", lambda result: result.goodput_mbps, better=1),
    Quantity("p50_us", "median, write to ACK", "us", lambda result: result.write_to_ack_us["p50"]),
    Quantity("p99_us", "99th percentile", "us", lambda result: result.write_to_ack_us["p99"]),
    Quantity("cycles", "cycles per KB", "", _busy_cycles_per_kb),
    Quantity("l2_misses", "L2 misses per KB", "", lambda result: result.l2_misses_per_kb),
    Quantity(
        "interrupts",
        "card's interrupts per KB",
        "",
        lambda result: result.interrupts_per_second / max(_kb_per_second(result), 1e-9),
        relative=False,
    ),
    Quantity("ipis", "IPIs per segment", "", lambda result: result.ipis_per_segment, relative=False),
    Quantity("switches", "thread switches per segment", "", lambda result: result.context_switches_per_segment, relative=False),
)
"""Of everything else."""


def quantities_of(results: Sequence[Result]) -> tuple[Quantity, ...]:
    """Return what is compared: numbers per request if any were answered in all of the results."""
    return OF_REQUESTS if all(result.requests_per_second > 0 for result in results) else OF_STREAMS
