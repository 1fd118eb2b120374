"""Figures of a sweep as PNG: goodput against connections, and what a KB costs.

Knows outcomes only. Drawn without a display.
"""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments.report import Outcome, in_order
from netstack.engine import link_limit_mbps

CATEGORY_COLORS = {
    "protocol": "#1f77b4",
    "application": "#17becf",
    "copy": "#9edae5",
    "driver": "#2ca02c",
    "interrupt": "#98df8a",
    "scheduling": "#9467bd",
    "lock_spin": "#d62728",
    "lock_sleep": "#ff9896",
    "cache_stall": "#ff7f0e",
    "idle": "#e8e8e8",
}
LINE_COLORS = ("#4c4c4c", "#d62728", "#9467bd", "#1f77b4", "#2ca02c", "#ff7f0e", "#17becf", "#8c564b")


def draw_figures(folder: Path, outcomes: list[Outcome]) -> list[Path]:
    """Draw the figures of the finished points into `folder`; return their files."""
    finished = [outcome for outcome in in_order(outcomes) if outcome.result is not None]
    if not finished:
        return []
    figures = {"goodput.png": _goodput(finished), "cycles_per_kb.png": _cycles(finished)}
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=130)
        plt.close(figure)
    return [folder / name for name in figures]


def _series(finished: list[Outcome]) -> dict[str, dict[int, list[float]]]:
    """Return goodput by organization and connections, a value a seed."""
    series: dict[str, dict[int, list[float]]] = {}
    for outcome in finished:
        assert outcome.result is not None
        org = outcome.point.config.org
        crowded = any(o.point.config.org.name == org.name and o.point.config.org.groups != org.groups for o in finished)
        name = f"{org.name}({org.groups})" if crowded else org.name
        series.setdefault(name, {}).setdefault(outcome.point.config.conns, []).append(outcome.result.goodput_mbps)
    return series


def _goodput(finished: list[Outcome]) -> Figure:
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    limit = max(link_limit_mbps(outcome.point.config) for outcome in finished)
    axes.axhline(limit, color="#999999", linestyle=":", linewidth=1.2)
    axes.annotate(
        f"links full: {limit:,.0f} Mb/s", (0.01, limit), xycoords=("axes fraction", "data"), va="bottom", color="#666666"
    )
    for color, (name, loads) in zip(LINE_COLORS * 4, _series(finished).items(), strict=False):
        conns = sorted(loads)
        means = [float(np.mean(loads[count])) for count in conns]
        axes.plot(conns, means, marker="o", color=color, label=name)
        for count in conns:
            axes.vlines(count, min(loads[count]), max(loads[count]), color=color, linewidth=1)
    axes.set_xscale("log", base=2)
    ticks = sorted({outcome.point.config.conns for outcome in finished})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(0, limit * 1.1)
    axes.set_xlabel("connections")
    axes.set_ylabel("goodput (Mb/s)")
    axes.set_title(f"Payload acknowledged per second, {finished[0].point.config.machine.name}", loc="left")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(title="organization", frameon=False, loc="lower left")
    return figure


def _cycles(finished: list[Outcome]) -> Figure:
    labels = [f"{o.point.config.org.name}\n{o.point.config.conns:,}" for o in finished]
    figure, axes = plt.subplots(figsize=(max(6, 0.8 * len(finished) + 3), 5.5), layout="constrained")
    bottom = np.zeros(len(finished))
    for category, color in CATEGORY_COLORS.items():
        heights = np.array([o.result.cycles_per_kb[category] for o in finished if o.result is not None])
        hatch = "///" if category == "idle" else None
        axes.bar(
            labels,
            heights,
            bottom=bottom,
            color=color,
            label=category.replace("_", " "),
            hatch=hatch,
            edgecolor="white",
            linewidth=0.3,
        )
        bottom += heights
    busy = [sum(v for name, v in o.result.cycles_per_kb.items() if name != "idle") for o in finished if o.result is not None]
    axes.set_ylim(0, 1.6 * max(busy))
    for index, value in enumerate(busy):
        axes.annotate(f"{value:,.0f}", (index, value), ha="center", va="bottom", fontsize=8)
    axes.set_ylabel("cycles of all cores per KB of payload")
    axes.set_title("Where the cycles of a KB go (figures: busy cycles; idle is cut off at the top)", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    handles, names = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], names[::-1], frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
