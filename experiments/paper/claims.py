"""What Willmann, Rixner and Cox (USENIX ATC 2006) say about the organizations, as data that a simulation can contradict.

Orders, tolerances and the classes of claims stand here. Knows no way to run points and none to show verdicts.
"""

from collections.abc import Callable, Iterable
from itertools import combinations, pairwise, permutations

from experiments.paper.grid import (
    CONNP_L,
    CONNP_T,
    HEAVIEST,
    LOADS,
    MODERATE,
    MSGP,
    PARALLEL,
    TABULATED,
    UP,
    Organization,
)
from experiments.paper.published import (
    CONNP_L_GAIN_PERCENT,
    CONNP_L_MBPS,
    CONTENTION_PERCENT,
    MISSES_PER_KB,
    MSGP_GAIN_PERCENT,
    MSGP_MEAN_GAIN_PERCENT,
    UP_BEST_MBPS,
    WIRE_LIMIT_MBPS,
)
from experiments.paper.quantities import (
    constant,
    contention,
    gain_percent,
    goodput,
    locking,
    mean_gain_percent,
    misses,
    overhead,
    scheduling,
    times,
)
from experiments.paper.verdicts import Claim, Greater, Origin, Quantity, Within

CONTENTION_TOLERANCE = 8.0  # percentage points, of a cell
CONTENTION_CELLS_NEEDED = 18
MISSES_TOLERANCE = 0.15  # of a cell's published value
MISSES_CELLS_NEEDED = 10
SEVERAL_TIMES = 3.0
STAYS_HIGH = 0.75  # of scheduling at 6 connections
STABLE = 1.5  # times the least of the tabulated loads
MUCH_LOWER = 0.5


def _above(
    measure: Callable[[Organization, int], Quantity],
    upper: Organization,
    lower: Iterable[Organization],
    loads: Iterable[int],
    origin: Origin = Origin.PREDICTED,
) -> tuple[Greater, ...]:
    return tuple(Greater(measure(upper, load), measure(other, load), origin=origin) for load in loads for other in lower)


def _all_above_up(measure: Callable[[Organization, int], Quantity], origin: Origin = Origin.PREDICTED) -> tuple[Greater, ...]:
    return tuple(part for organization in PARALLEL for part in _above(measure, organization, [UP], TABULATED, origin))


def _order_at_moderate_loads() -> tuple[Greater, ...]:
    """Return each organization above the next. That msgp is above up was known from its published gains."""
    parts: list[Greater] = []
    for upper, lower in pairwise((CONNP_L, MSGP, UP, CONNP_T)):
        origin = Origin.CHOSEN if (upper, lower) == (MSGP, UP) else Origin.PREDICTED
        parts += _above(goodput, upper, [lower], MODERATE, origin)
    return tuple(parts)


def _miss_cells(organization: Organization) -> tuple[Within, ...]:
    """Return a row of table 2. The uniprocessor's is fitted."""
    origin = Origin.FITTED if organization == UP else Origin.CHOSEN
    return tuple(
        Within(misses(organization, load), value, MISSES_TOLERANCE * value, origin)
        for load, value in zip(TABULATED, MISSES_PER_KB[organization], strict=True)
    )


def _contention_order() -> tuple[Greater, ...]:
    """Return a comparison per pair of cells of a row or column of table 1 that differ in the publication."""
    cells = {
        (row, load): value for row, values in CONTENTION_PERCENT.items() for load, value in zip(TABULATED, values, strict=True)
    }
    parts = []
    for (one, value), (other, other_value) in combinations(cells.items(), 2):
        if value != other_value and (one[0] == other[0] or one[1] == other[1]):
            higher, lower = (one, other) if value > other_value else (other, one)
            parts.append(Greater(contention(*higher), contention(*lower), tie_holds=True, origin=Origin.CHOSEN))
    return tuple(parts)


_UP_MISSES = _miss_cells(UP)

CLAIMS = (
    Claim(
        name="up at 6",
        sentence="One processor sends 4,034 Mb/s at 6 connections.",
        published=f"{UP_BEST_MBPS:,.0f} Mb/s",
        definition="Within 5 %.",
        parts=(Within(goodput(UP, 6), UP_BEST_MBPS, 0.05 * UP_BEST_MBPS, Origin.FITTED),),
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
            Greater(
                constant("six full links", "Mb/s", WIRE_LIMIT_MBPS),
                goodput(UP, load),
                origin=Origin.FITTED if load == 6 else Origin.PREDICTED,
            )
            for load in LOADS
        ),
    ),
    Claim(
        name="connp_l at moderate loads",
        sentence="Connection parallelism by locks holds a stable 5,440 Mb/s at moderate loads.",
        published=f"{CONNP_L_MBPS:,.0f} Mb/s",
        definition=f"connp_l(128) within 3 % at each load from {MODERATE[0]} to {MODERATE[-1]:,} connections.",
        parts=tuple(Within(goodput(CONNP_L, load), CONNP_L_MBPS, 0.03 * CONNP_L_MBPS, Origin.FITTED) for load in MODERATE),
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
        parts=_above(goodput, MSGP, [UP], LOADS, Origin.CHOSEN),
        needed=len(LOADS) - 2,
    ),
    Claim(
        name="msgp gain on average",
        sentence="On average over the loads message parallelism is 31 % above one processor.",
        published=f"+{MSGP_MEAN_GAIN_PERCENT:.0f} %",
        definition="Mean over the thirteen loads of msgp's gain over up at that load, within 8 percentage points.",
        parts=(Within(mean_gain_percent(MSGP, LOADS), MSGP_MEAN_GAIN_PERCENT, 8, Origin.CHOSEN),),
    ),
    Claim(
        name="msgp gain at 16,384",
        sentence="At the heaviest load message parallelism is 62 % above one processor.",
        published=f"+{MSGP_GAIN_PERCENT:.0f} %",
        definition="msgp over up at 16,384 connections, within 12 percentage points.",
        parts=(Within(gain_percent(MSGP, HEAVIEST), MSGP_GAIN_PERCENT, 12, Origin.CHOSEN),),
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
        parts=_all_above_up(misses, Origin.CHOSEN),
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
        parts=_order_at_moderate_loads(),
    ),
    Claim(
        name="up's misses",
        sentence="One processor misses its L2 cache 1.83, 4.08 and 18.49 times per KB at the tabulated loads.",
        published="1.83, 4.08, 18.49 per KB",
        definition=f"Each within {100 * MISSES_TOLERANCE:.0f} %.",
        parts=_UP_MISSES,
    ),
    Claim(
        name="table 2: cells",
        sentence="Table 2: how often each organization misses its L2 caches.",
        published="12 misses per KB",
        definition=f"L2 data misses per KB: at least {MISSES_CELLS_NEEDED} of 12 cells within {100 * MISSES_TOLERANCE:.0f} %. "
        "A miss is a fill of a line; a store to a line that the cache holds shared is none.",
        parts=(*_UP_MISSES, *(cell for organization in PARALLEL for cell in _miss_cells(organization))),
        needed=MISSES_CELLS_NEEDED,
    ),
    Claim(
        name="connp_t misses most",
        sentence="Connection parallelism by threads has the most cache misses.",
        published="connp_t above msgp, connp_l and up",
        definition="L2 data misses per KB, at each tabulated load.",
        parts=_above(misses, CONNP_T, (UP, MSGP, CONNP_L), TABULATED, Origin.CHOSEN),
    ),
    Claim(
        name="misses at low loads",
        sentence="At low loads the parallel organizations miss several times as often as one processor.",
        published="several times up's misses",
        definition=f"More than {SEVERAL_TIMES:g} times up's L2 data misses per KB, at 6 connections.",
        parts=tuple(
            Greater(misses(organization, 6), times(SEVERAL_TIMES, misses(UP, 6)), origin=Origin.CHOSEN)
            for organization in PARALLEL
        ),
    ),
    Claim(
        name="table 3: msgp",
        sentence="Table 3: the scheduling of message parallelism falls as connections are added.",
        published="msgp falls",
        definition="Cycles per KB in the scheduler and its synchronization: at 6 connections above those at 16,384, intervals "
        "apart, and from no tabulated load to the next do they rise.",
        parts=(
            Greater(scheduling(MSGP, TABULATED[0]), scheduling(MSGP, TABULATED[-1])),
            *(Greater(scheduling(MSGP, fewer), scheduling(MSGP, more), tie_holds=True) for fewer, more in pairwise(TABULATED)),
        ),
    ),
    Claim(
        name="table 3: connp_t",
        sentence="Table 3: the scheduling of connection parallelism by threads stays high.",
        published="connp_t stays high",
        definition="Cycles per KB in the scheduler and its synchronization: at 192 and 16,384 connections more than "
        f"{100 * STAYS_HIGH:.0f} % of those at 6, and at each tabulated load above msgp's and connp_l(128)'s.",
        parts=(
            *(Greater(scheduling(CONNP_T, load), times(STAYS_HIGH, scheduling(CONNP_T, TABULATED[0]))) for load in TABULATED[1:]),
            *_above(scheduling, CONNP_T, (MSGP, CONNP_L), TABULATED),
        ),
    ),
    Claim(
        name="table 3: connp_l",
        sentence="Table 3: the scheduling of connection parallelism by locks is stable and much lower than that of both others.",
        published="connp_l stable, much lower than msgp and connp_t",
        definition="Cycles per KB in the scheduler and its synchronization: at each tabulated load below "
        f"{STABLE:g} times those at each other, and below {100 * MUCH_LOWER:.0f} % of msgp's and of connp_t's.",
        parts=(
            *(
                Greater(times(STABLE, scheduling(CONNP_L, one)), scheduling(CONNP_L, other))
                for one, other in permutations(TABULATED, 2)
            ),
            *(
                Greater(times(MUCH_LOWER, scheduling(other, load)), scheduling(CONNP_L, load))
                for load in TABULATED
                for other in (MSGP, CONNP_T)
            ),
        ),
    ),
    Claim(
        name="table 1: cells",
        sentence="Table 1: how often global TCP/IP locks are not free at once.",
        published="21 percentages",
        definition=f"At least {CONTENTION_CELLS_NEEDED} of 21 cells within {CONTENTION_TOLERANCE:g} percentage points, in a "
        "kernel with lock profiling.",
        parts=tuple(
            Within(contention(row, load), value, CONTENTION_TOLERANCE, Origin.CHOSEN)
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
