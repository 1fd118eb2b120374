"""``python -m experiments.search``: runs compositions of organization choices and says which are best, and what each choice does.

The command line and what it prints. Points run on Ray and are kept and logged like those of a sweep.
"""

import argparse
import hashlib
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from experiments.config.command_line import exit_code_of
from experiments.config.compose import Composed, compose
from experiments.config.elements import elements
from experiments.config.locations import CONF
from experiments.config.output import terminal
from experiments.config.overrides import check_overrides
from experiments.config.user_errors import InputError, unknown_key
from experiments.points.folders import check_output_dir, output_folder
from experiments.points.point import Point
from experiments.points.statistics import BUSY, check_measured, check_statistic, main_statistic
from experiments.run.cluster import check_cluster
from experiments.search.findings import Findings, findings_of
from experiments.search.plan import Budget, SearchPlan
from experiments.search.report import headline, value, write_search
from experiments.search.space import Space, Value, check_values, default_choices, space_of, values_of
from experiments.store.logbook import check_reachable
from experiments.sweep import SweepName, SweepSettings, list_points, run_plan
from netstack.errors import ConfigError
from netstack.installation import started_as
from netstack.sim import SimulationConfig
from netstack.sim.organization.config import OrganizationConfig

COMMAND = "python -m experiments.search"
PURPOSE = "Runs compositions of an organization's choices, and says which are best and what each choice does."
EXAMPLES = """\
KEY=VALUE is what `run.py` takes. Several values of a key org.KEY are searched, one value is fixed. Beside them:
  objective=goodput_mbps     statistic to search for; a second one after a comma is traded against it
  choices=serialize,lookup   searched choices; by default all that matter for the machine and the workload
  budget=1000                compositions; if there are more, a sampler chooses
  sampler=auto               auto, full (all, whatever the budget) or tpe (a sampler in any case)
  seed=1,2,3                 of each composition

  python -m experiments.search machine=opteron_2x2 conns=192
  python -m experiments.search machine=epyc_7662 costs=linux6 workload=memcached conns=4480 objective=requests_per_second,p99_us
"""
SAMPLERS = ("auto", "full", "tpe")
ORGANIZATION = tuple(field.name for field in fields(OrganizationConfig) if field.name != "name")
"""Keys of an organization that may be searched or fixed."""
OWN = ("objective", "choices", "budget", "sampler")
DEFAULT_BUDGET, MOST_COMPOSITIONS = 1000, 100_000


@dataclass(frozen=True)
class Request:
    """What was asked for: the keys of a search, and the overrides of its points."""

    objectives: tuple[str, str]
    budget: Budget
    sampler: str
    base: Composed
    space: Space
    published: list[SimulationConfig]


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0, 1 if a point failed or was not logged, 2 for input that cannot be used, 130 if interrupted."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(started_as(COMMAND), None, PURPOSE, EXAMPLES, formatter_class=form)
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="what is simulated, and how it is searched")
    parser.add_argument("--dry-run", action="store_true", help="list what would be run, and which of it is done")
    given = parser.parse_args(arguments)
    typed = [*given.settings, *(["--dry-run"] if given.dry_run else [])]
    return exit_code_of(lambda: _run(given.settings, given.dry_run, typed, terminal()), given.settings)


def _run(given: Sequence[str], dry_run: bool, typed: Sequence[str], console: Console) -> None:
    request = read_request(given)
    whole = request.base.whole
    output_dir = output_folder(whole.output_dir)
    sampled = request.sampler == "tpe"
    plan = SearchPlan(request.space, request.published, request.budget, request.objectives[0], sampled, output_dir)
    _say(console, _announcement(request, plan))
    if dry_run:
        list_points(plan.points, console)
        return
    check_output_dir(output_dir)
    check_reachable(whole.tracking, output_dir)
    check_cluster(whole.ray.address)
    command = shlex.join([*started_as(COMMAND).split(), *typed])
    settings = SweepSettings(output_dir, whole.tracking, whole.workers, whole.ray, command=command)

    @cache
    def found() -> Findings | None:  # asked for when all has run
        return findings_of(plan, request.objectives[1])

    def write(folder: Path, _: object) -> list[Path]:
        findings = found()
        return write_search(folder, findings, list(request.space.choices), command) if findings is not None else []

    def say(_: object) -> None:
        findings = found()
        if findings is not None:
            _print(console, findings)

    run_plan(plan, _name(request, plan.points), settings, console, write, say)


def read_request(given: Sequence[str]) -> Request:
    """Return what a command line asks for.

    Raises:
        ConfigError: A value cannot be used.
        InputError: An argument is no KEY=VALUE.
    """
    own, others = _split(given)
    searched, overrides = _searched(others)
    seeds = _seeds(overrides)
    base = compose(*(str(override.input_line) for override in overrides if override.key_or_group != "seed"))
    for key, values in searched.items():
        check_values(key, values)
    choices = _choices(own.get("choices"), base.config, {key: tuple(values) for key, values in searched.items()})
    budget = _whole_number("budget", own.get("budget", str(DEFAULT_BUDGET)), MOST_COMPOSITIONS)
    sampler = own.get("sampler", "auto")
    if sampler not in SAMPLERS:
        raise ConfigError("sampler", sampler, f"allowed are {', '.join(SAMPLERS)}")
    space = space_of(base.config, choices)
    if sampler == "full":
        budget = len(space.compositions)
    plain = [str(each.input_line) for each in overrides if each.key_or_group not in ("org", "seed")]
    return Request(_objectives(own.get("objective"), base.config), Budget(budget, seeds), sampler, base, space, _published(plain))


def _split(given: Sequence[str]) -> tuple[dict[str, str], list[Override]]:
    """Return the search's own keys with their values, and all other overrides."""
    own, others = {}, []
    for argument in given:
        key, mark, text = argument.partition("=")
        if not mark:
            raise InputError(f"{argument}: must be KEY=VALUE")
        if key in OWN:
            own[key] = text
        else:
            others.append(argument)
    found = OverridesParser.create().parse_overrides(others)
    check_overrides(found)
    return own, found


def _searched(overrides: Sequence[Override]) -> tuple[dict[str, list[Value]], list[Override]]:
    """Return the values of each key of the organization that was given, and the overrides of everything else."""
    searched: dict[str, list[Value]] = {}
    others = []
    for override in overrides:
        section, _, key = override.key_or_group.partition(".")
        if section == "org" and key:
            if key not in ORGANIZATION:
                raise InputError(unknown_key(str(override.input_line), f"org.{key}", [f"org.{each}" for each in ORGANIZATION]))
            searched[key] = elements(override)
        elif override.is_sweep_override() and override.key_or_group != "seed":
            raise ConfigError(
                override.key_or_group, override.get_value_string(), "must be one value: a search varies choices of org"
            )
        else:
            others.append(override)
    return searched, others


def _seeds(overrides: Sequence[Override]) -> tuple[int, ...]:
    for override in overrides:
        if override.key_or_group == "seed":
            found = elements(override)
            if not all(isinstance(seed, int) and 0 <= seed < 1 << 63 for seed in found):
                raise ConfigError("seed", override.get_value_string(), "must be whole numbers from 0 to 9223372036854775807")
            return tuple(dict.fromkeys(found))
    return (1,)


def _choices(given: str | None, base: SimulationConfig, listed: dict[str, tuple[Value, ...]]) -> dict[str, tuple[Value, ...]]:
    """Return the values of each choice: those that were listed, and all of others."""
    if given is None:
        return default_choices(base, listed)
    keys = [key for key in given.strip("[]").split(",") if key]
    return {**{key: values_of(key, base) for key in keys if key not in listed}, **listed}


def _objectives(given: str | None, config: SimulationConfig) -> tuple[str, str]:
    """Return the two statistics of a search."""
    of_workload = main_statistic(config)
    names = given.split(",") if given is not None else [of_workload]
    for name in names:
        check_statistic("objective", name)
        check_measured("objective", name, config)
    if len(names) > 2 or len(set(names)) < len(names):
        raise ConfigError("objective", given, "must be one statistic, or two different ones after each other")
    second = "p99_us" if of_workload == "requests_per_second" else BUSY
    return names[0], names[1] if len(names) == 2 else second if names[0] != second else of_workload


def _published(overrides: Sequence[str]) -> list[SimulationConfig]:
    """Return the organizations of `conf/org/` that the machine and the workload allow."""
    found = []
    for path in sorted((CONF / "org").glob("*.yaml")):
        try:
            found.append(compose(*overrides, f"org={path.stem}").config)
        except ConfigError:
            continue
    return found


def _whole_number(key: str, text: str, most: int) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise ConfigError(key, text, f"must be a whole number from 1 to {most:,}")
    return int(text)


def _announcement(request: Request, plan: SearchPlan) -> str:
    choices = ", ".join(f"{key} ({len(values)})" for key, values in request.space.choices.items() if len(values) > 1)
    count = len(request.space.compositions)
    how = f"a sampler chooses {min(request.budget.compositions, count)} of them" if plan.is_sampled else "all are run"
    return f"{count} compositions of {choices} are not refused; {how}, beside {len(request.published)} published organizations"


def _name(request: Request, points: Sequence[Point]) -> SweepName:
    """Return what a search is called: the same for the same question and the same sources."""
    question = [
        request.objectives,
        request.budget,
        request.sampler,
        sorted(request.space.choices.items(), key=lambda item: item[0]),
    ]
    digest = hashlib.sha256(repr([question, points[0].fingerprint, request.space.compositions]).encode()).hexdigest()[:16]
    config = request.base.config
    return SweepName(
        digest, f"search by {request.objectives[0]}; {config.machine.name}, {config.workload.name}, conns={config.conns}"
    )


def _print(console: Console, findings: Findings) -> None:
    """Print the best organizations and the published ones."""
    first, second = findings.objectives
    table = Table(box=SIMPLE, padding=0, pad_edge=False)
    for heading in ("rank", "organization", first, second):
        table.add_column(heading, justify="left" if heading == "organization" else "right", overflow="fold")
    for place in findings.shown():
        each = findings.ranking[place]
        name = f"{each.name} (published)" if each.published else each.name
        table.add_row(str(place + 1), name, value(each, first), value(each, second))
    _say(console, headline(findings))
    console.print(table)


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
