"""The page of fidelity takes its table from a report, and nothing else of it."""

from pathlib import Path

import pytest

from benchmarks.fidelity import MARKS, PAGE, with_table, written_files

REPORT = "Goodput at 6 connections.\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\nRun again with `python run.py`.\n"


def test_a_table_replaces_the_one_before() -> None:
    page = f"# A\n\n{MARKS[0]}\nold\n\n{MARKS[1]}\nend\n"
    changed = with_table(page, REPORT)
    table = "Goodput at 6 connections.\n\n| a | b |\n| --- | --- |\n| 1 | 2 |"
    assert changed == f"# A\n\n<!-- table -->\n\n{table}\n\n<!-- end of table -->\n\nend\n"
    assert with_table(changed, REPORT) == changed


def test_a_page_without_marks_stays() -> None:
    with pytest.raises(ValueError, match="end of table"):
        with_table(f"{MARKS[0]}\nno end", REPORT)


def test_the_page_itself_has_a_place_for_the_table() -> None:
    assert with_table(PAGE.read_text(), REPORT).count("| 1 | 2 |") == 1


def test_files_are_found_in_what_a_sweep_prints() -> None:
    output = (
        "up conns=6  1 Mb/s\nwritten: outputs/sweeps/a/ablation.png\nwritten: outputs/sweeps/a/ablation.md\nbrowse:  mlflow\n"
    )
    folder = Path("outputs/sweeps/a")
    assert written_files(output) == {name: folder / name for name in ("ablation.png", "ablation.md")}
