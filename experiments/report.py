"""What the terminal and files say about points: a line each, a closing table, a summary as CSV."""

from dataclasses import dataclass
from pathlib import Path

import pandas
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from experiments.points import Point, flattened
from netstack.engine import Result


@dataclass(frozen=True)
class Outcome:
    """What became of a point: a result, or the reason why there is none."""

    point: Point
    result: Result | None
    failure: str = ""
    done_before: bool = False


def line(outcome: Outcome) -> str:
    """Return one line about a finished or failed point."""
    result = outcome.result
    if result is None:
        return f"{outcome.point.label:24} failed: {outcome.failure}"
    when = "done before" if outcome.done_before else f"{result.wall_seconds:.1f} s"
    unsettled = "" if result.steady else f", not settled: halves differ by {result.halves_difference_percent:.0f} %"
    return (
        f"{outcome.point.label:24} {result.goodput_mbps:6.0f} Mb/s, {result.utilization:4.0%} busy, "
        f"{result.l2_misses_per_kb:5.2f} L2 misses/KB ({when}{unsettled})"
    )


def in_order(outcomes: list[Outcome]) -> list[Outcome]:
    """Return outcomes grouped by organization, each by rising load."""
    names = list(dict.fromkeys(outcome.point.config.org.name for outcome in outcomes))
    return sorted(outcomes, key=lambda o: (names.index(o.point.config.org.name), o.point.config.conns, o.point.config.seed))


def print_table(console: Console, outcomes: list[Outcome]) -> None:
    """Print the closing table: throughput, and where the cycles of a KB went."""
    table = Table(title="Goodput, and busy cycles of all cores per KB of payload", title_justify="left", box=SIMPLE)
    table.add_column("org", no_wrap=True)
    headings = ("conns", "Mb/s", "busy", "protocol", "driver+irq", "copy", "scheduling", "locks", "stalls", "L2/KB", "lock waits")
    for heading in headings:
        table.add_column(heading, justify="right")
    for outcome in in_order(outcomes):
        config, result = outcome.point.config, outcome.result
        if result is None:
            table.add_row(config.org.name, str(config.conns), "failed", *[""] * 9)
            continue
        cycles = result.cycles_per_kb
        shared = result.lock.get("global")
        table.add_row(
            config.org.name,
            f"{config.conns:,}",
            f"{result.goodput_mbps:,.0f}" + ("" if result.steady else "*"),
            f"{result.utilization:.0%}",
            *(
                f"{sum(cycles[name] for name in names):,.0f}"
                for names in (
                    ("protocol", "application"),
                    ("driver", "interrupt"),
                    ("copy",),
                    ("scheduling",),
                    ("lock_spin", "lock_sleep"),
                    ("cache_stall",),
                )
            ),
            f"{result.l2_misses_per_kb:.2f}",
            f"{shared.not_immediate_percent:.0f} %" if shared else "-",
        )
    console.print(table)
    if any(outcome.result is not None and not outcome.result.steady for outcome in outcomes):
        console.print("* not settled: the halves of the measured interval differ by more than engine.steady_percent")


def write_summary(path: Path, outcomes: list[Outcome]) -> None:
    """Write all parameters and metrics of finished points, one row each."""
    rows = []
    for outcome in in_order(outcomes):
        if outcome.result is not None:
            values = {name: value for name, value in flattened(outcome.point.values).items() if not name.startswith("costs.op")}
            rows.append({**values, **outcome.result.metrics()})
    pandas.DataFrame(rows).to_csv(path, index=False)
