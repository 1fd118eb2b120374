"""``python -m experiments.sensitivity``: changes each group of constants by some percent and asks which claims survive.

Runs the points of all changes on Ray, keeps their results like those of a sweep, and writes data and figures. What is changed
is in `conf/sensitivity.yaml`, what a change does to claims in `experiments.sensitivity.analysis`.
"""

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib.pyplot as plt
from omegaconf import MISSING
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from experiments.config.command_line import check_workers, exit_code_of, terminal
from experiments.config.constant_groups import Constants, scaled
from experiments.config.locations import CONF
from experiments.config.reader import read_structured
from experiments.config.schema import RayConfig, TrackingConfig
from experiments.config.user_errors import UnfinishedError
from experiments.paper.claims import CLAIMS, CONNP_L, CONNP_T, MSGP, UP
from experiments.paper.places import HEAVY, compose_places
from experiments.paper.verdicts import Place, PointKey
from experiments.points.folders import check_output_dir
from experiments.points.names import AXIS, PointName
from experiments.points.point import Outcome, Point, sweep_id
from experiments.points.provenance import provenance
from experiments.run.cluster import check_cluster
from experiments.run.on_ray import simulate_on_ray
from experiments.sensitivity.analysis import SURVIVAL_HEADINGS, Sensitivity, restricted, sensitivity_of, survival, tornado_figure
from experiments.store.logbook import Logbook, check_reachable
from netstack.errors import ConfigError
from netstack.sim import Result, SimulationConfig

SPECIFICATION = CONF / "sensitivity.yaml"
ORGANIZATIONS = (UP, MSGP, CONNP_T, CONNP_L)
COMMON = ("costs", "machine", "workload")
"""Parts of a configuration that hold constants; all points of a change share them."""
DPI = 130
PURPOSE = "Changes each group of constants by some percent, and says which claims survive."

Change = tuple[str, bool]
"""A group of constants, and whether it is raised."""


@dataclass
class GridConfig:
    """The points of each change: all organizations at `loads`, and connp_l with other groups, each at loads of its own.

    Loads of 1,024 connections and more have only the first of the `seeds`.
    """

    seeds: list[int] = MISSING
    loads: list[int] = MISSING
    groups: dict[int, list[int]] = field(default_factory=dict)


@dataclass
class SensitivityConfig:
    """All of `conf/sensitivity.yaml`."""

    percent: float = 20.0
    full: GridConfig = field(default_factory=GridConfig)
    quick: GridConfig = field(default_factory=GridConfig)
    parameters: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """The points before (None) and after each change, by their place and seed. Equal points of two changes are one."""

    points: dict[Change | None, dict[PointKey, Point]]
    parameters: dict[str, list[str]]

    @property
    def distinct(self) -> list[Point]:
        """Each point once."""
        return list({point.fingerprint: point for points in self.points.values() for point in points.values()}.values())

    @property
    def places(self) -> frozenset[Place]:
        """The places of each change."""
        return frozenset(Place(key.org, key.groups, key.conns) for key in self.points[None])


def read_specification(path: Path) -> SensitivityConfig:
    """Read what is changed and simulated.

    Raises:
        ConfigError: The file is missing or no YAML, or a value cannot be used.
        OmegaConfBaseException: A key or a type is wrong.
    """
    specification = read_structured(path, SensitivityConfig)
    if not 0 < specification.percent < 100:
        raise ConfigError("percent", specification.percent, "must be above 0 and below 100")
    return specification


def plan_of(specification: SensitivityConfig, grid: GridConfig, output_dir: Path) -> Plan:
    """Compose the points of all changes.

    Raises:
        ConfigError: A group of constants has an unknown key, or cannot be changed that far.
    """
    places = [Place(*organization, load) for load in grid.loads for organization in ORGANIZATIONS]
    places += [Place(CONNP_L[0], groups, load) for groups, loads in grid.groups.items() for load in loads]
    configs = {
        **compose_places([place for place in places if place.conns < HEAVY], grid.seeds).configs,
        **compose_places([place for place in places if place.conns >= HEAVY], grid.seeds[:1]).configs,
    }
    config = next(iter(configs.values()))
    points: dict[Change | None, dict[PointKey, Point]] = {None: _points(configs, "unchanged", output_dir)}
    for name, keys in specification.parameters.items():
        members = Constants(name, tuple(keys)).members(config)
        for key in members:
            if key.partition(".")[0] not in COMMON:
                raise ConfigError(f"parameters.{name}", key, f"must be below {', '.join(COMMON)}")
        for raised in (False, True):
            percent = specification.percent if raised else -specification.percent
            common = scaled(config, members, 1 + percent / 100)
            try:
                common.validate()
            except ConfigError as error:
                raise ConfigError(f"parameters.{name}", f"{percent:+g} %", f"cannot be simulated: {error}") from error
            parts = {part: getattr(common, part) for part in COMMON}
            changed = {key: dataclasses.replace(one, **parts) for key, one in configs.items()}
            points[name, raised] = _points(changed, f"{name} {percent:+g} %", output_dir)
    return Plan(points, specification.parameters)


def run(points: Sequence[Point], workers: int | None, address: str | None, console: Console) -> list[Outcome]:
    """Simulate the points that are not finished; return those that failed."""
    waiting = [point for point in points if not point.result_file.exists()]
    failed: list[Outcome] = []
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        done = len(points) - len(waiting)
        bar = progress.add_task(f"{done} of {len(points)} points", total=len(points), completed=done)

        def show(activity: str, running: int) -> None:
            counts = f"{done} of {len(points)} points, {running} running"
            progress.update(bar, completed=done, description=f"{counts} ({activity})" if activity else counts)

        if waiting:
            with closing(simulate_on_ray(waiting, workers, RayConfig(address), show)) as arrivals:
                for outcome in arrivals:
                    done += 1
                    progress.update(bar, completed=done, description=f"{done} of {len(points)} points")
                    if outcome.result is None:
                        failed.append(outcome)
                        outcome.point.save_failure(outcome.details)
                        text = f"{outcome.point.label}  failed: {outcome.failure}"
                        progress.console.print(text, highlight=False, markup=False, soft_wrap=True)
    return failed


def results_of(points: Mapping[PointKey, Point]) -> dict[PointKey, Result]:
    """Return the results of finished points."""
    loaded = {key: point.load() for key, point in points.items()}
    return {key: result for key, result in loaded.items() if result is not None}


def analyse(plan: Plan, specification: SensitivityConfig, grid: GridConfig) -> Sensitivity:
    """Judge every claim before and after each change, on the places that were simulated."""
    results = {change: results_of(points) for change, points in plan.points.items()}
    before = results[None]
    after = {change: points for change, points in results.items() if change is not None}
    pairs = [(claim, restricted(claim, plan.places)) for claim in CLAIMS]
    return Sensitivity(
        percent=specification.percent,
        seeds=tuple(grid.seeds),
        points=len(plan.distinct),
        parameters=plan.parameters,
        provenance=provenance(),
        claims=tuple(sensitivity_of(part, whole, before, after) for whole, part in pairs if part is not None),
    )


def write(sensitivity: Sensitivity, folder: Path) -> list[Path]:
    """Write the data, and a figure a claim as SVG and PNG; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "sensitivity.json"]
    files[0].write_text(sensitivity.to_json())
    for claim in sensitivity.claims:
        figure = tornado_figure(sensitivity, claim.name)
        for kind in ("svg", "png"):
            files.append(folder / f"{claim.slug}.{kind}")
            figure.savefig(files[-1], dpi=DPI)
        plt.close(figure)
    return files


def print_survival(console: Console, sensitivity: Sensitivity) -> None:
    """Print which claims survive all changes, and which changes the others do not."""
    title = f"Claims after a change of each of {len(sensitivity.parameters)} groups of constants by {sensitivity.percent:g} %"
    table = Table(title=title, title_justify="left", box=SIMPLE, padding=(0, 1))
    for heading in SURVIVAL_HEADINGS:
        table.add_column(heading, justify="right" if heading == "survives" else "left")
    rows = survival(sensitivity)
    for row in rows:
        table.add_row(*row.cells)
    console.print(table)
    orders = [row for row in rows if row.is_order]
    text = f"{sum(row.survives for row in orders)} of {len(orders)} claimed orders hold and survive every change; "
    numbers = len(rows) - len(orders)
    text += f"so do {sum(row.survives for row in rows if not row.is_order)} of {numbers} claims about published numbers"
    console.print(text, highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 if a point failed, 2 for input that cannot be used, 130 if interrupted."""
    parser = argparse.ArgumentParser(prog="python -m experiments.sensitivity", description=PURPOSE)
    parser.add_argument("--quick", action="store_true", help="fewer places and seeds")
    parser.add_argument("--dry-run", action="store_true", help="count the points and those that are done")
    parser.add_argument("--output-dir", type=Path, default=Path("outputs"), metavar="FOLDER", help="results and figures")
    parser.add_argument("--workers", type=int, metavar="N", help="points at a time (one a CPU)")
    parser.add_argument("--ray-address", metavar="HOST:PORT", help="of a running Ray cluster")
    parser.add_argument("--no-tracking", action="store_true", help="write nothing to MLflow")
    parser.add_argument("--specification", type=Path, default=SPECIFICATION, metavar="FILE", help="conf/sensitivity.yaml")
    given = parser.parse_args(arguments)
    return exit_code_of(lambda: _run(given, terminal()), [])


def _run(given: argparse.Namespace, console: Console) -> None:
    if given.workers is not None:
        check_workers(given.workers)
    specification = read_specification(given.specification)
    grid = specification.quick if given.quick else specification.full
    plan = plan_of(specification, grid, given.output_dir)
    points = plan.distinct
    if given.dry_run:
        done = sum(point.result_file.exists() for point in points)
        console.print(f"{len(points)} points, {done} done, {len(points) - done} to run", highlight=False)
        return
    check_output_dir(given.output_dir)
    tracking = TrackingConfig(enabled=not given.no_tracking)
    check_reachable(tracking, given.output_dir)
    check_cluster(given.ray_address)
    failed = run(points, given.workers, given.ray_address, console)
    if failed:
        where = failed[0].point.failure_file.parent
        raise UnfinishedError(f"{len(failed)} of {len(points)} points failed (details: {where})")
    sensitivity = analyse(plan, specification, grid)
    files = write(sensitivity, given.output_dir / ("sensitivity-quick" if given.quick else "sensitivity"))
    print_survival(console, sensitivity)
    if tracking.enabled:
        _log(points, files, tracking, given.output_dir)
    console.print(f"written: {files[0]} and {len(files) - 1} figures", highlight=False, soft_wrap=True)


def _points(configs: Mapping[PointKey, SimulationConfig], change: str, output_dir: Path) -> dict[PointKey, Point]:
    def name(key: PointKey) -> PointName:
        return PointName(f"{change}: {key.org}({key.groups})", AXIS, key.conns, key.seed)

    return {key: Point(config, name(key), output_dir) for key, config in configs.items()}


def _log(points: Sequence[Point], files: Sequence[Path], tracking: TrackingConfig, output_dir: Path) -> None:
    """Keep data and figures as one MLflow run. The points themselves are not logged: they are parts of one result."""
    with closing(Logbook(tracking, output_dir)) as logbook:
        logbook.begin()
        logbook.open_sweep(sweep_id(points), "sensitivity", len(points))
        logbook.close_sweep("FINISHED", files)
    if (failure := logbook.failure()) is not None:
        print(f"warning: MLflow: {failure}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
