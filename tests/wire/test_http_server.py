"""The HTTP server against the standard library's client, and against bytes that no client sends."""

import http.client
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from netstack.wire.applications import Server
from netstack.wire.http.server import HttpConnection
from tests.helpers.kernel_socket import KernelListener

CONTENT = bytes(range(256)) * 4096  # 1 MiB


class Running:
    """A server that a thread drives."""

    def __init__(self, root: Path, *, read_only: bool = False) -> None:
        self.lines: list[str] = []
        self.listener = KernelListener()
        self.server = Server(
            [self.listener],
            lambda socket, now_us: HttpConnection(socket, now_us, root, read_only=read_only, log=self.lines.append),
        )
        self.skipped_us = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.server.step(time.monotonic_ns() // 1000 + self.skipped_us)
            time.sleep(0.0002)
        self.server.abort(0)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.listener.close()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.listener.port, timeout=10)

    def ask(self, method: str, target: str, body: object = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = self.connect()
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, target, body, fields)  # pyright: ignore[reportArgumentType]
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content

    def raw(self, request: bytes) -> bytes:
        """Send bytes, and return all that comes until the server closes."""
        with socket.create_connection(("127.0.0.1", self.listener.port), timeout=10) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
            return answer


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("outside")
    folder = tmp_path / "root"
    (folder / "sub folder").mkdir(parents=True)
    (folder / "file.bin").write_bytes(CONTENT)
    (folder / "empty.txt").touch()
    (folder / "<b>&.html").write_text("x")
    (folder / "way_out").symlink_to(tmp_path / "secret")
    return folder


@pytest.fixture
def running(root: Path) -> Iterator[Running]:
    opened = Running(root)
    yield opened
    opened.close()


def test_get(running: Running) -> None:
    status, headers, content = running.ask("GET", "/file.bin")
    assert (status, content) == (200, CONTENT)
    assert (headers["content-length"], headers["accept-ranges"]) == (str(len(CONTENT)), "bytes")
    assert running.ask("GET", "/empty.txt")[2] == b""
    assert running.lines[0] == f"GET /file.bin 200 {len(CONTENT)} bytes"


def test_head_has_the_headers_of_get(running: Running) -> None:
    _, expected, _ = running.ask("GET", "/file.bin")
    status, headers, content = running.ask("HEAD", "/file.bin")
    assert (status, content) == (200, b"")
    assert {**headers, "date": ""} == {**expected, "date": ""}


@pytest.mark.parametrize(
    ("asked", "first", "last"), [("0-0", 0, 0), ("100-199", 100, 199), ("1048570-", 1048570, 1048575), ("-6", 1048570, 1048575)]
)
def test_a_range(running: Running, asked: str, first: int, last: int) -> None:
    status, headers, content = running.ask("GET", "/file.bin", Range=f"bytes={asked}")
    assert (status, content) == (206, CONTENT[first : last + 1])
    assert headers["content-range"] == f"bytes {first}-{last}/1048576"


@pytest.mark.parametrize("asked", ["1048576-", "2000000-3000000", "-0"])
def test_a_range_behind_the_end_cannot_be_satisfied(running: Running, asked: str) -> None:
    status, headers, _ = running.ask("GET", "/file.bin", Range=f"bytes={asked}")
    assert (status, headers["content-range"]) == (416, "bytes */1048576")


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=-", "lines=1-2", "bytes=0-1,5-6", "bytes=x-y"])
def test_a_range_that_means_nothing_is_ignored(running: Running, asked: str) -> None:
    assert running.ask("GET", "/file.bin", Range=asked)[0] == 200


def test_a_range_of_another_version_is_ignored(running: Running) -> None:
    etag = running.ask("HEAD", "/file.bin")[1]["etag"]
    assert running.ask("GET", "/file.bin", Range="bytes=0-9", If_Range=etag)[0] == 206
    assert running.ask("GET", "/file.bin", Range="bytes=0-9", If_Range='"other"')[0] == 200


def test_an_unchanged_file_is_not_sent_again(running: Running) -> None:
    headers = running.ask("HEAD", "/file.bin")[1]
    assert running.ask("GET", "/file.bin", If_None_Match=headers["etag"])[::2] == (304, b"")
    assert running.ask("GET", "/file.bin", If_Modified_Since=headers["last-modified"])[::2] == (304, b"")
    assert running.ask("GET", "/file.bin", If_None_Match='"other"')[0] == 200


def test_a_folder_is_listed(running: Running) -> None:
    status, headers, content = running.ask("GET", "/")
    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert re.findall(rb'href="([^"]*)"', content) == [
        b"./sub%20folder/",
        b"./%3Cb%3E%26.html",
        b"./empty.txt",
        b"./file.bin",
        b"./way_out",
    ]
    assert b"&lt;b&gt;&amp;.html" in content
    assert running.ask("GET", "/%3Cb%3E%26.html")[2] == b"x"


def test_a_link_to_itself_does_not_hide_the_folder(running: Running, root: Path) -> None:
    (root / "sub folder" / "self").symlink_to("self")
    (root / "sub folder" / "file").write_text("x")
    status, _, content = running.ask("GET", "/sub%20folder/")
    assert (status, re.findall(rb'href="([^"]*)"', content)) == (200, [b"../", b"./file"])
    assert running.ask("GET", "/sub%20folder/self")[0] == 404


def test_a_folder_without_its_slash_is_redirected(running: Running) -> None:
    status, headers, _ = running.ask("GET", "/sub%20folder")
    assert (status, headers["location"]) == (301, "./sub%20folder/")
    assert running.ask("GET", "/sub%20folder/")[0] == 200


@pytest.mark.parametrize(
    "target",
    ["/no", "/no/", "/file.bin/", "/../secret", "/%2e%2e/secret", "/sub%20folder/../../secret", "//secret", "/way_out", "/%00"],
)
def test_what_is_not_below_the_root_is_not_found(running: Running, target: str) -> None:
    for method in ("GET", "HEAD"):
        status, _, content = running.ask(method, target)
        assert (status, b"outside" in content) == (404, False)


def test_nothing_is_put_outside_of_the_root(running: Running, root: Path) -> None:
    for target in ("/../stolen", "/%2e%2e/stolen", "/way_out"):
        assert running.ask("PUT", target, b"new")[0] == 404
    assert sorted(path.name for path in root.parent.iterdir()) == ["root", "secret"]
    assert (root.parent / "secret").read_text() == "outside"


def test_a_fifo_is_not_opened(running: Running, root: Path) -> None:
    os.mkfifo(root / "fifo")
    assert running.ask("GET", "/fifo")[0] == 403


@pytest.mark.parametrize("kind", ["fifo", "socket"])
def test_nothing_is_put_in_the_place_of_what_is_no_file(running: Running, root: Path, kind: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        if kind == "fifo":
            os.mkfifo(root / "odd")
        else:
            listener.bind(str(root / "odd"))
        mode = (root / "odd").stat().st_mode
        assert running.ask("PUT", "/odd", b"abc")[0] == 403
    assert (root / "odd").stat().st_mode == mode
    assert not list(root.glob(".netstack*"))


@pytest.mark.parametrize("chunked", [False, True])
def test_put(running: Running, root: Path, chunked: bool) -> None:
    body = iter([CONTENT[:1000], CONTENT[1000:]]) if chunked else CONTENT
    status, headers, _ = running.ask("PUT", "/sub%20folder/new.bin", body)
    assert (status, headers["location"]) == (201, "/sub%20folder/new.bin")
    assert (root / "sub folder" / "new.bin").read_bytes() == CONTENT
    assert running.ask("PUT", "/sub%20folder/new.bin", b"other")[0] == 204
    assert running.lines == [
        f"PUT /sub%20folder/new.bin 201 {len(CONTENT)} bytes",
        "PUT /sub%20folder/new.bin 204 5 bytes",
    ]
    assert (root / "sub folder" / "new.bin").read_bytes() == b"other"
    assert [path.name for path in (root / "sub folder").iterdir()] == ["new.bin"]


def test_post_to_a_folder_makes_a_file(running: Running, root: Path) -> None:
    status, headers, _ = running.ask("POST", "/sub%20folder/", b"posted")
    assert status == 201
    assert running.ask("GET", headers["location"])[2] == b"posted"


def test_a_client_that_waits_for_continue_gets_it(running: Running) -> None:
    head = b"PUT /new HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", running.listener.port), timeout=10) as connection:
        connection.sendall(head)
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"abc")
        assert connection.recv(1000).startswith(b"HTTP/1.1 201 ")


def test_a_refused_upload_gets_its_answer_before_it_is_sent(running: Running) -> None:
    head = b"PUT /no/new HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    assert running.raw(head).startswith(b"HTTP/1.1 409 ")


@pytest.mark.parametrize(("target", "status"), [("/no/new", 409), ("/sub%20folder", 409), ("/new/", 409), ("/file.bin/x", 409)])
def test_where_nothing_can_be_put(running: Running, root: Path, target: str, status: int) -> None:
    before = sorted(path.name for path in root.iterdir())
    assert running.ask("PUT", target, CONTENT)[0] == status
    assert sorted(path.name for path in root.iterdir()) == before


def test_an_upload_that_breaks_off_leaves_nothing(running: Running, root: Path) -> None:
    before = sorted(path.name for path in root.iterdir())
    answer = running.raw(b"PUT /new HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert sorted(path.name for path in root.iterdir()) == before


def test_a_part_of_a_file_cannot_be_put(running: Running) -> None:
    assert running.ask("PUT", "/file.bin", b"abc", Content_Range="bytes 0-2/3")[0] == 400


def test_other_methods_are_not_allowed(running: Running, root: Path) -> None:
    status, headers, _ = running.ask("DELETE", "/file.bin")
    assert (status, headers["allow"]) == (405, "GET, HEAD, OPTIONS, PUT, POST")
    assert running.ask("OPTIONS", "*")[1]["allow"] == "GET, HEAD, OPTIONS, PUT, POST"
    assert (root / "file.bin").exists()


def test_a_read_only_server_takes_no_uploads(root: Path) -> None:
    running = Running(root, read_only=True)
    status, headers, _ = running.ask("PUT", "/new", CONTENT)
    running.close()
    assert (status, headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert not (root / "new").exists()


def test_a_connection_is_kept_for_further_requests(running: Running) -> None:
    connection = running.connect()
    for method, target, body, status in (
        ("GET", "/file.bin", None, 200),
        ("GET", "/no", None, 404),
        ("PUT", "/new", b"abc", 201),
        ("GET", "/new", b"a body that nobody reads", 200),
        ("HEAD", "/new", None, 200),
        ("GET", "/new", None, 200),
    ):
        connection.request(method, target, body)
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == status
    assert content == b"abc"
    assert running.server.accepted == 1
    connection.close()


def test_pipelined_requests_are_answered_in_order(running: Running) -> None:
    answer = running.raw(b"".join(b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n" % name for name in (b"no", b"empty.txt", b"no")))
    assert re.findall(rb"HTTP/1\.1 (\d+)", answer) == [b"404", b"200", b"404"]


def test_http_1_0_closes(running: Running) -> None:
    answer = running.raw(b"GET /file.bin HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(CONTENT)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"GET empty.txt HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET x:empty.txt HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused(running: Running, request_bytes: bytes) -> None:
    assert running.raw(request_bytes).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("version", "status"), [("0.9", 505), ("1.0", 200), ("1.1", 200), ("1.9", 200), ("2.0", 505), ("3.0", 505)]
)
def test_another_major_version_is_refused(running: Running, version: str, status: int) -> None:
    """RFC 9110, section 15.6.6; a later minor version is read as the latest that is known (section 2.5)."""
    request = f"GET /empty.txt HTTP/{version}\r\nHost: x\r\n\r\n".encode()
    answer = running.raw(request * 2)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert answer.count(b"HTTP/1.1 ") == (2 if status == 200 and version != "1.0" else 1)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /empty.txt HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n", 431),
        (b"GET /empty.txt HTTP/1.1\r\nHost: x\r\n\r\n" * 2 + b"GET / HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n", 431),
        (b"PUT /new HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;%s\r\na\r\n0\r\n\r\n", 431),
        (b"PUT /new HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: %s\r\n\r\n", 431),
    ],
    ids=["request", "pipelined", "chunk", "trailer"],
)
@pytest.mark.parametrize("size", [16_000, 17_000])
def test_a_head_has_a_limit_however_it_is_cut(running: Running, root: Path, head: bytes, status: int, size: int) -> None:
    answer = running.raw(head % (b"x" * size))
    last = answer.rpartition(b"HTTP/1.1 ")[2][:3]
    assert (last == b"%d" % status) == (size == 17_000)
    assert (root / "new").exists() == (size == 16_000 and head.startswith(b"PUT"))


def test_a_header_without_end_is_refused(running: Running) -> None:
    assert running.raw(b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000).startswith(b"HTTP/1.1 431 ")


def test_a_file_that_becomes_shorter_ends_the_connection(running: Running, root: Path) -> None:
    connection = running.connect()
    (root / "big").write_bytes(bytes(32 * 2**20))
    connection.request("GET", "/big")
    answer = connection.getresponse()
    os.truncate(root / "big", 100)
    with pytest.raises(http.client.IncompleteRead):
        answer.read()
    connection.close()


def test_an_idle_connection_is_closed(running: Running) -> None:
    with socket.create_connection(("127.0.0.1", running.listener.port), timeout=10) as connection:
        connection.sendall(b"GET /")
        time.sleep(0.05)
        running.skipped_us = 61_000_000
        assert connection.recv(100) == b""


def test_files_are_closed_when_the_client_goes(running: Running, root: Path) -> None:
    (root / "big").write_bytes(bytes(32 * 2**20))
    connection = socket.create_connection(("127.0.0.1", running.listener.port))
    connection.sendall(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
    connection.recv(100)
    connection.close()
    deadline_s = time.monotonic() + 10
    while running.server.connections and time.monotonic() < deadline_s:
        time.sleep(0.001)
    opened = [entry.resolve() for entry in Path("/proc/self/fd").iterdir()]
    assert root / "big" not in opened
    assert running.server.failed == 1


DIGITS = "9" * 5000


@pytest.mark.parametrize(
    ("asked", "status", "length"),
    [
        (f"{DIGITS}-", 416, None),
        (f"5-{DIGITS}", 206, len(CONTENT) - 5),
        (f"-{DIGITS}", 206, len(CONTENT)),
        ("0" * 5000 + "7-" + "0" * 5000 + "9", 206, 3),
    ],
)
def test_numbers_of_thousands_of_digits_are_numbers(running: Running, asked: str, status: int, length: int | None) -> None:
    found, _, content = running.ask("GET", "/file.bin", Range=f"bytes={asked}")
    assert found == status
    assert length is None or len(content) == length


@pytest.mark.parametrize("name", [b"\xff", b"\xed\xa0\x80", b"a\xfe.txt"])
def test_a_name_need_not_be_utf_8(running: Running, root: Path, name: bytes) -> None:
    target = "/" + quote(name)
    status, headers, _ = running.ask("PUT", target, b"content")
    assert (status, headers["location"]) == (201, target)
    assert (root / os.fsdecode(name)).read_bytes() == b"content"
    assert running.ask("GET", target)[2] == b"content"
    assert target[1:].encode() in running.ask("GET", "/")[2]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
@pytest.mark.parametrize("target", ["/" + "a" * 300, "/" + "a/" * 4000 + "x"])
def test_a_name_that_no_file_can_have_is_answered(running: Running, method: str, target: str) -> None:
    assert running.ask(method, target, b"x" if method == "PUT" else None)[0] == 414


@pytest.mark.parametrize(
    ("version", "lengths"),
    [("1.1", "Content-Length: 6\r\nTransfer-Encoding: chunked"), ("1.0", "Transfer-Encoding: chunked\r\nConnection: keep-alive")],
)
def test_a_request_with_two_lengths_is_the_last_of_its_connection(
    running: Running, root: Path, version: str, lengths: str
) -> None:
    """RFC 9112, section 6.1: somebody on the way may think that the second request is a part of the first."""
    head = f"PUT /new HTTP/{version}\r\nHost: x\r\n{lengths}\r\n\r\n0\r\n\r\n"
    answer = running.raw(head.encode() + b"GET /file.bin HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert not (root / "new").exists()


def test_an_upload_in_progress_is_seen_by_nobody(running: Running, root: Path) -> None:
    before = {path.name for path in root.iterdir()}
    head = b"PUT /new HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345"
    with socket.create_connection(("127.0.0.1", running.listener.port), timeout=10) as connection:
        connection.sendall(head)
        while not (partial := {path.name for path in root.iterdir()} - before):
            time.sleep(0.001)
        name = partial.pop()
        assert name.encode() not in running.ask("GET", "/")[2]
        for method in ("GET", "PUT"):
            assert running.ask(method, f"/{name}", b"" if method == "PUT" else None)[0] == 404
        connection.sendall(b"67890")
        assert connection.recv(1000).startswith(b"HTTP/1.1 201 ")
    assert {path.name for path in root.iterdir()} - before == {"new"}
