"""Which errors of a store may pass by themselves. Knows what MLflow and databases say, not what is written to them."""

import errno
import sqlite3
import sys
from typing import Any

TRY_AGAIN = (408, 429)  # answers of a server that are no refusals
LASTING = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
)
"""Errors of files that stay until somebody changes a name or a permission, or makes room."""
REFUSALS = (
    "out-of-date database schema",
    "readonly database",
    "disk is full",
    "no such table",
    "no such column",
    "Can't locate revision",
)
"""What MLflow calls an internal error, and stays."""
PASSING = ("database is locked", "database table is locked")
"""What a database says while others use it. MLflow wraps what it meets in its own code only."""


def may_pass(error: BaseException) -> bool:
    """Return whether it can help to wait: the store is away or busy, but neither full nor refused anything."""
    exceptions: Any = sys.modules.get("mlflow.exceptions")  # without it there is no such error
    if exceptions is not None and isinstance(error, exceptions.MlflowException):
        if any(sign in str(error) for sign in REFUSALS):
            return False
        status = error.get_http_status_code()  # pyright: ignore[reportAttributeAccessIssue]
        return status >= 500 or status in TRY_AGAIN
    if isinstance(error, OSError):
        return error.errno not in LASTING
    of_database = isinstance(error, sqlite3.Error) or type(error).__module__.startswith("sqlalchemy")
    return of_database and any(sign in str(error) for sign in PASSING)
