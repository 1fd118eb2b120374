"""MLflow: a sweep is a parent run, a point a child run. Only the driver writes.

Knows points and results, not how they were computed. MLflow is imported late: it takes seconds.
"""

import logging
import os
import socket
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from experiments.configuration import TrackingConfig
from experiments.points import Point, flattened
from netstack.engine import Result, source_digest
from netstack.errors import ConfigError

if TYPE_CHECKING:
    pass

PARENT_TAG = "mlflow.parentRunId"
BATCH_PARAMETERS = 100  # MLflow's limit of one request
CONNECT_SECONDS = 3


def tracking_uri(tracking: TrackingConfig, output_dir: Path) -> str:
    """Return the configured store, or that of a database file below `output_dir`."""
    return tracking.uri or f"sqlite:///{(output_dir / 'mlflow.db').resolve()}"


def check_reachable(uri: str) -> None:
    """Raise ConfigError when the tracking store cannot be reached."""
    parts = urlsplit(uri)
    if parts.scheme in ("http", "https"):
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            socket.create_connection((parts.hostname or "", port), CONNECT_SECONDS).close()
        except OSError as error:
            raise ConfigError("tracking.uri", uri, f"must be a tracking server that answers ({error})") from error
    elif parts.scheme == "sqlite":
        path = Path(uri.removeprefix("sqlite:///"))
        if not path.parent.is_dir():
            raise ConfigError("tracking.uri", uri, f"must be in a folder that exists, and {path.parent} does not")
        try:
            if path.exists():
                with closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True)) as database:
                    database.execute("select name from sqlite_master").fetchone()
        except sqlite3.Error as error:
            raise ConfigError("tracking.uri", uri, f"must be a database file that can be opened ({error})") from error
    else:
        raise ConfigError("tracking.uri", uri, "must begin with sqlite:///, http:// or https://")


class Tracker:
    """Writes one sweep, or one single point, to MLflow."""

    def __init__(self, tracking: TrackingConfig, output_dir: Path) -> None:
        os.environ.pop("MLFLOW_RUN_ID", None)  # it would redirect every run of ours
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self.client: MlflowClient = MlflowClient(tracking_uri(tracking, output_dir))
        experiment = self.client.get_experiment_by_name(tracking.experiment)
        if experiment is None:
            local = (tracking.uri or "sqlite").startswith("sqlite")
            location = (output_dir / "artifacts").resolve().as_uri() if local else None
            self.experiment_id = self.client.create_experiment(tracking.experiment, artifact_location=location)
        else:
            self.experiment_id = experiment.experiment_id
        self.tags = {"model.version": source_digest()[:16], **_git_tags()}

    def open_sweep(self, sweep: str, name: str) -> str:
        """Return the run of a sweep: the one it had before, or a new one."""
        run_id = self._find(f"tags.`sweep.id` = '{sweep}' and tags.`sweep.parent` = 'true'")
        if run_id is None:
            tags = {**self.tags, "sweep.id": sweep, "sweep.parent": "true"}
            run_id = self.client.create_run(self.experiment_id, tags=tags, run_name=name).info.run_id
        self.client.update_run(run_id, status="RUNNING")
        return run_id

    def close_sweep(self, run_id: str, status: str, files: list[Path]) -> None:
        """Attach the sweep's files and set its status: FINISHED, FAILED or KILLED."""
        for path in files:
            self.client.log_artifact(run_id, str(path))
        self.client.set_terminated(run_id, status)

    def log_point(self, point: Point, result: Result, parent_id: str | None) -> None:
        """Log a finished point, unless this sweep has it already."""
        from mlflow.entities import Metric

        run_id = self._open_point(point, parent_id)
        if run_id is None:
            return
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, 0) for name, value in result.metrics().items()]
        for index, goodput in enumerate(result.goodput_over_time_mbps):
            metrics.append(Metric("goodput_over_time_mbps", goodput, now, round((index + 1) * result.slice_ms * 1000)))
        self.client.log_batch(run_id, metrics=metrics)
        for path in (point.config_file, point.result_file):
            self.client.log_artifact(run_id, str(path))
        self.client.set_terminated(run_id, "FINISHED")

    def log_failure(self, point: Point, reason: str, parent_id: str | None) -> None:
        """Log a point that failed, with the reason."""
        run_id = self._open_point(point, parent_id)
        if run_id is not None:
            self.client.set_tag(run_id, "failure", reason)
            self.client.set_terminated(run_id, "FAILED")

    def _open_point(self, point: Point, parent_id: str | None) -> str | None:
        """Create a point's run with its parameters; return None if there is a finished one."""
        from mlflow.entities import Param

        scope = f"tags.`{PARENT_TAG}` = '{parent_id}'" if parent_id else "tags.`sweep.single` = 'true'"
        if self._find(f"{scope} and tags.fingerprint = '{point.fingerprint}' and attributes.status = 'FINISHED'"):
            return None
        tags: dict[str, Any] = {**self.tags, "fingerprint": point.fingerprint, "seed": str(point.config.seed)}
        tags |= {PARENT_TAG: parent_id} if parent_id else {"sweep.single": "true"}
        run_id = self.client.create_run(self.experiment_id, tags=tags, run_name=point.label).info.run_id
        parameters = [Param(name, str(value)) for name, value in flattened(point.values).items()]
        for start in range(0, len(parameters), BATCH_PARAMETERS):
            self.client.log_batch(run_id, params=parameters[start : start + BATCH_PARAMETERS])
        return run_id

    def _find(self, query: str) -> str | None:
        runs = self.client.search_runs([self.experiment_id], query, max_results=1)
        return runs[0].info.run_id if runs else None


def _git_tags() -> dict[str, str]:
    """Return commit and cleanliness of the working tree the code is in, if it is one."""
    root = Path(__file__).resolve().parent.parent

    def git(*arguments: str) -> str | None:
        try:
            return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return None

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return {}
    return {"git.commit": commit, "git.dirty": str(bool(git("status", "--porcelain", "--untracked-files=no"))).lower()}
