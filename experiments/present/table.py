"""Outcomes as text: a line per point, a closing table, a summary as CSV. Knows outcomes, not how points run."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.config.values import flat_values, number
from experiments.points.breakdown import COLUMNS, column_cycles
from experiments.points.point import Outcome, Point
from experiments.points.seeds import Repetitions, repetitions

LEGEND = (
    "stack: protocol and application; driver: with interrupts; sched: scheduling, with its locks and stalls; "
    "waits: for global TCP/IP locks"
)
PROFILED = "with lock profiling: a kernel whose locks are held longer; its waits are to be compared, not its goodput"

GAP = 1  # between two columns
EDGES = 2  # of a table
LEAST_LABEL = 20  # to which the first column is narrowed before a table becomes several
MINIMUM_LABEL = 6  # of the first column of several


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
    columns = {"org": [row.point.name.series for row in rows], **_numbers(rows, repeated, settled)}
    title: str | None = "Goodput, and busy cycles of all cores per KB of payload"
    for width, headings in _blocks(columns, console.width):
        table = Table(title=title, title_justify="left", box=SIMPLE, padding=0, pad_edge=False)
        first, *others = headings
        table.add_column(first, overflow="fold", width=width)
        for heading in others:
            table.add_column(heading, justify="right", no_wrap=True)
        for cells in zip(*(columns[heading] for heading in headings), strict=True):
            table.add_row(*map(Text, cells))
        console.print(table)
        title = None
    console.print(LEGEND, style="dim")
    if any(row.point.config.costs.lock_profiling for row in rows):
        console.print(PROFILED, style="dim")
    if repeated:
        seeds = sorted({len(row.results) for row in rows})
        console.print(f"means over {' or '.join(map(str, seeds))} seeds; 95 %: half the confidence interval of the mean")
    if not settled:
        console.print("* not settled: the halves of the measured interval differ by more than engine.steady_percent")


def _numbers(rows: Sequence[Repetitions], repeated: bool, settled: bool) -> dict[str, list[str]]:
    """Return the cells of each column of numbers by its heading. The first tells rows of a series apart."""
    columns: dict[str, list[str]] = {}
    for row in rows:
        x = row.point.name.x
        steady = all(result.steady for result in row.results)
        shared = [result.lock["global"].not_immediate_percent for result in row.results if "global" in result.lock]
        cells = {
            rows[0].point.name.axis: f"{x:,}" if isinstance(x, int) else number(x),
            "Mb/s": f"{row.mean(lambda result: result.goodput_mbps):,.0f}" + ("" if settled else " " if steady else "*"),
            **({"95 %": f"±{row.half_width(lambda result: result.goodput_mbps):,.0f}"} if repeated else {}),
            **({"seeds": str(len(row.results))} if len({len(each.results) for each in rows}) > 1 else {}),
            "busy": f"{row.mean(lambda result: result.utilization):.0%}",
            **{name: f"{row.mean(lambda result, name=name: column_cycles(result, name)):,.0f}" for name in COLUMNS},
            "L2/KB": f"{row.mean(lambda result: result.l2_misses_per_kb):.2f}",
            "waits": f"{sum(shared) / len(shared):.0f}%" if shared else "-",
        }
        for heading, cell in cells.items():
            columns.setdefault(heading, []).append(cell)
    return columns


def _blocks(columns: Mapping[str, Sequence[str]], width: int) -> list[tuple[int, list[str]]]:
    """Return the first column's width and all columns of one table, or of several with the first two each, where it is narrow."""
    first, second, *others = columns
    widths = {heading: GAP + max(map(len, (heading, *cells))) for heading, cells in columns.items()}
    longest = widths[first] - GAP
    left = width - EDGES - sum(widths[heading] for heading in (second, *others))
    if left >= min(longest, LEAST_LABEL):
        return [(min(longest, left), [first, second, *others])]
    label = max(MINIMUM_LABEL, min(longest, width // 3))
    blocks: list[list[str]] = []
    free = 0
    for heading in others:
        if not blocks or widths[heading] > free:
            blocks.append([first, second])
            free = width - EDGES - label - widths[second]
        blocks[-1].append(heading)
        free -= widths[heading]
    return [(label, headings) for headings in blocks]


def _without_operations(part: Mapping[str, object]) -> dict[str, object]:
    """Return a part of flat values without the costs of operations."""
    return {name: value for name, value in part.items() if not name.startswith(("costs.op", "costs.struct"))}


def write_summary(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write a row of parameters and metrics per finished point. The costs of operations are left to `config.yaml`."""
    rows: list[dict[str, object]] = []
    known: dict[int, tuple[object, dict[str, object]]] = {}  # parts that points share, by identity, which a kept one never loses
    variants = any(outcome.point.name.variant for outcome in outcomes)
    for outcome in outcomes:
        if outcome.result is not None:
            parts = list(flat_values(outcome.point.config).parts.values())
            known.update((id(part), (part, _without_operations(part))) for part in parts if id(part) not in known)
            parameters = {name: value for part in parts for name, value in known[id(part)][1].items()}
            named = {"variant": outcome.point.name.variant} if variants else {}
            rows.append({"fingerprint": outcome.point.fingerprint, **named, **parameters, **outcome.result.metrics()})
    columns = dict.fromkeys(name for row in rows for name in row)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(columns))
        writer.writeheader()
        writer.writerows(rows)
