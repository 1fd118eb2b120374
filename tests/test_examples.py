"""Each example runs as its first lines say, and shows what it claims to show."""

import json
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import run
from netstack.script import __main__ as script
from netstack.sim import SimulationConfig, simulate
from tests.helpers.folders import ROOT

EXAMPLES = ROOT / "examples"
SHORT = ("engine.warmup_ms=2", "engine.measure_ms=5")


@pytest.fixture
def output_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that runs an example with arguments, and returns what it prints."""

    def output(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return output


def test_every_example_has_a_test() -> None:
    """That of "results.ipynb" is beside those of what it loads."""
    tested = set(re.findall(r'"(\w+\.\w+)"', Path(__file__).read_text()))
    assert {path.name for path in EXAMPLES.glob("*.*")} <= tested


def test_one_point(output_of: Callable[..., str], composed: Callable[..., SimulationConfig]) -> None:
    overrides = ("org=msgp", "conns=24", *SHORT)
    text = output_of("one_point.py", *overrides)
    result = simulate(composed(*overrides))
    assert f"msgp, 24 connections: {result.goodput_mbps:,.0f} Mb/s" in text
    shown = {category: cycles for cycles, category in re.findall(r"([\d,]+) cycles/KB  (\w+)", text)}
    assert shown == {category: f"{cycles:,.0f}" for category, cycles in result.cycles_per_kb.items()}


def test_endpoints_in_memory(output_of: Callable[..., str]) -> None:
    found = re.search(
        r"([\d,]+) bytes arrived in ([\d.]+) s .* (\d+) of (\d+) packets were lost", output_of("endpoint_in_memory.py")
    )
    assert found is not None
    assert found[1] == "104,000"
    assert 0.1 < float(found[2]) < 10
    assert int(found[3]) == int(found[4]) // 5 > 0


def test_a_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It passes, and fails in the line where another answer is expected."""
    path = EXAMPLES / "handshake.pkt"
    assert script.main([str(path)]) == 0
    wrong = tmp_path / path.name
    wrong.write_text(path.read_text().replace("> S. 0:0(0) ack 1 ", "> S. 0:0(0) ack 2 "))
    assert script.main([str(wrong)]) == 1
    assert "> S. 0:0(0) ack 1 " in capsys.readouterr().out.partition("actual:")[2]


def test_an_own_organization_on_an_own_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files outside of `conf/` are found by ``--config-dir``; what they do not say is as in the file that they begin from."""
    given = ["org=connp_l,connp_l_hash", "machine=opteron_10g", "conns=24", "tracking=none", f"output_dir={tmp_path}", *SHORT]
    monkeypatch.setattr(sys, "argv", ["run.py", "-m", "--config-dir", str(EXAMPLES / "conf"), *given])
    assert run.main() == 0
    folders = list((tmp_path / "points").glob("[!.]*"))
    assert len(folders) == 2
    results = {}
    for folder in folders:
        config = (folder / "config.yaml").read_text()
        assert "name: opteron_10g" in config
        assert "serialize: group_lock" in config
        results["software_hash" in config] = json.loads((folder / "result.json").read_text())
    assert results[False]["hand_offs_per_segment"] == 0
    assert results[True]["hand_offs_per_segment"] > 0
    assert all(result["goodput_mbps"] > 0 for result in results.values())


def test_an_own_experiment(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", "-m", "--config-dir", str(EXAMPLES / "conf"), "experiment=dispatch", "--dry-run"])
    assert run.main() == 0
    text = capsys.readouterr().out
    assert "36 points" in text
    assert "connp_l_hash(16) conns=192 seed=3" in text
