"""``python -m experiments.calibrate``: fits the constants that stay open to the publication, and writes them into `conf/`.

The command line and what it prints; what is fitted is in `experiments.calibrate.targets`.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from experiments.calibrate.fit import Fit, fit
from experiments.calibrate.targets import (
    SPECIFICATION,
    CalibrationConfig,
    Free,
    Simulator,
    compose,
    digits,
    free_parameters,
    read_specification,
    record,
    rewritten,
    targets,
)
from experiments.config.command_line import check_workers, exit_code_of
from experiments.config.locations import CONF
from experiments.config.output import terminal
from experiments.run.progress import progress_bar
from netstack.errors import ConfigError
from netstack.installation import checkout, started_as

PURPOSE = "Fits the constants that stay open to the publication, and writes them into `conf/`."


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 if a point failed, 2 for input that cannot be used, 130 if interrupted."""
    parser = argparse.ArgumentParser(prog=started_as("python -m experiments.calibrate"), description=PURPOSE)
    parser.add_argument("--dry-run", action="store_true", help="print the fit and write nothing")
    parser.add_argument(
        "--specification", type=Path, default=SPECIFICATION, metavar="FILE", help="what is free (conf/calibration.yaml)"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count(), metavar="N", help="points at a time (one per CPU)")
    given = parser.parse_args(arguments)

    def command() -> None:
        if checkout() is None and not given.dry_run:
            allowed = "is installed, and only files of a checkout are changed: give --dry-run, or start there"
            raise ConfigError("conf", CONF, allowed)
        specification = read_specification(given.specification)
        check_workers(given.workers)
        calibrate(specification, given.dry_run, given.workers, terminal())

    return exit_code_of(command, [], kept="nothing was written")


def calibrate(specification: CalibrationConfig, dry_run: bool, workers: int, console: Console) -> Fit:
    """Fit, print and, unless it is a dry run, write.

    Raises:
        ConfigError: A key or value cannot be used.
        FitError: The targets do not determine a parameter.
        PointsFailedError: A point failed.
    """
    composition = compose(specification)
    free = free_parameters(specification, next(iter(composition.configs.values())))
    with progress_bar(console, transient=True) as progress:
        bar = progress.add_task("composing")

        def show(evaluation: int, done: float, points: int) -> None:
            progress.update(bar, description=f"evaluation {evaluation}, points", completed=done, total=points)

        found = fit(Simulator(composition, free, workers, show), [one.parameter for one in free], targets(), specification.step)
    print_fit(console, free, found)
    texts = rewritten(composition, free, found, record(specification, free, found))
    for path, text in texts.items():
        if dry_run:
            console.print(f"not written: {path}", style="dim", highlight=False, soft_wrap=True)
        else:
            path.write_text(text, encoding="utf-8")
            console.print(f"written: {path}", highlight=False, soft_wrap=True)
    return found


def print_fit(console: Console, free: Sequence[Free], found: Fit) -> None:
    """Print the fitted parameters, how the targets are met, and what the targets tell about each parameter."""
    style = {"title_justify": "left", "box": SIMPLE, "padding": (0, 1)}
    parameters = Table(title="Fitted parameters: groups of values in proportion, by the value of one of them", **style)
    for heading in ("parameter", "measured by", "before", "fitted", "factor", "values", "bounds", "determined by", "to within"):
        parameters.add_column(heading, justify="left" if heading in ("parameter", "measured by", "determined by") else "right")
    for one, value, by, uncertainty in zip(free, found.values, found.determined_by, found.uncertainties, strict=True):
        before = one.members[one.measured_by]
        parameters.add_row(
            one.name,
            ".".join(one.measured_by.split(".")[-2:]),
            f"{before:g}",
            f"{value:.1f}",
            f"{value / before:.3f}",
            str(len(one.members)),
            f"{one.low:g}-{one.high:g}",
            by,
            f"{uncertainty:.1%}",
        )
    console.print(parameters)
    rows = Table(title="Targets, and by how many percent each grows with a percent of a parameter", **style)
    rows.add_column("target")
    for heading in ("unit", "published", "before", "fitted", "residual", "tolerances", *(one.name for one in free)):
        rows.add_column(heading, justify="right")
    for index, target in enumerate(targets()):
        simulated, shown = found.simulated[index], digits(target)
        rows.add_row(
            target.name,
            target.unit,
            f"{target.published:,.{shown}f}",
            f"{found.before[index]:,.{shown}f}",
            f"{simulated:,.{shown}f}",
            f"{simulated / target.published - 1:+.1%}",
            f"{(simulated - target.published) / target.tolerance:+.2f}",
            *(f"{elasticity:+.2f}" for elasticity in found.elasticities[index]),
        )
    console.print(rows)
    for warning in found.warnings:
        console.print(f"warning: {warning}", style="yellow", highlight=False, soft_wrap=True)
    console.print(f"{found.evaluations} evaluations", style="dim", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
