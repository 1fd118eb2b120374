"""What Willmann, Rixner and Cox (USENIX ATC 2006) say about the organizations, as data that a simulation can contradict.

Published numbers and orders stand here and nowhere else. Knows no way to run points and none to show verdicts.
"""

from collections.abc import Callable, Iterable
from itertools import combinations, pairwise

from experiments.paper.verdicts import Claim, Greater, Place, Quantity, Within
from experiments.points.breakdown import column_cycles
from netstack.sim import Result

LOADS = (6, 12, 24, 48, 96, 192, 384, 768, 1536, 3072, 6144, 12288, 16384)
TABULATED = (6, 192, 16384)
"""The loads of the publication's tables."""
MODERATE = tuple(load for load in LOADS if 24 <= load <= 1536)
"""From four connections per network card, so that every core and card finds work, to as many as four L2 caches of 1 MB hold: a
connection's records have 35 lines, 1,536 connections 3.4 MB."""
HEAVIEST = 16384
WIRE_LIMIT_MBPS = 5650.0
"""Six Gigabit links, payload of full segments."""

UP, MSGP, CONNP_T, CONNP_L = ("up", 1), ("msgp", 1), ("connp_t", 4), ("connp_l", 128)
"""Organizations with the number of their connection groups."""
PARALLEL = (MSGP, CONNP_T, CONNP_L)
ORGANIZATIONS = (UP, *PARALLEL)
GROUPS = (4, 8, 16, 32, 64, 128)
LOCKED = (MSGP, *(("connp_l", groups) for groups in GROUPS))
"""The rows of table 1: what has global TCP/IP locks."""

CONTENTION_PERCENT = {
    MSGP: (89, 100, 100),
    ("connp_l", 4): (60, 56, 52),
    ("connp_l", 8): (51, 30, 26),
    ("connp_l", 16): (49, 18, 14),
    ("connp_l", 32): (41, 10, 7),
    ("connp_l", 64): (37, 6, 4),
    ("connp_l", 128): (33, 5, 2),
}
"""Table 1: acquisitions of global TCP/IP locks that do not succeed at once, at the tabulated loads."""
CONTENTION_TOLERANCE = 8.0  # percentage points, of a cell
CONTENTION_CELLS_NEEDED = 17
UP_MISSES_PER_KB = (1.83, 4.08, 18.49)
"""Table 2, the uniprocessor's row: L2 data misses per KB of payload, at the tabulated loads."""
UP_BEST_MBPS = 4034.0
CONNP_L_MBPS = 5440.0
CONNP_L_GAIN_PERCENT = 126.0
FITTED_CONNP_L = 192
"""The one load of connp_l(128) to which transfers between caches were fitted: see conf/machine/opteron_2x2.yaml."""
SEVERAL_TIMES = 3.0

Organization = tuple[str, int]


def goodput(organization: Organization, load: int) -> Quantity:
    """Return the goodput of an organization at a load."""
    return _quantity("goodput", "Mb/s", organization, load, lambda result: result.goodput_mbps)


def misses(organization: Organization, load: int) -> Quantity:
    """Return the L2 data misses per KB of an organization at a load."""
    return _quantity("L2 misses", "1/KB", organization, load, lambda result: result.l2_misses_per_kb)


def contention(organization: Organization, load: int) -> Quantity:
    """Return how many acquisitions of global TCP/IP locks had to wait."""
    return _quantity("waits", "%", organization, load, lambda result: result.lock["global"].not_immediate_percent)


def locking(organization: Organization, load: int) -> Quantity:
    """Return the cycles per KB in locked instructions and in spinning and sleeping for locks."""
    return _quantity("locking", "cycles/KB", organization, load, lambda result: column_cycles(result, "locks"))


def scheduling(organization: Organization, load: int) -> Quantity:
    """Return the cycles per KB in scheduling and hand-offs."""
    return _quantity("scheduling", "cycles/KB", organization, load, lambda result: column_cycles(result, "sched"))


def overhead(column: str, organization: Organization, load: int) -> Quantity:
    """Return how many cycles per KB an organization spends in a column beyond the uniprocessor's at the same load."""
    places = (_place(organization, load), _place(UP, load))
    names = {"locks": "locking", "sched": "scheduling", "stalls": "cache stalls"}
    return Quantity(
        f"added {names[column]} of {places[0].label}",
        "cycles/KB",
        places,
        lambda result, up: column_cycles(result, column) - column_cycles(up, column),
    )


def gain_percent(organization: Organization, load: int) -> Quantity:
    """Return by how much an organization's goodput is above the uniprocessor's."""
    places = (_place(organization, load), _place(UP, load))
    label = f"gain of {places[0].label} over up"
    return Quantity(label, "%", places, lambda result, up: 100 * (result.goodput_mbps / up.goodput_mbps - 1))


def _quantity(name: str, unit: str, organization: Organization, load: int, compute: Callable[[Result], float]) -> Quantity:
    place = _place(organization, load)
    return Quantity(f"{name} of {place.label}", unit, (place,), compute)


def _place(organization: Organization, load: int) -> Place:
    return Place(*organization, load)


def _times(factor: float, quantity: Quantity) -> Quantity:
    compute = quantity.compute
    return Quantity(f"{factor:g} × {quantity.label}", quantity.unit, quantity.places, lambda *results: factor * compute(*results))


def _constant(label: str, unit: str, value: float) -> Quantity:
    return Quantity(label, unit, (), lambda: value)


def _above(
    measure: Callable[[Organization, int], Quantity],
    upper: Organization,
    lower: Iterable[Organization],
    loads: Iterable[int],
) -> tuple[Greater, ...]:
    return tuple(Greater(measure(upper, load), measure(other, load)) for load in loads for other in lower)


def _all_above_up(measure: Callable[[Organization, int], Quantity]) -> tuple[Greater, ...]:
    return tuple(part for organization in PARALLEL for part in _above(measure, organization, [UP], TABULATED))


def _contention_order() -> tuple[Greater, ...]:
    """Return a comparison per pair of cells of a row or column of table 1 that differ in the publication."""
    cells = {
        (row, load): value for row, values in CONTENTION_PERCENT.items() for load, value in zip(TABULATED, values, strict=True)
    }
    parts = []
    for (one, value), (other, other_value) in combinations(cells.items(), 2):
        if value != other_value and (one[0] == other[0] or one[1] == other[1]):
            higher, lower = (one, other) if value > other_value else (other, one)
            parts.append(Greater(contention(*higher), contention(*lower), tie_holds=True))
    return tuple(parts)


CLAIMS = (
    Claim(
        name="up at 6",
        sentence="One processor sends 4,034 Mb/s at 6 connections.",
        published=f"{UP_BEST_MBPS:,.0f} Mb/s",
        definition="Within 5 %.",
        parts=(Within(goodput(UP, 6), UP_BEST_MBPS, 0.05 * UP_BEST_MBPS, fitted=True),),
    ),
    Claim(
        name="up best at 6",
        sentence="One processor is at its best at 6 connections.",
        published="6 connections above all other loads",
        definition="No load's goodput is above that at 6 connections; overlapping intervals are a tie.",
        parts=tuple(Greater(goodput(UP, 6), goodput(UP, load), tie_holds=True) for load in LOADS[1:]),
    ),
    Claim(
        name="up degrades",
        sentence="One processor degrades clearly as connections are added.",
        published="goodput at 6 > 192 > 16,384",
        definition="The three tabulated loads fall, intervals apart, and from no load to the next does it rise.",
        parts=(
            *(Greater(goodput(UP, fewer), goodput(UP, more)) for fewer, more in pairwise(TABULATED)),
            *(Greater(goodput(UP, fewer), goodput(UP, more), tie_holds=True) for fewer, more in pairwise(LOADS)),
        ),
    ),
    Claim(
        name="up cannot fill the network",
        sentence="One processor cannot fill the network.",
        published="below 5,650 Mb/s at all loads",
        definition="Goodput below the payload of six full links at each load.",
        parts=tuple(
            Greater(_constant("six full links", "Mb/s", WIRE_LIMIT_MBPS), goodput(UP, load), fitted=load == 6) for load in LOADS
        ),
    ),
    Claim(
        name="connp_l at moderate loads",
        sentence="Connection parallelism by locks holds a stable 5,440 Mb/s at moderate loads.",
        published=f"{CONNP_L_MBPS:,.0f} Mb/s",
        definition=f"connp_l(128) within 3 % at each load from {MODERATE[0]} to {MODERATE[-1]:,} connections.",
        parts=tuple(
            Within(goodput(CONNP_L, load), CONNP_L_MBPS, 0.03 * CONNP_L_MBPS, fitted=load == FITTED_CONNP_L) for load in MODERATE
        ),
    ),
    Claim(
        name="connp_l best",
        sentence="Connection parallelism by locks is the best of all.",
        published="connp_l above up, msgp and connp_t",
        definition="connp_l(128) above each other organization at each of the thirteen loads.",
        parts=_above(goodput, CONNP_L, (UP, MSGP, CONNP_T), LOADS),
    ),
    Claim(
        name="connp_l gain at 16,384",
        sentence="At the heaviest load connection parallelism by locks is 126 % above one processor.",
        published=f"+{CONNP_L_GAIN_PERCENT:.0f} %",
        definition="connp_l(128) over up at 16,384 connections, within 10 percentage points.",
        parts=(Within(gain_percent(CONNP_L, HEAVIEST), CONNP_L_GAIN_PERCENT, 10),),
    ),
    Claim(
        name="msgp better than up",
        sentence="Message parallelism is better than one processor at almost all loads.",
        published="msgp above up, almost everywhere",
        definition="At all but at most two of the thirteen loads.",
        parts=_above(goodput, MSGP, [UP], LOADS),
        needed=len(LOADS) - 2,
    ),
    Claim(
        name="msgp held back by locking",
        sentence="Message parallelism is held back by locking.",
        published="locking is its largest overhead",
        definition="Of the cycles per KB that msgp spends beyond up, more are for locks than for scheduling and than for cache "
        "stalls, at each tabulated load.",
        parts=tuple(
            Greater(overhead("locks", MSGP, load), overhead(column, MSGP, load))
            for load in TABULATED
            for column in ("sched", "stalls")
        ),
    ),
    Claim(
        name="connp_t worse than up",
        sentence="Connection parallelism by threads is worse than one processor at all but the heaviest loads.",
        published="connp_t below up, but not at the heaviest loads",
        definition=f"Below up at each load up to {MODERATE[-1]:,} connections, above it at 16,384.",
        parts=(
            *_above(goodput, UP, [CONNP_T], [load for load in LOADS if load <= MODERATE[-1]]),
            *_above(goodput, CONNP_T, [UP], [HEAVIEST]),
        ),
    ),
    Claim(
        name="connp_t held back by scheduling",
        sentence="Connection parallelism by threads is held back by scheduling.",
        published="its scheduling costs most",
        definition="connp_t spends more cycles per KB in scheduling than each other organization, at each tabulated load.",
        parts=_above(scheduling, CONNP_T, (UP, MSGP, CONNP_L), TABULATED),
    ),
    Claim(
        name="connp_t locks little",
        sentence="Connection parallelism by threads has very low locking overhead.",
        published="least locking of the parallel organizations",
        definition="msgp and connp_l(128) both spend more cycles per KB on locks than connp_t, at each tabulated load.",
        parts=tuple(part for other in (MSGP, CONNP_L) for part in _above(locking, other, [CONNP_T], TABULATED)),
    ),
    Claim(
        name="parallel: more locking",
        sentence="All parallel organizations spend more on locks than one processor.",
        published="locking of each above up's",
        definition="msgp, connp_t and connp_l(128), at each tabulated load.",
        parts=_all_above_up(locking),
    ),
    Claim(
        name="parallel: worse cache efficiency",
        sentence="All parallel organizations use the caches less efficiently than one processor.",
        published="L2 misses of each above up's",
        definition="L2 data misses per KB of msgp, connp_t and connp_l(128), at each tabulated load.",
        parts=_all_above_up(misses),
    ),
    Claim(
        name="parallel: more scheduling",
        sentence="All parallel organizations spend more on scheduling than one processor.",
        published="scheduling of each above up's",
        definition="msgp, connp_t and connp_l(128), at each tabulated load.",
        parts=_all_above_up(scheduling),
    ),
    Claim(
        name="order at moderate loads",
        sentence="At moderate loads the order is connp_l, msgp, up, connp_t.",
        published="connp_l > msgp > up > connp_t",
        definition=f"Each above the next at each load from {MODERATE[0]} to {MODERATE[-1]:,} connections.",
        parts=tuple(
            part for upper, lower in pairwise((CONNP_L, MSGP, UP, CONNP_T)) for part in _above(goodput, upper, [lower], MODERATE)
        ),
    ),
    Claim(
        name="up's misses",
        sentence="One processor misses its L2 cache 1.83, 4.08 and 18.49 times per KB at the tabulated loads.",
        published="1.83, 4.08, 18.49 per KB",
        definition="Each within 15 %.",
        parts=tuple(
            Within(misses(UP, load), value, 0.15 * value, fitted=True)
            for load, value in zip(TABULATED, UP_MISSES_PER_KB, strict=True)
        ),
    ),
    Claim(
        name="connp_t misses most",
        sentence="Connection parallelism by threads has the most cache misses.",
        published="connp_t above msgp, connp_l and up",
        definition="L2 data misses per KB, at each tabulated load.",
        parts=_above(misses, CONNP_T, (UP, MSGP, CONNP_L), TABULATED),
    ),
    Claim(
        name="misses at low loads",
        sentence="At low loads the parallel organizations miss several times as often as one processor.",
        published="several times up's misses",
        definition=f"More than {SEVERAL_TIMES:g} times up's L2 data misses per KB, at 6 connections.",
        parts=tuple(Greater(misses(organization, 6), _times(SEVERAL_TIMES, misses(UP, 6))) for organization in PARALLEL),
    ),
    Claim(
        name="table 1: cells",
        sentence="Table 1: how often global TCP/IP locks are not free at once.",
        published="21 percentages",
        definition=f"At least {CONTENTION_CELLS_NEEDED} of 21 cells within {CONTENTION_TOLERANCE:g} percentage points.",
        parts=tuple(
            Within(contention(row, load), value, CONTENTION_TOLERANCE)
            for row, values in CONTENTION_PERCENT.items()
            for load, value in zip(TABULATED, values, strict=True)
        ),
        needed=CONTENTION_CELLS_NEEDED,
    ),
    Claim(
        name="table 1: order",
        sentence="Table 1: that of msgp is the highest; that of connp_l falls with more groups and with more connections.",
        published="the order of 21 cells",
        definition="Each two cells of a row or a column that differ in the publication; overlapping intervals are a tie, a "
        "reversed order with intervals apart is wrong.",
        parts=_contention_order(),
    ),
)
"""All claims, in the order in which a reader meets them."""
