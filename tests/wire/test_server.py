"""The server survives its connections, looks only at those that something happened to, and gives slow clients an end."""

from collections.abc import Callable
from errno import ENAMETOOLONG
from pathlib import Path

import pytest

from netstack.wire.applications import Server
from netstack.wire.http.server import IDLE_US, MOST_ACTIONS, MOST_HEAD_BYTES, STEP_BYTES, HttpConnection

SECOND_US = 1_000_000
HEAD = b"Host: x\r\n"


class ScriptedSocket:
    """What a test puts in comes out, and what is sent is kept. It takes `room` bytes, and tells who watches of both."""

    def __init__(self, data: bytes = b"", room: int = 1 << 30) -> None:
        self.data = data
        self.sent: list[bytes] = []
        self.room = room
        self.error: OSError | None = None
        self.at_eof = False
        self.ended = ""
        self._changed: Callable[[], None] | None = None

    readable = writable = True

    def watch(self, changed: Callable[[], None] | None) -> None:
        self._changed = changed

    def put(self, data: bytes = b"", room: int = 0) -> None:
        self.data += data
        self.room += room
        if self._changed is not None:
            self._changed()

    def send(self, data: bytes, now_us: int) -> int:
        taken = data[: self.room]
        self.room -= len(taken)
        if taken:
            self.sent.append(taken)
        return len(taken)

    def receive(self, limit: int, now_us: int) -> bytes:
        data, self.data = self.data[:limit], self.data[limit:]
        return data

    def shutdown(self, now_us: int) -> None:
        self.ended = "shutdown"

    def close(self, now_us: int) -> None:
        self.ended = "close"

    def abort(self, now_us: int) -> None:
        self.ended = "abort"


class Arrivals:
    """A listener at which given sockets arrive."""

    def __init__(self, *sockets: ScriptedSocket) -> None:
        self.sockets = list(sockets)

    def accept(self) -> ScriptedSocket | None:
        return self.sockets.pop(0) if self.sockets else None


class Broken:
    """A connection that fails where it is told to."""

    def __init__(self, socket: ScriptedSocket, error: Exception | None, where: str) -> None:
        if where == "begin" and error is not None:
            raise error
        self.socket = socket
        self.steps = 0
        self._error = error
        self._where = where

    def step(self, now_us: int) -> bool:
        self.steps += 1
        if self._where == "step" and self._error is not None:
            raise self._error
        return self._where != "release"

    def next_deadline_us(self) -> int | None:
        return None

    def release(self) -> None:
        if self._where == "release" and self._error is not None:
            raise self._error


@pytest.mark.parametrize("where", ["begin", "step", "release"])
@pytest.mark.parametrize(
    "error", [ValueError("two\nlines"), UnicodeEncodeError("utf-8", "\udcff", 0, 1, "no"), MemoryError(), RecursionError("deep")]
)
def test_an_error_of_any_kind_ends_its_connection_only_and_is_one_line(where: str, error: Exception) -> None:
    lines: list[str] = []
    bad, good = ScriptedSocket(), ScriptedSocket()
    arrivals = Arrivals(good, bad)
    server = Server([arrivals], lambda socket, now: Broken(socket, error if socket is bad else None, where), lines.append)  # pyright: ignore
    server.step(0)
    assert [connection.socket for connection in server.connections] == ([good] if where != "release" else [])
    assert server.faults == len(lines) == 1
    assert type(error).__name__ in lines[0]
    assert "\n" not in lines[0]
    arrivals.sockets.append(ScriptedSocket())
    server.step(1)
    assert server.accepted == 3


def test_an_error_of_the_socket_is_no_fault_of_ours() -> None:
    lines: list[str] = []
    socket = ScriptedSocket()
    server = Server([Arrivals(socket)], lambda socket, now: Broken(socket, OSError(ENAMETOOLONG, "x"), "step"), lines.append)  # pyright: ignore
    server.step(0)
    assert (server.failed, server.faults, lines, socket.ended) == (1, 0, [], "abort")


def test_a_turn_looks_at_what_something_happened_to() -> None:
    sockets = [ScriptedSocket() for _ in range(1000)]
    made: dict[ScriptedSocket, Broken] = {}

    def serve(socket: ScriptedSocket, now_us: int) -> Broken:
        made[socket] = Broken(socket, None, "")
        return made[socket]

    server = Server([Arrivals(*sockets)], serve)  # pyright: ignore[reportArgumentType]
    server.step(0)
    for now_us in range(10):
        sockets[7].put(b"x")
        server.step(now_us)
    assert [connection.steps for connection in made.values()] == [11 if index == 7 else 1 for index in range(1000)]


def test_a_deadline_comes_though_nothing_happens(tmp_path: Path) -> None:
    sockets = [ScriptedSocket(), ScriptedSocket()]
    server = Server([Arrivals(*sockets)], lambda socket, now_us: HttpConnection(socket, now_us, tmp_path))
    server.step(0)
    server.step(IDLE_US - 1)
    assert server.next_deadline_us() == IDLE_US
    assert len(server.connections) == 2
    server.step(IDLE_US)
    assert (server.connections, server.next_deadline_us()) == ([], None)


def test_a_connection_with_much_to_do_leaves_turns_to_others(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"content")
    request = b"GET /f HTTP/1.1\r\n" + HEAD + b"\r\n"
    greedy, other = ScriptedSocket(request * 1000), ScriptedSocket(request)
    server = Server([Arrivals(greedy, other)], lambda socket, now_us: HttpConnection(socket, now_us, tmp_path))
    server.step(5)
    assert len(other.sent) == 1
    assert 0 < b"".join(greedy.sent).count(b"HTTP/1.1 200 ") <= MOST_ACTIONS
    turns = 1
    while (deadline_us := server.next_deadline_us()) is not None and deadline_us <= 5:
        server.step(5)
        turns += 1
    assert b"".join(greedy.sent).count(b"HTTP/1.1 200 ") == 1000
    assert turns >= 1000 / MOST_ACTIONS


def test_an_upload_in_tiny_chunks_leaves_turns_to_others(tmp_path: Path) -> None:
    chunks = b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n"
    greedy = ScriptedSocket(b"PUT /f HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HEAD + b"\r\n" + chunks)
    server = Server([Arrivals(greedy)], lambda socket, now_us: HttpConnection(socket, now_us, tmp_path))
    turns = 0
    while not greedy.sent:
        server.step(5)
        turns += 1
    assert (tmp_path / "f").read_bytes() == b"x" * 5000
    assert turns >= 5000 / MOST_ACTIONS


# Clients that are slow on purpose


class Talk:
    """One connection of the HTTP server."""

    def __init__(self, root: Path, data: bytes = b"", room: int = 1 << 30) -> None:
        self.socket = ScriptedSocket(data, room)
        self.now_us = 0
        self.server = Server([Arrivals(self.socket)], lambda socket, now_us: HttpConnection(socket, now_us, root))
        self.server.step(0)

    def wait(self, seconds: float, data: bytes = b"", room: int = 0) -> bool:
        """Let time pass, and something happen; return whether the connection is still there."""
        self.now_us += int(seconds * SECOND_US)
        self.socket.put(data, room)
        self.server.step(self.now_us)
        return bool(self.server.connections)

    @property
    def answer(self) -> bytes:
        return b"".join(self.socket.sent)


def test_a_request_that_comes_byte_by_byte_has_an_end(tmp_path: Path) -> None:
    talk = Talk(tmp_path, b"GET / HTTP/1.1\r\n" + HEAD)
    while talk.wait(5, b"a"):
        assert talk.now_us < IDLE_US
    assert (talk.now_us, talk.socket.ended) == (IDLE_US, "abort")


def test_an_upload_that_hardly_moves_has_an_end(tmp_path: Path) -> None:
    talk = Talk(tmp_path, b"PUT /f HTTP/1.1\r\nContent-Length: 1000000\r\n" + HEAD + b"\r\n")
    while talk.wait(10, bytes(STEP_BYTES // 6 - 10)):
        assert talk.now_us < IDLE_US
    assert list(tmp_path.iterdir()) == []


def test_an_upload_that_is_slow_goes_on(tmp_path: Path) -> None:
    talk = Talk(tmp_path, b"PUT /f HTTP/1.1\r\nContent-Length: 40960\r\n" + HEAD + b"\r\n")
    for _ in range(50):
        assert talk.wait(10, bytes(STEP_BYTES // 5))
    assert talk.wait(1, bytes(40960 - 50 * (STEP_BYTES // 5)))
    assert talk.answer.startswith(b"HTTP/1.1 201 ")


def test_a_client_that_takes_a_byte_now_and_then_has_an_end(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(1_000_000))
    talk = Talk(tmp_path, b"GET /f HTTP/1.1\r\n" + HEAD + b"\r\n", room=10_000)
    while talk.wait(5, room=1):
        assert talk.now_us < 2 * IDLE_US
    assert talk.socket.ended == "abort"


def test_requests_that_keep_coming_keep_the_connection(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"content")
    talk = Talk(tmp_path)
    for _ in range(10):
        assert talk.wait(IDLE_US / SECOND_US - 1, b"GET /f HTTP/1.1\r\n" + HEAD + b"\r\n")
    assert talk.answer.count(b"HTTP/1.1 200 ") == 10


@pytest.mark.parametrize("bomb", [b"A: " + bytes(2 * MOST_HEAD_BYTES), b"A: b\r\n" * MOST_HEAD_BYTES, b"A" * 2 * MOST_HEAD_BYTES])
def test_a_head_has_a_limit(tmp_path: Path, bomb: bytes) -> None:
    talk = Talk(tmp_path, b"GET / HTTP/1.1\r\n" + bomb.replace(b"\0", b"b"))
    assert talk.answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))
    assert talk.socket.ended == "shutdown"


@pytest.mark.parametrize("size", [1, 500, 2000, 10_000])
def test_head_and_body_of_an_answer_are_sent_together(tmp_path: Path, size: int) -> None:
    """Else a client that delays its ACK of the head keeps the body waiting."""
    (tmp_path / "f").write_bytes(bytes(size))
    talk = Talk(tmp_path, b"GET /f HTTP/1.1\r\n" + HEAD + b"\r\n")
    (sent,) = talk.socket.sent
    assert sent.endswith(b"\r\n\r\n" + bytes(size))
