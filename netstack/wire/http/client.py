"""One HTTP/1.1 request on a socket of the stack: a download or an upload. h11 knows the messages."""

import os
from collections.abc import Iterator
from ipaddress import ip_address
from typing import BinaryIO
from urllib.parse import quote, urlsplit

import h11

from netstack.wire.applications import CHUNK_BYTES, Outgoing
from netstack.wire.errors import WireError
from netstack.wire.interface import SocketLike

DEFAULT_PORT = 80


class HttpExchange:
    """A request, then its answer, then the connection is closed.

    Attributes:
        status: Of the answer, 0 before it.
        done: Whether the exchange has ended, well or not.
        failure: Why it ended without the whole answer, or with an answer that is an error.
        transferred_bytes: Of the file, so far.
        expected_bytes: Of the file, None if that is not known.
    """

    def __init__(
        self,
        socket: SocketLike,
        url: "Url",
        *,
        output: BinaryIO | None = None,
        upload: BinaryIO | None = None,
        upload_bytes: int = 0,
    ) -> None:
        """Ask for `url` and write the answer's body to `output`, or put the bytes of `upload` there."""
        self.socket = socket
        self.status = 0
        self.done = False
        self.failure: str | None = None
        self.transferred_bytes = 0
        self.expected_bytes = None if upload is None else upload_bytes
        self._output = output
        self._upload: Iterator[bytes] | None = None if upload is None else iter(lambda: upload.read(CHUNK_BYTES), b"")
        self._is_upload = upload is not None
        self._request_ended = False
        self._http = h11.Connection(h11.CLIENT)
        self._outgoing = Outgoing(socket)
        headers = [("Host", url.host_header), ("User-Agent", "netstack"), ("Connection", "close")]
        if upload is not None:
            headers.append(("Content-Length", str(upload_bytes)))
        method = "GET" if upload is None else "PUT"
        self._outgoing.put(self._http.send(h11.Request(method=method, target=url.target, headers=headers)) or b"")

    def step(self, now_us: int) -> None:
        if self.done:
            return
        try:
            if self.socket.error is not None:
                raise self.socket.error
            self._send(now_us)
            while not self.done and self._advance(now_us):
                pass
        except OSError as error:
            self.socket.abort(now_us)
            self._end(self.failure or error.strerror or str(error))
        except (h11.RemoteProtocolError, ValueError) as error:
            self.socket.abort(now_us)
            self._end(f"the answer ended early or is not HTTP: {error}")
        except h11.LocalProtocolError:
            self.socket.abort(now_us)
            self._end("the file became shorter while it was sent")

    def next_deadline_us(self) -> int | None:
        return None

    def abort(self, now_us: int) -> None:
        if not self.done:
            self.socket.abort(now_us)
            self._end("interrupted")

    def _send(self, now_us: int) -> None:
        while self._outgoing.flush(now_us) and not self._request_ended and self._http.our_state is h11.SEND_BODY:
            chunk = next(self._upload, None) if self._upload is not None else None
            if chunk is None:
                self._request_ended = True
                self._outgoing.put(self._http.send(h11.EndOfMessage()) or b"")
            else:
                self.transferred_bytes += len(chunk)
                self._outgoing.put(self._http.send(h11.Data(data=chunk)) or b"")

    def _advance(self, now_us: int) -> bool:
        event = self._http.next_event()
        if event is h11.NEED_DATA:
            data = self.socket.receive(CHUNK_BYTES, now_us)
            if not data and not self.socket.at_eof:
                return False
            self._http.receive_data(data)
        elif isinstance(event, h11.Response):
            self._begin_answer(event)
        elif isinstance(event, h11.Data):
            self._write(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            self.socket.close(now_us)
            self._end(self.failure)
        return True

    def _begin_answer(self, response: h11.Response) -> None:
        self.status = response.status_code
        if not 200 <= self.status < 300:
            self.failure = f"the server answers {self.status} {response.reason.decode('latin-1')}"
        elif not self._is_upload:
            lengths = [int(value) for name, value in response.headers if name == b"content-length"]
            self.expected_bytes = lengths[0] if lengths else None

    def _write(self, data: bytes) -> None:
        if self._output is not None and self.failure is None:
            self._output.write(data)
            self.transferred_bytes += len(data)

    def _end(self, failure: str | None) -> None:
        self.failure = failure
        self.done = True


class Url:
    """An ``http`` URL whose host is an IP address: there is no name resolution on this stack."""

    def __init__(self, text: str) -> None:
        """Read it.

        Raises:
            WireError: It is something else.
        """
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise WireError(f"{text}: {error}") from error
        if parts.scheme != "http" or not parts.hostname:
            raise WireError(f"{text}: a URL such as http://10.0.0.1:8000/file is needed")
        try:
            self.host = str(ip_address(parts.hostname))
        except ValueError as error:
            raise WireError(f"{text}: {parts.hostname} is no IP address, and names are not looked up") from error
        self.port = DEFAULT_PORT if port is None else port
        if not self.port or "%" in self.host:
            raise WireError(f"{text}: {parts.netloc} is not where a server can be")
        self.path = parts.path or "/"
        host = f"[{self.host}]" if ":" in self.host else self.host
        self.host_header = host if self.port == DEFAULT_PORT else f"{host}:{self.port}"
        self.target = _quoted(self.path) + (f"?{_quoted(parts.query)}" if parts.query else "")

    @property
    def file_name(self) -> str:
        """The last part of the path; empty if it ends in a slash."""
        return self.path.rpartition("/")[2]


def _quoted(text: str) -> str:
    """Return a part of a URL as it may be sent; what is quoted already stays."""
    return quote(os.fsencode(text), safe="/?%:@!$&'()*+,;=~")
