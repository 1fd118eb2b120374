"""What is no tracking server, or one that lets nobody in, is one line before anything starts."""

import base64
import json
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

import run
from experiments.config.command_line import BAD_INPUT
from experiments.store.logbook import TrackingConfig, check_reachable
from netstack.errors import ConfigError


@contextmanager
def answering(status: int, body: bytes = b"", password: str | None = None) -> Generator[str, None, None]:
    """Run a server on a port of its own that gives one answer to all, or to those without the password; yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            let_in = password is not None and self.headers.get("Authorization") == f"Basic {password}"
            known = json.dumps({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"}).encode()
            code, text = (404, known) if let_in else (status, body)
            self.send_response(code)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_lets_nobody_in(status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    output_dir = tmp_path / "outputs"
    with answering(status) as uri:
        monkeypatch.setattr(sys, "argv", ["run.py", "-m", f"output_dir={output_dir}", "tracking=server", f"tracking.uri={uri}"])
        assert run.main() == BAD_INPUT
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: tracking.uri={uri}: must be a tracking server that lets you in, and it answers {status}: ")
    assert list(output_dir.iterdir()) == []


def test_a_server_that_knows_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "one")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    with answering(401, password=base64.b64encode(b"one:secret").decode()) as uri:
        check_reachable(TrackingConfig(uri=uri), tmp_path)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "other")
        with pytest.raises(ConfigError, match="lets you in, and it answers 401"):
            check_reachable(TrackingConfig(uri=uri), tmp_path)


def test_a_port_that_something_else_has(tmp_path: Path) -> None:
    with (
        answering(404, b"<html>not here</html>") as uri,
        pytest.raises(ConfigError, match=r"what answers is none \(404 Not Found\)"),
    ):
        check_reachable(TrackingConfig(uri=uri), tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            for _ in range(2):  # the first one only looks whether somebody listens
                connection, _ = listener.accept()
                with connection, suppress(OSError):  # it may be gone before it is greeted
                    connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
                    connection.recv(4096)

        thread = Thread(target=greet)
        thread.start()
        with pytest.raises(ConfigError, match=r"what answers is none \(BadStatusLine\)"):
            check_reachable(TrackingConfig(uri=f"http://127.0.0.1:{listener.getsockname()[1]}"), tmp_path)
        thread.join()


@pytest.mark.parametrize(
    "answer", [(200, b"{}"), (500, b""), (503, b"later"), (404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}')]
)
def test_what_may_pass_is_not_judged(answer: tuple[int, bytes], tmp_path: Path) -> None:
    with answering(*answer) as uri:
        check_reachable(TrackingConfig(uri=uri), tmp_path)
    assert list(tmp_path.iterdir()) == []
