"""Points are told apart by their fingerprints, and kept with what they were computed by."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from experiments.config.values import plain_values
from experiments.points.folders import UnwritableError
from experiments.points.names import name_points
from experiments.points.point import Point, sweep_id
from experiments.points.provenance import provenance
from netstack.sim import Result, SimulationConfig


@pytest.fixture
def point(composed: Callable[..., SimulationConfig], tmp_path: Path) -> Point:
    config = composed("conns=6")
    (name,) = name_points([config])
    return Point(config, name, tmp_path / "outputs")


def test_fingerprints_tell_points_apart_and_name_sweeps(composed: Callable[..., SimulationConfig], tmp_path: Path) -> None:
    configs = [composed(*overrides) for overrides in (["conns=6"], ["conns=6"], ["conns=6", "seed=2"])]
    first, same, other = (Point(config, name, tmp_path) for config, name in zip(configs, name_points(configs), strict=True))
    assert first.fingerprint == same.fingerprint != other.fingerprint
    assert sweep_id([first, other]) == sweep_id([other, first]) != sweep_id([first])


def test_a_finished_point_is_kept_with_its_configuration_and_origin(point: Point, make_result: Callable[..., Result]) -> None:
    assert not point.is_finished
    assert point.load() is None
    point.save_failure("why")
    assert point.failure_file.read_text() == f"{point.label}\nwhy\n"
    result = make_result()
    point.save(result)
    assert point.is_finished
    assert point.load() == result
    assert yaml.safe_load((point.folder / "config.yaml").read_text()) == plain_values(point.config)
    assert point.provenance() == provenance()
    assert not point.failure_file.exists()


def test_what_cannot_be_kept_is_one_clear_line(point: Point, make_result: Callable[..., Result]) -> None:
    point.output_dir.write_text("in the way")
    with pytest.raises(UnwritableError, match=r"points/\w+ cannot be written \(.*\); finished points are kept"):
        point.save(make_result())
    with pytest.raises(UnwritableError, match="failures/"):
        point.save_failure("why")
