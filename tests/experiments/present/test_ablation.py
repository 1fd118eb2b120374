"""What variants change, from results made by hand."""

import copy
import csv
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from experiments.points.names import name_points
from experiments.points.point import Outcome, Point
from experiments.present import ablation
from experiments.present.ablation import Case, ablation_figure, ablation_of, ablation_table, write_ablation
from netstack.sim import Result, SimulationConfig
from tests.helpers.figures import readable_texts

GOODPUT = {
    ("unchanged", "up"): (1000.0, 2000.0),
    ("unchanged", "msgp"): (1000.0, 1000.0),
    ("without a lock", "up"): (1000.0, 2000.0),
    ("without a lock", "msgp"): (1100.0, 1300.0),
    ("without a cache", "up"): (900.0, 1900.0),
    ("without a cache", "msgp"): (500.0, 800.0),
}
"""Of both seeds, at 6 connections. Eight times as many connections halve all but what `without a cache` does to msgp."""
WAITS, MISSES = 70.0, 30.0


@pytest.fixture
def made(composed: Callable[..., SimulationConfig], make_result, tmp_path: Path) -> list[Outcome]:
    """Return outcomes of three variants; `up` has no lock."""
    configs, variants, results = [], [], []
    for number, variant in enumerate(dict.fromkeys(variant for variant, _ in GOODPUT)):
        for org in ("up", "msgp"):
            base = composed(f"org={org}")
            for conns, share in ((6, 1.0), (48, 0.5)):
                for seed, goodput in enumerate(GOODPUT[variant, org]):
                    config = copy.copy(base)
                    config.conns, config.seed, config.workload = conns, seed, copy.copy(base.workload)
                    config.workload.read_delay_us = float(number)
                    configs.append(config)
                    variants.append(variant)
                    waits = (WAITS - 10 * number) * share if org == "msgp" else None
                    results.append(make_result(goodput * share, MISSES + number + seed, waits))
    names = name_points(configs, variants)
    points = [Point(config, name, tmp_path) for config, name in zip(configs, names, strict=True)]
    return [Outcome(point, result) for point, result in zip(points, results, strict=True)]


def goodput(result: Result) -> float:
    return result.goodput_mbps


def test_changes_are_those_of_each_seed(made: list[Outcome]) -> None:
    found = ablation_of(made)
    assert found.variants == ["unchanged", "without a lock", "without a cache"]
    assert found.organizations == ["up", "msgp"]
    assert found.loads == [6, 48]
    assert found.cells[Case("without a lock", "msgp", 6)].changes_percent == pytest.approx([10, 30])
    assert found.cells[Case("without a cache", "up", 48)].changes_percent == pytest.approx([-10, -5])
    assert found.cells[Case("unchanged", "up", 6)].changes_percent == [0, 0]
    assert found.mean(Case("without a lock", "msgp", 48), goodput) == 600
    assert found.mean(Case("without a lock", "connp_t", 48), goodput) is None


def test_the_table_has_a_row_a_variant_and_a_value_a_load(made: list[Outcome]) -> None:
    rows = [line.strip("| ").split(" | ") for line in ablation_table(ablation_of(made)).splitlines() if line.startswith("| ")]
    assert rows == [
        ["up", "msgp", "msgp over up, %", "waits of msgp, %", "misses of msgp, 1/KB"],
        ["---"] * 6,
        ["unchanged, Mb/s", "1,500 / 750", "1,000 / 500", "−33 / −33", "70 / 35", "30.5 / 30.5"],
        ["without a lock, %", "0 / 0", "+20 / +20", "−20 / −20", "60 / 30", "31.5 / 31.5"],
        ["without a cache, %", "−8 / −8", "−35 / −35", "−54 / −54", "50 / 25", "32.5 / 32.5"],
    ]


def test_only_seeds_that_both_have_are_compared(made: list[Outcome]) -> None:
    lost = {"msgp unchanged conns=6 seed=1", "msgp without a cache conns=6 seed=0", "up without a cache conns=48 seed=1"}
    assert lost < {outcome.point.label for outcome in made}
    found = ablation_of([Outcome(one.point, None, "lost") if one.point.label in lost else one for one in made])
    assert found.cells[Case("without a lock", "msgp", 6)].changes_percent == pytest.approx([10])
    assert found.cells[Case("without a cache", "up", 48)].changes_percent == pytest.approx([-10])
    assert Case("without a cache", "msgp", 6) not in found.cells
    assert "| without a cache, % | −8 / −10 | – / −35 | – / −28 | – / 25 | – / 32.5 |" in ablation_table(found)
    plt.close(ablation_figure(found))


def test_files_have_the_values_and_the_command(made: list[Outcome], tmp_path: Path) -> None:
    files = write_ablation(tmp_path, made, "python run.py -m experiment=mine")
    assert [path.name for path in files] == ["ablation.png", "ablation.md", "ablation.csv"]
    assert "`python run.py -m experiment=mine`" in files[1].read_text()
    with files[2].open(newline="") as file:
        rows = {(row["variant"], row["organization"], row["conns"]): row for row in csv.DictReader(file)}
    assert len(rows) == 12
    row = rows["without a lock", "msgp", "6"]
    assert float(row["goodput_mbps"]) == 1200
    assert float(row["change_percent"]) == pytest.approx(20)
    assert float(row["change_half_width_percent"]) == pytest.approx(127.06, abs=0.01)  # 12.706 x 14.142 / sqrt(2)
    assert float(row["l2_misses_per_kb"]) == 31.5
    assert float(row["lock_waits_percent"]) == 60
    assert rows["without a lock", "up", "6"]["lock_waits_percent"] == ""


def test_the_figure_has_a_panel_an_organization_and_a_row_a_variant(made: list[Outcome], monkeypatch) -> None:
    figure = ablation_figure(ablation_of(made))
    texts = readable_texts(figure, ablation.DPI, monkeypatch)
    assert {"up", "msgp", "lock waits of msgp", "L2 misses of msgp", "without a lock", "without a cache", "6", "48"} <= texts
    up, msgp, waits, misses = figure.axes
    assert drawn(msgp) == {"6": [20, -35], "48": [20, -35]}
    assert drawn(up) == {"6": [0, -7.5], "48": [0, -7.5]}
    assert drawn(waits) == {"6": [60, 50], "48": [30, 25]}
    assert drawn(misses) == {"6": [31.5, 32.5], "48": [31.5, 32.5]}
    assert up.get_xlim() == msgp.get_xlim()
    plt.close(figure)


def test_without_the_followed_organization_there_are_only_changes(made: list[Outcome]) -> None:
    figure = ablation_figure(ablation_of([outcome for outcome in made if outcome.point.config.org.name == "up"]))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["up"]
    plt.close(figure)


def drawn(axes) -> dict[str, list[float]]:
    """Return the values of each load's markers from the top down."""
    return {bars.get_label(): [round(float(value), 6) for value in bars[0].get_xdata()] for bars in axes.containers}
