"""The figures of a report: which panels, in which order, from which statistics, and the numbers behind them as tables.

Knows results and claims, not how a page is laid out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from experiments.paper.claims import (
    CONNP_L,
    CONNP_L_GAIN_PERCENT,
    CONNP_L_MBPS,
    CONNP_T,
    CONTENTION_PERCENT,
    CONTENTION_TOLERANCE,
    MODERATE,
    MSGP,
    TABULATED,
    UP,
    UP_BEST_MBPS,
    UP_MISSES_PER_KB,
    WIRE_LIMIT_MBPS,
    Organization,
    contention,
)
from experiments.paper.verdicts import Estimate, Place, Points, Quantity, organization_label
from experiments.points.breakdown import busy_cycles, structure_misses
from experiments.present.html.charts import MARKERS, Anchor, Bar, BarChart, DotChart, DotRow, Line, LineChart
from netstack.sim import Result

ORGANIZATIONS: tuple[Organization, ...] = (UP, MSGP, CONNP_T, CONNP_L)
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
MISSES = ("structure-1", "structure-2", "structure-3", "structure-4", "structure-5", "structure-6", "structure-7")
Statistic = Callable[[Result], float]


@dataclass(frozen=True)
class Table:
    """Numbers behind a figure: a heading a column, and rows of texts."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Figure:
    """Panels with what they show and why it matters. `legend` is a name and a class for each colour."""

    identifier: str
    title: str
    caption: str
    panels: Sequence[str]
    legend: Sequence[tuple[str, str]]
    table: Table


@dataclass(frozen=True)
class Section:
    """A part of the page that another module provides: paragraphs, and figures drawn with `experiments.present.html.charts`."""

    identifier: str
    title: str
    paragraphs: Sequence[str]
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()


def kind_of(organization: Organization) -> str:
    """Return an organization's class in the style sheet."""
    return organization[0].replace("_", "-")


def loads_of(points: Points, organization: Organization) -> list[int]:
    """Return the loads that were run for an organization, rising."""
    return sorted({key.conns for key in points if (key.org, key.groups) == organization})


def estimate_of(points: Points, organization: Organization, load: int, statistic: Statistic) -> Estimate | None:
    """Return mean and interval of a statistic; None if the point was not run."""
    return Quantity("", "", (Place(*organization, load),), statistic).estimate(points)


def cell(estimate: Estimate | None, form: str) -> str:
    """Return an estimate as a table shows it, both numbers in a format such as ``{:.2f}``."""
    if estimate is None:
        return "not run"
    return f"{form.format(estimate.mean)} ± {form.format(estimate.half_width)}"


def figures(points: Points) -> list[Figure]:
    """Return the figures that the points suffice for."""
    made = [_goodput(points), _cycles(points), _misses(points), _locks(points), _switches(points), _contention(points)]
    return [figure for figure in made if figure is not None]


def _goodput(points: Points) -> Figure | None:
    lines = _lines(points, lambda result: result.goodput_mbps)
    if not lines:
        return None
    times_up = 1 + CONNP_L_GAIN_PERCENT / 100
    heaviest = estimate_of(points, UP, TABULATED[-1], lambda result: result.goodput_mbps)
    anchors = [
        Anchor(f"up {UP_BEST_MBPS:,.0f} Mb/s at 6", kind_of(UP), UP_BEST_MBPS, TABULATED[0]),
        Anchor(f"connp_l {CONNP_L_MBPS:,.0f} Mb/s at moderate loads", kind_of(CONNP_L), CONNP_L_MBPS, MODERATE[0], MODERATE[-1]),
    ]
    if heaviest is not None:
        label = f"connp_l {CONNP_L_GAIN_PERCENT:.0f} % above up at 16,384"
        anchors.append(Anchor(label, kind_of(CONNP_L), times_up * heaviest.mean, TABULATED[-1]))
    loads = {x for line in lines for x, _ in line.points}
    shown = [anchor for anchor in anchors if anchor.x in loads and (anchor.until or anchor.x) in loads]
    limit = (f"six links full: {WIRE_LIMIT_MBPS:,.0f} Mb/s", WIRE_LIMIT_MBPS)
    chart = LineChart("Goodput", "Mb/s", lines, TABULATED, shown, limit)
    return Figure(
        "goodput",
        "Who sends most",
        "Payload acknowledged per second against the number of connections. Bands are 95 % confidence intervals over seeds. "
        "Outlined diamonds and the dashed line are what was published: up at 6 connections, connp_l at moderate loads, and its "
        f"gain over one processor at 16,384 connections ({times_up:g} times the simulated up).",
        [chart.draw(1140, 480, "wide"), chart.draw(350, 330, "narrow")],
        _organizations(points),
        _table(points, "Mb/s", lambda result: result.goodput_mbps, "{:,.0f}"),
    )


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
        "organized as it is. The faint top is cycles in which cores found nothing to do. A whole bar is what all cores of the "
        "organization have per KB, one core for up and four for the others: the shorter the bar of four, the more KB are sent.",
        panels,
        [(name, kind) for name, (kind, _) in CYCLES.items()],
        _table(points, "busy cycles/KB", busy_cycles, "{:,.0f}"),
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
    published = ", ".join(f"{value:g} at {load:,}" for value, load in zip(UP_MISSES_PER_KB, TABULATED, strict=True))
    return Figure(
        "misses",
        "Which data misses the cache",
        "L2 data misses per KB of payload by what the data belong to. One processor misses because the records of many "
        "connections do not fit; several miss also because lines move between their caches. Published for up: "
        f"{published} connections.",
        panels,
        list(_structures(points).items()),
        _table(points, "L2 misses/KB", lambda result: result.l2_misses_per_kb, "{:.2f}"),
    )


def _locks(points: Points) -> Figure | None:
    def waiting(result: Result) -> float:
        return result.cycles_per_kb["lock_spin"] + result.cycles_per_kb["lock_sleep"]

    locked = _lines(points, lambda result: result.lock["global"].not_immediate_percent, (MSGP, CONNP_L))
    lines = _lines(points, waiting)
    if not lines:
        return None
    panels = [LineChart("Waiting for any lock", "cycles/KB", lines, TABULATED).draw()]
    if locked:
        chart = LineChart("Global TCP/IP locks not free at once", "% of acquisitions", locked, TABULATED, highest=100.0)
        panels.insert(0, chart.draw())
    return Figure(
        "locks",
        "Who waits for locks",
        "Left: how often an acquisition of the connection table's lock (msgp) or of a group's lock (connp_l) had to wait; up "
        "and connp_t have no such locks. Right: cycles per KB spent spinning and going to sleep for locks of any kind.",
        panels,
        _organizations(points),
        _table(points, "waiting cycles/KB", waiting, "{:,.0f}"),
    )


def _switches(points: Points) -> Figure | None:
    charts = {
        "Context switches": ("per data segment", None, lambda result: result.context_switches_per_segment),
        "Hand-offs to an owner's thread": ("per data segment", None, lambda result: result.hand_offs_per_segment),
        "Cores busy": ("% of cycles", 100.0, lambda result: 100 * result.utilization),
    }
    panels = []
    for title, (unit, highest, statistic) in charts.items():
        if lines := _lines(points, statistic):
            panels.append(LineChart(title, unit, lines, TABULATED, highest=highest).draw())
    if not panels:
        return None
    return Figure(
        "switches",
        "Who switches threads",
        "A thread switch costs cycles and leaves its lines in another core's cache. connp_t queues every packet and every "
        "request of an application to the thread that owns the connection, and the application sleeps for the answer.",
        panels,
        _organizations(points),
        _table(points, "context switches/segment", lambda result: result.context_switches_per_segment, "{:.2f}"),
    )


def _contention(points: Points) -> Figure | None:
    panels, rows = [], []
    for column, load in enumerate(TABULATED):
        compared = []
        for organization, published in CONTENTION_PERCENT.items():
            value = contention(organization, load).estimate(points)
            near = value is not None and abs(value.mean - published[column]) <= CONTENTION_TOLERANCE
            label = organization_label(*organization)
            compared.append(DotRow(label, published[column], value, near))
            rows.append((f"{load:,}", label, f"{published[column]:g}", cell(value, "{:.1f}")))
        if any(row.simulated for row in compared):
            panels.append(DotChart(f"{load:,} connections", compared).draw())
    if not panels:
        return None
    return Figure(
        "contention",
        "More groups, fewer waits: table 1",
        "How often a global TCP/IP lock was not free at once. Outlined diamonds are published, dots simulated with their 95 % "
        f"confidence intervals; a dot further than {CONTENTION_TOLERANCE:g} percentage points from its diamond is red.",
        panels,
        [("published", "published"), (f"simulated, within {CONTENTION_TOLERANCE:g} points", "near"), ("further away", "far")],
        Table(("connections", "organization", "published (%)", "simulated (%)"), rows),
    )


def _lines(points: Points, statistic: Statistic, organizations: Sequence[Organization] = ORGANIZATIONS) -> list[Line]:
    lines = []
    for organization in organizations:
        estimates = [(load, estimate_of(points, organization, load, statistic)) for load in loads_of(points, organization)]
        known = [(float(load), estimate) for load, estimate in estimates if estimate is not None]
        if known:
            shape = MARKERS[ORGANIZATIONS.index(organization)]
            lines.append(Line(organization[0], kind_of(organization), known, shape))
    return lines


def _bars(points: Points, unit: str, parts: Callable[[Organization, int], list[tuple[str, str, float]]]) -> list[str]:
    """Return a panel of stacked bars an organization, all to one scale."""
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


def _organizations(points: Points) -> list[tuple[str, str]]:
    """Return the legend of what was run."""
    return [(organization_label(*some), kind_of(some)) for some in ORGANIZATIONS if loads_of(points, some)]


def _table(points: Points, unit: str, statistic: Statistic, form: str) -> Table:
    """Return a row a load and a column an organization, with half the width of each interval."""
    shown = [organization for organization in ORGANIZATIONS if loads_of(points, organization)]
    rows = []
    for load in sorted({load for organization in shown for load in loads_of(points, organization)}):
        cells = [f"{load:,}"]
        cells += [cell(estimate_of(points, organization, load, statistic), form) for organization in shown]
        rows.append(cells)
    return Table(("connections", *(f"{organization_label(*some)} ({unit})" for some in shown)), rows)
