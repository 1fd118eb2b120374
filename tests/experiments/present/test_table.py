"""Tables and summaries of sweeps, from made-up results."""

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

from experiments.points.breakdown import COLUMNS
from experiments.points.point import Outcome
from experiments.present.table import print_table, write_summary
from netstack.sim import Result
from tests.helpers.outcomes import outcomes


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


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_narrow_table_keeps_its_first_column_and_all_numbers(width: int, result: Result, composed, tmp_path: Path) -> None:
    configs = [composed(f"org={org}", f"conns={conns}") for org in ("msgp", "connp_l") for conns in (6, 16384)]
    made = outcomes(result, configs, tmp_path)
    printed = {}
    for columns in (width, 200):
        console = Console(file=io.StringIO(), width=columns)
        print_table(console, made)
        assert isinstance(console.file, io.StringIO)
        printed[columns] = console.file.getvalue()
    narrow, wide = (printed[columns].splitlines() for columns in (width, 200))
    assert max(map(len, narrow)) <= width
    assert "…" not in printed[width]
    for org, conns in (("msgp", "6"), ("msgp", "16,384"), ("connp_l", "6"), ("connp_l", "16,384")):
        rows = [[words[2:] for line in lines if (words := line.split())[:2] == [org, conns]] for lines in (narrow, wide)]
        assert [word for row in rows[0] for word in row] == rows[1][0]


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
    assert "variant" not in rows[0]


def test_the_summary_tells_variants_apart(result: Result, composed, tmp_path: Path) -> None:
    configs = [composed(f"costs.structures.socket.modelled={modelled}") for modelled in ("true", "false")]
    write_summary(tmp_path / "summary.csv", outcomes(result, configs, tmp_path, ["unchanged", "without sockets"]))
    with (tmp_path / "summary.csv").open(newline="") as file:
        assert [row["variant"] for row in csv.DictReader(file)] == ["unchanged", "without sockets"]
