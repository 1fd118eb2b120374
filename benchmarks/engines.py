"""Windows against the exact engine, and core actors against Ray itself.

Run from the repository root, so that its packages are found:

    python -m benchmarks.engines
    python -m benchmarks.engines --windows 1,2 --conns 192 --figure docs/windows.png
    python -m benchmarks.engines --ray

The first form simulates each point exactly and with each window, and prints the error of goodput in percent, of acquisitions of
global TCP/IP locks that had to wait in points, of L2 misses in percent, and the wall time as a multiple of the exact engine's.
The last one measures a round of core actors beside the round trip of as many actors that only return what they get, by plain
calls and by Ray's compiled graphs, and a sweep of 52 short points with engine=ray beside the same with engine=inline.
"""

import argparse
import logging
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.points import compose_point
from experiments.core_actors import CoreActor, CoreActors, compile_rounds, exchange, no_messages, pin
from experiments.task import compile_once
from netstack.engine import Result, simulate
from netstack.errors import ConfigError

ORGANIZATIONS = "up,msgp,connp_t,connp_l"
LOADS = (24, 48, 96, 192, 384, 768, 1536, 3072, 6144, 8192, 10240, 12288, 16384)
ROUNDS = 400
SHORT = ("engine.warmup_ms=0.5", "engine.measure_ms=1")


class Echo:
    """An actor that only returns some of what it gets, as much as each of four would; bound to a CPU as core actors are."""

    def __init__(self, cpu: int) -> None:
        pin(cpu)

    def round(self, messages: np.ndarray) -> np.ndarray:
        """Return the first quarter."""
        return messages[: len(messages) // 4]


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
            exact = simulate(compose_point(f"org={org}", f"conns={conns}"))
            for window_us in windows_us:
                result = simulate(compose_point(f"org={org}", f"conns={conns}", f"engine.window_us={window_us}"))
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
        axis.set_xticks(windows, [f"{window:g}" for window in windows])
        axis.minorticks_off()
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].axhline(2, color="0.6", linestyle=":")
    axes[1].axhline(3, color="0.6", linestyle=":")
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=130)


def median_ms(step: Callable[[], Any], count: int = ROUNDS) -> float:
    """Return the median time of a call in ms."""
    times = []
    for _ in range(count):
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def compare_with_ray(console: Console) -> None:
    """Print what a round costs beside a bare round trip, and a sweep beside the inline engine."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    compile_once(windows=True)
    import ray

    ray.init(
        address="local",
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=200 * 2**20,
        logging_level=logging.ERROR,
    )
    config = compose_point("org=connp_l", "conns=192", "engine=ray", "engine.warmup_ms=5", "engine.measure_ms=1000")
    cores = [ray.remote(CoreActor).options(num_cpus=0).remote(core, 4, core) for core in range(4)]
    ray.get([core.load.remote([config]) for core in cores])
    graph = compile_rounds(cores)
    messages = no_messages(4)
    for _ in range(ROUNDS):
        messages = exchange(ray, graph, messages, points=1)
    kept = [messages]

    def one_round() -> None:
        kept[0] = exchange(ray, graph, kept[0], points=1)

    echoes = [ray.remote(Echo).options(num_cpus=0).remote(core) for core in range(4)]
    bare = compile_rounds(echoes)
    alternating = [(median_ms(lambda: ray.get(bare.execute(messages)), 100), median_ms(one_round, 100)) for _ in range(5)]
    trip, turn = (statistics.median(values) for values in zip(*alternating, strict=True))
    bare.teardown()
    graph.teardown()
    plain = median_ms(lambda: ray.get([echo.round.remote(messages) for echo in echoes]))
    console.print(f"bare round trip to 4 actors: {trip:.2f} ms by a compiled graph")
    console.print(f"round of 4 core actors, one point: {turn:.2f} ms, {turn / trip:.2f} times")
    console.print(f"bare round trip by plain calls: {plain:.2f} ms")
    actors: list[Any] = [*cores, *echoes]
    for actor in actors:
        ray.kill(actor)
    configs = [compose_point(f"org={org}", f"conns={c}", "engine=ray", *SHORT) for org in ORGANIZATIONS.split(",") for c in LOADS]
    started = time.perf_counter()
    inline = [simulate(config) for config in configs]
    between = time.perf_counter()
    by_ray = CoreActors(ray, 4, "PACK", pin=True).simulate(configs)
    ended = time.perf_counter()
    same = sum(one.goodput_mbps == other.goodput_mbps for one, other in zip(inline, by_ray, strict=True))
    console.print(f"{len(configs)} points: inline {between - started:.1f} s, ray {ended - between:.1f} s, {same} equal")
    console.print(f"ray took {(ended - between) / (between - started):.1f} times the wall time of inline")
    ray.shutdown()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engines", description="Windows and core actors, measured.")
    parser.add_argument("--organizations", default=ORGANIZATIONS, help="names of conf/org (default: %(default)s)")
    parser.add_argument("--conns", default="6,192,1536", help="connections (default: %(default)s)")
    parser.add_argument("--windows", default="0.5,1,2,4", help="windows in us (default: %(default)s)")
    parser.add_argument("--figure", type=Path, help="draw errors and wall time against the window into this file")
    parser.add_argument("--ray", action="store_true", help="measure core actors instead")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    try:
        if options.ray:
            compare_with_ray(console)
            return 0
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
