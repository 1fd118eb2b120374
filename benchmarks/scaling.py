"""How the simulator's time and memory grow with work: with segments, connections, cores and points.

Run from the repository root, so that its packages are found:

    python -m benchmarks.scaling
    python -m benchmarks.scaling --points 10,100 --figure docs/figures/scaling.png

A simulation runs in a fresh process: its processor time, which a busy host changes little, and its peak resident size. A sweep is
that of `benchmarks.sweep`, with its wall time and the resident size of its driver. Exponents are fitted to the three largest of
each series. Says at the end what the experiment of the publication would need on a large cluster, from costs that are measured
here: a run of each of its points at two short lengths, and the median overhead of a point of the largest sweep. Exits with 1 if a
million connections take more than the limit.
"""

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks import sweep
from benchmarks.points import ROOT
from experiments.config.compose import compose_simulation
from experiments.config.locations import CONF
from experiments.run.task import compile_once
from netstack.sim import memory_needed_bytes, planned_ms, prepare, simulate

LIMIT_BYTES = 1.5 * 2**30
MAXRSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024
LARGEST = 3  # values of a series that exponents are fitted to
SHORT_MS = (10, 30)  # lengths from which the time of a point of any length is extrapolated
SEEDS, CLUSTER_CORES = 1000, 1000


def lengths(warmup_ms: float, measure_ms: float) -> tuple[str, str]:
    """Return the overrides of a simulated interval."""
    return f"engine.warmup_ms={warmup_ms}", f"engine.measure_ms={measure_ms}"


SERIES: dict[str, dict[int, tuple[str, ...]]] = {
    "segments": {ms: ("org=connp_l", "conns=192", *lengths(5, ms)) for ms in (10, 40, 160, 640, 2560)},
    "connections": {
        conns: ("org=connp_l", f"conns={conns}", *lengths(10, 20)) for conns in (24, 192, 1536, 16384, 131072, 1_000_000)
    },
    "cores": {
        cores: (
            *("org=connp_l", f"conns={48 * cores}", "machine=epyc_16"),
            *(f"machine.cores={cores}", f"machine.nic.count={max(1, cores // 4)}", *lengths(5, 10)),
        )
        for cores in (1, 2, 4, 8, 16, 32, 64)
    },
}
"""The points of each series by what grows. Segments are counted: what is given is the simulated time in ms."""


@dataclass(frozen=True)
class Row:
    """What one value of a series costs."""

    value: float
    seconds: float
    peak_bytes: float
    segments: float


def measure(overrides: Sequence[str]) -> Row:
    """Simulate a point in this process; return what it cost."""
    config = compose_simulation(*overrides)
    prepare()  # reads compiled code
    started = time.process_time()
    result = simulate(config)
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_UNIT_BYTES
    return Row(0, seconds, peak, result.wall_segments_per_second * result.wall_seconds)


def in_fresh_process(*arguments: str) -> Any:
    """Run a step of this module in a process of its own; return what it printed, from JSON."""
    command = [sys.executable, "-m", "benchmarks.scaling", *arguments]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def measure_series(name: str, console: Console) -> list[Row]:
    """Measure and print the points of a series."""
    rows = []
    for value, overrides in SERIES[name].items():
        found = in_fresh_process("--step", "measure", *overrides)
        rows.append(Row(**{**found, "value": found["segments"] if name == "segments" else value}))
        console.print(f"{name} {rows[-1].value:,.0f}: {rows[-1].seconds:.2f} s, {rows[-1].peak_bytes / 2**20:.0f} MiB")
    return rows


def measure_sweeps(counts: Sequence[int], console: Console) -> tuple[list[Row], dict]:
    """Measure and print sweeps of so many short points; return what they cost, and all figures of the largest one."""
    rows, figures = [], {}
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="netstack-scaling-") as folder:
            figures = sweep.measure(count, Path(folder))
        rows.append(Row(count, figures["wall_seconds"], max(figures["resident_bytes"].values()), 0))
        console.print(f"points {count:,}: {rows[-1].seconds:.1f} s, driver {rows[-1].peak_bytes / 2**20:.0f} MiB")
    return rows, figures


def exponent(rows: Sequence[Row], column: str) -> float:
    """Return the power of the value that a column of the largest rows grows with."""
    values, costs = ([getattr(row, name) for row in rows[-LARGEST:]] for name in ("value", column))
    return float(np.polyfit(np.log(values), np.log(costs), 1)[0])


def paper_points() -> list[tuple[str, ...]]:
    """Return the overrides of all points of the publication's experiment, for one seed."""
    grids = yaml.safe_load((CONF / "experiment" / "paper.yaml").read_text())["grids"]
    points = []
    for grid in grids:
        texts = [
            [f"{key}={str(one).lower()}" for one in (value if isinstance(value, list) else [value])]
            for key, value in grid.items()
            if key != "seed"
        ]
        points += itertools.product(*texts)
    return points


def measure_paper() -> dict[str, float]:
    """Return what the publication's experiment takes with one seed: its processor time, that of its longest point, and memory."""
    seconds, needed = [], []
    for overrides in paper_points():
        full_ms = sum(planned_ms(compose_simulation(*overrides)))
        short, longer = (measure((*overrides, *lengths(ms / 2, ms / 2))).seconds for ms in SHORT_MS)
        seconds.append(short + (longer - short) * (full_ms - SHORT_MS[0]) / (SHORT_MS[1] - SHORT_MS[0]))
        needed.append(memory_needed_bytes(compose_simulation(*overrides)))
    return {"points": len(seconds), "seconds": sum(seconds), "longest": max(seconds), "needed_bytes": max(needed)}


def print_cluster(paper: dict[str, float], overhead_ms: float, console: Console) -> None:
    """Print what the experiment needs with many seeds on many cores, if a sweep costs its driver so much per point."""
    points = paper["points"] * SEEDS
    core_s = paper["seconds"] * SEEDS
    work_s = core_s / CLUSTER_CORES + paper["longest"]
    driver_s = points * overhead_ms / 1000
    busy = 1000 * paper["seconds"] / paper["points"] / overhead_ms
    console.print(f"{paper['points']} points: {paper['seconds']:,.0f} s of processor time, the longest {paper['longest']:.1f} s")
    console.print(f"with {SEEDS:,} seeds: {points:,} points, {core_s / 3600:,.0f} hours of processor time")
    console.print(f"on {CLUSTER_CORES:,} cores: {work_s / 60:,.1f} minutes, the last point included")
    console.print(f"the driver, at {overhead_ms:.1f} ms a point: {driver_s / 60:,.1f} minutes; it keeps {busy:,.0f} cores busy")
    console.print(f"tables of the largest point: {paper['needed_bytes'] / 2**20:,.0f} MiB a core")


def print_series(series: dict[str, list[Row]], console: Console) -> None:
    """Print all rows."""
    table = Table("of", "how many", "s", "us a segment", "peak MiB", box=box.SIMPLE_HEAD)
    for name, rows in series.items():
        for row in rows:
            each = f"{1e6 * row.seconds / row.segments:.2f}" if row.segments else "-"
            table.add_row(name, f"{row.value:,.0f}", f"{row.seconds:.2f}", each, f"{row.peak_bytes / 2**20:,.0f}")
    console.print(table)


def draw(path: Path, series: dict[str, list[Row]]) -> None:
    """Draw seconds and peak memory against each quantity."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        2, len(series), figsize=(3 * len(series), 5.6), layout="constrained", sharex="col", sharey="row"
    )
    for (name, rows), column in zip(series.items(), axes.T, strict=True):
        at = [row.value for row in rows]
        costs = (("seconds", 1, "wall time" if name == "points" else "processor time"), ("peak_bytes", 2**20, "peak memory"))
        for axis, (key, unit, title) in zip(column, costs, strict=True):
            axis.plot(at, [getattr(row, key) / unit for row in rows], marker="o")
            axis.set(xscale="log", yscale="log", title=f"{title}: n^{max(0.0, exponent(rows, key)):.2f}")
            axis.spines[["top", "right"]].set_visible(False)
        column[1].set_xlabel(name)
        if name == "connections":
            column[1].axhline(LIMIT_BYTES / 2**20, color="0.6", linestyle=":")
    axes[0, 0].set_ylabel("s")
    axes[1, 0].set(ylabel="MiB", ylim=(100, 10_000))
    figure.savefig(path, dpi=130)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 1 if a million connections take too much memory."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description="Time and memory against work.")
    parser.add_argument("--points", default="10,30,100,300,1000", help="points of sweeps (default: %(default)s)")
    parser.add_argument("--figure", type=Path, help="draw all series into this file")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to a file")
    parser.add_argument("--step", choices=("compile", "measure", "paper"), help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.step:
        steps = {"compile": compile_once, "measure": lambda: asdict(measure(options.overrides)), "paper": measure_paper}
        print(json.dumps(steps[options.step]()))
        return 0
    console = Console(highlight=False, width=160)
    in_fresh_process("--step", "compile")  # a process begins with the peak of the one that starts it
    console.print(f"load of this computer: {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    series = {name: measure_series(name, console) for name in SERIES}
    paper = in_fresh_process("--step", "paper")
    series["points"], figures = measure_sweeps([int(text) for text in options.points.split(",")], console)
    print_series(series, console)
    print_cluster(paper, max(figures["result_overhead_ms"], figures["run_overhead_ms"]), console)
    if options.json:
        kept = {name: [asdict(row) for row in rows] for name, rows in series.items()}
        options.json.write_text(json.dumps({**kept, "paper": paper, "sweep": figures}, indent=2) + "\n")
    if options.figure:
        draw(options.figure, series)
    return int(series["connections"][-1].peak_bytes > LIMIT_BYTES)


if __name__ == "__main__":
    sys.exit(main())
