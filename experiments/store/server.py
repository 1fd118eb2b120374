"""Whether a tracking server will take runs: what it refuses for good is found before anything starts.

Asks it as MLflow would, by HTTP, since MLflow takes seconds to import. Knows no runs.
"""

import json
import socket
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import quote, urlsplit

from netstack.errors import ConfigError

CONNECT_SECONDS = 3
ASK = "/api/2.0/mlflow/experiments/get-by-name?experiment_name="
REFUSED = (401, 403)
"""Answers to who has no right."""


def check_server(uri: str, experiment: str) -> None:
    """Raise ConfigError when nobody answers at an address, or somebody else, or a server that refuses this user.

    What may pass, such as a server that is busy or starting, is not judged; nor are certificates, which MLflow has settings for.
    """
    try:
        parts = urlsplit(uri)
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        socket.create_connection((parts.hostname or "", port), CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise ConfigError("tracking.uri", uri, f"must be a tracking server that answers ({error})") from error
    kind = HTTPSConnection if secure else HTTPConnection
    try:
        with closing(kind(parts.hostname or "", port, timeout=CONNECT_SECONDS)) as connection:
            connection.request("GET", f"{parts.path.rstrip('/')}{ASK}{quote(experiment, safe='')}")
            answer = connection.getresponse()
            status, reason, body = answer.status, answer.reason, answer.read()
    except HTTPException as error:
        raise ConfigError(
            "tracking.uri", uri, f"must be a tracking server, and what answers is none ({type(error).__name__})"
        ) from error
    except OSError:
        return
    if status in REFUSED:
        _check_rights(uri, experiment)
    elif status == 404 and "error_code" not in _read(body):
        raise ConfigError("tracking.uri", uri, f"must be a tracking server, and what answers is none ({status} {reason})")


def _check_rights(uri: str, experiment: str) -> None:
    """Ask again by MLflow, which knows names and passwords. Raise ConfigError when it is refused too."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        MlflowClient(uri).get_experiment_by_name(experiment)
    except MlflowException as error:
        status = error.get_http_status_code()
        if status in REFUSED:
            allowed = (
                f"must be a tracking server that lets you in, and it answers {status}: "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, say who you are"
            )
            raise ConfigError("tracking.uri", uri, allowed) from error


def _read(body: bytes) -> dict:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
