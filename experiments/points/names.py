"""Names the points of a sweep by organization, by what else varies, and by the key of a figure's x axis.

A key is left out if it does not vary, or if another name implies it, as ``machine=`` implies ``machine.cores``. So is a key of
the engine that follows from x alone, such as longer intervals at larger loads, and any key that follows from a variant's name. A
switch is named where it is on, as ``with lock profiling``. Knows configurations, not how points run.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.config.values import FlatValues, flat_values, is_number, number, varied_keys
from netstack.sim import SimulationConfig

AXIS = "conns"
GROUPS = ("org", "machine", "costs", "workload", "engine", "ideal")


@dataclass(frozen=True)
class PointName:
    """The name of a point. Points of one `series` differ in `x`, the value of the key `axis`, and in the seed.

    The name of a series ends with that of its `variant`.
    """

    series: str
    axis: str
    x: int | float
    seed: int | None = None
    variant: str = ""

    @property
    def label(self) -> str:
        """What tells the point from all others of its sweep."""
        return f"{self.series} {self.axis}={number(self.x)}" + (f" seed={self.seed}" if self.seed is not None else "")


def name_points(configs: Sequence[SimulationConfig], variants: Sequence[str] = ()) -> list[PointName]:
    """Return the names of a sweep's points.

    Args:
        configs: The points.
        variants: What each is a variant of, if there are any.
    """
    flat = [flat_values(config) for config in configs]
    variants = variants or [""] * len(flat)
    varied = {group: _without(_varied(group, flat), variants, flat) for group in GROUPS}
    axis = _axis(flat, varied)
    varied["engine"] = _without(varied["engine"], [values[axis] for values in flat], flat, kept=axis)
    seeds = len({config.seed for config in configs}) > 1
    names = []
    for values, variant in zip(flat, variants, strict=True):
        keys = [key for group in GROUPS for key in varied[group].get(values.get(f"{group}.name"), []) if key != axis]
        series = str(values["org.name"]) + (f"({values['org.groups']})" if "org.groups" in keys else "")
        for key in keys:
            if values[key] is True:
                series += f" with {key.rpartition('.')[2].replace('_', ' ')}"
            elif key == "ideal":
                series += _free(values[key])
            elif key not in ("org.name", "org.groups") and values[key] is not False:
                series += f" {key.removesuffix('.name')}={number(values[key])}"
        x, seed = values[axis], values["seed"]
        assert isinstance(x, int | float)
        assert isinstance(seed, int)
        series += f" {variant}" if variant else ""
        names.append(PointName(series, axis, x, seed if seeds else None, variant))
    return names


def has_axes(names: Sequence[PointName]) -> bool:
    """Return whether points have two axes or more: several series, and several values of x."""
    return len({name.series for name in names}) > 1 and len({name.x for name in names}) > 1


def _free(ideal: object) -> str:
    """Return what names the mechanisms that are free, nothing for none."""
    assert isinstance(ideal, list)
    return f" free {'+'.join(ideal)}" if ideal else ""


def _varied(group: str, flat: list[FlatValues]) -> dict[object, list[str]]:
    """Return the keys that tell points apart, by the chosen part of a group: its name, and what varies under that name."""
    parts: dict[object, list[FlatValues]] = defaultdict(list)
    for values in flat:
        parts[values.get(f"{group}.name")].append(values)
    named = [f"{group}.name"] if len(parts) > 1 else []
    found = {}
    for name, alike in parts.items():
        varied = set(varied_keys(alike, group))
        found[name] = named + [key for key in alike[0] if key in varied]
    return found


def _without(
    varied: dict[object, list[str]], causes: Sequence[object], flat: list[FlatValues], kept: str = ""
) -> dict[object, list[str]]:
    """Return keys by part without those whose value follows from a point's cause; `kept` stays."""

    def follows(key: str) -> bool:
        known: dict[object, object] = {}
        return all(
            known.setdefault(cause, values.get(key)) == values.get(key) for cause, values in zip(causes, flat, strict=True)
        )

    return {name: [key for key in keys if key == kept or not follows(key)] for name, keys in varied.items()}


def _axis(flat: list[FlatValues], varied: dict[str, dict[object, list[str]]]) -> str:
    """Return the key of the x axis: connections if they vary, else the number that takes most values."""
    if len({values[AXIS] for values in flat}) > 1:
        return AXIS
    keys = dict.fromkeys(key for parts in varied.values() for names in parts.values() for key in names)
    numbers = [key for key in keys if all(is_number(values[key]) for values in flat)]
    return max(numbers, key=lambda key: len({values[key] for values in flat}), default=AXIS)
