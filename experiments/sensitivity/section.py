"""The report's section on constants: which claims survive a change, and a tornado figure per claim.

Knows what a sensitivity analysis has written, not how it was run.
"""

import io
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

from experiments.present.html.parts import Figure, Section, Table
from experiments.sensitivity.analysis import SURVIVAL_HEADINGS, load_sensitivity, survival
from experiments.sensitivity.tornado import tornado_figure


def sensitivity_section(output_dir: Path) -> Section | None:
    """Return the section; None where no analysis was run."""
    path = output_dir / "sensitivity" / "sensitivity.json"
    if not path.exists():
        return None
    found = load_sensitivity(path)
    table = Table(SURVIVAL_HEADINGS, [row.cells for row in survival(found)])
    figures = []
    for claim in found.claims:
        with mpl.rc_context({"svg.hashsalt": claim.slug}):
            figure, text = tornado_figure(found, claim.name), io.StringIO()
            figure.savefig(text, format="svg", metadata={"Date": None})
            plt.close(figure)
        svg = text.getvalue()
        svg = svg[svg.index("<svg") :]
        figures.append(Figure(claim.slug, claim.name, claim.sentence, (svg,), (), Table((), ())))
    paragraph = f"Each of {len(found.parameters)} groups of constants was lowered and raised by {found.percent:g} %."
    return Section("sensitivity", "Sensitivity to constants", (paragraph,), figures, (table,))
