"""An empty MLflow database that is made once per version of MLflow and user, and copied: MLflow takes seconds to make one.

Knows the tables of experiments only, not what runs are.
"""

import os
import sqlite3
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path

from experiments.store.database import latest_migration
from netstack.sim import cache_folder


def fill_from_template(path: Path) -> bool:
    """Make an empty database file one of MLflow if there is a template: whole or not at all.

    Return whether it is one that MLflow has to make by itself.
    """
    if path.exists() and path.stat().st_size > 0:
        return False
    template = _template()
    with suppress(sqlite3.Error), closing(_open(template, "ro")) as source:
        versions = source.execute("select version_num from alembic_version").fetchall()
        if versions == [(latest_migration(),)] and source.execute("pragma quick_check").fetchone() == ("ok",):
            with closing(sqlite3.connect(path)) as target:
                source.backup(target)
            return False
    return True


def keep_template(path: Path) -> None:
    """Keep the tables of a database that MLflow has just made as the template."""
    template = _template()
    new = template.with_name(f".{template.name}-{os.getpid()}")
    with suppress(sqlite3.Error, OSError):
        with closing(_open(path, "ro")) as source, closing(sqlite3.connect(new)) as target:
            source.backup(target)
            for (table,) in target.execute(
                "select name from sqlite_master where name like 'experiment%' and type = 'table'"
            ).fetchall():
                target.execute(f"delete from {table}")  # they have folders of artifacts, which are not those of other databases
            target.commit()
        new.replace(template)
    with suppress(OSError):
        new.unlink(missing_ok=True)


def _template() -> Path:
    return cache_folder("sim").parent / f"mlflow-{version('mlflow')}-{latest_migration()}.db"


def _open(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True)
