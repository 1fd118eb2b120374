"""Rows, null models and scores, against numbers computed by hand."""

from collections.abc import Callable
from dataclasses import astuple

import pytest

from experiments.paper.verdicts import Estimate
from experiments.published.figures import MOST, Given, Published, X
from experiments.published.score import Errors, Row, null_value, relative, rows, score, scores
from experiments.published.targets import Targets
from netstack.sim import Result

CONNECTIONS, INSTRUCTIONS = "connections_per_second", "instructions"
VARIANTS = ("old", "new", "other")
NULLS = [
    (CONNECTIONS, "old", 4, 400.0),  # 100 at one core, times four
    (CONNECTIONS, "new", 4, 440.0),  # from its own 110
    (CONNECTIONS, "other", 4, 400.0),  # has none: from the first variant that has one
    (CONNECTIONS, "new", MOST, 100.0),  # four is no number to multiply: as constant, of the first variant
    (INSTRUCTIONS, "old", 1, 30.0),
    (INSTRUCTIONS, "new", 2, 30.0),  # 2 is nearer to 1 than to 4
    (INSTRUCTIONS, "other", 4, 20.0),
    (INSTRUCTIONS, "other", MOST, 20.0),
    ("request_us.mean", "old", 1, None),
]


@pytest.mark.parametrize(("statistic", "variant", "x", "value"), NULLS)
def test_null_models(published: Published, statistic: str, variant: str, x: X, value: float | None) -> None:
    assert null_value(published, statistic, variant, x, VARIANTS, [1, 2, 4, MOST]) == value


def test_a_linear_null_model_begins_at_the_smallest_number(published: Published) -> None:
    published.given.append(Given("new", 4, CONNECTIONS, 400.0))
    assert null_value(published, CONNECTIONS, "new", 2, VARIANTS, [1, 2, 4]) == 220.0
    published.given = [Given("new", 4, CONNECTIONS, 400.0), Given("new", MOST, CONNECTIONS, 500.0)]
    assert null_value(published, CONNECTIONS, "old", 2, VARIANTS, [1, 2, 4]) == 200.0


def test_the_most_is_near_to_what_is_near_on_the_axis(published: Published) -> None:
    """The most lies at 1,200: 600 is nearer to 200, and 800 is nearer to the most."""
    places = [200, 400, 600, 800, 1000, MOST]
    published.given = [Given("old", 200, INSTRUCTIONS, 34.0), Given("old", MOST, INSTRUCTIONS, 24.0)]
    values = [null_value(published, INSTRUCTIONS, "new", x, VARIANTS, places) for x in places]
    assert values == [34.0, 34.0, 34.0, 24.0, 24.0, 24.0]


@pytest.fixture
def some(make_result: Callable[..., Result]) -> Callable[..., list[Result]]:
    """Return a function that makes a result per number of connections."""

    def make(*connections: float) -> list[Result]:
        results = [make_result() for _ in connections]
        for result, value in zip(results, connections, strict=True):
            result.connections_per_second = value
            result.request_us = {"mean": 50.0}
            result.kilocycles_per_request, result.stall_kilocycles_per_request = 70.0, 10.0
        return results

    return make


def test_a_row_per_figure_with_mean_interval_and_errors(published: Published, some: Callable[..., list[Result]]) -> None:
    series: dict[str, dict[X, list[Result]]] = {"old": {1: some(99.0, 101.0), 4: some(300.0, 310.0)}, "new": {4: some()}}
    targets: Targets = {("old", 4, CONNECTIONS): 250.0, ("new", 4, CONNECTIONS): 400.0, ("old", 1, CONNECTIONS): 100.0}
    found = rows(published, series, targets)
    assert [(row.statistic, row.variant, row.x) for row in found][:3] == [
        (CONNECTIONS, "old", 1),
        (CONNECTIONS, "old", 4),
        (CONNECTIONS, "new", 4),
    ]
    given, predicted, missing = found[:3]
    assert given.simulated is not None
    assert given.simulated.mean == 100.0
    assert given.simulated.half_width == pytest.approx(12.706, rel=1e-3)  # t of one degree of freedom, standard error 1
    assert (given.residual, given.is_predicted) == (0.0, False)
    assert predicted.error == pytest.approx(55 / 250)
    assert predicted.null_error == pytest.approx(150 / 250)
    assert (missing.simulated, missing.error, missing.is_predicted) == (None, None, False)
    assert missing.null_error == pytest.approx(0.1)
    instructions = found[3].simulated
    assert instructions is not None
    assert instructions.mean == 30.0  # (70 - 10) x 0.5


def predicted(variant: str, simulated: float, null: float | None, published: float, given: bool = False) -> Row:
    known = Given(variant, 1, CONNECTIONS, published) if given else None
    return Row(CONNECTIONS, variant, 1, known, Estimate(simulated, 0.0, 1), null, published)


def test_scores_are_means_and_medians_of_absolute_errors_of_what_was_not_given() -> None:
    found = [
        predicted("old", 110.0, 150.0, 100.0),  # +10 %, +50 %
        predicted("old", 70.0, 60.0, 100.0),  # -30 %, -40 %
        predicted("new", 102.0, None, 100.0),  # +2 %, no null model
        predicted("new", 900.0, 900.0, 100.0, given=True),
        predicted("new", 5.0, 5.0, 0.0),  # no relative error
    ]
    whole, old, new, connections = scores(found, {CONNECTIONS: "Connections", "none": "None"})
    assert (whole.scope, old.scope, new.scope, connections.scope) == ("all", "old", "new", "Connections")
    assert (whole.simulated.count, whole.simulated.mean, whole.simulated.median) == (3, pytest.approx(0.14), pytest.approx(0.1))
    assert whole.null is not None
    assert astuple(whole.null) == (2, pytest.approx(0.45), pytest.approx(0.45))
    assert whole.beside is not None
    assert astuple(whole.beside) == (2, pytest.approx(0.2), pytest.approx(0.2))
    assert old.simulated == whole.beside
    assert (new.simulated.count, new.null) == (1, None)


def test_without_anything_predicted_there_is_no_score() -> None:
    assert score("all", [predicted("old", 1.0, 1.0, 1.0, given=True)]) is None
    assert Errors.of([]) is None


def test_relative_errors_are_of_the_reference() -> None:
    assert relative(90.0, 100.0) == pytest.approx(-0.1)
    assert relative(-90.0, -100.0) == pytest.approx(0.1)
    assert relative(1.0, 0.0) is None
    assert relative(None, 1.0) is None
