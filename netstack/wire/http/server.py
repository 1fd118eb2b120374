"""An HTTP/1.1 file server (RFC 9110, RFC 9112) on sockets of the stack. h11 knows the messages, `files` the files.

Holds no more of a file than a chunk, and reads from a socket only when it has written what it read before.
"""

import os
import secrets
from collections.abc import Callable
from http import HTTPStatus
from mimetypes import guess_type
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import h11

from netstack.wire.applications import CHUNK_BYTES, Outgoing
from netstack.wire.http.files import (
    FilePart,
    HttpError,
    Upload,
    http_date,
    is_folder,
    is_unchanged,
    list_folder,
    locate,
    open_file,
    path_of_target,
    wanted_range,
)
from netstack.wire.interface import SocketLike

SERVER = "netstack"
IDLE_US = 60_000_000
"""A connection on which nothing happens is closed after that, and so is one whose client takes longer for the head of a request,
for `STEP_BYTES` of an upload, or for the next chunk of an answer."""
STEP_BYTES = 4096
"""Fewer bytes of an upload are no progress: a client that sends a byte a minute must not hold a connection."""
MOST_HEAD_BYTES = 16 * 1024
"""Of the head of a request, of that of a chunk, and of the trailer."""
LINGER_US = 5_000_000
"""How long a refused upload is still received: closing at once would reset the connection, and the answer would be lost."""
MOST_ACTIONS = 64
"""Of one connection in a turn, such as to take a request or a chunk: a client may send thousands of small ones at once."""
COMBINED_BYTES = 16 * 1024
"""With less than that still to be sent, the next chunk is put behind it."""
READ_METHODS, WRITE_METHODS = ("GET", "HEAD", "OPTIONS"), ("PUT", "POST")


class Body(Protocol):
    """What an answer consists of, in chunks."""

    def __next__(self) -> bytes: ...

    def __iter__(self) -> "Body": ...

    def close(self) -> None: ...


class Page:
    """A body that is a single chunk, or none if it is empty."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def __iter__(self) -> "Page":
        return self

    def __next__(self) -> bytes:
        if not self._text:
            raise StopIteration
        text, self._text = self._text, b""
        return text

    def close(self) -> None:
        self._text = b""


def _limit(head_bytes: int) -> None:
    """Refuse a head that is too large. h11 refuses one that is not complete; this one came complete, in one piece."""
    if head_bytes > MOST_HEAD_BYTES:
        raise HttpError(431, f"more than {MOST_HEAD_BYTES} bytes", Connection="close")


class HttpConnection:
    """One connection, and the request on it that is being answered."""

    def __init__(
        self,
        socket: SocketLike,
        now_us: int,
        root: Path,
        *,
        read_only: bool = False,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Serve the files below `root`; `log` gets a line for each answer, with the size of its body or of the file put."""
        self.socket = socket
        self._root = root
        self._methods = READ_METHODS + (() if read_only else WRITE_METHODS)
        self._log = log
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEAD_BYTES)
        self._outgoing = Outgoing(socket)
        self._request: h11.Request | None = None
        self._body: Body | None = None  # of the answer
        self._upload: Upload | None = None
        self._lingering = self._has_ended = False
        self._is_cut_short = False  # more could be done at once, but it is the turn of others
        self._moved = False  # since the deadline was set
        self._uploaded_bytes = 0  # since then
        self._deadline_us = now_us + IDLE_US

    def step(self, now_us: int) -> bool:
        try:
            return self._step(now_us)
        except h11.LocalProtocolError:  # the file became shorter than the answer said
            self.socket.abort(now_us)
            return False

    def next_deadline_us(self) -> int | None:
        return 1 if self._is_cut_short else self._deadline_us

    def release(self) -> None:
        if self._upload is not None:
            self._upload.discard()
        if self._body is not None:
            self._body.close()

    def _step(self, now_us: int) -> bool:
        self._is_cut_short = True
        for _ in range(MOST_ACTIONS):
            if not self._act(now_us):
                self._is_cut_short = False
                break
        if self._has_ended or self._lingering:
            return not self._has_ended
        if self._moved:
            self._moved = False
            self._uploaded_bytes = 0
            self._deadline_us = now_us + IDLE_US
        elif now_us >= self._deadline_us:
            self.socket.abort(now_us)
            return False
        return True

    def _act(self, now_us: int) -> bool:
        """Do the next thing; return False if nothing is to be done before something comes, or at the end."""
        if self._body is not None and self._outgoing.waiting_bytes < COMBINED_BYTES:
            self._send_next(self._body)  # together with what is before it: the head of an answer alone would wait for an ACK
            self._moved = True
            return True
        if not self._outgoing.flush(now_us):
            return False
        if self._lingering:
            self._has_ended = not self._linger(now_us)
            return False
        if self._body is not None:
            return True
        if self._http.our_state is h11.MUST_CLOSE:
            self._begin_to_close(now_us)
            return True
        if self._http.our_state in (h11.CLOSED, h11.ERROR):
            self.socket.close(now_us)
            self._has_ended = True
            return False
        return self._advance(now_us)

    def _advance(self, now_us: int) -> bool:
        """Take the next event of the client; return False if there is none for now."""
        try:
            buffered_bytes = len(self._http.trailing_data[0])
            event = self._http.next_event()
            head_bytes = buffered_bytes - len(self._http.trailing_data[0])
            if event is h11.NEED_DATA:
                _limit(head_bytes)
                return self._read(now_us)
            if event is h11.PAUSED:
                self._http.start_next_cycle()
            elif isinstance(event, h11.Request):
                self._request = event
                self._moved = True
                _limit(head_bytes)
                self._begin(event)
            elif isinstance(event, h11.Data):
                _limit(head_bytes - len(event.data))
                self._receive_body(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                _limit(head_bytes)
                self._end_request()
            elif isinstance(event, h11.ConnectionClosed):
                self._http.send(h11.ConnectionClosed())
        except HttpError as error:
            self._refuse(error)
        except h11.RemoteProtocolError as error:
            if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
                self.socket.abort(now_us)
                raise ConnectionAbortedError from error
            self._refuse(HttpError(error.error_status_hint, str(error)))
        return True

    def _receive_body(self, data: bytes) -> None:
        self._uploaded_bytes += len(data)
        self._moved = self._moved or self._uploaded_bytes >= STEP_BYTES
        if self._upload is not None:
            self._upload.write(data)

    def _read(self, now_us: int) -> bool:
        if self._http.they_are_waiting_for_100_continue:
            self._outgoing.put(self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
            return True
        data = self.socket.receive(CHUNK_BYTES, now_us)
        if data or self.socket.at_eof:
            self._http.receive_data(data)
            return True
        return False

    def _end_request(self) -> None:
        if self._upload is not None:
            upload, self._upload = self._upload, None
            upload.finish()
            location = "/" + quote(os.fsencode(upload.path.relative_to(self._root.resolve())))
            if upload.replaces:
                self._answer(204, {}, received_bytes=upload.size_bytes)
            else:
                self._answer(201, {"Location": location, "Content-Length": "0"}, received_bytes=upload.size_bytes)
        elif self._http.our_state is h11.DONE:
            self._http.start_next_cycle()

    def _begin(self, request: h11.Request) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        method, target = request.method.decode("ascii"), request.target.decode("latin-1")
        if not request.http_version.startswith(b"1."):  # of another minor version is read as 1.1 (RFC 9110, section 2.5)
            raise HttpError(505, "the version is not 1.x", Connection="close")
        if "transfer-encoding" in headers and ("content-length" in headers or request.http_version != b"1.1"):
            raise HttpError(400, "the length of the request is not clear", Connection="close")  # RFC 9112, section 6.1
        if method not in self._methods:
            raise HttpError(405, f"allowed are {', '.join(self._methods)}", Allow=", ".join(self._methods))
        if method == "OPTIONS":
            self._answer(204, {"Allow": ", ".join(self._methods)})
            return
        path = path_of_target(target)
        if method in WRITE_METHODS:
            if "content-range" in headers:
                raise HttpError(400, "a part of a file cannot be put")
            self._upload = Upload(self._place_of_upload(path, method))
        elif is_folder(locate(self._root, path)):
            self._answer_with_folder(path)
        elif path.endswith("/"):
            raise HttpError(404, "there is no such folder")
        else:
            self._answer_with_file(locate(self._root, path), headers)

    def _place_of_upload(self, path: str, method: str) -> Path:
        if not path.endswith("/"):
            return locate(self._root, path)
        if method == "PUT":
            raise HttpError(409, "a file's name does not end in a slash")
        return locate(self._root, f"{path}upload-{secrets.token_hex(4)}")

    def _answer_with_folder(self, path: str) -> None:
        if not path.endswith("/"):
            name = quote(path.rsplit("/", 1)[-1].encode("utf-8", "surrogateescape"))
            self._answer(301, {"Location": f"./{name}/", "Content-Length": "0"})
            return
        page = list_folder(locate(self._root, path), path)
        self._answer(200, {"Content-Type": "text/html; charset=utf-8", "Content-Length": str(len(page))}, Page(page))

    def _answer_with_file(self, path: Path, headers: dict[str, str]) -> None:
        found = open_file(path)
        common = {"ETag": found.etag, "Last-Modified": http_date(found.modified_s), "Accept-Ranges": "bytes"}
        if is_unchanged(found, headers):
            found.file.close()
            self._answer(304, common)
            return
        part = wanted_range(found, headers)
        common["Content-Type"] = guess_type(path.name)[0] or "application/octet-stream"
        status = 200 if part is None else 206
        if part is None:
            part = range(found.size_bytes)
        else:
            common["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{found.size_bytes}"
        self._answer(status, common | {"Content-Length": str(len(part))}, FilePart(found.file, part))

    def _refuse(self, error: HttpError) -> None:
        """Answer with an error. If the rest of the request is an upload, the connection ends with the answer."""
        if self._upload is not None:
            self._upload.discard()
            self._upload = None
        text = f"{error.status} {HTTPStatus(error.status).phrase}: {error.reason}\n".encode()
        headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(text))} | error.headers
        if self._http.their_state is not h11.DONE and not self._has_no_body():
            headers["Connection"] = "close"
        self._answer(error.status, headers, Page(text))

    def _has_no_body(self) -> bool:
        names = {name for name, _ in self._request.headers} if self._request is not None else {b"content-length"}
        return not names & {b"content-length", b"transfer-encoding"}

    def _answer(
        self, status: int, headers: dict[str, str], body: Body | None = None, *, received_bytes: int | None = None
    ) -> None:
        fields = {"Date": http_date(), "Server": SERVER} | headers
        response = h11.Response(status_code=status, headers=list(fields.items()), reason=HTTPStatus(status).phrase)
        self._outgoing.put(self._http.send(response) or b"")
        self._body = body or Page(b"")
        what = "?" if self._request is None else f"{self._request.method.decode()} {self._request.target.decode('latin-1')}"
        size = headers.get("Content-Length", "0") if received_bytes is None else received_bytes
        self._log(f"{what} {status} {size} bytes")
        if self._request is not None and self._request.method == b"HEAD":
            self._body.close()

    def _send_next(self, body: Body) -> None:
        chunk = next(body, None)
        if chunk is not None:
            self._outgoing.put(self._http.send(h11.Data(data=chunk)) or b"")
            return
        self._body = None
        self._outgoing.put(self._http.send(h11.EndOfMessage()) or b"")
        self._request = None
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()

    def _begin_to_close(self, now_us: int) -> None:
        self.socket.shutdown(now_us)
        self._lingering = True
        self._deadline_us = now_us + LINGER_US

    def _linger(self, now_us: int) -> bool:
        while self.socket.receive(CHUNK_BYTES, now_us):
            pass
        if not self.socket.at_eof and now_us < self._deadline_us:
            return True
        self.socket.close(now_us)
        return False
