"""Sweeps end to end: results that do not depend on workers, resuming, failures, interrupts, tracking."""

import fcntl
import gc
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import matplotlib.image
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run
from ray._private.object_ref_generator import ObjectRefGenerator

from experiments import sweep
from experiments.config.command_line import BAD_INPUT, FAILED_POINTS
from experiments.config.interrupts import INTERRUPTED
from experiments.config.values import flattened
from experiments.points.names import name_points
from experiments.points.point import Outcome, Point
from experiments.run import in_process, on_ray
from experiments.store import logbook, runs
from netstack.errors import ConservationError
from netstack.sim import SimulationConfig, model_version, simulate
from tests.helpers.folders import ROOT
from tests.helpers.launching import SHORT, launch, logged, results


def never(*_: object) -> None:
    raise AssertionError("a finished point was run again")


def test_a_sweep_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0123456789abcdef0123456789abcdef")  # stale: must redirect nothing
    arguments = ("-m", "org=up,connp_l", "conns=6,24")
    assert launch(monkeypatch, tmp_path / "two", *arguments, "workers=2") == 0
    output = capfd.readouterr()
    assert output.err == ""
    assert "connp_l conns=24" in output.out
    assert "4 done, 0 running, 0 left" in output.out
    assert launch(monkeypatch, tmp_path / "one", *arguments, "workers=1", "tracking=none") == 0
    assert not (tmp_path / "one" / "mlflow.db").exists()
    two = results(tmp_path / "two")
    assert len(two) == 4
    assert two == results(tmp_path / "one")

    (folder,) = (tmp_path / "two" / "sweeps").iterdir()
    figures = {"goodput.png", "cycles_per_kb.png", "misses_and_lock_waits.png"}
    for name in figures:
        assert matplotlib.image.imread(folder / name).shape[0] > 400
    assert len((folder / "summary.csv").read_text().splitlines()) == 5

    client, (parent,), children = logged(tmp_path / "two")
    assert parent.info.status == "FINISHED"
    assert {artifact.path for artifact in client.list_artifacts(parent.info.run_id)} == figures | {
        *("summary.csv", "sweep.html", "images")
    }
    note = parent.data.tags["mlflow.note.content"]
    assert "| goodput_mbps (Mb/s) by conns | 6 | 24 |" in note
    assert "4 points with 1 seeds" in note
    view = json.loads(client.get_experiment(parent.info.experiment_id).tags[f"mlflow.sharedViewState.{folder.name}"])
    assert view["searchFilter"] == f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    assert len(client.search_runs([parent.info.experiment_id], view["searchFilter"], order_by=[view["orderByKey"]])) == 4
    assert all("Mb/s" in child.data.tags["mlflow.note.content"] for child in children)
    assert {(child.data.params["org.name"], child.data.params["conns"]) for child in children} == set(
        itertools.product(("up", "connp_l"), ("6", "24"))
    )
    for child in children:
        check_child(client, child, parent.info.run_id, two[child.data.tags["fingerprint"][:16]], tmp_path)

    capfd.readouterr()
    monkeypatch.setattr(sweep, "simulate_on_ray", never)
    assert launch(monkeypatch, tmp_path / "two", *arguments) == 0
    assert capfd.readouterr().out.count("done before") == 4
    _, again, same_children = logged(tmp_path / "two")
    assert [entry.info.run_id for entry in again] == [parent.info.run_id]
    assert len(same_children) == 4


def check_child(client: MlflowClient, child: Run, parent_id: str, result: dict, tmp_path: Path) -> None:
    """Check everything that the run of a point must hold against the point's own files."""
    run_id, metrics = child.info.run_id, child.data.metrics
    assert child.info.status == "FINISHED"
    assert child.data.tags["mlflow.parentRunId"] == parent_id
    assert child.data.tags["seed"] == "1"
    assert {"model.version", "python.version", "numba.version"} <= child.data.tags.keys()
    if (ROOT / ".git").exists():
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert child.data.tags["git.commit"] == commit.strip()
        assert child.data.tags["git.dirty"] in ("true", "false")
    assert metrics["goodput_mbps"] == result["goodput_mbps"] > 0
    assert metrics["utilization"] == result["utilization"]
    assert metrics["retransmitted_segments"] == result["retransmitted_segments"]
    assert metrics["l2_misses_per_kb"] == result["l2_misses_per_kb"]
    for structure, row in result["misses"].items():
        assert metrics[f"l2_misses_per_kb/{structure}"] == row["l2_misses_per_kb"]
    for category, cycles in result["cycles_per_kb"].items():
        assert metrics[f"cycles_per_kb/{category}"] == cycles
    for lock_class, row in result["lock"].items():
        assert metrics[f"lock/{lock_class}/not_immediate_percent"] == row["not_immediate_percent"]
    history = client.get_metric_history(run_id, "goodput_over_time_mbps")
    assert [entry.value for entry in history] == result["goodput_over_time_mbps"]
    assert [entry.step for entry in history] == [round(1000 * result["slice_ms"] * (n + 1)) for n in range(len(history))]
    artifacts = Path(client.download_artifacts(run_id, "", str(tmp_path)))
    assert json.loads((artifacts / "result.json").read_text())["goodput_mbps"] == result["goodput_mbps"]
    composed = yaml.safe_load((artifacts / "config.yaml").read_text())
    assert child.data.params == {name: str(value) for name, value in flattened(composed).items()}


def test_one_point_without_a_sweep_and_a_dry_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert launch(monkeypatch, tmp_path, "--dry-run", "-m", "conns=6,24") == 0
    assert "2 points, 0 done, 2 to run" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    for _ in range(2):
        assert launch(monkeypatch, tmp_path, "conns=6") == 0
        assert "connp_l conns=6" in capsys.readouterr().out
    assert len(results(tmp_path)) == 1
    _, parents, (single,) = logged(tmp_path)
    assert parents == []
    assert single.info.status == "FINISHED"
    assert single.data.metrics["goodput_mbps"] > 0
    assert launch(monkeypatch, tmp_path, "--dry-run", "-m", "conns=6,24") == 0
    assert "2 points, 1 done, 1 to run" in capsys.readouterr().out


def test_a_failed_and_a_killed_point_do_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def broken(config: SimulationConfig) -> Generator[str, None, None]:
        yield model_version()
        if config.conns == 24:
            raise ConservationError("mbufs in use differ")
        if config.conns == 12:
            os._exit(1)
        yield simulate(config).to_json()

    with monkeypatch.context() as patch:
        patch.setattr(on_ray, "run_task", broken)
        assert launch(patch, tmp_path, "-m", "conns=24,12,6") == FAILED_POINTS
    captured = capsys.readouterr()
    assert "2 of 3 points failed: connp_l conns=24, connp_l conns=12" in captured.err
    assert len(results(tmp_path)) == 1
    failures = sorted((tmp_path / "failures").iterdir())
    assert any("broken" in path.read_text() for path in failures)  # the traceback
    client, (parent,), children = logged(tmp_path)
    assert parent.info.status == "FAILED"
    by_load = {child.data.params["conns"]: child for child in children}
    assert {load: child.info.status for load, child in by_load.items()} == {"24": "FAILED", "12": "FAILED", "6": "FINISHED"}
    assert by_load["24"].data.tags["failure"] == "ConservationError: mbufs in use differ"
    assert by_load["12"].data.tags["failure"].startswith("LostError: lost 3 times, the last time by WorkerCrashedError")
    assert [artifact.path for artifact in client.list_artifacts(by_load["24"].info.run_id)] == ["failure.txt"]

    assert launch(monkeypatch, tmp_path, "-m", "conns=24,12,6") == 0
    assert capsys.readouterr().out.count("done before") == 1
    assert list((tmp_path / "failures").iterdir()) == []
    _, (parent,), children = logged(tmp_path)
    assert [entry.info.status for entry in (parent, *children)] == ["FINISHED"] * 4


def test_nothing_of_ray_is_left_to_the_garbage_collector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may run in the thread that logs, after Ray's end; a stream of Ray that is freed then ends the whole process."""

    def broken(config: SimulationConfig) -> Generator[str, None, None]:
        yield model_version()
        if config.conns == 12:
            os._exit(1)
        raise ConservationError("mbufs in use differ")

    gc.collect()
    gc.disable()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(on_ray, "run_task", broken)
            assert launch(patch, tmp_path, "-m", "conns=24,12", "tracking=none") == FAILED_POINTS
        assert [each for each in gc.get_objects() if isinstance(each, ObjectRefGenerator)] == []
    finally:
        gc.enable()


def test_a_broken_law_fails_a_single_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def broken(*_: object) -> None:
        raise ConservationError("cycles are missing")

    monkeypatch.setattr(in_process, "simulate", broken)
    assert launch(monkeypatch, tmp_path, "conns=6") == FAILED_POINTS
    assert "cycles are missing" in capsys.readouterr().err
    assert not (tmp_path / "points").exists()
    _, _, (single,) = logged(tmp_path)
    assert single.info.status == "FAILED"


def test_an_interrupted_sweep_keeps_what_is_finished_and_goes_on(tmp_path: Path) -> None:
    """The first point is short; the signal, sent to all processes as a terminal does, comes when it is logged."""
    sweep_arguments = ["-m", "conns=6", "engine.warmup_ms=3", "engine.measure_ms=5,6000", "workers=1", f"output_dir={tmp_path}"]
    command = [sys.executable, "run.py", *sweep_arguments]
    environment = {**os.environ, "MLFLOW_RUN_ID": "0123456789abcdef0123456789abcdef"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, start_new_session=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        while not finished_runs(tmp_path) and process.poll() is None:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        process.send_signal(signal.SIGINT)  # as a wrapper that forwards signals does
        output, error = process.communicate()
    assert process.returncode == INTERRUPTED, output + error
    assert error == "interrupted: finished points are kept, the same command runs the rest\n"
    assert len(results(tmp_path)) == 1
    assert [path.name for path in (tmp_path / "points").iterdir() if path.name.startswith(".")] == []
    _, (parent,), (child,) = logged(tmp_path)
    assert (parent.info.status, child.info.status) == ("KILLED", "FINISHED")

    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("done before") == 1
    assert len(results(tmp_path)) == 2
    _, (same_parent,), children = logged(tmp_path)
    assert same_parent.info.run_id == parent.info.run_id
    assert [entry.info.status for entry in (same_parent, *children)] == ["FINISHED"] * 3


def finished_runs(output_dir: Path) -> int:
    """How many runs are finished in the database, which another process writes."""
    with closing(sqlite3.connect(output_dir / "mlflow.db")) as database:
        try:
            return database.execute("select count(*) from runs where status = 'FINISHED'").fetchone()[0]
        except sqlite3.OperationalError:
            return 0  # it is locked, or not made yet


def local(points, _workers, _ray, _show):
    """Stand in for Ray: simulate in this process."""
    for point in points:
        yield Outcome(point, simulate(point.config))


def test_runs_that_a_killed_launch_left_half_made_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "simulate_on_ray", local)
    assert launch(monkeypatch, tmp_path, "-m", "conns=6") == 0
    client, (parent,), (child,) = logged(tmp_path)
    half = client.create_run(parent.info.experiment_id, tags={"mlflow.parentRunId": parent.info.run_id})
    client.update_run(parent.info.run_id, status="RUNNING")
    assert launch(monkeypatch, tmp_path, "-m", "conns=6") == 0
    _, (parent,), children = logged(tmp_path)
    assert [entry.info.run_id for entry in children] == [child.info.run_id] != [half.info.run_id]
    assert parent.info.status == "FINISHED"


def test_another_commit_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "simulate_on_ray", local)
    for commit, dirty in (("one", "false"), ("two", "true")):
        monkeypatch.setattr(runs, "provenance", lambda tags={"git.commit": commit, "git.dirty": dirty}: tags)
        assert launch(monkeypatch, tmp_path, "-m", "conns=6") == 0
    _, (parent,), _ = logged(tmp_path)
    assert {name: parent.data.tags[name] for name in ("git.commit", "git.dirty", "git.commits")} == {
        "git.commit": "two",
        "git.dirty": "true",
        "git.commits": "one two",
    }


def test_what_mlflow_refused_is_logged_by_the_next_launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(sweep, "simulate_on_ray", local)
    with monkeypatch.context() as patch:
        patch.setattr(logbook.Tracker, "log", full)
        assert launch(patch, tmp_path, "-m", "conns=6", "tracking.patience_s=0") == FAILED_POINTS
    assert "MLflow: OSError: no space left; results are kept" in capsys.readouterr().err
    assert len(results(tmp_path)) == 1
    assert launch(monkeypatch, tmp_path, "-m", "conns=6") == 0
    _, _, (child,) = logged(tmp_path)
    assert child.info.status == "FINISHED"


def test_seeds_are_added_until_the_precision_is_reached_and_a_second_launch_runs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def growing(points, _workers, _ray, _show):
        waiting = list(points)
        while waiting:
            point = waiting.pop()
            waiting += (yield Outcome(point, simulate(point.config))) or ()

    monkeypatch.setattr(sweep, "simulate_on_ray", growing)
    swept = ["-m", "conns=6,192", "org=up", "precision=3%", "seeds.max=20"]
    assert launch(monkeypatch, tmp_path, *swept) == 0
    said = capsys.readouterr().out
    _, (parent,), children = logged(tmp_path)
    assert len(children) == len(results(tmp_path)) > 10
    assert "seeds" in said
    monkeypatch.setattr(sweep, "simulate_on_ray", lambda *_: pytest.fail("all points are finished"))
    assert launch(monkeypatch, tmp_path, *swept) == 0
    assert "done before" in capsys.readouterr().out
    _, (same,), again = logged(tmp_path)
    assert same.info.run_id == parent.info.run_id
    assert len(again) == len(children)


def test_a_sweep_that_runs_already_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(sweep, "simulate_on_ray", local)
    assert launch(monkeypatch, tmp_path, "-m", "conns=6", "tracking=none") == 0
    (folder,) = (tmp_path / "sweeps").iterdir()
    with (folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert launch(monkeypatch, tmp_path, "-m", "conns=6", "tracking=none") == BAD_INPUT
    assert "another process is running this sweep" in capsys.readouterr().err


def test_points_that_share_a_composition_are_what_each_composes_to(
    composed: Callable[..., SimulationConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    choices = [("org=up", "org=connp_l"), ("machine.nic.link_mbps=100", "machine.nic.link_mbps=2500.5"), ("conns=6", "conns=7")]
    swept = ["org=up,connp_l", "machine.nic.link_mbps=100,2500.5", "conns=6,7"]
    assert launch(monkeypatch, tmp_path, "--dry-run", "-m", *swept) == 0
    configs = [composed(*SHORT, *overrides) for overrides in itertools.product(*choices)]
    points = [Point(config, name, tmp_path) for config, name in zip(configs, name_points(configs), strict=True)]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-3] for line in lines[:-1]] == [point.fingerprint[:16] for point in points]
