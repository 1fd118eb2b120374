"""Finished points of an output folder as data: a table of choices and statistics with units, for pandas, xarray and files.

Reads what sweeps have left. Knows no way to run a point and none to show one.
"""

import dataclasses
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from experiments.config.user_errors import InputError
from experiments.config.values import flattened
from experiments.points.folders import output_folder
from experiments.points.point import CONFIG, LOADER, folder_of_points
from netstack.sim import Result

if TYPE_CHECKING:
    import pandas

RESULT, LISTING = "result.json", "points.yaml"
LEFT_OUT = ("costs.operations.", "costs.structures.")
"""Parts of a configuration that are whole files: `config.yaml` of a point has them."""
SEED = "seed"


class NoPointsError(InputError):
    """There is nothing to load, or not what was asked for."""


@dataclass(frozen=True)
class Results:
    """Finished points as rows.

    Attributes:
        frame: A row per point; columns are `fingerprint`, then choices by their dotted keys, then statistics as in MLflow.
        choices: Columns of the configuration.
        statistics: Columns of results.
        dictionary: Unit and meaning of every statistic, and what choices are, by column.
    """

    frame: "pandas.DataFrame"
    choices: list[str]
    statistics: list[str]
    dictionary: dict[str, dict[str, str]]

    @cached_property
    def varied(self) -> list[str]:
        """The choices that differ among the points, the seed last."""
        frame: Any = self.frame  # pandas does not say that a column is one
        varied = [name for name in self.choices if len({repr(value) for value in frame[name]}) > 1 and name != SEED]
        return [*varied, SEED] if SEED in self.choices else varied

    def tidy(self) -> "pandas.DataFrame":
        """Return a row per point and statistic: the varied choices, `statistic`, `unit` and `value`."""
        long = self.frame.melt(self.varied, self.statistics, "statistic", "value").dropna(subset="value")
        long.insert(len(self.varied) + 1, "unit", long["statistic"].map(lambda name: self.dictionary[name]["unit"]))
        return long.reset_index(drop=True)

    def to_xarray(self) -> Any:
        """Return an xarray.Dataset: a dimension per varied choice, and a variable per statistic, with its unit as an attribute.

        Raises:
            NoPointsError: Points that differ in nothing stand twice, or xarray is not installed.
        """
        if find_spec("xarray") is None:
            raise NoPointsError("to_xarray() needs the package xarray: pip install xarray")
        plain = self.frame.copy()
        for name in self.varied:
            plain[name] = plain[name].map(_without_none)
        table = plain.set_index(self.varied)[self.statistics]
        if table.index.has_duplicates:
            raise NoPointsError("points of different versions of the simulator are alike: load one sweep, with sweep=")
        data = table.to_xarray()
        for name in self.statistics:
            data[name].attrs["units"] = self.dictionary[name]["unit"]
        return data

    def export(self, path: str | Path) -> list[Path]:
        """Write the table as Parquet or CSV, by the name's end, and beside it a data dictionary; return both files.

        Raises:
            NoPointsError: The name ends otherwise.
        """
        path = Path(path).expanduser()
        if path.suffix not in (".parquet", ".csv"):
            raise NoPointsError(f"{path} must end with .parquet or .csv")
        if path.suffix == ".csv":
            self.frame.to_csv(path, index=False)
        else:
            self.frame.map(lambda value: json.dumps(value) if isinstance(value, list | dict) else value).to_parquet(path)
        explained = path.with_suffix(".dictionary.json")
        explained.write_text(json.dumps(self.dictionary, indent=2) + "\n", encoding="utf-8")
        return [path, explained]


def load(output_dir: str | Path = "outputs", sweep: str | None = None) -> Results:
    """Load the finished points of an output folder.

    Args:
        output_dir: Of the sweeps.
        sweep: The name of a folder in `OUTPUT_DIR/sweeps`: only its points. Null loads all.

    Raises:
        NoPointsError: There is no such folder, sweep, or finished point.
    """
    import pandas  # slow to import

    folder = output_folder(str(output_dir))
    points = folder_of_points(folder)
    if not points.is_dir():
        raise NoPointsError(f"{folder} has no finished points: it must be an output folder")
    rows = list(_rows(points, _names(folder, sweep)))
    if not rows:
        raise NoPointsError(f"{folder} has no finished points" + (f" of the sweep {sweep}" if sweep else ""))
    choices = list(dict.fromkeys(name for _, values, _ in rows for name in values))
    statistics = list(dict.fromkeys(name for _, _, metrics in rows for name in metrics))
    frame = pandas.DataFrame([{"fingerprint": name, **values, **metrics} for name, values, metrics in rows])
    frame = frame.reindex(columns=["fingerprint", *choices, *statistics])
    dictionary = {name: {"unit": "", "meaning": "choice of the configuration"} for name in choices}
    dictionary |= {name: _explained(name) for name in statistics}
    frame.attrs["units"] = {name: entry["unit"] for name, entry in dictionary.items() if name in statistics}
    return Results(frame, choices, statistics, dictionary)


def _plain(value: Any) -> Any:
    """Return a list as one text: pandas can neither group by lists nor put them on an axis."""
    return "+".join(map(str, value)) if isinstance(value, list) else value


def _without_none(value: Any) -> Any:
    """Return a value that can be on an axis: pandas has no place for None."""
    return "null" if value is None or (isinstance(value, float) and math.isnan(value)) else value


def _names(folder: Path, sweep: str | None) -> set[str] | None:
    """Return the names of the points of a sweep, None for all."""
    if sweep is None:
        return None
    listing = folder / "sweeps" / sweep / LISTING
    if not listing.is_file():
        known = sorted(path.parent.name for path in folder.glob(f"sweeps/*/{LISTING}"))
        raise NoPointsError(f"{folder} has no sweep {sweep}; there are {', '.join(known) or 'none'}")
    return {entry["fingerprint"][:16] for entry in yaml.load(listing.read_text(encoding="utf-8"), LOADER)}


def _rows(points: Path, names: set[str] | None) -> Iterator[tuple[str, dict[str, Any], dict[str, float]]]:
    """Yield name, choices and statistics of each finished point. What is damaged is left out: a sweep sets it aside."""
    for result_file in sorted(points.glob(f"[!.]*/{RESULT}")):
        name = result_file.parent.name
        if names is not None and name not in names:
            continue
        try:
            metrics = Result.from_json(result_file.read_text(encoding="utf-8")).metrics()
            config = yaml.load((result_file.parent / CONFIG).read_text(encoding="utf-8"), LOADER)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
            continue
        if isinstance(config, dict):
            flat = {key: _plain(value) for key, value in flattened(config).items() if not key.startswith(LEFT_OUT)}
            yield name, flat, metrics


def _explained(name: str) -> dict[str, str]:
    """Return unit and meaning of a statistic as its declaration has them."""
    declared = {field.name: field.metadata for field in dataclasses.fields(Result)}
    statistic = declared.get(name.split("/")[0]) or declared["lock" if name.startswith("lock/") else "misses"]
    part = name.partition("/")[2]
    return {"unit": statistic["unit"], "meaning": statistic["meaning"] + (f": {part}" if part else "")}
