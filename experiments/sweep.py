"""Runs the points of a sweep in worker processes of Ray, or one point in this process, and reports.

Points are frozen before the first starts; finished ones are not run again. Knows no Hydra.
"""

import logging
import os
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import yaml
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from experiments.configuration import TrackingConfig
from experiments.points import Point, sweep_id
from experiments.report import Outcome, line, print_table, write_summary
from experiments.tracking import Tracker
from netstack.engine import Result, SimulationConfig, prepare, simulate
from netstack.errors import ConservationError

OBJECT_STORE_BYTES = 80 * 1024 * 1024


@dataclass(frozen=True)
class SweepSettings:
    """Where and how points run."""

    output_dir: Path
    tracking: TrackingConfig
    workers: int | None = None
    ray_address: str | None = None


class PointsFailedError(Exception):
    """Some points of a sweep failed; the others are finished."""


def list_points(points: list[Point], console: Console) -> None:
    """Print what a sweep would run."""
    done = [point.load() is not None for point in points]
    for point, finished in zip(points, done, strict=True):
        console.print(f"{point.label:24} {point.fingerprint[:16]} {'done' if finished else 'to run'}", highlight=False)
    console.print(f"{len(points)} points, {sum(done)} done, {len(points) - sum(done)} to run", highlight=False)


def run_single(point: Point, settings: SweepSettings, console: Console) -> None:
    """Simulate one point in this process, log it and print it. Raises PointsFailedError when it failed."""
    outcome = _finished_before(point) or _simulate_here(point)
    tracker = Tracker(settings.tracking, settings.output_dir) if settings.tracking.enabled else None
    if tracker is not None:
        _track(tracker, outcome, None)
    console.print(line(outcome), highlight=False)
    if outcome.result is None:
        raise PointsFailedError(f"the point failed: {outcome.failure}")
    print_table(console, [outcome])
    console.print(f"result: {point.result_file}", highlight=False, soft_wrap=True)


def run_sweep(points: list[Point], settings: SweepSettings, console: Console) -> None:
    """Run the points that are not finished, log all, print a table and draw figures.

    Raises:
        PointsFailedError: At least one point failed. All others are finished.
    """
    name = sweep_id(points)
    folder = settings.output_dir / "sweeps" / name
    folder.mkdir(parents=True, exist_ok=True)
    listing = [{"point": point.label, "fingerprint": point.fingerprint} for point in points]
    (folder / "points.yaml").write_text(yaml.safe_dump(listing, sort_keys=False))
    outcomes = [outcome for point in points if (outcome := _finished_before(point)) is not None]
    finished = {outcome.point.fingerprint for outcome in outcomes}
    waiting = sorted((p for p in points if p.fingerprint not in finished), key=lambda p: -p.config.conns)
    tracker: Tracker | None = None
    parent: str | None = None
    status = "KILLED"
    files: list[Path] = []
    try:
        with Progress(
            TextColumn("[progress.description]{task.description}"), BarColumn(), TimeElapsedColumn(), console=console
        ) as progress:
            bar = progress.add_task(_state(len(outcomes), 0, len(waiting)), total=len(points), completed=len(outcomes))

            def show(done: int, running: int, left: int) -> None:
                progress.update(bar, completed=done, description=_state(done, running, left))

            with closing(_simulate_on_ray(waiting, settings, len(outcomes), show) if waiting else _nothing()) as arrivals:
                next(arrivals)  # workers are busy from here on
                if settings.tracking.enabled:
                    tracker = Tracker(settings.tracking, settings.output_dir)
                    parent = tracker.open_sweep(name, _sweep_name(points))
                for outcome in outcomes:
                    progress.console.print(line(outcome), highlight=False)
                    _track(tracker, outcome, parent)
                for outcome in filter(None, arrivals):
                    outcomes.append(outcome)
                    progress.console.print(line(outcome), highlight=False)
                    _track(tracker, outcome, parent)
        from experiments.figures import draw_figures

        print_table(console, outcomes)
        write_summary(folder / "summary.csv", outcomes)
        files = [*draw_figures(folder, outcomes), folder / "summary.csv"]
        failed = [outcome for outcome in outcomes if outcome.result is None]
        status = "FAILED" if failed else "FINISHED"
    finally:
        if tracker is not None and parent is not None:
            tracker.close_sweep(parent, status, files)
    for path in files:
        console.print(f"written: {path}", highlight=False, soft_wrap=True)
    if settings.tracking.enabled and settings.tracking.uri is None:
        console.print(
            f"browse:  mlflow ui --backend-store-uri sqlite:///{settings.output_dir / 'mlflow.db'}",
            highlight=False,
            soft_wrap=True,
        )
    if failed:
        raise PointsFailedError(f"{len(failed)} of {len(points)} points failed: {', '.join(o.point.label for o in failed)}")


def _state(done: int, running: int, left: int) -> str:
    return f"{done} done, {running} running, {left} left"


def _sweep_name(points: list[Point]) -> str:
    organizations = list(dict.fromkeys(point.config.org.name for point in points))
    loads = sorted({point.config.conns for point in points})
    return f"{','.join(organizations)} conns={','.join(map(str, loads))}"


def _finished_before(point: Point) -> Outcome | None:
    result = point.load()
    return None if result is None else Outcome(point, result, done_before=True)


def _simulate_here(point: Point) -> Outcome:
    try:
        result = simulate(point.config)
    except ConservationError as error:
        return Outcome(point, None, str(error))
    point.save(result)
    return Outcome(point, result)


def _track(tracker: Tracker | None, outcome: Outcome, parent: str | None) -> None:
    if tracker is None:
        return
    if outcome.result is None:
        tracker.log_failure(outcome.point, outcome.failure, parent)
    else:
        tracker.log_point(outcome.point, outcome.result, parent)


def _nothing() -> Generator[Outcome | None, None, None]:
    yield None


def _simulate_on_ray(
    points: list[Point], settings: SweepSettings, done: int, show: Callable[[int, int, int], None]
) -> Generator[Outcome | None, None, None]:
    """Yield None once workers are busy, then an outcome whenever a point finishes. Closing it stops the workers."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    root = str(Path(__file__).resolve().parent.parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    import ray

    workers = settings.workers or os.cpu_count() or 1
    local = (
        {}
        if settings.ray_address
        else {"num_cpus": workers, "object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False}
    )
    ray.init(address=settings.ray_address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False, **local)
    try:
        if settings.ray_address:
            workers = settings.workers or int(ray.cluster_resources().get("CPU", 1))
        compiled = ray.remote(num_cpus=1)(_prepare_task).remote()
        task = ray.remote(num_cpus=1, max_retries=0)(_simulate_task)
        left = list(points)
        running: dict = {}

        def submit() -> None:
            while left and len(running) < workers:
                point = left.pop(0)
                running[task.remote(point.config, compiled)] = point
            show(done, len(running), len(left))

        submit()
        yield None
        while running:
            ready, _ = ray.wait(list(running), num_returns=1)
            point = running.pop(ready[0])
            try:
                result = Result.from_json(ray.get(ready[0]))
                point.save(result)
                outcome = Outcome(point, result)
            except Exception as error:
                cause = getattr(error, "cause", None) or error
                outcome = Outcome(point, None, f"{type(cause).__name__}: {cause}".splitlines()[0])
            done += 1
            submit()
            yield outcome
    finally:
        ray.shutdown()


def _prepare_task() -> bool:
    prepare()
    return True


def _simulate_task(config: SimulationConfig, compiled: bool) -> str:
    assert compiled
    return simulate(config).to_json()
