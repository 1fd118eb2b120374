"""Echo, sink and source, and the HTTP client, against the kernel's sockets and the standard library's server."""

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netstack.wire.applications import Connection, Echo, Server, Sink, Source
from netstack.wire.errors import WireError
from netstack.wire.http.client import HttpExchange, Url
from netstack.wire.interface import SocketLike
from tests.helpers.kernel_socket import KernelListener, KernelSocket
from tests.helpers.upload_server import UploadServer

CONTENT = bytes(range(256)) * 1024


@pytest.fixture
def listener() -> Iterator[KernelListener]:
    opened = KernelListener()
    yield opened
    opened.close()


def exchange(listener: KernelListener, serve: Callable[[SocketLike], Connection], sent: bytes) -> bytes:
    """Send bytes and the end to a server; return what comes back until its end."""
    server = Server([listener], lambda socket, now_us: serve(socket))
    answer = bytearray()

    def client() -> None:
        with socket.create_connection(("127.0.0.1", listener.port), timeout=10) as connection:
            sender = threading.Thread(target=lambda: (connection.sendall(sent), connection.shutdown(socket.SHUT_WR)))
            sender.start()
            while piece := connection.recv(65536):
                answer.extend(piece)
            sender.join()

    thread = threading.Thread(target=client)
    thread.start()
    while thread.is_alive():
        server.step(0)
        time.sleep(0.0001)
    assert (server.accepted, server.failed, server.connections) == (1, 0, [])
    return bytes(answer)


def test_echo_returns_everything_in_order(listener: KernelListener) -> None:
    assert exchange(listener, Echo, CONTENT) == CONTENT


def test_sink_counts_and_answers_nothing(listener: KernelListener) -> None:
    counts: list[int] = []
    assert exchange(listener, lambda socket: Sink(socket, counts.append), CONTENT) == b""
    assert sum(counts) == len(CONTENT)


def test_source_sends_what_was_asked_for(listener: KernelListener) -> None:
    assert exchange(listener, lambda socket: Source(socket, 100_001), b"") == (bytes(range(256)) * 400)[:100_001]


def test_a_connection_that_is_reset_is_counted_and_forgotten(listener: KernelListener) -> None:
    server = Server([listener], lambda socket, now_us: Echo(socket))
    connection = socket.create_connection(("127.0.0.1", listener.port))
    server.step(0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    connection.close()
    server.step(0)
    assert (server.failed, server.connections) == (1, [])


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[str]:
    """The address of the standard library's server, which serves `tmp_path`."""
    server = UploadServer("127.0.0.1", 0, str(tmp_path))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def finish(client: HttpExchange) -> HttpExchange:
    end_s = time.monotonic() + 10
    while not client.done and time.monotonic() < end_s:
        client.step(0)
        time.sleep(0.0001)
    assert client.done
    return client


def connect(url: Url) -> KernelSocket:
    return KernelSocket(socket.create_connection((url.host, url.port)))


def test_a_download(peer: str, tmp_path: Path) -> None:
    (tmp_path / "a b.bin").write_bytes(CONTENT)
    url, output = Url(f"http://{peer}/a b.bin"), io.BytesIO()
    client = finish(HttpExchange(connect(url), url, output=output))
    assert (client.failure, client.status) == (None, 200)
    assert output.getvalue() == CONTENT
    assert client.transferred_bytes == client.expected_bytes == len(CONTENT)


def test_an_upload(peer: str, tmp_path: Path) -> None:
    url = Url(f"http://{peer}/new")
    client = finish(HttpExchange(connect(url), url, upload=io.BytesIO(CONTENT), upload_bytes=len(CONTENT)))
    assert (client.failure, client.status) == (None, 201)
    assert (tmp_path / "new").read_bytes() == CONTENT


def test_an_error_of_the_server_is_said_and_not_written(peer: str) -> None:
    url, output = Url(f"http://{peer}/missing"), io.BytesIO()
    client = finish(HttpExchange(connect(url), url, output=output))
    assert client.failure == "the server answers 404 File not found"
    assert output.getvalue() == b""


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", b"220 mail.example.org ESMTP\r\n"])
def test_an_answer_that_is_cut_off_or_is_not_http_is_an_error(answer: bytes) -> None:
    near, far = socket.socketpair()
    client = HttpExchange(KernelSocket(near), Url("http://10.0.0.1/"), output=io.BytesIO())
    far.sendall(answer)
    far.shutdown(socket.SHUT_WR)
    failure = finish(client).failure
    far.close()
    assert failure is not None
    assert failure.startswith("the answer ended early or is not HTTP")


def test_a_file_that_becomes_shorter_while_it_is_sent_is_an_error(peer: str) -> None:
    url = Url(f"http://{peer}/new")
    client = finish(HttpExchange(connect(url), url, upload=io.BytesIO(b"abc"), upload_bytes=10))
    assert client.failure == "the file became shorter while it was sent"


@pytest.mark.parametrize(
    ("text", "host", "port", "target", "name"),
    [
        ("http://10.0.0.1", "10.0.0.1", 80, "/", ""),
        ("http://10.0.0.1:8000/a/b c?x=1", "10.0.0.1", 8000, "/a/b%20c?x=1", "b c"),
        ("http://[fd00::1]:81/%41", "fd00::1", 81, "/%41", "%41"),
        ("http://10.0.0.1/f?q=a b", "10.0.0.1", 80, "/f?q=a%20b", "f"),
        ("http://10.0.0.1/\u00e4?q=\u00e4", "10.0.0.1", 80, "/%C3%A4?q=%C3%A4", "\u00e4"),
        ("http://10.0.0.1/\udcff?\udcff", "10.0.0.1", 80, "/%FF?%FF", "\udcff"),
    ],
)
def test_urls(text: str, host: str, port: int, target: str, name: str) -> None:
    url = Url(text)
    assert (url.host, url.port, url.target, url.file_name) == (host, port, target, name)
    HttpExchange(KernelSocket(socket.socketpair()[0]), url)  # builds the request


@pytest.mark.parametrize("text", ["10.0.0.1/file", "https://10.0.0.1/", "http://", "http://10.0.0.1:x/", "http://[fd00::1/"])
def test_what_is_no_url_is_refused(text: str) -> None:
    with pytest.raises(WireError):
        Url(text)
