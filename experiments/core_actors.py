"""Cores as Ray actors: actor k simulates core k of every point of a batch, and a round carries the messages of all in one array.

Knows how messages travel, not what is in them. Actors share nothing: what a core knows of others came in a message.
"""

import time
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from experiments.task import compile_once
from netstack.engine import Result, SimulationConfig, WindowedCore, join, nothing

BUFFER_BYTES = 4 * 2**20  # that a round's messages may take between two processes
ROUND_SECONDS = 600.0  # Ray's own limit is 10; in the first round each actor loads its compiled code
CPU_SHARE = 0.001  # of a CPU that an actor asks for: cores take turns
NO_WORDS = np.zeros(0, np.int64)


class CoreActor:
    """A core of every point of a batch. Points with fewer cores have none here."""

    def __init__(self, core: int) -> None:
        self._core = core
        self._used: list[int] = []
        self._cores: list[WindowedCore | None] = []
        compile_once(windows=True)

    def load(self, configs: Sequence[SimulationConfig]) -> None:
        """Build this core of every point of a batch, in place of the last one."""
        self._cores = []  # first, so that two batches never lie in memory together
        self._used = [config.cores_used for config in configs]
        self._cores = [
            WindowedCore(config, self._core) if self._core < used else None
            for config, used in zip(configs, self._used, strict=True)
        ]

    def round(self, messages: list[np.ndarray]) -> np.ndarray:
        """Take the messages of all actors in the last round, none before the first; return this actor's.

        An array begins with where each point's part begins, and where the last one ends.
        """
        places = [message[: len(self._cores) + 1].tolist() for message in messages]
        parts = [self._step(point, core, messages, places) for point, core in enumerate(self._cores)]
        starts = list(accumulate(map(len, parts), initial=len(parts) + 1))
        return np.concatenate([np.array(starts), *parts])

    def _step(self, point: int, core: WindowedCore | None, messages: list[np.ndarray], places: list[list[int]]) -> np.ndarray:
        if core is None or core.is_over:
            return NO_WORDS
        used = self._used[point]
        if not messages:
            return core.step(*nothing(used))
        parts = [messages[other][places[other][point] : places[other][point + 1]] for other in range(used)]
        return core.step(*join(parts))

    def counts(self) -> list[Any]:
        """Return what only this core has of each point: the miss counters of its caches."""
        return [None if core is None else core.own_counts() for core in self._cores]

    def results(self, counts: list[list[Any]], wall_seconds: float) -> list[str]:
        """Return the results of the points as JSON; `counts` are those of all actors."""
        of_points = zip(self._cores, zip(*counts, strict=True), strict=True)
        return [
            core.result(list(parts[: self._used[p]]), wall_seconds).to_json() for p, (core, parts) in enumerate(of_points) if core
        ]


class CoreActors:
    """A pool of actors, one a core, which take batch after batch: they start with the first one.

    Args:
        ray: The module, connected to a cluster.
        cores: How many there are: as many as the largest point has.
        strategy: Where they are put: PACK on few nodes, SPREAD over many (Ray's placement groups).
    """

    def __init__(self, ray: Any, cores: int, strategy: str) -> None:
        self._ray, self._cores, self._strategy = ray, cores, strategy
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
        self._actors = [
            kind.options(num_cpus=CPU_SHARE, scheduling_strategy=PlacementGroupSchedulingStrategy(self._group, core)).remote(core)
            for core in range(self._cores)
        ]

    def _end(self) -> None:
        if self._group is not None:
            self._ray.util.remove_placement_group(self._group)
        self._group, self._actors = None, []

    def _simulate(self, configs: Sequence[SimulationConfig]) -> list[Result]:
        get = self._ray.get
        get([actor.load.remote(configs) for actor in self._actors])
        started = time.perf_counter()
        run_rounds(self._ray, self._actors)
        counts = get([actor.counts.remote() for actor in self._actors])
        texts = get(self._actors[0].results.remote(counts, time.perf_counter() - started))
        return [Result.from_json(text) for text in texts]


def run_rounds(ray: Any, actors: Sequence[Any]) -> None:
    """Exchange messages until no point has any left."""
    graph = compile_rounds(actors)
    try:
        arrays: list[np.ndarray] = []
        while not arrays or any(len(array) != array[0] for array in arrays):
            arrays = exchange(ray, graph, arrays)
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
    return [np.array(array) for array in ray.get(graph.execute(arrays), timeout=ROUND_SECONDS)]
