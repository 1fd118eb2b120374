"""The help names every choice and key, and its examples work."""

import math
import sys

import pytest

import run
from experiments.config.schema import RunConfig
from tests.helpers.folders import CONF

LINE = "  python run.py "


def test_the_help(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", "--help"])
    with pytest.raises(SystemExit, match="0"):
        run.main()
    text = capfd.readouterr().out
    organizations = ", ".join(sorted(path.stem for path in (CONF / "org").glob("*.yaml")))
    assert f"org: {organizations}\n" in text
    assert "machine: e5_2697v2_2x12, epyc_16, epyc_7662, opteron_2x2, xeon_5418n, xeon_6128_4x6" in text
    assert {key for key in vars(RunConfig()) if key.replace("dry_run", "--dry-run") not in text} == set()
    examples = [line.removeprefix(LINE).split() for line in text.splitlines() if line.startswith(LINE) and "KEY" not in line]
    assert len(examples) >= 4
    for example in examples:
        monkeypatch.setattr(sys, "argv", ["run.py", "--dry-run", *example])
        assert run.main() == 0
        assert f"{math.prod(word.count(',') + 1 for word in example)} points" in capfd.readouterr().out
