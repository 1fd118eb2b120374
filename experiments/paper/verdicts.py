"""How a claim about organizations is judged: quantities with confidence intervals, comparisons of them, verdicts.

Knows results and seeds, not what any publication says, and not how points are run or shown.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from experiments.points.seeds import half_width, mean
from netstack.errors import ConfigError
from netstack.sim import Result, SimulationConfig


class Place(NamedTuple):
    """An organization at a load, in the kernel that is measured or in one with lock profiling; `groups` are connection groups."""

    org: str
    groups: int | None
    conns: int
    profiled: bool = False

    @property
    def label(self) -> str:
        """The place as figures and messages call it."""
        kernel = " with lock profiling" if self.profiled else ""
        return f"{organization_label(self.org, self.groups)} at {self.conns:,}{kernel}"


class PointKey(NamedTuple):
    """What tells a point of a comparison from all others."""

    org: str
    conns: int
    groups: int | None
    seed: int
    profiled: bool = False

    @classmethod
    def of(cls, config: SimulationConfig) -> "PointKey":
        """Return the key of a configuration."""
        return cls(config.org.name, config.conns, config.org.groups, config.seed, config.costs.lock_profiling)

    @property
    def place(self) -> Place:
        """The place, which points of other seeds have, too."""
        return Place(self.org, self.groups, self.conns, self.profiled)


Points = Mapping[PointKey, Result]


class Verdict(StrEnum):
    """The verdict on a claim or on a part of it."""

    HOLDS = "holds"
    UNDECIDED = "undecided"
    FAILS = "fails"
    NOT_RUN = "not run"


class Origin(StrEnum):
    """How far a published figure was free when the simulator was made.

    A fitted one set constants, by calibration. A chosen one was known when mechanisms were chosen, and looked at for that. All
    others are predicted.
    """

    PREDICTED = "predicted"
    CHOSEN = "chosen"
    FITTED = "fitted"


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and half the width of its 95 % confidence interval; a single seed has no width."""

    mean: float
    half_width: float
    seeds: int

    @property
    def low(self) -> float:
        """The lower end of the interval."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """The upper end of the interval."""
        return self.mean + self.half_width


@dataclass(frozen=True)
class Quantity:
    """A number computed from the results of one seed at some places, in the order of `places`."""

    label: str
    unit: str
    places: tuple[Place, ...]
    compute: Callable[..., float]

    def estimate(self, points: Points) -> Estimate | None:
        """Return mean and interval over the seeds that have all places; None if no seed has."""
        values = self.values(points)
        return Estimate(mean(values), half_width(values), len(values)) if values else None

    def values(self, points: Points) -> list[float]:
        """Return the value of each seed that has all places; a quantity without places is a constant."""
        if not self.places:
            return [self.compute()]
        seeds = sorted(key.seed for key in points if key.place == self.places[0])
        found = (
            [points.get(PointKey(place.org, place.conns, place.groups, seed, place.profiled)) for place in self.places]
            for seed in seeds
        )
        return [self.compute(*results) for results in found if None not in results]


@dataclass(frozen=True)
class PartOutcome:
    """A part's verdict, with what it was judged by. `smaller` is the other side of a comparison."""

    part: "Within | Greater"
    verdict: Verdict
    estimate: Estimate | None
    smaller: Estimate | None = None

    @property
    def error(self) -> float | None:
        """Simulated less published value, in the quantity's unit; None where nothing is published or run."""
        if self.estimate is None or not isinstance(self.part, Within):
            return None
        return self.estimate.mean - self.part.published


@dataclass(frozen=True)
class Within:
    """A number that was published: the mean over the seeds must be within `tolerance`, in the quantity's unit."""

    quantity: Quantity
    published: float
    tolerance: float
    origin: Origin = Origin.PREDICTED

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """What is computed."""
        return (self.quantity,)

    def judge(self, points: Points) -> PartOutcome:
        """Return whether the simulated mean is near enough."""
        estimate = self.quantity.estimate(points)
        if estimate is None:
            return PartOutcome(self, Verdict.NOT_RUN, None)
        near = abs(estimate.mean - self.published) <= self.tolerance
        return PartOutcome(self, Verdict.HOLDS if near else Verdict.FAILS, estimate)


@dataclass(frozen=True)
class Greater:
    """An order: one quantity above another.

    It holds when the intervals are apart, is undecided when they overlap, and fails when they are apart the other way
    around. With `tie_holds` it claims less, that the order is not reversed: overlapping intervals are enough.
    """

    greater: Quantity
    smaller: Quantity
    tie_holds: bool = False
    origin: Origin = Origin.PREDICTED

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """What is computed."""
        return (self.greater, self.smaller)

    def judge(self, points: Points) -> PartOutcome:
        """Return whether the order is the claimed one."""
        greater, smaller = self.greater.estimate(points), self.smaller.estimate(points)
        if greater is None or smaller is None:
            return PartOutcome(self, Verdict.NOT_RUN, greater, smaller)
        if greater.low > smaller.high:
            verdict = Verdict.HOLDS
        elif greater.high < smaller.low:
            verdict = Verdict.FAILS
        else:
            verdict = Verdict.HOLDS if self.tie_holds else Verdict.UNDECIDED
        return PartOutcome(self, verdict, greater, smaller)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence of a publication as something that can fail.

    Attributes:
        name: Short and unique, for figures and files.
        sentence: What is claimed, for readers.
        published: The published value or order, for readers.
        definition: What the sentence's words are taken to mean.
        parts: What must hold.
        needed: How many of the parts; None is all of them.
    """

    name: str
    sentence: str
    published: str
    definition: str
    parts: tuple[Within | Greater, ...]
    needed: int | None = None

    @property
    def origin(self) -> Origin:
        """The class of the claim, from those of its parts.

        It is fitted if all parts are, and predicted if all parts are. Any mix is chosen: what is known in part is no prediction,
        and what is free in part is no fit.
        """
        origins = {part.origin for part in self.parts}
        return origins.pop() if len(origins) == 1 else Origin.CHOSEN

    @property
    def origin_label(self) -> str:
        """The class, and where parts differ how many are of which class."""
        counts = {origin: sum(part.origin is origin for part in self.parts) for origin in Origin}
        mixed = ", ".join(f"{count} {origin}" for origin, count in counts.items() if count)
        return f"{self.origin} ({mixed})" if len(self.parts) not in counts.values() else self.origin.value

    @property
    def is_number(self) -> bool:
        """Whether published numbers are compared, not an order."""
        return any(isinstance(part, Within) for part in self.parts)

    @property
    def places(self) -> frozenset[Place]:
        """All places that must be simulated to judge the claim."""
        return frozenset(place for part in self.parts for quantity in part.quantities for place in quantity.places)

    def evaluate(self, points: Points) -> "ClaimOutcome":
        """Judge all parts on what was run, and the claim by them."""
        parts = tuple(part.judge(points) for part in self.parts)
        count = {verdict: sum(part.verdict is verdict for part in parts) for verdict in Verdict}
        needed = len(parts) if self.needed is None else self.needed
        if count[Verdict.HOLDS] >= needed:
            verdict = Verdict.HOLDS
        elif len(parts) - count[Verdict.FAILS] < needed:
            verdict = Verdict.FAILS
        elif count[Verdict.HOLDS] + count[Verdict.UNDECIDED] >= needed:
            verdict = Verdict.UNDECIDED
        else:
            verdict = Verdict.NOT_RUN
        return ClaimOutcome(self, verdict, parts)


@dataclass(frozen=True)
class ClaimOutcome:
    """A claim's verdict and those of its parts, in the claim's order."""

    claim: Claim
    verdict: Verdict
    parts: tuple[PartOutcome, ...]

    def count(self, verdict: Verdict) -> int:
        """Return how many parts have a verdict."""
        return sum(part.verdict is verdict for part in self.parts)


def check_comparable(configs: Sequence[SimulationConfig], report: str = "paper") -> None:
    """Raise ConfigError when two points of a sweep are the same organization, load and seed on, say, two machines."""
    keys: set[PointKey] = set()
    for config in configs:
        key = PointKey.of(config)
        if key in keys:
            what = f"{organization_label(key.org, key.groups)} conns={key.conns} seed={key.seed}"
            what += " costs.lock_profiling=true" if key.profiled else ""
            raise ConfigError("experiment.report", report, f"compares organizations and loads only, and two points are {what}")
        keys.add(key)


def organization_label(org: str, groups: int | None) -> str:
    """Return an organization's name, with its groups where their number is a choice."""
    return f"{org}({groups})" if org == "connp_l" else org


def evaluate(claims: Iterable[Claim], points: Points) -> list[ClaimOutcome]:
    """Judge claims on the points that were run."""
    return [claim.evaluate(points) for claim in claims]


def counts_by_origin(claims: Iterable[tuple[Origin, bool]]) -> str:
    """Say how many claims of each class there are, and how many of them hold: "8 of 14 predicted, 3 of 10 chosen"."""
    found = list(claims)
    texts = []
    for origin in Origin:
        holding = [holds for kind, holds in found if kind is origin]
        if holding:
            texts.append(f"{sum(holding)} of {len(holding)} {origin}")
    return ", ".join(texts)


def places_of(claims: Sequence[Claim]) -> list[Place]:
    """Return all places that claims need, sorted."""
    return sorted(frozenset().union(*(claim.places for claim in claims)))
