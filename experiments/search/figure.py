"""The figure of a search: all compositions by rank, what each choice does, which choices depend on each other, and the front."""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from experiments.config.values import number
from experiments.points.statistics import GREATER_IS_BETTER, unit
from experiments.search.effects import Effect
from experiments.search.findings import Findings

FOUND, KNOWN, BETTER, WORSE, MUTED = "#1f77b4", "#d95f02", "#2a9d5c", "#b5384b", "#666666"
WIDTH, DPI = 12.8, 100  # inches, of a page that is 1,280 pixels wide
ROW = 0.24  # inches per value of a choice
LETTER, LINE = 7.2, 12.0  # pixels of a name's letter, and of its height


def draw_search(path: Path, findings: Findings) -> None:
    """Draw the figure into a file."""
    values = len(findings.effects)
    figure = plt.figure(dpi=DPI, figsize=(WIDTH, 10 + ROW * max(0, values - 16)), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(4.4, 4.8 + ROW * max(0, values - 16)))
    _ranking(figure.add_subplot(grid[0, 0]), findings)
    _front(figure.add_subplot(grid[0, 1]), findings)
    _effects(figure.add_subplot(grid[1, 0]), findings)
    _pairs(figure.add_subplot(grid[1, 1]), findings)
    figure.savefig(path, dpi=DPI)
    plt.close(figure)


def _ranking(axes: Axes, findings: Findings) -> None:
    first = findings.objectives[0]
    means = np.array([each.mean(first) for each in findings.ranking])
    widths = np.array([each.half_width(first) for each in findings.ranking])
    ranks = np.arange(1, len(means) + 1)
    axes.fill_between(ranks, means - widths, means + widths, color=FOUND, alpha=0.3, linewidth=0)
    axes.plot(ranks, means, color=FOUND, linewidth=1.5)
    published = [place for place, each in enumerate(findings.ranking) if each.published]
    axes.plot(ranks[published], means[published], "o", color=KNOWN, markersize=5)
    _names(axes, findings, [(float(ranks[place]), float(means[place]), place) for place in published])
    axes.set_xlabel("rank")
    axes.set_ylabel(_labelled(first))
    _title(axes, "All organizations that were run, the best first", "dots: published ones; band: 95 % confidence")


def _front(axes: Axes, findings: Findings) -> None:
    first, second = findings.objectives
    x = np.array([each.mean(first) for each in findings.ranking])
    y = np.array([each.mean(second) for each in findings.ranking])
    axes.plot(x, y, ".", color=FOUND, alpha=0.35, markersize=5)
    axes.plot(x[findings.front], y[findings.front], "-", color=MUTED, linewidth=1.2, drawstyle="default")
    axes.plot(x[findings.front], y[findings.front], "D", color=MUTED, markersize=5)
    published = [place for place, each in enumerate(findings.ranking) if each.published]
    axes.plot(x[published], y[published], "o", color=KNOWN, markersize=5)
    _names(axes, findings, [(float(x[place]), float(y[place]), place) for place in published])
    axes.set_xlabel(_labelled(first))
    axes.set_ylabel(_labelled(second))
    _title(axes, "Two objectives", "diamonds: no other one is better in both")


def _effects(axes: Axes, findings: Findings) -> None:
    effects = [effect for choice in _by_span(findings) for effect in findings.effects if effect.choice == choice]
    for row, effect in enumerate(effects):
        better = (effect.mean > 0) == (findings.objectives[0] in GREATER_IS_BETTER)
        axes.plot([effect.least, effect.most], [row, row], color="#cccccc", linewidth=3, solid_capstyle="round", zorder=1)
        axes.plot([effect.mean], [row], "o", color=BETTER if better else WORSE, markersize=6, zorder=2)
    axes.axvline(0, color=MUTED, linewidth=0.8, zorder=0)
    axes.set_yticks(range(len(effects)), [_label(effect) for effect in effects], fontsize=8)
    axes.set_ylim(len(effects) - 0.5, -0.5)
    axes.set_xlabel(f"change of {_labelled(findings.objectives[0])}")
    _title(
        axes,
        "What a value does in place of the others, all else equal",
        "dot: mean; bar: least to most; +: others change with it",
    )


def _pairs(axes: Axes, findings: Findings) -> None:
    choices = [choice for choice in _by_span(findings) if any(choice in pair for pair in findings.pairs)]
    size = len(choices)
    amounts = np.full((size, size), np.nan)
    for (one, other), amount in findings.pairs.items():
        low, high = sorted((choices.index(one), choices.index(other)))
        amounts[high, low] = amount
    if size:
        image = axes.imshow(amounts, cmap="YlOrRd", vmin=0)
        axes.figure.colorbar(image, ax=axes, shrink=0.7, label=_labelled(findings.objectives[0]))
        middle = np.nanmax(amounts) / 2
        for row, column in zip(*np.nonzero(~np.isnan(amounts)), strict=True):
            amount = amounts[row, column]
            color = "white" if amount > middle else "black"
            text = f"{amount:,.0f}" if amount >= 100 else f"{amount:,.3g}"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=color)
    axes.set_xticks(range(size), choices, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(size), choices, fontsize=8)
    _title(axes, "How much one choice's effect depends on another", "0: they add up; empty: combinations are refused")


def _by_span(findings: Findings) -> list[str]:
    """Return the choices, those first whose values differ most."""
    spans: dict[str, float] = {}
    for effect in findings.effects:
        spans[effect.choice] = max(spans.get(effect.choice, 0.0), abs(effect.mean))
    return sorted(spans, key=lambda choice: -spans[choice])


def _names(axes: Axes, findings: Findings, places: list[tuple[float, float, int]]) -> None:
    """Write the names of published organizations near their dots, each at the nearest place that is free."""
    axes.margins(x=0.05, y=0.08)
    axes.figure.canvas.draw()  # which fixes where dots are
    taken = [(*axes.transData.transform((x, y)), 0.0, 0.0) for x, y, _ in places]
    frame = axes.get_window_extent()
    for x, y, place in places:
        name = findings.ranking[place].name
        left, low = axes.transData.transform((x, y))
        width, height = LETTER * len(name), LINE
        spots = [(left + right, low + up, width, height) for right, up in _offsets(width)]
        inside = [
            spot for spot in spots if frame.x0 <= spot[0] and spot[0] + width <= frame.x1 and frame.y0 <= spot[1] <= frame.y1
        ]
        spot = next((each for each in inside if not any(_overlap(each, other) for other in taken)), spots[0])
        taken.append(spot)
        offset = ((spot[0] - left) * 72 / DPI, (spot[1] - low) * 72 / DPI)
        arrow = {"arrowstyle": "-", "color": KNOWN, "linewidth": 0.5, "shrinkB": 2}
        axes.annotate(name, (x, y), offset, textcoords="offset points", fontsize=8, color=KNOWN, arrowprops=arrow)


def _offsets(width: float) -> list[tuple[float, float]]:
    """Return where a name may begin beside its dot, in pixels, the nearest places first."""
    steps = [-8 * LINE + LINE * step / 2 for step in range(33)]
    found = [(right, up) for right in (8.0, -width - 8, 40.0, -width - 40, -width / 2) for up in steps]
    return sorted(found, key=lambda each: abs(each[1]) + abs(each[0] + (width if each[0] < 0 else 0)) / 2)


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Return whether two rectangles (left, low, width, height) meet."""
    beside = one[0] + one[2] < other[0] or other[0] + other[2] < one[0]
    return not beside and one[1] < other[1] + other[3] + 2 and other[1] < one[1] + one[3] + 2


def _label(effect: Effect) -> str:
    return f"{effect.choice}={number(effect.value)}" + (" +" if effect.needs else "")


def _labelled(name: str) -> str:
    return f"{name} ({unit(name)})" if unit(name) else name


def _title(axes: Axes, text: str, remark: str) -> None:
    axes.set_title(text, loc="left", fontsize=11, pad=20)
    axes.text(0, 1.02, remark, transform=axes.transAxes, fontsize=8.5, color=MUTED)
    axes.spines[["top", "right"]].set_visible(False)
