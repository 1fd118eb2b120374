"""A tracking server with PostgreSQL behind it, and two people who sweep at the same time."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.helpers.folders import ROOT
from tests.helpers.launching import SHORT, logged, results
from tests.helpers.servers import TrackingServer, postgresql, postgresql_program

SWEEPS = {"one": ("conns=6,12", "seed=1,2"), "other": ("conns=12,24", "seed=1,2")}
"""They have two points in common, and each logs all of its own."""


def database_user() -> str | None:
    """Return who may run PostgreSQL, which refuses root: None for whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    found = next((name for name in ("postgres", "nobody") if name in names), None)
    if found is None:
        pytest.skip("PostgreSQL refuses to run as root, and there is no user postgres or nobody")
    return found


@pytest.fixture
def server(tmp_path: Path) -> Generator[TrackingServer, None, None]:
    pytest.importorskip("psycopg2", reason="the driver psycopg2 is not installed")
    if postgresql_program("initdb") is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    user = database_user()
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))  # pytest's own folders are closed to other users
    try:
        if user is not None:
            shutil.chown(folder, user)
        with postgresql(folder, user) as uri:
            made = TrackingServer(uri, tmp_path)
            try:
                made.start()
                yield made
            finally:
                made.kill()
    finally:
        shutil.rmtree(folder)


def test_two_sweeps_at_once_lose_and_mix_nothing(server: TrackingServer, tmp_path: Path) -> None:
    drivers = {}
    for name, sweep in SWEEPS.items():
        arguments = ["-m", *sweep, *SHORT, f"output_dir={tmp_path / name}", "workers=1"]
        command = [sys.executable, "run.py", *arguments, "tracking=server", f"tracking.uri={server.uri}"]
        drivers[name] = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for driver in drivers.values():
        output, _ = driver.communicate()
        assert driver.returncode == 0, output
    _, parents, children = logged(tmp_path, server.uri)
    assert [parent.info.status for parent in parents] == ["FINISHED"] * 2
    of_parent = {
        parent.info.run_id: [child for child in children if child.data.tags["mlflow.parentRunId"] == parent.info.run_id]
        for parent in parents
    }
    assert sum(len(runs) for runs in of_parent.values()) == len(children) == 8
    found = [
        {run.data.tags["fingerprint"][:16]: (run.info.status, run.data.metrics["goodput_mbps"]) for run in runs}
        for runs in of_parent.values()
    ]
    expected = [
        {point: ("FINISHED", values["goodput_mbps"]) for point, values in results(tmp_path / name).items()} for name in SWEEPS
    ]
    assert all(len(points) == 4 for points in expected)
    assert sorted(found, key=sorted) == sorted(expected, key=sorted)
