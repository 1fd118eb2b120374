"""The command: what it prints, and its exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest

from netstack.script import __main__ as command
from tests.helpers.fake_endpoint import fake_backend
from tests.helpers.folders import ROOT

PASSING = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 bind(3, ..., ...) = 0\n+0 listen(3, 1) = 0\n"
FAILING = f"{PASSING}+0 > . 1:1(0) ack 1\n"
UNSUPPORTED = f"{PASSING}+0 splice() = 0\n"
BAD = "0 socket(\n"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(command, "endpoint_backend", lambda: fake_backend()[0])
    monkeypatch.chdir(tmp_path)

    def run(*texts: str, options: tuple[str, ...] = ()) -> int:
        names = [f"{number}.pkt" for number, _ in enumerate(texts, 1)]
        for name, text in zip(names, texts, strict=True):
            Path(name).write_text(text)
        return command.main([*options, *names])

    return run


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        ([PASSING], 0),
        ([PASSING, FAILING, BAD, UNSUPPORTED], 1),
        ([PASSING, BAD, UNSUPPORTED], 2),
        ([PASSING, UNSUPPORTED], 3),
    ],
)
def test_exit_codes(run, texts: list[str], code: int) -> None:
    assert run(*texts) == code


def test_one_line_a_script_and_the_difference(run, capsys: pytest.CaptureFixture[str]) -> None:
    run(FAILING)
    assert capsys.readouterr().out == ("1.pkt:4: fail: no packet was sent until 0.004000\n  script: 0.000000 > . 1:1(0) ack 1\n")


def test_a_summary_of_several_scripts(run, capsys: pytest.CaptureFixture[str]) -> None:
    run(PASSING, FAILING, UNSUPPORTED, BAD)
    captured = capsys.readouterr()
    assert "1 pass, 1 fail, 1 unsupported, 1 not a script" in captured.out
    assert captured.err == "error: 4.pkt:1: expected a number, a name, a string, [, {, or ..., found the end of the file\n"


def test_every_event_is_printed_on_demand(run, capsys: pytest.CaptureFixture[str]) -> None:
    run(f"{PASSING}+.1 < S 0:0(0) win 100 <mss 1000>\n+0 > S. 0:0(0) ack 1 <...>\n", options=("--verbose",))
    out = capsys.readouterr().out
    assert "0.000000 listen(...)" in out
    assert "0.100000 < S 0:0(0) win 100 <mss 1000>\n0.100000 > S. 0:0(0) ack 1 win 65535 <mss 1000>\n" in out


def test_only_checking(run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(FAILING, BAD, options=("--check",)) == 2
    assert capsys.readouterr().out == "1 of 2 are scripts\n"


def test_without_arguments_it_is_the_command_of_the_process(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["netstack-script", "nowhere.pkt", "--check"])
    assert command.main() == 2
    assert capsys.readouterr().err == "error: nowhere.pkt: no such file or directory\n"


@pytest.mark.parametrize("module", ["netstack.script", "netstack.tcp.script"])
def test_both_names_of_the_command_run_it(module: str, tmp_path: Path) -> None:
    (tmp_path / "bad.pkt").write_text(BAD)
    (tmp_path / "good.pkt").write_text(PASSING)
    run = [sys.executable, "-m", module, "--check", str(tmp_path / "good.pkt"), str(tmp_path / "bad.pkt")]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "1 of 2 are scripts\n")
    assert done.stderr.startswith(f"error: {tmp_path}/bad.pkt:1: expected ")


def test_a_file_that_is_not_there(run, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["nowhere.pkt"]) == 2
    assert capsys.readouterr().err == "error: nowhere.pkt: no such file or directory\n"


def test_a_case_ends_with_its_last_packet(run, capsys: pytest.CaptureFixture[str]) -> None:
    syn = "+0 < S 0:0(0) win 100 <mss 1000>\n"
    cases = f"// case: answered\n{syn}+0 > S. 0:0(0) ack 1 <...>\n// case: not answered\n{syn}"
    assert run(f"{PASSING}{cases}") == 1
    out = capsys.readouterr().out
    assert "1.pkt: answered: pass\n" in out
    assert "1.pkt:8: not answered: fail: a packet was sent that is not expected\n" in out
    assert "1 pass, 1 fail" in out
