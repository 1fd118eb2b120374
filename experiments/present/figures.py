"""Figures of a sweep as PNG: goodput, what a KB costs, and the misses and lock waits behind it.

Knows outcomes only. Drawn without a display.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from experiments.config.values import number
from experiments.points.breakdown import busy_cycles
from experiments.points.names import AXIS
from experiments.points.point import Outcome
from experiments.points.seeds import Repetitions, repetitions
from netstack.sim import Result, link_limit_mbps

CATEGORY_COLORS = {
    "protocol": "#1f77b4",
    "application": "#17becf",
    "copy": "#9edae5",
    "driver": "#2ca02c",
    "interrupt": "#98df8a",
    "scheduling": "#9467bd",
    "lock_atomic": "#8b0000",
    "lock_spin": "#d62728",
    "lock_sleep": "#ff9896",
    "cache_stall": "#ff7f0e",
    "idle": "#e8e8e8",
}
OTHER_COLOR = "#7f7f7f"
LINE_COLORS = ("#4c4c4c", "#9467bd", "#d62728", "#1f77b4", "#2ca02c", "#ff7f0e", "#17becf", "#8c564b")
MARKERS = "osD^vP*X"
LINE_STYLES = ("-", "--", ":", "-.")
AXIS_LABELS = {AXIS: "connections", "machine.cores": "cores", "org.groups": "connection groups"}
WIDEST = 30  # inches
BAR_WIDTH = 0.85  # of the distance between two
NUMBERED_BARS = 40  # more bars are too narrow for figures on top
LABELED_TICKS = 16  # of a line's values; more would overlap
DPI = 130


def draw_figures(folder: Path, outcomes: Sequence[Outcome]) -> list[Path]:
    """Draw the figures of the finished points into `folder`; return their files.

    Lock profiling changes everything that it measures: of a kernel with it, only the waits for locks are drawn.
    """
    repeated = repetitions(outcomes)
    measured = [each for each in repeated if not each.point.config.costs.lock_profiling]
    files = []
    for name, (draw, drawn) in {
        "goodput": (_goodput, measured),
        "cycles_per_kb": (_cycles, measured),
        "misses_and_lock_waits": (_misses_and_lock_waits, repeated),
    }.items():
        if not drawn:
            continue
        figure = draw(drawn)
        files.append(folder / f"{name}.png")
        figure.savefig(files[-1], dpi=DPI)
        plt.close(figure)
    return files


def _goodput(repeated: list[Repetitions]) -> Figure:
    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    _lines(axes, repeated, lambda result: result.goodput_mbps)
    limits = {link_limit_mbps(each.point.config) for each in repeated}
    highest = max(each.mean(lambda result: result.goodput_mbps) for each in repeated)
    for limit in limits:
        if limit < 2 * highest:
            axes.axhline(limit, color="#999999", linestyle=":", linewidth=1.2, zorder=0)
            position = {"xycoords": ("axes fraction", "data"), "xytext": (0, 3), "textcoords": "offset points"}
            axes.annotate(f"links full: {limit:,.0f} Mb/s", (0.01, limit), color="#666666", **position)
            highest = max(highest, limit)
    axes.set_ylim(0, highest * 1.12)
    axes.set_ylabel("goodput (Mb/s)")
    _title(axes, repeated, "Payload acknowledged per second")
    figure.legend(title="organization", frameon=False, loc="outside right upper")
    return figure


def _misses_and_lock_waits(repeated: list[Repetitions]) -> Figure:
    figure, (misses, waits) = plt.subplots(1, 2, figsize=(13, 5), layout="constrained")
    measured = [each for each in repeated if not each.point.config.costs.lock_profiling]
    _lines(misses, repeated, lambda result: result.l2_misses_per_kb, measured)
    misses.set_ylim(bottom=0)
    misses.set_ylabel("L2 data misses per KB of payload")
    _title(misses, repeated, "Cache misses")
    locked = [each for each in repeated if all("global" in result.lock for result in each.results)]
    _lines(waits, repeated, lambda result: result.lock["global"].not_immediate_percent, locked)
    waits.set_ylim(0, 100)
    waits.set_ylabel("acquisitions that had to wait (%)")
    _title(waits, repeated, "Waits for global TCP/IP locks, where there are any")
    named: dict[str, Artist] = {}
    for panel in (misses, waits):
        named |= {name: handle for handle, name in zip(*panel.get_legend_handles_labels(), strict=True) if name not in named}
    figure.legend(list(named.values()), list(named), title="organization", frameon=False, loc="outside right upper")
    return figure


def _lines(
    axes: Axes, repeated: list[Repetitions], statistic: Callable[[Result], float], drawn: list[Repetitions] | None = None
) -> None:
    """Draw a line per series over the x axis, of points in `drawn` if given. Later lines are thinner, so that equal ones show."""
    series: dict[str, list[Repetitions]] = {}
    for each in repeated:
        series.setdefault(each.point.name.series, []).append(each)
    for index, (name, line) in enumerate(series.items()):
        line = [each for each in line if drawn is None or each in drawn]
        if not line:
            continue
        axes.errorbar(
            [each.point.name.x for each in line],
            [each.mean(statistic) for each in line],
            yerr=[each.half_width(statistic) for each in line] if any(len(each.results) > 1 for each in line) else None,
            color=LINE_COLORS[index % len(LINE_COLORS)],
            marker=MARKERS[index % len(MARKERS)],
            linestyle=LINE_STYLES[index // len(LINE_COLORS) % len(LINE_STYLES)],
            linewidth=1 + 2.5 * (1 - index / len(series)),
            markersize=5 + 3 * (1 - index / len(series)),
            markeredgecolor="white",
            markeredgewidth=0.6,
            capsize=3,
            elinewidth=1,
            label=name,
        )
    ticks = sorted({each.point.name.x for each in repeated})
    if ticks[0] > 0 and ticks[-1] > 4 * ticks[0]:
        axes.set_xscale("log", base=2)
    if len(ticks) <= LABELED_TICKS:
        axes.set_xticks(ticks, [f"{tick:,}" if isinstance(tick, int) else number(tick) for tick in ticks])
        axes.minorticks_off()
        if len(ticks) > LABELED_TICKS // 2:
            axes.tick_params("x", labelsize=8, labelrotation=60)
    axis = repeated[0].point.name.axis
    axes.set_xlabel(AXIS_LABELS.get(axis, axis))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _cycles(repeated: list[Repetitions]) -> Figure:
    positions: list[float] = []
    middles: dict[str, list[float]] = {}
    for each in repeated:
        new = each.point.name.series not in middles
        positions.append((positions[-1] + (1.7 if new else 1.0)) if positions else 0.0)
        middles.setdefault(each.point.name.series, []).append(positions[-1])
    figure, axes = plt.subplots(figsize=(min(WIDEST, 7 + 0.6 * len(repeated)), 5.5), layout="constrained")
    bottom = [0.0] * len(repeated)
    for category in repeated[0].results[0].cycles_per_kb:
        heights = [each.mean(lambda result, category=category: result.cycles_per_kb[category]) for each in repeated]
        hatch = "///" if category == "idle" else None
        label = category.replace("_", " ")
        color = CATEGORY_COLORS.get(category, OTHER_COLOR)
        style = {"facecolor": color, "edgecolor": "white", "linewidth": 0.3, "hatch": hatch, "label": label}
        axes.add_collection(PolyCollection(_bars(positions, bottom, heights), **style))
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    axes.set_xlim(positions[0] - BAR_WIDTH, positions[-1] + BAR_WIDTH)
    busy = [each.mean(busy_cycles) for each in repeated]
    axes.set_ylim(0, min(1.6 * max(busy), 1.08 * max(bottom)))
    if len(repeated) <= NUMBERED_BARS:
        for position, value in zip(positions, busy, strict=True):
            axes.annotate(f"{value:,.0f}", (position, value), ha="center", va="bottom", fontsize=8)
    ticks = [each.point.name.x for each in repeated]
    axes.set_xticks(positions, [f"{tick:,}" if isinstance(tick, int) else number(tick) for tick in ticks])
    axes.tick_params("x", labelsize=8, labelrotation=90 if len(repeated) > NUMBERED_BARS // 2 else 0)
    series = axes.secondary_xaxis(-0.1)
    series.set_xticks([sum(found) / len(found) for found in middles.values()], [name.replace(" ", "\n") for name in middles])
    series.tick_params(length=0)
    series.spines["bottom"].set_visible(False)
    axis = repeated[0].point.name.axis
    series.set_xlabel(f"organization, and {AXIS_LABELS.get(axis, axis)}")
    axes.set_ylabel("cycles of all cores per KB of payload")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    _title(axes, repeated, "Where the cycles of a KB go", "number on a bar: busy cycles, idle ones above may be cut off")
    axes.spines[["top", "right"]].set_visible(False)
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], names[::-1], frameon=False, loc="outside right upper")
    return figure


def _bars(positions: Sequence[float], bottom: Sequence[float], heights: Sequence[float]) -> list[list[tuple[float, float]]]:
    """Return the corners of bars. All of one color are one artist: an artist for each takes most of the time of a figure."""
    half = BAR_WIDTH / 2
    return [
        [(x - half, low), (x - half, low + height), (x + half, low + height), (x + half, low)]
        for x, low, height in zip(positions, bottom, heights, strict=True)
    ]


def _title(axes: Axes, repeated: list[Repetitions], text: str, remark: str = "") -> None:
    """Give axes a title, and below it the machine, the number of seeds and the meaning of bars."""
    machines = {each.point.config.machine.name for each in repeated}
    seeds = sorted({len(each.results) for each in repeated})
    remarks = [next(iter(machines)) if len(machines) == 1 else f"{len(machines)} machines"]
    if seeds[-1] > 1:
        remarks.append(f"mean of {' or '.join(map(str, seeds))} seeds, bars: 95 % confidence" if not remark else "mean of seeds")
    axes.set_title(text, loc="left", fontsize=12, pad=22)
    axes.text(0, 1.02, "; ".join(filter(None, [*remarks, remark])), transform=axes.transAxes, fontsize=9, color="#666666")
