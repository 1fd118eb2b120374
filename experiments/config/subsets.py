"""Which sets of mechanisms are made free together, to share out what all of them cost.

Knows sets, not what a mechanism is.
"""

from collections.abc import Sequence
from itertools import combinations
from random import Random

UNCHANGED, ALL = "unchanged", "all free"
"""Names of the empty set and of the whole one."""
Subset = tuple[str, ...]


def subsets(players: Sequence[str], permutations: int | None = None) -> list[Subset]:
    """Return sets of players by size, each in the order of `players`.

    They are all there are, or those that a number of drawn orders needs, with each player alone and with each one left out.
    """
    if permutations is None:
        return [subset for size in range(len(players) + 1) for subset in combinations(players, size)]
    found = {frozenset(order[:size]) for order in orders(players, permutations) for size in range(len(players) + 1)}
    found |= {frozenset([player]) for player in players} | {frozenset(players) - {player} for player in players}
    ordered = [tuple(player for player in players if player in each) for each in found]
    return sorted(ordered, key=lambda each: (len(each), [players.index(player) for player in each]))


def orders(players: Sequence[str], permutations: int) -> list[list[str]]:
    """Return drawn orders of the players, the same in each call: each is followed by its reverse."""
    draw = Random(0)
    found: list[list[str]] = []
    for _ in range(permutations):
        order = draw.sample(list(players), len(players))
        found += [order, order[::-1]]
    return found


def subset_name(subset: Subset, players: Sequence[str]) -> str:
    """Return what points with these mechanisms free are called."""
    if not subset:
        return UNCHANGED
    return ALL if len(subset) == len(players) else f"free {'+'.join(subset)}"
