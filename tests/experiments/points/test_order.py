"""Points start coarse first: worked out by hand for small grids."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.points.names import name_points
from experiments.points.order import coarse_first, refinement
from experiments.points.point import Point
from netstack.sim import SimulationConfig


@pytest.mark.parametrize(
    ("values", "order", "levels"),
    [
        ([7], [7], [0]),
        ([1, 2], [1, 2], [0, 0]),
        ([10, 20, 30], [10, 30, 20], [0, 0, 1]),
        ([0, 1, 2, 3, 4, 5, 6, 7, 8], [0, 8, 4, 2, 6, 1, 3, 5, 7], [0, 0, 1, 2, 2, 3, 3, 3, 3]),
        ([0, 1, 2, 3], [0, 3, 1, 2], [0, 0, 1, 2]),
    ],
)
def test_an_axis_is_refined_by_halves(values: list[int], order: list[int], levels: list[int]) -> None:
    found = refinement(values)
    by_rank = sorted(found, key=lambda value: found[value][1])
    assert by_rank == order
    assert [found[value][0] for value in by_rank] == levels


def started(composed: Callable[..., SimulationConfig], tmp_path: Path, *choices: list[str]) -> list[tuple[str, ...]]:
    """Return the choices in the order in which their points start."""
    combinations = list(itertools.product(*choices))
    configs = [composed(*combination) for combination in combinations]
    points = [Point(config, name, tmp_path) for config, name in zip(configs, name_points(configs), strict=True)]
    return [combinations[points.index(point)] for point in coarse_first(points)]


def test_organizations_alternate_at_the_ends_of_the_axis_first(composed, tmp_path: Path) -> None:
    order = started(composed, tmp_path, ["org=up", "org=msgp"], ["conns=6", "conns=24", "conns=192", "conns=384", "conns=1536"])
    loads = [conns.partition("=")[2] for _, conns in order]
    assert [org for org, _ in order] == ["org=up", "org=msgp"] * 5
    assert loads[::2] == loads[1::2] == ["6", "1536", "192", "24", "384"]


def test_the_corners_of_two_axes_come_first(composed, tmp_path: Path) -> None:
    order = started(composed, tmp_path, ["org.groups=4", "org.groups=16", "org.groups=64"], ["conns=6", "conns=24", "conns=192"])
    ends = {"org.groups=4", "org.groups=64"}, {"conns=6", "conns=192"}
    assert set(order[:4]) == set(itertools.product(*ends))
    assert not set(order[4:]) & set(itertools.product(*ends))


def test_more_seeds_come_after_the_shape_that_one_seed_shows(composed, tmp_path: Path) -> None:
    order = started(composed, tmp_path, ["seed=5", "seed=1", "seed=9"], ["conns=6", "conns=24", "conns=192"])
    assert order == [
        ("seed=5", "conns=6"),
        ("seed=5", "conns=192"),
        ("seed=5", "conns=24"),
        ("seed=1", "conns=6"),
        ("seed=1", "conns=192"),
        ("seed=1", "conns=24"),
        ("seed=9", "conns=6"),
        ("seed=9", "conns=192"),
        ("seed=9", "conns=24"),
    ]


def test_one_point(composed, tmp_path: Path) -> None:
    assert started(composed, tmp_path, ["conns=6"]) == [("conns=6",)]
