"""What signals that ask a command to end do to it: one line, whenever they come and however many. And the streams for that line.

Imports nothing heavy, since it is at work before anything else is imported. Knows no command.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

INTERRUPTED = 130
"""The exit code."""
KEPT = "finished points are kept, the same command runs the rest"
"""What is left of an interrupted sweep, and how to go on."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The keyboard's, that of batch systems, and that of a terminal which is closed."""
ONE_SECONDS = 1.0  # signals within this time are one interrupt: a terminal and a wrapper may both send it


def open_standard_streams() -> None:
    """Let the standard streams that are closed lead nowhere: else the next file that is opened has the number of one."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", errors="replace", closefd=False))  # noqa: SIM115


def interrupt_line(kept: str = KEPT) -> str:
    """Return what is said of an interrupt."""
    return f"interrupted: {kept}"


def end_at_once(line: str = "", code: int = INTERRUPTED) -> None:
    """Make signals end the process with a line, if there is one. For times when nothing has to be put in order."""
    for number in _caught():
        signal.signal(number, lambda *_: _end(line, code))


@contextmanager
def interruptible(line: str) -> Generator[None, None, None]:
    """Make a signal raise KeyboardInterrupt, and a later one, when that takes too long, end the process with a line."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    first_s: float | None = None

    def handle(*_: object) -> None:
        nonlocal first_s
        if first_s is None:
            first_s = time.monotonic()
            raise KeyboardInterrupt
        if time.monotonic() - first_s > ONE_SECONDS:
            _end(line, INTERRUPTED)

    before = {number: signal.signal(number, handle) for number in _caught()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _caught() -> list[signal.Signals]:
    """Return the signals that whoever started the process does not have ignored, as `nohup` does."""
    return [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


def _end(line: str, code: int) -> None:
    try:
        if line:
            os.write(2, f"{line}\n".encode())
    finally:
        os._exit(code)
