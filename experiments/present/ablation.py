"""What the variants of an experiment change: a figure, a table in Markdown, and all values as CSV.

The first variant is what all others are compared with, seed by seed. Knows outcomes, not what a variant switches off.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.paper.grid import MSGP, UP
from experiments.paper.verdicts import organization_label
from experiments.points.point import Outcome
from experiments.points.seeds import half_width, mean
from netstack.sim import Result

FOLLOWED = MSGP[0]
"""The organization whose lock waits, cache misses and gain over one core are shown beside goodput."""
FIGURE, TABLE, VALUES = "ablation.png", "ablation.md", "ablation.csv"
LOAD_COLORS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b")
MARKERS = "osD^v"
MISSING = "–"
WIDTH, ROW, DPI = 12.8, 0.42, 100  # inches, of a page that is 1,280 pixels wide


@dataclass(frozen=True)
class Case:
    """An organization at a load, in a variant."""

    variant: str
    organization: str
    conns: int


@dataclass(frozen=True)
class Cell:
    """The results of a case, and of the same case and seeds in the first variant."""

    results: Sequence[Result]
    firsts: Sequence[Result]

    @property
    def changes_percent(self) -> list[float]:
        """The change of goodput by seed."""
        pairs = zip(self.results, self.firsts, strict=True)
        return [100 * (result.goodput_mbps / first.goodput_mbps - 1) for result, first in pairs]


@dataclass(frozen=True)
class Ablation:
    """All cases that were run in a variant and in the first one.

    Attributes:
        variants: In the order of the experiment, the first one too.
        organizations: In the same order.
        loads: Rising.
        cells: Of seeds that both have.
    """

    variants: list[str]
    organizations: list[str]
    loads: list[int]
    cells: dict[Case, Cell]

    def mean(self, case: Case, statistic: Callable[[Result], float | None]) -> float | None:
        """Return the mean of a statistic over the seeds; None if the case was not run or the statistic is none of its own."""
        cell = self.cells.get(case)
        values = [value for result in (cell.results if cell else ()) if (value := statistic(result)) is not None]
        return mean(values) if values else None


def ablation_of(outcomes: Sequence[Outcome]) -> Ablation:
    """Return what the finished points of a sweep say about its variants."""
    found: dict[Case, dict[int, Result]] = {}
    for outcome in outcomes:
        config = outcome.point.config
        case = Case(outcome.point.name.variant, organization_label(config.org.name, config.org.groups), config.conns)
        seeds = found.setdefault(case, {})
        if outcome.result is not None:
            seeds[config.seed] = outcome.result
    variants = list(dict.fromkeys(case.variant for case in found))
    cells = {}
    for case, seeds in found.items():
        firsts = found.get(Case(variants[0], case.organization, case.conns), {})
        both = sorted(seeds.keys() & firsts.keys())
        if both:
            cells[case] = Cell([seeds[seed] for seed in both], [firsts[seed] for seed in both])
    organizations = list(dict.fromkeys(case.organization for case in found))
    return Ablation(variants, organizations, sorted({case.conns for case in found}), cells)


def write_ablation(folder: Path, outcomes: Sequence[Outcome], command: str) -> list[Path]:
    """Write figure, table and values of a sweep's finished points into a folder; return the files.

    Args:
        folder: Of the sweep.
        outcomes: All points, finished or not.
        command: What runs the sweep again.
    """
    ablation = ablation_of(outcomes)
    figure = ablation_figure(ablation)
    figure.savefig(folder / FIGURE, dpi=DPI)
    plt.close(figure)
    (folder / TABLE).write_text(f"{ablation_table(ablation)}\nRun again with `{command}`.\n", encoding="utf-8")
    _write_values(folder / VALUES, ablation)
    return [folder / FIGURE, folder / TABLE, folder / VALUES]


def waits_percent(result: Result) -> float | None:
    """Return how many acquisitions of global TCP/IP locks had to wait; None if there is no such lock."""
    return result.lock["global"].not_immediate_percent if "global" in result.lock else None


def ablation_table(ablation: Ablation) -> str:
    """Return the table in Markdown: a row per variant. Cells have a value per load."""
    first, *others = ablation.variants
    beside = [f"{FOLLOWED} over {UP[0]}, %", f"waits of {FOLLOWED}, %", f"misses of {FOLLOWED}, 1/KB"]
    headings = ["", *ablation.organizations, *beside]
    goodput = [[ablation.mean(case, lambda result: result.goodput_mbps) for case in row] for row in _rows(ablation, first)]
    rows = [[f"{first}, Mb/s", *(_cell(row, "{:,.0f}".format) for row in goodput), *_beside(ablation, first)]]
    for variant in others:
        changes = [_cell([_change(ablation, case) for case in row], _signed) for row in _rows(ablation, variant)]
        rows.append([f"{variant}, %", *changes, *_beside(ablation, variant)])
    lines = [headings, ["---"] * len(headings), *rows]
    loads = " / ".join(f"{load:,}" for load in ablation.loads)
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"Goodput at {loads} connections; below the first row its change.\n\n{table}\n"


def ablation_figure(ablation: Ablation) -> Figure:
    """Draw a row per variant: the change of goodput by organization, and waits and misses of one organization beside it."""
    others = ablation.variants[1:]
    beside = FOLLOWED in ablation.organizations
    panels = len(ablation.organizations) + 2 * beside
    figure, found = plt.subplots(
        1, panels, figsize=(WIDTH, 1.5 + ROW * max(4, len(others))), sharey=True, squeeze=False, layout="constrained"
    )
    axes = list(found[0])
    changed = axes[: len(ablation.organizations)]
    for panel, organization in zip(changed, ablation.organizations, strict=True):
        _dots(panel, ablation, others, organization, lambda case: _change(ablation, case), _change_half_width)
        panel.axvline(0, color="#333333", linewidth=0.8, zorder=1)
        panel.set_title(organization, loc="left", fontsize=11)
        panel.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        panel.xaxis.set_major_formatter(lambda x, _: _signed(x))
    left, right = min(panel.get_xlim()[0] for panel in changed), max(panel.get_xlim()[1] for panel in changed)
    for panel in changed:
        panel.set_xlim(left, right)
    changed[0].set_xlabel("change of goodput (%)", loc="left")
    if beside:
        shown: list[tuple[str, str, Callable[[Result], float | None]]] = [
            ("lock waits", "of acquisitions (%)", waits_percent),
            ("L2 misses", "per KB of payload", lambda result: result.l2_misses_per_kb),
        ]
        for panel, (title, label, statistic) in zip(axes[-2:], shown, strict=True):
            _dots(panel, ablation, others, FOLLOWED, lambda case, statistic=statistic: ablation.mean(case, statistic))
            for color, load in zip(LOAD_COLORS, ablation.loads, strict=False):
                first = ablation.mean(Case(ablation.variants[0], FOLLOWED, load), statistic)
                if first is not None:
                    panel.axvline(first, color=color, linewidth=1, linestyle=":", zorder=1)
            panel.set_title(f"{title} of {FOLLOWED}", loc="left", fontsize=11)
            panel.set_xlabel(label, loc="left")
    axes[0].set_yticks(range(len(others)), others)
    axes[0].set_ylim(len(others) - 0.5, -0.5)
    handles, names = axes[0].get_legend_handles_labels()
    title = f"connections; zero and dotted lines: {ablation.variants[0]}"
    figure.legend(handles, names, title=title, frameon=False, loc="outside upper left", ncols=len(names), alignment="left")
    return figure


def _dots(
    axes: Axes,
    ablation: Ablation,
    variants: Sequence[str],
    organization: str,
    value: Callable[[Case], float | None],
    error: Callable[[Cell], float] | None = None,
) -> None:
    """Draw a marker per variant and load. Loads of a row are one below the other."""
    for row in range(0, len(variants), 2):
        axes.axhspan(row - 0.5, row + 0.5, color="#f4f4f4", zorder=0)
    for index, (load, color) in enumerate(zip(ablation.loads, LOAD_COLORS, strict=False)):
        offset = 0.5 * (index - (len(ablation.loads) - 1) / 2) / max(1, len(ablation.loads) - 1)
        cases = [Case(variant, organization, load) for variant in variants]
        drawn = [(row + offset, case, found) for row, case in enumerate(cases) if (found := value(case)) is not None]
        axes.errorbar(
            [found for _, _, found in drawn],
            [row for row, _, _ in drawn],
            xerr=[error(ablation.cells[case]) for _, case, _ in drawn] if error else None,
            color=color,
            marker=MARKERS[index],
            markersize=5.5,
            linestyle="none",
            elinewidth=1,
            label=f"{load:,}",
        )
    axes.tick_params("y", length=0)
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _rows(ablation: Ablation, variant: str) -> list[list[Case]]:
    """Return the cases of a variant by organization and load."""
    return [[Case(variant, organization, load) for load in ablation.loads] for organization in ablation.organizations]


def _change(ablation: Ablation, case: Case) -> float | None:
    cell = ablation.cells.get(case)
    return mean(cell.changes_percent) if cell else None


def _change_half_width(cell: Cell) -> float:
    return half_width(cell.changes_percent)


def _beside(ablation: Ablation, variant: str) -> list[str]:
    """Return the cells of the followed organization's gain, waits and misses."""
    gains = [_gain(ablation, variant, load) for load in ablation.loads]
    cases = [Case(variant, FOLLOWED, load) for load in ablation.loads]
    waits = [ablation.mean(case, waits_percent) for case in cases]
    misses = [ablation.mean(case, lambda result: result.l2_misses_per_kb) for case in cases]
    return [_cell(gains, _signed), _cell(waits, "{:.0f}".format), _cell(misses, "{:.1f}".format)]


def _gain(ablation: Ablation, variant: str, load: int) -> float | None:
    """Return by how many percent the followed organization sends more than one core."""
    goodput, one_core = (
        ablation.mean(Case(variant, organization, load), lambda result: result.goodput_mbps) for organization in (FOLLOWED, UP[0])
    )
    return 100 * (goodput / one_core - 1) if goodput and one_core else None


def _cell(values: Sequence[float | None], form: Callable[[float], str]) -> str:
    return " / ".join(MISSING if value is None else form(value) for value in values)


def _signed(percent: float) -> str:
    """Return a change with its sign, which 0 has not."""
    text = f"{percent:+.0f}"
    return "0" if text in ("+0", "-0") else text.replace("-", "−")


def _write_values(path: Path, ablation: Ablation) -> None:
    """Write a row per case as CSV: means over seeds, and half the 95 % confidence interval of the change."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            (
                *("variant", "organization", "conns", "seeds", "goodput_mbps", "change_percent", "change_half_width_percent"),
                *("l2_misses_per_kb", "lock_waits_percent"),
            )
        )
        for case, cell in ablation.cells.items():
            values = [
                ablation.mean(case, lambda result: result.goodput_mbps),
                mean(cell.changes_percent),
                half_width(cell.changes_percent),
                ablation.mean(case, lambda result: result.l2_misses_per_kb),
                ablation.mean(case, waits_percent),
            ]
            texts = ["" if value is None else f"{value:.3f}" for value in values]
            writer.writerow([case.variant, case.organization, case.conns, len(cell.results), *texts])
