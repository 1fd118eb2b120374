"""MLflow: a sweep is a parent run, a point a child run. Only the driver writes.

Knows points and results, not how they were computed. MLflow is imported late: it takes seconds.
"""

import logging
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from experiments.configuration import TrackingConfig
from experiments.naming import flattened
from experiments.points import Outcome
from experiments.provenance import provenance
from netstack.errors import ConfigError

if TYPE_CHECKING:
    from mlflow.entities import Run

CONNECT_SECONDS = 3
PAGE = 1000  # runs of one search


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


class Logbook:
    """Logs one sweep, or one point, in a thread of its own: points never wait for MLflow, and an interrupt tears no run.

    MLflow needs seconds of a CPU to start. It does so after `begin`, when nothing more urgent waits for the CPU, or on closing.
    """

    def __init__(self, tracking: TrackingConfig, output_dir: Path) -> None:
        self._thread = ThreadPoolExecutor(1, "mlflow")
        self._begun = threading.Event()
        self._thread.submit(self._begun.wait)
        self._tracker: Future[Tracker] = self._thread.submit(Tracker, tracking, output_dir)
        self._entries: list[Future] = []

    def begin(self) -> None:
        """Start to write what was and will be entered."""
        self._begun.set()

    def open_sweep(self, sweep: str, name: str, points: int) -> None:
        """Make what follows part of a sweep."""
        self._enter(lambda tracker: tracker.open_sweep(sweep, name, points))

    def log(self, outcome: Outcome) -> None:
        """Log a point, finished or failed."""
        self._enter(lambda tracker: tracker.log(outcome))

    def close_sweep(self, status: str, files: Sequence[Path]) -> None:
        """Attach the sweep's files and set its status: FINISHED, FAILED or KILLED."""
        self._enter(lambda tracker: tracker.close_sweep(status, files))

    def close(self) -> None:
        """Wait until everything is written."""
        self.begin()
        self._thread.shutdown()

    def failure(self) -> str | None:
        """Return why something was not logged, in one line; None if all was. Call it after `close`."""
        errors = [error for entry in (self._tracker, *self._entries) if (error := entry.exception()) is not None]
        return f"{type(errors[0]).__name__}: {errors[0]}".splitlines()[0] if errors else None

    def _enter(self, action: "Callable[[Tracker], None]") -> None:
        self._entries.append(self._thread.submit(lambda: action(self._tracker.result())))


class Tracker:
    """Writes runs to MLflow. A sweep that is launched again continues its parent run."""

    def __init__(self, tracking: TrackingConfig, output_dir: Path) -> None:
        os.environ.pop("MLFLOW_RUN_ID", None)  # a stale one would be resumed instead of a run of ours
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self.client = MlflowClient(tracking_uri(tracking, output_dir))
        experiment = self.client.get_experiment_by_name(tracking.experiment)
        if experiment is None:
            local = (tracking.uri or "sqlite").startswith("sqlite")
            location = (output_dir / "artifacts").resolve().as_uri() if local else None
            tags = {"mlflow.experimentKind": "custom_model_development"}  # which pages its UI shows first: runs, not traces
            self.experiment_id = self.client.create_experiment(tracking.experiment, artifact_location=location, tags=tags)
        else:
            self.experiment_id = experiment.experiment_id
        self.parent: str | None = None
        self.logged: set[str] = set()

    def open_sweep(self, sweep: str, name: str, points: int) -> None:
        """Continue the sweep's run, or create it. Runs that a killed launch left half-made are deleted."""
        tags = {"sweep.id": sweep, "sweep.parent": "true", "sweep.points": str(points), **_source_tags(provenance())}
        parents = self._search(f"tags.`sweep.id` = '{sweep}' and tags.`sweep.parent` = 'true'")
        if parents:
            self.parent = parents[0].info.run_id
            earlier = parents[0].data.tags
            if earlier.get("git.commit") != tags.get("git.commit"):
                tags["git.commits"] = f"{earlier.get('git.commits', earlier.get('git.commit'))} {tags.get('git.commit')}"
            self._log_batch(self.parent, tags=tags)
            self.client.update_run(self.parent, status="RUNNING")
        else:
            self.parent = self._create(name, tags)
        for child in self._search(f"tags.`mlflow.parentRunId` = '{self.parent}'"):
            if child.info.status == "FINISHED":
                self.logged.add(child.data.tags["fingerprint"])
            elif child.info.status == "RUNNING":
                self.client.delete_run(child.info.run_id)

    def close_sweep(self, status: str, files: Sequence[Path]) -> None:
        """Attach files to the sweep's run and end it."""
        assert self.parent is not None
        for path in files:
            self.client.log_artifact(self.parent, str(path))
        self.client.set_terminated(self.parent, status)

    def log(self, outcome: Outcome) -> None:
        """Log a point as a finished or failed run, unless it is in the store as a finished one."""
        point, result = outcome.point, outcome.result
        tags = {"fingerprint": point.fingerprint, "seed": str(point.config.seed)}
        if self.parent is not None:
            tags["mlflow.parentRunId"] = self.parent
        else:
            tags["sweep.single"] = "true"
            query = (
                f"tags.fingerprint = '{point.fingerprint}' and tags.`sweep.single` = 'true' and attributes.status = 'FINISHED'"
            )
            self.logged.update(run.data.tags["fingerprint"] for run in self._search(query))
        if point.fingerprint in self.logged:
            return
        parameters = {name: str(value) for name, value in flattened(point.values).items()}
        if result is None:
            note = {"failure": outcome.failure, "mlflow.note.content": outcome.failure}
            run_id = self._create(point.label, {**tags, **note, **_source_tags(provenance())})
            self._log_batch(run_id, parameters)
            self.client.log_text(run_id, outcome.details, "failure.txt")
            self.client.set_terminated(run_id, "FAILED")
            return
        run_id = self._create(point.label, {**tags, **_source_tags(point.provenance())})
        over_time = [
            (round((index + 1) * result.slice_ms * 1000), goodput) for index, goodput in enumerate(result.goodput_over_time_mbps)
        ]
        self._log_batch(run_id, parameters, result.metrics(), {"goodput_over_time_mbps": over_time})
        self.client.log_artifacts(run_id, str(point.folder))
        self.client.set_terminated(run_id, "FINISHED")
        self.logged.add(point.fingerprint)

    def _create(self, name: str, tags: dict[str, str]) -> str:
        return self.client.create_run(self.experiment_id, tags=tags, run_name=name).info.run_id

    def _log_batch(
        self,
        run_id: str,
        parameters: dict[str, str] | None = None,
        metrics: dict[str, float] | None = None,
        series: dict[str, list[tuple[int, float]]] | None = None,
        tags: dict[str, str] | None = None,
    ) -> None:
        """Log everything of a run at once; the client splits what is more than the store takes in one request."""
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        values = [Metric(name, value, now, 0) for name, value in (metrics or {}).items()]
        values += [Metric(name, value, now, step) for name, steps in (series or {}).items() for step, value in steps]
        self.client.log_batch(
            run_id,
            metrics=values,
            params=[Param(name, value) for name, value in (parameters or {}).items()],
            tags=[RunTag(name, value) for name, value in (tags or {}).items()],
        )

    def _search(self, query: str) -> "list[Run]":
        runs: list[Run] = []
        token: str | None = None
        while True:
            page = self.client.search_runs([self.experiment_id], query, max_results=PAGE, page_token=token)
            runs += page
            token = page.token
            if not token:
                return runs


def _source_tags(known: dict[str, Any]) -> dict[str, str]:
    """Return tags of a run's origin; MLflow's own page shows the `mlflow.source` ones."""
    source = {"mlflow.source.name": "run.py", "mlflow.source.type": "LOCAL"}
    return {**known, **source, **({"mlflow.source.git.commit": known["git.commit"]} if "git.commit" in known else {})}
