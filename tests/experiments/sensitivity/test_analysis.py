"""Margins, verdicts and survival from made-up results, and the figures of them."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from matplotlib.patches import Rectangle

from experiments.paper.claims import CLAIMS, CONNP_L, MSGP, UP, contention, goodput
from experiments.paper.verdicts import Claim, Greater, Place, PointKey, Quantity, Verdict, Within
from experiments.sensitivity.analysis import Sensitivity, judged, load_sensitivity, restricted, sensitivity_of, survival
from experiments.sensitivity.tornado import LONGEST, tornado_figure
from netstack.sim import Result

MakeResult = Callable[..., Result]
Points = dict[PointKey, Result]


def points_of(make: MakeResult, goodputs: Mapping[tuple[str, int], tuple[float, ...]], load: int = 6) -> Points:
    """Return points with a goodput a seed for each organization."""
    return {
        PointKey(org, load, groups, seed): make(value)
        for (org, groups), values in goodputs.items()
        for seed, value in enumerate(values, 1)
    }


def claim_of(*parts: Greater | Within, needed: int | None = None) -> Claim:
    return Claim(name="made up", sentence="", published="", definition="", parts=parts, needed=needed)


ORDER = claim_of(Greater(goodput(CONNP_L, 6), goodput(UP, 6)), Greater(goodput(MSGP, 6), goodput(UP, 6)))
NUMBER = claim_of(Within(goodput(UP, 6), 4000, 200))


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


@pytest.fixture
def sensitivity(make_result: MakeResult) -> Sensitivity:
    """Costs that move msgp from above up to below it when raised, others that do nothing, and claims that see it or not."""
    before = points_of(make_result, {UP: (4000, 4010), MSGP: (4100, 4120), CONNP_L: (5000, 5010)})
    worse = points_of(make_result, {UP: (3900, 3910), MSGP: (3700, 3720), CONNP_L: (4800, 4810)})
    better = points_of(make_result, {UP: (4100, 4110), MSGP: (4500, 4520), CONNP_L: (5200, 5210)})
    after = {("locks", True): worse, ("locks", False): better}
    after |= {(f"idle_{number}", raised): before for number in range(20) for raised in (False, True)}
    reversed_order = dataclasses.replace(claim_of(Greater(goodput(UP, 6), goodput(CONNP_L, 6))), name="wrong")
    firm = dataclasses.replace(claim_of(Greater(goodput(CONNP_L, 6), goodput(UP, 6))), name="firm")
    claims = (ORDER, dataclasses.replace(NUMBER, name="number"), reversed_order, firm)
    parameters = {name: ["some.key"] for name, _ in after}
    made = tuple(sensitivity_of(claim, claim, before, after) for claim in claims)
    return Sensitivity(20, (1, 2), 99, parameters, {"model.version": "0"}, made)


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


@pytest.mark.parametrize("name", ["made up", "number", "wrong"])
def test_a_tornado(name: str, sensitivity: Sensitivity) -> None:
    figure = tornado_figure(sensitivity, name)
    (axes,) = figure.axes
    claim = sensitivity.claim(name)
    boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    bars = [(box.get_x(), box.get_x() + box.get_width()) for box in boxes if 0 < box.get_height() < 0.9]
    assert len(bars) == 2 * LONGEST
    assert next(label.get_text() for label in axes.get_yticklabels()) == "locks"
    lowered = next(e.judgement.value for e in claim.effects if e.parameter == "locks" and not e.raised)
    assert bars[0] == pytest.approx((claim.before.value, lowered))
    assert "6 others move it less" in axes.get_xlabel()
    left, right = axes.get_xlim()
    assert left <= claim.low <= right
    plt.close(figure)


def test_the_published_world_holds(published_world: Points) -> None:
    """Judged seed by seed, as when judged by intervals, everything is as published where it is."""
    for claim in CLAIMS:
        assert judged(claim, published_world).verdict is Verdict.HOLDS, claim.name
    quantity: Quantity = contention(MSGP, 6)
    assert quantity.values(published_world) == [89.0] * 3
