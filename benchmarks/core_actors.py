"""What a round of core actors costs, alone and beside busy processes, and how it grows with batch and cores.

Run from the repository root, so that its packages are found:

    python -m benchmarks.core_actors
    python -m benchmarks.core_actors --cores 4,8,16,32 --batches 1,4,16,64 --busy 2 --figure docs/figures/actors.png

Measures a round of core actors beside the same windows in one process and beside the bare exchange of about as many words; the
wall time of a round against the points of a batch and the cores of a machine; and a sweep of 52 short points with engine=ray
beside the same with engine=inline. `--busy` measures all rounds once more beside so many processes that only compute.
"""

import argparse
import multiprocessing
import statistics
import sys
import time
from collections.abc import Generator, Sequence
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
from experiments.run.core_actors import CoreActor, CoreActors, gather, no_messages, pack
from experiments.run.task import compile_once
from netstack.errors import ConfigError
from netstack.sim import SimulationConfig, simulate

ORGANIZATIONS = ("up", "msgp", "connp_t", "connp_l")
LOADS = (24, 48, 96, 192, 384, 768, 1536, 3072, 6144, 8192, 10240, 12288, 16384)
SHORT = ("engine=ray", "engine.warmup_ms=0.5", "engine.measure_ms=1")
LONG = ("engine=ray", "engine.warmup_ms=5", "engine.measure_ms=10000")
ROUNDS = 200
REPETITIONS = 5
WORDS = np.ones(100, np.int64)  # about what a core sends in a round


class Echo(CoreActor):
    """An actor that only exchanges messages, as long as those of a usual round."""

    def round(self, messages: np.ndarray) -> np.ndarray:
        """Return some words for each of its cores."""
        return pack([WORDS] * (len(self._cores) * self._shares[self._index]))


@dataclass(frozen=True)
class Round:
    """Median wall times of a round of all cores of a batch, in ms."""

    cores: int
    batch: int
    busy: int
    inline_ms: float
    actors_ms: float
    bare_ms: float


def point_of(cores: int) -> SimulationConfig:
    """Return a point of connp_l with 48 connections a core."""
    machine = ("machine=epyc_16", f"machine.cores={cores}", f"machine.nic.count={max(1, cores // 4)}") if cores != 4 else ()
    return compose_simulation("org=connp_l", f"conns={48 * cores}", *machine, *LONG)


def measure_round(ray: Any, cores: int, batch: int, busy: int, per_actor: int | None) -> Round:
    """Measure rounds of the same batch in one process and by actors, and the bare exchange, alternately."""
    configs = [point_of(cores)] * batch
    alone = CoreActor(0, [cores])
    alone.load(configs)
    pools = [CoreActors(ray, cores, "PACK", per_actor, kind) for kind in (CoreActor, Echo)]
    for pool in pools:
        pool.load(configs)
    inside = no_messages(cores * batch)
    rows = []
    with busy_processes(busy):
        for _ in range(REPETITIONS):
            started = time.perf_counter()
            for _ in range(ROUNDS):
                inside = gather([alone.round(inside)], batch, [cores])
            inline_s = time.perf_counter() - started
            rows.append([1000 * seconds / ROUNDS for seconds in (inline_s, *(pool.run(ROUNDS) for pool in pools))])
    for pool in pools:
        pool.end()
    inline_ms, actors_ms, bare_ms = (statistics.median(values) for values in zip(*rows[1:], strict=True))  # the first warms up
    return Round(cores, batch, busy, inline_ms, actors_ms, bare_ms)


@contextmanager
def busy_processes(count: int) -> Generator[None, None, None]:
    """Keep so many processes computing meanwhile."""
    processes = [multiprocessing.get_context("spawn").Process(target=_compute, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.kill()


def _compute() -> None:
    number = 1
    while True:
        number = number * 3 % 1_000_003


def measure_rounds(
    ray: Any, cores: Sequence[int], batches: Sequence[int], loads: Sequence[int], per_actor: int | None, console: Console
) -> list[Round]:
    """Measure and print machines of so many cores with one point, and batches of so many points of the first machine."""
    table = Table("cores", "points", "busy", "inline ms", "actors ms", "exchange ms", "actors / inline", box=box.SIMPLE_HEAD)
    rows = []
    for busy in loads:
        for count, batch in [*((cores[0], batch) for batch in batches), *((count, 1) for count in cores[1:])]:
            row = measure_round(ray, count, batch, busy, per_actor)
            rows.append(row)
            values = [f"{value:.2f}" for value in (row.inline_ms, row.actors_ms, row.bare_ms, row.actors_ms / row.inline_ms)]
            console.print(f"{count} cores, {batch} points, {busy} busy: " + " ".join(values))
            table.add_row(str(count), str(batch), str(busy), *values)
    console.print(table)
    return rows


def compare_sweep(ray: Any, per_actor: int | None, console: Console) -> None:
    """Print the wall time of a sweep by core actors, their start included, beside the same windows in one process."""
    configs = [compose_simulation(f"org={org}", f"conns={conns}", *SHORT) for org in ORGANIZATIONS for conns in LOADS]
    started = time.perf_counter()
    inline = [simulate(config) for config in configs]
    between = time.perf_counter()
    by_ray = CoreActors(ray, 4, "PACK", per_actor).simulate(configs)
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
    rows = [row for row in rows if row.busy == rows[0].busy]
    cores = rows[0].cores
    batches = [row for row in rows if row.cores == cores]
    machines = sorted((row for row in rows if row.batch == 1), key=lambda row: row.cores)
    sides = (
        (axes[0], batches, "batch", "points in lock-step", f"a round of {cores} cores, ms a point"),
        (axes[1], machines, "cores", "cores of the machine", "a round of one point, ms"),
    )
    labels = {"actors_ms": "core actors", "bare_ms": "exchange alone", "inline_ms": "in one process"}
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
    parser.add_argument("--cores", default="4", help="cores of machines (default: %(default)s)")
    parser.add_argument("--batches", default="1", help="points in lock-step (default: %(default)s)")
    parser.add_argument("--busy", type=int, default=0, help="measure also beside so many processes (default: %(default)s)")
    parser.add_argument("--cores-per-actor", type=int, help="of each machine (default: as many as make an actor per CPU)")
    parser.add_argument("--figure", type=Path, help="draw wall times into this file")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    try:
        cores, batches = ([int(text) for text in given.split(",")] for given in (options.cores, options.batches))
        compile_once(windows=True)
        ray = start_or_join(max(cores), None, None, False, actors=2 * max(cores))
        loads = [0, options.busy] if options.busy else [0]
        rows = measure_rounds(ray, cores, batches, loads, options.cores_per_actor, console)
        compare_sweep(ray, options.cores_per_actor, console)
        ray.shutdown()
    except (ConfigError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.figure:
        draw(options.figure, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
