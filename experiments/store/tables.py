"""Runs in a database file of MLflow, by its tables: MLflow itself takes two seconds of a CPU to import.

Only tables that were tried are written, and only a folder of this computer takes files. Knows nothing of points and sweeps.
"""

import math
import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from operator import itemgetter
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from experiments.store.images import TAG as IMAGES
from experiments.store.images import write_images
from experiments.store.record import FoundRun, RunRecord, Store, page_of

TRIED = ("dc11669786a5",)
"""The versions of MLflow's tables that were tried. MLflow writes into others."""
LONGEST_VALUE = 6000  # of a parameter in MLflow
BUSY_SECONDS = 20.0  # that another writer is waited for, as MLflow does
WORKSPACE = "default"  # of everybody who has none of their own
MOST_ROWS = 1000  # that a statement inserts, if it takes so many values
CACHE_KIB = 8_000  # of a transaction: with less SQLite writes the same pages again, and it keeps none for the next one
VALUES = ("key", "value", "run_uuid")
METRICS = ("key", "value", "timestamp", "step", "is_nan", "run_uuid")
COLUMNS = {
    "experiments": (
        *("experiment_id", "name", "artifact_location", "lifecycle_stage"),
        *("creation_time", "last_update_time", "workspace"),
    ),
    "experiment_tags": ("key", "value", "experiment_id"),
    "runs": (
        *("run_uuid", "name", "source_type", "source_name", "entry_point_name", "user_id", "source_version"),
        *("status", "start_time", "end_time", "lifecycle_stage", "artifact_uri", "experiment_id"),
    ),
    "tags": VALUES,
    "params": VALUES,
    "metrics": METRICS,
    "latest_metrics": METRICS,
}
"""The columns that are written of each table."""


class OtherTablesError(Exception):
    """A database that is left to MLflow."""


class TableStore:
    """The runs of an experiment in a database file. What is written is there whole or not at all.

    Args:
        path: The file, which has MLflow's tables.
        experiment: Name of the experiment, which is made unless it is there.
        location: Address of the folder for artifacts of a new experiment.
        tags: Tags of a new experiment.
        by_client: Returns a store that knows how a database wants what has no place in the tables: values that are no
            numbers, and very long ones.

    Raises:
        OtherTablesError: The database or its artifacts are not of the kind that was tried.
    """

    def __init__(
        self, path: Path, experiment: str, location: str, tags: Mapping[str, str], by_client: Callable[[], Store]
    ) -> None:
        self.path, self.by_client = path, by_client
        with self._writing() as database:
            version = database.execute("select version_num from alembic_version").fetchone()
            if version is None or version[0] not in TRIED:
                raise OtherTablesError
            found = _find_experiment(database, experiment) or _make_experiment(database, experiment, location, tags)
        self.experiment_id, self.location = found
        self.artifacts = _folder(self.location)

    def search(self, tags: Mapping[str, str]) -> list[FoundRun]:
        """Return the runs that have these tags and are not deleted, the newest first."""
        has = " and run_uuid in (select run_uuid from tags where key = ? and value = ?)" * len(tags)
        where = f"experiment_id = ? and lifecycle_stage = 'active'{has}"
        values = [self.experiment_id, *(text for pair in tags.items() for text in pair)]
        with self._writing() as database:
            runs = database.execute(f"select run_uuid, status from runs where {where} order by start_time desc, run_uuid", values)
            found = {run_id: FoundRun(run_id, status, {}) for run_id, status in runs}
            of_all = f"select run_uuid, key, value from tags where run_uuid in (select run_uuid from runs where {where})"
            all_tags: dict[str, dict[str, str]] = {run_id: {} for run_id in found}
            for run_id, key, value in database.execute(of_all, values):
                all_tags[run_id][key] = value
        return [FoundRun(run_id, run.status, all_tags[run_id]) for run_id, run in found.items()]

    def create(self, name: str, tags: Mapping[str, str]) -> str:
        """Create a run, which is RUNNING; return its identity."""
        run_id = uuid.uuid4().hex
        with self._writing() as database:
            _insert(database, "runs", [self._run(run_id, name, "RUNNING", _now_ms(), None)])
            _insert(database, "tags", _of_run(run_id, {**tags, "mlflow.runName": name}))
        return run_id

    def resume(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run, and make it RUNNING again."""
        with self._writing() as database:
            _replace_tags(database, run_id, tags)
            database.execute("update runs set status = 'RUNNING' where run_uuid = ?", [run_id])

    def end(self, run_id: str, status: str, files: Sequence[Path], tags: Mapping[str, str]) -> None:
        """Attach files to a run, PNG figures as images too, set tags, and end it."""
        _copy(files, self._artifacts_of(run_id))
        if figures := [path for path in files if path.suffix == ".png"]:
            write_images(figures, self._artifacts_of(run_id))
            tags = {**tags, **IMAGES}
        with self._writing() as database:
            _replace_tags(database, run_id, tags)
            database.execute("update runs set status = ?, end_time = ? where run_uuid = ?", [status, _now_ms(), run_id])

    def tag_experiment(self, key: str, value: str) -> None:
        """Set a tag of the experiment that all runs belong to."""
        with self._writing() as database:
            database.execute("delete from experiment_tags where key = ? and experiment_id = ?", [key, self.experiment_id])
            _insert(database, "experiment_tags", [(key, value, self.experiment_id)])

    @property
    def page(self) -> str:
        """The page of the experiment's runs, below the address of MLflow's server."""
        return page_of(self.experiment_id)

    def delete(self, run_id: str) -> None:
        """Mark a run as deleted."""
        with self._writing() as database:
            deleted = "update runs set lifecycle_stage = 'deleted', deleted_time = ? where run_uuid = ?"
            database.execute(deleted, [_now_ms(), run_id])

    def write(self, records: Sequence[RunRecord]) -> None:
        """Write whole runs in one transaction; their files first, so that a run that can be seen is complete."""
        rows: dict[str, list[tuple]] = {}
        for record in records:
            if _has_place(record):
                for table, values in self._rows(record).items():
                    rows.setdefault(table, []).extend(values)
        if rows:
            with self._writing() as database:
                for table, values in rows.items():
                    _insert(database, table, values)
        if others := [record for record in records if not _has_place(record)]:
            self.by_client().write(others)

    def _rows(self, record: RunRecord) -> dict[str, list[tuple]]:
        """Write the files of a run; return its rows by table."""
        run_id, started_ms = uuid.uuid4().hex, _now_ms()
        folder = self._artifacts_of(run_id)
        if record.folder is not None:
            _copy(record.folder.iterdir(), folder)
        for name, text in record.texts.items():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        steps = {**{name: [(0, value)] for name, value in record.metrics.items()}, **record.series}
        values = [(key, value, started_ms, step, False, run_id) for key, pairs in steps.items() for step, value in pairs]
        return {
            "runs": [self._run(run_id, record.name, record.status, started_ms, _now_ms())],
            "tags": _of_run(run_id, {**record.tags, "mlflow.runName": record.name}),
            "params": _of_run(run_id, record.parameters),
            "metrics": values,
            "latest_metrics": list({value[0]: value for value in values}.values()),
        }

    def _run(self, run_id: str, name: str, status: str, started_ms: int, ended_ms: int | None) -> tuple:
        """Return the row of a run; its user and its source are as the client has them."""
        location = f"{self.location}/{run_id}/artifacts"
        who = ("UNKNOWN", "", "", "unknown", "")
        return (run_id, name, *who, status, started_ms, ended_ms, "active", location, self.experiment_id)

    def _artifacts_of(self, run_id: str) -> Path:
        return self.artifacts / run_id / "artifacts"

    @contextmanager
    def _writing(self) -> Generator[sqlite3.Connection, None, None]:
        """Open the file for one transaction."""
        address = f"{self.path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS)) as database, database:
            database.execute(f"pragma cache_size = -{CACHE_KIB}")
            yield database


def _find_experiment(database: sqlite3.Connection, name: str) -> tuple[int, str] | None:
    """Return an experiment's number and the address of its artifacts."""
    query = "select experiment_id, artifact_location from experiments where name = ? and workspace = ?"
    return database.execute(query, [name, WORKSPACE]).fetchone()


def _make_experiment(database: sqlite3.Connection, name: str, location: str, tags: Mapping[str, str]) -> tuple[int, str]:
    """Make an experiment, in an empty database after the one that MLflow has in each; return its number and address."""
    now = _now_ms()
    if database.execute("select count(*) from experiments").fetchone() == (0,):
        _insert(database, "experiments", [(0, "Default", str(Path("mlruns", "0").absolute()), "active", now, now, WORKSPACE)])
    _insert(database, "experiments", [(None, name, location, "active", now, now, WORKSPACE)])
    found = _find_experiment(database, name)
    assert found is not None
    _insert(database, "experiment_tags", [(key, value, found[0]) for key, value in tags.items()])
    return found


def _insert(database: sqlite3.Connection, table: str, rows: Iterable[tuple]) -> None:
    """Insert rows in their order: by key, next to what is in the table.

    A statement takes many: after each statement this thread waits for the interpreter, which others keep busy.
    """
    columns = COLUMNS[table]
    start, marks = f"insert into {table} ({', '.join(columns)}) values ", f"({', '.join('?' * len(columns))})"
    ordered = sorted(rows, key=itemgetter(0))
    at_once = min(MOST_ROWS, database.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // len(columns))
    whole = len(ordered) - len(ordered) % at_once
    for first in range(0, whole, at_once):
        values = list(chain.from_iterable(ordered[first : first + at_once]))
        database.execute(start + ", ".join([marks] * at_once), values)
    database.executemany(start + marks, ordered[whole:])


def _replace_tags(database: sqlite3.Connection, run_id: str, tags: Mapping[str, str]) -> None:
    database.executemany("delete from tags where run_uuid = ? and key = ?", [(run_id, key) for key in tags])
    _insert(database, "tags", _of_run(run_id, tags))


def _has_place(record: RunRecord) -> bool:
    """Return whether tables take all of a run as it is."""
    return (
        all(map(math.isfinite, record.metrics.values())) and max(map(len, record.parameters.values()), default=0) <= LONGEST_VALUE
    )


def _of_run(run_id: str, values: Mapping[str, str]) -> list[tuple]:
    return [(key, value, run_id) for key, value in values.items()]


def _folder(location: str) -> Path:
    """Return the folder of an address of artifacts.

    Raises:
        OtherTablesError: It is no folder of this computer.
    """
    parts = urlsplit(location)
    if parts.scheme not in ("", "file") or parts.netloc or not parts.path.startswith("/") or parts.query or parts.fragment:
        raise OtherTablesError
    return Path(url2pathname(parts.path))


def _copy(paths: Iterable[Path], folder: Path) -> None:
    """Copy files, and folders with all that is in them, with the permissions of new files."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        if path.is_dir():
            _copy(path.iterdir(), folder / path.name)
        else:
            shutil.copyfile(path, folder / path.name)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
