"""The search finds what is known of closed forms, within bounds, and says how near it came."""

import math
from collections.abc import Callable

import pytest

from experiments.published.fit import least_squares_factor
from experiments.published.solve import Goal, solve


def test_two_coupled_parameters_are_found() -> None:
    """Cycles are scale x (10 + interrupt / 1000), and interrupts scale the first by a little: 1.5 and 6,000 give 24 and 1.56."""

    def evaluate(index: int, values: tuple[float, ...]) -> float:
        scale, interrupt = values
        return scale * (10 + interrupt / 1000) if index else scale * (1 + 0.04 * interrupt / 6000)

    goals = [Goal("scale", 1.0, 0.5, 4.0, 1.56), Goal("interrupt", 4000.0, 100.0, 40000.0, 24.0, whole=True)]
    found = solve(evaluate, goals, tolerance=0.0005, rounds=6)
    assert found.values == pytest.approx((1.5, 6000.0), rel=2e-3)
    assert found.residuals(goals) == pytest.approx([0.0, 0.0], abs=5e-4)
    assert found.values[1] == round(found.values[1])
    assert found.evaluations <= 30


@pytest.mark.parametrize(
    ("curve", "root"),
    [(lambda x: 300 / x, 6.0), (lambda x: 40 + math.log10(x) * 10, 10.0), (lambda x: 100 / (1 + math.exp(3 - x)), 3.0)],
    ids=["falling", "flat", "bend"],
)
def test_a_curve_is_followed_to_its_root(curve: Callable[[float], float], root: float) -> None:
    goal = Goal("x", 1.0, 0.1, 100.0, 50.0)
    found = solve(lambda _, values: curve(values[0]), [goal], tolerance=0.002, rounds=1)
    assert curve(found.values[0]) == pytest.approx(50.0, rel=0.002)
    assert found.values[0] == pytest.approx(root, rel=0.05)


def test_what_is_met_from_the_beginning_is_left_as_it_is() -> None:
    found = solve(lambda _, values: 10 * values[0], [Goal("x", 1.2345678, 0.5, 4.0, 12.34)])
    assert (found.values, found.evaluations) == ((1.2345678,), 1)


def test_a_goal_out_of_reach_ends_at_the_bound() -> None:
    goal = Goal("x", 1.0, 0.5, 4.0, 100.0)
    found = solve(lambda _, values: 10 * values[0], [goal])
    assert found.values == (4.0,)
    assert found.residuals([goal]) == [pytest.approx(-0.6)]


def test_a_parameter_without_influence_stays() -> None:
    goals = [Goal("x", 2.0, 0.5, 4.0, 12.0)]
    found = solve(lambda _, values: 10.0, goals)
    assert found.values == (2.0,)
    assert found.residuals(goals) == [pytest.approx(-1 / 6)]


def test_a_factor_has_the_least_squares_of_relative_residuals() -> None:
    simulated, given = [30.0, 20.0], [33.0, 24.0]
    factor = least_squares_factor(simulated, given)
    squares = [
        sum((each * value / wanted - 1) ** 2 for value, wanted in zip(simulated, given, strict=True))
        for each in (0.999 * factor, factor, 1.001 * factor)
    ]
    assert squares[1] == min(squares)
    assert least_squares_factor([10.0], [12.0]) == pytest.approx(1.2)
