"""``python -m experiments.published fit NAME``: fits an experiment's constants to what its publication gives, and writes them.

The command line and what it prints; what is fitted is in `experiments.published.fit`.
"""

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console

from experiments.config.command_line import exit_code_of
from experiments.config.locations import CONF
from experiments.config.output import terminal
from experiments.published.figures import DATA, read_published
from experiments.published.fit import Experiment, fit_experiment, record, with_factors
from netstack.errors import ConfigError
from netstack.installation import checkout, started_as

COMMAND = "python -m experiments.published"
PURPOSE = "Experiments beside publications: fits their constants to the values that are given, and writes them into `conf/`."


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 2 for input that cannot be used, 130 if interrupted."""
    parser = argparse.ArgumentParser(prog=started_as(COMMAND), description=PURPOSE)
    parser.add_argument("action", choices=["fit"], help="what to do")
    parser.add_argument("name", metavar="NAME", help="an experiment of conf/experiment/ with figures")
    parser.add_argument("--seeds", type=int, metavar="N", help="how many of the experiment's seeds are fitted (all)")
    parser.add_argument("--dry-run", action="store_true", help="print the fit and write nothing")
    given = parser.parse_args(arguments)

    def command() -> None:
        if checkout() is None and not given.dry_run:
            raise ConfigError(
                "conf", CONF, "is installed, and only files of a checkout are changed: give --dry-run, or start there"
            )
        fit(given.name, given.seeds, given.dry_run, terminal())

    return exit_code_of(command, [], kept="nothing was written")


def fit(name: str, seeds: int | None, dry_run: bool, console: Console) -> None:
    """Fit, print and, unless it is a dry run, write. Raises ConfigError for what cannot be fitted."""
    published = read_published(name)
    experiment = Experiment(CONF / "experiment" / f"{name}.yaml", published)
    if seeds is not None and not 1 <= seeds <= len(experiment.seeds):
        raise ConfigError("--seeds", seeds, f"must be from 1 to the {len(experiment.seeds)} of the experiment")

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    fitted = fit_experiment(published, experiment, experiment.seeds[:seeds], say)
    options = f" --seeds {seeds}" if seeds is not None else ""
    lines = record(fitted, f"{COMMAND} fit {name}{options}")
    values = {goal.name: value for goal, value in zip(fitted.goals, fitted.solution.values, strict=True)}
    figures = DATA / f"{name}.yaml"
    texts = {experiment.path: experiment.rewritten(published, values, lines)}
    if fitted.factors:
        texts[figures] = with_factors(figures.read_text(encoding="utf-8"), fitted.factors)
    for line in lines:
        say(line)
    for path, text in texts.items():
        if not dry_run:
            path.write_text(text, encoding="utf-8")
        say(f"{'not written' if dry_run else 'written'}: {path}")


if __name__ == "__main__":
    sys.exit(main())
