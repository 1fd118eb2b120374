"""Output never stops a command: streams that know few characters, are full, or were closed by whoever read them."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.progress import track

from experiments.config.command_line import FAILED_POINTS
from experiments.config.output import Output, say_error, terminal
from tests.helpers.folders import ROOT
from tests.helpers.launching import SHORT, results


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


PRINTING = ["--help", "--hydra-help", "--info config", "--cfg job", "--cfg=job --resolve", "--version"]


@pytest.mark.parametrize("options", PRINTING)
def test_what_is_asked_for_and_cannot_be_written_is_one_line(options: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} run.py {options} > /dev/full"], cwd=ROOT, capture_output=True, text=True
    )
    said = "error: the standard output cannot be written (No space left on device)\n"
    assert (done.returncode, done.stderr) == (FAILED_POINTS, said)


@pytest.mark.parametrize("target", ["| head -n 1", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_what_nobody_reads_is_no_error(target: str) -> None:
    command = f"set -o pipefail; {sys.executable} run.py --cfg job {target}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_a_sweep_without_standard_streams_runs_its_points(closed: str, tmp_path: Path) -> None:
    arguments = f"-m conns=6,7 {' '.join(SHORT)} output_dir={tmp_path} tracking=none"
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} run.py {arguments} {closed}"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(results(tmp_path)) == 2
    assert not (tmp_path / "failures").exists()


@pytest.mark.parametrize("arguments", [("--help",), ("-m", "--dry-run", "variant='±中'")])
def test_a_process_that_may_print_ascii_only(arguments: tuple[str, ...], tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "TERM": "dumb", "NO_COLOR": "1"}
    command = [sys.executable, "run.py", *arguments, f"output_dir={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()
