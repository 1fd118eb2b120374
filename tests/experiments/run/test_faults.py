"""What can happen to a sweep on a cluster happens to one: at its end every point is in MLflow once, with the values of an
undisturbed sweep.

All share a cluster of two Ray nodes on this machine and one undisturbed sweep. Tasks that break something are sent by value.
"""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from mlflow import MlflowClient
from ray.cluster_utils import Cluster

from experiments.config.command_line import FAILED_POINTS
from experiments.run import on_ray
from netstack.sim import SimulationConfig, model_version, simulate
from tests.helpers.folders import ROOT
from tests.helpers.launching import SHORT, launch, logged, results
from tests.helpers.servers import TrackingServer, two_ray_nodes

SWEEP = ("-m", "conns=6,12,24", "seed=1,2")
NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
Task = Callable[[SimulationConfig], Generator[str, None, None]]


@pytest.fixture(scope="module")
def cluster() -> Generator[Cluster, None, None]:
    with two_ray_nodes(NODE) as made:
        yield made


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables, which take seconds to make."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def outputs(tmp_path: Path, empty_store: Path) -> Path:
    folder = tmp_path / "outputs"
    folder.mkdir()
    shutil.copy(empty_store, folder)
    return folder


@pytest.fixture(scope="module")
def on(cluster: Cluster) -> tuple[str, ...]:
    return (f"ray.address={cluster.address}", "ray.send_sources=false")


@pytest.fixture(scope="module")
def undisturbed(on: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        assert launch(patch, folder, *SWEEP, *on, "tracking=none") == 0
    assert len(results(folder)) == 6
    return results(folder)


def check(outputs: Path, undisturbed: dict[str, dict], uri: str | None = None) -> None:
    """Every point once, on the disk and in MLflow, with the values it has undisturbed."""
    assert results(outputs) == undisturbed
    assert [path.name for path in (outputs / "points").iterdir() if path.name.startswith(".")] == []
    _, (parent,), children = logged(outputs, uri)
    assert parent.info.status == "FINISHED"
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    assert [child.info.status for child in children] == ["FINISHED"] * len(undisturbed)
    assert {child.data.tags["fingerprint"][:16]: child.data.metrics["goodput_mbps"] for child in children} == {
        name: values["goodput_mbps"] for name, values in undisturbed.items()
    }


def disturbed(marker: Path, fault: Callable[[], None]) -> Task:
    """Return a worker's task to which something happens when it simulates a certain point for the first time."""

    def task(config: SimulationConfig) -> Generator[str, None, None]:
        yield model_version()
        if (config.conns, config.seed) == (12, 1) and not marker.exists():
            marker.write_text(str(os.getpid()))
            fault()
        yield simulate(config).to_json()

    return task


def wait_for(condition: Callable[[], object], seconds: float = 240.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_worker_that_is_killed(on, outputs: Path, undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(on_ray, "run_task", disturbed(tmp_path / "marker", lambda: os.kill(os.getpid(), signal.SIGKILL)))
        assert launch(patch, outputs, *SWEEP, *on) == 0
    assert (tmp_path / "marker").exists()
    assert capfd.readouterr().err == ""
    check(outputs, undisturbed)


def test_a_node_that_is_lost(
    cluster: Cluster, on, outputs: Path, undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A third node has the only place for the point; it goes as soon as the point runs on it."""
    node = cluster.add_node(**NODE, resources={"third": 1})
    marker = tmp_path / "marker"

    def lose() -> None:
        wait_for(marker.exists)
        cluster.remove_node(node, allow_graceful=False)

    def task(config: SimulationConfig) -> Generator[str, None, None]:
        import ray

        yield model_version()
        if ray.get_runtime_context().get_node_id() == node_id:
            marker.touch()
            time.sleep(600)
        yield simulate(config).to_json()

    node_id = node.node_id
    thread = Thread(target=lose)
    thread.start()
    with monkeypatch.context() as patch:
        patch.setattr(on_ray, "run_task", task)
        assert launch(patch, outputs, *SWEEP, *on) == 0
    thread.join()
    check(outputs, undisturbed)


def memory_group(limit_bytes: int) -> Path | None:
    """Return the file that puts a process under a limit of memory, beyond which the kernel kills it; None without the rights."""
    for root, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = Path(root) / f"netstack-tests-{os.getpid()}"
        try:
            group.mkdir()
            (group / limit).write_text(str(limit_bytes))
        except OSError:
            if group.exists():
                group.rmdir()
            continue
        return group / "cgroup.procs"
    return None


def test_a_point_that_the_kernel_kills_for_its_memory(
    on, outputs: Path, undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = memory_group(700 * 2**20)
    if processes is None:
        pytest.skip("a limit of memory needs root and a cgroup that can be written")

    def take_all() -> None:
        processes.write_text(str(os.getpid()))
        hoard = [bytearray(os.urandom(2**20)) for _ in range(2000)]
        raise AssertionError(len(hoard))

    try:
        with monkeypatch.context() as patch:
            patch.setattr(on_ray, "run_task", disturbed(tmp_path / "marker", take_all))
            assert launch(patch, outputs, *SWEEP, *on) == 0
    finally:
        wait_for(lambda: processes.read_text() == "")
        processes.parent.rmdir()
    check(outputs, undisturbed)


def test_a_point_that_takes_too_long(
    on, outputs: Path, undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """It fails alone, its process ends, and the next launch runs it again."""
    with monkeypatch.context() as patch:
        patch.setattr(on_ray, "run_task", disturbed(tmp_path / "marker", lambda: time.sleep(600)))
        assert launch(patch, outputs, *SWEEP, *on, "ray.time_limit_s=10") == FAILED_POINTS
    assert "TimeLimitError: took longer than ray.time_limit_s=10" in capsys.readouterr().out
    process = int((tmp_path / "marker").read_text())
    wait_for(lambda: not Path(f"/proc/{process}/cmdline").exists() or not Path(f"/proc/{process}/cmdline").read_bytes())
    _, (parent,), children = logged(outputs)
    assert parent.info.status == "FAILED"
    assert sorted(child.info.status for child in children) == ["FAILED", *["FINISHED"] * 5]
    assert launch(monkeypatch, outputs, *SWEEP, *on) == 0
    assert capsys.readouterr().out.count("done before") == 5
    check(outputs, undisturbed)


def finished_runs(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        try:
            return connection.execute("select count(*) from runs where status = 'FINISHED'").fetchone()[0]
        except sqlite3.OperationalError:
            return 0  # it is locked


HELD = """
import sys, time
from pathlib import Path
import run
from experiments.run import on_ray
from netstack.sim import simulate, model_version

def task(config):
    yield model_version()
    if (config.conns, config.seed) == (24, 2):
        time.sleep(600)
    yield simulate(config).to_json()

on_ray.run_task = task
run.main()
"""


def test_a_driver_that_is_killed(on, outputs: Path, undisturbed, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """After some points are logged. What it leaves is repaired when the same command is given again."""
    command = [sys.executable, "-c", HELD, f"output_dir={outputs}", *SHORT, *SWEEP, *on]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: finished_runs(outputs / "mlflow.db") >= 2 or process.poll() is not None)
        assert process.poll() is None, process.stderr and process.stderr.read()
        process.kill()
    client, (parent,), _ = logged(outputs)
    assert parent.info.status == "RUNNING"
    half = client.create_run(parent.info.experiment_id, tags={"mlflow.parentRunId": parent.info.run_id})  # of a server's store
    done = len(results(outputs))
    staging = outputs / "points" / f".unfinished-{os.uname().nodename}-{process.pid}-abc"
    staging.mkdir()
    assert launch(monkeypatch, outputs, *SWEEP, *on) == 0
    assert capsys.readouterr().out.count("done before") == done < 6
    assert client.get_run(half.info.run_id).info.lifecycle_stage == "deleted"
    assert logged(outputs)[1][0].info.run_id == parent.info.run_id
    check(outputs, undisturbed)


def test_a_disk_that_is_full(on, outputs: Path, undisturbed, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    if os.geteuid() != 0:
        pytest.skip("a small disk is mounted by root")
    disk = outputs.parent / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(disk)], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted: {mounted.stderr.strip()}")
    try:
        shutil.copy(outputs / "mlflow.db", disk)
        with (disk / "ballast").open("wb") as ballast:
            ballast.write(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - 100_000))
        assert launch(monkeypatch, disk, *SWEEP, *on) == FAILED_POINTS
        (error,) = capsys.readouterr().err.splitlines()
        assert "cannot be written (No space left on device); finished points are kept" in error
        assert results(disk).items() <= undisturbed.items()
        assert len(results(disk)) < 6
        (disk / "ballast").unlink()
        assert launch(monkeypatch, disk, *SWEEP, *on) == 0
        check(disk, undisturbed)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_tracking_server_that_goes_away_for_a_while(
    on, outputs: Path, undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed when it has the first points, and started again when the others are finished."""
    server = TrackingServer(f"sqlite:///{outputs / 'mlflow.db'}", tmp_path)
    server.start()
    marker = tmp_path / "marker"

    def task(config: SimulationConfig) -> Generator[str, None, None]:
        yield model_version()
        while config.conns != 6 and not marker.exists():
            time.sleep(0.05)
        yield simulate(config).to_json()

    def restart() -> None:
        wait_for(lambda: finished_runs(outputs / "mlflow.db"))
        server.kill()
        marker.touch()
        wait_for(lambda: len(results(outputs)) == 6)
        server.start()

    thread = Thread(target=restart)
    thread.start()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(on_ray, "run_task", task)
            assert (
                launch(patch, outputs, *SWEEP, *on, "tracking=server", f"tracking.uri={server.uri}", "tracking.patience_s=240")
                == 0
            )
        thread.join()
        check(outputs, undisturbed, server.uri)
    finally:
        server.kill()
