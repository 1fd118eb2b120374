"""What commands print, to whatever there is: a stream that is closed, full or knows few characters stops nothing.

Knows no command.
"""

import io
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, redirect_stdout
from typing import IO, TextIO, cast

from rich.console import Console

from experiments.config.user_errors import UnfinishedError

PLAIN_WIDTH = 140  # of output that is not a terminal
IN_ASCII = str.maketrans({"±": "+/-", "–": "-", "—": "-", "…": "...", "×": "x"})


class UnwrittenError(UnfinishedError):
    """What a command was asked to print cannot be written."""


class Output(io.TextIOBase):
    """A stream that never raises. What its encoding lacks is replaced; once it cannot be written, all is dropped."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The encoding of the stream."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Write what can be written."""
        try:
            if self._stream is not None:
                self._stream.write(self._encodable(text))
        except (OSError, ValueError):  # ValueError: it is closed
            self._stream = None
        return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        try:
            if self._stream is not None:
                self._stream.flush()
        except (OSError, ValueError):
            self._stream = None

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        try:
            return self._stream is not None and self._stream.isatty()
        except (OSError, ValueError):
            return False

    def fileno(self) -> int:
        """Return the number of the stream."""
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def _encodable(self, text: str) -> str:
        try:
            text.encode(self.encoding)
        except UnicodeEncodeError:
            return text.translate(IN_ASCII).encode(self.encoding, "replace").decode(self.encoding)
        return text


@contextmanager
def printed_whole() -> Generator[None, None, None]:
    """Print at the end what is printed meanwhile. Nothing is said of a reader who has gone.

    Raises:
        UnwrittenError: It cannot be written, to a full disk for example.
    """
    try:
        with redirect_stdout(io.StringIO()) as text:
            yield
    finally:  # some of Hydra's options end the process
        try:
            sys.stdout.write(text.getvalue())
            sys.stdout.flush()
        except BrokenPipeError:
            drop_broken_streams()
        except OSError as error:
            drop_broken_streams()
            raise UnwrittenError(f"the standard output cannot be written ({error.strerror})") from error


def terminal() -> Console:
    """Return the console of a command: as wide as the terminal, or wide enough for tables in a file."""
    output = Output(sys.stdout)
    return Console(file=cast(IO[str], output), width=None if output.isatty() or "COLUMNS" in os.environ else PLAIN_WIDTH)


def say_error(line: str) -> None:
    """Print a line to the standard error."""
    error = Output(sys.stderr)
    error.write(f"{line}\n")
    error.flush()


def replace_unknown_characters() -> None:
    """Let what others print have characters that the standard streams lack."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def drop_broken_streams() -> bool:
    """Flush the standard streams; those that cannot be written lead nowhere from now on. Return whether one did not work."""
    broken = False
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            broken = True
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)
    return broken
