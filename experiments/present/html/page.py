"""Writes the report: verdicts, figures, tables, explanations, and how to get them again, in one file.

Knows points that were run and where they come from, not how they were run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.paper.claims import CLAIMS
from experiments.paper.verdicts import (
    ClaimOutcome,
    Estimate,
    Greater,
    Origin,
    PartOutcome,
    PointKey,
    Verdict,
    Within,
    counts_by_origin,
    evaluate,
)
from experiments.points.point import Outcome
from experiments.present.html.budget import budget_section
from experiments.present.html.explanation import explanations, winners
from experiments.present.html.panels import figures
from experiments.present.html.parts import Section
from experiments.present.html.rendering import facts, render
from experiments.present.html.tables import contention_table, misses_table

SYMBOLS = {Verdict.HOLDS: "✓", Verdict.UNDECIDED: "~", Verdict.FAILS: "✗", Verdict.NOT_RUN: "–"}
SectionSource = Callable[[Path], Section | None]
"""Is given the output folder and returns a section, or None where what it shows has not been run."""


@dataclass(frozen=True)
class ClaimRow:
    """A claim as the table shows it. `tone` is the verdict as a class of the style sheet."""

    outcome: ClaimOutcome
    symbol: str
    tone: str
    simulated: str
    error: str
    parts: Sequence[tuple[str, str, str, str]]


def write_report(
    path: Path,
    outcomes: Sequence[Outcome],
    title: str,
    command: str,
    output_dir: Path,
    sources: Sequence[SectionSource] = (),
) -> Path:
    """Write the page of a sweep's finished points.

    Args:
        path: The file to write.
        outcomes: All points, finished or not.
        title: The heading.
        command: What runs the sweep again.
        output_dir: Where sections that come from elsewhere find their data.
        sources: Where such sections come from.
    """
    points = {PointKey.of(outcome.point.config): outcome.result for outcome in outcomes if outcome.result is not None}
    clocks = {PointKey.of(outcome.point.config): outcome.point.config.machine.clock_mhz for outcome in outcomes}
    found = [source(output_dir) for source in sources]
    claims = evaluate(CLAIMS, points)
    text = render(
        "page.html",
        title=title,
        headline=headline(claims),
        counts=[(verdict, SYMBOLS[verdict], sum(claim.verdict is verdict for claim in claims)) for verdict in Verdict],
        winners=winners(points),
        figures=figures(points),
        claims=[claim_row(claim) for claim in claims],
        tables=[contention_table(points), misses_table(points)],
        explanations=explanations(points),
        sections=[section for section in (budget_section(points, clocks), *found) if section is not None],
        facts=facts(outcomes),
        command=command,
    )
    path.write_text(text, encoding="utf-8")
    return path


def headline(claims: Sequence[ClaimOutcome]) -> str:
    """Return the summary of all verdicts in a sentence."""
    judged = [claim for claim in claims if claim.verdict is not Verdict.NOT_RUN]
    if not judged:
        return "None of the claims could be judged: the points they need were not run."
    holding = sum(claim.verdict is Verdict.HOLDS for claim in judged)
    by_origin = counts_by_origin((claim.claim.origin, claim.verdict is Verdict.HOLDS) for claim in judged)
    return f"{holding} of {len(judged)} claims hold: {by_origin}."


def claim_row(outcome: ClaimOutcome) -> ClaimRow:
    """Return what the table shows of a claim; parts that do not hold come first."""
    order = [Verdict.FAILS, Verdict.UNDECIDED, Verdict.NOT_RUN, Verdict.HOLDS]
    parts = [_part(part) for part in sorted(outcome.parts, key=lambda part: order.index(part.verdict))]
    simulated, error = _numbers(outcome) if outcome.claim.is_number else _orders(outcome)
    tone = outcome.verdict.replace(" ", "-")
    return ClaimRow(outcome, SYMBOLS[outcome.verdict], tone, simulated, error, parts)


def _numbers(outcome: ClaimOutcome) -> tuple[str, str]:
    """Return what was simulated and its largest error."""
    run = [part for part in outcome.parts if part.estimate is not None]
    if not run:
        return "not run", ""
    worst = max(run, key=lambda part: abs(part.error or 0.0))
    if len(outcome.parts) == 1:
        return _value(worst.estimate, worst.part.quantities[0].unit), _error(worst)
    if len(outcome.parts) <= 3:
        unit = worst.part.quantities[0].unit
        return "; ".join(_value(part.estimate, unit) for part in run), f"largest {_error(worst)}"
    near = f"{outcome.count(Verdict.HOLDS)} of {len(outcome.parts)} within"
    return near, f"largest {_error(worst)}, {worst.part.quantities[0].label}"


def _orders(outcome: ClaimOutcome) -> tuple[str, str]:
    """Return how many comparisons hold, and the one with the least margin."""
    run = [part for part in outcome.parts if part.verdict is not Verdict.NOT_RUN]
    if not run:
        return "not run", ""
    counted = f"{outcome.count(Verdict.HOLDS)} of {len(outcome.parts)}"
    closest = min(run, key=_margin)
    margin = f"margin from {_margin(closest):+.0%}" if abs(_margin(closest)) < 10 else "wide margins"
    return counted, margin.replace("%", " %")


def _margin(part: PartOutcome) -> float:
    """Return by what share the greater side is above the smaller one."""
    assert part.estimate is not None
    assert part.smaller is not None
    size = abs(part.smaller.mean)
    difference = part.estimate.mean - part.smaller.mean
    return difference / size if size else (float("inf") if difference > 0 else 0.0)


def _part(outcome: PartOutcome) -> tuple[str, str, str, str]:
    """Return verdict, what is compared, and both sides."""
    part = outcome.part
    origin = "" if part.origin is Origin.PREDICTED else f" ({part.origin})"
    unit = part.quantities[0].unit
    if isinstance(part, Within):
        published = f"{_digits(part.published)} ± {_digits(part.tolerance)} {unit} published"
        return SYMBOLS[outcome.verdict], part.quantity.label + origin, _value(outcome.estimate, unit), published
    assert isinstance(part, Greater)
    above = " not below " if part.tie_holds else " above "
    label = part.greater.label + above + part.smaller.label + origin
    return SYMBOLS[outcome.verdict], label, _value(outcome.estimate, unit), _value(outcome.smaller, unit)


def _error(outcome: PartOutcome) -> str:
    assert isinstance(outcome.part, Within)
    error = outcome.error or 0.0
    if outcome.part.quantity.unit == "%":
        return f"{error:+.0f} points"
    return f"{100 * error / outcome.part.published:+.1f} %"


def _value(estimate: Estimate | None, unit: str) -> str:
    if estimate is None:
        return "not run"
    width = f" ± {_digits(estimate.half_width)}" if estimate.half_width else ""
    return f"{_digits(estimate.mean)}{width} {unit}"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.1f}" if abs(value) >= 10 else f"{value:,.2f}"
