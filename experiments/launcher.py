"""From composed configurations to a run: everything is checked and frozen before the first point starts.

Later edits of files therefore do not leak into waiting points.
"""

import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from experiments.configuration import TrackingConfig, check_run, simulation_config
from experiments.points import Point, check_output_dir
from experiments.sweep import SweepSettings, list_points, run_single, run_sweep
from experiments.tracking import check_reachable, tracking_uri

PLAIN_WIDTH = 120  # of output that is not a terminal


def launch(configs: list[DictConfig], multirun: bool) -> None:
    """Check composed configurations, then list or run their points.

    Raises:
        ConfigError: Something cannot be simulated, written or reached; nothing was started.
        PointsFailedError: Some points failed.
    """
    console = Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH)
    first = configs[0]
    output_dir = Path(first.output_dir)
    points: dict[str, Point] = {}
    for config in configs:
        check_run(config)
        point = Point(simulation_config(config), output_dir)
        points.setdefault(point.fingerprint, point)
    tracking: Any = OmegaConf.to_object(first.tracking)
    assert isinstance(tracking, TrackingConfig)
    if first.dry_run:
        list_points(list(points.values()), console)
        return
    check_output_dir(output_dir)
    if tracking.enabled:
        check_reachable(tracking_uri(tracking, output_dir))
    settings = SweepSettings(output_dir, tracking, first.workers, first.ray_address)
    if multirun:
        run_sweep(list(points.values()), settings, console)
    else:
        run_single(next(iter(points.values())), settings, console)
