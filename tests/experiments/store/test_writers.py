"""A run is the same in MLflow whichever way it was written, and there once whatever was cut off before."""

from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from experiments.store.writers import ClientWriter, DatabaseWriter, RunRecord, may_pass, writer_for

RECORD = RunRecord(
    name="connp_l conns=6",
    status="FINISHED",
    tags={"fingerprint": "abc", "mlflow.parentRunId": "0" * 32},
    parameters={f"key.{n}": str(n) for n in range(250)},  # more than MLflow takes in one request
    metrics={"goodput_mbps": 5000.25, "misses/tcpcb": 0.0},
    series={"over_time": [(1000, 1.5), (2000, -2.5), (3000, 2.5)]},
    texts={"note.txt": "why"},
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[MlflowClient, str, Path]:
    folder = tmp_path_factory.mktemp("store")
    (folder / "point").mkdir()
    (folder / "point" / "result.json").write_text("{}")
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    return client, client.create_experiment("sweeps", artifact_location=(folder / "artifacts").as_uri()), folder


def written(store: tuple[MlflowClient, str, Path], write, record: RunRecord) -> Run:
    client, experiment, _ = store
    before = {run.info.run_id for run in client.search_runs([experiment])}
    write(record)
    (run,) = [run for run in client.search_runs([experiment]) if run.info.run_id not in before]
    return run


def test_one_transaction_writes_what_the_client_writes(store: tuple[MlflowClient, str, Path], tmp_path: Path) -> None:
    client, experiment, folder = store
    record = RunRecord(**{**RECORD.__dict__, "folder": folder / "point"})
    found = {}
    for kind in (ClientWriter, DatabaseWriter):
        run = written(store, kind(client, client.get_experiment(experiment)), record)
        (tmp_path / kind.__name__).mkdir()
        artifacts = Path(client.download_artifacts(run.info.run_id, "", str(tmp_path / kind.__name__)))
        history = client.get_metric_history(run.info.run_id, "over_time")
        found[kind] = {
            "values": run.data.to_dictionary(),
            "latest": {metric.key: (metric.value, metric.step) for metric in run.data._metric_objs},
            "history": [(entry.step, entry.value) for entry in history],
            "artifacts": {path.name: path.read_text() for path in artifacts.iterdir()},
            "info": (run.info.status, run.info.run_name, run.info.user_id, run.info.lifecycle_stage),
        }
        assert run.info.start_time <= run.info.end_time  # pyright: ignore[reportOperatorIssue]
        assert run.info.artifact_uri == f"{(folder / 'artifacts').as_uri()}/{run.info.run_id}/artifacts"
    assert found[ClientWriter] == found[DatabaseWriter]
    assert found[ClientWriter]["artifacts"] == {"note.txt": "why", "result.json": "{}"}
    assert found[ClientWriter]["history"] == RECORD.series["over_time"]


def test_a_value_that_databases_have_no_number_for_is_left_to_the_client(store: tuple[MlflowClient, str, Path]) -> None:
    client, experiment, _ = store
    write = writer_for(client, client.get_experiment(experiment))
    assert isinstance(write, DatabaseWriter)
    run = written(store, write, RunRecord("nan", "FAILED", {}, {}, {"mean": float("nan")}))
    assert run.info.status == "FAILED"
    assert run.data.metrics["mean"] != run.data.metrics["mean"]


def test_a_transaction_that_is_cut_off_leaves_no_run(store: tuple[MlflowClient, str, Path]) -> None:
    client, experiment, _ = store
    write = DatabaseWriter(client, client.get_experiment(experiment))
    before = len(client.search_runs([experiment]))
    twice = RunRecord("twice", "FINISHED", {}, {}, {}, {"over_time": [(1, 1.0), (1, 1.0)]})
    with pytest.raises(Exception, match="UNIQUE"):
        write(twice)
    assert len(client.search_runs([experiment])) == before


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (ConnectionRefusedError(), True),
        (OSError(28, "No space left on device"), False),
        (MlflowException("database is locked", error_code=1), True),
        (MlflowException("no", error_code=1000), False),  # INVALID_PARAMETER_VALUE
        (ValueError(), False),
    ],
)
def test_what_may_pass(error: Exception, passes: bool) -> None:
    assert may_pass(error) is passes
