"""Servers that tests start, stop and start again: MLflow's tracking server, PostgreSQL, nodes of Ray."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from ray.cluster_utils import Cluster

from tests.helpers.folders import ROOT

START_SECONDS = 240


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class TrackingServer:
    """MLflow's server with one worker process, on a port that it keeps when it is started again."""

    def __init__(self, store: str, folder: Path) -> None:
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        options = ["--workers", "1", "--host", "127.0.0.1", "--port", str(self.port), "--backend-store-uri", store]
        self.command = [sys.executable, "-m", "mlflow", "server", *options, "--artifacts-destination", str(folder / "files")]
        self.folder = folder
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                with urlopen(f"{self.uri}/health", timeout=2):
                    return
            except OSError:
                if time.monotonic() > until or self.process.poll() is not None:
                    raise AssertionError((self.folder / "server.log").read_text()) from None
                time.sleep(0.2)

    def kill(self) -> None:
        """End it at once, with what it has in hand."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def postgresql_program(name: str) -> str | None:
    """Return the path of a program of PostgreSQL's server, which Debian keeps out of the way; None if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


@contextmanager
def postgresql(folder: Path, user: str | None) -> Generator[str, None, None]:
    """Run a database server in a folder of its own, as another user where root may not; yield the URI of its database."""
    initdb, server = postgresql_program("initdb"), postgresql_program("postgres")
    assert initdb
    assert server
    port = free_port()
    options = [f"--username={'tests'}", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]
    made = subprocess.run([initdb, "-D", str(folder / "data"), *options], user=user, cwd=folder, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    settings = ["-p", str(port), "-h", "127.0.0.1", "-k", str(folder), "-c", "fsync=off"]
    with (folder / "postgresql.log").open("w") as log:
        process = subprocess.Popen([server, "-D", str(folder / "data"), *settings], user=user, cwd=folder, stdout=log, stderr=log)
    try:
        until = time.monotonic() + START_SECONDS
        while "ready to accept connections" not in (folder / "postgresql.log").read_text():
            assert process.poll() is None, (folder / "postgresql.log").read_text()
            assert time.monotonic() < until
            time.sleep(0.1)
        yield f"postgresql+psycopg2://tests@127.0.0.1:{port}/postgres"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


@contextmanager
def two_ray_nodes(node: dict[str, Any]) -> Generator[Cluster, None, None]:
    """Run a Ray cluster of two equal nodes, whose workers find this project, on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        made = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        made.add_node(**node)
        yield made
        made.shutdown()
