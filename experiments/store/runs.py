"""The runs of a sweep in MLflow: a parent run per sweep, a child run per point, each point once.

Knows points and results, not how they were computed, and not what to do when the store is away.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from experiments.config.schema import TrackingConfig
from experiments.config.values import flat_values
from experiments.points.folders import output_id
from experiments.points.point import Outcome
from experiments.points.provenance import commit_label, provenance
from experiments.store.address import database_file, database_options, tracking_uri
from experiments.store.client import ClientStore
from experiments.store.describe import VIEW, Description, describe_point
from experiments.store.record import FoundRun, RunRecord, Store
from experiments.store.tables import OtherTablesError, TableStore
from experiments.store.template import fill_from_template, keep_template
from netstack.installation import started_as

EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
"""Which pages MLflow shows first: runs, not traces."""


class Tracker:
    """Writes runs to MLflow. A sweep that is launched again continues its parent run.

    Runs belong to an output folder, which has an identity. People who run the same sweep into folders of their own have parent
    runs of their own on a server that they share.
    """

    def __init__(self, tracking: TrackingConfig, output_dir: Path) -> None:
        self.store = open_store(tracking, output_dir)
        self.output_id = output_id(output_dir)
        self.parent: str | None = None
        self.sweep: dict[str, str] = {}
        self.logged: set[str] = set()
        self.failed: dict[str, str] = {}

    def open_sweep(self, sweep: str, name: str, points: int) -> None:
        """Continue the sweep's run, or create it. What a killed launch left of it and its points is repaired."""
        tags = {"sweep.id": sweep, "sweep.parent": "true", "output.id": self.output_id, "sweep.points": str(points)}
        parents = self.store.search(dict(list(tags.items())[:3]))
        tags |= {"sweep.name": name, **_source_tags(provenance())}
        self.sweep = {key: tags[key] for key in ("sweep.id", "sweep.name")}
        if parents:
            self.parent = parents[0].run_id
            earlier = parents[0].tags
            if earlier.get("git.commit") != tags.get("git.commit"):
                tags["git.commits"] = f"{earlier.get('git.commits', earlier.get('git.commit'))} {tags.get('git.commit')}"
            self.store.resume(self.parent, tags)
        else:
            self.parent = self.store.create(name, tags)
        self._repair({"mlflow.parentRunId": self.parent})

    def close_sweep(self, status: str, files: Sequence[Path], description: Description | None) -> str | None:
        """Attach files to the sweep's run, describe and end it. Return the page that shows its points, if it is described."""
        assert self.parent is not None
        tags = {"mlflow.note.content": description.note} if description is not None else {}
        self.store.end(self.parent, status, files, tags)
        if description is None:
            return None
        self.store.tag_experiment(f"{VIEW}{self.sweep['sweep.id']}", description.view(self.parent))
        return f"{self.store.page}?viewStateShareKey={self.sweep['sweep.id']}"

    def log(self, outcomes: Sequence[Outcome], again: bool = False) -> None:
        """Log points as finished or failed runs, unless they are in the store as finished ones.

        A failed run of the same point from an earlier launch is deleted when the new one is there.

        Args:
            outcomes: The points.
            again: Whether this was tried before, and may have left something.
        """
        new: dict[str, RunRecord] = {}
        for outcome in outcomes:
            point = outcome.point
            tags = {"fingerprint": point.fingerprint, "seed": str(point.config.seed)}
            if self.parent is not None:
                tags |= {"mlflow.parentRunId": self.parent, **self.sweep}
            else:
                tags |= {"sweep.single": "true", "output.id": self.output_id}
            if again or self.parent is None:
                self._repair({key: value for key, value in tags.items() if key not in ("seed", *self.sweep)})
            if point.fingerprint not in self.logged:
                new[point.fingerprint] = _record(outcome, tags)
        self.store.write(list(new.values()))
        for fingerprint, record in new.items():
            if record.status == "FINISHED":
                self.logged.add(fingerprint)
            if fingerprint in self.failed:
                self.store.delete(self.failed.pop(fingerprint))

    def _repair(self, tags: Mapping[str, str]) -> None:
        """Keep one run per point: the finished one, else the last failed one. Remember which points have one."""
        by_point: dict[str, list[FoundRun]] = defaultdict(list)
        for run in self.store.search(tags):  # the newest first
            by_point[run.tags.get("fingerprint", "")].append(run)
        for fingerprint, runs in by_point.items():
            kept = next((run for status in ("FINISHED", "FAILED") for run in runs if run.status == status), None)
            for run in runs:
                if run is not kept:
                    self.store.delete(run.run_id)
            if kept is not None and kept.status == "FINISHED":
                self.logged.add(fingerprint)
            elif kept is not None:
                self.failed[fingerprint] = kept.run_id


def open_store(tracking: TrackingConfig, output_dir: Path) -> Store:
    """Return the store that is configured: a database file by its tables if they were tried, all else through MLflow."""
    uri = tracking_uri(tracking, output_dir)
    path = database_file(uri)
    location = (output_dir / "artifacts").resolve().as_uri() if path is not None else None
    by_client = partial(ClientStore, uri, tracking.experiment, location, EXPERIMENT_TAGS)
    if path is None or location is None:
        return by_client()
    made = by_client() if fill_from_template(path) else None
    if made is not None:
        keep_template(path)
    if not database_options(uri):
        with suppress(OtherTablesError):
            return TableStore(path, tracking.experiment, location, EXPERIMENT_TAGS, by_client)
    return made or by_client()


def _record(outcome: Outcome, tags: Mapping[str, str]) -> RunRecord:
    """Return the run of a point with these tags and those of its origin."""
    point, result = outcome.point, outcome.result
    parameters = {name: str(value) for part in flat_values(point.config).parts.values() for name, value in part.items()}
    if result is None:
        about = {"failure": outcome.failure, "mlflow.note.content": outcome.failure, **_source_tags(provenance())}
        return RunRecord(point.label, "FAILED", {**tags, **about}, parameters, texts={"failure.txt": outcome.details})
    over_time = [(round((n + 1) * result.slice_ms * 1000), each) for n, each in enumerate(result.goodput_over_time_mbps)]
    series = {"goodput_over_time_mbps": over_time}
    tags = {**tags, "mlflow.note.content": describe_point(outcome), **_source_tags(point.provenance())}
    return RunRecord(point.label, "FINISHED", tags, parameters, result.metrics(), series, point.folder)


def _source_tags(known: Mapping[str, str]) -> dict[str, str]:
    """Return tags of a run's origin; MLflow's own page shows the `mlflow.source` ones."""
    source = {"mlflow.source.name": started_as("run.py"), "mlflow.source.type": "LOCAL"}
    return {**known, **source, **({"mlflow.source.git.commit": known["git.commit"]} if commit_label(known) else {})}
