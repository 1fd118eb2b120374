"""Windows against the exact engine: error and wall time.

Run from the repository root, so that its packages are found:

    python -m benchmarks.engines
    python -m benchmarks.engines --windows 1,2 --conns 192 --figure docs/windows.png

Simulates each point exactly and with each window, and prints the error of goodput in percent, of acquisitions of
global TCP/IP locks that had to wait in points, of L2 misses in percent, and the wall time as a multiple of the exact engine's.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.figures import label_values
from experiments.config.compose import compose_simulation
from experiments.run.task import compile_once
from netstack.errors import ConfigError
from netstack.sim import Result, simulate

ORGANIZATIONS = "up,msgp,connp_t,connp_l"


def errors(exact: Result, other: Result) -> tuple[float, float, float]:
    """Return the error of goodput in percent, of waits for global locks in points, and of L2 misses in percent."""
    waits = [result.lock["global"].not_immediate_percent if "global" in result.lock else 0.0 for result in (exact, other)]
    goodput = 100 * (other.goodput_mbps / exact.goodput_mbps - 1)
    return goodput, waits[1] - waits[0], 100 * (other.l2_misses_per_kb / exact.l2_misses_per_kb - 1)


def compare_windows(
    organizations: Sequence[str], loads: Sequence[int], windows_us: Sequence[float], console: Console
) -> dict[tuple[str, int, float], tuple[float, ...]]:
    """Print and return errors and relative wall time of each point and window."""
    table = Table("point", "window us", "goodput %", "waits points", "misses %", "wall, times", box=box.SIMPLE_HEAD)
    rows: dict[tuple[str, int, float], tuple[float, ...]] = {}
    compile_once()
    compile_once(windows=True)
    for org in organizations:
        for conns in loads:
            exact = simulate(compose_simulation(f"org={org}", f"conns={conns}"))
            for window_us in windows_us:
                result = simulate(compose_simulation(f"org={org}", f"conns={conns}", f"engine.window_us={window_us}"))
                row = (*errors(exact, result), result.wall_seconds / exact.wall_seconds)
                rows[org, conns, window_us] = row
                table.add_row(f"{org} {conns:,}", f"{window_us:g}", *(f"{value:+.1f}" for value in row[:3]), f"{row[3]:.0f}")
                console.print(f"{org} conns={conns} window_us={window_us:g}: " + " ".join(f"{value:+.2f}" for value in row))
    console.print(table)
    return rows


def draw(path: Path, rows: dict[tuple[str, int, float], tuple[float, ...]]) -> None:
    """Draw the largest absolute errors and the wall time of each organization against the window."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    titles = (
        "largest error of goodput, %",
        "largest error of waits for global locks, points",
        "wall time, times the exact engine's",
    )
    for axis, title, column in zip(axes, titles, (0, 1, 3), strict=True):
        for org in dict.fromkeys(key[0] for key in rows):
            windows = sorted({key[2] for key in rows})
            values = [
                max(abs(row[column]) for key, row in rows.items() if key[0] == org and key[2] == window) for window in windows
            ]
            axis.plot(windows, values, marker="o", label=org)
        axis.set(title=title, xlabel="window, us", xscale="log", ylim=(0, None))
        label_values(axis, windows)
    axes[0].axhline(2, color="0.6", linestyle=":")
    axes[1].axhline(3, color="0.6", linestyle=":")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    figure.savefig(path, dpi=130)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description="Windows against the exact engine.")
    parser.add_argument("--organizations", default=ORGANIZATIONS, help="names of conf/org (default: %(default)s)")
    parser.add_argument("--conns", default="6,192,1536", help="connections (default: %(default)s)")
    parser.add_argument("--windows", default="0.5,1,2,4", help="windows in us (default: %(default)s)")
    parser.add_argument("--figure", type=Path, help="draw errors and wall time against the window into this file")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    try:
        loads = [int(text) for text in options.conns.split(",")]
        windows = [float(text) for text in options.windows.split(",")]
        rows = compare_windows(options.organizations.split(","), loads, windows, console)
    except (ConfigError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.figure:
        draw(options.figure, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
