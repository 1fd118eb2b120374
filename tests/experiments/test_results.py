"""Finished points as data: the table against the results that were kept, units against their declarations, exports read back."""

import json
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import pandas
import pytest
import yaml

from experiments.config.compose import compose_simulation
from experiments.points.names import name_points
from experiments.points.point import Point
from experiments.results import NoPointsError, Results, load
from netstack.sim import Result
from tests.helpers.folders import ROOT

MakeResult = Callable[..., Result]
GOODPUTS = {
    ("up", 6): (4000.0, 4010.0),
    ("up", 192): (3300.0, 3310.0),
    ("msgp", 6): (3900.0, 3920.0),
    ("msgp", 192): (4600.0, 4620.0),
}


@pytest.fixture
def outputs(tmp_path: Path, make_result: MakeResult) -> Path:
    """Return an output folder with eight finished points of one sweep."""
    cases = [(org, conns, seed) for org, conns in GOODPUTS for seed in (1, 2)]
    configs = [compose_simulation(f"org={org}", f"conns={conns}", f"seed={seed}") for org, conns, seed in cases]
    points = [Point(config, name, tmp_path) for config, name in zip(configs, name_points(configs), strict=True)]
    for point, (org, conns, seed) in zip(points, cases, strict=True):
        point.save(make_result(GOODPUTS[org, conns][seed - 1], 1.5))
    listing = [{"point": point.label, "fingerprint": point.fingerprint} for point in points[:4]]
    (tmp_path / "sweeps" / "abc").mkdir(parents=True)
    (tmp_path / "sweeps" / "abc" / "points.yaml").write_text(yaml.safe_dump(listing))
    return tmp_path


@pytest.fixture
def results(outputs: Path) -> Results:
    return load(outputs)


def test_a_row_per_point_with_choices_and_statistics(results: Results) -> None:
    found = {(row["org.name"], row["conns"], row["seed"]): row["goodput_mbps"] for _, row in results.frame.iterrows()}
    assert found == {(*case, seed): goodputs[seed - 1] for case, goodputs in GOODPUTS.items() for seed in (1, 2)}
    assert {"machine.cores", "workload.requests.outstanding"} <= set(results.choices)
    assert {"goodput_mbps", "misses/tcpcb" if "misses/tcpcb" in results.statistics else "l2_misses_per_kb"} <= set(
        results.statistics
    )
    assert {"org.name", "conns"} <= set(results.varied)
    assert results.varied[-1] == "seed"
    assert "machine.cores" not in results.varied


def test_what_is_free_can_be_grouped_by(tmp_path: Path, make_result: MakeResult) -> None:
    configs = [compose_simulation(f"ideal=[{ideal}]") for ideal in ("", "locks", "coherence,locks")]
    for goodput, config, name in zip((1.0, 2.0, 3.0), configs, name_points(configs), strict=True):
        Point(config, name, tmp_path).save(make_result(goodput))
    frame = load(tmp_path).frame
    assert frame.groupby("ideal")["goodput_mbps"].first().to_dict() == {"": 1.0, "locks": 2.0, "locks+coherence": 3.0}


def test_units_are_those_of_the_declarations(results: Results) -> None:
    assert results.frame.attrs["units"]["goodput_mbps"] == "Mb/s"
    assert results.dictionary["l2_misses_per_kb/tcpcb"]["unit"] == "1/KB"
    assert results.dictionary["cycles_per_kb/protocol"]["unit"] == "cycles/KB"
    assert set(results.dictionary) == {*results.choices, *results.statistics}


def test_the_tidy_table_has_a_row_per_point_and_statistic(results: Results) -> None:
    tidy = results.tidy()
    assert list(tidy.columns) == [*results.varied, "statistic", "unit", "value"]
    goodputs = tidy[tidy["statistic"] == "goodput_mbps"]
    assert sorted(goodputs["value"]) == sorted(value for pair in GOODPUTS.values() for value in pair)
    assert set(goodputs["unit"]) == {"Mb/s"}
    assert len(tidy) == results.frame[results.statistics].notna().sum().sum()


def test_one_sweep_alone(outputs: Path) -> None:
    assert set(load(outputs, sweep="abc").frame["org.name"]) == {"up"}
    with pytest.raises(NoPointsError, match="has no sweep xyz; there are abc"):
        load(outputs, sweep="xyz")


def test_damaged_points_are_left_out(outputs: Path) -> None:
    damaged, *_ = sorted((outputs / "points").glob("*/result.json"))
    damaged.write_text("{}")
    assert len(load(outputs).frame) == 7


def test_nothing_to_load_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(NoPointsError, match="must be an output folder"):
        load(tmp_path)
    (tmp_path / "points").mkdir()
    with pytest.raises(NoPointsError, match="has no finished points"):
        load(tmp_path)


@pytest.mark.parametrize("end", ["csv", "parquet"])
def test_an_export_reads_back(results: Results, tmp_path: Path, end: str) -> None:
    table, dictionary = results.export(tmp_path / f"points.{end}")
    read = pandas.read_csv(table) if end == "csv" else pandas.read_parquet(table)
    assert read["goodput_mbps"].tolist() == results.frame["goodput_mbps"].tolist()
    assert json.loads(dictionary.read_text())["goodput_mbps"]["unit"] == "Mb/s"
    with pytest.raises(NoPointsError, match=r"must end with .parquet or .csv"):
        results.export(tmp_path / "points.xlsx")


def test_a_data_set_has_a_dimension_per_choice(results: Results) -> None:
    pytest.importorskip("xarray", reason="xarray is not installed")
    data = results.to_xarray()
    assert data["goodput_mbps"].sel({"org.name": "msgp", "conns": 192, "seed": 2}).max() == 4620.0
    assert data["goodput_mbps"].attrs["units"] == "Mb/s"


def test_the_notebook_draws_its_figure(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (outputs / "outputs").symlink_to(outputs)
    monkeypatch.chdir(outputs)
    cells = json.loads((ROOT / "examples/results.ipynb").read_text())["cells"]
    names: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    axes = plt.gca()
    _, labels = axes.get_legend_handles_labels()
    assert labels == ["msgp", "up"]
    assert axes.get_ylabel() == "goodput (Mb/s)"
    plt.close("all")
