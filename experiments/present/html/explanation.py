"""Sentences that tell from the numbers which organization wins where, and why each sends what it sends.

Every number, rank and comparison is computed; only what an organization is made of is told.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.paper.grid import CONNP_L, CONNP_T, MSGP, ORGANIZATIONS, TABULATED, UP, Organization
from experiments.paper.published import WIRE_LIMIT_MBPS
from experiments.paper.verdicts import Place, Points, organization_label
from experiments.points.breakdown import busy_cycles, column_cycles, structure_misses
from experiments.present.html.organizations import estimate_of, kind_of, loads_of
from netstack.sim import Result

DESIGN = {
    UP: "One core runs everything, so that nothing is locked and nothing moves between caches.",
    MSGP: "Whoever has a message processes it. One global lock is held while a connection is found and its own lock awaited.",
    CONNP_T: "Each connection belongs to a thread that is bound to a core. Everybody else queues requests to it, and no lock "
    "protects connections.",
    CONNP_L: "Whoever has a message processes it under the lock of the connection's group; a group has its own table.",
}
COSTS = {
    "stack": "protocol work",
    "driver": "drivers",
    "copy": "copying",
    "sched": "scheduling",
    "locks": "locks",
    "stalls": "cache stalls",
}
"""What the columns of cycles are called in a sentence."""
FULL = 0.98  # of the links
TWO_REGIMES = (48, 192)  # connections between which connp_l fills the links with some seeds and not with others
WORTH_SAYING = 0.05  # share of the added cycles
NO_IDLING = 0.5  # %


@dataclass(frozen=True)
class Explanation:
    """An organization's numbers in a sentence or two, and a heading with sentences per load."""

    name: str
    kind: str
    design: str
    summary: str
    loads: Sequence[tuple[str, Sequence[str]]]


def explanations(points: Points) -> list[Explanation]:
    """Explain each organization that was run, at those of the tabulated loads that were run."""
    made = []
    for organization in ORGANIZATIONS:
        loads = loads_of(points, organization)
        if loads:
            told = [(f"{load:,} connections", _why(points, organization, load)) for load in loads if load in TABULATED]
            name, kind = organization_label(*organization), kind_of(organization)
            summary = _summary(points, organization, loads)
            if organization == CONNP_L:
                summary = " ".join(filter(None, [summary, _full_links(points, loads)]))
            made.append(Explanation(name, kind, DESIGN[organization], summary, told))
    return made


def winners(points: Points) -> list[str]:
    """Say which organization sends most at which loads, and what the others spend more than it."""
    best: dict[int, Organization] = {}
    for load in sorted({key.conns for key in points}):
        run = [organization for organization in ORGANIZATIONS if load in loads_of(points, organization)]
        if len(run) > 1:
            best[load] = max(run, key=lambda organization: _mean(points, organization, load, "goodput"))
    sentences = []
    for winner in sorted(dict.fromkeys(best.values()), key=lambda organization: -list(best.values()).count(organization)):
        loads = [f"{load:,}" for load in best if best[load] == winner]
        where = f"all {len(best)} loads" if len(loads) == len(best) else f"{_listed(loads)} connections"
        sentences.append(f"{organization_label(*winner)} sends most at {where}.")
    for organization in ORGANIZATIONS:
        lost = [load for load in loads_of(points, organization) if best.get(load, organization) != organization]
        if lost:
            sentences.append(_behind(points, organization, {load: best[load] for load in lost}))
    return sentences


def _behind(points: Points, organization: Organization, best: dict[int, Organization]) -> str:
    """Say how far an organization is behind the best at the loads where it is, and what for."""
    shares = [100 * (1 - _mean(points, organization, at, "goodput") / _mean(points, best[at], at, "goodput")) for at in best]
    text = f"{organization_label(*organization)} is {_range(shares)} % behind the best"
    cores = _mean(points, organization, next(iter(best)), "cores")
    if any(cores < _mean(points, best[at], at, "cores") for at in best):
        costs = [100 * _mean(points, organization, at, "busy") / _mean(points, best[at], at, "busy") for at in best]
        return f"{text}: it has {cores:.0f} core, though a KB costs it only {_range(costs)} % of the cycles."
    added = {name: _average_added(points, organization, best, column) for column, name in COSTS.items()}
    total = _average_added(points, organization, best, "busy")
    if total <= 0:
        return f"{text}, though a KB costs it no more cycles: its cores idle."
    first, second = sorted(added, key=lambda name: -added[name])[:2]
    return (
        f"{text}: a KB costs it {total:,.0f} cycles more on average, {added[first]:,.0f} of them for {first} and "
        f"{added[second]:,.0f} for {second}."
    )


def _average_added(points: Points, organization: Organization, best: dict[int, Organization], statistic: str) -> float:
    added = [_mean(points, organization, at, statistic) - _mean(points, best[at], at, statistic) for at in best]
    return sum(added) / len(added)


def _summary(points: Points, organization: Organization, loads: Sequence[int]) -> str:
    goodputs = {load: _mean(points, organization, load, "goodput") for load in loads}
    best, worst = max(goodputs, key=lambda load: goodputs[load]), min(goodputs, key=lambda load: goodputs[load])
    if best == worst:
        return f"{goodputs[best]:,.0f} Mb/s at {best:,} connections."
    return (
        f"Most at {best:,} connections ({goodputs[best]:,.0f} Mb/s), least at {worst:,} ({goodputs[worst]:,.0f} Mb/s, "
        f"{100 * (1 - goodputs[worst] / goodputs[best]):.0f} % less)."
    )


def _full_links(points: Points, loads: Sequence[int]) -> str:
    """Say with which share of the seeds connp_l fills the links at loads where seeds may differ in that."""
    told = []
    for load in loads:
        results = _results(points, CONNP_L, load)
        full = sum(result.goodput_mbps > FULL * WIRE_LIMIT_MBPS for result in results)
        if full and TWO_REGIMES[0] <= load <= TWO_REGIMES[1]:
            told.append(f"{full} of {len(results)} seeds at {load:,}")
    limit = f"more than {100 * FULL:.0f} % of {WIRE_LIMIT_MBPS:,.0f} Mb/s"
    return f"It fills the links ({limit}) with {_listed(told)} connections." if told else ""


def _why(points: Points, organization: Organization, load: int) -> list[str]:
    sentences = [_speed(points, organization, load)]
    if organization == UP:
        if load != TABULATED[0] and TABULATED[0] in loads_of(points, UP):
            sentences.append(_costs(points, organization, load, TABULATED[0]))
    elif load in loads_of(points, UP):
        sentences += [_costs(points, organization, load, load), _budget(points, organization, load)]
    sentences.append(_caches(points, organization, load))
    locked = [result.lock["global"] for result in _results(points, organization, load) if "global" in result.lock]
    if locked:
        lock = "Its one table lock was" if organization == MSGP else "Its groups' locks were"
        waited = sum(lock.not_immediate_percent for lock in locked) / len(locked)
        sentences.append(f"{lock} not free at once in {waited:.0f} % of the acquisitions, without lock profiling.")
    hand_offs = _mean(points, organization, load, "hand_offs")
    if hand_offs > 0:
        switches = _mean(points, organization, load, "switches")
        sentences.append(f"A data segment takes {hand_offs:.1f} hand-offs and {switches:.1f} thread switches.")
    return [sentence for sentence in sentences if sentence]


def _speed(points: Points, organization: Organization, load: int) -> str:
    goodput = _mean(points, organization, load, "goodput")
    idle = 100 * (1 - _mean(points, organization, load, "utilization"))
    links = "the links are full, and " if goodput >= FULL * WIRE_LIMIT_MBPS else ""
    comparison = ""
    if organization != UP and load in loads_of(points, UP):
        percent = 100 * (goodput / _mean(points, UP, load, "goodput") - 1)
        comparison = f", {abs(percent):.0f} % {'more' if percent >= 0 else 'less'} than up"
    return f"{goodput:,.0f} Mb/s{comparison}; {links}{'no' if idle < NO_IDLING else f'{idle:.0f} % of the'} cycles are idle."


def _costs(points: Points, organization: Organization, load: int, at: int) -> str:
    """Say how many cycles a KB costs, and what makes the difference to up at the load `at`."""
    busy, other = _mean(points, organization, load, "busy"), _mean(points, UP, at, "busy")
    against = "up" if organization != UP else f"at {at:,} connections"
    added = {name: _mean(points, organization, load, column) - _mean(points, UP, at, column) for column, name in COSTS.items()}
    total = busy - other
    if total <= 0:
        return f"A KB costs {busy:,.0f} busy cycles, {-total:,.0f} less than {against}."
    largest = sorted(added, key=lambda name: -added[name])
    told = [f"{added[name]:,.0f} for {name}" for name in largest if added[name] > WORTH_SAYING * total]
    return f"A KB costs {busy:,.0f} busy cycles, {total:,.0f} more than {against}" + (f": {_listed(told)}." if told else ".")


def _budget(points: Points, organization: Organization, load: int) -> str:
    """Say how cores, idling and costs multiply to the gain over one processor."""
    cores = _mean(points, organization, load, "cores") / _mean(points, UP, load, "cores")
    busy = _mean(points, organization, load, "utilization") / _mean(points, UP, load, "utilization")
    costs = _mean(points, organization, load, "busy") / _mean(points, UP, load, "busy")
    return (
        f"{cores:.0f} times up's cores, {100 * busy:.0f} % as busy, at {costs:.2f} times its cycles per KB: "
        f"{cores:.0f} × {busy:.2f} ÷ {costs:.2f} = {cores * busy / costs:.2f} times its goodput."
    )


def _caches(points: Points, organization: Organization, load: int) -> str:
    misses, coherence = _mean(points, organization, load, "misses"), _mean(points, organization, load, "coherence")
    groups: dict[str, float] = {}
    for result in _results(points, organization, load):
        for name, value in structure_misses(result).items():
            groups[name] = groups.get(name, 0.0) + value
    total = sum(groups.values())
    if misses <= 0 or total <= 0:
        return ""
    first, second = sorted(groups, key=lambda name: -groups[name])[:2]
    shares = f"{first} {100 * groups[first] / total:.0f} %, {second} {100 * groups[second] / total:.0f} %"
    moved = f"; {100 * coherence / misses:.0f} % hit lines that another core or a card had written" if coherence > 0 else ""
    return f"The largest shares of its {misses:.1f} L2 misses per KB: {shares}{moved}."


_STATISTICS = {
    "goodput": lambda result: result.goodput_mbps,
    "utilization": lambda result: result.utilization,
    "busy": busy_cycles,
    "cores": lambda result: len(result.core_cycles_per_kb),
    "misses": lambda result: result.l2_misses_per_kb,
    "coherence": lambda result: result.coherence_misses_per_kb,
    "switches": lambda result: result.context_switches_per_segment,
    "hand_offs": lambda result: result.hand_offs_per_segment,
    **{column: lambda result, column=column: column_cycles(result, column) for column in COSTS},
}


def _mean(points: Points, organization: Organization, load: int, statistic: str) -> float:
    value = estimate_of(points, organization, load, _STATISTICS[statistic])
    assert value is not None
    return value.mean


def _results(points: Points, organization: Organization, load: int) -> list[Result]:
    return [result for key, result in points.items() if key.place == Place(*organization, load)]


def _listed(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.0f}", f"{max(values):.0f}"
    return low if low == high else f"{low} to {high}"
