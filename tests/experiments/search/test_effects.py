"""Effects of choices against functions whose effects are known, and fronts against the definition."""

import random

import pytest

from experiments.search.effects import implied_choices, main_effects, pair_effects, pareto_front
from experiments.search.space import Space, space_of

FREE = {"placement": ("pinned", "free"), "scheduler": ("bsd4", "ule"), "groups": (4, 8, 16)}
GAIN = {"pinned": 0.0, "free": 100.0, "bsd4": 0.0, "ule": -30.0, 4: 0.0, 8: 7.0, 16: 20.0}


@pytest.fixture
def space(composed) -> Space:
    return space_of(composed("org=connp_l"), FREE)


def test_effects_of_a_sum_are_its_parts(space: Space) -> None:
    values = {index: sum(GAIN[value] for value in row) for index, row in enumerate(space.compositions)}
    found = {(effect.choice, effect.value): effect for effect in main_effects(space, values)}
    assert found["placement", "free"].mean == pytest.approx(100)
    assert found["placement", "pinned"].mean == pytest.approx(-100)
    assert found["scheduler", "ule"].least == pytest.approx(-30)
    assert found["groups", 16].mean == pytest.approx((20 + 13) / 2)  # in place of 4 and of 8
    assert (found["groups", 8].least, found["groups", 8].most) == (pytest.approx(-13), pytest.approx(7))
    assert found["groups", 8].pairs == 2 * 2 * 2
    assert all(effect.needs == () for effect in found.values())
    assert pair_effects(space, values) == pytest.approx(
        {("placement", "scheduler"): 0, ("placement", "groups"): 0, ("scheduler", "groups"): 0}, abs=1e-9
    )


def test_a_product_is_no_sum(space: Space) -> None:
    """5 more where both are so: the four corners are 0, 0, 0 and 5."""
    values = {index: 5.0 * (row[0] == "free" and row[1] == "ule") for index, row in enumerate(space.compositions)}
    assert pair_effects(space, values)["placement", "scheduler"] == pytest.approx(5)
    assert pair_effects(space, values)["placement", "groups"] == pytest.approx(0)


def test_what_was_not_run_is_not_compared(space: Space) -> None:
    values = {0: 1.0, len(space.compositions) - 1: 9.0}  # they differ in all three choices
    assert main_effects(space, values) == []
    assert pair_effects(space, values) == {}


def test_what_must_change_too_is_said(composed) -> None:
    choices = {"serialize": ("group_lock", "group_thread"), "handoff": ("inline", "queue"), "transmit": ("caller", "owner")}
    space = space_of(composed("org=connp_l"), choices)
    assert implied_choices(space) == {"handoff": "serialize", "transmit": "serialize"}
    (lock, thread) = main_effects(space, {0: 10.0, 1: 4.0})
    assert (lock.value, lock.mean, lock.needs) == ("group_lock", 6.0, ("handoff", "transmit"))
    assert (thread.value, thread.mean) == ("group_thread", -6.0)


@pytest.mark.parametrize("signs", [(1, -1), (1, 1), (-1, -1)])
def test_a_front_is_what_nobody_beats(signs: tuple[int, int]) -> None:
    draw = random.Random(5)
    first = [float(draw.randrange(20)) for _ in range(200)]
    second = [float(draw.randrange(20)) for _ in range(200)]

    def beats(one: int, other: int) -> bool:
        gains = [sign * (numbers[one] - numbers[other]) for sign, numbers in zip(signs, (first, second), strict=True)]
        return min(gains) >= 0 and max(gains) > 0

    unbeaten = {(first[each], second[each]) for each in range(200) if not any(beats(other, each) for other in range(200))}
    front = pareto_front(first, second, signs)
    assert {(first[each], second[each]) for each in front} == unbeaten
    assert len(front) == len(unbeaten)
