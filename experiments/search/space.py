"""The compositions that choices allow on a machine: those that are not refused. Knows organizations, not what comes of them."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import get_origin, get_type_hints

import numpy as np

from experiments.config.values import number
from netstack.errors import ConfigError
from netstack.sim import SimulationConfig
from netstack.sim.organization.config import CHOICES, QUEUES, OrganizationConfig

Value = str | int | float | bool | None
MOST_CANDIDATES = 1 << 20  # that are looked at, a dozen us each
GROUPS = (None, 16, 128)
ALWAYS = ("serialize", "lookup", "handoff", "dispatch", "transmit", "groups", "contention", "placement", "scheduler", "port")
WITH_QUEUES = ("drive", "owner", "timers")
WITH_SHORT_CONNECTIONS = ("listener", "accept")
OFF_WITHOUT_QUEUES = {"dispatch": QUEUES, "handoff": ("forward",)}
"""Values that make nothing else of a card with one queue."""


@dataclass(frozen=True)
class Space:
    """All valid compositions of choices, in a fixed order.

    Attributes:
        base: What all points have in common; its organization has the choices that are not searched.
        choices: The values of each searched key of an organization.
        compositions: A value per choice, in the order of `choices`.
    """

    base: SimulationConfig
    choices: Mapping[str, tuple[Value, ...]]
    compositions: tuple[tuple[Value, ...], ...]

    @cached_property
    def codes(self) -> np.ndarray:
        """The compositions as places of values in `choices`; shape (compositions, choices)."""
        places = [{value: place for place, value in enumerate(values)} for values in self.choices.values()]
        rows = [[place[value] for place, value in zip(places, row, strict=True)] for row in self.compositions]
        return np.array(rows, np.int16).reshape(len(rows), len(self.choices))

    def config(self, index: int, name: str) -> SimulationConfig:
        """Return the point of a composition, whose organization has a name."""
        values = dict(zip(self.choices, self.compositions[index], strict=True))
        return replace(self.base, org=replace(self.base.org, name=name, **values))  # pyright: ignore[reportArgumentType]

    def index_of(self, org: OrganizationConfig) -> int | None:
        """Return which composition an organization is; None if it is none of them, or differs in what is not searched."""
        values = tuple(getattr(org, key) for key in self.choices)
        if replace(org, name="", **dict.fromkeys(self.choices)) != replace(self.base.org, name="", **dict.fromkeys(self.choices)):
            return None
        return self._places.get(values)

    @cached_property
    def _places(self) -> dict[tuple[Value, ...], int]:
        return {values: index for index, values in enumerate(self.compositions)}


def space_of(base: SimulationConfig, choices: Mapping[str, tuple[Value, ...]]) -> Space:
    """Return the space of compositions that can be simulated.

    Args:
        base: What all points have in common.
        choices: The values of each searched key.

    Raises:
        ConfigError: There are too many candidates, or none that is not refused.
    """
    candidates = math.prod(map(len, choices.values()))
    if candidates > MOST_CANDIDATES:
        allowed = (
            f"must give {MOST_CANDIDATES:,} combinations at most, and gives {candidates:,}: leave some out, or list fewer values"
        )
        raise ConfigError("choices", ",".join(choices), allowed)
    found, refusal = [], None
    for values in itertools.product(*choices.values()):
        org = replace(base.org, **dict(zip(choices, values, strict=True)))  # pyright: ignore[reportArgumentType]
        try:
            org.validate(base.machine.cores)
            org.validate_on(base.machine, base.workload.threads_per_core)
        except ConfigError as error:
            refusal = error
        else:
            found.append(values)
    if not found:
        raise ConfigError("choices", ",".join(choices), f"must allow a combination, and the last one was refused: {refusal}")
    return Space(base, choices, tuple(found))


def default_choices(base: SimulationConfig, listed: Mapping[str, tuple[Value, ...]]) -> dict[str, tuple[Value, ...]]:
    """Return the choices that matter for a machine and a workload, as many as can be looked at.

    Args:
        base: The machine and the workload.
        listed: Values that were given for keys.
    """
    queues = base.machine.nic.queues > 1
    keys = [*ALWAYS, *(WITH_QUEUES if queues else ()), *(WITH_SHORT_CONNECTIONS if base.workload.connections_end else ())]
    chosen = dict(listed)
    for key in keys:
        if key in listed:
            continue
        values = values_of(key, base)
        if math.prod(map(len, chosen.values())) * len(values) <= MOST_CANDIDATES:
            chosen[key] = values
    return chosen


def check_values(key: str, values: Sequence[object]) -> None:
    """Raise ConfigError for the first value that a key of an organization cannot have."""
    kinds = get_type_hints(OrganizationConfig)[key]
    allowed = CHOICES.get(key)
    if get_origin(kinds) is list:
        raise ConfigError(f"org.{key}", values, "is a list, and cannot be searched")
    for value in values:
        if allowed is not None and value not in allowed:
            raise ConfigError(f"org.{key}", value, f"allowed are {', '.join(allowed)}")
        if isinstance(value, bool) or not isinstance(value, float | int if kinds is float else kinds):
            raise ConfigError(f"org.{key}", value, f"must be of type {getattr(kinds, '__name__', kinds)}")


def values_of(key: str, base: SimulationConfig) -> tuple[Value, ...]:
    """Return the values of a key that is searched and has none given. Raises ConfigError for a key that is no choice."""
    if key == "groups":
        return GROUPS
    if key not in CHOICES:
        raise ConfigError("choices", key, f"allowed are {', '.join((*CHOICES, 'groups'))}; of other keys, values must be listed")
    off = OFF_WITHOUT_QUEUES.get(key, ()) if base.machine.nic.queues == 1 else ()
    return tuple(value for value in CHOICES[key] if value not in off)


def differences(org: OrganizationConfig, other: OrganizationConfig) -> dict[str, Value]:
    """Return the values in which an organization differs from another one, but for their names."""
    keys = (field.name for field in fields(org) if field.name != "name")
    return {key: getattr(org, key) for key in keys if getattr(org, key) != getattr(other, key)}


def named_after(org: OrganizationConfig, published: Sequence[OrganizationConfig]) -> str:
    """Return a name for an organization: that of the nearest published one, and in what it differs."""
    nearest = min(published, key=lambda each: len(differences(org, each)))
    changed = differences(org, nearest)
    return " ".join([nearest.name, *(f"{key}={number(value)}" for key, value in changed.items())])


def squares(codes: np.ndarray, first: int, second: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield compositions that differ in two choices only: one, with the first changed, with the second changed, with both.

    Args:
        codes: Compositions as `Space.codes` has them.
        first: Index of a choice.
        second: Index of another one.
    """
    place = {tuple(row): index for index, row in enumerate(codes.tolist())}
    for row, start in place.items():
        for a in range(row[first] + 1, int(codes[:, first].max()) + 1):
            for b in range(row[second] + 1, int(codes[:, second].max()) + 1):
                changed = [list(row) for _ in range(3)]
                changed[0][first] = changed[2][first] = a
                changed[1][second] = changed[2][second] = b
                found = [place.get(tuple(each)) for each in changed]
                if all(each is not None for each in found):
                    yield start, *found  # pyright: ignore[reportReturnType]
