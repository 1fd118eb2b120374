"""The line charts of a published experiment: simulated lines, and marks where values are given or published.

Knows rows of figures and how charts are drawn, not what is fitted or scored.
"""

from collections.abc import Sequence

from experiments.present.html.charts import MARKERS, Anchor, Line, LineChart, series_classes
from experiments.published.figures import MOST, Published, positions
from experiments.published.score import Row


def panels(published: Published, name: str, variants: Sequence[str], own: Sequence[Row]) -> list[str]:
    """Return a statistic's chart, wide with the lines' names, and narrow; none if nothing of it is finished."""
    position = positions([row.x for row in own])
    kinds = series_classes(variants)
    lines = []
    for index, variant in enumerate(variants):
        points = [(position[row.x], row.simulated) for row in own if row.variant == variant and row.simulated is not None]
        if points:
            lines.append(Line(variant, kinds[variant], points, MARKERS[index % len(MARKERS)]))
    if not lines:
        return []
    anchors = [
        Anchor(row.variant, kinds[row.variant], row.given.value, position[row.x], what="given")
        for row in own
        if row.given is not None
    ]
    anchors += [
        Anchor(row.variant, kinds[row.variant], row.published, position[row.x], shape="square")
        for row in own
        if row.published is not None and row.given is None
    ]
    statistic = published.statistics[name]
    least = min([anchor.y for anchor in anchors] + [estimate.mean for line in lines for _, estimate in line.points])
    chart = LineChart(
        statistic.label,
        "" if statistic.unit == "1" else statistic.unit,
        lines,
        wanted=[position[row.x] for row in own if row.x == MOST][:1],
        anchors=anchors,
        axis=published.axis.label,
        linear=True,
        decades=statistic.logarithmic and least > 0,
        names={position[row.x]: MOST for row in own if row.x == MOST},
    )
    return [chart.draw(1100, 420, "wide"), chart.draw(350, 300, "narrow")]


def legend(variants: Sequence[str], own: Sequence[Row]) -> list[tuple[str, str]]:
    """Return what colours and marks mean."""
    kinds = series_classes(variants)
    named = [(variant, kinds[variant]) for variant in variants]
    if any(row.given is not None for row in own):
        named.append(("given", "published"))
    if any(row.published is not None and row.given is None for row in own):
        named.append(("published", "target"))
    return named
