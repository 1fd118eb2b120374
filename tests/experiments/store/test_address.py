"""Paths of any characters in the addresses of stores: the database, its lock and the artifacts are where the user said."""

import io
import os
import shlex
from pathlib import Path

import pytest
from mlflow import MlflowClient
from rich.console import Console
from sqlalchemy.engine import make_url

from experiments import sweep
from experiments.config.schema import TrackingConfig
from experiments.points.folders import output_folder
from experiments.store.address import database_file, tracking_uri
from experiments.store.logbook import Logbook, check_reachable
from experiments.sweep import SweepSettings

NAMES = ["plain", "a b", "a%2Fb", "a?b", "a#b", "a%b", "a&b=c;d", "~", "é \N{SNOWMAN}", "it's"]


@pytest.mark.parametrize("name", NAMES)
def test_a_database_below_any_folder_is_the_one_that_is_opened(name: str, tmp_path: Path) -> None:
    path = tmp_path / name / "mlflow.db"
    uri = tracking_uri(TrackingConfig(), path.parent)
    assert make_url(uri).database == str(path)
    assert not make_url(uri).query
    assert database_file(uri) == path


def test_a_given_database_has_its_own_path_and_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for given, path in {
        "sqlite:///runs.db": tmp_path / "runs.db",
        "sqlite:///a/../runs.db": tmp_path / "runs.db",
        "sqlite:///~/runs.db": tmp_path / "home" / "runs.db",
        f"sqlite:///{tmp_path}/a%3Fb%20c.db": tmp_path / "a?b c.db",
        f"sqlite:///{tmp_path}/a#b.db": tmp_path / "a#b.db",
    }.items():
        for options in ("", "?timeout=3"):
            uri = tracking_uri(TrackingConfig(uri=given + options), Path("outputs"))
            assert make_url(uri).database == str(path)
            assert dict(make_url(uri).query) == ({"timeout": "3"} if options else {})
            assert database_file(uri) == path


def test_servers_are_left_as_they_are() -> None:
    for uri in ("http://host:5000/a%2Fb?c#d", "https://host"):
        assert tracking_uri(TrackingConfig(uri=uri), Path("outputs")) == uri
        assert database_file(uri) is None


def test_all_of_a_store_is_below_a_folder_of_any_name(tmp_path: Path) -> None:
    """MLflow is asked, by the address that the sweep prints."""
    folder = tmp_path / "a?b #c%2Fd é"
    folder.mkdir()
    (folder / "figure.txt").write_text("seen")
    check_reachable(TrackingConfig(), folder)
    logbook = Logbook(TrackingConfig(), folder)
    with logbook.sweep("id", "name", 1) as entry:
        entry.files = [folder / "figure.txt"]
    logbook.close()
    assert logbook.failure() is None
    check_reachable(TrackingConfig(), folder)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == {path for path in folder.rglob("*") if path.is_file()}
    assert {path.name for path in folder.iterdir()} == {"artifacts", "figure.txt", "identity", "mlflow.db", "mlflow.db.lock"}
    assert [path.read_text() for path in (folder / "artifacts").rglob("figure.txt")] == ["seen"]
    terminal = Console(file=io.StringIO(), width=500)
    sweep._say_where(terminal, [], SweepSettings(folder, TrackingConfig()), None)
    assert isinstance(terminal.file, io.StringIO)
    printed = shlex.split(terminal.file.getvalue())
    assert printed[:4] == ["browse:", "mlflow", "ui", "--backend-store-uri"]
    client = MlflowClient(printed[4])
    experiment = client.get_experiment_by_name(TrackingConfig().experiment)
    assert experiment is not None
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.run_name == "name"


def test_a_home_is_where_the_user_s_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert output_folder("~/outputs") == tmp_path / "outputs"
    assert output_folder("~") == tmp_path
    assert output_folder("a~/b") == Path("a~/b")
    assert os.fspath(output_folder("./outputs")) == "outputs"
