"""Runs in any MLflow store, through MLflow's own client. A run is written step by step.

Knows nothing of points and sweeps. MLflow is imported late: it takes seconds.
"""

import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.store.record import FoundRun, RunRecord, Series, page_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

PAGE = 200  # runs of one search: each comes with all its values


class ClientStore:
    """The runs of an experiment. What is cut off while it is written leaves a run with status RUNNING.

    Args:
        uri: Address of the store.
        experiment: Name of the experiment, which is made unless it is there.
        location: Address of the folder for artifacts of a new experiment; None leaves it to the store.
        tags: Tags of a new experiment.
    """

    def __init__(self, uri: str, experiment: str, location: str | None, tags: Mapping[str, str]) -> None:
        os.environ.pop("MLFLOW_RUN_ID", None)  # a stale one would be resumed instead of a run of ours
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"  # a request whose answer was lost must not create a second run
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self.client = MlflowClient(uri)
        self.experiment_id: str = _experiment(self.client, experiment, location, tags).experiment_id

    def search(self, tags: Mapping[str, str]) -> list[FoundRun]:
        """Return the runs that have these tags and are not deleted, the newest first."""
        query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        runs: list[FoundRun] = []
        token: str | None = None
        while True:
            page = self.client.search_runs([self.experiment_id], query, max_results=PAGE, page_token=token)
            runs += (FoundRun(run.info.run_id, run.info.status, run.data.tags) for run in page)
            token = page.token
            if not token:
                return runs

    def create(self, name: str, tags: Mapping[str, str]) -> str:
        """Create a run, which is RUNNING; return its identity."""
        return self.client.create_run(self.experiment_id, tags=dict(tags), run_name=name).info.run_id

    def resume(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run, and make it RUNNING again."""
        _log_values(self.client, run_id, tags=tags)
        self.client.update_run(run_id, status="RUNNING")

    def end(self, run_id: str, status: str, files: Sequence[Path], tags: Mapping[str, str]) -> None:
        """Attach files to a run, PNG figures as images too, set tags, and end it."""
        for path in files:
            self.client.log_artifact(run_id, str(path))
            if path.suffix == ".png":
                self._log_image(run_id, path)
        _log_values(self.client, run_id, tags=tags)
        self.client.set_terminated(run_id, status)

    def tag_experiment(self, key: str, value: str) -> None:
        """Set a tag of the experiment that all runs belong to."""
        self.client.set_experiment_tag(self.experiment_id, key, value)

    @property
    def page(self) -> str:
        """The page of the experiment's runs, below the address of MLflow's server."""
        return page_of(self.experiment_id)

    def _log_image(self, run_id: str, path: Path) -> None:
        from PIL import Image

        with Image.open(path) as image:
            self.client.log_image(run_id, image, key=path.stem, synchronous=True)

    def delete(self, run_id: str) -> None:
        """Mark a run as deleted."""
        self.client.delete_run(run_id)

    def write(self, records: Sequence[RunRecord]) -> None:
        """Write whole runs, one after the other."""
        for record in records:
            self._write(record)

    def _write(self, record: RunRecord) -> None:
        client = self.client
        run_id = self.create(record.name, record.tags)
        if record.folder is not None:  # before the rest, which the client would read again to find the run's folder
            client.log_artifacts(run_id, str(record.folder))
        for name, text in record.texts.items():
            client.log_text(run_id, text, name)
        _log_values(client, run_id, record.parameters, record.metrics, record.series)
        client.set_terminated(run_id, record.status)


def _experiment(client: "MlflowClient", name: str, location: str | None, tags: Mapping[str, str]) -> "Experiment":
    """Return the MLflow experiment of a name. Another process may create it at the same moment."""
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            client.create_experiment(name, artifact_location=location, tags=dict(tags))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    return experiment


def _log_values(
    client: "MlflowClient",
    run_id: str,
    parameters: Mapping[str, str] | None = None,
    metrics: Mapping[str, float] | None = None,
    series: Series | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Log values of a run at once; the client splits what is more than the store takes in one request."""
    from mlflow.entities import Metric, Param, RunTag

    now = time.time_ns() // 1_000_000
    values = [Metric(name, value, now, 0) for name, value in (metrics or {}).items()]
    values += [Metric(name, value, now, step) for name, steps in (series or {}).items() for step, value in steps]
    client.log_batch(
        run_id,
        metrics=values,
        params=[Param(name, value) for name, value in (parameters or {}).items()],
        tags=[RunTag(name, value) for name, value in (tags or {}).items()],
    )
