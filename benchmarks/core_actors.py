"""What a round of core actors costs, beside Ray's bare round trip, and how it grows with batch and cores.

Run from the repository root, so that its packages are found:

    python -m benchmarks.core_actors
    python -m benchmarks.core_actors --cores 4,8,16,32 --batches 1,4,16,64 --figure docs/figures/actors.png

Measures a round of four core actors beside the round trip of as many actors that only return what they get, by plain calls and by
Ray's compiled graphs; a sweep of 52 short points with engine=ray beside the same with engine=inline; and the wall time of a round
against the points of a batch and the cores of a machine. All with the same window on both engines.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.figures import label_values
from experiments.config.compose import compose_simulation
from experiments.run.cluster import start_or_join
from experiments.run.core_actors import CoreActor, CoreActors, compile_rounds, exchange, gather, no_messages, pin
from experiments.run.task import compile_once
from netstack.errors import ConfigError
from netstack.sim import SimulationConfig, simulate

ORGANIZATIONS = ("up", "msgp", "connp_t", "connp_l")
LOADS = (24, 48, 96, 192, 384, 768, 1536, 3072, 6144, 8192, 10240, 12288, 16384)
SHORT = ("engine=ray", "engine.warmup_ms=0.5", "engine.measure_ms=1")
LONG = ("engine=ray", "engine.warmup_ms=5", "engine.measure_ms=10000")
ROUNDS = 200
REPETITIONS = 5


class Echo:
    """An actor that only returns some of what it gets, as much as each of so many would; bound to a CPU as core actors are."""

    def __init__(self, core: int, cores: int) -> None:
        pin(core)
        self._share = cores

    def round(self, messages: np.ndarray) -> np.ndarray:
        """Return the first part."""
        return messages[: len(messages) // self._share]


@dataclass(frozen=True)
class Round:
    """Median wall times of a round of all cores of a batch, in ms."""

    cores: int
    batch: int
    inline_ms: float
    actors_ms: float
    bare_ms: float


def median_ms(step: Callable[[], Any], count: int = ROUNDS) -> float:
    """Return the median time of a call in ms."""
    times = []
    for _ in range(count):
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def point_of(cores: int) -> SimulationConfig:
    """Return a point of connp_l with 48 connections a core."""
    machine = ("machine=epyc_16", f"machine.cores={cores}", f"machine.nic.count={max(1, cores // 4)}") if cores != 4 else ()
    return compose_simulation("org=connp_l", f"conns={48 * cores}", *machine, *LONG)


def measure_round(ray: Any, cores: int, batch: int) -> Round:
    """Measure rounds of the same batch in one process and by actors, and Ray's bare trip, alternately."""
    configs = [point_of(cores)] * batch
    here = [CoreActor(core, cores) for core in range(cores)]
    for one in here:
        one.load(configs)
    actors = [ray.remote(CoreActor).options(num_cpus=0).remote(core, cores, core) for core in range(cores)]
    ray.get([actor.load.remote(configs) for actor in actors])
    echoes = [ray.remote(Echo).options(num_cpus=0).remote(core, cores) for core in range(cores)]
    inside = outside = no_messages(cores * batch)

    def inline_round() -> None:
        nonlocal inside
        inside = gather([one.round(inside) for one in here], batch)

    def round_by(graph: Any) -> None:
        nonlocal outside
        outside = exchange(ray, graph, outside, batch)

    rows = []
    for repetition in range(REPETITIONS + 1):
        with compiled(actors) as graph:  # one graph at a time: actors that wait for a round keep their CPU busy
            actors_ms = median_ms(lambda graph=graph: round_by(graph))
        with compiled(echoes) as graph:
            bare_ms = median_ms(lambda graph=graph: ray.get(graph.execute(outside)))
        if repetition > 0:  # the first one warms up
            rows.append((median_ms(inline_round), actors_ms, bare_ms))
        else:
            median_ms(inline_round)
    everyone: list[Any] = [*actors, *echoes]
    for actor in everyone:
        ray.kill(actor)
    inline_ms, actors_ms, bare_ms = (statistics.median(values) for values in zip(*rows, strict=True))
    return Round(cores, batch, inline_ms, actors_ms, bare_ms)


@contextmanager
def compiled(actors: Sequence[Any]) -> Generator[Any, None, None]:
    """Yield the graph of a round of these actors."""
    graph = compile_rounds(actors)
    try:
        yield graph
    finally:
        graph.teardown()


def measure_plain_calls(ray: Any, cores: int) -> float:
    """Return the bare round trip by calls of actors instead of a graph, in ms."""
    echoes: list[Any] = [ray.remote(Echo).options(num_cpus=0).remote(core, cores) for core in range(cores)]
    messages = np.zeros(60 * cores, np.int64)
    milliseconds = median_ms(lambda: ray.get([echo.round.remote(messages) for echo in echoes]))
    for echo in echoes:
        ray.kill(echo)
    return milliseconds


def measure_rounds(ray: Any, cores: Sequence[int], batches: Sequence[int], console: Console) -> list[Round]:
    """Measure and print machines of so many cores with one point, and batches of so many points of the first machine."""
    table = Table("cores", "points", "inline ms", "actors ms", "Ray alone ms", "actors / Ray alone", box=box.SIMPLE_HEAD)
    rows = []
    for count, batch in [*((cores[0], batch) for batch in batches), *((count, 1) for count in cores[1:])]:
        row = measure_round(ray, count, batch)
        rows.append(row)
        values = [f"{value:.2f}" for value in (row.inline_ms, row.actors_ms, row.bare_ms, row.actors_ms / row.bare_ms)]
        console.print(f"{count} cores, {batch} points: " + " ".join(values))
        table.add_row(str(count), str(batch), *values)
    console.print(table)
    return rows


def compare_sweep(ray: Any, console: Console) -> None:
    """Print the wall time of a sweep by core actors, their start included, beside the same windows in one process."""
    configs = [compose_simulation(f"org={org}", f"conns={conns}", *SHORT) for org in ORGANIZATIONS for conns in LOADS]
    started = time.perf_counter()
    inline = [simulate(config) for config in configs]
    between = time.perf_counter()
    by_ray = CoreActors(ray, 4, "PACK", pin=True).simulate(configs)
    ended = time.perf_counter()
    same = sum(one.goodput_mbps == other.goodput_mbps for one, other in zip(inline, by_ray, strict=True))
    times = (
        f"inline {between - started:.1f} s, actors {ended - between:.1f} s ({(ended - between) / (between - started):.1f} times)"
    )
    console.print(f"{len(configs)} points: {times}, {same} of the results equal")


def draw(path: Path, rows: Sequence[Round]) -> None:
    """Draw a round's wall time against the points of a batch, and against the cores of a machine."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    cores = rows[0].cores
    batches = [row for row in rows if row.cores == cores]
    machines = sorted((row for row in rows if row.batch == 1), key=lambda row: row.cores)
    sides = (
        (axes[0], batches, "batch", "points in lock-step", f"a round of {cores} cores, ms a point"),
        (axes[1], machines, "cores", "cores of the machine", "a round of one point, ms"),
    )
    labels = {"actors_ms": "core actors", "bare_ms": "Ray alone", "inline_ms": "in one process"}
    for axis, shown, key, label, title in sides:
        at = [getattr(row, key) for row in shown]
        for name, text in labels.items():
            axis.plot(at, [getattr(row, name) / row.batch for row in shown], marker="o", label=text)
        axis.set(title=title, xlabel=label, xscale="log", yscale="log")
        label_values(axis, at)
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=130)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.core_actors", description="Rounds of core actors, measured.")
    parser.add_argument("--cores", default="4", help="cores of machines, an actor each (default: %(default)s)")
    parser.add_argument("--batches", default="1", help="points in lock-step (default: %(default)s)")
    parser.add_argument("--figure", type=Path, help="draw wall times into this file")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    try:
        cores, batches = ([int(text) for text in given.split(",")] for given in (options.cores, options.batches))
        compile_once(windows=True)
        ray = start_or_join(max(cores), None, None, False, actors=2 * max(cores))
        console.print(f"bare round trip to {cores[0]} actors by plain calls: {measure_plain_calls(ray, cores[0]):.2f} ms")
        rows = measure_rounds(ray, cores, batches, console)
        compare_sweep(ray, console)
        ray.shutdown()
    except (ConfigError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.figure:
        draw(options.figure, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
