"""What a search found, as files: a figure, tables in Markdown and CSV, and the best organization as a file for `conf/org/`.

Knows compositions and their results, not how they were run.
"""

import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import yaml

from experiments.config.values import number
from experiments.points.statistics import unit
from experiments.search.findings import Findings
from experiments.search.plan import Candidate

FIGURE, TABLES, RANKING, EFFECTS, BEST = "search.png", "search.md", "ranking.csv", "effects.csv", "best.yaml"


def write_search(folder: Path, findings: Findings, choices: Sequence[str], command: str) -> list[Path]:
    """Write the files of a search for these choices into its folder; return them."""
    from experiments.search.figure import draw_search  # slow to import

    _write_ranking(folder / RANKING, findings, choices)
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
        *(f"`{choice}` follows from `{cause}`." for choice, cause in findings.implied.items()),
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
