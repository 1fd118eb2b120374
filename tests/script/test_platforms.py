"""Scripts of what Linux and FreeBSD do where the RFCs leave a choice, or where an RFC says nothing: calls, errors, timers."""

from pathlib import Path

import pytest

from netstack.script.backend import endpoint_backend
from netstack.script.interpreter import Verdict, run_script
from netstack.script.parser import load
from netstack.script.syntax import Script

FOLDER = Path(__file__).parent / "scripts"
CASES = [
    (platform, script)
    for platform in ("freebsd", "linux")
    for path in sorted((FOLDER / platform).glob("*.pkt"))
    for script in load(str(path), platform=platform)
]


def name_of(value: object) -> str:
    if not isinstance(value, Script):
        return str(value)
    return f"{Path(value.path).stem}: {value.case}" if value.case else Path(value.path).stem


@pytest.mark.parametrize(("platform", "script"), CASES, ids=name_of)
def test_script(platform: str, script: Script) -> None:
    outcome = run_script(script, endpoint_backend(), platform=platform)
    assert outcome.verdict is Verdict.PASS, str(outcome)
