"""Cores as Ray actors: an actor simulates one core, or a few, of every point of a batch.

Ray starts and places actors and notices when one is lost. The rounds are theirs alone (`mesh`): each sends to all others what its
cores did in a window, and blocks until theirs is there. Actors share nothing. Knows how messages travel, not what is in them.
"""

import time
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from experiments.run.cluster import cpus_of
from experiments.run.mesh import Keys, Mesh, new_keys
from experiments.run.task import compile_once
from netstack.sim import Result, SimulationConfig, WindowedCore

CPU_SHARE = 0.001  # of a CPU that an actor asks for: actors take turns where there are more of them than CPUs
NO_WORDS = np.zeros(0, np.int64)


class CoreActor:
    """Some cores of every point of a batch. Points with fewer cores have less here, or none.

    Args:
        index: The actor's number.
        shares: How many cores each actor has: the first ones, the next ones, and so on.
    """

    def __init__(self, index: int, shares: Sequence[int]) -> None:
        self._index, self._shares = index, list(shares)
        first = sum(self._shares[:index])
        self._numbers = range(first, first + self._shares[index])
        self._used: list[int] = []
        self._cores: list[list[WindowedCore | None]] = []
        self._messages = no_messages(0)
        self._mesh: Mesh | None = None
        compile_once(windows=True)

    def listen(self, keys: Keys) -> str:
        """Become a member of the actors' mesh; return the address for the others."""
        from ray.util import get_node_ip_address

        self._mesh = Mesh(self._index, keys, get_node_ip_address())
        return self._mesh.address

    def connect(self, addresses: Sequence[str]) -> None:
        """Connect to the other actors."""
        assert self._mesh is not None
        self._mesh.connect(addresses)

    def load(self, configs: Sequence[SimulationConfig]) -> None:
        """Build the cores of every point of a batch, and drop those of the batch before."""
        self._cores = []  # first, so that two batches never lie in memory together
        self._used = [config.cores_used for config in configs]
        self._cores = [
            [WindowedCore(config, number) if number < used else None for number in self._numbers]
            for config, used in zip(configs, self._used, strict=True)
        ]
        self._messages = no_messages(len(configs) * sum(self._shares))

    def run(self, rounds: int | None = None) -> tuple[int, float]:
        """Exchange messages until no point has any left, or for so many rounds; return how many it took, and the seconds."""
        assert self._mesh is not None
        count, started = 0, time.perf_counter()
        while count == 0 or (len(self._messages) > self._messages[0] and (rounds is None or count < rounds)):
            self._messages = gather(self._mesh.exchange(self.round(self._messages)), len(self._cores), self._shares)
            count += 1
        return count, time.perf_counter() - started

    def round(self, messages: np.ndarray) -> np.ndarray:
        """Take the gathered messages of the last round; return those of this actor's cores, by point and core."""
        width = sum(self._shares)
        return pack(
            [
                self._step(core, messages, point * width, self._used[point])
                for point, cores in enumerate(self._cores)
                for core in cores
            ]
        )

    def _step(self, core: WindowedCore | None, messages: np.ndarray, first: int, used: int) -> np.ndarray:
        if core is None or core.is_over:
            return NO_WORDS
        starts = messages[first : first + used + 1]
        return core.step(messages[starts[0] : starts[-1]], starts - starts[0])

    def counts(self) -> list[list[Any]]:
        """Return what only these cores have of each point: the miss counters of their caches."""
        return [[core.own_counts() for core in cores if core is not None] for cores in self._cores]

    def results(self, counts: list[list[list[Any]]], wall_seconds: float) -> list[str]:
        """Return the results of the points as JSON; `counts` are those of all actors. Only the actor of core 0 can say."""
        results = []
        for cores, parts in zip(self._cores, zip(*counts, strict=True), strict=True):
            assert cores[0] is not None
            results.append(cores[0].result([count for part in parts for count in part], wall_seconds).to_json())
        return results


class CoreActors:
    """A pool of actors. They start with the first batch and take all that follow.

    Args:
        ray: The module, connected to a cluster.
        cores: How many cores they simulate: as many as the largest point has.
        strategy: Where they are put: PACK on few nodes, SPREAD over many (Ray's placement groups).
        cores_per_actor: How many cores an actor has. None gives each CPU of the cluster one actor, if there are cores enough.
        kind: What an actor is.
    """

    def __init__(
        self, ray: Any, cores: int, strategy: str, cores_per_actor: int | None, kind: type[CoreActor] | None = None
    ) -> None:
        self._ray, self._cores, self._strategy, self._per_actor = ray, cores, strategy, cores_per_actor
        self._kind = kind or CoreActor
        self._group: Any = None
        self._actors: list[Any] = []

    def simulate(self, configs: Sequence[SimulationConfig]) -> list[Result]:
        """Simulate a batch of points in lock-step; return their results. After an error the next batch gets new actors."""
        try:
            self.load(configs)
            seconds = self.run()
            counts = self._get([actor.counts.remote() for actor in self._actors])
            (texts,) = self._get([self._actors[0].results.remote(counts, seconds)])
        except Exception:
            self.end()
            raise
        return [Result.from_json(text) for text in texts]

    def load(self, configs: Sequence[SimulationConfig]) -> None:
        """Start the actors, if they are not there, and give them a batch."""
        if not self._actors:
            self._start()
        self._get([actor.load.remote(configs) for actor in self._actors])

    def run(self, rounds: int | None = None) -> float:
        """Let the actors exchange messages until no point has any left, or for so many rounds; return the seconds."""
        return max(seconds for _, seconds in self._get([actor.run.remote(rounds) for actor in self._actors]))

    def end(self) -> None:
        """End the actors."""
        if self._group is not None:
            self._ray.util.remove_placement_group(self._group)
        self._group, self._actors = None, []

    def _start(self) -> None:
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        shares = shares_of(self._cores, self._per_actor or -(-self._cores // max(1, cpus_of(self._ray))))
        self._group = self._ray.util.placement_group([{"CPU": CPU_SHARE}] * len(shares), strategy=self._strategy)
        self._get([self._group.ready()])
        kind = self._ray.remote(self._kind)
        for index in range(len(shares)):
            bundle = PlacementGroupSchedulingStrategy(self._group, index)
            self._actors.append(kind.options(num_cpus=CPU_SHARE, scheduling_strategy=bundle).remote(index, shares))
        keys = new_keys()
        addresses = self._get([actor.listen.remote(keys) for actor in self._actors])
        self._get([actor.connect.remote(addresses) for actor in self._actors])

    def _get(self, calls: Sequence[Any]) -> list[Any]:
        """Return what calls return. Raises at the first one that fails, though others may wait for it and never end."""
        waiting = list(calls)
        while waiting:
            done, waiting = self._ray.wait(waiting, num_returns=1)
            self._ray.get(done)
        return self._ray.get(list(calls))


def shares_of(cores: int, most: int) -> list[int]:
    """Return how many cores each actor has, at most so many, as even as can be."""
    actors = -(-cores // most)
    return [cores // actors + (index < cores % actors) for index in range(actors)]


def pack(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return parts in one array, behind the start of each and the end of the last."""
    starts = list(accumulate(map(len, parts), initial=len(parts) + 1))
    return np.concatenate([np.array(starts), *parts])


def no_messages(parts: int) -> np.ndarray:
    """Return what the cores get in the first round."""
    return pack([NO_WORDS] * parts)


def gather(arrays: Sequence[np.ndarray], points: int, shares: Sequence[int]) -> np.ndarray:
    """Return the parts of all cores in one array: those of the first point by core, then those of the second one."""
    starts = [array[: points * share + 1].tolist() for array, share in zip(arrays, shares, strict=True)]
    return pack(
        [
            array[start[part] : start[part + 1]]
            for point in range(points)
            for array, start, share in zip(arrays, starts, shares, strict=True)
            for part in range(point * share, (point + 1) * share)
        ]
    )
