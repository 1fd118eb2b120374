"""Writes the report of an experiment beside a publication, and its rows as CSV.

Every sentence and number comes from the figures, the points and the targets.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from experiments.config.values import flat_values, number
from experiments.points.point import Outcome
from experiments.present.html.parts import Figure, Table
from experiments.present.html.rendering import facts, render
from experiments.published.comparison import Comparison
from experiments.published.figures import FACTOR, LINEAR, Published, digits, shown
from experiments.published.panels import legend, panels
from experiments.published.score import Errors, Row, Score, rows, scores

COLUMNS = (
    *("statistic", "unit", "variant", "x", "given", "fitted", "simulated", "half_width", "seeds"),
    *("null_model", "published", "error", "null_model_error"),
)
"""Of ``published.csv``; errors are shares of the published value."""
NOTHING = "–"


def write_published(folder: Path, outcomes: Sequence[Outcome], comparison: Comparison, command: str) -> list[Path]:
    """Write ``report.html`` and ``published.csv`` of the finished points into `folder`; return the files.

    Args:
        folder: Where to.
        outcomes: All points, finished or not.
        comparison: What they are held against.
        command: What runs them again.
    """
    published = comparison.published
    series = comparison.series(outcomes)
    found = rows(published, series, comparison.targets)
    scored = scores(found, {name: statistic.label for name, statistic in published.statistics.items()})
    text = render(
        "published.html",
        title=comparison.title,
        source=published.source,
        headline=headline(found, scored),
        sentences=sentences(outcomes, found, comparison),
        score=score_table(scored) if scored else None,
        fitted=[fitted_table(outcomes, found, published), known_table(found, published)],
        figures=[_figure(published, name, list(series), found) for name in published.statistics],
        null_models=[null_sentence(published, name) for name in published.statistics],
        facts=facts(outcomes),
        command=command,
    )
    report, table = folder / "report.html", folder / "published.csv"
    report.write_text(text, encoding="utf-8")
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(_cells(row, published) for row in found)
    return [report, table]


def headline(found: Sequence[Row], scored: Sequence[Score]) -> str:
    """Return the result in a sentence: the score, or what is known without one."""
    if scored:
        return _score_line(scored[0])
    fitted = [row for row in found if row.given is not None and row.given.fitted]
    predicted = sum(row.given is None and row.simulated is not None for row in found)
    residuals = Errors.of(row.residual for row in fitted if row.residual is not None)
    met = f", met to within {percent(residuals.mean)} on average" if residuals else ""
    return f"{predicted} figures are predicted from {len(fitted)} that constants were fitted on{met}."


def _score_line(one: Score) -> str:
    figures = _counted(one.simulated.count, "figure that was", "figures that were")
    missed = f"{percent(one.simulated.mean)} on average, {percent(one.simulated.median)} in the median"
    line = f"{figures} not given: the simulation misses by {missed}"
    if one.null is None or one.beside is None:
        return f"{line}."
    null = f"the null model by {percent(one.null.mean)} and {percent(one.null.median)}"
    if one.null.count == one.simulated.count:
        return f"{line}; {null}."
    beside = f"the simulation by {percent(one.beside.mean)} and {percent(one.beside.median)}"
    return f"{line}. Of the {one.null.count} that a null model has, {beside}; {null}."


def sentences(outcomes: Sequence[Outcome], found: Sequence[Row], comparison: Comparison) -> list[str]:
    """Return what a reader must know of the numbers."""
    finished = sum(outcome.result is not None for outcome in outcomes)
    seeds = len({outcome.point.config.seed for outcome in outcomes})
    variants = list(dict.fromkeys(row.variant for row in found))
    told = [f"{finished} of {_counted(len(outcomes), 'point')} finished, with {_counted(seeds, 'seed')}: {'; '.join(variants)}."]
    missing = sum(row.published is not None and row.simulated is None for row in found)
    if missing:
        told.append(f"{_counted(missing, 'published figure')} cannot be scored: their points are not finished.")
    if comparison.file is None:
        told.append("No published values were given to score with: targets=FILE does.")
    else:
        used = sum(row.published is not None for row in found)
        told.append(f"Of {_counted(len(comparison.targets), 'value')} in {comparison.file}, {used} are figures of this sweep.")
        known = sum(row.published is not None and row.given is not None for row in found)
        if known:
            told.append(f"{_counted(known, 'of these was', 'of these were')} given before, and is in no score.")
    return told


def score_table(scored: Sequence[Score]) -> Table:
    """Return the scores as a table."""
    made = []
    for one in scored:
        cells = [one.scope, f"{one.simulated.count}", percent(one.simulated.mean), percent(one.simulated.median)]
        for errors in (one.beside, one.null):
            cells += [percent(errors.mean), percent(errors.median)] if errors else [NOTHING, NOTHING]
        made.append([*cells[:4], f"{one.null.count if one.null else 0}", *cells[4:]])
    headings = ("figures", "number", "simulation, mean", "median", "with a null model", "simulation, mean", "median")
    return Table((*headings, "null model, mean", "median"), made)


def fitted_table(outcomes: Sequence[Outcome], found: Sequence[Row], published: Published) -> Table:
    """Return each parameter, its value, and how the value that it was fitted on is met."""
    made = []
    for row in found:
        if row.given is None or not row.given.fitted:
            continue
        free = published.parameters.get(row.given.fitted)
        statistic = published.statistics[row.statistic]
        if free is None:
            name, keys, value = f"{FACTOR} of {statistic.label.lower()}", "", f"{statistic.factor:g}"
        else:
            config = next(outcome.point.config for outcome in outcomes if outcome.point.name.variant == row.variant)
            name, keys = row.given.fitted, ", ".join(free.keys)
            value = number(flat_values(config)[free.keys[0]])
        place = f"{statistic.label}: {row.variant}, {shown(row.x)}"
        made.append((name, keys, value, place, digits(row.given.value), _simulated(row), signed(row.residual)))
    return Table(
        ("parameter", "key", "value", "fitted on", "given", "simulated", "residual"),
        made,
        "Fitted",
        "" if made else "No figure that a constant was fitted on is in this sweep.",
    )


def known_table(found: Sequence[Row], published: Published) -> Table:
    """Return the given values that nothing was fitted on."""
    made = [
        (
            *(published.statistics[row.statistic].label, row.variant, shown(row.x)),
            *(digits(row.given.value), _simulated(row), signed(row.residual)),
        )
        for row in found
        if row.given is not None and not row.given.fitted
    ]
    headings = ("statistic", "variant", published.axis.label, "given", "simulated", "difference")
    return Table(headings, made, "Given, not fitted", "" if made else "All given figures of this sweep are fitted ones.")


def null_sentence(published: Published, name: str) -> str:
    """Return what the null model of a statistic says, in words."""
    statistic = published.statistics[name]
    if not any(given.statistic == name for given in published.given):
        return f"{statistic.label}: none, since no value was given."
    if statistic.null_model == LINEAR:
        return (
            f"{statistic.label}: proportional to {published.axis.label}, from the given value at the smallest number of the same "
            "variant, or else of the first one that has any; without a number, the nearest value given."
        )
    return f"{statistic.label}: the nearest value given, of the first variant that has any, for all variants."


def percent(share: float) -> str:
    """Return a share as a percentage."""
    return f"{100 * share:.1f} %"


def signed(share: float | None) -> str:
    """Return a relative error, with its sign."""
    return NOTHING if share is None else f"{round(100 * share, 1) + 0.0:+.1f} %"  # -0.0 is 0.0


def _figure(published: Published, name: str, variants: Sequence[str], found: Sequence[Row]) -> Figure:
    statistic = published.statistics[name]
    own = [row for row in found if row.statistic == name]
    has_width = any(row.simulated is not None and row.simulated.seeds > 1 for row in own)
    unit = f"{statistic.label} ({statistic.unit})" if statistic.unit != "1" else statistic.label
    caption = f"{unit} over {published.axis.label}. Lines: simulated" + (
        ", means over seeds with 95 % intervals." if has_width else ", of one seed."
    )
    drawn = panels(published, name, variants, own)
    return Figure(name.replace(".", "-"), statistic.label, caption, drawn, legend(variants, own), _table(published, own))


def _table(published: Published, own: Sequence[Row]) -> Table:
    made = []
    for row in own:
        given = digits(row.given.value) + (" (fitted)" if row.given.fitted else "") if row.given else ""
        null = digits(row.null) if row.null is not None else NOTHING
        target = digits(row.published) if row.published is not None else ""
        errors = [signed(error) if row.published is not None else "" for error in (row.error, row.null_error)]
        made.append((row.variant, shown(row.x), given, _simulated(row), null, target, *errors))
    return Table(
        ("variant", published.axis.label, "given", "simulated", "null model", "published", "error", "error of null model"), made
    )


def _simulated(row: Row) -> str:
    if row.simulated is None:
        return "not run"
    width = f" ± {digits(row.simulated.half_width)}" if row.simulated.seeds > 1 else ""
    return f"{digits(row.simulated.mean)}{width}"


def _cells(row: Row, published: Published) -> list[object]:
    simulated = (row.simulated.mean, row.simulated.half_width, row.simulated.seeds) if row.simulated else (None, None, 0)
    given = (row.given.value, row.given.fitted) if row.given else (None, None)
    place = (row.statistic, published.statistics[row.statistic].unit, row.variant, row.x)
    return [*place, *given, *simulated, row.null, row.published, row.error, row.null_error]


def _counted(count: int, noun: str, nouns: str = "") -> str:
    return f"{count} {noun if count == 1 else nouns or noun + 's'}"
