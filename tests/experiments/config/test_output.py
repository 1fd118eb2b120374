"""Output never stops a command: streams that know few characters, are full, or were closed by whoever read them."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.progress import track

from experiments.config.output import Output, say_error, terminal
from tests.helpers.folders import ROOT


def ascii_stream() -> tuple[io.BytesIO, io.TextIOWrapper]:
    kept = io.BytesIO()
    return kept, io.TextIOWrapper(kept, encoding="ascii")


def test_characters_that_a_stream_lacks_are_replaced() -> None:
    kept, stream = ascii_stream()
    output = Output(stream)
    output.write("±5 of \u4e2d and a\udc80\n")
    output.flush()
    assert kept.getvalue() == b"+/-5 of ? and a?\n"


class Broken(io.TextIOWrapper):
    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_a_stream_that_breaks_is_written_no_more() -> None:
    output = Output(Broken(io.BytesIO()))
    for _ in range(2):
        assert output.write("text") == 4
        output.flush()
    assert not output.isatty()
    assert Output(None).write("text") == 4


def test_what_is_closed_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (closed, None):
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        console = terminal()
        console.print("text")
        assert list(track([1], console=console)) == [1]
        say_error("error: text")


def test_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.delenv("COLUMNS", raising=False)
    assert terminal().width == 140
    monkeypatch.setenv("COLUMNS", "40")
    assert terminal().width == 40


@pytest.mark.parametrize("target", ["| head -n 1", "> /dev/full", ">&-", "2>&- >&-"])
def test_a_process_whose_output_ends_early_succeeds(target: str, tmp_path: Path) -> None:
    """The table of contents of a dry run is longer than a pipe holds."""
    many = ",".join(map(str, range(1, 2000)))
    command = f"set -o pipefail; {sys.executable} run.py -m --dry-run seed={many} output_dir={tmp_path} {target}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [("--help",), ("-m", "--dry-run", "variant='±中'")])
def test_a_process_that_may_print_ascii_only(arguments: tuple[str, ...], tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "TERM": "dumb", "NO_COLOR": "1"}
    command = [sys.executable, "run.py", *arguments, f"output_dir={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()
