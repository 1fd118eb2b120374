"""The conformance suite: every script and every case of one passes against the project's own endpoint."""

from pathlib import Path

import pytest

from netstack.script.backend import endpoint_backend
from netstack.script.coverage import coverage_table, sections_of
from netstack.script.interpreter import Verdict, run_script
from netstack.script.parser import load, parse
from netstack.script.syntax import Script
from tests.helpers.folders import ROOT

FOLDER = Path(__file__).parent / "scripts"
SCRIPTS = [script for path in sorted(FOLDER.rglob("*.pkt")) for script in load(str(path))]


def name_of(script: Script) -> str:
    name = str(Path(script.path).relative_to(FOLDER))
    return f"{name}: {script.case}" if script.case else name


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_script(script: Script) -> None:
    outcome = run_script(script, endpoint_backend())
    assert outcome.verdict is Verdict.PASS, str(outcome)


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_a_script_names_the_section_that_it_tests(script: Script) -> None:
    assert sections_of(script)


def test_the_table_of_sections_is_up_to_date() -> None:
    text = (ROOT / "docs" / "conformance.md").read_text()
    assert text.endswith(coverage_table(SCRIPTS)), "run python -m netstack.script --coverage, as the page says"


def test_a_congestion_control_that_there_is_not_is_unsupported() -> None:
    text = "`sysctl -q net.ipv4.tcp_congestion_control=bbr`\n0 socket(..., SOCK_STREAM, 0) = 3\n+0 bind(3, ..., ...) = 0\n"
    outcome = run_script(parse(f"{text}+0 listen(3, 1) = 0"), endpoint_backend())
    assert (outcome.verdict, outcome.line) == (Verdict.UNSUPPORTED, 4)
    assert outcome.message == "setting congestion_control=bbr: allowed are cubic, reno"


def test_psh_is_compared_in_scripts_for_linux_only_if_strict() -> None:
    text = (FOLDER / "delayed-ack.pkt").read_text().split("  +.1 < . 1:1001")[0]
    text = f"`sysctl -q net.ipv4.tcp_ecn=2`\n{text}+0 write(4, ..., 12000) = 12000\n+0 > P. 1:10001(10000) ack 1\n"
    assert run_script(parse(text), endpoint_backend()).verdict is Verdict.PASS
    assert "flags is ., expected P." in run_script(parse(text), endpoint_backend(), strict=True).message


def test_a_send_buffer_grows_while_it_is_in_use() -> None:
    """What was written before is sent after: 16384 bytes fit, then 32768 (socket(7): Linux doubles what is asked for)."""
    text = (FOLDER / "delayed-ack.pkt").read_text().split("  +.1 < . 1:1001")[0]
    more = """
   +0 fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK) = 0
   +0 write(4, ..., 20000) = 16384
   +0 > . 1:10001(10000) ack 1
   +0 setsockopt(4, SOL_SOCKET, SO_SNDBUF, [16384], 4) = 0
   +0 write(4, ..., 20000) = 16384
  +.1 < . 1:1(0) ack 10001 win 65535
   +0 > . 10001:21001(11000) ack 1
"""
    assert str(run_script(parse(f"`sysctl -q net.ipv4.tcp_ecn=2`\n{text}{more}"), endpoint_backend())) == "<script>: pass"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ('IPPROTO_TCP, TCP_CONGESTION, "bbr"', "congestion_control=bbr: allowed are cubic, reno"),
        ("SOL_SOCKET, SO_SNDBUF, [-1]", "send_buffer_bytes=-1: must be from 256 to 536870912"),
        ("IPPROTO_TCP, TCP_KEEPCNT, [99999999999]", "keepalive_probes=99999999999: must be from 0 to 2147483647"),
    ],
)
def test_an_option_with_a_value_that_it_cannot_have_is_unsupported(option: str, message: str) -> None:
    listen = (
        f"0 socket(..., SOCK_STREAM, 0) = 3\n+0 setsockopt(3, {option}, 4) = 0\n+0 bind(3, ..., ...) = 0\n+0 listen(3, 1) = 0"
    )
    connect = f"0 socket(..., SOCK_STREAM, 0) = 3\n+0 setsockopt(3, {option}, 4) = 0\n+0...1 connect(3, ..., ...) = 0"
    for text in (listen, connect):
        outcome = run_script(parse(text), endpoint_backend())
        assert outcome.verdict is Verdict.UNSUPPORTED
        assert message in outcome.message
