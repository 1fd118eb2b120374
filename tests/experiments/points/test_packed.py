"""Outcomes that are packed come back as they were, and are small meanwhile."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.points.packed import PackedOutcomes
from experiments.points.point import Outcome
from netstack.sim import Result
from tests.helpers.outcomes import outcomes

POINTS = 200
MOST_BYTES = 6000  # of a packed outcome; its result takes 20,000


def test_they_come_back_as_they_were_in_the_order_of_points(result: Result, composed, tmp_path: Path) -> None:
    made = outcomes(result, [composed("conns=6", f"seed={seed}") for seed in (1, 2, 3)], tmp_path)
    made[1] = Outcome(made[1].point, None, "ValueError: made up", "all of it")
    made[2] = replace(made[2], done_before=True)
    packed = PackedOutcomes()
    for outcome in made:
        packed.add(outcome)
    back = packed.of(outcome.point for outcome in reversed(made))
    assert back == made[::-1]
    assert [outcome.result is None or outcome.result.to_json() for outcome in back] == [
        outcome.result is None or outcome.result.to_json() for outcome in made[::-1]
    ]


def test_a_point_without_an_outcome_is_an_error(result: Result, composed, tmp_path: Path) -> None:
    (outcome,) = outcomes(result, [composed("conns=6")], tmp_path)
    with pytest.raises(KeyError):
        PackedOutcomes().of([outcome.point])


def test_they_are_small(result: Result, composed, tmp_path: Path) -> None:
    """A driver keeps all of a sweep."""
    (outcome,) = outcomes(result, [composed("conns=6")], tmp_path)
    points = [replace(outcome.point, config=replace(outcome.point.config, seed=seed)) for seed in range(POINTS)]
    text = result.to_json()
    for point in points:
        assert point.fingerprint  # which a point keeps
    tracemalloc.start()
    try:
        packed = PackedOutcomes()
        for point in points:
            packed.add(Outcome(point, Result.from_json(text)))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept / POINTS < MOST_BYTES
