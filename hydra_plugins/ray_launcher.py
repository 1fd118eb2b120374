"""The Hydra sweeper and launcher of this project, ``hydra/sweeper: points`` and ``hydra/launcher: ray``.

Hydra finds plugins in a package of this name only. Its own sweeper composes every point twice, and hydra-ray-launcher submits
all jobs, waits in order and raises on the first failure: see docs/decisions/0001-own-launcher.md. Here a point is composed
once, or not at all if it differs from another in plain values only, and all points go to `experiments` in one call. The grids
of an experiment are put together here, because only a sweeper knows the rest of the command line.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from experiments.config.grids import GROUP
from experiments.config.overrides import check_overrides
from experiments.config.reader import Composition, Setting
from experiments.launch import launch
from netstack.errors import ConfigError


@dataclass
class PointsSweeperConfig(BasicSweeperConf):
    """Hydra's node of the sweeper: the same keys as its basic one."""

    _target_: str = "hydra_plugins.ray_launcher.PointsSweeper"


@dataclass
class RayLauncherConfig:
    """Hydra's node of this launcher; workers and cluster are top-level keys."""

    _target_: str = "hydra_plugins.ray_launcher.RayLauncher"


class PointsSweeper(BasicSweeper):
    """Hydra's basic sweeper for several grids, without its trial composition of every point and its file `multirun.yaml`."""

    def sweep(self, arguments: list[str]) -> Sequence[JobReturn]:
        """Hand every combination of the swept values to the launcher, for each grid of an experiment."""
        assert self.hydra_context is not None
        assert self.launcher is not None
        assert self.config is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        given = parser.parse_overrides([*self._parse_config(), *arguments])
        for override in given:
            if override.key_or_group == GROUP and override.is_sweep_override():
                raise ConfigError(GROUP, str(override.input_line).partition("=")[2], "must be one: several are several commands")
        experiment: Any = OmegaConf.to_object(self.config[GROUP])
        experiment.validate()
        batch: list[list[str]] = []
        for overrides in experiment.overrides(given, parser.parse_override):
            parsed = parser.parse_overrides(overrides)
            check_overrides(parsed)
            (points,) = self.split_arguments(parsed, None)
            batch += points
        return self.launcher.launch(batch, initial_job_idx=0)


class RayLauncher(Launcher):
    """Composes all points of a sweep, then runs them."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep Hydra's context. The task function is not used, since points run in workers."""
        self.loader: ConfigLoader = hydra_context.config_loader
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the points of a sweep. Results are on disk and in MLflow, not in what is returned."""
        launch(self._composed(job_overrides), multirun=True, count=len(job_overrides))
        return []

    def _composed(self, job_overrides: Sequence[Sequence[str]]) -> Iterator[tuple[Composition, list[Setting]]]:
        """Yield a configuration per point, and what is set in it. Points with plain values of the same keys share one."""
        parser = OverridesParser.create(config_loader=self.loader)
        options = cache(self.loader.get_group_options)

        @cache
        def parsed(text: str) -> tuple[str, Setting | None]:
            """Return what of an override tells compositions apart, and what it sets, None for more than a plain value."""
            (override,) = parser.parse_overrides([text])
            key = override.key_or_group
            plain = _only_sets(override) and not options(key)
            return (key, Setting(key, override.value(), text)) if plain else (text, None)

        composed: dict[tuple[str, ...], Composition] = {}
        for overrides in job_overrides:
            parts = [parsed(text) for text in overrides]
            key = tuple(text for text, _ in parts)
            composition = composed.get(key)
            if composition is None:
                composition = Composition(self.loader.load_sweep_config(self.config, list(overrides)))
                if not composition.interpolates():
                    composed[key] = composition
            yield composition, [setting for _, setting in parts if setting is not None]


def _only_sets(override: Override) -> bool:
    """Return whether an override sets one value, perhaps a list of plain ones, and adds or removes no key."""
    value = override.value()
    items = value if isinstance(value, list) else [value]
    plain = not any(isinstance(item, dict | list) for item in items)
    return override.type == OverrideType.CHANGE and override.package is None and plain


ConfigStore.instance().store(group="hydra/launcher", name="ray", node=RayLauncherConfig, provider="netstack")
ConfigStore.instance().store(group="hydra/sweeper", name="points", node=PointsSweeperConfig, provider="netstack")
