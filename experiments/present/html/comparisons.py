"""The figures of a page that show published numbers beside simulated ones: goodput, and table 1.

Knows what was published, not how a page is laid out.
"""

from experiments.paper.claims import CONTENTION_TOLERANCE
from experiments.paper.grid import CONNP_L, MODERATE, MSGP, TABULATED, UP
from experiments.paper.published import (
    CONNP_L_GAIN_PERCENT,
    CONNP_L_MBPS,
    CONTENTION_PERCENT,
    MSGP_GAIN_PERCENT,
    UP_BEST_MBPS,
    WIRE_LIMIT_MBPS,
)
from experiments.paper.quantities import contention
from experiments.paper.verdicts import Points, organization_label
from experiments.present.html.charts import Anchor, DotChart, DotRow, LineChart
from experiments.present.html.organizations import cell, estimate_of, kind_of, legend_of, lines_of, table_of
from experiments.present.html.parts import Figure, Table

LOCK_PROFILING = (
    "Published and simulated is a kernel with lock profiling: each mutex reads the timecounter twice while it is held, and "
    "updates a kernel-wide table under one spin lock before it is released."
)


def goodput_figure(points: Points) -> Figure | None:
    """Return goodput over loads, with what was published of it; None if nothing was run."""
    lines = lines_of(points, lambda result: result.goodput_mbps)
    if not lines:
        return None
    heaviest = estimate_of(points, UP, TABULATED[-1], lambda result: result.goodput_mbps)
    anchors = [
        Anchor(f"up {UP_BEST_MBPS:,.0f} Mb/s at 6", kind_of(UP), UP_BEST_MBPS, TABULATED[0]),
        Anchor(f"connp_l {CONNP_L_MBPS:,.0f} Mb/s at moderate loads", kind_of(CONNP_L), CONNP_L_MBPS, MODERATE[0], MODERATE[-1]),
    ]
    if heaviest is not None:
        for organization, gain in ((MSGP, MSGP_GAIN_PERCENT), (CONNP_L, CONNP_L_GAIN_PERCENT)):
            label = f"{organization[0]} {gain:.0f} % above up at 16,384"
            anchors.append(Anchor(label, kind_of(organization), (1 + gain / 100) * heaviest.mean, TABULATED[-1]))
    loads = {x for line in lines for x, _ in line.points}
    shown = [anchor for anchor in anchors if anchor.x in loads and (anchor.until or anchor.x) in loads]
    limit = (f"six links full: {WIRE_LIMIT_MBPS:,.0f} Mb/s", WIRE_LIMIT_MBPS)
    chart = LineChart("Goodput", "Mb/s", lines, TABULATED, shown, limit)
    return Figure(
        "goodput",
        "Who sends most",
        "Payload acknowledged per second against the number of connections. Bands are 95 % confidence intervals over seeds. "
        "Outlined diamonds and the dashed line are what was published: up at 6 connections, connp_l at moderate loads, and the "
        "gains of msgp and connp_l over one processor at 16,384 connections, from the simulated up.",
        [chart.draw(1140, 480, "wide"), chart.draw(350, 330, "narrow")],
        legend_of(points),
        table_of(points, "Mb/s", lambda result: result.goodput_mbps, "{:,.0f}"),
    )


def contention_figure(points: Points) -> Figure | None:
    """Return the cells of table 1, published and simulated; None if none was run."""
    panels, rows = [], []
    for column, load in enumerate(TABULATED):
        compared = []
        for organization, published in CONTENTION_PERCENT.items():
            value = contention(organization, load).estimate(points)
            near = value is not None and abs(value.mean - published[column]) <= CONTENTION_TOLERANCE
            label = organization_label(*organization)
            beside = contention(organization, load, profiled=False).estimate(points)
            compared.append(DotRow(label, published[column], value, near, beside))
            rows.append((f"{load:,}", label, f"{published[column]:g}", cell(value, "{:.1f}"), cell(beside, "{:.1f}")))
        if any(row.simulated for row in compared):
            panels.append(DotChart(f"{load:,} connections", compared, "without lock profiling").draw())
    if not panels:
        return None
    return Figure(
        "contention",
        "More groups, fewer waits: table 1",
        "How often a global TCP/IP lock was not free at once. Outlined diamonds are published, dots simulated with their 95 % "
        f"confidence intervals; a dot further than {CONTENTION_TOLERANCE:g} percentage points from its diamond is red. "
        f"{LOCK_PROFILING} Rings are the simulated kernel without it, from which all other figures come.",
        panels,
        [
            ("published", "published"),
            (f"simulated, within {CONTENTION_TOLERANCE:g} points", "near"),
            ("further away", "far"),
            ("without lock profiling", "beside"),
        ],
        Table(("connections", "organization", "published (%)", "simulated (%)", "without lock profiling (%)"), rows),
    )
