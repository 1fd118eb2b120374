"""What each choice of a searched space does, alone and in pairs, and which compositions no other one beats in two respects.

Knows values of compositions, not what they are values of.
"""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.search.space import Space, Value, squares


@dataclass(frozen=True)
class Effect:
    """What a value of a choice does in place of the other values, all else as equal as can be.

    Attributes:
        choice: The key.
        value: The value.
        mean: Mean of all differences.
        least: The smallest difference.
        most: The largest one.
        pairs: How many differences there are.
        needs: Other choices that change with it in half of the pairs or more, since combinations without are refused.
    """

    choice: str
    value: Value
    mean: float
    least: float
    most: float
    pairs: int
    needs: tuple[str, ...]


def main_effects(space: Space, values: Mapping[int, float]) -> list[Effect]:
    """Return the effect of each value of each choice.

    A composition with the value is compared with the nearest ones that have another value: those that differ in nothing else,
    or in as little else as any valid one. Of several nearest ones with the same value, the mean counts.

    Args:
        space: All compositions.
        values: A number per composition that was run.
    """
    codes = space.codes
    known = np.full(len(codes), np.nan)
    known[list(values)] = list(values.values())
    keys = list(space.choices)
    implied = set(implied_choices(space))
    differences: dict[tuple[int, int], list[float]] = {}
    also: dict[tuple[int, int], Counter[int]] = {}
    for index in values:
        unlike = codes != codes[index]
        distances = unlike.sum(axis=1)
        for choice in range(len(keys)):
            if keys[choice] in implied:
                continue
            own = int(codes[index, choice])
            for other in range(len(space.choices[keys[choice]])):
                having = codes[:, choice] == other
                if other == own or not having.any():
                    continue
                nearest = having & (distances == distances[having].min()) & ~np.isnan(known)
                if nearest.any():
                    differences.setdefault((choice, own), []).append(known[index] - known[nearest].mean())
                    changed = np.flatnonzero(unlike[nearest].mean(axis=0) > 0.5)
                    also.setdefault((choice, own), Counter()).update(int(each) for each in changed if each != choice)
    return [
        Effect(
            keys[choice],
            space.choices[keys[choice]][value],
            float(np.mean(found)),
            float(min(found)),
            float(max(found)),
            len(found),
            tuple(keys[other] for other, count in sorted(also[choice, value].items()) if 2 * count >= len(found)),
        )
        for (choice, value), found in sorted(differences.items())
    ]


def implied_choices(space: Space) -> dict[str, str]:
    """Return choices that follow from another one, and from which: no value of it goes with two of theirs."""
    found: dict[str, str] = {}
    for (other, cause), (one, choice) in itertools.permutations(enumerate(space.choices), 2):
        if cause in found or choice in found or len(np.unique(space.codes[:, one])) == 1:
            continue
        pairs = np.unique(space.codes[:, [one, other]], axis=0)
        if len(pairs) == len(np.unique(pairs[:, 1])):
            found[choice] = cause
    return found


def pair_effects(space: Space, values: Mapping[int, float]) -> dict[tuple[str, str], float]:
    """Return by how much the effect of one choice depends on another one: the mean amount of second differences.

    Pairs without four compositions that differ in nothing else are left out.
    """
    run = sorted(values)
    codes = space.codes[run]
    numbers = [values[index] for index in run]
    found = {}
    for (first, one), (second, other) in itertools.combinations(enumerate(space.choices), 2):
        amounts = [abs(numbers[a] - numbers[b] - numbers[c] + numbers[d]) for a, b, c, d in squares(codes, first, second)]
        if amounts:
            found[one, other] = float(np.mean(amounts))
    return found


def pareto_front(first: Sequence[float], second: Sequence[float], signs: tuple[int, int]) -> list[int]:
    """Return which pairs of numbers no other pair beats in one respect without being worse in the other, by the first number.

    Args:
        first: One number each.
        second: The other one.
        signs: 1 where more is better, -1 where less is.
    """
    order = sorted(range(len(first)), key=lambda index: (-signs[0] * first[index], -signs[1] * second[index]))
    front: list[int] = []
    for index in order:
        if not front or signs[1] * second[index] > signs[1] * second[front[-1]]:
            front.append(index)
    return front
