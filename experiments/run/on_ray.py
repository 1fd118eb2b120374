"""Simulates points on Ray: a bounded number in flight, lost ones again, and an end to those that take too long.

Knows points and outcomes, not what is done with them.
"""

import gc
import math
import time
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.config.schema import RayConfig
from experiments.points.order import coarse_first
from experiments.points.point import Outcome, Point
from experiments.run.cluster import cpus_of, fits, start_or_join
from experiments.run.core_actors import CoreActors
from experiments.run.progress import Show
from experiments.run.stream import Simulation
from experiments.run.task import compiling, compiling_apart, engines_to_compile, run_task
from netstack.sim import Result, memory_needed_bytes, model_version

IN_FLIGHT_PER_CPU = 1.5  # the next point waits at the worker instead of the worker for the driver
MEMORY_STEP_BYTES = 64 * 2**20  # Ray keeps a queue per amount that is asked for
LOOK_SECONDS = 1.0  # between two looks at what the cluster has, and at what takes too long


@dataclass
class Attempt:
    """A point in flight. It starts when a worker has compiled; times are of the monotonic clock."""

    point: Point
    number: int
    needs: dict[str, float]
    submitted_s: float
    started_s: float | None = None


class LostError(Exception):
    """A point was lost with its worker or node, at every attempt."""


class TimeLimitError(Exception):
    """A point took too long."""


class NoNodeError(Exception):
    """No node of the cluster has what a point needs."""


class OtherSourcesError(Exception):
    """A node has another version of the simulator."""


def simulate_on_ray(points: Sequence[Point], workers: int | None, ray_config: RayConfig, show: Show) -> Simulation:
    """Simulate points, the coarse shape of the sweep first, and yield each outcome when it comes.

    Closing the generator stops all workers at once.

    Raises:
        ConfigError: There is no cluster at the address.
    """
    engines = _engines_to_compile(points, ray_config)
    show(compiling(engines) if engines else "starting workers", 0)
    with compiling_apart(engines):  # Ray starts meanwhile
        yield from _simulate(points, workers, ray_config, show)


def _engines_to_compile(points: Iterable[Point], config: RayConfig) -> list[bool]:
    """Return which engines this computer compiles for points, see `engines_to_compile`; a cluster's nodes do it themselves."""
    return [] if config.address else engines_to_compile(point.config for point in points)


def _simulate(points: Sequence[Point], workers: int | None, ray_config: RayConfig, show: Show) -> Simulation:
    """Start or join Ray, simulate points, whole ones first, and end Ray."""
    whole = [point for point in points if point.config.engine.kind != "ray"]
    by_cores = [point for point in points if point.config.engine.kind == "ray"]
    cores = [point.config.cores_used for point in by_cores]
    most_cores = max(cores, default=0)
    ray = start_or_join(len(whole) + sum(cores), workers, ray_config.address, ray_config.send_sources, most_cores)
    try:
        if whole:
            yield from _Flight(ray, whole, workers, ray_config, show).outcomes()
        actors = CoreActors(ray, most_cores, ray_config.placement, ray_config.cores_per_actor)
        yield from _by_core_actors(ray, actors, by_cores, ray_config, show)
    finally:
        # Lost tasks leave cycles of exceptions and Ray's references. Freed after Ray's end, by whichever thread the garbage
        # collector runs in, they would end the process.
        gc.collect()
        ray.shutdown()


def _by_core_actors(ray: Any, actors: CoreActors, points: Sequence[Point], config: RayConfig, show: Show) -> Simulation:
    """Simulate points whose cores are actors, batch by batch, and yield their outcomes."""
    waiting = coarse_first(points)
    while waiting:
        batch, waiting = waiting[: config.batch], waiting[config.batch :]
        engines = _engines_to_compile(batch, config)
        show(compiling(engines) if engines else "cores in lock-step", len(batch))
        for outcome in _simulate_batch(ray, actors, batch, config.retries):
            waiting += (yield outcome) or ()
        show("", 0)


def _simulate_batch(ray: Any, actors: CoreActors, batch: Sequence[Point], retries: int) -> Generator[Outcome, None, None]:
    """Simulate a batch, again if an actor is lost. All its points fail together."""
    attempts = 0
    while True:
        attempts += 1
        try:
            results = actors.simulate([point.config for point in batch])
            break
        except ray.exceptions.RayTaskError as error:
            yield from (Outcome.of_error(point, error.cause, str(error)) for point in batch)
            return
        except ray.exceptions.RayError as error:
            if attempts <= retries:
                continue
            lost = LostError(f"a core's actor was lost {attempts} times, the last time by {type(error).__name__}")
            yield from (Outcome.of_error(point, lost, str(error)) for point in batch)
            return
    yield from (Outcome(point, result) for point, result in zip(batch, results, strict=True))


class _Flight:
    """The points that wait and those in flight. Ray gets what a point needs, and decides where it runs."""

    def __init__(self, ray: Any, points: Sequence[Point], workers: int | None, config: RayConfig, show: Show) -> None:
        self.ray, self.workers, self.config, self.show = ray, workers, config, show
        self.waiting = deque((point, 1) for point in coarse_first(points))
        self.flying: dict[Any, Attempt] = {}
        self.task = ray.remote(run_task)
        self.most_flying = 1
        self.looked_s = -math.inf

    def outcomes(self) -> Simulation:
        """Yield outcomes as they come."""
        self._look()
        self._submit()
        engines = _engines_to_compile((attempt.point for attempt in self.flying.values()), self.config)
        self.show(compiling(engines) if engines else "", len(self.flying))
        while self.flying:
            ready, _ = self.ray.wait(list(self.flying), num_returns=1, timeout=LOOK_SECONDS)
            for stream in ready:
                outcome = self._receive(stream)
                self._submit()
                if outcome is not None:
                    self.show("", self._running())
                    self._add((yield outcome))
            for outcome in self._look():
                self._add((yield outcome))

    def _add(self, points: Sequence[Point] | None) -> None:
        """Take further points."""
        if points:
            self.waiting.extend((point, 1) for point in points)
            self._submit()

    def _running(self) -> int:
        return sum(attempt.started_s is not None for attempt in self.flying.values())

    def _submit(self) -> None:
        while self.waiting and len(self.flying) < self.most_flying:
            point, number = self.waiting.popleft()
            memory_bytes = math.ceil(memory_needed_bytes(point.config) / MEMORY_STEP_BYTES) * MEMORY_STEP_BYTES
            options = self.task.options(num_cpus=1, memory=memory_bytes, max_retries=0, num_returns="streaming")
            needs = {"CPU": 1.0, "memory": float(memory_bytes)}
            self.flying[options.remote(point.config)] = Attempt(point, number, needs, time.monotonic())

    def _receive(self, stream: Any) -> Outcome | None:
        """Take what a worker sends: first that it begins, then the result, or what went wrong."""
        attempt = self.flying[stream]
        try:
            message = self.ray.get(next(stream))
            if attempt.started_s is None:
                attempt.started_s = time.monotonic()
                self.show("", self._running())
                if message == model_version():
                    return None
                self.ray.cancel(stream, force=True)
                raise OtherSourcesError("a node has another version of netstack installed (ray.send_sources=true sends this one)")
            result = Result.from_json(message)
        except Exception as error:
            del self.flying[stream]
            return self._failed(attempt, error)
        del self.flying[stream]
        return Outcome(attempt.point, result)

    def _failed(self, attempt: Attempt, error: Exception) -> Outcome | None:
        """Put a lost point first in the queue, or return the outcome of a failed one."""
        exceptions = self.ray.exceptions
        cause = getattr(error, "cause", None) or error
        own = not isinstance(error, exceptions.RayError) or isinstance(error, exceptions.RayTaskError)
        if own and not isinstance(cause, OSError | MemoryError):  # those are the node's trouble
            return Outcome.of_error(attempt.point, cause, str(error))
        if attempt.number <= self.config.retries:
            self.waiting.appendleft((attempt.point, attempt.number + 1))
            return None
        what = f"{type(cause).__name__}: {str(cause).strip()}".splitlines()[0]
        return Outcome.of_error(attempt.point, LostError(f"lost {attempt.number} times, the last time by {what}"), str(error))

    def _look(self) -> list[Outcome]:
        """Look at the cluster, and give up points that take too long or fit no node. Return their outcomes."""
        now = time.monotonic()
        if now - self.looked_s < LOOK_SECONDS:
            return []
        self.looked_s = now
        self.most_flying = self.workers or max(1, math.ceil(IN_FLIGHT_PER_CPU * cpus_of(self.ray)))
        ended: list[Outcome] = []
        for stream, attempt in list(self.flying.items()):
            error = self._overdue(attempt, now)
            if error is not None:
                self.ray.cancel(stream, force=True)
                del self.flying[stream]
                ended.append(Outcome.of_error(attempt.point, error, str(error)))
        self._submit()
        return ended

    def _overdue(self, attempt: Attempt, now: float) -> Exception | None:
        limit_s = self.config.time_limit_s
        if attempt.started_s is not None:
            late = limit_s is not None and now - attempt.started_s > limit_s
            return TimeLimitError(f"took longer than ray.time_limit_s={limit_s:g}") if late else None
        patience_s = self.config.patience_s if self.config.address else 0.0
        if now - attempt.submitted_s < patience_s or fits(self.ray, attempt.needs):
            return None
        return NoNodeError(f"no node has one CPU and {attempt.needs['memory'] / 2**30:.1f} GiB of memory")
