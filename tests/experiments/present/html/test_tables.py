"""The publication's tables beside the simulation say which kernel, and which way to count, a number comes from."""

import pytest

from experiments.paper.published import CONTENTION_PERCENT, MISSES_PER_KB
from experiments.paper.verdicts import PointKey
from experiments.present.html.comparisons import contention_figure, goodput_figure
from experiments.present.html.tables import contention_table, misses_table


def test_table_1_shows_both_kernels(published_world) -> None:
    table = contention_table(published_world)
    assert "reads the timecounter twice" in table.note
    rows = {(row[0], row[1]): row[2:] for row in table.rows}
    assert len(rows) == 21
    assert rows["msgp", "6"] == ("89", "89 ± 0", "70 ± 0")
    assert rows["connp_l(128)", "16,384"] == ("2", "2 ± 0", "20 ± 0")
    assert rows["connp_l(8)", "192"] == ("30", "30 ± 0", "-")
    assert [float(row[2]) for row in table.rows] == [value for values in CONTENTION_PERCENT.values() for value in values]


def test_the_figure_of_table_1_says_what_kernel_it_is_and_marks_the_other(published_world) -> None:
    figure = contention_figure(published_world)
    assert figure is not None
    assert "kernel with lock profiling: each mutex reads the timecounter twice while it is held" in figure.caption
    assert [panel.count('class="beside"') for panel in figure.panels] == [2, 2, 2]
    assert "msgp: without lock profiling 70.0 ± 0.0 %" in figure.panels[0]
    measured = {key: result for key, result in published_world.items() if not key.profiled}
    assert contention_figure(measured) is None


def test_goodput_is_drawn_beside_what_was_published_and_without_lock_profiling(published_world) -> None:
    figure = goodput_figure(published_world)
    assert figure is not None
    for text in ("msgp 62 % above up at 16,384", "connp_l 126 % above up at 16,384", "up 4,034 Mb/s at 6"):
        assert f"published: {text}" in figure.panels[0]
    assert "900" not in str(figure.table.rows)
    profiled = {key: result for key, result in published_world.items() if key.profiled}
    assert goodput_figure(profiled) is None


def test_table_2_shows_fills_and_upgrades(make_result) -> None:
    point = make_result(misses=20.0)
    point.upgrades_per_kb = 8.4
    table = misses_table({PointKey("msgp", 6, 1, 1): point, PointKey("msgp", 192, 1, 1, True): point})
    rows = {(row[0], row[1]): row[2:] for row in table.rows}
    assert rows["msgp", "6"] == ("37.29", "20.00 ± 0.00", "28.40 ± 0.00")
    assert rows["msgp", "192"] == ("28.39", "not run", "not run")  # what was run profiles locks
    assert [float(row[2]) for row in table.rows] == pytest.approx([v for values in MISSES_PER_KB.values() for v in values])
    assert "verdicts use fills" in table.note
