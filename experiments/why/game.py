"""Shares out among players what they reach together (Shapley 1953). Knows values of sets of players, not what these are.

Source: L. S. Shapley, A value for n-person games, Contributions to the Theory of Games II, 1953.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial

from experiments.points.seeds import half_width, mean


@dataclass(frozen=True)
class Game:
    """Players, and the value of each set of them that is known: at least the empty one, the whole, and each player alone.

    `drawn` are orders of the players whose sets are all known, each followed by its reverse; without them all sets are known.
    """

    players: tuple[str, ...]
    values: Mapping[frozenset[str], float]
    drawn: Sequence[Sequence[str]] = ()

    @property
    def whole(self) -> float:
        """What all players together add to nothing."""
        return self.gain(*self.players)

    def gain(self, *players: str) -> float:
        """Return what some players together add to nothing. Raises KeyError if their set is not known."""
        return self.values[frozenset(players)] - self.values[frozenset()]

    def last(self, player: str) -> float:
        """Return what a player adds to all others."""
        everybody = frozenset(self.players)
        return self.values[everybody] - self.values[everybody - {player}]

    def together(self, one: str, other: str) -> float | None:
        """Return what two players add beyond the sum of what each adds alone; None if their set is not known."""
        if frozenset((one, other)) not in self.values:
            return None
        return self.gain(one, other) - self.gain(one) - self.gain(other)

    def shares(self) -> dict[str, float]:
        """Return each player's Shapley value, or its mean over the drawn orders. They sum to the whole."""
        if self.drawn:
            return {player: mean(self._of_draws(player)) for player in self.players}
        return {player: self._shapley(player) for player in self.players}

    def half_widths(self) -> dict[str, float]:
        """Return half the 95 % confidence interval of each share that comes from the drawing of orders; 0 without."""
        return {player: half_width(self._of_draws(player)) if self.drawn else 0.0 for player in self.players}

    def _shapley(self, player: str) -> float:
        others = [other for other in self.players if other != player]
        count = len(self.players)
        share = 0.0
        for size in range(count):
            weight = factorial(size) * factorial(count - size - 1) / factorial(count)
            for subset in combinations(others, size):
                share += weight * (self.values[frozenset((*subset, player))] - self.values[frozenset(subset)])
        return share

    def _of_draws(self, player: str) -> list[float]:
        """Return what a player adds to those before it, in each drawn order and its reverse on average."""
        added = []
        for order in self.drawn:
            before = frozenset(order[: list(order).index(player)])
            added.append(self.values[before | {player}] - self.values[before])
        return [(one + other) / 2 for one, other in zip(added[::2], added[1::2], strict=True)]
