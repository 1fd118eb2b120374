"""A report is one file with all figures in it, whatever was run, and its rows are a CSV."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.config.grids import ExperimentConfig
from experiments.points.names import PointName
from experiments.points.point import Outcome, Point
from experiments.present.html.charts import series_classes
from experiments.published import comparison as comparing
from experiments.published.comparison import Comparison, comparison_of
from experiments.published.figures import Published, read_published
from experiments.published.panels import panels
from experiments.published.report import write_published
from experiments.published.score import rows
from experiments.published.targets import Targets
from netstack.errors import ConfigError
from netstack.sim import Result, SimulationConfig
from tests.experiments.present.html.test_page import Checker

COMMAND = "python run.py -m experiment=some 'targets=<x>'"
CORES = (1, 2, 4)
TARGETS: Targets = {("old", 4, "connections_per_second"): 250.0, ("new", 4, "connections_per_second"): 400.0}
MakeOutcomes = Callable[..., list[Outcome]]


@pytest.fixture
def make_outcomes(make_result: Callable[..., Result], tmp_path: Path) -> MakeOutcomes:
    """Return a function that makes outcomes of two variants and seeds; `unfinished` names variants and cores that failed.

    Each variant has 100 connections per second for each core, seeds differ by two.
    """

    def make(*unfinished: tuple[str, int]) -> list[Outcome]:
        made = []
        for variant in ("old", "new"):
            for cores in CORES:
                for seed in (1, 2):
                    config = SimulationConfig(conns=500, seed=seed)
                    config.org.name, config.org.cores, config.machine.name = variant, cores, "a_machine"
                    point = Point(config, PointName(variant, "org.cores", cores, seed, variant), tmp_path)
                    point.folder.mkdir(parents=True, exist_ok=True)
                    known = {"model.version": "abc", "python.version": "3", "numba.version": "4", "numpy.version": "5"}
                    (point.folder / "provenance.json").write_text(json.dumps(known | {"git.commit": "unknown"}))
                    if (variant, cores) in unfinished:
                        made.append(Outcome(point, None, "lost"))
                        continue
                    result = make_result()
                    result.connections_per_second = 100.0 * cores + 2 * seed - 3
                    result.kilocycles_per_request, result.request_us = 60.0, {"mean": 50.0 * cores}
                    made.append(Outcome(point, result))
        return made

    return make


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "published.csv").open() as file:
        return list(csv.DictReader(file))


def page(folder: Path) -> str:
    """Return the report, after a look at its form."""
    text = (folder / "report.html").read_text()
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert set(checker.references) <= {f"#{identifier}" for identifier in checker.identifiers}
    assert len(set(checker.identifiers)) == len(checker.identifiers)
    return text


def test_a_report_with_targets(published: Published, make_outcomes: MakeOutcomes, tmp_path: Path) -> None:
    """Simulated are 400 connections of both at four cores; null models say 400 and 440; 250 and 400 are published."""
    files = write_published(tmp_path, make_outcomes(), Comparison("A title", published, TARGETS, "given.yaml"), COMMAND)
    assert [file.name for file in files] == ["report.html", "published.csv"]
    text = page(tmp_path).replace("\u00a0", " ")
    assert "<h1>A title</h1>" in text
    assert "2 figures that were not given: the simulation misses by 30.0 % on average, 30.0 % in the median" in text
    assert "the null model by 35.0 % and 35.0 %" in text  # 60 % and 10 %
    assert "Of 2 values in given.yaml, 2 are figures of this sweep." in text
    assert "targets=&lt;x&gt;" in text
    assert "<td>+60.0 %</td><td>+60.0 %</td>" in text
    rows_found = {(row["variant"], row["x"]): row for row in table(tmp_path) if row["statistic"] == "connections_per_second"}
    assert len(rows_found) == 6
    row = rows_found["old", "4"]
    assert (row["simulated"], row["seeds"], row["null_model"], row["published"]) == ("400.0", "2", "400.0", "250.0")
    assert float(row["half_width"]) == pytest.approx(12.706, rel=1e-3)
    assert float(row["error"]) == pytest.approx(0.6)
    assert (rows_found["old", "1"]["given"], rows_found["old", "1"]["fitted"]) == ("100.0", "scale")
    assert rows_found["old", "1"]["error"] == ""


def test_a_report_without_targets_scores_nothing(published: Published, make_outcomes: MakeOutcomes, tmp_path: Path) -> None:
    write_published(tmp_path, make_outcomes(), Comparison("A title", published, {}), COMMAND)
    text = page(tmp_path).replace("\u00a0", " ")
    assert 'id="score"' not in text
    assert "No published values were given to score with" in text
    fitted = re.search(r"<tr><th>scale</th>(.*?)</tr>", text)
    assert fitted is not None
    assert "costs.cycles_scale</td><td>1.0</td>" in fitted[1] or "costs.cycles_scale</td><td>1</td>" in fitted[1]
    assert "<td>100.0</td><td>100.0 ± 12.7</td><td>+0.0 %</td>" in fitted[1]
    assert "Time: none, since no value was given." in text
    assert all(row["published"] == "" for row in table(tmp_path))


@pytest.mark.parametrize("left", [[("old", 1)], [("old", cores) for cores in CORES], [("new", 4), ("old", 2)]])
def test_a_partial_report(left: list[tuple[str, int]], published: Published, make_outcomes: MakeOutcomes, tmp_path: Path) -> None:
    write_published(tmp_path, make_outcomes(*left), Comparison("A title", published, TARGETS, "given.yaml"), COMMAND)
    text = page(tmp_path).replace("\u00a0", " ")
    assert f"{12 - 2 * len(left)} of 12 points finished" in text
    assert text.count("not run") >= 3 * len(left)
    missing = [row for row in table(tmp_path) if not row["simulated"]]
    assert {(row["variant"], int(row["x"])) for row in missing} == set(left)
    if ("new", 4) in left:
        assert "1 published figure cannot be scored" in text


def test_charts_have_a_mark_where_something_is_known(published: Published, make_outcomes: MakeOutcomes) -> None:
    comparison = Comparison("", published, TARGETS)
    series = comparison.series(make_outcomes())
    own = [row for row in rows(published, series, TARGETS) if row.statistic == "connections_per_second"]
    wide, narrow = panels(published, "connections_per_second", list(series), own)
    for panel in (wide, narrow):
        assert panel.count("<title>given: ") == 2
        assert panel.count("<title>published: ") == 2
        assert panel.count('class="mark ') == 6
        assert "old at 4 cores: 400 ± 12.7 1/s" in panel
    assert 'class="wide"' in wide
    assert 'class="narrow"' in narrow


def test_colours_are_far_apart_if_there_are_few_and_different_if_there_are_twelve() -> None:
    assert list(series_classes(["a", "b", "c"]).values()) == ["series-1", "series-7", "series-12"]
    assert list(series_classes(["a"]).values()) == ["series-1"]
    assert len(set(series_classes([str(index) for index in range(12)]).values())) == 12


def test_two_points_of_one_figure_are_refused(
    published: Published, make_outcomes: MakeOutcomes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "read_published", lambda name: published)
    points = [outcome.point for outcome in make_outcomes()]
    experiment = ExperimentConfig("some", report="published", variants=[{"variant": "old"}, {"variant": "new"}])
    assert comparison_of(points, experiment, None).targets == {}
    with pytest.raises(ConfigError, match=r"two points are old org\.cores=1 seed=1"):
        comparison_of([*points, points[0]], experiment, None)


def test_targets_may_name_places_of_the_experiment_that_are_not_run(make_outcomes: MakeOutcomes, tmp_path: Path) -> None:
    path = tmp_path / "targets.yaml"
    path.write_text("- {variant: new, x: 8, statistic: connections_per_second, value: 700}\n")
    experiment = ExperimentConfig(
        "fastsocket", report="published", grids=[{"org.cores": [1, 8]}], variants=[{"variant": "old"}, {"variant": "'new'"}]
    )
    found = comparison_of([outcome.point for outcome in make_outcomes()], experiment, str(path))
    assert found.targets == {("new", 8, "connections_per_second"): 700.0}
    assert found.title == read_published("fastsocket").title
    path.write_text("- {variant: new, x: 16, statistic: connections_per_second, value: 700}\n")
    with pytest.raises(ConfigError, match="x=16: allowed are 1; 2; 4; 8"):
        comparison_of([outcome.point for outcome in make_outcomes()], experiment, str(path))
