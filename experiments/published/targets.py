"""Reads published values that a user has, to score a finished experiment: the file of the key ``targets``.

Knows what is allowed in such a file, not what is done with the values.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from experiments.config.values import is_number
from experiments.published.figures import MOST, X
from netstack.errors import ConfigError

KEYS = ("variant", "x", "statistic", "value")
Targets = dict[tuple[str, X, str], float]
"""Published values by variant, place and statistic."""


def read_targets(text: str, variants: Mapping[str, Collection[X]], statistics: Collection[str]) -> Targets:
    """Read the published values of a file.

    Args:
        text: Where the file is; ``~`` is the home.
        variants: The experiment's variants, with the places where each is simulated.
        statistics: Names of what is compared.

    Raises:
        ConfigError: The file cannot be read, or has something that the experiment has not.
    """
    entries = _entries(text)
    found: Targets = {}
    for number, entry in enumerate(entries):
        where = f"targets: {text}, entry {number + 1}"
        if not isinstance(entry, dict) or set(entry) != set(KEYS):
            raise ConfigError(where, entry, f"must have the keys {', '.join(KEYS)} and no others")
        _check_one_of(f"{where}: variant", entry["variant"], variants)
        _check_one_of(f"{where}: statistic", entry["statistic"], statistics)
        x = MOST if entry["x"] is None else entry["x"]
        _check_one_of(f"{where}: x", x, variants[entry["variant"]])
        value = entry["value"]
        if not is_number(value) or value != value or value in (float("inf"), float("-inf")):
            raise ConfigError(f"{where}: value", value, "must be a number")
        place = (entry["variant"], x, entry["statistic"])
        if place in found:
            raise ConfigError(where, f"{place[0]}, {place[1]}, {place[2]}", "is there twice")
        found[place] = float(value)
    return found


def _entries(text: str) -> list[Any]:
    path = Path(text).expanduser()
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError("targets", text, f"must be a file that can be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError("targets", text, f"must be YAML ({' '.join(str(error).split())})") from error
    if not isinstance(entries, list) or not entries:
        raise ConfigError("targets", text, f"must be a list of entries with {', '.join(KEYS)}")
    return entries


def _check_one_of(key: str, value: object, allowed: Collection[object]) -> None:
    if isinstance(value, list | dict | bool) or value not in allowed:
        raise ConfigError(key, value, f"allowed are {'; '.join(map(str, allowed))}")
