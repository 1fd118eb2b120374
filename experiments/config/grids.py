"""Experiments: files of `conf/experiment/` that name several grids of overrides, run as one sweep.

Turns an experiment and the rest of the command line into lists of overrides. Knows no points and runs nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from netstack.errors import ConfigError

GROUP = "experiment"
REPORTS = ("paper", "ablation")
"""What an experiment may ask for as its report."""


@dataclass
class ExperimentConfig:
    """An experiment is the union of its grids, each in all variants. Without grids it has one: that of the command line.

    Attributes:
        name: As the file is called; empty when no file was chosen.
        title: Of the report.
        report: One of `REPORTS`; null for tables and figures only. `paper` is written into the sweep's folder as ``report.html``.
            `ablation` compares all variants with the first one: a figure and tables, in place of those of other sweeps.
        common: Overrides of all grids: a key, and its value or list of values.
        grids: The same per grid. Its own values replace common ones.
        variants: The same per variant, which may name its points by the key ``variant``. Its values replace those of grids.
    """

    name: str = ""
    title: str = ""
    report: str | None = None
    common: Any = None  # dict[str, Any] and list[dict[str, Any]]: `validate` says it more clearly than Hydra would
    grids: Any = None
    variants: Any = None

    def validate(self) -> None:
        """Raise ConfigError for the first value that cannot be used."""
        for name in ("grids", "variants"):
            if not isinstance(getattr(self, name) or [], list):
                raise ConfigError(f"{GROUP}.{name}", getattr(self, name), f"must be a list of {name}")
        if not self.name and (self.common or self.grids or self.variants):
            raise ConfigError(f"{GROUP}.name", "", "must be given, as the file is called")
        if self.report is not None and self.report not in REPORTS:
            raise ConfigError(f"{GROUP}.report", self.report, f"allowed are {', '.join(REPORTS)}, or null")
        _check(f"{GROUP}.common", self.common or {})
        for name in ("grids", "variants"):
            for number, values in enumerate(getattr(self, name) or []):
                _check(f"{GROUP}.{name}[{number}]", values)

    def overrides(self, given: Sequence[tuple[str, str]]) -> list[list[str]]:
        """Return the overrides of each grid in each variant.

        Args:
            given: Key and whole text of each override of the command line. Values that the grids have choose among these, and a
                grid with none of them is left out. Other values replace those of the grids.

        Raises:
            ConfigError: No grid is left.
        """
        common = self.common or {}
        owns = [{**grid, **variant} for variant in self.variants or [{}] for grid in self.grids or [{}]]
        grids = [{**own, **{key: value for key, value in common.items() if key not in own}} for own in owns]
        asked = {key: text.partition("=")[2].split(",") for key, text in given}
        known = {key: {text for grid in grids for text in _texts(grid.get(key, []))} for key in asked}
        chosen = {key: values for key, values in asked.items() if known[key].issuperset(values)}
        lists = []
        for grid in grids:
            left = {
                key: [text for text in chosen.get(key, _texts(value)) if text in _texts(value)]
                for key, value in grid.items()
                if key in chosen or key not in asked
            }
            if all(left.values()):
                texts = [f"{key}={','.join(values)}" for key, values in left.items()]
                lists.append([*texts, *(text for key, text in given if key not in left)])
        if not lists:
            raise ConfigError(GROUP, self.name, f"has no grid with {' '.join(text for key, text in given if key in chosen)}")
        return lists


def _check(where: str, values: Any) -> None:
    """Raise ConfigError for the first key that an experiment cannot set, or that has no value."""
    if not isinstance(values, dict):
        raise ConfigError(where, values, "must be a mapping of keys to values or lists of values")
    for key, value in values.items():
        if key.split(".")[0].split("/")[0] in (GROUP, "hydra"):
            raise ConfigError(f"{where}.{key}", value, "cannot be set by an experiment")
        items = value if isinstance(value, list) else [value]
        if not items or any(isinstance(item, dict | list) or item == "" for item in items):
            raise ConfigError(f"{where}.{key}", value, "must be a value or a list of values")


def _texts(value: Any) -> list[str]:
    """Return a value, or each of several, as it stands on the command line."""
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    if value is None:
        return ["null"]
    return [str(value).lower()] if isinstance(value, bool) else str(value).split(",")
