"""Experiments: files of `conf/experiment/` that name several grids of overrides, run as one sweep.

Turns an experiment and the rest of the command line into lists of overrides. Knows no points and runs nothing.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import Override, Transformer
from hydra.errors import HydraException

from experiments.config.elements import comparable, elements
from experiments.config.subsets import subset_name, subsets
from netstack.errors import ConfigError
from netstack.sim import MECHANISMS

GROUP = "experiment"
KEY = re.compile(r"[^\s=,:@]+")
VARIANT, BESIDE = "variant", "beside"
MOST_PERMUTATIONS = 100
REPORTS = ("paper", "ablation", "steps", "published", "why")
"""What an experiment may ask for as its report."""


@dataclass
class ExperimentConfig:
    """An experiment is the union of its grids, each in all variants. Without grids it has one: that of the command line.

    Attributes:
        name: As the file is called; empty when no file was chosen.
        title: Of the report.
        report: One of `REPORTS`; null for tables and figures only. `paper` is written into the sweep's folder as ``report.html``.
            `ablation` compares all variants with the first one: a figure and tables, in place of those of other sweeps.
            `steps` compares each variant with the one that it is ``beside``: ``report.html``, a figure and values.
            `published` compares variants with what a publication says of each, in place of them: ``report.html``.
            `why` makes mechanisms free, and shares out what they cost: ``why.html``. It makes its variants itself.
        common: Overrides of all grids: a key, and its value or list of values.
        grids: The same per grid. Its own values replace common ones.
        variants: The same per variant, which may name its points by the key ``variant``. Its values replace those of grids. Of
            `steps`, each but the first has the name of an earlier one under ``beside``.
        mechanisms: Of `why`: those that share; null for all.
        permutations: Of `why`: orders that are drawn, each with its reverse; null for all sets of mechanisms.
        objective: Of `why`: a metric, with a minus in front if less is better; null for that of the workload.
    """

    name: str = ""
    title: str = ""
    report: str | None = None
    common: Any = None  # dict[str, Any] and list[dict[str, Any]]: `validate` says it more clearly than Hydra would
    grids: Any = None
    variants: Any = None
    mechanisms: Any = None  # list[str]
    permutations: int | None = None
    objective: str | None = None

    def validate(self) -> None:
        """Raise ConfigError for the first value that cannot be used."""
        for name in ("grids", "variants"):
            given = getattr(self, name)
            if given is not None and not (isinstance(given, list) and given):
                raise ConfigError(f"{GROUP}.{name}", given, f"must be a list of {name}, or be left out")
        if not self.name and (self.common or self.grids or self.variants):
            raise ConfigError(f"{GROUP}.name", "", "must be given, as the file is called")
        if self.report is not None and self.report not in REPORTS:
            raise ConfigError(f"{GROUP}.report", self.report, f"allowed are {', '.join(REPORTS)}, or null")
        _check(f"{GROUP}.common", self.common or {})
        for name in ("grids", "variants"):
            for number, values in enumerate(getattr(self, name) or []):
                _check(f"{GROUP}.{name}[{number}]", values)
        self._check_names()
        self._check_steps()
        self._check_why()

    def _check_names(self) -> None:
        """Raise ConfigError for a variant that names its points as another one does, or by several names."""
        names: dict[str, str] = {}
        for number, values in enumerate(self.variants or []):
            where, name = f"{GROUP}.variants[{number}].{VARIANT}", values.get(VARIANT)
            if isinstance(name, list):
                raise ConfigError(where, name, "must be one name")
            if name is not None and names.setdefault(str(name), where) != where:
                raise ConfigError(where, name, f"must be another name than that of {names[str(name)]}")

    def _check_steps(self) -> None:
        """Raise ConfigError for a variant that the report `steps` cannot compare, or for a neighbour that it does not ask for."""
        earlier: list[str] = []
        for number, values in enumerate(self.variants or []):
            where, beside = f"{GROUP}.variants[{number}]", values.get(BESIDE)
            if self.report != "steps":
                if beside is not None:
                    raise ConfigError(f"{where}.{BESIDE}", beside, "needs an experiment with report: steps")
                continue
            if VARIANT not in values:
                raise ConfigError(f"{where}.{VARIANT}", "null", "must be given: neighbours are found by names")
            if beside is None and earlier:
                raise ConfigError(f"{where}.{BESIDE}", "null", f"must be an earlier variant: {', '.join(earlier)}")
            if beside is not None and variant_name(values, BESIDE) not in earlier:
                raise ConfigError(f"{where}.{BESIDE}", beside, f"must be an earlier variant: {', '.join(earlier) or 'none yet'}")
            earlier.append(variant_name(values))

    def _check_why(self) -> None:
        """Raise ConfigError for what the report `why` cannot vary, or another one does not."""
        if self.report != "why":
            for name in ("mechanisms", "permutations", "objective"):
                if getattr(self, name) is not None:
                    raise ConfigError(f"{GROUP}.{name}", getattr(self, name), "needs an experiment with report: why")
            return
        if self.variants is not None:
            raise ConfigError(f"{GROUP}.variants", "given", "must be left out: the report why makes its own")
        chosen = self.mechanisms
        if chosen is not None and (not isinstance(chosen, list) or len(chosen) < 2 or not set(chosen) <= set(MECHANISMS)):
            raise ConfigError(f"{GROUP}.mechanisms", chosen, f"must be two or more of {', '.join(MECHANISMS)}")
        if self.permutations is not None and not 2 <= self.permutations <= MOST_PERMUTATIONS:
            raise ConfigError(
                f"{GROUP}.permutations", self.permutations, f"must be from 2 to {MOST_PERMUTATIONS}, or null for all"
            )

    @property
    def players(self) -> list[str]:
        """The mechanisms that share, in the order of all."""
        return [name for name in MECHANISMS if self.mechanisms is None or name in self.mechanisms]

    def _variants(self) -> list[dict[str, Any]]:
        """Return the variants: those of the file, or of `why` a set of free mechanisms each."""
        if self.report != "why":
            variants = self.variants or [{}]
            return [{key: value for key, value in values.items() if key != BESIDE} for values in variants]
        return [
            {VARIANT: subset_name(subset, self.players), "ideal": f"[{','.join(subset)}]"}
            for subset in subsets(self.players, self.permutations)
        ]

    def combined(self) -> list[dict[str, Any]]:
        """Return keys with their value or list of values, as they are in the file: of each grid in each variant."""
        common = self.common or {}
        owns = [{**grid, **variant} for variant in self._variants() for grid in self.grids or [{}]]
        return [{**own, **{key: value for key, value in common.items() if key not in own}} for own in owns]

    def overrides(self, given: Sequence[Override], parse: Callable[[str], Override]) -> list[list[str]]:
        """Return the overrides of each grid in each variant.

        Args:
            given: Those of the command line. Values that the grids have choose among these, and a grid with none of them is left
                out. Other values replace those of the grids. Values are compared, not how they are written.
            parse: Reads an override.

        Raises:
            ConfigError: No grid is left, or a list of values is empty.
        """
        grids = [{key: _texts(key, value, parse) for key, value in values.items()} for values in self.combined()]
        asked = {
            override.key_or_group: [] if override.is_delete() else [comparable(each) for each in elements(override)]
            for override in given
        }
        known = {key: {value for grid in grids for value in grid.get(key, ())} for key in asked}
        chosen = {key: values for key, values in asked.items() if values and known[key].issuperset(values)}
        lists = []
        for grid in grids:
            left = {
                key: [texts[value] for value in chosen.get(key, texts) if value in texts]
                for key, texts in grid.items()
                if key in chosen or key not in asked
            }
            if all(left.values()):
                texts = [f"{key}={','.join(values)}" for key, values in left.items()]
                lists.append([*texts, *(str(each.input_line) for each in given if each.key_or_group not in left)])
        if not lists:
            asked_for = " ".join(str(each.input_line) for each in given if each.key_or_group in chosen)
            raise ConfigError(GROUP, self.name, f"has no grid with {asked_for}")
        return lists


def variant_name(values: dict[str, Any], key: str = VARIANT) -> str:
    """Return the name of the variant that has some values, or that it is beside; one with a comma is quoted in its file."""
    return str(values.get(key, "")).strip("'\"")


def _check(where: str, values: Any) -> None:
    """Raise ConfigError for the first key that an experiment cannot set, or that has no value."""
    if not isinstance(values, dict):
        raise ConfigError(where, values, "must be a mapping of keys to values or lists of values")
    for key, value in values.items():
        if not isinstance(key, str) or not KEY.fullmatch(key):
            raise ConfigError(f"{where}.{key}", value, "must be a dotted key and its value or list of values")
        if key.split(".")[0].split("/")[0] in (GROUP, "hydra"):
            raise ConfigError(f"{where}.{key}", value, "cannot be set by an experiment")
        items = value if isinstance(value, list) else [value]
        if not items or any(isinstance(item, dict | list) or item == "" for item in items):
            raise ConfigError(f"{where}.{key}", value, "must be a value or a list of values")


def _texts(key: str, value: Any, parse: Callable[[str], Override]) -> dict[object, str]:
    """Return how a value, or each of several, stands on the command line, under the value itself."""
    texts: dict[object, str] = {}
    for item in value if isinstance(value, list) else [value]:
        text = "null" if item is None else str(item).lower() if isinstance(item, bool) else str(item)
        try:
            override = parse(f"{key}={text}")
        except HydraException as error:
            raise ConfigError(key, text, f"must be a value or a list of values ({' '.join(str(error).split())})") from error
        several = override.is_sweep_override()
        texts |= {comparable(each): Transformer.str(each) if several else text for each in elements(override)}
    return texts
