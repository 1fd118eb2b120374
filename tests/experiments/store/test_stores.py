"""MLflow reads the same whichever way a run was written, and a run is there once whatever was cut off before."""

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from PIL import Image

from experiments.config.schema import TrackingConfig
from experiments.store import tables
from experiments.store.client import ClientStore
from experiments.store.database import latest_migration
from experiments.store.record import RunRecord, Store
from experiments.store.refusals import may_pass
from experiments.store.runs import open_store
from experiments.store.tables import TableStore
from tests.helpers.folders import ROOT

PARENT = {"sweep.parent": "true", "output.id": "here"}
RECORD = RunRecord(
    name="connp_l conns=6",
    status="FINISHED",
    tags={"fingerprint": "abc", "mlflow.parentRunId": "0" * 32},
    parameters={f"key.{n}": str(n) for n in range(250)},  # more than MLflow takes in one request
    metrics={"goodput_mbps": 5000.25, "misses/tcpcb": 0.0},
    series={"over_time": [(1000, 1.5), (2000, -2.5), (3000, 2.5)]},
    texts={"note.txt": "why"},
)
KINDS = [ClientStore, TableStore]


def options_of(folder: Path) -> dict[str, Any]:
    return {"experiment": "sweeps", "location": (folder / "artifacts").as_uri(), "tags": {"kind": "runs"}}


def make(kind: type, folder: Path) -> Store:
    """Return a store of a new database, which MLflow made."""
    folder.mkdir(exist_ok=True)
    uri = f"sqlite:///{folder}/mlflow.db"
    if kind is ClientStore:
        return ClientStore(uri, **options_of(folder))
    MlflowClient(uri).search_experiments()
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        database.execute("delete from experiments")  # as a template has none
        database.commit()
    return TableStore(folder / "mlflow.db", **options_of(folder), by_client=lambda: ClientStore(uri, **options_of(folder)))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> type:
    return request.param


def client_of(folder: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{folder}/mlflow.db")


def runs_of(folder: Path, view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
    client = client_of(folder)
    experiment = client.get_experiment_by_name("sweeps")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], run_view_type=view))


def seen(folder: Path, run: Run) -> dict[str, Any]:
    """Return all that MLflow says of a run, but what differs from run to run."""
    client = client_of(folder)
    artifacts = Path(client.download_artifacts(run.info.run_id, ""))
    assert run.info.artifact_uri == f"{(folder / 'artifacts').as_uri()}/{run.info.run_id}/artifacts"
    return {
        "values": run.data.to_dictionary(),
        "latest": {metric.key: (metric.value, metric.step) for metric in run.data._metric_objs},
        "history": [(entry.step, entry.value) for entry in client.get_metric_history(run.info.run_id, "over_time")],
        "artifacts": {str(path.relative_to(artifacts)): path.read_text() for path in artifacts.rglob("*") if path.is_file()},
        "info": (run.info.status, run.info.run_name, run.info.user_id, run.info.lifecycle_stage),
        "has ended": run.info.end_time is not None and run.info.start_time <= run.info.end_time,
    }


def without(values: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in keys}


def test_a_whole_run_is_the_same_by_tables_and_by_the_client(tmp_path: Path) -> None:
    point = tmp_path / "point"
    (point / "deeper").mkdir(parents=True)
    (point / "result.json").write_text("{}")
    (point / "deeper" / "more.txt").write_text("more")
    found = {}
    for kind in KINDS:
        folder = tmp_path / kind.__name__
        make(kind, folder).write([RunRecord(**{**RECORD.__dict__, "folder": point})])
        (run,) = runs_of(folder)
        found[kind] = seen(folder, run)
    assert found[ClientStore] == found[TableStore]
    assert found[TableStore]["artifacts"] == {"note.txt": "why", "result.json": "{}", "deeper/more.txt": "more"}
    assert found[TableStore]["history"] == RECORD.series["over_time"]
    assert found[TableStore]["has ended"]


def test_a_sweep_s_run_is_the_same_from_its_start_to_its_second_end(tmp_path: Path) -> None:
    """Each step, as MLflow sees it: created, ended with a file, resumed with other tags, ended again."""
    stages: dict[type, list[dict]] = {kind: [] for kind in KINDS}
    for kind in KINDS:
        folder = tmp_path / kind.__name__
        store = make(kind, folder)
        picture = tmp_path / "goodput.txt"

        def look(kind: type = kind, folder: Path = folder) -> None:
            (run,) = runs_of(folder)
            stages[kind].append(seen(folder, run) if run.info.end_time else run.data.to_dictionary() | {"is": run.info.status})

        run_id = store.create("a sweep", PARENT)
        look()
        picture.write_text("first")
        store.end(run_id, "FAILED", [picture], {"mlflow.note.content": "first"})
        look()
        store.resume(run_id, {"output.id": "there", "git.commits": "one two"})
        look()
        picture.write_text("second")
        store.end(run_id, "FINISHED", [picture], {"mlflow.note.content": "second"})
        look()
    assert stages[TableStore] == stages[ClientStore]
    assert [stage["info"][0] for stage in stages[TableStore][1:]] == ["FAILED", "RUNNING", "FINISHED"]
    assert stages[TableStore][-1]["artifacts"] == {"goodput.txt": "second"}
    assert stages[TableStore][-1]["values"]["tags"] == {
        "sweep.parent": "true",
        "output.id": "there",
        "git.commits": "one two",
        "mlflow.runName": "a sweep",
        "mlflow.note.content": "second",
    }


def test_figures_are_images_of_their_run_and_views_are_tags_of_the_experiment(kind: type, tmp_path: Path) -> None:
    """Names and tags are those of `MlflowClient.log_image`, the store in whose place the other one writes."""
    store = make(kind, tmp_path)
    figure = tmp_path / "goodput.png"
    Image.new("RGB", (900, 450), "white").save(figure)
    run_id = store.create("a sweep", PARENT)
    store.end(run_id, "FINISHED", [figure], {})
    store.tag_experiment("mlflow.sharedViewState.one", "first")
    store.tag_experiment("mlflow.sharedViewState.one", "second")
    client = client_of(tmp_path)
    assert client.get_run(run_id).data.tags["mlflow.loggedImages"] == "True"
    images = [Path(artifact.path).name for artifact in client.list_artifacts(run_id, "images")]
    parts = sorted(re.sub(r"timestamp\+\d+\+[0-9a-f-]{36}", "when", name) for name in images)
    assert parts == ["goodput+step+0+when+compressed.webp", "goodput+step+0+when.png"]
    small = Image.open(client.download_artifacts(run_id, f"images/{next(name for name in images if name.endswith('webp'))}"))
    assert small.size == (256, 128)
    experiment = client.get_run(run_id).info.experiment_id
    assert client.get_experiment(experiment).tags["mlflow.sharedViewState.one"] == "second"
    assert store.page == f"#/experiments/{experiment}/runs"


def test_what_is_found_is_what_mlflow_finds(kind: type, tmp_path: Path) -> None:
    """By tags, the newest first, with all tags, and not what is deleted. MLflow finds the children of a parent."""
    store = make(kind, tmp_path)
    parent = store.create("a sweep", PARENT)
    other = store.create("another", {**PARENT, "output.id": "there"})
    child = {"mlflow.parentRunId": parent, "fingerprint": "abc"}
    for status in ("FAILED", "FINISHED"):
        store.write([RunRecord("a point", status, child, {})])
    assert [run.run_id for run in store.search(PARENT)] == [parent]
    assert {run.run_id for run in store.search({"sweep.parent": "true"})} == {parent, other}
    children = store.search({"mlflow.parentRunId": parent})
    client = client_of(tmp_path)
    by_mlflow = client.search_runs([client.get_run(parent).info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
    assert [(run.run_id, run.status, run.tags) for run in children] == [
        (run.info.run_id, run.info.status, run.data.tags) for run in by_mlflow
    ]
    assert {run.status for run in children} == {"FAILED", "FINISHED"}
    store.delete(children[0].run_id)
    assert [run.run_id for run in store.search({"fingerprint": "abc"})] == [children[1].run_id]
    (deleted,) = runs_of(tmp_path, ViewType.DELETED_ONLY)
    assert deleted.info.run_id == children[0].run_id
    client.restore_run(deleted.info.run_id)
    assert len(store.search({"fingerprint": "abc"})) == 2


def test_an_experiment_is_made_once_beside_the_one_that_mlflow_has(kind: type, tmp_path: Path) -> None:
    make(kind, tmp_path).create("a sweep", PARENT)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    ClientStore(uri, **options_of(tmp_path)).create("by the client", {})
    TableStore(tmp_path / "mlflow.db", **options_of(tmp_path), by_client=lambda: ClientStore(uri, **options_of(tmp_path))).create(
        "by tables", {}
    )
    experiments = {each.name: each for each in client_of(tmp_path).search_experiments()}
    assert set(experiments) == {"Default", "sweeps"}
    assert experiments["Default"].experiment_id == "0"
    assert experiments["Default"].artifact_location == str(Path("mlruns/0").resolve())
    assert experiments["sweeps"].artifact_location == (tmp_path / "artifacts").as_uri()
    assert experiments["sweeps"].tags == {"kind": "runs"}
    assert {run.info.run_name for run in runs_of(tmp_path)} == {"a sweep", "by the client", "by tables"}


def test_a_value_that_databases_have_no_number_for_is_left_to_the_client(tmp_path: Path) -> None:
    make(TableStore, tmp_path).write([RunRecord("nan", "FAILED", {}, {}, {"mean": float("nan")})])
    (run,) = runs_of(tmp_path)
    assert run.info.status == "FAILED"
    assert run.data.metrics["mean"] != run.data.metrics["mean"]


def test_a_value_that_is_too_long_is_left_to_the_client(tmp_path: Path) -> None:
    values = {}
    for kind in KINDS:
        make(kind, tmp_path / kind.__name__).write([RunRecord("long", "FINISHED", {}, {"value": "x" * 9000})])
        (run,) = runs_of(tmp_path / kind.__name__)
        values[kind] = run.data.params["value"]
    assert values[TableStore] == values[ClientStore]
    assert set(values[TableStore]) == {"x"}


def test_a_transaction_that_is_cut_off_leaves_no_run(tmp_path: Path) -> None:
    store = make(TableStore, tmp_path)
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        store.write([RunRecord("twice", "FINISHED", {}, {}, {}, {"over_time": [(1, 1.0), (1, 1.0)]})])
    assert runs_of(tmp_path) == []


def test_these_tables_were_tried() -> None:
    """With another version, add it after the tests here: without it all that follows is slower, and right."""
    assert latest_migration() in tables.TRIED


def _moved(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        database.execute("update experiments set artifact_location = 's3://bucket/runs'")
        database.commit()


@pytest.mark.parametrize("other", ["other tables", "artifacts elsewhere", "options"])
def test_what_was_not_tried_is_left_to_mlflow(other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(TableStore, tmp_path)
    tracking = TrackingConfig(experiment="sweeps")
    assert isinstance(open_store(tracking, tmp_path), TableStore)
    if other == "other tables":
        monkeypatch.setattr(tables, "TRIED", ())
    elif other == "artifacts elsewhere":
        _moved(tmp_path)
    else:
        tracking = TrackingConfig(experiment="sweeps", uri=f"sqlite:///{tmp_path}/mlflow.db?timeout=5")
    assert isinstance(open_store(tracking, tmp_path), ClientStore)


def test_a_database_file_needs_no_mlflow(tmp_path: Path) -> None:
    """It takes seconds to import, also where only a part of it is."""
    make(TableStore, tmp_path)
    script = f"""
import sys
from pathlib import Path
from experiments.config.schema import TrackingConfig
from experiments.store.runs import Tracker
tracker = Tracker(TrackingConfig(experiment="sweeps"), Path({str(tmp_path)!r}))
tracker.open_sweep("0123", "a sweep", 1)
tracker.close_sweep("FINISHED", [], None)
print([name for name in ("mlflow", "sqlalchemy", "pandas") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
    assert [run.info.status for run in runs_of(tmp_path)] == ["FINISHED"]


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (ConnectionRefusedError(), True),
        (OSError(28, "No space left on device"), False),
        (MlflowException("database is locked", error_code=1), True),
        (MlflowException("no", error_code=1000), False),  # INVALID_PARAMETER_VALUE
        (sqlite3.OperationalError("database is locked"), True),
        (sqlite3.OperationalError("database or disk is full"), False),
        (ValueError(), False),
    ],
)
def test_what_may_pass(error: Exception, passes: bool) -> None:
    assert may_pass(error) is passes
