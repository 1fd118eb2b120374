"""The layout of the compiled histogram against that of the published library."""

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram

from netstack.sim.engine.latency import LatencyHistogram
from netstack.sim.stack.histogram import BUCKETS, HIGHEST_NS, SIGNIFICANT_DIGITS, bucket_of_value

VALUES = (0, 1, 255, 256, 257, 511, 512, 513, 1023, 12_345, 999_999, 123_456_789, HIGHEST_NS - 1, HIGHEST_NS)


def library() -> HdrHistogram:
    return HdrHistogram(1, HIGHEST_NS, SIGNIFICANT_DIGITS)


def counted(values: list[int]) -> np.ndarray:
    counts = np.zeros(BUCKETS, np.int64)
    for value in values:
        counts[bucket_of_value(value)] += 1
    return counts


def test_the_layout_is_the_librarys() -> None:
    histogram = library()
    assert histogram.counts_len == BUCKETS
    random = np.random.default_rng(1)
    drawn = (2 ** random.uniform(0, 38, 2000)).astype(np.int64)
    for value in (*VALUES, *np.minimum(drawn, HIGHEST_NS).tolist()):
        lowest, highest = histogram.get_lowest_equivalent_value(value), histogram.get_highest_equivalent_value(value)
        assert bucket_of_value(lowest) == bucket_of_value(value) == bucket_of_value(highest)
        assert bucket_of_value(highest + 1) == bucket_of_value(value) + (highest < HIGHEST_NS)


def test_percentiles_are_those_of_the_values_within_one_percent() -> None:
    values = np.sort(np.random.default_rng(2).lognormal(12, 1, 20_000).astype(np.int64))
    statistics = LatencyHistogram.of_counts(counted(values.tolist())).statistics_us()
    assert statistics["mean"] == pytest.approx(values.mean() / 1000, rel=0.01)
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)):
        assert statistics[name] == pytest.approx(values[int(share * len(values)) - 1] / 1000, rel=0.01)
    assert statistics["max"] == pytest.approx(values[-1] / 1000, rel=0.01)


def test_the_text_form_merges_with_others_and_is_read_by_the_library() -> None:
    one, other = counted([1_000, 2_000, 3_000]), counted([4_000_000])
    texts = [LatencyHistogram.of_counts(counts).encode() for counts in (one, other)]
    merged = LatencyHistogram.merged([*texts, ""])
    assert merged.encode() == LatencyHistogram.of_counts(one + other).encode()
    assert library().decode(merged.encode().encode()).get_total_count() == 4


def test_nothing_counted_is_an_empty_text_and_zeros() -> None:
    empty = LatencyHistogram.of_counts(np.zeros(BUCKETS, np.int64))
    assert (empty.encode(), set(empty.statistics_us().values())) == ("", {0.0})
    assert LatencyHistogram.merged([""]).encode() == ""


def test_a_text_that_is_no_histogram_is_refused() -> None:
    with pytest.raises(ValueError, match="not a histogram: nonsense"):
        LatencyHistogram.merged(["nonsense"])
