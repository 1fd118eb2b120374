"""The order in which points start: coarse first, so that the whole shape of a sweep shows early.

Knows configurations, not how they run. Results keep the order of the sweep.
"""

from collections.abc import Sequence

from experiments.config.values import flat_values, is_number, varied_keys
from experiments.points.point import Point

SEED = "seed"


def coarse_first(points: Sequence[Point]) -> list[Point]:
    """Return points in the order in which they should start.

    Each numeric key that varies is an axis, which is refined from both ends by halves; values that are no numbers alternate.
    Seeds are refined alike: each level has twice as many as the one before.
    """
    if not points:
        return []
    flat = [flat_values(point.config) for point in points]
    numeric = [key for key in varied_keys(flat) if key != SEED and all(is_number(values.get(key)) for values in flat)]
    ranks = {key: refinement(sorted({values[key] for values in flat})) for key in numeric}  # pyright: ignore
    seeds = {seed: rank for rank, seed in enumerate(dict.fromkeys(values[SEED] for values in flat))}

    def order(index: int) -> tuple:
        of_axes = [ranks[key][flat[index][key]] for key in numeric]
        seed = seeds[flat[index][SEED]]
        level = max([seed.bit_length(), *(level for level, _ in of_axes)])
        return level, seed, *(rank for _, rank in of_axes), index

    return [points[index] for index in sorted(range(len(points)), key=order)]


def refinement(values: Sequence) -> dict[object, tuple[int, int]]:
    """Return the level and rank of each ascending value: the first, the last, the middle, the quarters, ..."""
    last = len(values) - 1
    ranked = [(0, 0), (last, 0)]
    spans, level = [(0, last)], 0
    while spans:
        level += 1
        halves = [(low, (low + high) // 2, high) for low, high in spans if high - low > 1]
        ranked += [(middle, level) for _, middle, _ in halves]
        spans = [span for low, middle, high in halves for span in ((low, middle), (middle, high))]
    found: dict[object, tuple[int, int]] = {}
    for rank, (index, at_level) in enumerate(ranked):
        found.setdefault(values[index], (at_level, rank))
    return found
