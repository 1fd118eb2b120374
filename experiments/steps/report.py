"""Writes what each choice changes beside its neighbour: a page, the figure as PNG, and all numbers as CSV.

Every sentence and number comes from the points.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from experiments.config.grids import ExperimentConfig
from experiments.points.point import Outcome
from experiments.present.html.parts import Figure, Table
from experiments.present.html.rendering import facts, render
from experiments.steps.figure import legend, loads_of, panel, signed, write_figure
from experiments.steps.pairs import Change, Step, steps_of
from experiments.steps.quantities import Quantity, quantities_of

REPORT, FIGURE, VALUES = "report.html", "steps.png", "steps.csv"
NOTHING = "–"
MOST_TOLD = 3  # changes of a sentence


def write_steps(folder: Path, outcomes: Sequence[Outcome], experiment: ExperimentConfig, command: str) -> list[Path]:
    """Write page, figure and values of the finished steps of a sweep into `folder`; return the files.

    Args:
        folder: Of the sweep.
        outcomes: All points, finished or not.
        experiment: What was asked for.
        command: What runs the sweep again.
    """
    steps = steps_of(outcomes, experiment)
    if not steps:
        return []
    quantities = quantities_of([result for step in steps for result in (*step.before, *step.after)])
    text = render(
        "steps.html",
        title=experiment.title or experiment.name,
        headline=headline(steps, quantities[0]),
        sentences=[sentence(step, quantities) for step in steps],
        notes=_notes(outcomes, steps),
        figure=Figure(
            "steps",
            "What each step changes",
            "Each row is a variant beside its neighbour, which the table names. Whiskers are 95 % intervals over seeds.",
            [panel(steps, quantity) for quantity in quantities],
            legend(steps),
            choices_table(steps),
        ),
        tables=[table(steps, load, quantities) for load in loads_of(steps)],
        facts=facts(outcomes),
        command=command,
    )
    (folder / REPORT).write_text(text, encoding="utf-8")
    write_figure(folder / FIGURE, steps, quantities)
    _write_values(folder / VALUES, steps, quantities)
    return [folder / name for name in (REPORT, FIGURE, VALUES)]


def headline(steps: Sequence[Step], quantity: Quantity) -> str:
    """Return how many steps change a quantity for certain, and which one does so most."""
    changes = [(step, step.change(quantity)) for step in steps]
    certain = [(step, found.change) for step, found in changes if found.is_certain and found.change is not None]
    said = f"{len(certain)} of {len(steps)} steps change {quantity.label} beyond chance"
    if not certain:
        return f"{said}."
    step, change = max(certain, key=lambda pair: abs(pair[1]))
    return f"{said}, most {step.variant} at {step.load}: {_amount(change, quantity)}."


def sentence(step: Step, quantities: Sequence[Quantity]) -> str:
    """Return what a step changes for certain, the largest changes in percent first, then those that may begin at 0."""
    found = [(quantity, step.change(quantity)) for quantity in quantities]
    certain = [(quantity, change.change) for quantity, change in found if change.is_certain and change.change is not None]
    certain.sort(key=lambda pair: (not pair[0].relative, -abs(pair[1])))
    told = [f"{quantity.label} {_amount(change, quantity)}" for quantity, change in certain[:MOST_TOLD]]
    return f"{step.variant}, beside {step.beside}, at {step.load}: {', '.join(told) or 'nothing beyond chance'}."


def choices_table(steps: Sequence[Step]) -> Table:
    """Return what each variant's configuration has in place of its neighbour's."""
    rows = {(step.variant, step.beside, "; ".join(step.choices) or NOTHING): None for step in steps}
    return Table(("variant", "beside", "what differs"), list(rows))


def table(steps: Sequence[Step], load: str, quantities: Sequence[Quantity]) -> Table:
    """Return the changes at a load: before and after, and below them the change with its interval."""
    rows = []
    for step in steps:
        if step.load == load:
            cells = [_cell(step.change(quantity), quantity) for quantity in quantities]
            rows.append((step.variant, step.beside, *cells))
    headings = [f"{quantity.label}{f', {quantity.unit}' if quantity.unit else ''}" for quantity in quantities]
    return Table(("variant", "beside", *headings), rows, load)


def _cell(found: Change, quantity: Quantity) -> str:
    values = f"{_value(found.before)} → {_value(found.after)}"
    if found.change is None:
        return values
    width = f" ± {found.half_width:.2g}" if found.half_width is not None else ""
    percent = " %" if quantity.relative else ""
    return f"{values} ({signed(found.change, quantity)}{width}{percent})"


def _value(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _amount(change: float, quantity: Quantity) -> str:
    unit = " %" if quantity.relative else f" {quantity.unit}".rstrip()
    return f"{signed(change, quantity)}{unit}"


def _notes(outcomes: Sequence[Outcome], steps: Sequence[Step]) -> list[str]:
    """Return what a reader must know of the numbers."""
    finished = sum(outcome.result is not None for outcome in outcomes)
    told = [f"{finished} of {len(outcomes)} points finished."]
    seeds = sorted({len(step.after) for step in steps})
    if seeds == [1]:
        told.append(
            "Each step has one seed: no interval is known, and nothing is called certain. seed=1,2,3,4,5 gives intervals."
        )
    else:
        told.append("Changes are means over the differences of each seed, with 95 % intervals of Student's t.")
    told.append("What is a count per request may be 0: its change is a difference. All other changes are percentages.")
    return told


def _write_values(path: Path, steps: Sequence[Step], quantities: Sequence[Quantity]) -> None:
    """Write a row per step and quantity. A change is a percentage, or a difference where the unit of it is no %."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            (
                *("variant", "beside", "load", "choices", "quantity", "unit", "seeds"),
                *("before", "after", "change", "change_unit", "half_width"),
            )
        )
        for step in steps:
            for quantity in quantities:
                found = step.change(quantity)
                known = (step.variant, step.beside, step.load, "; ".join(step.choices), quantity.name, quantity.unit)
                values = (found.before, found.after, found.change, quantity.change_unit, found.half_width)
                writer.writerow([*known, len(step.after), *values])
