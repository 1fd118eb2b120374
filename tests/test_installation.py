"""Sources know whether a checkout is around them, and a process how it was started."""

import sys
from pathlib import Path

import pytest

from netstack import installation
from netstack.installation import PACKAGE, checkout, started_as
from tests.helpers.folders import ROOT


def test_a_checkout_has_the_configuration_files_and_the_entry_beside_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert checkout() == ROOT
    monkeypatch.setattr(installation, "PACKAGE", tmp_path / "netstack")
    assert checkout() is None
    (tmp_path / "conf").mkdir()
    assert checkout() is None
    (tmp_path / "run.py").touch()
    assert checkout() == tmp_path


@pytest.mark.parametrize(
    ("script", "shown"),
    [
        ("run.py", "python run.py"),
        ("/home/user/project/run.py", "python run.py"),
        ("/home/user/.venv/bin/netstack", "netstack"),
        ("/home/user/.venv/bin/netstack-wire", "netstack-wire"),
        (f"{PACKAGE.parent}/experiments/__main__.py", "python -m experiments"),
        (f"{PACKAGE}/wire/__main__.py", "python -m netstack.wire"),
        ("/usr/lib/other/__main__.py", "python run.py"),
        ("", "python run.py"),
    ],
)
def test_how_a_process_was_started(script: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [script])
    assert started_as("python run.py") == shown
