"""What is wrong with overrides that Hydra would take without a word, or fail at without naming them.

Knows Hydra's overrides and which keys there are, not what any key means.
"""

import dataclasses
from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from hydra.conf import HydraConf
from hydra.core.override_parser.types import Override, OverrideType, QuotedString

from experiments.config.elements import elements
from experiments.config.grids import GROUP
from experiments.config.locations import CONF
from experiments.config.schema import RunConfig
from experiments.config.user_errors import InputError, unknown_key
from netstack.errors import ConfigError

GROUPS = (*(field.name for field in dataclasses.fields(RunConfig) if (CONF / field.name).is_dir()),)
"""Keys that files are chosen for."""
ADDED = (OverrideType.ADD, OverrideType.FORCE_ADD)


def check_overrides(overrides: Iterable[Override]) -> None:
    """Raise ConfigError or InputError for the first override that names no key, or for a group not one of its files."""
    for override in overrides:
        if override.package is not None or "/" in override.key_or_group:
            continue  # which Hydra refuses, or which are its own
        if override.key_or_group in GROUPS:
            _check_group(override)
        elif override.type == OverrideType.DEL:
            if _place_of(override.key_or_group)[1]:
                raise InputError(f"{override.input_line}: cannot be removed, only given another value")
        elif override.type in ADDED:
            _check_added(override)


def _check_group(override: Override) -> None:
    group = override.key_or_group
    available = ", ".join(sorted(path.stem for path in (CONF / group).glob("*.yaml")))
    if override.type == OverrideType.DEL:
        if group != GROUP:  # of which none is chosen
            raise InputError(f"{override.input_line}: cannot be removed; available are {available}")
        return
    text = override.get_value_string()
    if override.type in ADDED:
        raise InputError(f"{override.input_line}: is chosen already, and is replaced by {group}={text}")
    if override.is_sweep_override() and not override.is_choice_sweep():
        raise ConfigError(group, text, f"must be names; available are {available}")
    if isinstance(override.value(), list):
        raise ConfigError(group, text, f"must be one name, or several with -m and without brackets; available are {available}")
    for element in elements(override) if _is_listed(override) else []:
        name = element.text if isinstance(element, QuotedString) else element
        if not name or not isinstance(name, str | dict):  # a mapping sets keys of the chosen file
            raise ConfigError(group, text, f"must be a name; available are {available}")


def _is_listed(override: Override) -> bool:
    """Return whether an override has its values itself, and not as a pattern."""
    return not override.is_sweep_override() or isinstance(getattr(override.value(), "list", None), list)


def _check_added(override: Override) -> None:
    key, line = override.key_or_group, str(override.input_line)
    nearby, is_there = _place_of(key)
    if nearby:
        raise InputError(unknown_key(line, key, nearby))
    if is_there and override.type == OverrideType.ADD:
        raise InputError(f"{line}: is a key already, and is set without the +")


def _place_of(key: str) -> tuple[list[str], bool]:
    """Return the keys near one that there cannot be, and whether one is always there, which entries of a mapping need not be."""
    names = key.split(".")
    kind: Any = HydraConf if names[0] == "hydra" else RunConfig
    is_there = True
    for depth in range(1 if names[0] == "hydra" else 0, len(names)):
        kind, above = _not_none(kind), ".".join(names[:depth])
        if dataclasses.is_dataclass(kind):
            kinds = get_type_hints(kind)
            if names[depth] not in kinds:
                return [f"{above}.{name}" if above else name for name in kinds], False
            kind = kinds[names[depth]]
        elif get_origin(kind) is dict:
            kind, is_there = get_args(kind)[1], False
        elif kind is Any:
            return [], False
        else:
            return [above], False
    return [], is_there


def _not_none(kind: Any) -> Any:
    """Return a type without its None."""
    if get_origin(kind) not in (Union, UnionType):
        return kind
    return next(argument for argument in get_args(kind) if argument is not NoneType)
