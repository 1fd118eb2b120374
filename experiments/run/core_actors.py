"""Cores as Ray actors: actor k simulates core k of every point of a batch.

A round carries the messages of all points in one array. Actors share nothing: what a core knows of others came in a message.
Knows how messages travel, not what is in them.
"""

import os
import time
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from experiments.run.task import compile_once
from netstack.sim import Result, SimulationConfig, WindowedCore

BUFFER_BYTES = 2**20  # for a round's messages between two processes; Ray makes it larger when they take more
ROUND_SECONDS = 600.0  # Ray's own limit is 10; in the first round each actor loads its compiled code
CPU_SHARE = 0.001  # of a CPU that an actor asks for: cores take turns
NO_WORDS = np.zeros(0, np.int64)


class CoreActor:
    """A core of every point of a batch. Points with fewer cores have none here.

    Args:
        core: Which one.
        cores: How many actors there are.
        cpu: Which of the CPUs that it may use, modulo their number, the process is bound to; None binds it to none.
    """

    def __init__(self, core: int, cores: int, cpu: int | None = None) -> None:
        if cpu is not None:
            pin(cpu)
        self._core, self._width = core, cores
        self._used: list[int] = []
        self._cores: list[WindowedCore | None] = []
        compile_once(windows=True)

    def load(self, configs: Sequence[SimulationConfig]) -> None:
        """Build this core of every point of a batch, and drop those of the batch before."""
        self._cores = []  # first, so that two batches never lie in memory together
        self._used = [config.cores_used for config in configs]
        self._cores = [
            WindowedCore(config, self._core) if self._core < used else None
            for config, used in zip(configs, self._used, strict=True)
        ]

    def round(self, messages: np.ndarray) -> np.ndarray:
        """Take the gathered messages of the last round; return this actor's, a part per point."""
        messages = np.array(messages)  # Ray's are read-only, another type for which all would be compiled again
        return pack([self._step(point, core, messages) for point, core in enumerate(self._cores)])

    def _step(self, point: int, core: WindowedCore | None, messages: np.ndarray) -> np.ndarray:
        if core is None or core.is_over:
            return NO_WORDS
        first = point * self._width
        starts = messages[first : first + self._used[point] + 1]
        return core.step(messages[starts[0] : starts[-1]], starts - starts[0])

    def counts(self) -> list[Any]:
        """Return what only this core has of each point: the miss counters of its caches."""
        return [None if core is None else core.own_counts() for core in self._cores]

    def results(self, counts: list[list[Any]], wall_seconds: float) -> list[str]:
        """Return the results of the points as JSON; `counts` are those of all actors."""
        of_points = zip(self._cores, zip(*counts, strict=True), strict=True)
        return [
            core.result(list(parts[: self._used[p]]), wall_seconds).to_json() for p, (core, parts) in enumerate(of_points) if core
        ]


def pin(cpu: int) -> None:
    """Bind this thread, and those it starts, to one of its CPUs. Threads that wait for a round spin, and displace others."""
    if hasattr(os, "sched_setaffinity"):  # Linux
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {allowed[cpu % len(allowed)]})


class CoreActors:
    """A pool of actors, one per core. They start with the first batch and take all that follow.

    Args:
        ray: The module, connected to a cluster.
        cores: How many there are: as many as the largest point has.
        strategy: Where they are put: PACK on few nodes, SPREAD over many (Ray's placement groups).
        pin: Whether each is bound to a CPU of its node.
    """

    def __init__(self, ray: Any, cores: int, strategy: str, pin: bool) -> None:
        self._ray, self._cores, self._strategy, self._pin = ray, cores, strategy, pin
        self._group: Any = None
        self._actors: list[Any] = []

    def simulate(self, configs: Sequence[SimulationConfig]) -> list[Result]:
        """Simulate a batch of points in lock-step; return their results. After an error the next batch gets new actors."""
        try:
            if not self._actors:
                self._start()
            return self._simulate(configs)
        except Exception:
            self._end()
            raise

    def _start(self) -> None:
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        self._group = self._ray.util.placement_group([{"CPU": CPU_SHARE}] * self._cores, strategy=self._strategy)
        self._ray.get(self._group.ready())
        kind = self._ray.remote(CoreActor)
        first_cpu = int(self._group.id.hex(), 16)  # another one per pool, so that two pools do not meet
        for core in range(self._cores):
            bundle = PlacementGroupSchedulingStrategy(self._group, core)
            cpu = first_cpu + core if self._pin else None
            self._actors.append(kind.options(num_cpus=CPU_SHARE, scheduling_strategy=bundle).remote(core, self._cores, cpu))

    def _end(self) -> None:
        if self._group is not None:
            self._ray.util.remove_placement_group(self._group)
        self._group, self._actors = None, []

    def _simulate(self, configs: Sequence[SimulationConfig]) -> list[Result]:
        get = self._ray.get
        get([actor.load.remote(configs) for actor in self._actors])
        started = time.perf_counter()
        run_rounds(self._ray, self._actors, len(configs))
        counts = get([actor.counts.remote() for actor in self._actors])
        texts = get(self._actors[0].results.remote(counts, time.perf_counter() - started))
        return [Result.from_json(text) for text in texts]


def run_rounds(ray: Any, actors: Sequence[Any], points: int) -> None:
    """Exchange messages until no point has any left."""
    graph = compile_rounds(actors)
    try:
        messages = no_messages(points * len(actors))
        while True:
            messages = exchange(ray, graph, messages, points)
            if len(messages) == messages[0]:
                break
    finally:
        graph.teardown()


def compile_rounds(actors: Sequence[Any]) -> Any:
    """Return Ray's compiled graph of one round. It reuses its buffers: faster than plain calls for any number of actors."""
    from ray.dag import InputNode, MultiOutputNode

    with InputNode() as messages:
        graph = MultiOutputNode([actor.round.bind(messages) for actor in actors])
    return graph.experimental_compile(_buffer_size_bytes=BUFFER_BYTES, _max_inflight_executions=1)


def exchange(ray: Any, graph: Any, messages: np.ndarray, points: int) -> np.ndarray:
    """Give all actors the gathered messages of a round; return those of the next one, gathered."""
    return gather(ray.get(graph.execute(messages), timeout=ROUND_SECONDS), points)


def pack(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return parts in one array, behind the start of each and the end of the last."""
    starts = list(accumulate(map(len, parts), initial=len(parts) + 1))
    return np.concatenate([np.array(starts), *parts])


def no_messages(parts: int) -> np.ndarray:
    """Return what the actors get in the first round."""
    return pack([NO_WORDS] * parts)


def gather(arrays: Sequence[np.ndarray], points: int) -> np.ndarray:
    """Return the parts of all actors in one array: those of the first point, then those of the second one."""
    starts = [array[: points + 1].tolist() for array in arrays]
    return pack([array[start[p] : start[p + 1]] for p in range(points) for array, start in zip(arrays, starts, strict=True)])
