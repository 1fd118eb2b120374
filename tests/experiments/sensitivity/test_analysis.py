"""Margins, verdicts and survival from made-up results."""

import dataclasses
from pathlib import Path

import pytest

from experiments.paper.claims import CLAIMS
from experiments.paper.grid import CONNP_L, MSGP, UP
from experiments.paper.quantities import contention, goodput
from experiments.paper.verdicts import Greater, Place, Quantity, Verdict, Within
from experiments.sensitivity.analysis import Sensitivity, judged, load_sensitivity, restricted, survival
from tests.helpers.sensitivity import NUMBER, ORDER, MakeResult, Points, claim_of, points_of


@pytest.mark.parametrize(
    ("msgp", "value", "verdict"),
    [
        ((4100, 4300), 200, Verdict.HOLDS),
        ((4100, 3900), 0, Verdict.UNDECIDED),
        ((3900, 3700), -200, Verdict.FAILS),
        ((4000, 4000), 0, Verdict.FAILS),
    ],
)
def test_an_order_is_judged_by_its_least_margin(
    msgp: tuple[float, ...], value: float, verdict: Verdict, make_result: MakeResult
) -> None:
    points = points_of(make_result, {UP: (4000, 4000), MSGP: msgp, CONNP_L: (5000, 5000)})
    found = judged(ORDER, points)
    assert found.value == pytest.approx(value, abs=1e-6)
    assert found.verdict is verdict
    assert found.decisive == "goodput of msgp at 6 above goodput of up at 6"


def test_seeds_are_compared_one_by_one(make_result: MakeResult) -> None:
    """A difference that every seed has is seen, even where seeds differ by more."""
    points = points_of(make_result, {UP: (3000, 5000), MSGP: (3001, 5001), CONNP_L: (6000, 6000)})
    assert judged(ORDER, points).verdict is Verdict.HOLDS


def test_a_load_with_one_seed_is_compared_with_all_of_another(make_result: MakeResult) -> None:
    claim = claim_of(Greater(goodput(UP, 6), goodput(UP, 16384)))
    points = points_of(make_result, {UP: (4000, 4100)}) | points_of(make_result, {UP: (2000,)}, 16384)
    assert judged(claim, points).value == pytest.approx(2050)


def test_a_tie_is_no_order_but_enough_for_one_that_must_not_be_reversed(make_result: MakeResult) -> None:
    points = points_of(make_result, {UP: (4000, 4000), MSGP: (3900, 4000)})
    part = Greater(goodput(MSGP, 6), goodput(UP, 6))
    assert judged(claim_of(part), points).verdict is Verdict.FAILS
    assert judged(claim_of(dataclasses.replace(part, tie_holds=True)), points).verdict is Verdict.HOLDS


@pytest.mark.parametrize(("needed", "value", "verdict"), [(1, 1000, "holds"), (2, -100, "fails"), (None, -100, "fails")])
def test_a_claim_that_need_not_hold_everywhere(needed: int | None, value: float, verdict: str, make_result: MakeResult) -> None:
    points = points_of(make_result, {UP: (4000,), MSGP: (3900,), CONNP_L: (5000,)})
    found = judged(dataclasses.replace(ORDER, needed=needed), points)
    assert (found.value, found.verdict) == (value, verdict)


def test_a_published_number(make_result: MakeResult) -> None:
    for values, verdict in (((3900.0, 3950.0), "holds"), ((3700.0, 3800.0), "fails"), ((3700.0, 4300.0), "holds")):
        found = judged(NUMBER, points_of(make_result, {UP: values}))
        assert (found.value, found.verdict) == (sum(values) / 2, verdict)
    several = claim_of(Within(goodput(UP, 6), 4000, 200), Within(goodput(MSGP, 6), 4000, 200))
    found = judged(several, points_of(make_result, {UP: (3900,), MSGP: (4150,)}))
    assert (found.value, found.decisive) == (pytest.approx(0.25), "goodput of msgp at 6")


def test_a_claim_is_restricted_to_what_was_simulated() -> None:
    loads = (6, 12, 24, 48)
    parts = tuple(Greater(goodput(MSGP, load), goodput(UP, load)) for load in loads)
    claim = dataclasses.replace(claim_of(*parts), needed=3)
    places = frozenset(Place(*organization, load) for organization in (UP, MSGP) for load in (6, 24, 48))
    part = restricted(claim, places)
    assert part is not None
    assert part.parts == (parts[0], parts[2], parts[3])
    assert part.needed == 2
    assert restricted(claim, frozenset({Place(*UP, 6)})) is None


def test_survival_names_the_changes_that_break_a_claim(sensitivity: Sensitivity) -> None:
    rows = {row.claim: row for row in survival(sensitivity)}
    assert rows["made up"].broken_by == ("locks +",)
    assert {name: row.survives for name, row in rows.items()} == {"made up": False, "number": True, "wrong": False, "firm": True}
    assert rows["wrong"].verdict is Verdict.FAILS
    assert rows["wrong"].broken_by == ()
    assert rows["firm"].changes == 42


def test_what_is_written_can_be_read(sensitivity: Sensitivity, tmp_path: Path) -> None:
    (tmp_path / "sensitivity.json").write_text(sensitivity.to_json())
    read = load_sensitivity(tmp_path / "sensitivity.json")
    assert read == sensitivity
    assert survival(read) == survival(sensitivity)


def test_the_published_world_holds(published_world: Points) -> None:
    """Judged seed by seed, as when judged by intervals, everything is as published where it is."""
    for claim in CLAIMS:
        assert judged(claim, published_world).verdict is Verdict.HOLDS, claim.name
    quantity: Quantity = contention(MSGP, 6)
    assert quantity.values(published_world) == [89.0] * 3
