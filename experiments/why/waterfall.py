"""Waterfalls: from a point as it is, by the share of each mechanism, to the point with all of them free. As SVG and as PNG.

Knows cases, not where their values come from.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from experiments.present.html.svg import Canvas, Scale, round_ticks
from experiments.why.cases import Case
from experiments.why.findings import amount

KINDS = {
    "locks": "lock-2",
    "coherence": "stalls",
    "capacity": "structure-2",
    "scheduling": "sched",
    "interrupts": "structure-4",
    "atomics": "lock-1",
    "copies": "work-2",
}
"""The class of the style sheet of each mechanism."""
COLORS = {
    "locks": "#dc2f3c",
    "coherence": "#f08c00",
    "capacity": "#4fa3e3",
    "scheduling": "#7c3aed",
    "interrupts": "#9ccc65",
    "atomics": "#7a0c17",
    "copies": "#96a1ad",
}
ENDS = "up"
END_COLOR = "#4b5563"
AS_IT_IS, ALL_FREE = "as it is", "all free"
WIDTH, ROW, TOP, BOTTOM, LEFT, RIGHT = 350, 22, 30, 26, 78, 58  # pixels
INCHES, INCHES_PER_CASE, DPI = 4.2, 2.6, 100


def rows_of(case: Case) -> list[tuple[str, float, float]]:
    """Return the bars of a waterfall from top to bottom: name, where it begins and where it ends."""
    rows = [(AS_IT_IS, 0.0, case.base)]
    for name, share in case.shares().items():
        rows.append((name, rows[-1][2], rows[-1][2] + share))
    return [*rows, (ALL_FREE, 0.0, case.base + case.whole)]


def waterfall(case: Case) -> str:
    """Return the waterfall of a case as SVG. A whisker is the 95 % confidence interval of a share."""
    rows = rows_of(case)
    sign = -1 if case.objective.less else 1
    ticks = round_ticks(max(sign * value for _, *values in rows for value in values), 4)
    height = TOP + ROW * len(rows) + BOTTOM
    canvas = Canvas(WIDTH, height, f"what mechanisms cost {case.label}")
    canvas.text(0, 14, case.label, "title")
    x = Scale(0.0, ticks[-1], LEFT, WIDTH - RIGHT)
    for tick in ticks:
        canvas.line([(x(tick), TOP), (x(tick), height - BOTTOM)], "grid")
        canvas.text(x(tick), height - 10, f"{tick:,.10g}", anchor="middle")
    if case.limit is not None and case.limit <= ticks[-1]:
        canvas.line([(x(case.limit), TOP - 6), (x(case.limit), height - BOTTOM)], "limit", "full links")
    for index, (name, begin, end) in enumerate(rows):
        begin, end = sign * begin, sign * end
        y = TOP + ROW * index
        is_end = name in (AS_IT_IS, ALL_FREE)
        text = amount(end if is_end else rows[index][2] - rows[index][1], case.objective, unit=False)
        canvas.text(LEFT - 8, y + 15, name, anchor="end")
        kind = ENDS if is_end else KINDS[name]
        left, right = sorted((x(begin), x(end)))
        canvas.box(left, y + 4, max(1.0, right - left), ROW - 8, f"bar {kind}", f"{name}: {text} {case.objective.unit}")
        width = 0.0 if is_end else case.half_width(name)
        if width > 0:
            canvas.line([(x(end - width), y + ROW / 2), (x(end + width), y + ROW / 2)], "whisker")
        shown = text if is_end else f"{'−' if rows[index][2] < rows[index][1] else '+'}{text.removeprefix('−')}"
        canvas.text(max(right, x(end + width)) + 5, y + 15, shown, "value")
    return canvas.render()


def write_figure(path: Path, cases: Sequence[Case]) -> None:
    """Draw the waterfalls of all cases, a row per series."""
    series = list(dict.fromkeys(case.series for case in cases))
    of_series = [[case for case in cases if case.series == name] for name in series]
    columns, rows = max(map(len, of_series)), len(series)
    size = (INCHES * columns, INCHES_PER_CASE * rows + 0.3)
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for row, some in zip(axes, of_series, strict=True):
        for panel in row[len(some) :]:
            panel.set_visible(False)
        for panel, case in zip(row, some, strict=False):
            _draw(panel, case)
    figure.savefig(path, dpi=DPI)
    plt.close(figure)


def _draw(panel: Axes, case: Case) -> None:
    rows = rows_of(case)
    sign = -1 if case.objective.less else 1
    most = max(abs(value) for _, *values in rows for value in values)
    for index, (name, begin, end) in enumerate(rows):
        is_end = name in (AS_IT_IS, ALL_FREE)
        width = 0.0 if is_end else case.half_width(name)
        color = END_COLOR if is_end else COLORS[name]
        panel.barh(index, sign * (end - begin), 0.66, left=sign * begin, color=color, xerr=width or None)
        text = amount(sign * end if is_end else end - begin, case.objective, unit=False)
        text = text if is_end else ("−" if end < begin else "+") + text.removeprefix("−")
        place = max(sign * begin, sign * end) + width + 0.015 * most
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
        panel.text(place, index, text, va="center", fontsize=8, color="#59636e", bbox=box)
    if case.limit is not None:
        panel.axvline(case.limit, color="#59636e", linewidth=1, linestyle=":", zorder=0)
    panel.set_yticks(range(len(rows)), [name for name, _, _ in rows], fontsize=8)
    panel.set_ylim(len(rows) - 0.4, -0.6)
    panel.set_xlim(0, 1.16 * most)
    panel.tick_params("x", labelsize=8)
    panel.tick_params("y", length=0)
    panel.set_title(case.label, loc="left", fontsize=10, fontweight="bold")
    unit = f" ({case.objective.unit})" if case.objective.unit else ""
    panel.set_xlabel(f"{case.objective.label}{unit}", fontsize=8)
    panel.grid(axis="x", alpha=0.25)
    panel.set_axisbelow(True)
    panel.spines[["top", "right", "left"]].set_visible(False)
