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


def changed(old: str, new: str) -> Callable[[str], str]:
    """Return what puts another text in place of one that is there."""

    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


NOT_A_NUMBER = changed('"idle": 100.0', '"idle": NaN')
ENDLESS = changed('"goodput_over_time_mbps": [', '"goodput_over_time_mbps": [1e999,')
WORD = changed('"idle": 100.0', '"idle": "lots"')
NO_TEXT = changed('"request_histogram": ""', '"request_histogram": 3')
CHANGED = changed('"goodput_mbps": 1000.0', '"goodput_mbps": 1001.0')
DAMAGE: dict[str, tuple[str, str | Callable[[str], str] | None, str]] = {
    "an empty result": ("result.json", "", "is empty"),
    "a result of zeros, as after a loss of power": ("result.json", "\0" * 512, "is empty"),
    "half a result": ("result.json", '{"goodput_mbps": 1', "is cut off or damaged"),
    "a result without statistics": ("result.json", "{}", "is cut off or damaged"),
    "a result that lacks some": ("result.json", '{"misses": {}, "lock": {}}', "is cut off or damaged"),
    "a word for a number": ("result.json", '{"misses": {}, "lock": {}, "goodput_mbps": "lots"}', "is cut off or damaged"),
    "lists without end": ("result.json", "[" * 100_000, "is cut off or damaged"),
    "a list for a result": ("result.json", "[]", "is cut off or damaged"),
    "no result": ("result.json", None, "is missing"),
    "no number in a table": ("result.json", NOT_A_NUMBER, "is cut off or damaged"),
    "an endless number in a list": ("result.json", ENDLESS, "is cut off or damaged"),
    "a word in a table": ("result.json", WORD, "is cut off or damaged"),
    "a number for a text": ("result.json", NO_TEXT, "is cut off or damaged"),
    "a number that was changed": ("result.json", CHANGED, "is not what was kept: of another point, or changed"),
    "an origin of another point": ("provenance.json", '{"fingerprint": "1234"}', "is of another point"),
    "a configuration that was changed": ("config.yaml", "conns: 7\n", "is another configuration than that of the point"),
    "a configuration that is none": ("config.yaml", "conns: [", "is another configuration than that of the point"),
    "an empty origin": ("provenance.json", "", "is empty"),
    "an origin that says nothing": ("provenance.json", "{}", "is cut off or damaged"),
    "half an origin": ("provenance.json", '{"git', "is cut off or damaged"),
    "no origin": ("provenance.json", None, "is missing"),
    "no configuration": ("config.yaml", None, "is missing"),
}


def damage(folder: Path, name: str, text: str | Callable[[str], str] | None) -> None:
    path = folder / name
    path.unlink() if text is None else path.write_text(text if isinstance(text, str) else text(path.read_text()))


@pytest.mark.parametrize("case", DAMAGE)
def test_a_point_that_is_not_whole_is_set_aside_and_is_not_finished(
    case: str, point: Point, make_result: Callable[..., Result]
) -> None:
    name, text, reason = DAMAGE[case]
    for number in (1, 2):
        point.save(make_result())
        assert point.set_aside() == ""
        damage(point.folder, name, text)
        left = {path.name: path.read_bytes() for path in point.folder.iterdir()}
        assert not point.is_finished
        assert point.load() is None
        place = point.output_dir / "damaged" / f"{point.folder.name}-{number}"
        said = f"{point.label}: {point.folder / name} {reason}; it is now in {place}, and the point is run again"
        assert point.set_aside() == said
        assert {path.name: path.read_bytes() for path in place.iterdir()} == left
        assert not point.folder.exists()


@pytest.mark.parametrize("names", [["result.json"], ["config.yaml", "provenance.json", "result.json"]])
def test_the_files_of_another_point_are_not_believed(
    names: list[str], point: Point, composed: Callable[..., SimulationConfig], make_result: Callable[..., Result]
) -> None:
    configs = [point.config, composed("conns=7")]
    other = Point(configs[1], name_points(configs)[1], point.output_dir)
    point.save(make_result())
    other.save(make_result(goodput=2.0))
    for name in names:
        (point.folder / name).write_bytes((other.folder / name).read_bytes())
    assert not point.is_finished
    assert other.is_finished
    assert f"{names[0]} is " in point.set_aside()


def test_a_point_that_an_earlier_version_kept_is_finished(point: Point, make_result: Callable[..., Result]) -> None:
    """Its origin named no point, and its configuration may be set in another way."""
    point.save(make_result())
    (point.folder / "provenance.json").write_text('{"model.version": "1"}')
    (point.folder / "config.yaml").write_text(yaml.safe_dump(plain_values(point.config)))
    assert point.load() == make_result()


def test_a_point_that_is_damaged_while_it_runs_is_kept_all_the_same(point: Point, make_result: Callable[..., Result]) -> None:
    point.folder.mkdir(parents=True)
    (point.folder / "result.json").write_text("{}")
    point.save(make_result())
    assert point.load() == make_result()
    assert (point.output_dir / "damaged" / f"{point.folder.name}-1" / "result.json").read_text() == "{}"


def test_what_cannot_be_kept_is_one_clear_line(point: Point, make_result: Callable[..., Result]) -> None:
    point.output_dir.write_text("in the way")
    with pytest.raises(UnwritableError, match=r"points/\w+ cannot be written \(.*\); finished points are kept"):
        point.save(make_result())
    with pytest.raises(UnwritableError, match="failures/"):
        point.save_failure("why")
