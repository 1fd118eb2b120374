"""Signals that ask to end: one line and exit code 130, at any moment and however many."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.config import interrupts
from experiments.config.interrupts import INTERRUPTED, interruptible
from tests.helpers.folders import ROOT

LINE = "interrupted: finished points are kept, the same command runs the rest\n"
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_raised_and_its_repetition_is_not(number: int) -> None:
    before = signal.getsignal(number)
    cleaned: list[str] = []

    def interrupted() -> None:
        with interruptible("line"):
            try:
                os.kill(os.getpid(), number)
            finally:
                os.kill(os.getpid(), number)  # while things are put in order
                cleaned.append("all")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert cleaned == ["all"]
    assert signal.getsignal(number) is before


def test_a_later_signal_ends_the_process_with_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[tuple[str, int]] = []
    monkeypatch.setattr(interrupts, "_end", lambda line, code: ended.append((line, code)))
    monkeypatch.setattr(interrupts, "ONE_SECONDS", 0.0)

    def interrupted() -> None:
        with interruptible("line"):
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            finally:
                time.sleep(0.01)
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert ended == [("line", INTERRUPTED)]


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """As `nohup` wants it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible("line"):
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


WATCHED = """
import os, signal, sys
from experiments.start import main_and_exit

def send():
    for _ in range({times}):
        os.kill(os.getpid(), signal.{name})

class Finder:  # sends the signal in the middle of an import
    def find_spec(self, name, path=None, target=None):
        if name == "hydra":
            send()

if {when!r} == "importing":
    sys.meta_path.insert(0, Finder())
else:
    from experiments.config.reader import Reader
    read = Reader.read
    Reader.read = lambda *arguments: send() or read(*arguments)
main_and_exit()
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("when", ["importing", "composing"])
def test_a_process_that_is_interrupted_early(when: str, name: str, tmp_path: Path) -> None:
    code = WATCHED.format(when=when, name=name, times=2)
    command = [sys.executable, "-c", code, "-m", "--dry-run", "seed=1,2", f"output_dir={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (INTERRUPTED, "", LINE)
