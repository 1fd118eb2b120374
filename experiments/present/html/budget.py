"""The budget of a KB: what the cycles of all cores go to, beside what the published numbers leave room for.

Knows results, clocks, and what was published; every number is computed. Lock profiling is left out.
"""

from collections.abc import Mapping
from statistics import fmean

from experiments.paper.grid import CONNP_L, HEAVIEST, MSGP, ORGANIZATIONS, PARALLEL, TABULATED, UP, Organization
from experiments.paper.published import CONNP_L_GAIN_PERCENT, CONNP_L_MBPS, MISSES_PER_KB, MSGP_GAIN_PERCENT, UP_BEST_MBPS
from experiments.paper.verdicts import Place, PointKey, Points, organization_label
from experiments.points.breakdown import COLUMNS, busy_cycles, column_cycles
from experiments.present.html.parts import Section, Table
from netstack.sim import Result

KB_BITS = 8 * 1024
NAMES = {"sched": "scheduling"}
MBPS = {(UP, 6): UP_BEST_MBPS, (CONNP_L, 192): CONNP_L_MBPS}
"""Published goodput."""
GAINS_PERCENT = {(MSGP, HEAVIEST): MSGP_GAIN_PERCENT, (CONNP_L, HEAVIEST): CONNP_L_GAIN_PERCENT}
"""Published gains over the uniprocessor, from which a goodput follows with the simulated uniprocessor's."""

SUM_NOTE = (
    "Published goodput is known at few places; at 16,384 connections it follows from the published gain and the simulated up. "
    "The last column is cores × clock ÷ published goodput: what there is for a KB if that much is sent."
)
FIT_NOTE = (
    "Other work is all busy cycles but stalls. The stall of a miss is simulated, stalls ÷ L2 misses: it contains waits for the "
    "L2 cache and for upgrades, and lacks stalls inside the scheduler, which are scheduling. Where less than nothing is left, "
    "the cores cannot do the simulated work with the published misses at that goodput."
)


def budget_section(points: Points, clocks: Mapping[PointKey, float]) -> Section | None:
    """Return the arithmetic of each organization at each tabulated load, None if none was run.

    Args:
        points: What was simulated.
        clocks: MHz of each point's cores.
    """
    rows, fits = [], []
    for organization in ORGANIZATIONS:
        for load in TABULATED:
            found = {key: result for key, result in points.items() if key.place == Place(*organization, load)}
            if not found:
                continue
            label = f"{organization_label(*organization)} at {load:,}"
            published = _published_mbps(points, organization, load)
            rows.append((label, *_sum(found, clocks, published)))
            if organization in PARALLEL:
                fits.append((label, *_fit(found, clocks, published, MISSES_PER_KB[organization][TABULATED.index(load)])))
    if not rows:
        return None
    parts = [NAMES.get(column, column) for column in COLUMNS]
    sums = Table(
        (
            "",
            parts[0],
            *(f"+ {part}" for part in parts[1:]),
            "+ idle",
            "= cores × clock ÷ goodput",
            "simulated Mb/s",
            "published Mb/s",
            "cycles at that",
        ),
        rows,
        "Where the cycles go",
        SUM_NOTE,
    )
    tables = [sums]
    if fits:
        tables.append(
            Table(
                (
                    "",
                    "published misses",
                    "× stall of one",
                    "= stalls",
                    "+ other work",
                    "= cycles",
                    "of",
                    "left",
                    "at a goodput of",
                ),
                fits,
                "Do the published misses fit",
                FIT_NOTE,
            )
        )
    paragraph = "Cycles of all cores per KB (1,024 bytes) of payload, means over seeds, without lock profiling."
    return Section("budget", "The budget of a KB", (paragraph,), (), tables)


def cycles_per_kb(cores: int, clock_mhz: float, mbps: float) -> float:
    """Return the cycles that some cores have per KB at a goodput."""
    return cores * clock_mhz * KB_BITS / mbps


def _sum(found: Points, clocks: Mapping[PointKey, float], published: float | None) -> list[str]:
    """Return the cells of one sum, whose parts and whole are means over the same seeds."""
    parts = [fmean(column_cycles(result, column) for result in found.values()) for column in COLUMNS]
    parts.append(fmean(result.cycles_per_kb["idle"] for result in found.values()))
    whole = fmean(cycles_per_kb(_cores(result), clocks[key], result.goodput_mbps) for key, result in found.items())
    goodput = fmean(result.goodput_mbps for result in found.values())
    known = ["", ""] if published is None else [f"{published:,.0f}", f"{_room(found, clocks, published):,.0f}"]
    return [*(f"{part:,.0f}" for part in parts), f"{whole:,.0f}", f"{goodput:,.0f}", *known]


def _fit(found: Points, clocks: Mapping[PointKey, float], published: float | None, misses: float) -> list[str]:
    """Return the cells that tell whether published misses fit, at the published goodput or else at the simulated one."""
    stalls = fmean(column_cycles(result, "stalls") for result in found.values())
    other = fmean(busy_cycles(result) for result in found.values()) - stalls
    simulated = fmean(result.l2_misses_per_kb for result in found.values())
    goodput = published or fmean(result.goodput_mbps for result in found.values())
    whose = f"{goodput:,.0f} Mb/s, {'simulated' if published is None else 'published'}"
    room = _room(found, clocks, goodput)
    if not simulated:
        return [f"{misses:g}", "", "", f"{other:,.0f}", "", f"{room:,.0f}", "", whose]
    stall = stalls / simulated
    needed = (misses * stall, other, misses * stall + other)
    left = room - needed[-1]
    return [f"{misses:g}", f"{stall:,.0f}", *(f"{cycles:,.0f}" for cycles in needed), f"{room:,.0f}", f"{left:+,.0f}", whose]


def _room(found: Points, clocks: Mapping[PointKey, float], mbps: float) -> float:
    """Return the cycles that the cores have per KB at a goodput."""
    return fmean(cycles_per_kb(_cores(result), clocks[key], mbps) for key, result in found.items())


def _published_mbps(points: Points, organization: Organization, load: int) -> float | None:
    """Return the published goodput, or what follows from a published gain; None if neither is known."""
    gain = GAINS_PERCENT.get((organization, load))
    up = [result.goodput_mbps for key, result in points.items() if key.place == Place(*UP, load)]
    if gain is not None and up:
        return (1 + gain / 100) * fmean(up)
    return MBPS.get((organization, load))


def _cores(result: Result) -> int:
    return len(result.core_cycles_per_kb)
