"""What MLflow shows of points and of sweeps in words, and which columns its table of a sweep has.

Knows results, not how runs are kept.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.config.values import flat_values, number, varied_keys
from experiments.points.point import Outcome, Point
from experiments.points.seeds import Repetitions, repetitions
from experiments.points.statistics import GREATER_IS_BETTER, main_statistic, statistic, unit
from netstack.sim import Result

LONGEST_NOTE = 4900  # MLflow takes 5,000 characters and more of a tag, by version
MOST_COLUMNS, MOST_ROWS = 14, 40  # of the table in a note
MOST_KEYS = 8  # that vary, as columns of MLflow's table
VIEW = "mlflow.sharedViewState."
"""Tags of an experiment that are views of its table, each by a name that an address can have."""


@dataclass(frozen=True)
class Description:
    """A sweep in words: Markdown of its run, and the columns of its view."""

    note: str
    columns: tuple[str, ...]
    order: str
    rising: bool

    def view(self, parent: str) -> str:
        """Return the view of a sweep's points, given the identity of its run, as MLflow's page reads it."""
        return json.dumps(
            {
                "searchFilter": f"tags.`mlflow.parentRunId` = '{parent}'",
                "orderByKey": self.order,
                "orderByAsc": self.rising,
                "startTime": "ALL",
                "lifecycleFilter": "Active",
                "selectedColumns": list(self.columns),
            }
        )


def describe_point(outcome: Outcome) -> str:
    """Return a finished point in a line."""
    result = outcome.result
    assert result is not None
    name = main_statistic(outcome.point.config)
    times = f", p99 {result.request_us['p99']:,.0f} us" if name == "requests_per_second" else ""
    settled = "settled" if result.steady else f"not settled: halves differ by {result.halves_difference_percent:.0f} %"
    return (
        f"{statistic(name)(result):,.0f} {unit(name)}{times}, {result.utilization:.0%} busy, "
        f"{result.l2_misses_per_kb:.2f} L2 misses per KB, {settled}"
    )


def describe_sweep(outcomes: Sequence[Outcome], command: str, files: Sequence[Path], asked: str = "") -> Description:
    """Return what a sweep's run shows.

    Args:
        outcomes: All points, finished or not.
        command: What runs the sweep again.
        files: What was written, which is attached to the run.
        asked: The precision that was asked for, if any.
    """
    rows = repetitions(outcomes)
    if not rows:
        return Description("No point is finished.", (), "attributes.`Created`", False)
    name = main_statistic(rows[0].point.config)
    failed = sum(outcome.result is None for outcome in outcomes)
    unsettled = [each.point for each in rows if not all(result.steady for result in each.results)]
    settled = f"{len(rows) - len(unsettled)} of {len(rows)} are settled" + (f" (not: {_list(unsettled)})" if unsettled else "")
    seeds = sorted({len(each.results) for each in rows})
    parts = [
        f"    {command}" if command else "",
        _table(rows, name),
        f"{len(rows)} points with {' or '.join(map(str, seeds))} seeds; {settled}." + (f" {failed} failed." if failed else ""),
        f"Precision asked for: {asked}." if asked else "",
        f"Artifacts: {', '.join(path.name for path in files)}. The figures are among the charts, as images." if files else "",
        "To compare sweeps, tick the points of both and group the table by `sweep.name` and `org.name`.",
    ]
    note = "\n\n".join(filter(None, parts))
    flat = [flat_values(each.point.config) for each in rows]
    keys = [key for key in varied_keys(flat) if key.count(".") <= 1 and key != "seed"][:MOST_KEYS]
    metrics = [name, *(["request_us/p99"] if name == "requests_per_second" else []), "utilization", "l2_misses_per_kb", "steady"]
    columns = (*(f"params.`{key}`" for key in ("org.name", "conns", "seed")), *(f"params.`{key}`" for key in keys))
    shown = (*dict.fromkeys(columns), *(f"metrics.`{metric}`" for metric in metrics))
    return Description(note[:LONGEST_NOTE], shown, f"metrics.`{name}`", name not in GREATER_IS_BETTER)


def _table(rows: Sequence[Repetitions], name: str) -> str:
    """Return the means of a statistic by series and x in Markdown, as much of them as a note has room for."""
    read = statistic(name)
    by_series: dict[str, dict[float, Repetitions]] = {}
    for each in rows:
        by_series.setdefault(each.point.name.series, {})[each.point.name.x] = each
    xs = sorted({each.point.name.x for each in rows})
    shown = xs if len(xs) <= MOST_COLUMNS else xs[:: -(-len(xs) // MOST_COLUMNS)]
    axis = rows[0].point.name.axis
    lines = [f"| {name}{f' ({unit(name)})' if unit(name) else ''} by {axis} | {' | '.join(map(number, shown))} |"]
    lines.append("| --- |" + " ---: |" * len(shown))
    for series, found in list(by_series.items())[:MOST_ROWS]:
        cells = [_cell(found[x], read) if x in found else "" for x in shown]
        lines.append(f"| {series} | {' | '.join(cells)} |")
    left = len(by_series) - MOST_ROWS
    more = f"\n\n{left} more series are in summary.csv." if left > 0 else ""
    return "\n".join(lines) + more


def _cell(each: Repetitions, read: Callable[[Result], float]) -> str:
    width = f" ± {each.half_width(read):,.0f}" if len(each.results) > 1 else ""
    return f"{each.mean(read):,.0f}{width}"


def _list(points: Sequence[Point]) -> str:
    names = [f"{point.name.series} at {number(point.name.x)}" for point in points]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
