"""How one run is written to an MLflow store: whole or not at all to a database file, step by step to a server.

Knows MLflow and nothing of points and sweeps. MLflow is imported late: it takes seconds.
"""

import errno
import math
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

LONGEST_VALUE = 6000  # of a parameter in MLflow
TRY_AGAIN = (408, 429)  # answers of a server that are no refusals
LASTING = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
)
"""Errors of files that stay until somebody changes a name or a permission, or makes room."""
REFUSALS = (
    "out-of-date database schema",
    "readonly database",
    "disk is full",
    "no such table",
    "no such column",
    "Can't locate revision",
)
"""What MLflow calls an internal error, and stays."""
PASSING = ("database is locked", "database table is locked")
"""What the database says while others use it. MLflow wraps what it meets in its own code only."""
Series = Mapping[str, Sequence[tuple[int, float]]]
"""Metrics over steps."""


@dataclass(frozen=True)
class RunRecord:
    """All that a run will hold. `status` is FINISHED or FAILED; `texts` are artifacts beside the files of `folder`."""

    name: str
    status: str
    tags: Mapping[str, str]
    parameters: Mapping[str, str]
    metrics: Mapping[str, float] = field(default_factory=dict)
    series: Series = field(default_factory=dict)
    folder: Path | None = None
    texts: Mapping[str, str] = field(default_factory=dict)


Write = Callable[[RunRecord], None]


def writer_for(client: "MlflowClient", experiment: "Experiment") -> Write:
    """Return how to write runs of an experiment."""
    uri = client.tracking_uri
    if uri.startswith("sqlite:"):
        try:
            return DatabaseWriter(client, experiment)
        except (ImportError, AttributeError):  # another version of MLflow, arranged differently inside
            pass
    return ClientWriter(client, experiment)


def may_pass(error: BaseException) -> bool:
    """Return whether it can help to wait: the store is away or busy, but neither full nor refused anything."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        if any(sign in str(error) for sign in REFUSALS):
            return False
        status = error.get_http_status_code()
        return status >= 500 or status in TRY_AGAIN
    if isinstance(error, OSError):
        return error.errno not in LASTING
    return type(error).__module__.startswith("sqlalchemy") and any(sign in str(error) for sign in PASSING)


class ClientWriter:
    """Writes through MLflow's client, to any store. What is cut off leaves a run with status RUNNING."""

    def __init__(self, client: "MlflowClient", experiment: "Experiment") -> None:
        self.client, self.experiment = client, experiment

    def __call__(self, record: RunRecord) -> None:
        """Write a run."""
        client = self.client
        run_id = client.create_run(self.experiment.experiment_id, tags=dict(record.tags), run_name=record.name).info.run_id
        if record.folder is not None:  # before the rest, which the client would read again to find the run's folder
            client.log_artifacts(run_id, str(record.folder))
        for name, text in record.texts.items():
            client.log_text(run_id, text, name)
        log_values(client, run_id, record.parameters, record.metrics, record.series)
        client.set_terminated(run_id, record.status)


class DatabaseWriter:
    """Writes a run to a database file in one transaction, by the tables of MLflow: a fifth of the client's time.

    The client takes a transaction per hundred parameters, and reads all of the run in each.
    """

    def __init__(self, client: "MlflowClient", experiment: "Experiment") -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
        from mlflow.store.tracking.dbmodels import models

        self.engine = client._tracking_client.store.engine
        self.tables = {
            name: getattr(models, name).__table__ for name in ("SqlRun", "SqlTag", "SqlParam", "SqlMetric", "SqlLatestMetric")
        }
        self.repository = get_artifact_repository
        self.experiment = experiment
        self.any_store = ClientWriter(client, experiment)

    def __call__(self, record: RunRecord) -> None:
        """Write a run; its files first, so that a run that can be seen is complete."""
        import sqlalchemy

        if any(not math.isfinite(value) for value in record.metrics.values()) or any(
            len(value) > LONGEST_VALUE for value in record.parameters.values()
        ):
            self.any_store(record)  # which knows how a store wants them
            return
        started_ms = _now_ms()
        run_id = uuid.uuid4().hex
        location = f"{self.experiment.artifact_location}/{run_id}/artifacts"
        repository = self.repository(location)
        if record.folder is not None:
            repository.log_artifacts(str(record.folder))
        rows = self._rows(record, run_id, started_ms)
        run = {
            "run_uuid": run_id,
            "name": record.name,
            "source_type": "UNKNOWN",
            "source_name": "",
            "entry_point_name": "",
            "user_id": "unknown",  # as the client has it
            "status": record.status,
            "start_time": started_ms,
            "end_time": _now_ms(),
            "source_version": "",
            "lifecycle_stage": "active",
            "artifact_uri": location,
            "experiment_id": int(self.experiment.experiment_id),
        }
        if record.texts:
            self._write_texts(repository, record.texts)
        with self.engine.begin() as connection:
            connection.execute(sqlalchemy.text("PRAGMA busy_timeout = 20000"))  # as MLflow waits for another writer
            for table, values in {"SqlRun": [run], **rows}.items():
                if values:
                    columns = list(values[0])
                    marks = ", ".join("?" * len(columns))
                    statement = f"insert into {self.tables[table].name} ({', '.join(columns)}) values ({marks})"
                    connection.exec_driver_sql(statement, [tuple(value.values()) for value in values])

    def _rows(self, record: RunRecord, run_id: str, now_ms: int) -> dict[str, list[dict[str, Any]]]:
        """Return what goes into each table beside that of runs. The latest value of a metric has a table of its own."""
        of_run = {"run_uuid": run_id}
        steps = {**{name: [(0, value)] for name, value in record.metrics.items()}, **record.series}
        values = [
            {**of_run, "key": key, "value": value, "timestamp": now_ms, "step": step, "is_nan": False}
            for key, pairs in steps.items()
            for step, value in pairs
        ]
        return {
            "SqlTag": [
                {**of_run, "key": key, "value": value} for key, value in {**record.tags, "mlflow.runName": record.name}.items()
            ],
            "SqlParam": [{**of_run, "key": key, "value": value} for key, value in record.parameters.items()],
            "SqlMetric": values,
            "SqlLatestMetric": list({value["key"]: value for value in values}.values()),
        }

    def _write_texts(self, repository: Any, texts: Mapping[str, str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name, text in texts.items():
                (Path(folder) / name).write_text(text, encoding="utf-8")
            repository.log_artifacts(folder)


def log_values(
    client: "MlflowClient",
    run_id: str,
    parameters: Mapping[str, str] | None = None,
    metrics: Mapping[str, float] | None = None,
    series: Series | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Log values of a run at once; the client splits what is more than the store takes in one request."""
    from mlflow.entities import Metric, Param, RunTag

    now = _now_ms()
    values = [Metric(name, value, now, 0) for name, value in (metrics or {}).items()]
    values += [Metric(name, value, now, step) for name, steps in (series or {}).items() for step, value in steps]
    client.log_batch(
        run_id,
        metrics=values,
        params=[Param(name, value) for name, value in (parameters or {}).items()],
        tags=[RunTag(name, value) for name, value in (tags or {}).items()],
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
