"""A database file that will never take a run is refused at once, with the way out; one that is busy is not."""

import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import OperationalError

from experiments.config.command_line import BAD_INPUT
from experiments.store.address import database_uri
from experiments.store.database import check_database
from experiments.store.refusals import may_pass
from netstack.errors import ConfigError
from tests.helpers.launching import launch
from tests.helpers.users import ONE, TWO, as_user, shared_folder

OLDER = "451aebb31d03"  # a migration of 2019


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with an experiment that is deleted."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    client = MlflowClient(f"sqlite:///{path}")
    client.delete_experiment(client.create_experiment("gone"))
    client.create_experiment("there")
    return path


@pytest.fixture
def database(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made, tmp_path / "my%20 runs.db"))


def check(path: Path, experiment: str = "there") -> None:
    check_database(f"sqlite:///{path}", path, experiment)


def change(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def test_a_database_that_takes_runs(database: Path, tmp_path: Path) -> None:
    check(database)
    check(database, "new")
    check(tmp_path / "new.db")
    (tmp_path / "empty.db").touch()
    check(tmp_path / "empty.db")


@pytest.mark.parametrize(
    ("version", "way_out"), [(OLDER, "mlflow db upgrade sqlite:///"), ("ffffffffffff", "install that version")]
)
def test_tables_of_another_version(version: str, way_out: str, database: Path) -> None:
    change(database, f"update alembic_version set version_num = '{version}'")
    with pytest.raises(ConfigError, match=way_out):
        check(database)


def test_an_experiment_that_is_deleted(database: Path) -> None:
    with pytest.raises(ConfigError, match=r"^tracking\.experiment=gone: .*mlflow experiments restore"):
        check(database, "gone")


def test_another_database_and_no_database(tmp_path: Path) -> None:
    change(tmp_path / "other.db", "create table birds (name text)")
    with pytest.raises(ConfigError, match="must be a database of MLflow"):
        check(tmp_path / "other.db")
    (tmp_path / "text.db").write_text("no database at all, whatever its name says")
    with pytest.raises(ConfigError, match="can be opened"):
        check(tmp_path / "text.db")
    with pytest.raises(ConfigError, match="folder that exists"):
        check(tmp_path / "none" / "new.db")


def test_one_that_somebody_writes_may_be_free_later(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.store.database.BUSY_SECONDS", 0.1)
    with closing(sqlite3.connect(database)) as other:
        other.execute("begin exclusive")
        check(database)


def test_one_that_only_others_may_write(made: Path, capfd) -> None:
    def refused(path: Path) -> int:
        try:
            check(path)
        except ConfigError as error:
            print(error)
            return 1
        return 0

    with shared_folder() as folder:
        path = Path(shutil.copy(made, folder))
        path.chmod(0o644)
        assert as_user(TWO, 0o022, lambda: refused(path)) == 1
        assert f"its owner can `chmod g+rw {path}`" in capfd.readouterr().out
        shutil.chown(path, ONE, 23000)
        path.chmod(0o664)
        assert as_user(TWO, 0o022, lambda: refused(path)) == 0


def test_a_sweep_with_such_a_store_does_not_start(database: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    change(database, f"update alembic_version set version_num = '{OLDER}'")
    started_s = time.monotonic()
    outputs = tmp_path / "outputs"
    assert launch(monkeypatch, outputs, "-m", "conns=6", f"tracking.uri={database_uri(database)}") == BAD_INPUT
    (line,) = capsys.readouterr().err.splitlines()
    assert "mlflow db upgrade" in line
    assert time.monotonic() - started_s < 60
    assert list(outputs.iterdir()) == []


Make = Callable[[], Exception]


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (MlflowException("Detected out-of-date database schema (found version 1, but expected 2)"), False),
        (MlflowException("(sqlite3.OperationalError) attempt to write a readonly database"), False),
        (MlflowException("(sqlite3.OperationalError) database is locked"), True),
        (OperationalError("insert", {}, Exception("database is locked")), True),
        (OperationalError("insert", {}, Exception("attempt to write a readonly database")), False),
        (PermissionError(13, "Permission denied"), False),
        (FileNotFoundError(2, "No such file or directory"), False),
        (OSError(30, "Read-only file system"), False),
        (ConnectionRefusedError(111, "Connection refused"), True),
        (OSError(28, "No space left on device"), False),
        (OSError(27, "File too large"), False),
        (MlflowException("(sqlite3.OperationalError) database or disk is full"), False),
        (TimeoutError("timed out"), True),
        (ValueError("ours"), False),
    ],
)
def test_what_is_waited_for(error: Exception, passes: bool) -> None:
    assert may_pass(error) is passes
