"""Lists of sequence ranges against sets of numbers."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.tcp.ranges import drop_ranges_below, find_range, insert_range

MODULUS = 1 << 32
PLACES = 6
bases = st.integers(0, MODULUS - 1) | st.integers(MODULUS - 60, MODULUS - 1)
inserted = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12)), max_size=12)


def members(starts: np.ndarray, ends: np.ndarray, count: int, base: int) -> list[set[int]]:
    edges = zip(starts[:count].tolist(), ends[:count].tolist(), strict=True)
    return [set(range((start - base) % MODULUS, (end - base) % MODULUS)) for start, end in edges]


def build(base: int, pieces: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray, int, set[int]]:
    starts, ends, count, expected = np.zeros(PLACES, np.int64), np.zeros(PLACES, np.int64), 0, set()
    for start, length in pieces:
        new = set(range(start, start + length))
        count = int(insert_range(starts, ends, count, (base + start) % MODULUS, (base + start + length) % MODULUS))
        found = members(starts, ends, count, base)
        held = set().union(*found)
        assert held in (expected | new, expected)
        if held == expected and not new <= expected:
            assert count == PLACES, "a range was forgotten though there was room"
        expected = held
    return starts, ends, count, expected


@settings(deadline=None)
@given(bases, inserted)
def test_ranges_are_the_union_of_what_was_inserted(base: int, pieces: list[tuple[int, int]]) -> None:
    starts, ends, count, _ = build(base, pieces)
    found = members(starts, ends, count, base)
    for left, right in pairwise(found):
        assert max(left) + 1 < min(right), "ascending, and merged where they touch"


@settings(deadline=None)
@given(bases, inserted, st.integers(0, 80))
def test_a_number_is_found_in_its_range_only(base: int, pieces: list[tuple[int, int]], number: int) -> None:
    starts, ends, count, held = build(base, pieces)
    index = int(find_range(starts, ends, count, (base + number) % MODULUS))
    assert (index >= 0) == (number in held)
    assert index < 0 or number in members(starts, ends, count, base)[index]


@settings(deadline=None)
@given(bases, inserted, st.integers(0, 80))
def test_what_lies_below_is_dropped_and_nothing_else(base: int, pieces: list[tuple[int, int]], number: int) -> None:
    starts, ends, count, held = build(base, pieces)
    left = int(drop_ranges_below(starts, ends, count, (base + number) % MODULUS))
    assert set().union(*members(starts, ends, left, base)) == {value for value in held if value >= number}
