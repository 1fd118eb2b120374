"""Sweeps end to end: results that do not depend on workers, resuming, failures, tracking, figures."""

import json
import sys
from pathlib import Path

import matplotlib.image
import pytest
from mlflow import MlflowClient

import run
from experiments import sweep
from experiments.points import Point, sweep_id
from netstack.engine import simulate
from netstack.errors import ConservationError

SHORT = ["engine.warmup_ms=3", "engine.measure_ms=5"]


def launch(monkeypatch: pytest.MonkeyPatch, output_dir: Path, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["run.py", f"output_dir={output_dir}", *SHORT, *arguments])
    return run.main()


def results(output_dir: Path) -> dict[str, dict]:
    """Return all results by point, without wall times."""
    found = {}
    for path in sorted((output_dir / "points").glob("*/result.json")):
        values = json.loads(path.read_text())
        found[path.parent.name] = {name: value for name, value in values.items() if not name.startswith("wall_")}
    return found


def test_a_sweep_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("-m", "org=up,connp_l", "conns=6,24")
    assert launch(monkeypatch, tmp_path / "two", *arguments, "workers=2") == 0
    output = capsys.readouterr().out
    assert "connp_l conns=24" in output
    assert "4 done, 0 running, 0 left" in output
    assert launch(monkeypatch, tmp_path / "one", *arguments, "workers=1", "tracking=none") == 0
    two = results(tmp_path / "two")
    assert len(two) == 4
    assert two == results(tmp_path / "one")

    (folder,) = (tmp_path / "two" / "sweeps").iterdir()
    for name in ("goodput.png", "cycles_per_kb.png"):
        assert matplotlib.image.imread(folder / name).shape[0] > 400
    assert len((folder / "summary.csv").read_text().splitlines()) == 5

    client = MlflowClient(f"sqlite:///{tmp_path}/two/mlflow.db")
    experiment = client.get_experiment_by_name("network-stack-parallelization")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [entry for entry in runs if "sweep.parent" in entry.data.tags]
    children = [entry for entry in runs if entry.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(children) == 4
    assert parent.info.status == "FINISHED"
    for child in children:
        assert child.info.status == "FINISHED"
        assert child.data.params["org.name"] in ("up", "connp_l")
        assert child.data.params["conns"] in ("6", "24")
        assert child.data.metrics["goodput_mbps"] > 0
        assert {"cycles_per_kb/protocol", "l2_misses_per_kb/inpcb", "utilization"} <= child.data.metrics.keys()
        assert {"fingerprint", "seed"} <= child.data.tags.keys()
    assert "goodput.png" in {artifact.path for artifact in client.list_artifacts(parent.info.run_id)}

    def never(*_: object) -> None:
        raise AssertionError("a finished point was run again")

    monkeypatch.setattr(sweep, "_simulate_on_ray", never)
    assert launch(monkeypatch, tmp_path / "two", *arguments) == 0
    assert capsys.readouterr().out.count("done before") == 4
    assert len(client.search_runs([experiment.experiment_id])) == len(runs)


def test_one_point_without_a_sweep_and_a_dry_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert launch(monkeypatch, tmp_path, "--dry-run", "-m", "conns=6,24", "tracking=none") == 0
    assert "2 points, 0 done, 2 to run" in capsys.readouterr().out
    assert not (tmp_path / "points").exists()
    assert launch(monkeypatch, tmp_path, "conns=6", "tracking=none") == 0
    assert len(results(tmp_path)) == 1
    assert launch(monkeypatch, tmp_path, "--dry-run", "-m", "conns=6,24", "tracking=none") == 0
    assert "2 points, 1 done, 1 to run" in capsys.readouterr().out


def test_a_failed_point_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def broken(points, settings, done, show):
        yield None
        for point in points:
            if point.config.conns == 24:
                yield sweep.Outcome(point, None, "ConservationError: mbufs in use differ")
            else:
                result = simulate(point.config)
                point.save(result)
                yield sweep.Outcome(point, result)

    monkeypatch.setattr(sweep, "_simulate_on_ray", broken)
    assert launch(monkeypatch, tmp_path, "-m", "conns=24,6") == run.FAILED_POINTS
    captured = capsys.readouterr()
    assert "1 of 2 points failed: connp_l conns=24" in captured.err
    assert len(results(tmp_path)) == 1
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    statuses = sorted(entry.info.status for entry in client.search_runs(["1"]))
    assert statuses == ["FAILED", "FAILED", "FINISHED"]  # parent, one point, the other


def test_a_broken_law_fails_a_single_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def broken(config):
        raise ConservationError("cycles are missing")

    monkeypatch.setattr(sweep, "simulate", broken)
    assert launch(monkeypatch, tmp_path, "conns=6", "tracking=none") == run.FAILED_POINTS
    assert "cycles are missing" in capsys.readouterr().err
    assert not (tmp_path / "points").exists()


def test_fingerprints_tell_points_apart_and_name_sweeps(composed, tmp_path: Path) -> None:
    first, same, other = (
        Point(composed(*overrides), tmp_path) for overrides in (["conns=6"], ["conns=6"], ["conns=6", "seed=2"])
    )
    assert first.fingerprint == same.fingerprint != other.fingerprint
    assert sweep_id([first, other]) == sweep_id([other, first]) != sweep_id([first])


@pytest.mark.parametrize("path", sorted((Path(run.__file__).parent / "conf").glob("*/*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_file_composes(composed, path: Path) -> None:
    if path.parent.name != "tracking":
        composed(f"{path.parent.name}={path.stem}")
