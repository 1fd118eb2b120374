"""The conformance suite: every script and every case of one passes against the project's own endpoint."""

from pathlib import Path

import pytest

from netstack.tcp.script.backend import endpoint_backend
from netstack.tcp.script.coverage import coverage_table, sections_of
from netstack.tcp.script.interpreter import Verdict, run_script
from netstack.tcp.script.parser import load
from netstack.tcp.script.syntax import Script

FOLDER = Path(__file__).parent / "scripts"
SCRIPTS = [script for path in sorted(FOLDER.rglob("*.pkt")) for script in load(str(path))]


def name_of(script: Script) -> str:
    name = str(Path(script.path).relative_to(FOLDER))
    return f"{name}: {script.case}" if script.case else name


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_script(script: Script) -> None:
    outcome = run_script(script, endpoint_backend())
    assert outcome.verdict is Verdict.PASS, str(outcome)


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_a_script_names_the_section_that_it_tests(script: Script) -> None:
    assert sections_of(script)


def test_the_table_of_sections_is_up_to_date() -> None:
    text = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text()
    assert text.endswith(coverage_table(SCRIPTS)), "run python -m netstack.tcp.script --coverage, as the page says"
