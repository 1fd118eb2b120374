"""Outcomes as text: a line per point, a closing table, a summary as CSV. Knows outcomes, not how points run."""

import csv
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from experiments.config.values import flat_values, number
from experiments.points.breakdown import COLUMNS, column_cycles
from experiments.points.point import Outcome, Point
from experiments.points.seeds import repetitions

LEGEND = (
    "stack: protocol and application; driver: with interrupts; sched: scheduling, with its locks and stalls; "
    "waits: for global TCP/IP locks"
)
PROFILED = "with lock profiling: a kernel whose locks are held longer; its waits are to be compared, not its goodput"


def line(outcome: Outcome, width: int = 0) -> str:
    """Return one line about a finished or failed point; `width` aligns labels."""
    result = outcome.result
    if result is None:
        return f"{outcome.point.label:{width}}  failed: {outcome.failure}"
    when = "done before" if outcome.done_before else f"{result.wall_seconds:.1f} s"
    unsettled = "" if result.steady else f", not settled: halves differ by {result.halves_difference_percent:.0f} %"
    return (
        f"{outcome.point.label:{width}}  {result.goodput_mbps:6,.0f} Mb/s, {result.utilization:4.0%} busy, "
        f"{result.l2_misses_per_kb:5.2f} L2 misses/KB ({when}{unsettled})"
    )


def label_width(points: Sequence[Point]) -> int:
    """Return the length of the longest label."""
    return max(len(point.label) for point in points)


def print_table(console: Console, outcomes: Sequence[Outcome]) -> None:
    """Print the closing table: throughput, and where the cycles of a KB went. Seeds are averaged."""
    rows = repetitions(outcomes)
    if not rows:
        return
    repeated = any(len(row.results) > 1 for row in rows)
    settled = all(result.steady for row in rows for result in row.results)
    table = Table(
        title="Goodput, and busy cycles of all cores per KB of payload",
        title_justify="left",
        box=SIMPLE,
        padding=0,
        pad_edge=False,
    )
    table.add_column("org", overflow="fold")
    for heading in (rows[0].point.name.axis, "Mb/s", *(["95 %"] if repeated else []), "busy", *COLUMNS, "L2/KB", "waits"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        name = row.point.name
        steady = all(result.steady for result in row.results)
        shared = [result.lock["global"].not_immediate_percent for result in row.results if "global" in result.lock]
        table.add_row(
            name.series,
            f"{name.x:,}" if isinstance(name.x, int) else number(name.x),
            f"{row.mean(lambda result: result.goodput_mbps):,.0f}" + ("" if settled else " " if steady else "*"),
            *([f"±{row.half_width(lambda result: result.goodput_mbps):,.0f}"] if repeated else []),
            f"{row.mean(lambda result: result.utilization):.0%}",
            *(f"{row.mean(lambda result, column=column: column_cycles(result, column)):,.0f}" for column in COLUMNS),
            f"{row.mean(lambda result: result.l2_misses_per_kb):.2f}",
            f"{sum(shared) / len(shared):.0f}%" if shared else "-",
        )
    console.print(table)
    console.print(LEGEND, style="dim")
    if any(row.point.config.costs.lock_profiling for row in rows):
        console.print(PROFILED, style="dim")
    if repeated:
        seeds = sorted({len(row.results) for row in rows})
        console.print(f"means over {' or '.join(map(str, seeds))} seeds; 95 %: half the confidence interval of the mean")
    if not settled:
        console.print("* not settled: the halves of the measured interval differ by more than engine.steady_percent")


def write_summary(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write a row of parameters and metrics per finished point. The costs of operations are left to `config.yaml`."""
    rows: list[dict[str, object]] = []
    variants = any(outcome.point.name.variant for outcome in outcomes)
    for outcome in outcomes:
        if outcome.result is not None:
            values = flat_values(outcome.point.config)
            parameters = {name: value for name, value in values.items() if not name.startswith(("costs.op", "costs.struct"))}
            named = {"variant": outcome.point.name.variant} if variants else {}
            rows.append({"fingerprint": outcome.point.fingerprint, **named, **parameters, **outcome.result.metrics()})
    columns = dict.fromkeys(name for row in rows for name in row)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(columns))
        writer.writeheader()
        writer.writerows(rows)
