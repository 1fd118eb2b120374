"""CUBIC against the formulas of RFC 9438, computed with floating point here, and against numbers worked out by hand."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.tcp.cubic import cube_root, cubic_increase, cubic_reduce
from netstack.tcp.pcb import CUBIC
from tests.helpers.packet_trace import new_pcb

MSS, RTT_US = 1000, 100_000


def connection(cwnd_segments: int, max_segments: int = 0) -> tuple[Any, Any]:
    pcb, cold = new_pcb()
    pcb.congestion, pcb.mss, pcb.srtt_us = CUBIC, MSS, RTT_US
    pcb.snd_cwnd, cold.cubic_max_bytes = cwnd_segments * MSS, max_segments * MSS
    return pcb, cold


def grow(pcb: Any, until_us: int, start_us: int = 1_000_000) -> int:
    """Acknowledge a window each round trip, two segments at a time; return the window in bytes at `until_us` from the start."""
    now = start_us
    while now < start_us + until_us:
        window = int(pcb.snd_cwnd)
        acks = max(window // (2 * MSS), 1)
        for number in range(acks):
            pcb.snd_cwnd += cubic_increase(pcb, window // acks, now + number * RTT_US // acks)
        now += RTT_US
    return int(pcb.snd_cwnd)


@settings(deadline=None)
@given(st.integers(0, (1 << 62) - 1))
def test_the_cube_root_is_whole(value: int) -> None:
    root = int(cube_root(value))
    assert root**3 <= value < (root + 1) ** 3


def test_a_congestion_event_leaves_seven_tenths() -> None:
    """RFC 9438, section 4.6."""
    pcb, cold = connection(100)
    assert cubic_reduce(pcb, 1) == 70_000
    assert cold.cubic_max_bytes == 100_000


def test_an_event_below_the_last_maximum_makes_room_for_others() -> None:
    """Section 4.7, fast convergence: W_max = cwnd (1 + beta) / 2 = 50 * 0.85."""
    pcb, cold = connection(50, max_segments=100)
    assert cubic_reduce(pcb, 1) == 35_000
    assert cold.cubic_max_bytes == 42_500


def test_two_segments_are_the_least() -> None:
    assert cubic_reduce(connection(2)[0], 1) == 2 * MSS


@pytest.mark.parametrize("max_segments", [100, 400, 1000])
def test_the_window_comes_back_to_the_maximum_after_k(max_segments: int) -> None:
    """Section 4.2: K = cbrt((W_max - cwnd) / C) with C = 0.4, that is cbrt(0.3 W_max / 0.4) seconds."""
    k_s = (0.3 * max_segments / 0.4) ** (1 / 3)
    pcb, _ = connection(max_segments * 7 // 10, max_segments)
    assert grow(pcb, round(k_s * 1e6)) == pytest.approx(max_segments * MSS, rel=0.03)


def test_it_is_slow_near_the_maximum_and_fast_far_from_it() -> None:
    """W_cubic(t) = 0.4 (t - K)^3 + W_max: concave, then convex."""
    k_s = (0.3 * 1000 / 0.4) ** (1 / 3)
    windows = [grow(connection(700, 1000)[0], round(share * k_s * 1e6)) for share in (0.5, 0.9, 1.1, 1.5, 2.0)]
    expected = [(0.4 * (share * k_s - k_s) ** 3 + 1000) * MSS for share in (0.5, 0.9, 1.1, 1.5, 2.0)]
    assert windows == pytest.approx(expected, rel=0.03)


def test_with_small_windows_it_is_as_fast_as_reno() -> None:
    """Section 4.3: W_est grows by alpha = 9/17 of a segment each round trip, more than the cubic function does at first."""
    pcb, _ = connection(7, 10)
    assert grow(pcb, 20 * RTT_US) == pytest.approx((7 + 20 * 9 / 17) * MSS, rel=0.12)
