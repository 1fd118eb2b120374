"""Writes what mechanisms cost: a page with waterfalls and sentences, the waterfalls as PNG, and all numbers as CSV.

Every sentence and number comes from the points.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from experiments.config.grids import ExperimentConfig
from experiments.config.subsets import subset_name
from experiments.points.point import Outcome
from experiments.present.html.parts import Figure, Table
from experiments.present.html.rendering import facts, render
from experiments.why.cases import Case, cases_of
from experiments.why.findings import (
    COUNTED,
    WORDS,
    amount,
    counted_gain,
    dearest,
    disagreement_sentences,
    pair_sentence,
    sentence,
    share,
)
from experiments.why.waterfall import KINDS, waterfall, write_figure

REPORT, FIGURE, VALUES, SETS = "report.html", "why.png", "why.csv", "why_sets.csv"
NOTHING = "–"


def write_why(folder: Path, outcomes: Sequence[Outcome], experiment: ExperimentConfig, command: str) -> list[Path]:
    """Write page, figure and values of the finished cases of a sweep into `folder`; return the files.

    Args:
        folder: Of the sweep.
        outcomes: All points, finished or not.
        experiment: What was asked for.
        command: What runs the sweep again.
    """
    cases = cases_of(outcomes, experiment)
    if not cases:
        return []
    text = render(
        "why.html",
        title=experiment.title or experiment.name,
        headline=_headline(cases),
        sentences=[sentence(case) for case in cases],
        notes=_notes(outcomes, cases, experiment),
        hidden=[
            *(told for case in cases for told in disagreement_sentences(case)),
            *(told for case in cases if (told := pair_sentence(case)) is not None),
        ],
        figures=[_figure(name, [case for case in cases if case.series == name]) for name in _series(cases)],
        mechanisms=[(name, words) for name, words in WORDS.items() if name in cases[0].players],
        facts=facts(outcomes),
        command=command,
    )
    (folder / REPORT).write_text(text, encoding="utf-8")
    write_figure(folder / FIGURE, cases)
    _write_values(folder / VALUES, cases)
    _write_sets(folder / SETS, cases)
    return [folder / name for name in (REPORT, FIGURE, VALUES, SETS)]


def _series(cases: Sequence[Case]) -> list[str]:
    return list(dict.fromkeys(case.series for case in cases))


def _headline(cases: Sequence[Case]) -> str:
    """Return which mechanism is the dearest of how many points, of those that pay for any."""
    firsts = [named[0] for case in cases if (named := dearest(case))]
    names = sorted(set(firsts), key=lambda name: (-firsts.count(name), name))
    told = [f"{WORDS[name]} ({firsts.count(name)})" for name in names]
    if len(firsts) < len(cases):
        told.append(f"nothing to speak of ({len(cases) - len(firsts)})")
    points = f"{len(cases)} point{'s' if len(cases) > 1 else ''}"
    return f"What {points} pay{'' if len(cases) > 1 else 's'} most for: {', '.join(told)}."


def _notes(outcomes: Sequence[Outcome], cases: Sequence[Case], experiment: ExperimentConfig) -> list[str]:
    """Return what a reader must know of the numbers."""
    finished = sum(outcome.result is not None for outcome in outcomes)
    told = [f"{finished} of {len(outcomes)} points finished; {len(cases)} cases have all of theirs."]
    seeds = {len(case.games) for case in cases}
    if experiment.permutations is None:
        told.append(f"Shares are exact: all {2 ** len(cases[0].players)} sets of mechanisms were run.")
    else:
        told.append(f"Shares are means over {experiment.permutations} drawn orders and their reverses, with 95 % intervals.")
    if max(seeds) == 1:
        told.append("Each case has one seed: differences of a few percent may be chance. seed=1,2,3 gives intervals.")
    else:
        told.append("Values are means over seeds, with 95 % intervals of the shares.")
    if any(case.links_are_full for case in cases):
        told.append(
            "Where the links are full, what is free beyond that shows in no number: machine.nic.link_mbps=10000 moves the limit."
        )
    return told


def _figure(series: str, cases: Sequence[Case]) -> Figure:
    objective = cases[0].objective
    unit = f" in {objective.unit}" if objective.unit else ""
    better = ", less is better" if objective.less else ""
    limit = " The dotted line is that of full links." if any(case.limit is not None for case in cases) else ""
    what = f"{objective.label.capitalize()}{unit}{better}"
    caption = f"{what}: as it is, plus the share of each mechanism, is that with all free.{limit}"
    legend = [(name, KINDS[name]) for name in cases[0].players]
    return Figure(series.replace(" ", "-"), series, caption, [waterfall(case) for case in cases], legend, _table(cases))


def _table(cases: Sequence[Case]) -> Table:
    rows = []
    for case in cases:
        for name in case.shares():
            cells = [share(case, name)]
            for gain in (case.gain(name), case.last(name)):
                cells.append(NOTHING if gain is None else amount(gain, case.objective, unit=False))
            group = next(group for group in COUNTED if name in group)
            counted = counted_gain(case, group)
            cycles = sum(case.cycles_per_kb(category) for category in COUNTED[group])
            shared = f" ({' and '.join(group)})" if len(group) > 1 else ""
            counts = [f"{cycles:,.0f}{shared}", NOTHING if counted is None else amount(counted, case.objective, unit=False)]
            rows.append((case.label, name, *cells, *counts))
    headings = ("point", "mechanism", "fair share", "free alone", "free last", "counted, cycles/KB", "gain that these say")
    return Table(headings, rows)


def _write_values(path: Path, cases: Sequence[Case]) -> None:
    """Write a row per case and mechanism. Values of objectives of which less is better are negative."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            (
                *("point", "metric", "unit", "seeds", "as_it_is", "all_free", "mechanism", "share", "half_width"),
                *("free_alone", "free_last"),
            )
        )
        for case in cases:
            objective = case.objective
            known = (case.label, objective.metric, objective.unit, len(case.games), case.base, case.base + case.whole)
            for name, value in case.shares().items():
                writer.writerow([*known, name, value, case.half_width(name), case.gain(name), case.last(name)])


def _write_sets(path: Path, cases: Sequence[Case]) -> None:
    """Write the value of every set of mechanisms of every case."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("point", "metric", "set", "value"))
        for case in cases:
            for subset in case.games[0].values:
                ordered = tuple(name for name in case.players if name in subset)
                gain = case.gain(*ordered) or 0.0
                writer.writerow([case.label, case.objective.metric, subset_name(ordered, case.players), case.base + gain])
