"""Renders templates of reports, with the style sheet inside, and says where results come from.

Knows how a page is put together, not what it shows.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from experiments.points.point import Outcome
from experiments.points.provenance import commit_label

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> str:
    """Return a page that refers to nothing outside. Every name that the template uses must be given."""
    environment = Environment(
        loader=PackageLoader("experiments.present.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["markup"] = Markup
    environment.filters["unbroken"] = _unbroken
    return environment.get_template(template).render(style=(TEMPLATES / "style.css").read_text(encoding="utf-8"), **values)


def script(name: str) -> str:
    """Return a script as it stands in a page."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def facts(outcomes: Sequence[Outcome]) -> list[tuple[str, str]]:
    """Return what identifies the results: where they come from, on what they ran, when."""
    finished = [outcome for outcome in outcomes if outcome.result is not None]
    origins = [outcome.point.provenance() for outcome in finished]
    commits = sorted({commit for known in origins if (commit := commit_label(known)) is not None})
    machines = sorted({outcome.point.config.machine.name for outcome in finished})
    settled = sum(outcome.result is not None and outcome.result.steady for outcome in finished)
    tools = sorted(
        {f"Python {known['python.version']}, Numba {known['numba.version']}, NumPy {known['numpy.version']}" for known in origins}
    )
    return [
        ("points", f"{len(finished)} of {len(outcomes)} finished, {settled} of them settled"),
        ("seeds", ", ".join(map(str, sorted({outcome.point.config.seed for outcome in outcomes})))),
        ("machine", ", ".join(machines)),
        ("costs", ", ".join(sorted({outcome.point.config.costs.name for outcome in finished}))),
        ("commit", ", ".join(commits) or "none: not a git working tree"),
        ("model version", ", ".join(sorted({known["model.version"] for known in origins}))),
        ("versions", "; ".join(tools)),
        ("written", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
    ]


def _unbroken(text: str) -> str:
    """Return a text whose numbers stay on a line with what belongs to them."""
    for sign in ("%", "×", "÷"):
        text = text.replace(f" {sign}", f"\u00a0{sign}")
    return text.replace("× ", "×\u00a0").replace("÷ ", "÷\u00a0")
