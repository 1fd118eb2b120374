"""Runs a sweep, or one point: streams outcomes to the terminal and the logbook, then writes tables and figures.

Finished points are not run again. Knows no Hydra.
"""

import fcntl
import shlex
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Protocol

import yaml
from rich.console import Console

from experiments.config.grids import ExperimentConfig
from experiments.config.schema import RayConfig, TrackingConfig
from experiments.config.user_errors import UnfinishedError
from experiments.config.values import DUMPER
from experiments.points.folders import remove_unfinished, writing
from experiments.points.names import has_axes
from experiments.points.packed import PackedOutcomes
from experiments.points.point import Outcome, Point, folder_of_points, sweep_id
from experiments.points.precision import Precision, SeedPlan
from experiments.present.table import label_width, line, print_table, write_summary
from experiments.published.comparison import Comparison
from experiments.run.in_process import simulate_in_process
from experiments.run.on_ray import simulate_on_ray
from experiments.run.stream import PointsFailedError, Simulate, stream
from experiments.store.address import database_file, database_uri, tracking_uri
from experiments.store.describe import describe_sweep
from experiments.store.logbook import Logbook, NoLogbook, logbook_for
from netstack.errors import ConfigError

UI = "http://127.0.0.1:5000"  # where `mlflow ui` is, unless it is told otherwise


@dataclass(frozen=True)
class SweepSettings:
    """Where and how points run, and what is made of them. `command` runs them again. They are held against a `comparison`.

    Points get seeds until they have the `precision`. Whether there is a `page` is as `report` of a run says.
    """

    output_dir: Path
    tracking: TrackingConfig
    workers: int | None = None
    ray: RayConfig = field(default_factory=RayConfig)
    experiment: ExperimentConfig = field(default_factory=ExperimentConfig)
    command: str = ""
    comparison: Comparison | None = None
    precision: Precision | None = None
    page: str = "auto"


class Plan(Protocol):
    """Points that may become more while their results come."""

    @property
    def points(self) -> list[Point]:
        """All points so far."""
        ...

    def more(self, outcome: Outcome) -> Sequence[Point]:
        """Take an outcome; return the points that it asks for."""
        ...


@dataclass(frozen=True)
class SweepName:
    """What identifies a sweep and names its folder, and what MLflow shows of it."""

    identity: str
    shown: str


Write = Callable[[Path, Sequence[Outcome]], list[Path]]
Say = Callable[[Sequence[Outcome]], None]


class NotLoggedError(UnfinishedError):
    """Points are finished, but not all of them are in MLflow."""


def list_points(points: Sequence[Point], console: Console, precision: Precision | None = None) -> None:
    """Print what a sweep would run."""
    width, done = label_width(points), 0
    for point in points:
        finished = point.is_finished
        done += finished
        console.out(f"{point.label:{width}}  {point.fingerprint[:16]}  {'done' if finished else 'to run'}", highlight=False)
    further = f", and further seeds until {precision} is half the interval" if precision is not None else ""
    _say(console, f"{len(points)} points, {done} done, {len(points) - done} to run{further}")


def run_single(point: Point, settings: SweepSettings, console: Console) -> None:
    """Simulate one point, in this process unless its cores are actors; log it and print it.

    Raises:
        PointsFailedError: The point failed.
        NotLoggedError: It finished, but MLflow did not take it.
    """
    by_actors = point.config.engine.kind == "ray"
    simulate = _on_ray(settings) if by_actors else lambda points, show: simulate_in_process(points, 1, show)
    with closing(_logbook(settings, console)) as logbook:
        logbook.begin()
        (outcome,) = stream([point], simulate, console, transient=True)
        _say(console, line(outcome))
        logbook.log(outcome)
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
    plan = SeedPlan(points, settings.precision)
    sweep = sweep_id(points, repr(settings.precision) if settings.precision else "")
    name = settings.experiment.name or _sweep_name(points)

    def say(outcomes: Sequence[Outcome]) -> None:
        print_table(console, outcomes)
        _say_precision(console, plan)

    run_plan(
        plan,
        SweepName(sweep, name),
        settings,
        console,
        lambda folder, outcomes: _write_files(folder, outcomes, name, settings),
        say,
    )


def run_plan(plan: Plan, name: SweepName, settings: SweepSettings, console: Console, write: Write, say: Say) -> None:
    """Run the points of a plan that are not finished, log all, write files, and say what came out.

    Args:
        plan: The points.
        name: What the sweep is called.
        settings: Where and how points run.
        console: Where lines and a bar are shown.
        write: Writes files of outcomes into a folder, and returns them.
        say: Prints outcomes.

    Raises:
        PointsFailedError: At least one point failed. All others are finished.
        NotLoggedError: All finished, but MLflow did not take everything.
        UnwritableError: The disk is full, for example: the sweep ended there.
        ConfigError: The sweep is running already.
    """
    folder = settings.output_dir / "sweeps" / name.identity
    with (
        _claimed(folder),
        closing(_logbook(settings, console)) as logbook,
        logbook.sweep(name.identity, name.shown, len(plan.points)) as entry,
    ):
        with writing(folder):
            remove_unfinished(folder_of_points(settings.output_dir))
            _write_listing(folder / "points.yaml", plan.points)
        outcomes = _run(plan, settings, console, logbook)
        with writing(folder):
            _write_listing(folder / "points.yaml", plan.points)
            entry.files = write(folder, outcomes)
        asked = str(settings.precision or "")
        entry.description = describe_sweep(outcomes, settings.command, entry.files, asked)
        entry.failed = [outcome for outcome in outcomes if outcome.result is None]
    say(outcomes)
    _say_where(console, entry.files, settings, logbook.page())
    _check_finished(entry.failed, len(outcomes))
    _check_logged(logbook, settings)


def _run(plan: Plan, settings: SweepSettings, console: Console, logbook: Logbook | NoLogbook) -> list[Outcome]:
    """Run the points on Ray; print and log each outcome when it comes. Return all in the order of the plan."""

    def when_busy() -> None:  # time to start what else takes seconds
        Thread(target=import_module, args=("experiments.present.figures",)).start()
        logbook.begin()

    outcomes = PackedOutcomes()
    points = plan.points
    width = label_width(points)
    with closing(stream(points, _on_ray(settings), console, when_busy=when_busy, more=plan.more)) as arrivals:
        for outcome in arrivals:
            _say(console, line(outcome, width))
            logbook.log(outcome)
            outcomes.add(outcome)
    return outcomes.of(plan.points)


def _logbook(settings: SweepSettings, console: Console) -> Logbook | NoLogbook:
    return logbook_for(settings.tracking, settings.output_dir, lambda line: _say(console, line))


def _on_ray(settings: SweepSettings) -> Simulate:
    return lambda points, show: simulate_on_ray(points, settings.workers, settings.ray, show)


def _write_listing(path: Path, points: Sequence[Point]) -> None:
    listing = [{"point": point.label, "fingerprint": point.fingerprint} for point in points]
    path.write_text(yaml.dump(listing, Dumper=DUMPER, sort_keys=False), encoding="utf-8")


def _write_files(folder: Path, outcomes: Sequence[Outcome], name: str, settings: SweepSettings) -> list[Path]:
    """Write the summary, the figures, the report and the page of the finished points; return the files."""
    finished = [outcome for outcome in outcomes if outcome.result is not None]
    if not finished:
        return []
    files = _write_own_files(folder, outcomes, settings)
    if settings.page == "sweep" or (settings.page == "auto" and has_axes([outcome.point.name for outcome in finished])):
        from experiments.present.html.sweep_page import write_sweep_page

        page = write_sweep_page(folder / "sweep.html", outcomes, settings.experiment.title or name, settings.command)
        files += [page] if page is not None else []
    return files


def _write_own_files(folder: Path, outcomes: Sequence[Outcome], settings: SweepSettings) -> list[Path]:
    """Write what an experiment asks for, or the summary and the figures of any sweep; return the files."""
    from experiments.present.figures import draw_figures

    write_summary(folder / "summary.csv", outcomes)
    if settings.experiment.report == "ablation":
        from experiments.present.ablation import write_ablation

        return [*write_ablation(folder, outcomes, settings.command), folder / "summary.csv"]
    if settings.experiment.report == "why":
        from experiments.why.report import write_why

        return [*write_why(folder, outcomes, settings.experiment, settings.command), folder / "summary.csv"]
    if settings.experiment.report == "steps":
        from experiments.steps.report import write_steps

        return [*write_steps(folder, outcomes, settings.experiment, settings.command), folder / "summary.csv"]
    if settings.comparison is not None:
        from experiments.published.report import write_published

        return [*write_published(folder, outcomes, settings.comparison, settings.command), folder / "summary.csv"]
    files = [*draw_figures(folder, outcomes), folder / "summary.csv"]
    if settings.experiment.report == "paper":
        from experiments.present.html.page import write_report
        from experiments.sensitivity.section import sensitivity_section

        title = settings.experiment.title or settings.experiment.name
        about = (outcomes, title, settings.command, settings.output_dir)
        files.append(write_report(folder / "report.html", *about, sources=[sensitivity_section]))
    return files


@contextmanager
def _claimed(folder: Path) -> Generator[None, None, None]:
    """Make the sweep's folder and hold its lock. Two processes with the same sweep would log every point twice."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with writing(folder / ".lock"):
        lock = (folder / ".lock").open("a")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError("output_dir", folder.parent.parent, "another process is running this sweep there") from error
        yield


def _sweep_name(points: Sequence[Point]) -> str:
    series = list(dict.fromkeys(point.name.series for point in points))
    values = sorted({point.name.x for point in points})
    return f"{', '.join(series)}; {points[0].name.axis}={','.join(map(str, values))}"


def _say_precision(console: Console, plan: SeedPlan) -> None:
    """Say which points have not got the precision that was asked for."""
    for point, seeds, share in plan.not_reached():
        name = replace(point.name, seed=None).label
        _say(console, f"not reached: {plan.precision} by {name}, {100 * share:.2g} % after {seeds} seeds (seeds.max)")


def _say_where(console: Console, files: Sequence[Path], settings: SweepSettings, page: str | None) -> None:
    for path in files:
        _say(console, f"written: {path}")
    if not settings.tracking.enabled:
        return
    uri = tracking_uri(settings.tracking, settings.output_dir)
    if database_file(uri) is None:
        _say(console, f"browse:  {uri.rstrip('/')}/{page or ''}")
        return
    store = shlex.quote(database_uri(settings.output_dir / "mlflow.db") if settings.tracking.uri is None else uri)
    _say(console, f"browse:  mlflow ui --backend-store-uri {store}")
    if page is not None:
        _say(console, f"         {UI}/{page}")


def _check_finished(failed: Sequence[Outcome], points: int) -> None:
    if failed:
        labels = ", ".join(outcome.point.label for outcome in failed)
        where = failed[0].point.failure_file.parent
        raise PointsFailedError(f"{len(failed)} of {points} points failed: {labels} (details: {where})")


def _check_logged(logbook: Logbook | NoLogbook, settings: SweepSettings) -> None:
    if (failure := logbook.failure()) is not None:
        raise NotLoggedError(
            f"MLflow: {failure}; results are kept in {folder_of_points(settings.output_dir)}, the same command logs the rest"
        )


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
