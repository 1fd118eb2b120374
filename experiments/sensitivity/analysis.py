"""What a change of constants does to claims: margins, verdicts, and which claims survive.

Knows results before and after each change, not how points are run.
"""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from experiments.paper.claims import CLAIMS
from experiments.paper.verdicts import Claim, Greater, Origin, Place, Points, Verdict, Within
from experiments.points.provenance import provenance
from experiments.sensitivity.plan import Plan
from netstack.sim import Result

EQUAL = -1e-9  # margin of equal sides where one is claimed to be above the other
SYMBOLS = {True: "+", False: "-"}
SURVIVAL_HEADINGS = ("claim", "class", "unchanged", "survives", "does not survive")


@dataclass(frozen=True)
class Judgement:
    """A claim on one set of points.

    Attributes:
        value: The published quantity, or the margin by which the claim holds: see `ClaimSensitivity`.
        verdict: Whether it holds with every seed, with none, or with some (undecided).
        decisive: The comparison that decides it.
    """

    value: float
    verdict: Verdict
    decisive: str


@dataclass(frozen=True)
class Effect:
    """What a claim becomes when a group of constants is raised (or lowered)."""

    parameter: str
    raised: bool
    judgement: Judgement

    @property
    def label(self) -> str:
        """The change as tables call it."""
        return f"{self.parameter} {SYMBOLS[self.raised]}"


@dataclass(frozen=True)
class ClaimSensitivity:
    """A claim before and after each change.

    The value of a claim about one published number is that number's simulated one. That of a claim about several is the share of
    the tolerance that is left, and that of an order the difference of its sides in `unit`, of the comparison that decides it: the
    least one, or with claims that need not hold everywhere the last one that is needed. It holds from `low` to `high`. Analyses
    of earlier versions have no `origin`.
    """

    name: str
    sentence: str
    origin: Origin | None
    is_order: bool
    unit: str
    axis: str
    low: float
    high: float | None
    parts: int
    all_parts: int
    before: Judgement
    effects: tuple[Effect, ...]

    @property
    def slug(self) -> str:
        """The name of the claim's figure in files and pages."""
        return "tornado-" + re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    @property
    def broken_by(self) -> list[Effect]:
        """Changes after which the claim, if it held before, does not."""
        if self.before.verdict is not Verdict.HOLDS:
            return []
        return [effect for effect in self.effects if effect.judgement.verdict is not Verdict.HOLDS]


@dataclass(frozen=True)
class Sensitivity:
    """All of a sensitivity analysis.

    Attributes:
        percent: By how much each group was changed, down and up.
        seeds: Of every point.
        points: How many were simulated.
        parameters: Keys of each group of constants.
        provenance: What computed it.
        claims: The claims that the simulated places can judge.
    """

    percent: float
    seeds: tuple[int, ...]
    points: int
    parameters: Mapping[str, Sequence[str]]
    provenance: Mapping[str, str]
    claims: tuple[ClaimSensitivity, ...]

    def to_json(self) -> str:
        """Return everything as indented JSON with a trailing newline."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def claim(self, name: str) -> ClaimSensitivity:
        """Return a claim by its name."""
        return next(claim for claim in self.claims if claim.name == name)


@dataclass(frozen=True)
class SurvivalRow:
    """Whether a claim outlives every change. `verdict` is the one before any."""

    claim: str
    origin: Origin | None
    is_order: bool
    verdict: Verdict
    changes: int
    broken_by: tuple[str, ...]

    @property
    def survives(self) -> bool:
        """Whether the claim holds, and still does after each change."""
        return self.verdict is Verdict.HOLDS and not self.broken_by

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """The row as tables show it, below `SURVIVAL_HEADINGS`. A claim that does not hold has nothing to survive."""
        kept = f"{self.changes - len(self.broken_by)} of {self.changes}" if self.verdict is Verdict.HOLDS else ""
        return self.claim, self.origin or "", self.verdict.value, kept, ", ".join(self.broken_by)


def analyse(plan: Plan, finished: Mapping[str, Result]) -> Sensitivity:
    """Judge every claim before and after each change, on the places that were simulated.

    Args:
        plan: What was simulated.
        finished: The results of its points, by their fingerprint.
    """
    results = plan.results(finished)
    before = results[None]
    after = {change: points for change, points in results.items() if change is not None}
    pairs = [(claim, restricted(claim, plan.places)) for claim in CLAIMS]
    return Sensitivity(
        percent=plan.percent,
        seeds=plan.seeds,
        points=len(plan.distinct),
        parameters=plan.parameters,
        provenance=provenance(),
        claims=tuple(sensitivity_of(part, whole, before, after) for whole, part in pairs if part is not None),
    )


def load_sensitivity(path: Path) -> Sensitivity:
    """Read what `Sensitivity.to_json` wrote, for example ``outputs/sensitivity/sensitivity.json``."""
    values = json.loads(path.read_text(encoding="utf-8"))

    def judgement(row: dict) -> Judgement:
        return Judgement(row["value"], Verdict(row["verdict"]), row["decisive"])

    claims = []
    for row in values.pop("claims"):
        effects = tuple(Effect(e["parameter"], e["raised"], judgement(e["judgement"])) for e in row.pop("effects"))
        origin = Origin(row["origin"]) if "origin" in row else None
        claims.append(ClaimSensitivity(**{**row, "origin": origin, "before": judgement(row["before"])}, effects=effects))
    return Sensitivity(**{**values, "seeds": tuple(values["seeds"])}, claims=tuple(claims))


def survival(sensitivity: Sensitivity) -> list[SurvivalRow]:
    """Return per claim whether it survives, and the changes that it does not."""
    return [
        SurvivalRow(
            claim.name,
            claim.origin,
            claim.is_order,
            claim.before.verdict,
            len(claim.effects),
            tuple(effect.label for effect in claim.broken_by),
        )
        for claim in sensitivity.claims
    ]


def restricted(claim: Claim, places: frozenset[Place]) -> Claim | None:
    """Return a claim with the parts that some places can judge, and as large a share of them needed; None without any."""
    parts = tuple(part for part in claim.parts if all(place in places for q in part.quantities for place in q.places))
    if not parts:
        return None
    needed = None if claim.needed is None else round(len(parts) * claim.needed / len(claim.parts))
    return dataclasses.replace(claim, parts=parts, needed=needed)


def judged(claim: Claim, points: Points) -> Judgement:
    """Judge a claim on points that have all its places. Seeds are compared one by one: what they share cancels."""
    margins = sorted((_margins(part, points) for part in claim.parts), key=lambda row: -fmean(row[0]))
    needed = len(margins) if claim.needed is None else claim.needed
    values, label = margins[needed - 1]
    least = sorted((min(row) for row, _ in margins), reverse=True)[needed - 1]
    most = sorted((max(row) for row, _ in margins), reverse=True)[needed - 1]
    verdict = Verdict.HOLDS if least >= 0 else Verdict.FAILS if most < 0 else Verdict.UNDECIDED
    single = _single(claim)
    value = fmean(single.quantity.values(points)) if single is not None else fmean(values)
    return Judgement(value, verdict, label)


def sensitivity_of(claim: Claim, whole: Claim, before: Points, after: Mapping[tuple[str, bool], Points]) -> ClaimSensitivity:
    """Return what changes, a parameter and whether it was raised, do to the part of a claim that can be judged."""
    single = _single(claim)
    is_order = not claim.is_number
    unit = claim.parts[0].quantities[0].unit if is_order or single is not None else ""
    if single is not None:
        axis, low, high = single.quantity.label, single.published - single.tolerance, single.published + single.tolerance
    else:
        axis, low, high = ("margin of the order" if is_order else "share of the tolerance that is left"), 0.0, None
    effects = tuple(Effect(name, raised, judged(claim, points)) for (name, raised), points in after.items())
    return ClaimSensitivity(
        name=claim.name,
        sentence=claim.sentence,
        origin=whole.origin,
        is_order=is_order,
        unit=unit,
        axis=axis,
        low=low,
        high=high,
        parts=len(claim.parts),
        all_parts=len(whole.parts),
        before=judged(claim, before),
        effects=effects,
    )


def _single(claim: Claim) -> Within | None:
    """Return a claim's only part if that is a published number."""
    part = claim.parts[0]
    return part if len(claim.parts) == 1 and isinstance(part, Within) else None


def _margins(part: Within | Greater, points: Points) -> tuple[list[float], str]:
    """Return by how much a part holds with each seed, below 0 where it does not, and what it compares."""
    if isinstance(part, Within):
        left = 1 - abs(fmean(part.quantity.values(points)) - part.published) / part.tolerance
        return [left], part.quantity.label
    greater, smaller = part.greater.values(points), part.smaller.values(points)
    count = max(len(greater), len(smaller))
    pairs = zip(_repeated(greater, count), _repeated(smaller, count), strict=True)
    differences = [one - other for one, other in pairs]
    if part.tie_holds:
        differences = [max(differences)] * count
    else:
        differences = [difference or EQUAL for difference in differences]
    return differences, f"{part.greater.label} above {part.smaller.label}"


def _repeated(values: list[float], count: int) -> list[float]:
    return values * count if len(values) == 1 else values
