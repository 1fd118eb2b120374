"""The publication's tables of waits and of misses, beside what was simulated.

Knows what was published, not how a page is laid out.
"""

from experiments.paper.grid import ORGANIZATIONS, TABULATED
from experiments.paper.published import CONTENTION_PERCENT, MISSES_PER_KB
from experiments.paper.quantities import contention, misses
from experiments.paper.verdicts import Points, organization_label
from experiments.present.html.comparisons import LOCK_PROFILING
from experiments.present.html.organizations import cell, estimate_of
from experiments.present.html.parts import Table


def contention_table(points: Points) -> Table:
    """Return table 1, and the simulated kernel without lock profiling where it was run."""
    rows = []
    for organization, published in CONTENTION_PERCENT.items():
        for load, value in zip(TABULATED, published, strict=True):
            profiled = contention(organization, load).estimate(points)
            measured = contention(organization, load, profiled=False).estimate(points)
            shown = cell(measured, "{:.0f}") if measured else "-"
            rows.append((organization_label(*organization), f"{load:,}", f"{value:g}", cell(profiled, "{:.0f}"), shown))
    return Table(
        ("organization", "connections", "published", "simulated", "without lock profiling"),
        rows,
        "Table 1: acquisitions of global TCP/IP locks that did not succeed at once (%)",
        LOCK_PROFILING,
    )


def misses_table(points: Points) -> Table:
    """Return table 2, with misses counted in both ways that the publication may mean."""
    rows = []
    for organization in ORGANIZATIONS:
        for load, value in zip(TABULATED, MISSES_PER_KB[organization], strict=True):
            fills = misses(organization, load).estimate(points)
            both = estimate_of(points, organization, load, lambda result: result.l2_misses_per_kb + result.upgrades_per_kb)
            label = organization_label(*organization)
            rows.append((label, f"{load:,}", f"{value:g}", cell(fills, "{:.2f}"), cell(both, "{:.2f}")))
    return Table(
        ("organization", "connections", "published", "simulated fills", "fills and upgrades"),
        rows,
        "Table 2: L2 data misses per KB of payload",
        "Whether the event that was counted, data cache fills that miss the L2, includes stores to lines that are held shared "
        "could not be settled: such an upgrade gets the right to write and no data. The verdicts use fills.",
    )
