"""What a round of core actors costs, alone and beside busy processes, and what a CPU per core would bring.

Run from the repository root, so that its packages are found:

    python -m benchmarks.core_actors
    python -m benchmarks.core_actors --cores 4,8,16,32,64 --batches 1,4,16,64 --busy 2 --figure docs/figures/actors.png
    python -m benchmarks.core_actors --sweep

Measures a round of core actors beside the same windows in one process and beside the bare exchange of about as many words, for
batches of points and for machines with more cores. What a round would take with a CPU for each core is computed: a core's share
of the processor time in one process, a process's processor time of the bare exchange among as many processes as cores, and the
delay of a message between two of them. `--busy` measures all rounds once more beside so many processes that only compute.
`--sweep` measures the twelve points of the main experiment instead, and a point alone and beside a busy process.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.figures import label_values
from experiments.config.compose import compose_simulation
from experiments.run.cluster import start_or_join
from experiments.run.core_actors import CoreActor, CoreActors
from experiments.run.mesh import Keys, Mesh, new_keys
from experiments.run.task import compile_once
from netstack.errors import ConfigError
from netstack.sim import Lockstep, SimulationConfig, no_messages, simulate

ORGANIZATIONS = ("up", "msgp", "connp_t", "connp_l")
LOADS = (6, 192, 16384)
LONG = ("engine=ray", "engine.warmup_ms=5", "engine.measure_ms=10000")
ROUNDS = 200
REPETITIONS = 5
WORDS = 100  # about what a core sends in a round


class Timed(CoreActor):
    """An actor that notes the processor time of its rounds."""

    processor_s = 0.0

    def run(self, rounds: int | None = None) -> float:
        """Exchange messages; return the seconds."""
        started = time.thread_time()
        seconds = super().run(rounds)
        self.processor_s = time.thread_time() - started
        return seconds

    def processor_seconds(self) -> float:
        """Return the processor time of the last run, without that of Ray's threads."""
        return self.processor_s


class Pool(CoreActors):
    """A pool of timed actors."""

    def processor_seconds(self) -> list[float]:
        """Return the processor time of each actor in the last run."""
        return self._get([actor.processor_seconds.remote() for actor in self._actors])


def _exchange(index: int, words: int, keys: Keys, addresses: Any, barrier: Any, times: Any) -> None:
    """Exchange arrays as a member of a mesh; put the wall time and the processor time of a round, in ms, into a queue."""
    mesh = Mesh(index, keys, "127.0.0.1", "node")
    addresses[index] = mesh.address
    barrier.wait()
    mesh.connect([addresses[member] for member in sorted(addresses.keys())])
    own = np.ones(words, np.int64)
    started, worked = time.perf_counter(), time.thread_time()
    for _ in range(ROUNDS):
        mesh.send(own)
        mesh.receive(own)
    times.put([1000 * seconds / ROUNDS for seconds in (time.perf_counter() - started, time.thread_time() - worked)])
    barrier.wait()  # nobody closes a connection that another still reads


@cache
def measure_exchange(members: int, words: int) -> tuple[float, float]:
    """Return wall time and a member's processor time of a round of the bare exchange among processes, medians in ms.

    The first call must come before Ray starts: processes are forked.
    """
    context = multiprocessing.get_context("fork")
    found = []
    for _ in range(REPETITIONS):
        with context.Manager() as manager:
            barrier, times = context.Barrier(members), context.Queue()
            given = (words, new_keys(), manager.dict(), barrier, times)
            processes = [context.Process(target=_exchange, args=(index, *given)) for index in range(members)]
            for process in processes:
                process.start()
            found += [times.get() for _ in processes]
            for process in processes:
                process.join()
    wall_ms, processor_ms = (statistics.median(values) for values in zip(*found, strict=True))
    return wall_ms, processor_ms


@dataclass(frozen=True)
class Round:
    """Median times of a round of all cores of a batch, in ms."""

    cores: int
    batch: int
    busy: int
    inline_ms: float  # wall time in one process
    actors_ms: float  # wall time by core actors
    work_ms: float  # processor time in one process
    bare_ms: float  # wall time of the exchange alone, by as many processes as actors
    exchange_ms: float  # processor time of an actor in the exchange alone, with an actor per core
    delay_ms: float  # of a message between two actors: wall time of their exchange without its processor time

    @property
    def apart_ms(self) -> float:
        """What a round would take with a CPU per core: computed."""
        return self.work_ms / self.cores + self.exchange_ms + self.delay_ms


def point_of(cores: int) -> SimulationConfig:
    """Return a point of connp_l with 48 connections a core."""
    machine = ("machine=epyc_16", f"machine.cores={cores}", f"machine.nic.count={max(1, cores // 4)}") if cores != 4 else ()
    return compose_simulation("org=connp_l", f"conns={48 * cores}", *machine, *LONG)


def measure_round(ray: Any, cores: int, batch: int, busy: int, per_actor: int) -> Round:
    """Measure rounds of the same batch in one process and by actors, alternately."""
    configs = [point_of(cores)] * batch
    alone = Lockstep(configs, range(cores), cores)
    pool = Pool(ray, cores, "PACK", per_actor, Timed)
    pool.load(configs)
    parts = no_messages(cores * batch)
    rows = []
    with busy_processes(busy):
        for _ in range(REPETITIONS):
            started, worked = time.perf_counter(), time.process_time()
            for _ in range(ROUNDS):
                parts = alone.round(parts)
            inline_s, work_s = time.perf_counter() - started, time.process_time() - worked
            rows.append([1000 * seconds / ROUNDS for seconds in (inline_s, pool.run(ROUNDS), work_s)])
    pool.end()
    inline_ms, actors_ms, work_ms = (statistics.median(values) for values in zip(*rows[1:], strict=True))  # the first warms up
    return Round(cores, batch, busy, inline_ms, actors_ms, work_ms, *exchange_of(cores, batch, per_actor))


def exchange_of(cores: int, batch: int, per_actor: int) -> tuple[float, float, float]:
    """Return `bare_ms`, `exchange_ms` and `delay_ms` of a round."""
    bare_ms, _ = measure_exchange(-(-cores // per_actor), WORDS * batch * per_actor)
    wall_ms, processor_ms = measure_exchange(2, WORDS * batch)
    return bare_ms, measure_exchange(cores, WORDS * batch)[1], max(0.0, wall_ms - processor_ms)


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


def measured(cores: Sequence[int], batches: Sequence[int]) -> list[tuple[int, int]]:
    """Return what is measured: the cores of a machine, and how many points."""
    return [*((cores[0], batch) for batch in batches), *((count, 1) for count in cores[1:])]


def share_of(cores: int) -> int:
    """Return how many cores an actor has, if there is one for each CPU."""
    return -(-cores // (os.cpu_count() or 1))


def measure_rounds(
    ray: Any, cores: Sequence[int], batches: Sequence[int], loads: Sequence[int], per_actor: int | None, console: Console
) -> list[Round]:
    """Measure and print machines of so many cores with one point, and batches of so many points of the first machine."""
    names = (
        "inline ms",
        "actors ms",
        "exchange ms",
        "work of a core ms",
        "exchange of an actor ms",
        "delay ms",
        "CPU per core ms",
    )
    table = Table("cores", "points", "busy", *names, box=box.SIMPLE_HEAD)
    rows = []
    for busy in loads:
        for count, batch in measured(cores, batches):
            row = measure_round(ray, count, batch, busy, per_actor or share_of(count))
            rows.append(row)
            times = (row.inline_ms, row.actors_ms, row.bare_ms, row.work_ms / count, row.exchange_ms, row.delay_ms, row.apart_ms)
            values = [f"{value:.3f}" for value in times]
            console.print(f"{count} cores, {batch} points, {busy} busy: " + " ".join(values))
            table.add_row(str(count), str(batch), str(busy), *values)
    console.print(table)
    return rows


def compare_sweep(ray: Any, per_actor: int | None, console: Console) -> None:
    """Print the times of the main experiment in one process and by core actors, and of a point beside a busy process."""
    configs = [compose_simulation("engine=ray", f"org={org}", f"conns={conns}") for org in ORGANIZATIONS for conns in LOADS]
    started, worked = time.perf_counter(), time.process_time()
    inline = [simulate(config) for config in configs]
    inline_s, work_s = time.perf_counter() - started, time.process_time() - worked
    console.print(f"one process: {inline_s:.0f} s, of it processor {work_s:.0f} s; load {os.getloadavg()[0]:.1f}")
    pool = Pool(ray, 4, "PACK", per_actor, Timed)
    started = time.perf_counter()
    by_ray = pool.simulate(configs)
    ray_s = time.perf_counter() - started
    worked = pool.processor_seconds()
    same = sum(
        replace(one, wall_seconds=0, wall_segments_per_second=0) == replace(other, wall_seconds=0, wall_segments_per_second=0)
        for one, other in zip(inline, by_ray, strict=True)
    )
    console.print(
        f"core actors: {ray_s:.0f} s, processor {sum(worked):.0f} s in {len(worked)} actors; load {os.getloadavg()[0]:.1f}"
    )
    console.print(f"{ray_s / inline_s:.2f} times one process; {same} of {len(configs)} results are equal")
    for org in ORGANIZATIONS[1:]:
        config = compose_simulation("engine=ray", f"org={org}", "conns=192")
        seconds = []
        for busy in (0, 1):
            with busy_processes(busy):
                started = time.perf_counter()
                pool.simulate([config])
                seconds.append(time.perf_counter() - started)
        console.print(f"{org} at 192: {seconds[0]:.1f} s alone, {seconds[1]:.1f} s beside a busy process")


def draw(path: Path, rows: Sequence[Round]) -> None:
    """Draw what a round costs in one process and with a CPU per core, against points in lock-step and cores of a machine."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=True)
    rows = [row for row in rows if row.busy == rows[0].busy]
    cores = rows[0].cores
    batches = [row for row in rows if row.cores == cores]
    machines = sorted((row for row in rows if row.batch == 1), key=lambda row: row.cores)
    sides = (
        (axes[0], batches, "batch", "points in lock-step", f"a round of {cores} cores, ms a point"),
        (axes[1], machines, "cores", "cores of the machine", "a round of one point, ms"),
    )
    lines = {
        "work_ms": ("one process: its work", "-"),
        "apart_ms": ("a CPU per core, computed: work, exchange and delay", "--"),
        "exchange_ms": ("of it exchange", ":"),
    }
    for axis, shown, key, label, title in sides:
        at = [getattr(row, key) for row in shown]
        for name, (text, style) in lines.items():
            axis.plot(at, [getattr(row, name) / row.batch for row in shown], style, marker="o", label=text)
        axis.set(title=title, xlabel=label, xscale="log", yscale="log")
        label_values(axis, at)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(lines), frameon=False)
    figure.savefig(path, dpi=130)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.core_actors", description="Rounds of core actors, measured.")
    parser.add_argument("--cores", default="4", help="cores of machines (default: %(default)s)")
    parser.add_argument("--batches", default="1", help="points in lock-step (default: %(default)s)")
    parser.add_argument("--busy", type=int, default=0, help="measure also beside so many processes (default: %(default)s)")
    parser.add_argument("--cores-per-actor", type=int, help="of each machine (default: as many as make an actor per CPU)")
    parser.add_argument("--figure", type=Path, help="draw times of rounds into this file")
    parser.add_argument("--sweep", action="store_true", help="measure the main experiment instead")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    try:
        cores, batches = ([int(text) for text in given.split(",")] for given in (options.cores, options.batches))
        compile_once(windows=True)
        for count, batch in [] if options.sweep else measured(cores, batches):
            exchange_of(count, batch, options.cores_per_actor or share_of(count))
        ray = start_or_join(max(cores), None, None, False, actors=4 * max(cores))
        loads = [0, options.busy] if options.busy else [0]
        rows = []
        if options.sweep:
            compare_sweep(ray, options.cores_per_actor, console)
        else:
            rows = measure_rounds(ray, cores, batches, loads, options.cores_per_actor, console)
        ray.shutdown()
    except (ConfigError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.figure and rows:
        draw(options.figure, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
