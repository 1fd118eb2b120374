"""Quantities, parts and claims are judged as computed by hand, and every verdict can come out."""

import pytest

from experiments.paper.verdicts import (
    Claim,
    Greater,
    Origin,
    Place,
    PointKey,
    Quantity,
    Verdict,
    Within,
    counts_by_origin,
    evaluate,
    places_of,
)
from netstack.sim import SimulationConfig

GOODPUT = Quantity("goodput", "Mb/s", (Place("up", 1, 6),), lambda result: result.goodput_mbps)
OTHER = Quantity("goodput", "Mb/s", (Place("msgp", 1, 6),), lambda result: result.goodput_mbps)
RATIO = Quantity("ratio", "1", (Place("msgp", 1, 6), Place("up", 1, 6)), lambda one, two: one.goodput_mbps / two.goodput_mbps)


def claim(*parts: Within | Greater, needed: int | None = None) -> Claim:
    return Claim(name="a", sentence="b", published="c", definition="d", parts=parts, needed=needed)


@pytest.fixture
def points(make_result):
    """Return a function that makes points from the goodputs of `up` and `msgp`, a value a seed."""

    def make(up: list[float], msgp: list[float]):
        return {
            PointKey(org, 6, 1, seed): make_result(value)
            for org, values in (("up", up), ("msgp", msgp))
            for seed, value in enumerate(values, start=1)
        }

    return make


def test_an_estimate(points) -> None:
    estimate = GOODPUT.estimate(points([100.0, 104.0], []))
    assert estimate is not None
    assert (estimate.mean, estimate.seeds) == (102.0, 2)
    assert estimate.half_width == pytest.approx(12.706 * 8**0.5 / 2**0.5)  # deviation sqrt(8), two seeds
    assert (estimate.low, estimate.high) == pytest.approx((102 - 25.412, 102 + 25.412))
    single = GOODPUT.estimate(points([100.0], []))
    assert single is not None
    assert (single.mean, single.half_width) == (100.0, 0.0)
    assert GOODPUT.estimate({}) is None


def test_a_quantity_of_two_places_pairs_seeds(points) -> None:
    made = points([100.0, 50.0, 10.0], [200.0, 150.0])
    assert RATIO.values(made) == [2.0, 3.0]
    assert RATIO.values(points([100.0], [])) == []
    assert Quantity("limit", "1", (), lambda: 7.0).values({}) == [7.0]


@pytest.mark.parametrize(("value", "verdict"), [(104.9, "holds"), (105.1, "fails"), (95.1, "holds"), (94.9, "fails")])
def test_a_number(value: float, verdict: str, points) -> None:
    outcome = Within(GOODPUT, 100.0, 5.0).judge(points([value], []))
    assert outcome.verdict == verdict
    assert outcome.error == pytest.approx(value - 100)


@pytest.mark.parametrize(
    ("up", "msgp", "verdict", "or_tie"),
    [
        ([100.0, 100.1], [90.0, 90.1], "holds", "holds"),
        ([100.0, 104.0], [99.0, 101.0], "undecided", "holds"),
        ([90.0, 90.1], [100.0, 100.1], "fails", "fails"),
        ([100.0], [], "not run", "not run"),
        ([], [100.0], "not run", "not run"),
    ],
)
def test_an_order(up: list[float], msgp: list[float], verdict: str, or_tie: str, points) -> None:
    made = points(up, msgp)
    assert Greater(GOODPUT, OTHER).judge(made).verdict == verdict
    assert Greater(GOODPUT, OTHER, tie_holds=True).judge(made).verdict == or_tie
    assert Greater(GOODPUT, OTHER).judge(made).error is None


GOOD, BAD = Within(GOODPUT, 100.0, 5.0), Within(GOODPUT, 200.0, 5.0)
OPEN = Greater(GOODPUT, Quantity("limit", "Mb/s", (), lambda: 100.0))
MISSING = Within(Quantity("x", "1", (Place("up", 1, 12),), lambda result: 1.0), 1.0, 1.0)


@pytest.mark.parametrize(
    ("parts", "needed", "verdict"),
    [
        ((GOOD, GOOD), None, "holds"),
        ((GOOD, BAD), None, "fails"),
        ((GOOD, BAD), 1, "holds"),
        ((BAD, BAD), 1, "fails"),
        ((GOOD, OPEN), None, "undecided"),
        ((GOOD, OPEN, BAD), 2, "undecided"),
        ((GOOD, MISSING), None, "not run"),
        ((BAD, MISSING), None, "fails"),
        ((GOOD, MISSING), 1, "holds"),
        ((MISSING, MISSING), 1, "not run"),
        ((OPEN, MISSING), None, "not run"),
    ],
)
def test_a_claim(parts: tuple, needed: int | None, verdict: str, points) -> None:
    (outcome,) = evaluate([claim(*parts, needed=needed)], points([100.0, 100.2], []))
    assert outcome.verdict == verdict
    assert sum(outcome.count(kind) for kind in Verdict) == len(parts)


def test_what_a_claim_says_of_itself() -> None:
    fitted, chosen = (Within(GOODPUT, 1.0, 1.0, origin) for origin in (Origin.FITTED, Origin.CHOSEN))
    cases = {
        (fitted, fitted): ("fitted", "fitted"),
        (chosen,): ("chosen", "chosen"),
        (GOOD, BAD): ("predicted", "predicted"),
        (fitted, GOOD, GOOD): ("chosen", "chosen (2 predicted, 1 fitted)"),
        (chosen, GOOD): ("chosen", "chosen (1 predicted, 1 chosen)"),
        (chosen, fitted): ("chosen", "chosen (1 chosen, 1 fitted)"),
    }
    assert {parts: (claim(*parts).origin, claim(*parts).origin_label) for parts in cases} == cases
    assert [claim(*parts).is_number for parts in ((GOOD,), (OPEN,))] == [True, False]
    assert places_of([claim(GOOD, Greater(RATIO, OTHER)), claim(MISSING)]) == [
        Place("msgp", 1, 6),
        Place("up", 1, 6),
        Place("up", 1, 12),
    ]


def test_counts_by_class() -> None:
    some = [(Origin.CHOSEN, True), (Origin.PREDICTED, False), (Origin.PREDICTED, True), (Origin.CHOSEN, True)]
    assert counts_by_origin(some) == "1 of 2 predicted, 2 of 2 chosen"


def test_a_kernel_with_lock_profiling_is_another_place(make_result) -> None:
    config = SimulationConfig(conns=6, seed=3)
    config.costs.lock_profiling = True
    key = PointKey.of(config)
    assert key.place == Place(config.org.name, config.org.groups, 6, profiled=True)
    assert key.place.label.endswith("at 6 with lock profiling")
    points = {PointKey("up", 6, 1, 1): make_result(100.0), PointKey("up", 6, 1, 1, True): make_result(20.0)}
    assert GOODPUT.values(points) == [100.0]
    profiled = Quantity("goodput", "Mb/s", (Place("up", 1, 6, True),), lambda result: result.goodput_mbps)
    assert profiled.values(points) == [20.0]


def test_the_key_of_a_configuration() -> None:
    assert PointKey.of(SimulationConfig(conns=24, seed=3)) == ("connp_l", 24, 128, 3, False)
