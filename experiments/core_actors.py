"""Cores as Ray actors: actor k simulates core k of every point of a batch, and a round carries the messages of all in one array.

Knows how messages travel, not what is in them. Actors share nothing: what a core knows of others came in a message.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.task import compile_once
from netstack.engine import Result, SimulationConfig, WindowedCore, join, nothing

BUFFER_BYTES = 4 * 2**20  # that a round's messages may take between two processes


class CoreActor:
    """A core of every point of a batch. Points with fewer cores have none here."""

    def __init__(self, core: int, configs: Sequence[SimulationConfig]) -> None:
        compile_once(windows=True)
        self._used = [config.cores_used for config in configs]
        self._cores = [
            WindowedCore(config, core) if core < used else None for config, used in zip(configs, self._used, strict=True)
        ]

    def ready(self) -> None:
        """Return when the actor is built and has compiled."""

    def round(self, messages: list[np.ndarray]) -> np.ndarray:
        """Take the messages of all actors in the last round, none before the first; return this actor's.

        An array begins with where each point's part begins, and where the last one ends.
        """
        parts = [self._step(point, core, messages) for point, core in enumerate(self._cores)]
        starts = len(parts) + 1 + np.cumsum([0, *(len(part) for part in parts)])
        return np.concatenate([starts, *parts])

    def _step(self, point: int, core: WindowedCore | None, messages: list[np.ndarray]) -> np.ndarray:
        if core is None or core.is_over:
            return np.zeros(0, np.int64)
        used = self._used[point]
        if not messages:
            return core.step(*nothing(used)).copy()
        parts = [message[message[point] : message[point + 1]] for message in messages[:used]]
        return core.step(*join(parts)).copy()

    def counts(self) -> list[Any]:
        """Return what only this core has of each point: the miss counters of its caches."""
        return [None if core is None else core.own_counts() for core in self._cores]

    def results(self, counts: list[list[Any]], wall_seconds: float) -> list[str]:
        """Return the results of the points as JSON; `counts` are those of all actors."""
        of_points = zip(self._cores, zip(*counts, strict=True), strict=True)
        return [
            core.result(list(parts[: self._used[p]]), wall_seconds).to_json() for p, (core, parts) in enumerate(of_points) if core
        ]


def simulate_batch(ray: Any, configs: Sequence[SimulationConfig], strategy: str) -> list[Result]:
    """Simulate a batch of points in lock-step, each core an actor; return their results.

    Args:
        ray: The module, connected to a cluster.
        configs: The points.
        strategy: Where the cores are put: PACK on few nodes, SPREAD over many (Ray's placement groups).
    """
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    cores = max(config.cores_used for config in configs)
    group = ray.util.placement_group([{"CPU": 0.001}] * cores, strategy=strategy)
    ray.get(group.ready())
    try:
        kind = ray.remote(CoreActor)
        actors = [
            kind.options(num_cpus=0.001, scheduling_strategy=PlacementGroupSchedulingStrategy(group, core)).remote(core, configs)
            for core in range(cores)
        ]
        ray.get([actor.ready.remote() for actor in actors])
        started = time.perf_counter()
        run_rounds(ray, actors)
        counts = ray.get([actor.counts.remote() for actor in actors])
        texts = ray.get(actors[0].results.remote(counts, time.perf_counter() - started))
        return [Result.from_json(text) for text in texts]
    finally:
        ray.util.remove_placement_group(group)


def run_rounds(ray: Any, actors: Sequence[Any]) -> int:
    """Exchange messages until no point has any left; return the number of rounds."""
    graph = compile_rounds(actors)
    try:
        rounds = 0
        arrays: list[np.ndarray] = []
        while True:
            arrays = exchange(ray, graph, arrays)
            rounds += 1
            if all(len(array) == array[0] for array in arrays):
                return rounds
    finally:
        graph.teardown()


def compile_rounds(actors: Sequence[Any]) -> Any:
    """Return Ray's compiled graph of one round, which reuses its buffers: a third of the time of plain calls."""
    from ray.dag import InputNode, MultiOutputNode

    with InputNode() as messages:
        graph = MultiOutputNode([actor.round.bind(messages) for actor in actors])
    return graph.experimental_compile(_buffer_size_bytes=BUFFER_BYTES)


def exchange(ray: Any, graph: Any, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Give all actors the messages of all, and return their next ones, copied: an array that is kept would pin its buffer."""
    return [np.array(array) for array in ray.get(graph.execute(arrays))]
