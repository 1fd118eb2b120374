"""The values that overrides give to keys, one or several, and when two of them are the same.

Knows Hydra's overrides, not which keys there are.
"""

from types import NoneType
from typing import Any

from hydra.core.override_parser.types import Override, QuotedString, RangeSweep

from netstack.errors import ConfigError


def elements(override: Override) -> list[Any]:
    """Return the values that an override gives its key: one, or several of a sweep. Raises ConfigError where they are none."""
    if not override.is_sweep_override():
        return [override.value()]
    key, text, given = override.key_or_group, override.get_value_string(), override.value()
    if not override.is_discrete_sweep():
        raise ConfigError(key, text, "must be values, or a range(start,stop,step) of whole steps")
    if isinstance(given, RangeSweep) and given.step == 0:
        raise ConfigError(key, text, "must have a step other than 0")
    found = list(override.sweep_iterator())
    if not found:
        raise ConfigError(key, text, "must be at least one value, and is none")
    return found


def comparable(element: Any) -> tuple[bool, object]:
    """Return what is equal for two elements that set the same value, quoted or not, and whether that is a boolean."""
    value = element.text if isinstance(element, QuotedString) else element
    if isinstance(value, str):
        for kind in (int, float):
            try:
                return False, kind(value)
            except ValueError:
                continue
    return isinstance(value, bool), value if isinstance(value, str | int | float | NoneType) else str(value)
