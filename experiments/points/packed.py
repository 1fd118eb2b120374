"""Outcomes that wait for the end of their sweep, in a twentieth of the memory.

Knows results as objects only, not what is in them.
"""

import pickle
import zlib
from collections.abc import Iterable
from dataclasses import replace

from experiments.points.point import Outcome, Point
from netstack.sim import Result


class PackedOutcomes:
    """Outcomes by their points. A sweep of many points has most of them here for most of its time."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Outcome, bytes | None]] = {}

    def add(self, outcome: Outcome) -> None:
        """Keep an outcome, in place of an earlier one of the same point."""
        packed = zlib.compress(pickle.dumps(outcome.result)) if outcome.result is not None else None
        self._kept[outcome.point.fingerprint] = replace(outcome, result=None), packed

    def of(self, points: Iterable[Point]) -> list[Outcome]:
        """Return the outcomes of points, in their order. Raises KeyError for a point that has none."""
        return [self._unpacked(*self._kept[point.fingerprint]) for point in points]

    @staticmethod
    def _unpacked(outcome: Outcome, packed: bytes | None) -> Outcome:
        if packed is None:
            return outcome
        result: Result = pickle.loads(zlib.decompress(packed))
        return replace(outcome, result=result)
