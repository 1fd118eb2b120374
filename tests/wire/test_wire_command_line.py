"""The command: its help, what it refuses, and in one line."""

import contextlib
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from netstack.errors import ConfigError
from netstack.wire.command_line import build_parser, main, session_config
from netstack.wire.commands import RefusalLog, TransferFailedError, download, say
from netstack.wire.impairment import ImpairmentSettings

COMMANDS = ["serve", "echo", "sink", "source", "get", "put"]
POSITIONAL = {"get": ["http://10.99.0.1/x"], "put": ["file", "http://10.99.0.1/x"]}


def parse(*arguments: str):
    return session_config(build_parser().parse_args(["echo", *arguments]))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    text = capsys.readouterr().out
    for word in ("--device", "--pcap", "--loss", "--seed", "one-way delay"):
        assert word in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help_text(command: str) -> None:
    parser = build_parser()
    subparsers = next(action for action in parser._actions if isinstance(action.choices, dict))
    assert isinstance(subparsers.choices, dict)
    assert all(action.help for action in subparsers.choices[command]._actions)


def test_defaults_are_two_addresses_and_a_perfect_network() -> None:
    config = parse()
    assert config.addresses == ("10.99.0.2", "fd99::2")
    assert config.kernel_addresses == ("10.99.0.1/24", "fd99::1/64")
    assert config.impairments.is_perfect
    assert config.configure


def test_the_kernel_gets_the_first_address_that_is_free() -> None:
    assert parse("--address", "10.1.2.1/24").kernel_addresses == ("10.1.2.2/24",)
    assert parse("--address", "10.1.2.5/31").kernel_addresses == ("10.1.2.4/31",)
    assert parse("--address", "10.1.2.5/24", "--kernel-address", "10.1.2.9/24").kernel_addresses == ("10.1.2.9/24",)


def test_impairments_are_read() -> None:
    config = parse("--loss", "5%", "--delay", "50ms", "--rate", "100mbit", "--seed", "3", "--direction", "in")
    assert config.impairments == ImpairmentSettings(loss=0.05, delay_us=50_000, rate_bps=100_000_000, seed=3)
    assert config.direction == "in"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--loss", "200%"], "--loss=200%: a share"),
        (["--rate", "fast"], "--rate=fast: a rate"),
        (["--address", "10.0.0.2"], "--address=10.0.0.2: the network must have room"),
        (["--address", "host/24"], "--address=host/24: an address"),
        (["--mtu", "100"], "--mtu=100: allowed are 1280 to 65535"),
        (["--address", "224.0.0.5/4"], "--address=224.0.0.5/4: the address of a single host"),
        (["--address", "0.0.0.0/0"], "--address=0.0.0.0/0: the address of a single host"),
        (["--address", "10.99.0.255/24"], "--address=10.99.0.255/24: the address of a single host"),
        (["--address", "::ffff:1.2.3.4/96"], "--address=::ffff:1.2.3.4/96: the address of a single host"),
        (["--address", "fe80::1%eth0/64"], "--address=fe80::1%eth0/64: the address of a single host"),
        (["--address", "10.99.0.2/24", "--kernel-address", "10.99.0.2/24"], "--address=10.99.0.2 10.99.0.2: the addresses"),
        (["--address", "10.99.0.2/24", "--address", "10.99.0.2/24"], "--address=10.99.0.2 10.99.0.2 10.99.0.1 10.99.0.1: the"),
    ],
)
def test_what_is_not_allowed_is_said(arguments: list[str], says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(*arguments)
    assert str(raised.value).startswith(says)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["serve", "/no/such/folder"], "error: /no/such/folder: no such folder"),
        (["put", "/no/such/file", "http://10.99.0.1/"], "error: /no/such/file: No such file or directory"),
        (["get", "https://10.99.0.1/x"], "error: https://10.99.0.1/x: a URL such as http://10.0.0.1:8000/file is needed"),
        (["get", "http://example.org/x"], "error: http://example.org/x: example.org is no IP address"),
        (["get", "http://10.99.0.1/"], "error: http://10.99.0.1/: ends in a slash"),
        (["get", "http://10.99.0.1:0/x"], "error: http://10.99.0.1:0/x: 10.99.0.1:0 is not where a server can be"),
        (["get", "http://10.99.0.1:99999/x"], "error: http://10.99.0.1:99999/x: Port out of range 0-65535"),
        (["get", "http://[fe80::1%25eth0]/x"], "error: http://[fe80::1%25eth0]/x: "),
        (["get", "http://10.99.0.1/x", "-o", "/"], "error: /: is a folder"),
        (["get", "http://10.99.0.1/x", "-o", "/no/such/folder/x"], "error: /no/such/folder/.netstack-"),
        (["put", "/dev/zero", "http://10.99.0.1/x"], "error: /dev/zero: is no regular file"),
        (["get", "http://10.99.0.1/x", "--timeout", "1"], "error: --timeout=1: a time"),
        (["source", "--bytes", "many"], "error: --bytes=many: a size"),
        (["echo", "--port", "0"], "error: --port=0: allowed are 1 to 65535"),
        (["echo", "--device", "a b"], "error: device name 'a b'"),
    ],
)
def test_what_cannot_be_done_is_one_line(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(says)


class TestDownloads:
    """Where a download is written, without a network."""

    def test_a_file_has_its_name_once_it_is_complete(self, tmp_path: Path) -> None:
        (tmp_path / "f.part").write_text("mine")
        with download(str(tmp_path / "f")) as file:
            file.write(b"content")
            assert not (tmp_path / "f").exists()
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"f": "content", "f.part": "mine"}

    def test_what_fails_leaves_everything_as_it_was(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("old")
        (tmp_path / "f.part").write_text("mine")
        with contextlib.ExitStack() as stack:
            stack.enter_context(pytest.raises(TransferFailedError))
            stack.enter_context(download(str(tmp_path / "f"))).write(b"content")
            raise TransferFailedError("the peer has gone")
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"f": "old", "f.part": "mine"}

    def test_a_link_stays_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("old")
        (tmp_path / "link").symlink_to("f")
        with download(str(tmp_path / "link")) as file:
            file.write(b"content")
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "f").read_text() == "content"

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_a_device_is_written_to_and_a_full_disk_is_an_error(self) -> None:
        before = Path("/dev/full").stat().st_rdev
        with pytest.raises(TransferFailedError, match="/dev/full: No space left on device"), download("/dev/full") as file:
            file.write(b"content")
        assert Path("/dev/full").stat().st_rdev == before
        with download("/dev/null") as file:
            file.write(b"content")
        assert not Path("/dev/null").is_file()


def test_a_log_that_nobody_takes_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        say("a line")
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()


def test_limits_that_were_reached_are_said_once_a_minute() -> None:
    counts, lines = {"connections_refused": 0, "orphans_dropped": 2}, []
    log = RefusalLog(lambda: dict(counts), lines.append)
    log.step(0)
    counts["connections_refused"] = 5
    log.step(59_000_000)
    log.step(60_000_000)
    log.step(120_000_000)
    assert lines == ["limits: 2 orphans_dropped", "limits: 5 connections_refused"]


def test_without_arguments_it_is_the_command_of_the_process(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    module = importlib.import_module("netstack.wire.__main__")  # which runs nothing
    monkeypatch.setattr("sys.argv", ["netstack-wire", "serve", "/no/such/folder"])
    assert module.main() == 2
    assert capsys.readouterr().err == "error: /no/such/folder: no such folder\n"


@pytest.mark.skipif(not Path("/usr/bin/setpriv").exists(), reason="needs setpriv")
def test_without_root_it_says_so(network: object) -> None:
    user = ["setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=-all"]
    done = subprocess.run([*user, sys.executable, "-m", "netstack.wire", "echo"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.fullmatch(r"error: [^\n]*root[^\n]*\n", done.stderr)  # the file may be open to all, and the device is not
