"""The figures of a page: which panels, in which order, from which statistics, and the numbers behind them as tables.

Knows results, not how a page is laid out.
"""

from collections.abc import Callable

from experiments.paper.grid import CONNP_L, MSGP, ORGANIZATIONS, TABULATED, UP, Organization
from experiments.paper.published import MISSES_PER_KB
from experiments.paper.verdicts import Points, organization_label
from experiments.points.breakdown import busy_cycles, structure_misses
from experiments.present.html.charts import Bar, BarChart, LineChart
from experiments.present.html.comparisons import contention_figure, goodput_figure
from experiments.present.html.organizations import estimate_of, legend_of, lines_of, loads_of, table_of
from experiments.present.html.parts import Figure
from netstack.sim import Result

CYCLES = {
    "protocol and application": ("work-1", ("protocol", "application")),
    "drivers and interrupts": ("work-2", ("driver", "interrupt")),
    "copying": ("work-3", ("copy",)),
    "cache stalls": ("stalls", ("cache_stall",)),
    "scheduling": ("sched", ("scheduling",)),
    "locked instructions": ("lock-1", ("lock_atomic",)),
    "spinning for locks": ("lock-2", ("lock_spin",)),
    "sleeping for locks": ("lock-3", ("lock_sleep",)),
    "idle": ("idle", ("idle",)),
}
"""Parts of a bar of cycles: class of the style sheet, categories."""
MISSES = ("structure-1", "structure-2", "structure-3", "structure-4", "structure-5", "structure-6", "structure-7", "structure-8")


def figures(points: Points) -> list[Figure]:
    """Return the figures that the points suffice for."""
    made = [
        goodput_figure(points),
        _cycles(points),
        _misses(points),
        _locks(points),
        _switches(points),
        contention_figure(points),
    ]
    return [figure for figure in made if figure is not None]


def _cycles(points: Points) -> Figure | None:
    def parts(organization: Organization, load: int) -> list[tuple[str, str, float]]:
        found = []
        for name, (kind, categories) in CYCLES.items():
            value = estimate_of(points, organization, load, lambda r, names=categories: sum(r.cycles_per_kb[n] for n in names))
            found.append((name, kind, value.mean if value else 0.0))
        return found

    panels = _bars(points, "cycles/KB", parts)
    if not panels:
        return None
    return Figure(
        "cycles",
        "Where the cycles of a KB go",
        "Cycles of all cores per KB of payload. Grey is work that every organization must do; colour is what it pays for being "
        "organized as it is. Scheduling has the scheduler's own locks and cache stalls in it. The faint top is cycles in which "
        "cores found nothing to do. A whole bar is what all cores of the organization have per KB, one core for up and four for "
        "the others: the shorter the bar of four, the more KB are sent.",
        panels,
        [(name, kind) for name, (kind, _) in CYCLES.items()],
        table_of(points, "busy cycles/KB", busy_cycles, "{:,.0f}"),
    )


def _misses(points: Points) -> Figure | None:
    def parts(organization: Organization, load: int) -> list[tuple[str, str, float]]:
        found = []
        for name, kind in _structures(points).items():
            value = estimate_of(points, organization, load, lambda r, name=name: structure_misses(r)[name])
            found.append((name, kind, value.mean if value else 0.0))
        return found

    panels = _bars(points, "misses/KB", parts)
    if not panels:
        return None
    published = ", ".join(f"{value:g} at {load:,}" for value, load in zip(MISSES_PER_KB[UP], TABULATED, strict=True))
    return Figure(
        "misses",
        "Which data misses the cache",
        "L2 data misses per KB of payload by what the data belong to. One processor misses because the records of many "
        "connections do not fit; several miss also because lines move between their caches. Published for up: "
        f"{published} connections; for the others see table 2.",
        panels,
        list(_structures(points).items()),
        table_of(points, "L2 misses/KB", lambda result: result.l2_misses_per_kb, "{:.2f}"),
    )


def _locks(points: Points) -> Figure | None:
    def waiting(result: Result) -> float:
        return result.cycles_per_kb["lock_spin"] + result.cycles_per_kb["lock_sleep"]

    locked = lines_of(points, lambda result: result.lock["global"].not_immediate_percent, (MSGP, CONNP_L))
    lines = lines_of(points, waiting)
    if not lines:
        return None
    panels = [LineChart("Waiting for any lock", "cycles/KB", lines, TABULATED).draw()]
    if locked:
        chart = LineChart("Global TCP/IP locks not free at once", "% of acquisitions", locked, TABULATED, highest=100.0)
        panels.insert(0, chart.draw())
    return Figure(
        "locks",
        "Who waits for locks",
        "Left: how often an acquisition of the connection table's lock (msgp) or of a group's lock (connp_l) had to wait, in a "
        "kernel without lock profiling; up and connp_t have no such locks. Right: cycles per KB spent spinning and going to "
        "sleep for locks of any kind but the scheduler's.",
        panels,
        legend_of(points),
        table_of(points, "waiting cycles/KB", waiting, "{:,.0f}"),
    )


def _switches(points: Points) -> Figure | None:
    charts = {
        "Context switches": ("per data segment", None, lambda result: result.context_switches_per_segment),
        "Hand-offs to an owner's thread": ("per data segment", None, lambda result: result.hand_offs_per_segment),
        "Cores busy": ("% of cycles", 100.0, lambda result: 100 * result.utilization),
    }
    panels = []
    for title, (unit, highest, statistic) in charts.items():
        if lines := lines_of(points, statistic):
            panels.append(LineChart(title, unit, lines, TABULATED, highest=highest).draw())
    if not panels:
        return None
    return Figure(
        "switches",
        "Who switches threads",
        "A thread switch costs cycles and leaves its lines in another core's cache. connp_t queues every packet and every "
        "request of an application to the thread that owns the connection, and the application sleeps for the answer.",
        panels,
        legend_of(points),
        table_of(points, "context switches/segment", lambda result: result.context_switches_per_segment, "{:.2f}"),
    )


def _bars(points: Points, unit: str, parts: Callable[[Organization, int], list[tuple[str, str, float]]]) -> list[str]:
    """Return a panel of stacked bars per organization, all to one scale."""
    stacks = {
        organization: [Bar(f"{load:,}", parts(organization, load)) for load in loads_of(points, organization)]
        for organization in ORGANIZATIONS
    }
    heights = [sum(value for _, _, value in bar.parts) for bars in stacks.values() for bar in bars]
    wanted = [f"{load:,}" for load in TABULATED]
    return [
        BarChart(organization_label(*organization), unit, bars, max(heights), wanted).draw()
        for organization, bars in stacks.items()
        if bars
    ]


def _structures(points: Points) -> dict[str, str]:
    """Return the groups of data structures with their classes."""
    names = structure_misses(next(iter(points.values())))
    return dict(zip(names, MISSES, strict=True))
