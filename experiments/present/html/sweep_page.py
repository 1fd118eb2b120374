"""The page of any sweep: figures, a table that sorts, a chart of any statistic, and two points side by side, in one file.

Figures and table are drawn here and need no script; the script of the page adds what a reader chooses.
Knows results, not how a page is laid out.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.config.values import flat_values, is_number, number, varied_keys
from experiments.paper.verdicts import Estimate
from experiments.points.breakdown import COLUMNS, busy_cycles, column_cycles, structure_misses
from experiments.points.names import AXIS, PointName
from experiments.points.point import Outcome
from experiments.points.seeds import Repetitions, repetitions
from experiments.points.statistics import BUSY, GREATER_IS_BETTER, NAMES, REQUEST_TIMES, main_statistic, statistic, unit
from experiments.present.html.charts import MARKERS, Bar, BarChart, Line, LineChart, series_classes
from experiments.present.html.parts import Figure, Table
from experiments.present.html.rendering import facts, render, script
from netstack.sim import Result

MOST_ROWS = 2000  # a page of more is too large to be opened with pleasure
MOST_DRAWN = 300  # points of which all figures are drawn; of more, only the first, and the page's chart draws the others
MOST_PANELS = 12  # of bars, one per series
SEED = "seed"
AXIS_LABELS = {AXIS: "connections", "machine.cores": "cores", "org.cores": "cores", "org.groups": "connection groups"}
WORK = {
    "stack": "work-1",
    "driver": "work-2",
    "copy": "work-3",
    "stalls": "stalls",
    "sched": "sched",
    "locks": "lock-2",
}
"""Columns of a table of cycles, and their classes of the style sheet."""
LABELS = {
    "stack": "stack and application",
    "driver": "drivers, interrupts, polls",
    "sched": "scheduling",
    "stalls": "cache stalls",
}


@dataclass(frozen=True)
class Row:
    """A point of the table: its repetitions, its class of the style sheet, and what it is called."""

    repeated: Repetitions
    series: int
    kind: str

    @property
    def x(self) -> float:
        """Where it is on the axis."""
        return self.repeated.point.name.x

    def estimate(self, read: Callable[[Result], float]) -> Estimate:
        """Return mean and interval of a statistic."""
        return Estimate(self.repeated.mean(read), self.repeated.half_width(read), len(self.repeated.results))


def write_sweep_page(path: Path, outcomes: Sequence[Outcome], title: str, command: str) -> Path | None:
    """Write the page of a sweep's finished points; return its file, None where there are too many points or none.

    Args:
        path: The file to write.
        outcomes: All points, finished or not.
        title: The heading.
        command: What runs the sweep again.
    """
    repeated = repetitions(outcomes)
    if not 1 <= len(repeated) <= MOST_ROWS:
        return None
    names = list(dict.fromkeys(each.point.name.series for each in repeated))
    found = [Row(each, names.index(each.point.name.series), _kind(each, names)) for each in repeated]
    main = main_statistic(found[0].repeated.point.config)
    text = render(
        "sweep.html",
        title=title,
        headline=headline(found, names, main),
        series=[(name, kind, index) for index, (name, kind) in enumerate(series_classes(names).items())],
        figures=_figures(found, names, main),
        columns=_columns(found, main),
        rows=[_cells(row, main) for row in found],
        data=json.dumps(_data(found, names, main), separators=(",", ":")).replace("<", "\\u003c"),
        script=script("sweep.js"),
        facts=facts(outcomes),
        command=command,
    )
    path.write_text(text, encoding="utf-8")
    return path


def headline(found: Sequence[Row], names: Sequence[str], main: str) -> str:
    """Return how many points there are and which is best, in a sentence."""
    read = statistic(main)
    best = max(found, key=lambda row: row.repeated.mean(read))
    value = best.estimate(read)
    name = best.repeated.point.name
    at_loads: dict[float, list[Row]] = {}
    for row in found:
        at_loads.setdefault(row.x, []).append(row)
    compared = [rows for rows in at_loads.values() if len(rows) > 1]
    wins = [max(rows, key=lambda row: row.repeated.mean(read)).series for rows in compared]
    most = max(set(wins), key=wins.count) if wins else best.series
    often = (
        f" {names[most]} is best at {wins.count(most)} of {len(compared)} values of the axis, {_axis(found)}." if compared else ""
    )
    extreme = "most" if main in GREATER_IS_BETTER else "least"
    return (
        f"{len(found)} points of {len(names)} series. "
        f"{name.series} at {_place(name)} has the {extreme} {_label(main)}: "
        f"{_text(value.mean)}{f' ± {_text(value.half_width)}' if value.half_width else ''} {unit(main)}.{often}"
    )


def _figures(found: Sequence[Row], names: Sequence[str], main: str) -> list[Figure]:
    """Return the figures: what the sweep is about, times of requests, cycles, misses, waits for locks."""
    waits = ("lock_spin", "lock_sleep")
    lines: list[tuple[str, str, str, Callable[[Result], float]]] = [(main, _label(main), unit(main), statistic(main))]
    if main == "requests_per_second":
        lines += [
            (name, f"{name.removesuffix('_us')} of the time of a request", "us", statistic(name)) for name in ("p50_us", "p99_us")
        ]
    lines += [
        ("l2_misses_per_kb", "L2 data misses", "per KB of payload", statistic("l2_misses_per_kb")),
        ("waits", "Waiting for locks", "cycles per KB", lambda result: sum(result.cycles_per_kb[name] for name in waits)),
    ]
    if len(found) > MOST_DRAWN:
        return [_line_figure(found, names, *lines[0])]
    first, *others = (_line_figure(found, names, *line) for line in lines)
    return [first, _cycles_figure(found, names), *others]


def _line_figure(
    found: Sequence[Row], names: Sequence[str], identifier: str, title: str, units: str, read: Callable[[Result], float]
) -> Figure:
    lines = []
    for index, name in enumerate(names):
        points = [(float(row.x), row.estimate(read)) for row in found if row.series == index]
        lines.append(Line(name, next(row.kind for row in found if row.series == index), points, MARKERS[index % len(MARKERS)]))
    xs = [row.x for row in found]
    logarithmic = min(xs) > 0 and max(xs) > 4 * min(xs)
    chart = LineChart(title, units, lines, axis=_axis(found), linear=not logarithmic)
    rows = [[_x(x), *(_cell(found, index, x, read) for index in range(len(names)))] for x in sorted(set(xs))]
    heading = title[0].upper() + title[1:]
    table = Table((_axis(found), *names), rows)
    return Figure(identifier, heading, "", [chart.draw(1100, 420, "wide"), chart.draw(350, 260, "narrow")], [], table)


def _cycles_figure(found: Sequence[Row], names: Sequence[str]) -> Figure:
    panels = []
    highest = max(row.repeated.mean(busy_cycles) for row in found)
    for index, name in enumerate(names[:MOST_PANELS]):
        bars = []
        for row in (each for each in found if each.series == index):
            parts = [(LABELS.get(column, column), kind, row.repeated.mean(_column(column))) for column, kind in WORK.items()]
            bars.append(Bar(_x(row.x), parts))
        chart = BarChart(name, "cycles/KB", bars, highest, axis=_axis(found))
        panels.append(f'<div class="of-{index}">{chart.draw()}</div>')
    more = f" The first {MOST_PANELS} of {len(names)} series." if len(names) > MOST_PANELS else ""
    xs = sorted({row.x for row in found})
    table = Table(
        (_axis(found), *names), [[_x(x), *(_cell(found, index, x, busy_cycles) for index in range(len(names)))] for x in xs]
    )
    legend = [(LABELS.get(column, column), kind) for column, kind in WORK.items()]
    caption = f"Busy cycles of all cores per KB of payload, by what they are spent on.{more}"
    return Figure("cycles", "Where the cycles of a KB go", caption, panels, legend, table)


def _column(name: str) -> Callable[[Result], float]:
    return lambda result: column_cycles(result, name)


def _cell(found: Sequence[Row], series: int, x: float, read: Callable[[Result], float]) -> str:
    value = next((row.estimate(read) for row in found if row.series == series and row.x == x), None)
    if value is None:
        return "–"
    return _text(value.mean) + (f" ± {_text(value.half_width)}" if value.seeds > 1 else "")


def _columns(found: Sequence[Row], main: str) -> list[str]:
    """Return the headings of the table that sorts."""
    times = ["p50 (us)", "p99 (us)"] if main == "requests_per_second" else []
    units = f" ({unit(main)})" if unit(main) else ""
    return ["series", _axis(found), _label(main) + units, "±", *times, "busy (%)", *COLUMNS, "L2/KB", "seeds"]


def _cells(row: Row, main: str) -> dict[str, object]:
    """Return a row of the table: its class, and a number or text with what it sorts by for each column."""
    value = row.estimate(statistic(main))
    numbers = [row.x, value.mean, value.half_width]
    if main == "requests_per_second":
        numbers += [row.repeated.mean(statistic(name)) for name in ("p50_us", "p99_us")]
    numbers += [100 * row.repeated.mean(lambda result: result.utilization)]
    numbers += [row.repeated.mean(_column(column)) for column in COLUMNS]
    numbers += [row.repeated.mean(statistic("l2_misses_per_kb")), float(value.seeds)]
    texts = [_x(row.x), *map(_text, numbers[1:-1]), str(value.seeds)]
    cells = [(text, repr(float(number))) for text, number in zip(texts, numbers, strict=True)]
    return {"series": row.repeated.point.name.series, "kind": row.kind, "index": row.series, "cells": cells}


def _data(found: Sequence[Row], names: Sequence[str], main: str) -> dict[str, object]:
    """Return what the page's script reads: statistics, axes, series, and all points with choices, means and intervals."""
    flat = [flat_values(row.repeated.point.config) for row in found]
    varied = [key for key in varied_keys(flat) if key != SEED]
    numeric = [key for key in varied if all(is_number(values.get(key)) for values in flat)]
    axis = found[0].repeated.point.name.axis
    shown = [name for name in NAMES if name == main or any(row.repeated.mean(_safe(name)) for row in found)]
    points = []
    for row, values in zip(found, flat, strict=True):
        result = row.repeated.results[0]
        points.append(
            {
                "s": row.series,
                "x": row.x,
                "n": len(row.repeated.results),
                "steady": all(each.steady for each in row.repeated.results),
                "v": {key: values.get(key) for key in varied},
                "m": [_rounded(row.repeated.mean(_safe(name)), row.repeated.half_width(_safe(name))) for name in shown],
                "c": {name: _short(row.repeated.mean(_category(name))) for name in result.cycles_per_kb},
                "w": {name: _short(row.repeated.mean(_structure(name))) for name in structure_misses(result)},
            }
        )
    return {
        "main": main,
        "axis": axis,
        "named": axis in AXIS_LABELS,
        "axes": {key: AXIS_LABELS.get(key, key) for key in dict.fromkeys([axis, *numeric])},
        "series": list(names),
        "kinds": list(series_classes(names).values()),
        "statistics": [
            {"name": name, "label": _label(name), "unit": unit(name), "more": name in GREATER_IS_BETTER} for name in shown
        ],
        "points": points,
    }


def _safe(name: str) -> Callable[[Result], float]:
    """Return what reads a statistic; a result without it, of an earlier version, has 0."""
    read = statistic(name)
    return (lambda result: result.request_us.get(REQUEST_TIMES[name], 0.0)) if name in REQUEST_TIMES else read


def _category(name: str) -> Callable[[Result], float]:
    return lambda result: result.cycles_per_kb.get(name, 0.0)


def _structure(name: str) -> Callable[[Result], float]:
    return lambda result: structure_misses(result)[name]


def _label(name: str) -> str:
    known = {"goodput_mbps": "goodput", BUSY: "busy cycles per KB", "requests_per_second": "requests per second"}
    return known.get(name, name.replace("_", " "))


def _axis(found: Sequence[Row]) -> str:
    axis = found[0].repeated.point.name.axis
    return AXIS_LABELS.get(axis, axis)


def _place(name: PointName) -> str:
    """Return where a point is on its axis, in words."""
    return f"{_x(name.x)} {AXIS_LABELS[name.axis]}" if name.axis in AXIS_LABELS else f"{name.axis}={_x(name.x)}"


def _kind(each: Repetitions, names: Sequence[str]) -> str:
    """Return the classes of a series: its colour, and a name of its own by which it is switched off."""
    index = names.index(each.point.name.series)
    return f"{series_classes(names)[names[index]]} of-{index}"


def _x(x: float) -> str:
    return f"{x:,}" if isinstance(x, int) else number(x)


def _text(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.1f}" if abs(value) >= 10 else f"{value:,.2f}"


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def _rounded(mean: float, half_width: float) -> list[float]:
    return [_short(mean), _short(half_width)] if half_width else [_short(mean)]
