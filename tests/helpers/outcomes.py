"""Outcomes made by hand from one result."""

from collections.abc import Sequence
from pathlib import Path

from experiments.points.names import name_points
from experiments.points.point import Outcome, Point
from netstack.sim import Result, SimulationConfig


def outcomes(result: Result, configs: list[SimulationConfig], tmp_path: Path, variants: Sequence[str] = ()) -> list[Outcome]:
    """Return an outcome per configuration, with a goodput of its own."""
    points = [Point(config, name, tmp_path) for config, name in zip(configs, name_points(configs, variants), strict=True)]
    made = []
    for index, point in enumerate(points):
        values = Result.from_json(result.to_json())
        values.goodput_mbps = 1000.0 + 37 * index**1.5
        made.append(Outcome(point, values))
    return made
