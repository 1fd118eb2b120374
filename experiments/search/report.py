"""What a search found, as files: a figure, tables in Markdown and CSV, and the best organization as a file for `conf/org/`.

Knows compositions and their results, not how they were run.
"""

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from experiments.config.values import number
from experiments.points.statistics import GREATER_IS_BETTER, unit
from experiments.search.effects import Effect, main_effects, pair_effects, pareto_front
from experiments.search.plan import Candidate, SearchPlan

FIGURE, TABLES, RANKING, EFFECTS, BEST = "search.png", "search.md", "ranking.csv", "effects.csv", "best.yaml"
BEST_ROWS = 10  # of the table


@dataclass(frozen=True)
class Findings:
    """What a search found.

    Attributes:
        ranking: Finished candidates, the best first.
        front: Places in `ranking` that no other candidate beats in both objectives.
        effects: Of each value of each choice on the first objective.
        pairs: How much the effect of one choice depends on another one.
        objectives: The two statistics.
        compositions: How many there are in the space.
        is_sampled: Whether only some of them were run.
    """

    ranking: list[Candidate]
    front: list[int]
    effects: list[Effect]
    pairs: dict[tuple[str, str], float]
    objectives: tuple[str, str]
    compositions: int
    is_sampled: bool

    @property
    def alike(self) -> int:
        """How many candidates, the best one among them, have an interval that reaches that of the best one."""
        first = self.objectives[0]
        sign = 1 if first in GREATER_IS_BETTER else -1
        best = self.ranking[0]
        limit = sign * best.mean(first) - best.half_width(first)
        return sum(sign * each.mean(first) + each.half_width(first) >= limit for each in self.ranking)

    def shown(self) -> list[int]:
        """Return the places of the best candidates and of all published ones."""
        return [place for place, each in enumerate(self.ranking) if place < BEST_ROWS or each.published]


def findings_of(plan: SearchPlan, second: str) -> Findings | None:
    """Return what a search found by its plan's objective and a second one; None if nothing finished."""
    ranking = plan.finished()
    if not ranking:
        return None
    objectives = (plan.objective, second)
    signs = [1 if name in GREATER_IS_BETTER else -1 for name in objectives]
    columns = [[each.mean(name) for each in ranking] for name in objectives]
    values = {each.index: each.mean(plan.objective) for each in ranking if each.index is not None}
    return Findings(
        ranking,
        pareto_front(columns[0], columns[1], (signs[0], signs[1])),
        main_effects(plan.space, values),
        pair_effects(plan.space, values),
        objectives,
        len(plan.space.compositions),
        plan.is_sampled,
    )


def write_search(folder: Path, plan: SearchPlan, second: str, command: str) -> list[Path]:
    """Write the files of a search into its folder; return them."""
    from experiments.search.figure import draw_search  # slow to import

    findings = findings_of(plan, second)
    if findings is None:
        return []
    _write_ranking(folder / RANKING, findings, list(plan.space.choices))
    _write_rows(folder / EFFECTS, [{**asdict(effect), "needs": " ".join(effect.needs)} for effect in findings.effects])
    (folder / TABLES).write_text(tables(findings, command), encoding="utf-8")
    (folder / BEST).write_text(best_file(findings, command), encoding="utf-8")
    draw_search(folder / FIGURE, findings)
    return [folder / name for name in (FIGURE, TABLES, RANKING, EFFECTS, BEST)]


def headline(findings: Findings) -> str:
    """Return what was run and what is best, in a sentence."""
    first = findings.objectives[0]
    best = findings.ranking[0]
    run = sum(each.index is not None for each in findings.ranking)
    some = (
        f"{run} of {findings.compositions} compositions, chosen by a sampler"
        if findings.is_sampled
        else f"all {run} compositions"
    )
    rest = (
        f", and {len(findings.ranking) - run} published organizations that differ in more" if len(findings.ranking) > run else ""
    )
    alike = f" {findings.alike - 1} more are as good within the seeds' intervals." if findings.alike > 1 else ""
    return f"Of {some}{rest}, {best.name} is best: {value(best, first)}.{alike}"


def value(candidate: Candidate, name: str) -> str:
    """Return the mean of a statistic with its interval and unit."""
    mean, width = candidate.mean(name), candidate.half_width(name)
    digits = 0 if abs(mean) >= 1000 else 1 if abs(mean) >= 10 else 2
    interval = f" ± {width:,.{digits}f}" if len(candidate.points) > 1 else ""
    return f"{mean:,.{digits}f}{interval} {unit(name)}".rstrip()


def tables(findings: Findings, command: str) -> str:
    """Return the ranking, the effects and the front as Markdown."""
    first, second = findings.objectives
    ranks = [
        (str(place + 1), each.name, "yes" if each.published else "", value(each, first), value(each, second))
        for place, each in ((place, findings.ranking[place]) for place in findings.shown())
    ]
    effects = [
        (effect.choice, number(effect.value), f"{effect.mean:+,.4g}", f"{effect.least:+,.4g} to {effect.most:+,.4g}",
         str(effect.pairs), ", ".join(effect.needs))
        for effect in findings.effects
    ]  # fmt: skip
    front = [
        (findings.ranking[place].name, value(findings.ranking[place], first), value(findings.ranking[place], second))
        for place in findings.front
    ]
    pairs = [(one, other, f"{amount:,.4g}") for (one, other), amount in sorted(findings.pairs.items(), key=lambda item: -item[1])]
    in_units = f" ({unit(first)})" if unit(first) else ""
    parts = [
        f"# The space of organizations by {first}",
        headline(findings),
        f"    {command}",
        "## The best ones, and all published ones",
        _table(("rank", "organization", "published", first, second), ranks),
        "## What each choice does",
        f"By how much {first}{in_units} changes where a value replaces another one, and all else stays, or as much of it as "
        "combinations that are not refused allow: what changes with it is in the last column.",
        _table(("choice", "value", "mean", "least to most", "pairs", "with"), effects),
        "## Pairs of choices",
        f"By how much the effect of one choice on {first}{in_units} depends on the other one: the mean amount by which four "
        "compositions that differ in these two only are not the sum of both changes.",
        _table(("choice", "other choice", "amount"), pairs),
        f"## Not beaten in {first} and {second} at once",
        _table(("organization", first, second), front),
    ]
    return "\n\n".join(parts) + "\n"


def best_file(findings: Findings, command: str) -> str:
    """Return the best organization as a file for `conf/org/`."""
    best = findings.ranking[0]
    org = best.points[0].config.org
    said = "".join(f"# {line}\n" for line in (headline(findings), f"Found by {command}"))
    name = "_".join(org.name.replace("=", "_").split())
    return said + yaml.safe_dump({**asdict(org), "name": name}, sort_keys=False)


def _write_ranking(path: Path, findings: Findings, choices: Sequence[str]) -> None:
    rows = []
    for place, each in enumerate(findings.ranking):
        org = each.points[0].config.org
        row: dict[str, object] = {"rank": place + 1, "organization": each.name, "published": each.published}
        row |= {choice: getattr(org, choice) for choice in choices}
        for name in findings.objectives:
            row |= {name: each.mean(name), f"{name} half width": each.half_width(name)}
        rows.append({**row, "front": place in findings.front})
    _write_rows(path, rows)


def _write_rows(path: Path, rows: Sequence[dict[str, object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
