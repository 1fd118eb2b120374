"""The runs of a sweep in MLflow: a parent run per sweep, a child run per point, each point once.

Knows points and results, not how they were computed, and not what to do when the store is away. MLflow is imported late.
"""

import logging
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.config.schema import TrackingConfig
from experiments.config.values import flat_values
from experiments.points.folders import output_id
from experiments.points.point import Outcome
from experiments.points.provenance import commit_label, provenance
from experiments.store.address import database_file, tracking_uri
from experiments.store.template import fill_from_template, keep_template
from experiments.store.writers import RunRecord, log_values, writer_for
from netstack.installation import started_as

if TYPE_CHECKING:
    from mlflow.entities import Run

PAGE = 200  # runs of one search: each comes with all its values


class Tracker:
    """Writes runs to MLflow. A sweep that is launched again continues its parent run.

    Runs belong to an output folder, which has an identity. People who run the same sweep into folders of their own have parent
    runs of their own on a server that they share.
    """

    def __init__(self, tracking: TrackingConfig, output_dir: Path) -> None:
        os.environ.pop("MLFLOW_RUN_ID", None)  # a stale one would be resumed instead of a run of ours
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"  # a request whose answer was lost must not create a second run
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        uri = tracking_uri(tracking, output_dir)
        path = database_file(uri)
        is_new = path is not None and fill_from_template(path)
        self.client = MlflowClient(uri)
        self.output_id = output_id(output_dir)
        local = path is not None
        experiment = self._experiment(tracking.experiment, (output_dir / "artifacts").resolve().as_uri() if local else None)
        if is_new and path is not None:
            keep_template(path)
        self.experiment_id = experiment.experiment_id
        self.write = writer_for(self.client, experiment)
        self.parent: str | None = None
        self.logged: set[str] = set()
        self.failed: dict[str, str] = {}

    def open_sweep(self, sweep: str, name: str, points: int) -> None:
        """Continue the sweep's run, or create it. What a killed launch left of it and its points is repaired."""
        tags = {"sweep.id": sweep, "sweep.parent": "true", "output.id": self.output_id, "sweep.points": str(points)}
        parents = self._search(" and ".join(f"tags.`{key}` = '{value}'" for key, value in list(tags.items())[:3]))
        tags |= _source_tags(provenance())
        if parents:
            self.parent = parents[0].info.run_id
            earlier = parents[0].data.tags
            if earlier.get("git.commit") != tags.get("git.commit"):
                tags["git.commits"] = f"{earlier.get('git.commits', earlier.get('git.commit'))} {tags.get('git.commit')}"
            log_values(self.client, self.parent, tags=tags)
            self.client.update_run(self.parent, status="RUNNING")
        else:
            self.parent = self.client.create_run(self.experiment_id, tags=tags, run_name=name).info.run_id
        self._repair(f"tags.`mlflow.parentRunId` = '{self.parent}'")

    def close_sweep(self, status: str, files: Sequence[Path]) -> None:
        """Attach files to the sweep's run and end it."""
        assert self.parent is not None
        for path in files:
            self.client.log_artifact(self.parent, str(path))
        self.client.set_terminated(self.parent, status)

    def log(self, outcome: Outcome, again: bool = False) -> None:
        """Log a point as a finished or failed run, unless it is in the store as a finished one.

        A failed run of the same point from an earlier launch is deleted when the new one is there.

        Args:
            outcome: The point.
            again: Whether this was tried before, and may have left something.
        """
        point, result = outcome.point, outcome.result
        tags = {"fingerprint": point.fingerprint, "seed": str(point.config.seed)}
        if self.parent is not None:
            tags["mlflow.parentRunId"] = self.parent
        else:
            tags |= {"sweep.single": "true", "output.id": self.output_id}
        if again or self.parent is None:
            self._repair(" and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items() if key != "seed"))
        if point.fingerprint in self.logged:
            return
        parameters = {name: str(value) for name, value in flat_values(point.config).items()}
        if result is None:
            tags |= {"failure": outcome.failure, "mlflow.note.content": outcome.failure, **_source_tags(provenance())}
            self.write(RunRecord(point.label, "FAILED", tags, parameters, texts={"failure.txt": outcome.details}))
        else:
            over_time = [(round((n + 1) * result.slice_ms * 1000), each) for n, each in enumerate(result.goodput_over_time_mbps)]
            series = {"goodput_over_time_mbps": over_time}
            tags |= _source_tags(point.provenance())
            self.write(RunRecord(point.label, "FINISHED", tags, parameters, result.metrics(), series, point.folder))
            self.logged.add(point.fingerprint)
        if point.fingerprint in self.failed:
            self.client.delete_run(self.failed.pop(point.fingerprint))

    def _repair(self, query: str) -> None:
        """Keep one run per point: the finished one, else the last failed one. Remember which points have one."""
        by_point: dict[str, list[Run]] = defaultdict(list)
        for run in self._search(query):  # the newest first
            by_point[run.data.tags.get("fingerprint", "")].append(run)
        for fingerprint, runs in by_point.items():
            kept = next((run for status in ("FINISHED", "FAILED") for run in runs if run.info.status == status), None)
            for run in runs:
                if run is not kept:
                    self.client.delete_run(run.info.run_id)
            if kept is not None and kept.info.status == "FINISHED":
                self.logged.add(fingerprint)
            elif kept is not None:
                self.failed[fingerprint] = kept.info.run_id

    def _experiment(self, name: str, location: str | None):
        """Return the MLflow experiment of a name. Another process may create it at the same moment."""
        from mlflow.exceptions import MlflowException

        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            tags = {"mlflow.experimentKind": "custom_model_development"}  # which pages its UI shows first: runs, not traces
            try:
                self.client.create_experiment(name, artifact_location=location, tags=tags)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            experiment = self.client.get_experiment_by_name(name)
        assert experiment is not None
        return experiment

    def _search(self, query: str) -> "list[Run]":
        runs: list[Run] = []
        token: str | None = None
        while True:
            page = self.client.search_runs([self.experiment_id], query, max_results=PAGE, page_token=token)
            runs += page
            token = page.token
            if not token:
                return runs


def _source_tags(known: Mapping[str, str]) -> dict[str, str]:
    """Return tags of a run's origin; MLflow's own page shows the `mlflow.source` ones."""
    source = {"mlflow.source.name": started_as("run.py"), "mlflow.source.type": "LOCAL"}
    return {**known, **source, **({"mlflow.source.git.commit": known["git.commit"]} if commit_label(known) else {})}
