"""What shares mean in words, and where they disagree with what the unchanged point counts.

Knows cases. Every sentence is made from their numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from experiments.why.cases import FULL, Case, Objective

WORDS = {
    "locks": "waits for locks",
    "coherence": "lines that travel between cores",
    "capacity": "lines that its caches have no room for",
    "scheduling": "scheduling",
    "interrupts": "interrupts",
    "atomics": "locked instructions",
    "copies": "taking payload over from applications",
}
"""What a point pays for."""
COUNTED = {
    ("locks",): ("lock_spin", "lock_sleep"),
    ("coherence", "capacity"): ("cache_stall",),
    ("scheduling",): ("scheduling",),
    ("interrupts",): ("interrupt",),
    ("atomics",): ("lock_atomic",),
    ("copies",): ("copy",),
}
"""Categories of cycles that a mechanism is counted as. Stalls are one category, whoever has the line."""
SMALL, FACTOR = 0.05, 1.5
"""A disagreement is worth a word if it is more than this share of the value, and more than this factor."""
MOST_NAMED, LEAST_SHARE = 4, 0.05


@dataclass(frozen=True)
class Disagreement:
    """Mechanisms whose counted cycles say another gain than making them free."""

    mechanisms: tuple[str, ...]
    counted: float
    """The gain if these cycles went away and nothing else changed, up to full links."""
    measured: float
    hidden: bool
    """Whether making them free gains more than is counted; else less."""


def amount(value: float, objective: Objective, unit: bool = True) -> str:
    """Return a value with its unit, in the digits that matter."""
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.1f}" if abs(value) >= 1 else f"{value:,.2g}"
    text = text.replace("-", "−")
    return f"{text} {objective.unit}".rstrip() if unit else text


def share(case: Case, mechanism: str) -> str:
    """Return a fair share without its unit, with half its interval if it has one."""
    width = case.half_width(mechanism)
    text = amount(case.shares()[mechanism], case.objective, unit=False)
    return f"{text} ± {amount(width, case.objective, unit=False)}" if width > 0 else text


def dearest(case: Case) -> list[str]:
    """Return the mechanisms that cost a case enough to be named, the dearest first; none if all together cost it nothing."""
    shares, whole = case.shares(), case.whole
    if whole <= SMALL * abs(case.base):
        return []
    return [name for name in shares if shares[name] >= LEAST_SHARE * whole][:MOST_NAMED]


def sentence(case: Case) -> str:
    """Return what a case's mechanisms cost it, the dearest first."""
    objective = case.objective
    value = f"{amount(abs(case.base), objective)}"
    free = f"{amount(abs(case.base + case.whole), objective)}"
    end = ", where the links are full" if case.links_are_full else ""
    named = dearest(case)
    if not named:
        return f"{case.label} pays nothing to speak of. It has {value}, and {free} if all are free{end}."
    first, *others = named
    told = f"{case.label} pays {share(case, first)} {objective.unit}".rstrip() + f" for {WORDS[first]}"
    told += "".join(f", {share(case, name)} for {WORDS[name]}" for name in others)
    return f"{told}. It has {value}, and {free} if all are free{end}."


def counted_gain(case: Case, mechanisms: Sequence[str]) -> float | None:
    """Return what a case would gain if cycles counted for mechanisms went away, up to full links; None of no throughput."""
    if case.objective.less or tuple(mechanisms) not in COUNTED:
        return None
    total = sum(case.cycles_per_kb(category) for category in case.results[0].cycles_per_kb)
    cycles = sum(case.cycles_per_kb(category) for category in COUNTED[tuple(mechanisms)])
    if cycles >= total:
        return None
    gain = case.base * cycles / (total - cycles)
    return gain if case.limit is None else max(0.0, min(gain, case.limit - case.base))


def disagreements(case: Case) -> list[Disagreement]:
    """Return where the counted cycles of mechanisms and their gain alone disagree, the largest difference first."""
    found = []
    for mechanisms in COUNTED:
        counted = counted_gain(case, mechanisms)
        measured = case.gain(*mechanisms) if set(mechanisms) <= set(case.players) else None
        if counted is None or measured is None or abs(measured - counted) <= SMALL * abs(case.base):
            continue
        low, high = sorted((measured, counted))
        if high > FACTOR * low:
            found.append(Disagreement(mechanisms, counted, measured, measured > counted))
    return sorted(found, key=lambda each: -abs(each.measured - each.counted))


def disagreement_sentences(case: Case) -> list[str]:
    """Say where more is hidden than is counted, and where what is counted hides another cost."""
    told = []
    for hidden, why in (
        (True, "More than counted: others wait for it, or it displaces what they need."),
        (False, "Less than counted: another cost takes its place."),
    ):
        found = [each for each in disagreements(case) if each.hidden is hidden][:MOST_NAMED]
        gains = [
            f"{' and '.join(each.mechanisms)} {amount(each.measured, case.objective, unit=False)} "
            f"({amount(each.counted, case.objective, unit=False)} are counted)"
            for each in found
        ]
        if gains:
            told.append(f"{case.label}: made free, these gain {case.objective.unit}: {', '.join(gains)}. {why}")
    return told


def pair_sentence(case: Case) -> str | None:
    """Say which two mechanisms hide each other most, or overlap most; None if no two do so, or pairs were not run."""
    best: tuple[float, str, str] | None = None
    for one, other in combinations(case.players, 2):
        pairs = [found for game in case.games if (found := game.together(one, other)) is not None]
        if len(pairs) == len(case.games):
            extra = sum(pairs) / len(pairs)
            if abs(extra) > SMALL * abs(case.base) and (best is None or abs(extra) > abs(best[0])):
                best = extra, one, other
    if best is None:
        return None
    extra, one, other = best
    gains = [case.gain(one), case.gain(other), case.gain(one, other)]
    alone, beside, both = (amount(gain or 0.0, case.objective, unit=False) for gain in gains)
    both = f"{both} {case.objective.unit}".rstrip()
    told = f"{case.label}: {one} free gains {alone}, {other} {beside}, both {both}; "
    if extra > 0:
        return told + "one hides what the other costs."
    return told + ("the links are full." if _fills_links(case, one, other) else "they are the same time, counted twice.")


def _fills_links(case: Case, one: str, other: str) -> bool:
    gain = case.gain(one, other)
    return case.limit is not None and gain is not None and case.base + gain >= FULL * case.limit
