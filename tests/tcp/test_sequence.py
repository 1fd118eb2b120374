"""Sequence numbers against integers modulo 2**32 (RFC 9293, section 3.4)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.tcp.sequence import seq_add, seq_geq, seq_gt, seq_leq, seq_lt, seq_sub

MODULUS = 1 << 32
HALF = 1 << 31
numbers = st.integers(0, MODULUS - 1) | st.sampled_from([0, 1, HALF - 1, HALF, HALF + 1, MODULUS - 1])
distances = st.integers(1 - HALF, HALF - 1) | st.sampled_from([0, 1, -1, HALF - 1, 1 - HALF])


@settings(deadline=None)
@given(numbers, st.integers(-MODULUS, MODULUS))
def test_addition_is_modulo_2_to_the_32(a: int, n: int) -> None:
    assert seq_add(a, n) == (a + n) % MODULUS


@settings(deadline=None)
@given(numbers, distances)
def test_distance_is_what_was_added(a: int, n: int) -> None:
    assert seq_sub((a + n) % MODULUS, a) == n


@settings(deadline=None)
@given(numbers, distances)
def test_order_is_the_sign_of_the_distance(a: int, n: int) -> None:
    b = (a + n) % MODULUS
    assert (seq_lt(b, a), seq_leq(b, a), seq_gt(b, a), seq_geq(b, a)) == (n < 0, n <= 0, n > 0, n >= 0)


@settings(deadline=None)
@given(numbers)
def test_the_opposite_number_is_before(a: int) -> None:
    """At a distance of 2**31 the order is not defined; the distance stays in the range of a 32-bit integer."""
    assert seq_sub((a + HALF) % MODULUS, a) == -HALF


@pytest.mark.parametrize(("before", "after"), [(MODULUS - 1, 0), (MODULUS - 1000, 1000), (HALF - 1, HALF), (1, HALF)])
def test_order_across_the_wrap(before: int, after: int) -> None:
    assert seq_lt(before, after)
    assert seq_gt(after, before)
    assert not seq_lt(after, before)
    assert not seq_geq(before, after)
