"""Histograms of latencies as HdrHistogram has them: percentiles, and a text form that other histograms merge with.

Compiled code counts in the library's own layout, see `netstack.sim.stack.histogram`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from netstack.sim.stack.histogram import HIGHEST_NS, SIGNIFICANT_DIGITS

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9}


def _empty() -> Any:
    from hdrh.histogram import HdrHistogram  # slow to import, and needed at the end of a simulation only

    return HdrHistogram(1, HIGHEST_NS, SIGNIFICANT_DIGITS)


@dataclass(frozen=True)
class LatencyHistogram:
    """A histogram of latencies in ns; `histogram` is one of the library, None if nothing was counted."""

    histogram: Any

    @classmethod
    def of_counts(cls, counts: np.ndarray) -> "LatencyHistogram":
        """Return the histogram of counts by bucket; shape (BUCKETS,)."""
        if not counts.any():
            return cls(None)
        histogram = _empty()
        for bucket in np.flatnonzero(counts):
            histogram.record_value(histogram.get_value_from_index(int(bucket)), int(counts[bucket]))
        return cls(histogram)

    @classmethod
    def merged(cls, texts: list[str]) -> "LatencyHistogram":
        """Return the sum of histograms in their text form. Raises ValueError if a text is none."""
        histogram = _empty()
        try:
            for text in filter(None, texts):
                histogram.decode_and_add(text.encode())
        except Exception as error:  # the library's own kinds have no common one
            raise ValueError(f"not a histogram: {text[:40]}") from error
        return cls(histogram if histogram.get_total_count() else None)

    def encode(self) -> str:
        """Return the text form, empty if nothing was counted."""
        return self.histogram.encode().decode() if self.histogram is not None else ""

    def statistics_us(self) -> dict[str, float]:
        """Return mean, percentiles and the largest latency in us, each within 1 %; zeros if nothing was counted."""
        if self.histogram is None:
            return dict.fromkeys(("mean", *PERCENTILES, "max"), 0.0)
        at = {name: self.histogram.get_value_at_percentile(percentile) for name, percentile in PERCENTILES.items()}
        values = {"mean": self.histogram.get_mean_value(), **at, "max": self.histogram.get_max_value()}
        return {name: round(value / 1000, 3) for name, value in values.items()}
