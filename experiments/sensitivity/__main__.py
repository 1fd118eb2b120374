"""``python -m experiments.sensitivity``: changes each group of constants by some percent and asks which claims survive.

The command line and what it prints. Points run on Ray and are kept like those of a sweep. What is changed is in
`conf/sensitivity.yaml`, which points that makes in `experiments.sensitivity.plan`.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import TextColumn, TimeRemainingColumn
from rich.table import Table

from experiments.config.command_line import check_workers, exit_code_of
from experiments.config.output import terminal
from experiments.config.schema import RayConfig, TrackingConfig
from experiments.paper.verdicts import counts_by_origin
from experiments.points.folders import check_output_dir, output_folder
from experiments.points.point import Outcome, Point, sweep_id
from experiments.run.cluster import check_cluster
from experiments.run.on_ray import simulate_on_ray
from experiments.run.stream import PointsFailedError, stream
from experiments.sensitivity.analysis import SURVIVAL_HEADINGS, Sensitivity, analyse, survival
from experiments.sensitivity.plan import SPECIFICATION, plan_of, read_specification
from experiments.sensitivity.tornado import draw_tornados
from experiments.store.logbook import check_reachable, logbook_for
from netstack.installation import started_as
from netstack.sim import Result

PURPOSE = "Changes each group of constants by some percent, and says which claims survive."


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 if a point failed, 2 for input that cannot be used, 130 if interrupted."""
    parser = argparse.ArgumentParser(prog=started_as("python -m experiments.sensitivity"), description=PURPOSE)
    parser.add_argument("--quick", action="store_true", help="fewer places and seeds")
    parser.add_argument("--dry-run", action="store_true", help="count the points and those that are done")
    parser.add_argument("--output-dir", default="outputs", metavar="FOLDER", help="results and figures")
    parser.add_argument("--workers", type=int, metavar="N", help="points at a time (one per CPU)")
    parser.add_argument("--ray-address", metavar="HOST:PORT", help="of a running Ray cluster")
    parser.add_argument("--no-tracking", action="store_true", help="write nothing to MLflow")
    parser.add_argument("--specification", type=Path, default=SPECIFICATION, metavar="FILE", help="conf/sensitivity.yaml")
    given = parser.parse_args(arguments)
    return exit_code_of(lambda: _run(given, terminal()), [])


def _run(given: argparse.Namespace, console: Console) -> None:
    if given.workers is not None:
        check_workers(given.workers)
    specification = read_specification(given.specification)
    given.output_dir = output_folder(given.output_dir)
    plan = plan_of(specification, specification.quick if given.quick else specification.full, given.output_dir)
    points = plan.distinct
    if given.dry_run:
        done = sum(point.is_finished for point in points)
        console.print(f"{len(points)} points, {done} done, {len(points) - done} to run", highlight=False)
        return
    check_output_dir(given.output_dir)
    tracking = TrackingConfig(enabled=not given.no_tracking)
    check_reachable(tracking, given.output_dir)
    check_cluster(given.ray_address)
    sensitivity = analyse(plan, _simulate(points, given.workers, RayConfig(given.ray_address), console))
    files = _write(sensitivity, given.output_dir / ("sensitivity-quick" if given.quick else "sensitivity"))
    print_survival(console, sensitivity)
    _log(points, files, tracking, given.output_dir)
    console.print(f"written: {files[0]} and {len(files) - 1} figures", highlight=False, soft_wrap=True)


def _simulate(points: Sequence[Point], workers: int | None, ray: RayConfig, console: Console) -> dict[str, Result]:
    """Return the results of points by their fingerprint. Raises PointsFailedError if one failed."""
    results: dict[str, Result] = {}
    failed: list[Outcome] = []
    columns = (TextColumn("left"), TimeRemainingColumn())
    arrivals = stream(points, lambda waiting, show: simulate_on_ray(waiting, workers, ray, show), console, *columns)
    with closing(arrivals):
        for outcome in arrivals:
            if outcome.result is not None:
                results[outcome.point.fingerprint] = outcome.result
            else:
                failed.append(outcome)
                text = f"{outcome.point.label}  failed: {outcome.failure}"
                console.print(text, highlight=False, markup=False, soft_wrap=True)
    if failed:
        where = failed[0].point.failure_file.parent
        raise PointsFailedError(f"{len(failed)} of {len(points)} points failed (details: {where})")
    return results


def _write(sensitivity: Sensitivity, folder: Path) -> list[Path]:
    """Write the data and the figures; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "sensitivity.json"
    data.write_text(sensitivity.to_json(), encoding="utf-8")
    return [data, *draw_tornados(folder, sensitivity)]


def _log(points: Sequence[Point], files: Sequence[Path], tracking: TrackingConfig, output_dir: Path) -> None:
    """Keep data and figures as one MLflow run. The points themselves are not logged: they are parts of one result."""
    with (
        closing(logbook_for(tracking, output_dir)) as logbook,
        logbook.sweep(sweep_id(points), "sensitivity", len(points)) as entry,
    ):
        logbook.begin()
        entry.files = files
    if (failure := logbook.failure()) is not None:
        print(f"warning: MLflow: {failure}", file=sys.stderr)


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
    by_origin = counts_by_origin((row.origin, row.survives) for row in rows if row.origin is not None)
    console.print(f"by class of claims: {by_origin}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
