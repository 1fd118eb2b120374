"""Whether a database file will take runs: what it refuses for good is found before anything starts.

Reads the file itself and the names of MLflow's migrations, since MLflow takes seconds to import. Knows no runs.
"""

import os
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from netstack.errors import ConfigError

MIGRATIONS = "store/db_migrations/versions"
TABLES = ("alembic_version", "experiments")
BUSY_SECONDS = 5.0  # that another process is waited for, which writes to the file


def check_database(uri: str, path: Path, experiment: str) -> None:
    """Raise ConfigError when runs of an MLflow experiment cannot be written to a database file, which need not exist.

    A file that another process has locked for longer is not judged: that may pass.
    """
    if not path.parent.is_dir():
        raise ConfigError("tracking.uri", uri, f"must be in a folder that exists, and {path.parent} does not")
    for each in (path.parent, path, path.with_name(f"{path.name}.lock")):
        if each.exists() and not os.access(each, os.W_OK):
            raise ConfigError(
                "tracking.uri", uri, f"must be a database that can be written, and {each} cannot: {_permission(each)}"
            )
    for each in (path, path.with_name(f"{path.name}.lock")):
        if each.exists() and not each.is_file():
            raise ConfigError(
                "tracking.uri", uri, f"must be a database file, and {each} is no file: move it, or name another one"
            )
    if not path.exists() or path.stat().st_size == 0:
        return
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS)) as database:
            tables = {name for (name,) in database.execute("select name from sqlite_master where type = 'table'")}
            if not tables:
                return
            if not tables.issuperset(TABLES):
                raise ConfigError("tracking.uri", uri, "must be a database of MLflow, and this is another one: name a new file")
            versions = [version for (version,) in database.execute("select version_num from alembic_version")]
            stages = database.execute("select lifecycle_stage from experiments where name = ?", (experiment,)).fetchall()
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return
        raise ConfigError("tracking.uri", uri, f"must be a database file that can be opened ({error})") from error
    _check_version(uri, versions)
    if stages == [("deleted",)]:
        allowed = "must be an experiment that is not deleted: `mlflow experiments restore` brings it back, or give another name"
        raise ConfigError("tracking.experiment", experiment, allowed)


def _check_version(uri: str, versions: Sequence[str]) -> None:
    known = _migrations()
    if not known or not versions or versions[0] == known[-1]:
        return
    if versions[0] in known:
        allowed = f"is of an older MLflow: keep a copy of it, then `mlflow db upgrade {uri}`, or name another file"
    else:
        allowed = "is of a newer MLflow than the installed one: install that version, or name another file"
    raise ConfigError("tracking.uri", uri, allowed)


def latest_migration() -> str:
    """Return the version of the tables of the installed MLflow, nothing if it is not known."""
    known = _migrations()
    return known[-1] if known else ""


@cache
def _migrations() -> tuple[str, ...]:
    """Return the versions of the tables that the installed MLflow knows, its own last; none if it keeps them elsewhere."""
    package = find_spec("mlflow")
    places = package.submodule_search_locations if package is not None else None
    before: dict[str, str | None] = {}
    for path in (Path(place) for place in places or ()):
        for file in (path / MIGRATIONS).glob("*.py"):
            found = dict(
                re.findall(r"^(revision|down_revision) *= *[\"'](\w+)[\"']", file.read_text(encoding="utf-8"), re.MULTILINE)
            )
            if "revision" in found:
                before[found["revision"]] = found.get("down_revision")
    heads = sorted(set(before) - set(before.values()))
    return (*sorted(set(before) - set(heads)), *heads) if len(heads) == 1 else ()


def _permission(path: Path) -> str:
    """Return what gives this user the right to write."""
    option = "g+rwx" if path.is_dir() else "g+rw"
    return f"its owner can `chmod {option} {path}`, or choose another by output_dir or tracking.uri"
