"""The values of a simulation's configuration in other forms: nested, under dotted keys, as text.

Knows the shape of a configuration, not what any key means.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any, TypeGuard

import yaml

from netstack.sim import SimulationConfig

DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
MOST_PARTS = 4096  # that are remembered


def plain_values(config: SimulationConfig) -> dict[str, Any]:
    """Return a configuration as nested plain values, which must not be changed: points share what they have in common."""
    return {name: part.values for name, part in _parts(config)}


class FlatValues(Mapping[str, object]):
    """Values under dotted keys. Those of one section lie together in one of the `parts`, which points share."""

    def __init__(self, parts: Mapping[str, Mapping[str, object]]) -> None:
        self.parts = parts

    def __getitem__(self, key: str) -> object:
        return self.parts[key.partition(".")[0]][key]

    def __iter__(self) -> Iterator[str]:
        return (key for part in self.parts.values() for key in part)

    def __len__(self) -> int:
        return sum(map(len, self.parts.values()))


def flat_values(config: SimulationConfig) -> FlatValues:
    """Return the values of a configuration under dotted keys."""
    return FlatValues({name: part.flat for name, part in _parts(config)})


def config_text(config: SimulationConfig) -> str:
    """Return a configuration as YAML."""
    return "".join(part.text for _, part in _parts(config))


def config_json(config: SimulationConfig) -> str:
    """Return a configuration as JSON with sorted keys."""
    return "{" + ", ".join(f'"{name}": {part.json}' for name, part in sorted(_parts(config), key=itemgetter(0))) + "}"


def flattened(values: dict, prefix: str = "") -> dict[str, object]:
    """Return nested values under dotted keys; lists are kept."""
    flat: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat.update(flattened(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat


def varied_keys(flat: Sequence[FlatValues], section: str | None = None) -> list[str]:
    """Return the keys, of a section or of all, whose values differ, in the order in which they first do."""
    first = flat[0].parts
    found: dict[str, None] = {}
    compared: set[int] = set()
    for values in flat:
        for name, part in values.parts.items():
            if id(part) not in compared and section in (None, name):
                compared.add(id(part))
                same = first.get(name, {})
                found.update((key, None) for key, value in part.items() if key not in same or same[key] != value)
    return list(found)


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a value is a number; booleans are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(value: object) -> str:
    """Return a value as a user writes it."""
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class _Part:
    """A part of a configuration in all the forms that a sweep needs often."""

    name: str
    config: Any

    @cached_property
    def values(self) -> Any:
        return asdict(self.config) if is_dataclass(self.config) and not isinstance(self.config, type) else self.config

    @cached_property
    def flat(self) -> dict[str, object]:
        return flattened({self.name: self.values})

    @cached_property
    def text(self) -> str:
        return yaml.dump({self.name: self.values}, Dumper=DUMPER, sort_keys=False)

    @cached_property
    def json(self) -> str:
        return json.dumps(self.values, sort_keys=True)


_known_parts: dict[int, _Part] = {}
"""Forms of sections by the identity of the section, which is kept with them: no other object can get its identity."""


def _parts(config: SimulationConfig) -> Iterator[tuple[str, _Part]]:
    """Yield the top-level parts of a configuration. Sections are shared by points and do not change once a point has them."""
    for name in (field.name for field in fields(config)):
        value = getattr(config, name)
        part = _known_parts.get(id(value)) if is_dataclass(value) else None
        if part is None:
            part = _Part(name, value)
            if is_dataclass(value):
                if len(_known_parts) >= MOST_PARTS:
                    _known_parts.clear()
                _known_parts[id(value)] = part
        yield name, part
