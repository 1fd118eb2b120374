"""The fit finds known parameters of an analytic model, stays in its bounds, and says what the targets do not tell."""

import math
from collections.abc import Callable

import pytest

from experiments.calibrate.fit import FitError, Model, Parameter, Target, fit

TARGETS = (
    Target("goodput", "Mb/s", 4034.0, 200.0),
    Target("parallel", "Mb/s", 5440.0, 160.0),
    Target("misses", "1/KB", 4.08, 0.6),
)
CYCLES, TRANSFER, LINES = Parameter("cycles", 900, 300, 3000), Parameter("transfer", 200, 50, 800), Parameter("lines", 40, 4, 400)


def server(cycles: float, transfer: float, lines: float) -> tuple[float, float, float]:
    """A server's goodput on one and on four processors, and its misses, in closed form."""
    return 4e6 / (cycles + 0.5 * lines), 1.6e7 / (cycles + lines + 8 * transfer), 0.05 * lines


def counted(model: Callable[..., tuple[float, ...]]) -> tuple[Model, list[tuple[float, ...]]]:
    asked: list[tuple[float, ...]] = []

    def evaluate(values: tuple[float, ...]) -> tuple[float, ...]:
        asked.append(values)
        return model(*values)

    return evaluate, asked


def published(*values: float) -> list[Target]:
    return [Target(t.name, t.unit, value, t.tolerance) for t, value in zip(TARGETS, server(*values), strict=True)]


@pytest.mark.parametrize("true", [(960.0, 240.0, 80.0), (700.0, 300.0, 20.0), (1500.0, 150.0, 60.0)])
def test_known_parameters_are_recovered(true: tuple[float, ...]) -> None:
    model, asked = counted(server)
    found = fit(model, [CYCLES, TRANSFER, LINES], published(*true), 0.04)
    assert found.values == pytest.approx(true, rel=5e-3)
    assert found.determined_by == ("goodput", "parallel", "misses")
    assert found.warnings == ()
    assert found.evaluations == len(asked) == len(set(asked)) < 60
    assert found.simulated == pytest.approx([target.published for target in published(*true)], rel=1e-3)


def test_noise_of_a_percent_moves_parameters_by_little() -> None:
    def noisy(*values: float) -> tuple[float, ...]:
        wave = [math.sin(1e4 * math.log(value)) for value in values]
        return tuple(exact * (1 + 0.01 * ripple) for exact, ripple in zip(server(*values), wave, strict=True))

    model, _ = counted(noisy)
    assert fit(model, [CYCLES, TRANSFER, LINES], published(960, 240, 80), 0.04).values == pytest.approx((960, 240, 80), rel=0.06)


def test_bounds_are_kept_and_a_parameter_that_ends_there_is_named() -> None:
    model, asked = counted(server)
    narrow = Parameter("cycles", 900, 850, 930)
    found = fit(model, [narrow, TRANSFER, LINES], published(1200, 240, 80), 0.04)
    assert found.values[0] == pytest.approx(930, rel=0.005)
    assert all(850 * (1 - 1e-5) <= values[0] <= 930 * (1 + 1e-5) for values in asked)
    assert "cycles ends at a bound" in " ".join(found.warnings)


def test_a_fit_from_its_own_result_changes_nothing() -> None:
    model, _ = counted(lambda cycles, transfer: server(cycles, transfer, 40))
    truth = published(960, 240, 40)
    first = fit(model, [CYCLES, TRANSFER], truth, 0.04)
    starts = zip((CYCLES, TRANSFER), first.values, strict=True)
    again = fit(model, [Parameter(one.name, value, one.low, one.high) for one, value in starts], truth, 0.04)
    assert again.values == first.values


def test_elasticities_are_those_of_the_model() -> None:
    model, _ = counted(lambda a, b: (a**-0.9, a**-0.5 * b**-0.7, b**0.0))
    targets = [Target("first", "", 0.1, 0.01), Target("second", "", 0.02, 0.001), Target("third", "", 1.5, 0.1)]
    found = fit(model, [Parameter("a", 10, 1, 100), Parameter("b", 20, 1, 400)], targets, 0.04)
    for row, exact in zip(found.elasticities, [(-0.9, 0.0), (-0.5, -0.7), (0.0, 0.0)], strict=True):
        assert row == pytest.approx(exact, abs=2e-3)
    assert found.warnings == ("no parameter moves third: it is not fitted, whatever it is",)


def test_a_parameter_without_influence_is_refused() -> None:
    model, asked = counted(lambda cycles, idle: server(cycles, 240, 80))
    with pytest.raises(FitError, match="idle: has no influence on any target"):
        fit(model, [CYCLES, Parameter("idle", 5, 1, 10)], TARGETS, 0.04)
    assert len(asked) == 4


def test_parameters_that_do_the_same_are_named() -> None:
    model, _ = counted(lambda cycles, memory: server(cycles + memory, 240, 80))
    found = fit(model, [CYCLES, Parameter("memory", 200, 50, 500)], TARGETS, 0.04)
    assert "cycles and memory move the targets alike (cosine 1.00)" in " ".join(found.warnings)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ([], "none are given"),
        ([Parameter(f"p{number}", 2, 1, 3) for number in range(4)], "4 cannot be determined by 3 targets"),
        ([Parameter("cycles", 900, 1000, 2000)], "cycles: starts at 900, outside its bounds 1000 to 2000"),
        ([Parameter("cycles", 900, 900, 900)], "outside its bounds"),
        ([Parameter("cycles", 0, 0, 900)], "outside its bounds"),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_a_line(parameters: list[Parameter], message: str) -> None:
    with pytest.raises(FitError, match=message):
        fit(lambda _: pytest.fail("evaluated"), parameters, TARGETS, 0.04)
