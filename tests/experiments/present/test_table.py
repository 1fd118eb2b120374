"""Tables, summaries and figures of sweeps, from made-up results."""

import copy
import csv
import functools
import itertools
import statistics
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import scipy.stats
from matplotlib.figure import Figure
from matplotlib.text import Text
from rich.console import Console

from experiments.points.breakdown import COLUMNS
from experiments.points.names import name_points
from experiments.points.point import Outcome, Point
from experiments.points.seeds import Repetitions, repetitions, student_t
from experiments.present import figures
from experiments.present.table import print_table, write_summary
from netstack.sim import Result, SimulationConfig, simulate


@pytest.fixture(scope="module")
def result(composed) -> Result:
    return simulate(composed("conns=6", "engine.warmup_ms=1", "engine.measure_ms=3"))


def outcomes(result: Result, configs: list[SimulationConfig], tmp_path: Path) -> list[Outcome]:
    """Return an outcome a configuration, with a goodput of its own."""
    points = [Point(config, name, tmp_path) for config, name in zip(configs, name_points(configs), strict=True)]
    made = []
    for index, point in enumerate(points):
        values = Result.from_json(result.to_json())
        values.goodput_mbps = 1000.0 + 37 * index**1.5
        made.append(Outcome(point, values))
    return made


@pytest.mark.parametrize("freedom", [1, 2, 5, 16, 17, 30, 1000])
def test_students_t(freedom: int) -> None:
    assert student_t(freedom) == pytest.approx(scipy.stats.t.ppf(0.975, freedom), rel=5e-3)


def test_seeds_are_put_together(result: Result, composed, tmp_path: Path) -> None:
    configs = [composed("conns=24", f"seed={seed}") for seed in (1, 2, 3)] + [composed("conns=6", "seed=1")]
    made = outcomes(result, configs, tmp_path)
    values = [outcome.result.goodput_mbps for outcome in made if outcome.result is not None]
    lone, repeated = repetitions(made)
    assert [place.point.name.x for place in (lone, repeated)] == [6, 24]
    assert repeated.mean(lambda result: result.goodput_mbps) == pytest.approx(statistics.mean(values[:3]))
    low, high = scipy.stats.t.interval(0.95, 2, statistics.mean(values[:3]), scipy.stats.sem(values[:3]))
    assert repeated.half_width(lambda result: result.goodput_mbps) == pytest.approx((high - low) / 2, rel=1e-3)
    assert lone.half_width(lambda result: result.goodput_mbps) == 0


def test_the_table_says_what_is_not_settled_and_how_far_seeds_differ(result: Result, composed, tmp_path: Path, capsys) -> None:
    made = outcomes(result, [composed("conns=24", f"seed={seed}") for seed in (1, 2)], tmp_path)
    for outcome in made:
        assert outcome.result is not None
        outcome.result.steady = False
    print_table(Console(width=140), made)
    output = capsys.readouterr().out
    assert "1,018*" in output
    assert "±235" in output  # 12.706 x 26.16 / sqrt(2)
    assert "means over 2 seeds" in output
    assert "* not settled" in output


def test_every_busy_cycle_is_in_a_column_of_the_table(result: Result) -> None:
    assert sorted(name for names in COLUMNS.values() for name in names) == sorted(set(result.cycles_per_kb) - {"idle"})


def test_the_summary_has_a_row_a_point_and_all_metrics(result: Result, composed, tmp_path: Path) -> None:
    made = outcomes(result, [composed(f"conns={conns}") for conns in (6, 24)], tmp_path)
    write_summary(tmp_path / "summary.csv", [*made, Outcome(made[0].point, None, "failed")])
    with (tmp_path / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["conns"] for row in rows] == ["6", "24"]
    assert float(rows[1]["goodput_mbps"]) == 1037.0
    assert set(result.metrics()) <= set(rows[0])


SHAPES = {
    "twelve points": [{"org.name": org, "conns": n} for org in ("up", "msgp", "connp_t", "connp_l") for n in (6, 192, 16384)],
    "one organization": [{"conns": n} for n in (6, 24, 192, 1536)],
    "one point": [{"conns": 6}],
    "groups and seeds": [
        {"org.groups": groups, "conns": n, "seed": seed} for groups in (4, 16, 128) for n in (6, 192) for seed in (1, 2, 3)
    ],
    "many points": [{"org.groups": 2**n, "conns": 2**m} for n in range(9) for m in range(7)],
    "cores of two machines": [
        {"machine.name": machine, "machine.cores": cores} for machine in ("epyc_16", "opteron_2x2") for cores in (1, 2, 4)
    ],
}


def varied(config: SimulationConfig, values: dict[str, object]) -> SimulationConfig:
    config = copy.deepcopy(config)
    for key, value in values.items():
        *parts, name = key.split(".")
        setattr(functools.reduce(getattr, parts, config), name, value)
    return config


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["_goodput", "_cycles", "_misses_and_lock_waits"])
def test_no_text_of_a_figure_overlaps_another_or_leaves_it(
    kind: str, shape: str, result: Result, composed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = composed()
    places = repetitions(outcomes(result, [varied(base, values) for values in SHAPES[shape]], tmp_path))
    figure: Figure = getattr(figures, kind)(places)
    figure.set_dpi(figures.DPI)
    figure.canvas.draw()  # settles the layout
    drawn: list[Text] = []
    monkeypatch.setattr(Text, "draw", lambda text, renderer: drawn.append(text))
    figure.canvas.draw()
    boxes = [(text.get_text(), text.get_window_extent()) for text in drawn if text.get_visible() and text.get_text().strip()]
    assert len(boxes) > 5
    for (one, box), (other, box2) in itertools.combinations(boxes, 2):
        overlap = min(box.x1, box2.x1) - max(box.x0, box2.x0), min(box.y1, box2.y1) - max(box.y0, box2.y0)
        assert min(overlap) <= 1, (one, other)
    for text, box in boxes:
        assert min(box.x0, box.y0) >= -1, text
        assert box.x1 <= figure.bbox.x1 + 1, text
        assert box.y1 <= figure.bbox.y1 + 1, text
    assert set(_series(places)) <= {text.replace("\n", " ") for text, _ in boxes}
    plt.close(figure)


def _series(places: list[Repetitions]) -> list[str]:
    return [place.point.name.series for place in places]
