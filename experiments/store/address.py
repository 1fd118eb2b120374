"""Addresses of MLflow stores, and the files of those that are databases on the disk.

In an address, characters of a path that mean something there are escaped (RFC 3986). Knows no MLflow.
"""

from pathlib import Path
from urllib.parse import unquote

from experiments.config.schema import TrackingConfig
from netstack.errors import ConfigError

DATABASE = "sqlite:///"


def tracking_uri(tracking: TrackingConfig, output_dir: Path) -> str:
    """Return the configured store, or that of a database file below `output_dir`; a file by its absolute path.

    Raises:
        ConfigError: A database has no file, or is in the home of nobody.
    """
    given = tracking.uri
    if given is None:
        return database_uri((output_dir / "mlflow.db").resolve())
    if not given.startswith(DATABASE):
        return given
    name, mark, options = given.removeprefix(DATABASE).partition("?")
    if name in ("", ":memory:"):
        raise ConfigError("tracking.uri", given, "must name a database file, for example sqlite:///outputs/mlflow.db")
    try:
        return database_uri(Path(unquote(name)).expanduser().resolve()) + mark + options
    except RuntimeError as error:
        raise ConfigError("tracking.uri", given, "must be in a home that exists") from error


def database_uri(path: Path) -> str:
    """Return the address of a database file. Nothing else means something there: MLflow makes folders for what is escaped."""
    return DATABASE + str(path).replace("%", "%25").replace("?", "%3F")


def database_file(uri: str) -> Path | None:
    """Return the file of a store that `tracking_uri` returned; None of a server."""
    return Path(unquote(uri.removeprefix(DATABASE).partition("?")[0])) if uri.startswith(DATABASE) else None


def database_options(uri: str) -> str:
    """Return the options at the end of a store's address, nothing if there are none."""
    return uri.partition("?")[2]
