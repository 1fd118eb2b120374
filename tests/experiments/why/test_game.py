"""Shapley values against games of three players worked out by hand, and against the axioms that define them."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest

from experiments.config.subsets import orders, subset_name, subsets
from experiments.why.game import Game

ABC = ("a", "b", "c")


def game(players: tuple[str, ...], value: Callable[[frozenset[str]], float], permutations: int | None = None) -> Game:
    """Return a game whose sets are those that are run for it, and no others."""
    known = {frozenset(subset): value(frozenset(subset)) for subset in subsets(players, permutations)}
    return Game(players, known, orders(players, permutations) if permutations else ())


def test_a_left_glove_is_worth_four_right_ones() -> None:
    """a has a left glove, b and c a right one each; a pair is worth 6. a comes first in 2 of 6 orders, and then adds nothing."""
    gloves = game(ABC, lambda has: 6.0 * ("a" in has and len(has) > 1))
    assert gloves.shares() == pytest.approx({"a": 4, "b": 1, "c": 1})
    assert gloves.together("a", "b") == 6
    assert gloves.together("b", "c") == 0
    assert gloves.last("b") == 0


def test_an_airport_is_paid_for_by_those_who_need_each_part_of_the_runway() -> None:
    """Runways of 6, 12 and 18: the first 6 are shared by three, the next 6 by two, the last 6 are for one."""
    runway = game(ABC, lambda flies: max([{"a": 6.0, "b": 12.0, "c": 18.0}[player] for player in flies], default=0.0))
    assert runway.shares() == pytest.approx({"a": 2, "b": 5, "c": 11})
    assert runway.gain("c") == runway.whole == 18


def test_a_game_with_a_limit_shares_the_limit() -> None:
    """Gains of 3, 2 and 1 up to 4, from 10 on.

    abc: 3 1 0; acb: 3 0 1; bac: a 2, b 2, c 0; bca: b 2, c 1, a 1; cab: c 1, a 3, b 0; cba: c 1, b 2, a 1.
    """
    gains = {"a": 3.0, "b": 2.0, "c": 1.0}
    limited = game(ABC, lambda free: 10 + min(4.0, sum(gains[player] for player in free)))
    by_hand = {"a": 3 + 3 + 2 + 1 + 3 + 1, "b": 1 + 0 + 2 + 2 + 0 + 2, "c": 0 + 1 + 0 + 1 + 1 + 1}
    assert limited.shares() == pytest.approx({player: total / 6 for player, total in by_hand.items()})


@pytest.mark.parametrize("permutations", [None, 3, 20])
def test_shares_add_up_to_the_whole(permutations: int | None) -> None:
    players = tuple("abcdefg")
    random = np.random.default_rng(5)
    values = {frozenset(subset): float(random.normal()) for subset in subsets(players)}
    drawn = game(players, values.__getitem__, permutations)
    assert sum(drawn.shares().values()) == pytest.approx(drawn.whole)


def test_equals_have_equal_shares_and_who_adds_nothing_has_none() -> None:
    voting = game(("a", "b", "c", "d"), lambda yes: float(len(yes - {"d"}) >= 2))
    assert voting.shares() == pytest.approx({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3, "d": 0})


def test_drawn_orders_find_the_shares_within_their_intervals() -> None:
    """Of many games, at most a few shares are outside of 95 % intervals; where everybody adds the same always, they are exact."""
    players = tuple("abcdefg")
    outside = 0
    for number in range(20):
        random = np.random.default_rng(number)
        values = {frozenset(subset): float(random.normal()) for subset in subsets(players)}
        exact = game(players, values.__getitem__).shares()
        drawn = game(players, values.__getitem__, 10)
        widths = drawn.half_widths()
        assert min(widths.values()) > 0
        outside += sum(abs(share - exact[player]) > widths[player] for player, share in drawn.shares().items())
    assert outside <= 0.1 * 20 * len(players)
    additive = game(players, lambda free: float(sum(map(ord, free))), 2)
    assert additive.shares() == pytest.approx({player: ord(player) for player in players})
    assert max(additive.half_widths().values()) == pytest.approx(0)


def test_all_sets_are_run_or_those_that_drawn_orders_need() -> None:
    players = tuple("abcdefg")
    assert len(subsets(players)) == len(set(subsets(players))) == 2**7
    few = subsets(players, 4)
    assert 2 + 7 + 7 < len(few) < 60
    assert len(set(few)) == len(few)
    assert {(), players, *combinations(players, 1), *combinations(players, 6)} <= set(few)
    assert few == subsets(players, 4)


def test_sets_have_names() -> None:
    names = [subset_name(subset, ABC) for subset in subsets(ABC)]
    assert names == ["unchanged", "free a", "free b", "free c", "free a+b", "free a+c", "free b+c", "all free"]
