"""A Hydra launcher that hands the whole sweep to `experiments.sweep`.

Every configuration is composed and checked before the first point starts, so that later edits of files do not leak into
waiting points. hydra-ray-launcher submits all jobs, waits in order and raises on the first failure; a sweep here
streams results, continues after failures and resumes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from experiments.configuration import TrackingConfig, check_run, simulation_config
from experiments.points import Point, check_output_dir
from experiments.sweep import SweepSettings, list_points, run_single, run_sweep
from experiments.tracking import check_reachable, tracking_uri


@dataclass
class RayLauncherConfig:
    """Hydra's node of this launcher; workers and cluster are top-level keys."""

    _target_: str = "experiments.launcher.RayLauncher"


class RayLauncher(Launcher):
    """Composes all points of a sweep, then runs them."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Remember Hydra's context. The task function is not used: points run in workers."""
        self.hydra_context = hydra_context
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the points of one batch of overrides."""
        loader = self.hydra_context.config_loader
        configs = [loader.load_sweep_config(self.config, list(overrides)) for overrides in job_overrides]
        launch(configs, multirun=True)
        returns = []
        for config in configs:
            job = JobReturn(cfg=config, status=JobStatus.COMPLETED)
            job.return_value = None
            returns.append(job)
        return returns


def register_launcher() -> None:
    """Make the launcher known to Hydra as ``hydra/launcher: ray``."""
    Plugins.instance().register(RayLauncher)
    ConfigStore.instance().store(group="hydra/launcher", name="ray", node=RayLauncherConfig, provider="netstack")


def launch(configs: list[DictConfig], multirun: bool) -> None:
    """Check composed configurations, then list or run their points.

    Raises:
        ConfigError: Something cannot be simulated, written or reached; nothing was started.
        PointsFailedError: Some points failed.
    """
    console = Console()
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
