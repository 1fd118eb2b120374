"""Tornado figures: a claim's value with each group of constants lowered and raised.

Knows an analysis, not how its points were run. Drawn without a display.
"""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.sensitivity.analysis import SYMBOLS, Sensitivity

LONGEST = 15  # bars of a figure
GROUND = 0.05  # share of a figure's width that shows where the claim would hold
LOWER_COLOR, HIGHER_COLOR = "#1f77b4", "#d62728"
DPI = 130


def draw_tornados(folder: Path, sensitivity: Sensitivity) -> list[Path]:
    """Draw a figure per claim as SVG and PNG into a folder; return the files."""
    files = []
    for claim in sensitivity.claims:
        figure = tornado_figure(sensitivity, claim.name)
        for kind in ("svg", "png"):
            files.append(folder / f"{claim.slug}.{kind}")
            figure.savefig(files[-1], dpi=DPI)
        plt.close(figure)
    return files


def tornado_figure(sensitivity: Sensitivity, name: str) -> Figure:
    """Draw a claim's value with each group of constants lowered and raised, those that move it most on top."""
    claim = sensitivity.claim(name)
    values: dict[str, dict[bool, float]] = {}
    for effect in claim.effects:
        values.setdefault(effect.parameter, {})[effect.raised] = effect.judgement.value
    start = claim.before.value
    ranked = sorted(values, key=lambda parameter: max(abs(v - start) for v in values[parameter].values()), reverse=True)
    shown, hidden = ranked[:LONGEST], ranked[LONGEST:]
    figure, axes = plt.subplots(figsize=(8, 1.9 + 0.27 * len(shown)), layout="constrained")
    for raised, color, offset in ((False, LOWER_COLOR, -0.19), (True, HIGHER_COLOR, 0.19)):
        rows = [row + offset for row in range(len(shown))]
        widths = [values[parameter].get(raised, start) - start for parameter in shown]
        label = f"{SYMBOLS[raised]}{sensitivity.percent:g} %"
        axes.barh(rows, widths, left=start, height=0.38, color=color, alpha=0.8, label=label)
    axes.set_yticks(range(len(shown)), [parameter.replace("_", " ") for parameter in shown])
    axes.invert_yaxis()
    axes.axvline(start, color="#333333", linewidth=1)
    left, right = axes.get_xlim()
    right = max(right, claim.low + GROUND * (claim.low - left))
    axes.axvspan(claim.low, right if claim.high is None else claim.high, color="#2ca02c", alpha=0.08, zorder=0)
    for edge in (claim.low, claim.high):
        if edge is not None:
            axes.axvline(edge, color="#2ca02c", linewidth=1, linestyle="--")
    axes.set_xlim(min(left, claim.low), right)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.xaxis.set_major_formatter("{x:,g}")
    rest = f"; {len(hidden)} others move it less" if hidden else ""
    axes.set_xlabel(f"{claim.axis}{f' ({claim.unit})' if claim.unit else ''}{rest}\nit holds where the ground is green")
    axes.set_title(f"{claim.name}: {claim.before.verdict}", loc="left", fontsize=11)
    figure.legend(frameon=False, loc="outside upper right", ncols=2)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
