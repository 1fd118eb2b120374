"""Statistics of organizations over loads, as a page shows them: lines, a legend, tables with intervals.

Knows points and the style sheet's classes, not which statistics matter.
"""

from collections.abc import Callable, Sequence

from experiments.paper.grid import ORGANIZATIONS, Organization
from experiments.paper.verdicts import Estimate, Place, Points, Quantity, organization_label
from experiments.present.html.charts import MARKERS, Line
from experiments.present.html.parts import Table
from netstack.sim import Result

Statistic = Callable[[Result], float]


def kind_of(organization: Organization) -> str:
    """Return an organization's class in the style sheet."""
    return organization[0].replace("_", "-")


def loads_of(points: Points, organization: Organization) -> list[int]:
    """Return the loads that were run for an organization without lock profiling, rising."""
    return sorted({key.conns for key in points if (key.org, key.groups) == organization and not key.profiled})


def estimate_of(points: Points, organization: Organization, load: int, statistic: Statistic) -> Estimate | None:
    """Return mean and interval of a statistic; None if the point was not run without lock profiling."""
    return Quantity("", "", (Place(*organization, load),), statistic).estimate(points)


def cell(estimate: Estimate | None, form: str) -> str:
    """Return an estimate as a table shows it, both numbers in a format such as ``{:.2f}``."""
    if estimate is None:
        return "not run"
    return f"{form.format(estimate.mean)} ± {form.format(estimate.half_width)}"


def lines_of(points: Points, statistic: Statistic, organizations: Sequence[Organization] = ORGANIZATIONS) -> list[Line]:
    """Return a line per organization that was run."""
    lines = []
    for organization in organizations:
        estimates = [(load, estimate_of(points, organization, load, statistic)) for load in loads_of(points, organization)]
        known = [(float(load), estimate) for load, estimate in estimates if estimate is not None]
        if known:
            shape = MARKERS[ORGANIZATIONS.index(organization)]
            lines.append(Line(organization[0], kind_of(organization), known, shape))
    return lines


def legend_of(points: Points) -> list[tuple[str, str]]:
    """Return the legend of what was run."""
    return [(organization_label(*some), kind_of(some)) for some in ORGANIZATIONS if loads_of(points, some)]


def table_of(points: Points, unit: str, statistic: Statistic, form: str) -> Table:
    """Return a row per load and a column per organization, with half the width of each interval."""
    shown = [organization for organization in ORGANIZATIONS if loads_of(points, organization)]
    rows = []
    for load in sorted({load for organization in shown for load in loads_of(points, organization)}):
        cells = [f"{load:,}"]
        cells += [cell(estimate_of(points, organization, load, statistic), form) for organization in shown]
        rows.append(cells)
    return Table(("connections", *(f"{organization_label(*some)} ({unit})" for some in shown)), rows)
