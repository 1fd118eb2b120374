"""The values of a simulation's configuration in other forms: nested, under dotted keys, as text.

Knows the shape of a configuration, not what any key means.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, TypeGuard

import yaml

from netstack.sim import SimulationConfig

DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
MOST_PARTS = 4096  # that are remembered


def plain_values(config: SimulationConfig) -> dict[str, Any]:
    """Return a configuration as nested plain values, which must not be changed: points share what they have in common."""
    return {name: part.values for name, part in _parts(config)}


def flat_values(config: SimulationConfig) -> dict[str, object]:
    """Return the values of a configuration under dotted keys."""
    return {key: value for _, part in _parts(config) for key, value in part.flat.items()}


def config_text(config: SimulationConfig) -> str:
    """Return a configuration as YAML."""
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


def varied_keys(flat: Sequence[dict[str, object]], prefix: str = "") -> list[str]:
    """Return the keys with a prefix whose values differ between configurations, in the order in which they first do."""
    first = {key: value for key, value in flat[0].items() if key.startswith(prefix)}
    return list(
        dict.fromkeys(
            key
            for values in flat
            for key, value in values.items()
            if (key not in first or first[key] != value) and key.startswith(prefix)
        )
    )


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a value is a number; booleans are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(value: object) -> str:
    """Return a value as a user writes it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class _Part:
    """A part of a configuration in all the forms that a sweep needs often."""

    config: object
    values: Any
    flat: dict[str, object]
    text: str

    @classmethod
    def of(cls, name: str, config: Any) -> "_Part":
        values = asdict(config) if is_dataclass(config) and not isinstance(config, type) else config
        return cls(config, values, flattened({name: values}), yaml.dump({name: values}, Dumper=DUMPER, sort_keys=False))


_known_parts: dict[int, _Part] = {}
"""Forms of sections by the identity of the section, which is kept with them: no other object can get its identity."""


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
