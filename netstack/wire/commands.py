"""What the commands do: servers that run until they are interrupted, and transfers with their progress."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from netstack.host import Address
from netstack.tcp.states import State
from netstack.wire.applications import Connection, Echo, Server, Sink, Source
from netstack.wire.errors import WireError
from netstack.wire.http.client import HttpExchange, Url
from netstack.wire.http.files import partial_path
from netstack.wire.http.server import HttpConnection
from netstack.wire.impairment import parse_quantity
from netstack.wire.interface import SocketLike
from netstack.wire.loop import EventLoop
from netstack.wire.session import Session, SessionConfig, open_session

REFRESH_US = 200_000
REFUSALS_US = 60_000_000
CLOSE_US = 2_000_000
"""How long a client waits, after its transfer, for the end of its connection."""


class TransferFailedError(Exception):
    """The transfer ended without its file."""


class ProgressDisplay:
    """An application that shows how far a transfer is, or how much a server has moved."""

    def __init__(self, progress: Progress, label: str, state: Callable[[], tuple[int, int | None]]) -> None:
        """Show the bytes so far and in total, None if that is unknown, which `state` returns."""
        self._progress = progress
        self._task = progress.add_task(label, total=None)
        self._state = state
        self._next_us = 0

    def step(self, now_us: int) -> None:
        if now_us >= self._next_us:
            self._next_us = now_us + REFRESH_US
            self.show()

    def next_deadline_us(self) -> int | None:
        return self._next_us

    def abort(self, now_us: int) -> None: ...

    def show(self) -> None:
        completed, total = self._state()
        self._progress.update(self._task, completed=completed, total=total)


class Counter:
    """Bytes that a server moved, and when the first and the last were."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.bytes = 0
        self.first_us: int | None = None
        self.last_us = 0
        self._clock = clock

    def add(self, size: int) -> None:
        self.last_us = self._clock()
        if self.first_us is None:
            self.first_us = self.last_us
        self.bytes += size


class RefusalLog:
    """An application that says, at most once a minute, which limits were reached how often."""

    def __init__(self, refusals: Callable[[], dict[str, int]], log: Callable[[str], None]) -> None:
        """Log what is new in `refusals`, which counts since the beginning."""
        self._refusals = refusals
        self._log = log
        self._known: dict[str, int] = {}
        self._next_us = 0

    def step(self, now_us: int) -> None:
        if now_us < self._next_us:
            return
        self._next_us = now_us + REFUSALS_US
        found = self._refusals()
        new = {name: count - self._known.get(name, 0) for name, count in found.items()}
        self._known = found
        if any(new.values()):
            self._log(f"limits: {', '.join(f'{count} {name}' for name, count in new.items() if count)}")

    def next_deadline_us(self) -> int | None:
        return self._next_us

    def abort(self, now_us: int) -> None: ...


def say(line: str) -> None:
    """Print a line of the log. The server goes on if nobody takes it: the disk is full, or the reader has gone."""
    with suppress(OSError):
        print(line, flush=True)


def run_server(arguments: argparse.Namespace, config: SessionConfig) -> None:
    """Serve until interrupted.

    Raises:
        WireError, ConfigError: It cannot be done as asked.
    """
    root: Path | None = getattr(arguments, "root", None)
    if root is not None and not root.is_dir():
        raise WireError(f"{root}: no such folder")
    source_bytes = int(parse_quantity("--bytes", getattr(arguments, "bytes", "0"), "bytes"))
    with open_session(config, say) as session:
        counter = Counter(session.loop.now_us)
        serve = _service(arguments, source_bytes, counter, say)
        listeners = [
            session.endpoint.listen(Address(host, arguments.port), backlog=arguments.backlog) for host in config.addresses
        ]
        for listener in listeners:
            listener.set_option("keepalive", 1, 0)  # a peer that has gone must not hold a connection for ever
            if arguments.command in ("serve", "echo"):  # which write all that they have at once
                listener.set_option("no_delay", 1, 0)
        server = Server(listeners, serve, say)
        session.loop.applications += [server, RefusalLog(session.endpoint.refusals, say)]
        say(_welcome(arguments, config, session))
        try:
            with _stopped_by_signals(session.loop), _progress() as progress:
                if arguments.command in ("sink", "source") and progress is not None:
                    session.loop.applications.append(ProgressDisplay(progress, arguments.command, lambda: (counter.bytes, None)))
                session.loop.run()
        finally:
            if arguments.command in ("sink", "source") and counter.first_us is not None:
                say(summary(arguments.command, counter.bytes, counter.last_us - counter.first_us))
            say(f"{server.accepted} connections, {server.failed} of them failed")
            refused = [f"{count} {name}" for name, count in session.endpoint.refusals().items() if count]
            if refused:
                say(f"limits: {', '.join(refused)}")


def _service(
    arguments: argparse.Namespace, source_bytes: int, counter: Counter, log: Callable[[str], None]
) -> Callable[[SocketLike, int], Connection]:
    if arguments.command == "serve":
        root, read_only = arguments.root.resolve(), arguments.read_only
        return lambda socket, now_us: HttpConnection(socket, now_us, root, read_only=read_only, log=log)
    if arguments.command == "echo":
        return lambda socket, now_us: Echo(socket)
    if arguments.command == "sink":
        return lambda socket, now_us: Sink(socket, counter.add)
    return lambda socket, now_us: Source(socket, source_bytes, counter.add)


def _welcome(arguments: argparse.Namespace, config: SessionConfig, session: Session) -> str:
    addresses = [str(Address(host, arguments.port)) for host in config.addresses]
    if arguments.command == "serve":
        addresses = [f"http://{address.removesuffix(':80')}/" for address in addresses]
    return f"{arguments.command} on {', '.join(addresses)} (device {session.device.name}); Ctrl-C ends it"


def run_client(arguments: argparse.Namespace, config: SessionConfig) -> None:
    """Fetch or upload a file.

    Raises:
        WireError, ConfigError: It cannot be done as asked.
        TransferFailedError: It was tried.
    """
    timeout_us = int(parse_quantity("--timeout", arguments.timeout, "us"))
    if arguments.command == "put":
        to_folder = arguments.url.endswith("/")
        url = Url(arguments.url + quote(os.fsencode(arguments.file.name)) if to_folder else arguments.url)
        if arguments.file.exists() and not arguments.file.is_file():
            raise WireError(f"{arguments.file}: is no regular file")
        with _opened(arguments.file, "rb") as file, open_session(config, _say_beside) as session:
            size_bytes = os.fstat(file.fileno()).st_size
            _transfer(arguments, session, url, timeout_us, upload=file, upload_bytes=size_bytes)
        return
    url = Url(arguments.url)
    name = url.file_name if arguments.output is None else arguments.output
    if not name:
        raise WireError(f"{arguments.url}: ends in a slash, so that --output FILE is needed; - is standard output")
    with download(name) as file, open_session(config, _say_beside) as session:
        _transfer(arguments, session, url, timeout_us, output=file)


def _say_beside(line: str) -> None:
    """Print a line of the log where the file that is fetched does not go."""
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


@contextmanager
def download(name: str) -> Iterator[BinaryIO]:
    """Open what a download is written to. A file has its name only once it is complete, and no other file is touched.

    Raises:
        WireError: It cannot be begun.
        TransferFailedError: It cannot be completed.
    """
    path = Path(name)
    if path.is_dir():
        raise WireError(f"{name}: is a folder")
    try:
        if name == "-":
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        elif path.exists() and not path.is_file():  # a device, or a pipe that somebody reads from
            with _opened(path, "wb") as file:
                yield file
        else:
            path = path.resolve()  # a link to a file stays a link
            partial = partial_path(path)
            try:
                with _opened(partial, "xb") as file:
                    yield file
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
    except OSError as error:
        raise TransferFailedError(f"{name}: {error.strerror}") from error


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[BinaryIO]:
    try:
        file = path.open(mode)
    except OSError as error:
        raise WireError(f"{path}: {error.strerror}") from error
    with file:
        yield file  # pyright: ignore[reportReturnType]


def _transfer(
    arguments: argparse.Namespace,
    session: Session,
    url: Url,
    timeout_us: int,
    *,
    output: BinaryIO | None = None,
    upload: BinaryIO | None = None,
    upload_bytes: int = 0,
) -> None:
    loop = session.loop
    start_us = loop.now_us()
    try:
        socket = session.endpoint.connect(Address(url.host, url.port), start_us, options={"no_delay": 1})
    except (OSError, ValueError) as error:
        raise WireError(f"{arguments.url}: {error}") from error
    exchange = HttpExchange(socket, url, output=output, upload=upload, upload_bytes=upload_bytes)
    loop.applications.append(exchange)
    with _stopped_by_signals(loop), _progress() as progress:
        shown = None
        if progress is not None:
            shown = ProgressDisplay(progress, arguments.command, lambda: (exchange.transferred_bytes, exchange.expected_bytes))
            loop.applications.append(shown)
        _run_while_packets_arrive(session, exchange, arguments.url, timeout_us)
        if shown is not None:
            shown.show()
    if exchange.failure is not None:
        raise TransferFailedError(f"{arguments.url}: {exchange.failure}")
    line = summary(arguments.command, exchange.transferred_bytes, loop.now_us() - start_us)
    Console(stderr=True, highlight=False).print(line)
    loop.run(until=lambda: socket.state in (State.CLOSED, State.TIME_WAIT), limit_us=CLOSE_US)


def _run_while_packets_arrive(session: Session, exchange: HttpExchange, url: str, timeout_us: int) -> None:
    """Run until the exchange has ended or the loop was stopped."""
    received = -1
    while session.loop.received != received:
        received = session.loop.received
        if session.loop.run(until=lambda: exchange.done, limit_us=timeout_us):
            return
    raise TransferFailedError(f"{url}: nothing arrived for {timeout_us / 1e6:g} s")


@contextmanager
def _stopped_by_signals(loop: EventLoop) -> Iterator[None]:
    """Let the loop finish its turn when the process is interrupted: an endpoint must not be left between two states.

    Raises:
        KeyboardInterrupt: At the end, if it was.
    """
    caught = []

    def stop(number: int, frame: object) -> None:
        caught.append(number)
        loop.stop()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if caught:
        raise KeyboardInterrupt


@contextmanager
def _progress() -> Iterator[Progress | None]:
    """Show bars on a terminal; None elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        yield progress


def summary(label: str, size_bytes: int, duration_us: int) -> str:
    """Return one line: how much, how long, how fast."""
    rate = f"{size_bytes * 8 / duration_us:,.1f} Mb/s" if duration_us > 0 else "at once"
    return f"{label}: {size_bytes:,} bytes in {duration_us / 1e6:.3f} s, {rate}"
