"""Names for the points of a sweep: the organization, whatever else the sweep varies, and what a figure's x axis is.

A key that a sweep does not vary, or that another one's name already tells (``machine.cores`` of two machines), is not named.
Nor is one of the engine that depends on the x axis only: intervals that are longer for larger loads.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any

import yaml

from netstack.sim import SimulationConfig

AXIS = "conns"
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
MOST_PARTS = 4096  # that are remembered
GROUPS = ("org", "machine", "costs", "workload", "engine")


@dataclass(frozen=True)
class PointName:
    """How a point is called. Points of one `series` differ in `x`, the value of the key `axis`, and in the seed."""

    series: str
    axis: str
    x: int | float
    seed: int | None = None

    @property
    def label(self) -> str:
        """What tells the point from all others of its sweep."""
        return f"{self.series} {self.axis}={number(self.x)}" + (f" seed={self.seed}" if self.seed is not None else "")


def name_points(configs: Sequence[SimulationConfig]) -> list[PointName]:
    """Return the names of a sweep's points."""
    flat = [flat_values(config) for config in configs]
    varied = {group: _varied(group, flat) for group in GROUPS}
    axis = _axis(flat, varied)
    varied["engine"] = {name: [key for key in keys if not _told_by(axis, key, flat)] for name, keys in varied["engine"].items()}
    seeds = len({config.seed for config in configs}) > 1
    names = []
    for values in flat:
        keys = [key for group in GROUPS for key in varied[group].get(values.get(f"{group}.name"), []) if key != axis]
        series = str(values["org.name"]) + (f"({values['org.groups']})" if "org.groups" in keys else "")
        for key in keys:
            if key not in ("org.name", "org.groups"):
                series += f" {key.removesuffix('.name')}={number(values[key])}"
        x, seed = values[axis], values["seed"]
        assert isinstance(x, int | float)
        assert isinstance(seed, int)
        names.append(PointName(series, axis, x, seed if seeds else None))
    return names


def plain_values(config: SimulationConfig) -> dict[str, Any]:
    """Return a configuration as nested plain values, which must not be changed: points share what they have in common."""
    return {name: part.values for name, part in _parts(config)}


def flat_values(config: SimulationConfig) -> dict[str, object]:
    """Return the same values under dotted keys."""
    return {key: value for _, part in _parts(config) for key, value in part.flat.items()}


def config_text(config: SimulationConfig) -> str:
    """Return the same values as YAML."""
    return "".join(part.text for _, part in _parts(config))


def flattened(values: dict, prefix: str = "") -> dict[str, object]:
    """Return nested values under dotted keys; lists are kept."""
    flat: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat.update(flattened(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat


def number(value: object) -> str:
    """Return a value as a user writes it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class _Part:
    """A part of a configuration in all the forms that are asked for again and again in a sweep."""

    config: object
    values: Any
    flat: dict[str, object]
    text: str

    @classmethod
    def of(cls, name: str, config: Any) -> "_Part":
        values = asdict(config) if is_dataclass(config) and not isinstance(config, type) else config
        return cls(config, values, flattened({name: values}), yaml.dump({name: values}, Dumper=DUMPER, sort_keys=False))


_known_parts: dict[int, _Part] = {}
"""Sections by their identity; each is kept with its forms, so that no other object can take its identity."""


def _parts(config: SimulationConfig) -> Iterator[tuple[str, _Part]]:
    """Yield the top-level parts of a configuration. Sections are shared by points and do not change once a point has them."""
    for name in (field.name for field in fields(config)):
        value = getattr(config, name)
        part = _known_parts.get(id(value)) if is_dataclass(value) else None
        if part is None:
            part = _Part.of(name, value)
            if is_dataclass(value):
                if len(_known_parts) >= MOST_PARTS:
                    _known_parts.clear()
                _known_parts[id(value)] = part
        yield name, part


def _varied(group: str, flat: list[dict[str, object]]) -> dict[object, list[str]]:
    """Return for each name of a group's part which keys tell its points apart: the name, and what varies under that name."""
    parts: dict[object, list[dict[str, object]]] = defaultdict(list)
    for values in flat:
        parts[values.get(f"{group}.name")].append(values)
    named = [f"{group}.name"] if len(parts) > 1 else []
    return {
        name: named
        + [key for key, value in alike[0].items() if key.startswith(f"{group}.") and any(o[key] != value for o in alike)]
        for name, alike in parts.items()
    }


def _told_by(axis: str, key: str, flat: list[dict[str, object]]) -> bool:
    """Return whether points with the same x have the same value of another key."""
    told: dict[object, object] = {}
    return key != axis and all(told.setdefault(values[axis], values[key]) == values[key] for values in flat)


def _axis(flat: list[dict[str, object]], varied: dict[str, dict[object, list[str]]]) -> str:
    """Return the key of the x axis: connections, or if those do not vary the number that takes most values."""
    if len({values[AXIS] for values in flat}) > 1:
        return AXIS
    keys = dict.fromkeys(key for parts in varied.values() for names in parts.values() for key in names)
    numbers = [key for key in keys if all(_is_number(values[key]) for values in flat)]
    return max(numbers, key=lambda key: len({values[key] for values in flat}), default=AXIS)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
