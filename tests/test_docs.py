"""What the pages of docs say of the code is there: files, functions, statistics, keys, and programs that run."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.config.schema import RunConfig
from experiments.config.values import flattened
from netstack.sim import Result
from netstack.sim.engine.result import LockStatistics, MissStatistics
from netstack.sim.organization.config import CHOICES
from netstack.sim.organization.plan import PHASES
from tests.helpers.folders import ROOT
from tests.test_layers import ORDERED

DOCS = ROOT / "docs"
ARCHITECTURE = (DOCS / "architecture.md").read_text()
PATH = r"`((?:netstack|experiments|hydra_plugins|tests|benchmarks|conf|deploy|examples)/[\w/.-]+\w|run\.py)`"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md")), *sorted((DOCS / "organizations").glob("*.md"))]
EXAMPLE_FILES = ("conf/org/connp_l_hash.yaml", "conf/machine/opteron_10g.yaml", "conf/experiment/dispatch.yaml")
"""Files that a reader is told to write."""


def rows(text: str, heading: str) -> Iterator[list[str]]:
    """Yield the cells of the tables between a heading and the next one of its kind."""
    level = heading.partition(" ")[0]
    section = re.split(rf"^{level} ", text.partition(f"\n{heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    assert section, heading
    for line in section.splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def first_names(text: str, heading: str) -> list[str]:
    """Return the names in the first cells of a section's tables."""
    return [name for row in rows(text, heading) for name in re.findall(r"`([\w.]+)`", row[0])]


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_named_files_exist(page: Path) -> None:
    named = set(re.findall(PATH, page.read_text())) - set(EXAMPLE_FILES)
    assert {name for name in named if not (ROOT / name).exists()} == set()


@pytest.mark.parametrize("trip", ["## Trip 1: a received ACK in `msgp`", "## Trip 2: a sweep, from the command line to MLflow"])
def test_a_trip_goes_through_functions_that_exist(trip: str) -> None:
    steps = [row for row in rows(ARCHITECTURE, trip) if row[0].startswith("`")]
    assert len(steps) > 10
    for file, functions, _ in steps:
        source = (ROOT / file.strip("`")).read_text()
        for name in re.findall(r"`(\w+)`", functions):
            assert re.search(rf"^(?:def|class) {name}\b|^from .* import .*\b{name}\b", source, re.MULTILINE), (file, name)


def test_the_layers_are_those_that_imports_keep() -> None:
    for part, order in ORDERED.items():
        shown = re.search(rf"```text\n{part.replace('.', '/')}/\n(.*?)```", ARCHITECTURE, re.DOTALL)
        assert shown is not None
        names = [line.split()[0].rstrip("/").removesuffix(".py") for line in shown[1].splitlines()]
        assert names == [name for name in order if name != "__main__"]


def test_the_phases_are_those_of_the_plan() -> None:
    shown = [re.findall(r"`([A-Z_]+)`", row[1]) for row in rows(ARCHITECTURE, "## The way of a segment") if "FINISH" in row[1]]
    assert shown == [[phase.name for phase in phases] for phases in PHASES.values()]


def test_every_statistic_is_listed_with_its_unit() -> None:
    listed = [
        (row[0].strip("`"), row[1]) for row in rows((DOCS / "results.md").read_text(), "## The statistics") if "`" in row[0]
    ]
    kinds = (Result, MissStatistics, LockStatistics)
    assert listed == [(field.name, field.metadata["unit"]) for kind in kinds for field in dataclasses.fields(kind)]


def test_keys_and_choices_exist() -> None:
    text = (DOCS / "configuration.md").read_text()
    known = {*flattened(dataclasses.asdict(RunConfig())), "tracking"}
    keys = first_names(text, "## Keys")
    assert len(keys) > 10
    assert set(keys) <= known
    choices = {
        row[0].strip("`"): tuple(re.findall(r"`(\w+)`", row[1])) for row in rows(text, "## Organizations") if row[0] != "choice"
    }
    assert {f"org.{name}": values for name, values in CHOICES.items()}.items() <= choices.items()


def test_groups_and_files_are_those_of_conf() -> None:
    listed = {row[0].strip("`"): row[2] for row in rows((DOCS / "configuration.md").read_text(), "## Groups") if "`" in row[0]}
    folders = [path for path in (ROOT / "conf").iterdir() if path.is_dir()]
    assert set(listed) == {path.name for path in folders}
    for folder in folders:
        assert {path.stem for path in folder.glob("*.yaml")} <= set(re.findall(r"`(\w+)`", listed[folder.name])), folder.name


def test_programs_of_the_api_page_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    programs = re.findall(r"```python\n(.*?)```", (DOCS / "api.md").read_text(), re.DOTALL)
    assert len(programs) >= 3
    for program in programs:
        exec(compile(program, "docs/api.md", "exec"), names)
    assert capsys.readouterr().out.splitlines()[-1] == "b'hello'"
