"""A database from the template is what MLflow itself makes, and a template that is not whole is not used."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from experiments.config.schema import TrackingConfig
from experiments.store import template as module
from experiments.store.runs import Tracker
from experiments.store.tables import TableStore
from experiments.store.template import fill_from_template, keep_template


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "template.db"
    monkeypatch.setattr(module, "_template", lambda: path)
    return path


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database that MLflow has made by itself."""
    path = tmp_path_factory.mktemp("own") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").create_experiment("mine", artifact_location="file:///mine")
    return path


def content(path: Path) -> list[str]:
    """Return all statements that make a database, but those of its experiments."""
    with closing(sqlite3.connect(path)) as database:
        return [line for line in database.iterdump() if not line.startswith('INSERT INTO "experiments"')]


def test_a_copy_is_what_mlflow_makes(template: Path, own: Path, tmp_path: Path) -> None:
    keep_template(own)
    path = tmp_path / "mlflow.db"
    path.touch(mode=0o660)
    mode = path.stat().st_mode
    assert not fill_from_template(path)
    assert content(path) == content(own)
    assert path.stat().st_mode == mode
    client = MlflowClient(f"sqlite:///{path}")
    assert [each.name for each in client.search_experiments()] == ["Default"]
    assert client.create_experiment("mine") == "1"
    assert not fill_from_template(path)
    assert len(MlflowClient(f"sqlite:///{path}").search_experiments()) == 2


def test_the_first_sweep_makes_it(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first = Tracker(TrackingConfig(), tmp_path / "one")
    kept = template.read_bytes()
    assert isinstance(first.store, TableStore)  # what is made once is no reason to write each run slowly
    Tracker(TrackingConfig(), tmp_path / "two")
    assert template.read_bytes() == kept
    assert content(tmp_path / "one" / "mlflow.db") == content(tmp_path / "two" / "mlflow.db")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "template.db", "two"]


def of_another_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("update alembic_version set version_num = 'older'")
        database.commit()


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:200_000]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"none" * 5000),
        lambda path: path.unlink(),
        of_another_version,
    ],
)
def test_a_template_that_is_damaged_is_not_used(
    damage: Callable[[Path], object], template: Path, own: Path, tmp_path: Path
) -> None:
    keep_template(own)
    damage(template)
    path = tmp_path / "mlflow.db"
    assert fill_from_template(path)
    assert not path.exists()
    keep_template(own)
    assert not fill_from_template(path)
    assert content(path) == content(own)
