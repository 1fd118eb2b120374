"""Groups of constants that are changed together, in proportion.

Knows where values stand in a configuration, not what they are changed for.
"""

import copy
import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

from experiments.config.values import flattened, is_number
from netstack.errors import ConfigError
from netstack.sim import SimulationConfig
from netstack.sim.machine.costs import parse_touch

STRUCTURE_LINES = re.compile(r"costs\.structures\.(\w+)\.lines")


@dataclass(frozen=True)
class Constants:
    """A group of numeric configuration keys.

    Attributes:
        name: Short and unique, for tables and figures.
        keys: Dotted keys; ``*`` stands for any text.
        source_says: Only keys of operations whose `source` has this word. Empty: all.
    """

    name: str
    keys: tuple[str, ...]
    source_says: str = ""

    def members(self, config: SimulationConfig) -> dict[str, int | float]:
        """Return the keys of the group with their values, in the configuration's order.

        Raises:
            ConfigError: A key matches nothing, or something that is no number.
        """
        values = flattened(asdict(config))
        found: dict[str, int | float] = {}
        for pattern in self.keys:
            matching = [key for key in values if fnmatchcase(key, pattern)]
            if not matching:
                near = difflib.get_close_matches(pattern, values, n=1)
                raise ConfigError(self.name, pattern, f"matches no key{f'; did you mean {near[0]}?' if near else ''}")
            for key in matching:
                value = values[key]
                if not is_number(value):
                    raise ConfigError(self.name, key, "must be the key of a number")
                if self.source_says in str(values.get(f"{key.rpartition('.')[0]}.source", "")):
                    found[key] = value
        if not found:
            raise ConfigError(self.name, self.source_says, "no source of the keys says this")
        return found


def scaled(config: SimulationConfig, members: Mapping[str, int | float], factor: float) -> SimulationConfig:
    """Return a copy of a configuration with the `members`, keys and their present values, multiplied by a factor.

    Whole numbers are rounded, and stay at least 1. Where the lines of a structure change, the lines that operations touch follow.
    """
    changed = copy.deepcopy(config)
    for key, value in members.items():
        new = value * factor if isinstance(value, float) else max(min(value, 1), math.floor(value * factor + 0.5))
        structure = STRUCTURE_LINES.fullmatch(key)
        if structure is not None:
            _stretch_touches(changed, structure[1], int(new))
        _assign(changed, key.split("."), new)
    return changed


def differences(before: SimulationConfig, after: SimulationConfig) -> dict[tuple[str | int, ...], Any]:
    """Return the values of `after` that differ, by their path; list items are numbered."""
    old, new = _leaves(asdict(before)), _leaves(asdict(after))
    return {path: value for path, value in new.items() if old[path] != value}


def _stretch_touches(config: SimulationConfig, name: str, lines: int) -> None:
    """Make every touch of a structure cover the same share of its new number of lines."""
    structures = config.costs.structures
    present = structures[name].lines
    for operation in config.costs.operations.values():
        for index, text in enumerate(operation.touches):
            touch = parse_touch(text, "touches", structures)
            if touch.structure != name:
                continue
            first = touch.first_line * lines // present
            last = max(first, -(-(touch.first_line + touch.count) * lines // present) - 1)
            operation.touches[index] = f"{name} {first}{f'-{last}' if last > first else ''} {text[-1]}"


def _assign(target: Any, path: Sequence[str], value: object) -> None:
    for name in path[:-1]:
        target = target[name] if isinstance(target, dict) else getattr(target, name)
    if isinstance(target, dict):
        target[path[-1]] = value
    else:
        setattr(target, path[-1], value)


def _leaves(values: Any, path: tuple[str | int, ...] = ()) -> dict[tuple[str | int, ...], Any]:
    if isinstance(values, dict):
        items = list(values.items())
    elif isinstance(values, list):
        items = list(enumerate(values))
    else:
        return {path: values}
    leaves: dict[tuple[str | int, ...], Any] = {}
    for name, value in items:
        leaves.update(_leaves(value, (*path, name)))
    return leaves
