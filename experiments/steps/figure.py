"""What each step changes, drawn: a panel per quantity, a row per step, a mark per load. As SVG and as PNG.

Knows steps and quantities, not where their values come from.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.config.values import number
from experiments.present.html.svg import Canvas, Scale, round_ticks
from experiments.steps.pairs import Step
from experiments.steps.quantities import Quantity

COLORS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b")
MARKERS = "osD^v"
KINDS, SHAPES = ("series-10", "series-3", "series-7", "series-11", "series-2"), ("circle", "square", "diamond", "triangle")
COLUMNS, WIDTH, ROW, DPI = 4, 12.8, 0.36, 100  # inches, of a page that is 1,280 pixels wide
LEAST_CHANGE = 1e-6  # which is not one of rounding
PANEL, STEP, TOP, BOTTOM, MARGIN = 350, 34, 26, 24, 14  # pixels


def rows_of(steps: Sequence[Step]) -> list[tuple[str, str]]:
    """Return the rows of a panel: each variant and its neighbour, in the order of the experiment."""
    return list(dict.fromkeys((step.variant, step.beside) for step in steps))


def loads_of(steps: Sequence[Step]) -> list[str]:
    """Return the loads, in the order of the experiment."""
    return list(dict.fromkeys(step.load for step in steps))


def legend(steps: Sequence[Step]) -> list[tuple[str, str]]:
    """Return the class of the style sheet of each load."""
    return [(load, KINDS[index % len(KINDS)]) for index, load in enumerate(loads_of(steps))]


def signed(value: float, quantity: Quantity) -> str:
    """Return a change with its sign: a percentage with one digit, a difference with three that count."""
    text = f"{value:+.1f}" if quantity.relative else f"{value:+.3g}"
    return "0" if float(text) == 0 else text.replace("-", "−")


def panel(steps: Sequence[Step], quantity: Quantity) -> str:
    """Return the panel of a quantity as SVG. A whisker is the 95 % confidence interval of a change."""
    rows, loads = rows_of(steps), loads_of(steps)
    height = TOP + STEP * len(rows) + BOTTOM
    canvas = Canvas(PANEL, height, f"what each step changes of {quantity.label}")
    canvas.text(0, 13, _title(quantity), "title")
    ticks = _ticks(steps, quantity)
    x = Scale(ticks[0], ticks[-1], MARGIN, PANEL - MARGIN)
    for tick in ticks:
        canvas.line([(x(tick), TOP), (x(tick), height - BOTTOM)], "base" if tick == 0 else "grid")
        canvas.text(x(tick), height - 8, _tick(tick), anchor="middle")
    for index, (variant, _) in enumerate(rows):
        canvas.text(0, TOP + STEP * index + 13, variant, "value")
    for step in steps:
        found, place = step.change(quantity), loads.index(step.load)
        if found.change is None:
            continue
        y = TOP + STEP * rows.index((step.variant, step.beside)) + 20 + 8 * place / max(1, len(loads) - 1)
        half = found.half_width or 0.0
        if half > 0:
            canvas.line([(x(found.change - half), y), (x(found.change + half), y)], "whisker")
        title = f"{step.variant}, {step.load}: {signed(found.change, quantity)} {quantity.change_unit}".rstrip()
        canvas.mark(x(found.change), y, SHAPES[place % len(SHAPES)], f"mark {KINDS[place % len(KINDS)]}", title)
    return canvas.render()


def steps_figure(steps: Sequence[Step], quantities: Sequence[Quantity]) -> Figure:
    """Draw a panel per quantity, and the names of variants and neighbours at the left of each line of panels."""
    rows, loads = rows_of(steps), loads_of(steps)
    lines = -(-len(quantities) // COLUMNS)
    size = (WIDTH, lines * (0.9 + ROW * max(3, len(rows))) + 0.5)
    figure, axes = plt.subplots(lines, COLUMNS, figsize=size, sharey=True, squeeze=False, layout="constrained")
    for place, axis in enumerate(axes.flat):
        if place >= len(quantities):
            axis.set_visible(False)
            continue
        quantity = quantities[place]
        for row in range(0, len(rows), 2):
            axis.axhspan(row - 0.5, row + 0.5, color="#f4f4f4", zorder=0)
        axis.axvline(0, color="#333333", linewidth=0.8, zorder=1)
        for index, load in enumerate(loads):
            offset = 0.36 * (index - (len(loads) - 1) / 2) / max(1, len(loads) - 1)
            own = [(step, step.change(quantity)) for step in steps if step.load == load]
            drawn = [(rows.index((step.variant, step.beside)) + offset, found) for step, found in own if found.change is not None]
            axis.errorbar(
                [found.change for _, found in drawn],
                [row for row, _ in drawn],
                xerr=[found.half_width or 0.0 for _, found in drawn],
                color=COLORS[index % len(COLORS)],
                marker=MARKERS[index % len(MARKERS)],
                markersize=5,
                linestyle="none",
                elinewidth=1,
                label=load,
            )
        axis.set_title(_title(quantity), loc="left", fontsize=9.5)
        axis.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        axis.xaxis.set_major_formatter(lambda value, _: _tick(value))
        axis.tick_params("x", labelsize=8)
        axis.tick_params("y", length=0)
        axis.grid(axis="x", alpha=0.25)
        axis.spines[["top", "right", "left"]].set_visible(False)
    for line in axes:
        line[0].set_yticks(range(len(rows)), [f"{variant}\nbeside: {beside}" for variant, beside in rows], fontsize=8)
    axes[0][0].set_ylim(len(rows) - 0.5, -0.5)
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, names, frameon=False, loc="outside upper left", ncols=len(names), alignment="left")
    return figure


def write_figure(path: Path, steps: Sequence[Step], quantities: Sequence[Quantity]) -> None:
    """Draw the figure as PNG."""
    figure = steps_figure(steps, quantities)
    figure.savefig(path, dpi=DPI)
    plt.close(figure)


def _title(quantity: Quantity) -> str:
    return f"{quantity.label}, {quantity.change_unit}" if quantity.change_unit else quantity.label


def _tick(value: float) -> str:
    text = number(round(value, 9) + 0.0)
    return text.replace("-", "−") if value < 0 else text if value == 0 else f"+{text}"


def _ticks(steps: Sequence[Step], quantity: Quantity) -> list[float]:
    """Return round ticks, among them 0, around all changes with their intervals."""
    ends = [0.0]
    for step in steps:
        found = step.change(quantity)
        if found.change is not None:
            ends += [found.change - (found.half_width or 0.0), found.change + (found.half_width or 0.0)]
    if max(ends) - min(ends) < LEAST_CHANGE:
        return [-1.0, 0.0, 1.0]
    tick = round_ticks(max(ends) - min(ends), 4)[1]
    return [tick * place for place in range(-_steps(-min(ends), tick), _steps(max(ends), tick) + 1)]


def _steps(length: float, tick: float) -> int:
    return -int(-(length / tick + 1e-9) // 1) if length > 0 else 0
