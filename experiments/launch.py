"""Checks and freezes all points of a composed sweep before the first one starts.

Later edits of files therefore do not leak into waiting points.
"""

import shlex
import sys
from collections.abc import Iterable, Sequence

from experiments.config.command_line import command
from experiments.config.compositions import keep_compositions
from experiments.config.output import terminal
from experiments.config.reader import Composition, Reader, Setting
from experiments.config.schema import SURROUNDINGS, RunConfig
from experiments.paper.verdicts import check_comparable
from experiments.points.folders import check_output_dir, output_folder
from experiments.points.modes import shared_like
from experiments.points.names import name_points
from experiments.points.point import Point
from experiments.points.precision import Precision, SeedPlan
from experiments.points.provenance import why_unknown
from experiments.published.comparison import comparison_of
from experiments.run.cluster import check_cluster
from experiments.run.progress import counted
from experiments.steps.pairs import check_steps
from experiments.store.logbook import check_reachable
from experiments.sweep import SweepSettings, list_points, run_single, run_sweep
from experiments.trace.files import TraceSettings, check_traces, write_traces
from experiments.why.cases import check_cases
from netstack.errors import ConfigError
from netstack.sim import SimulationConfig, cache_folder

Configs = Iterable[tuple[Composition, Sequence[Setting]]]


def launch(configs: Configs, multirun: bool, count: int = 1) -> None:
    """Check composed configurations, then list or run their points. Each is read before the next one is asked for.

    Args:
        configs: Configurations, and what is set in each.
        multirun: Whether they are a sweep.
        count: How many there are.

    Raises:
        ConfigError: Something cannot be simulated, written or reached; nothing was started.
        PointsFailedError: Some points failed.
        NotLoggedError: All finished, but not all are in MLflow.
    """
    console = terminal()
    simulations, variants, common = _read(counted(configs, count, "composing points", console))
    experiment = common.experiment
    if experiment.name and not multirun:
        raise ConfigError("experiment", experiment.name, "several points are a sweep, which needs the option -m")
    output_dir = output_folder(common.output_dir)
    distinct: dict[str, Point] = {}
    for config, name in zip(simulations, name_points(simulations, variants), strict=True):
        point = Point(config, name, output_dir)
        distinct.setdefault(point.fingerprint, point)
    points = list(distinct.values())
    comparison = None
    if experiment.report == "published":
        comparison = comparison_of(points, experiment, common.targets)
    elif experiment.report == "why":
        check_cases(points, experiment)
    elif experiment.report == "steps":
        check_steps(points, experiment)
    elif experiment.report is not None:
        _check_comparable(points, experiment.report)
    precision = _precision(common, points, multirun)
    if common.trace is not None:
        check_traces(points)
    if common.dry_run:
        list_points(SeedPlan(points, precision).points, console, precision)
        return
    check_output_dir(output_dir)
    cache_folder("sim")  # says where compiled code is kept if not at its own place; what workers say is not seen
    keep_compositions()
    check_reachable(common.tracking, output_dir)
    check_cluster(common.ray.address)
    command_again = shlex.join([*command().split(), *sys.argv[1:]])
    settings = SweepSettings(
        output_dir, common.tracking, common.workers, common.ray, experiment, command_again, comparison, precision, common.report
    )
    if (reason := why_unknown()) is not None:
        console.print(f"commit unknown: {reason}", highlight=False, markup=False, soft_wrap=True)
    with shared_like(output_dir):
        if multirun:
            run_sweep(points, settings, console)
        else:
            run_single(points[0], settings, console)
        if common.trace is not None:
            tracing = TraceSettings(common.trace_from_ms, common.trace_ms)
            write_traces(points, tracing, lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True))


def _precision(common: RunConfig, points: Sequence[Point], multirun: bool) -> Precision | None:
    """Return the precision that was asked for. Raises ConfigError for one that no point, or no single point, can have."""
    if common.precision is None:
        return None
    precision = Precision.of_text(common.precision, common.seeds.min, common.seeds.max)
    for point in points:
        precision.check(point.config)
    if not multirun:
        raise ConfigError("precision", common.precision, "several seeds are a sweep, which needs the option -m")
    return precision


def _check_comparable(points: Sequence[Point], report: str) -> None:
    """Raise ConfigError for points that a report cannot tell apart, or none to compare. Only `ablation` compares variants."""
    variants: dict[str, list[SimulationConfig]] = {}
    for point in points:
        variants.setdefault(point.name.variant if report == "ablation" else "", []).append(point.config)
    for configs in variants.values():
        check_comparable(configs, report)
    if report == "ablation" and len(variants) < 2:
        raise ConfigError("variant", next(iter(variants)), "must be two or more: the others are compared with the first")


def _read(configs: Configs) -> tuple[list[SimulationConfig], list[str], RunConfig]:
    """Return what each configuration simulates, its variant, and a configuration with what surrounds them all."""
    simulations: list[SimulationConfig] = []
    variants: list[str] = []
    common: RunConfig | None = None
    reader = Reader()
    for composition, settings in configs:
        simulation, found = reader.read(composition, settings)
        simulations.append(simulation)
        variants.append(found.variant)
        common = common or found
        for key in SURROUNDINGS:
            value, first = getattr(found, key), getattr(common, key)
            if value is not first and value != first:
                raise ConfigError(key, value, f"must be the same for all points of a sweep, and one has {first}")
    assert common is not None
    return simulations, variants, common
