"""Cores as Ray actors: an actor simulates one core, or a few, of every point of a batch.

Ray starts and places actors and notices when one is lost. The rounds are theirs alone (`mesh`): each sends to all others what its
cores did in a window, and blocks until theirs is there. Actors share nothing. Knows how messages travel, not what is in them.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.run.cluster import idle_cpus
from experiments.run.mesh import Address, Keys, Mesh, new_keys
from experiments.run.task import compile_once
from netstack.sim import Lockstep, Result, SimulationConfig, are_over, gather, no_messages, planned_ms

CPU_SHARE = 0.001  # of a CPU that an actor asks for: actors take turns where there are more of them than CPUs


@dataclass
class Subset:
    """Some points of a batch, which go from window to window together.

    Attributes:
        points: Their numbers.
        lockstep: An actor's cores of them.
        parts: The messages of all cores of the last round.
        own: The messages of the actor's cores of this round.
    """

    points: list[int]
    lockstep: Lockstep
    parts: np.ndarray
    own: np.ndarray


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
        self._subsets: list[Subset] = []
        self._mesh: Mesh | None = None
        compile_once(windows=True)

    def listen(self, keys: Keys) -> Address:
        """Become a member of the actors' mesh; return the address for the others."""
        from ray import get_runtime_context
        from ray.util import get_node_ip_address

        self._mesh = Mesh(self._index, keys, get_node_ip_address(), get_runtime_context().get_node_id())
        return self._mesh.address

    def connect(self, addresses: Sequence[Address]) -> None:
        """Connect to the other actors."""
        assert self._mesh is not None
        self._mesh.connect(addresses)

    def load(self, configs: Sequence[SimulationConfig]) -> None:
        """Build the cores of every point of a batch, and drop those of the batch before."""
        self._subsets = []  # first, so that two batches never lie in memory together
        width = sum(self._shares)
        for points in subsets_of(configs, len(self._shares)):
            lockstep = Lockstep([configs[point] for point in points], self._numbers, width)
            nothing = no_messages(len(points) * width)
            self._subsets.append(Subset(points, lockstep, nothing, nothing))

    def run(self, rounds: int | None = None) -> float:
        """Exchange messages until no point has any left, or for so many rounds; return the seconds."""
        started = time.perf_counter()
        for together in [self._subsets] if len(self._shares) > 1 else [[subset] for subset in self._subsets]:
            self._run(together, rounds)
        return time.perf_counter() - started

    def _run(self, subsets: Sequence[Subset], rounds: int | None) -> None:
        """Run subsets in turns: while the messages of one travel, another computes."""
        assert self._mesh is not None
        running = list(subsets)
        for subset in running:
            self._send(subset)
        count = 0
        while running:
            count += 1
            for subset in tuple(running):
                subset.parts = gather(self._mesh.receive(subset.own), len(subset.points), self._shares)
                if are_over(subset.parts) or count == rounds:
                    running.remove(subset)
                else:
                    self._send(subset)

    def _send(self, subset: Subset) -> None:
        assert self._mesh is not None
        subset.own = self.round(subset)
        self._mesh.send(subset.own)

    def round(self, subset: Subset) -> np.ndarray:
        """Take the messages of the last round; return those of this actor's cores."""
        return subset.lockstep.round(subset.parts)

    def counts(self) -> dict[int, list[Any]]:
        """Return what only these cores have of each point: the miss counters of their caches."""
        return {
            point: [core.own_counts() for core in cores]
            for subset in self._subsets
            for point, cores in zip(subset.points, subset.lockstep.points, strict=True)
        }

    def results(self, counts: Sequence[dict[int, list[Any]]], wall_seconds: float) -> dict[int, str]:
        """Return the results of the points as JSON; `counts` are those of all actors. Only the actor of core 0 can say."""
        return {
            point: cores[0].result([count for part in counts for count in part[point]], wall_seconds).to_json()
            for subset in self._subsets
            for point, cores in zip(subset.points, subset.lockstep.points, strict=True)
        }


class CoreActors:
    """A pool of actors. They start with the first batch and take all that follow.

    Args:
        ray: The module, connected to a cluster.
        cores: How many cores they simulate: as many as the largest point has.
        strategy: Where they are put: PACK on few nodes, SPREAD over many (Ray's placement groups).
        cores_per_actor: How many cores an actor has. None gives each CPU that idles one actor, if there are cores enough.
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
        return [Result.from_json(texts[point]) for point in range(len(configs))]

    def load(self, configs: Sequence[SimulationConfig]) -> None:
        """Start the actors, if they are not there, and give them a batch."""
        if not self._actors:
            self._start()
        self._get([actor.load.remote(configs) for actor in self._actors])

    def run(self, rounds: int | None = None) -> float:
        """Let the actors exchange messages until no point has any left, or for so many rounds; return the seconds."""
        return max(self._get([actor.run.remote(rounds) for actor in self._actors]))

    def end(self) -> None:
        """End the actors."""
        if self._group is not None:
            self._ray.util.remove_placement_group(self._group)
        self._group, self._actors = None, []

    def _start(self) -> None:
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        shares = shares_of(self._cores, self._per_actor or -(-self._cores // idle_cpus(self._ray)))
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


def subsets_of(configs: Sequence[SimulationConfig], actors: int) -> list[list[int]]:
    """Return the numbers of the points of each subset, none of them empty.

    Of several actors each has two, which take about as long and have as long points. One that waits for nobody has a subset for
    each point: one after the other they stay in its caches.
    """

    def length(point: int) -> float:
        return sum(planned_ms(configs[point])) * configs[point].cores_used

    if actors == 1:
        return [[point] for point in range(len(configs))]
    ordered = sorted(range(len(configs)), key=length, reverse=True)
    return [half for half in (ordered[::2], ordered[1::2]) if half]
