"""The Hydra launcher of sweeps, ``hydra/launcher: ray``; Hydra finds plugins in a package of this name only.

hydra-ray-launcher submits all jobs, waits in order and raises on the first failure; this one hands all points to
`experiments`, which streams results, continues after failures and resumes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from experiments.launcher import launch


@dataclass
class RayLauncherConfig:
    """Hydra's node of this launcher; workers and cluster are top-level keys."""

    _target_: str = "hydra_plugins.ray_launcher.RayLauncher"


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


ConfigStore.instance().store(group="hydra/launcher", name="ray", node=RayLauncherConfig, provider="netstack")
