"""From composed configurations to a run: everything is checked and frozen before the first point starts.

Later edits of files therefore do not leak into waiting points.
"""

import shlex
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from experiments.config.command_line import terminal
from experiments.config.configuration import RayConfig, Reader, TrackingConfig
from experiments.config.grids import ExperimentConfig
from experiments.paper.verdicts import check_comparable
from experiments.points.names import name_points
from experiments.points.point import Point, check_output_dir
from experiments.run.cluster import check_cluster
from experiments.store.logbook import check_reachable
from experiments.store.runs import tracking_uri
from experiments.sweep import SweepSettings, list_points, run_single, run_sweep
from netstack.errors import ConfigError
from netstack.sim import SimulationConfig


def launch(configs: Iterable[tuple[DictConfig, Collection[str] | None]], multirun: bool) -> None:
    """Check composed configurations, then list or run their points. Each is read before the next one is asked for.

    Args:
        configs: Configurations, each with the top-level keys that differ from the one before; None if anything may.
        multirun: Whether they are a sweep.

    Raises:
        ConfigError: Something cannot be simulated, written or reached; nothing was started.
        PointsFailedError: Some points failed.
        NotLoggedError: All finished, but not all are in MLflow.
    """
    simulations: list[SimulationConfig] = []
    surroundings: dict[str, Any] = {}
    reader = Reader()
    for config, changed in configs:
        simulation, found = reader.read(config, changed)
        simulations.append(simulation)
        for key, value in found.items():
            if surroundings.setdefault(key, value) != value:
                raise ConfigError(key, value, f"must be the same for all points of a sweep, and one has {surroundings[key]}")
    experiment: ExperimentConfig = surroundings["experiment"]
    if experiment.name and not multirun:
        raise ConfigError("experiment", experiment.name, "several points are a sweep, which needs the option -m")
    output_dir = Path(surroundings["output_dir"])
    named = zip(simulations, name_points(simulations), strict=True)
    points = list({point.fingerprint: point for point in (Point(config, name, output_dir) for config, name in named)}.values())
    if experiment.report is not None:
        check_comparable([point.config for point in points])
    console = terminal()
    if surroundings["dry_run"]:
        list_points(points, console)
        return
    tracking: TrackingConfig = surroundings["tracking"]
    check_output_dir(output_dir)
    if tracking.enabled:
        check_reachable(tracking_uri(tracking, output_dir))
    ray: RayConfig = surroundings["ray"]
    if ray.address is not None:
        check_cluster(ray.address)
    command = shlex.join(["python", "run.py", *sys.argv[1:]])
    settings = SweepSettings(output_dir, tracking, surroundings["workers"], ray, experiment, command)
    if multirun:
        run_sweep(points, settings, console)
    else:
        run_single(points[0], settings, console)
