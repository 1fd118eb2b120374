"""Runs a sweep, or one point in this process: streams outcomes to the terminal, the logbook, tables and figures.

Finished points are not run again. Knows no Hydra.
"""

import fcntl
import traceback
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from threading import Thread

import yaml
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from experiments.config.grids import ExperimentConfig
from experiments.config.schema import RayConfig, TrackingConfig
from experiments.config.user_errors import UnfinishedError
from experiments.points.folders import UnwritableError, remove_unfinished, writing
from experiments.points.point import Outcome, Point, folder_of_points, sweep_id
from experiments.present.table import label_width, line, print_table, write_summary
from experiments.run.on_ray import simulate_on_ray
from experiments.run.task import compile_once, is_compiled
from experiments.store.logbook import Logbook
from netstack.errors import ConfigError
from netstack.sim import simulate


@dataclass(frozen=True)
class SweepSettings:
    """Where and how points run, and what is made of them. `command` is what runs them again."""

    output_dir: Path
    tracking: TrackingConfig
    workers: int | None = None
    ray: RayConfig = field(default_factory=RayConfig)
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    command: str = ""


class PointsFailedError(UnfinishedError):
    """Some points failed; the others are finished."""


class NotLoggedError(UnfinishedError):
    """Points are finished, but not all of them are in MLflow."""


def list_points(points: Sequence[Point], console: Console) -> None:
    """Print what a sweep would run."""
    done = [point.load() is not None for point in points]
    width = label_width(points)
    for point, finished in zip(points, done, strict=True):
        _say(console, f"{point.label:{width}}  {point.fingerprint[:16]}  {'done' if finished else 'to run'}")
    _say(console, f"{len(points)} points, {sum(done)} done, {len(points) - sum(done)} to run")


def run_single(point: Point, settings: SweepSettings, console: Console) -> None:
    """Simulate one point in this process, log it and print it.

    Raises:
        PointsFailedError: The point failed.
        NotLoggedError: It finished, but MLflow did not take it.
    """
    with _logbook(settings) as logbook:
        if logbook is not None:
            logbook.begin()
        simulate_one = _simulate_by_actors if point.config.engine.kind == "ray" else _simulate_here
        outcome = _finished_before(point) or simulate_one(point, settings, console)
        _record(outcome, console, logbook)
        print_table(console, [outcome])
    if outcome.result is None:
        raise PointsFailedError(f"the point failed: {outcome.failure} (details: {point.failure_file})")
    _say(console, f"result: {point.result_file}")
    _check_logged(logbook, settings)


def run_sweep(points: Sequence[Point], settings: SweepSettings, console: Console) -> None:
    """Run the points that are not finished, log all, print a table and draw figures.

    Raises:
        PointsFailedError: At least one point failed. All others are finished.
        NotLoggedError: All finished, but MLflow did not take everything.
        UnwritableError: The disk is full, for example: the sweep ended there.
        ConfigError: The sweep is running already.
    """
    name = sweep_id(points)
    folder = settings.output_dir / "sweeps" / name
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with _claimed(folder), _logbook(settings) as logbook:
        if logbook is not None:
            logbook.open_sweep(name, settings.experiment.name or _sweep_name(points), len(points))
        status = "KILLED"
        files: list[Path] = []
        try:
            with writing(folder):
                remove_unfinished(folder_of_points(settings.output_dir))
                listing = [{"point": point.label, "fingerprint": point.fingerprint} for point in points]
                (folder / "points.yaml").write_text(yaml.safe_dump(listing, sort_keys=False))
            outcomes = _stream(points, settings, console, logbook)
            print_table(console, outcomes)
            with writing(folder):
                files = _write_files(folder, outcomes, settings)
            failed = [outcome for outcome in outcomes if outcome.result is None]
            status = "FAILED" if failed else "FINISHED"
        except Exception as error:
            status = "FAILED"
            if logbook is not None and isinstance(error, UnwritableError):
                logbook.hurry()
            raise
        except BaseException:
            if logbook is not None:
                logbook.hurry()
            raise
        finally:
            if logbook is not None:
                logbook.close_sweep(status, files)
    for path in files:
        _say(console, f"written: {path}")
    if settings.tracking.enabled and settings.tracking.uri is None:
        _say(console, f"browse:  mlflow ui --backend-store-uri sqlite:///{settings.output_dir / 'mlflow.db'}")
    if failed:
        labels = ", ".join(outcome.point.label for outcome in failed)
        raise PointsFailedError(
            f"{len(failed)} of {len(points)} points failed: {labels} (details: {failed[0].point.failure_file.parent})"
        )
    _check_logged(logbook, settings)


def _stream(points: Sequence[Point], settings: SweepSettings, console: Console, logbook: Logbook | None) -> list[Outcome]:
    """Run what is not finished and pass on each outcome when it comes; return all in the order of `points`."""
    outcomes = {outcome.point.fingerprint: outcome for point in points if (outcome := _finished_before(point)) is not None}
    waiting = [point for point in points if point.fingerprint not in outcomes]
    width = label_width(points)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=len(points))
        running = 0

        def show(activity: str, now_running: int) -> None:
            nonlocal running
            if now_running and not running:  # workers are busy: time for what else takes seconds to start
                Thread(target=import_module, args=("experiments.present.figures",)).start()
                if logbook is not None:
                    logbook.begin()
            done, running = len(outcomes), now_running
            counts = f"{done} done, {running} running, {len(points) - done - running} left"
            progress.update(bar, completed=done, description=f"{counts} ({activity})" if activity else counts)

        show("", 0)

        for outcome in outcomes.values():
            _record(outcome, progress.console, logbook, width)
        if waiting:
            with closing(simulate_on_ray(waiting, settings.workers, settings.ray, show)) as arrivals:
                for outcome in arrivals:
                    outcomes[outcome.point.fingerprint] = outcome
                    show("", running)
                    _record(outcome, progress.console, logbook, width)
    return [outcomes[point.fingerprint] for point in points]


def _record(outcome: Outcome, console: Console, logbook: Logbook | None, width: int = 0) -> None:
    _say(console, line(outcome, width))
    if outcome.result is None:
        outcome.point.save_failure(outcome.details)
    if logbook is not None:
        logbook.log(outcome)


def _write_files(folder: Path, outcomes: Sequence[Outcome], settings: SweepSettings) -> list[Path]:
    """Write the summary, the figures and the report of the finished points; return the files."""
    if all(outcome.result is None for outcome in outcomes):
        return []
    from experiments.present.figures import draw_figures

    write_summary(folder / "summary.csv", outcomes)
    files = [*draw_figures(folder, outcomes), folder / "summary.csv"]
    if settings.experiment.report is not None:
        from experiments.present.html.page import write_report
        from experiments.sensitivity.section import sensitivity_section

        title = settings.experiment.title or settings.experiment.name
        about = (outcomes, title, settings.command, settings.output_dir)
        files.append(write_report(folder / "report.html", *about, sources=[sensitivity_section]))
    return files


@contextmanager
def _logbook(settings: SweepSettings) -> Iterator[Logbook | None]:
    if not settings.tracking.enabled:
        yield None
        return
    with closing(Logbook(settings.tracking, settings.output_dir)) as logbook:
        yield logbook


def _check_logged(logbook: Logbook | None, settings: SweepSettings) -> None:
    if logbook is not None and (failure := logbook.failure()) is not None:
        raise NotLoggedError(
            f"MLflow: {failure}; results are kept in {settings.output_dir / 'points'}, the same command logs the rest"
        )


@contextmanager
def _claimed(folder: Path) -> Generator[None, None, None]:
    """Hold the sweep: two processes that run the same one would log every point twice."""
    with (folder / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError("output_dir", folder.parent.parent, "another process is running this sweep there") from error
        yield


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _sweep_name(points: Sequence[Point]) -> str:
    series = list(dict.fromkeys(point.name.series for point in points))
    values = sorted({point.name.x for point in points})
    return f"{', '.join(series)}; {points[0].name.axis}={','.join(map(str, values))}"


def _finished_before(point: Point) -> Outcome | None:
    result = point.load()
    return None if result is None else Outcome(point, result, done_before=True)


def _simulate_by_actors(point: Point, settings: SweepSettings, console: Console) -> Outcome:
    with console.status("simulating") as status:

        def show(activity: str, _: int) -> None:
            status.update(activity or "simulating")

        with closing(simulate_on_ray([point], settings.workers, settings.ray, show)) as arrivals:
            return next(arrivals)


def _simulate_here(point: Point, settings: SweepSettings, console: Console) -> Outcome:
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console, transient=True
    ) as progress:
        windows = point.config.engine.window_us > 0
        started = "simulating" if is_compiled(windows=windows) else "compiling once, a minute or two"
        bar: TaskID = progress.add_task(started, total=1.0)
        try:
            compile_once(windows=windows)
            progress.update(bar, description="simulating")
            result = simulate(point.config, lambda share: progress.update(bar, completed=share))
        except Exception as error:
            return Outcome.of_error(point, error, traceback.format_exc())
    point.save(result)
    return Outcome(point, result)
