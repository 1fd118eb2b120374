"""Where Ray cannot start on this computer, a sweep ends with one line that says why and what to do."""

import os
import resource
import signal
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from threading import Thread

import pytest

from experiments.config.command_line import FAILED_POINTS
from experiments.run import cluster, ray_processes
from experiments.run.cluster import NoRayError, check_cluster, start_or_join
from netstack.errors import ConfigError
from tests.helpers.folders import ROOT
from tests.helpers.launching import SHORT, results

SWEEP = ["-m", "conns=6", "tracking=none", *SHORT]


def start() -> None:
    start_or_join(1, 1, None, False)


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("x" * 60, "too long for a socket: give it a shorter one, RAY_TMPDIR=/tmp"),
        ("file/below", "RAY_TMPDIR=FOLDER gives it another"),
    ],
)
@pytest.mark.parametrize("variable", ["RAY_TMPDIR", "TMPDIR"])
def test_a_folder_that_ray_cannot_use(folder: str, said: str, variable: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environment = {name: value for name, value in os.environ.items() if name != "RAY_TMPDIR"}
    command = [sys.executable, "run.py", *SWEEP, f"output_dir={tmp_path}/outputs"]
    environment[variable] = str(tmp_path / folder)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == FAILED_POINTS
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: Ray cannot start on this computer: ")
    assert said in line
    assert str(tmp_path) in line


def test_too_few_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    with pytest.raises(NoRayError, match="64 open files are too few for it: raise the limit, for example by `ulimit -n 4096`"):
        start()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(24, "Too many open files"), "Too many open files: raise the limit"),
        (PermissionError(13, "Permission denied", "/tmp/ray/x"), "/tmp/ray/x cannot be used (Permission denied)"),
        (OSError(28, "No space left on device"), "is full: make room"),
        (RuntimeError("no port\nis free " + "x" * 300), "RuntimeError: no port is free xxx"),
        (ConnectionError("nobody answers"), "ConnectionError: nobody answers"),
    ],
)
def test_whatever_ray_raises_is_a_line(error: Exception, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(NoRayError) as caught:
        start()
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 500


def test_a_signal_while_ray_starts_is_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray has a handler of its own for a while, which ends the process without a word."""
    import ray

    def interrupted(**_: object) -> None:
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(ray, "init", interrupted)
    with pytest.raises(KeyboardInterrupt):
        start()
    assert signal.getsignal(signal.SIGTERM) is before


def test_little_shared_memory_is_no_obstacle(tmp_path: Path) -> None:
    """Ray's objects are then in its folder."""
    command = [sys.executable, "run.py", *SWEEP, f"output_dir={tmp_path}"]
    script = 'mount -t tmpfs -o size=1m none /dev/shm && exec "$@"'
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", "true"], capture_output=True).returncode:
        pytest.skip("root and a namespace of mounts are needed")
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", *command], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert len(results(tmp_path)) == 1


def test_the_folder_is_the_one_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.delenv("TMPDIR", raising=False)
    assert cluster.ray_folder() == "/tmp"
    monkeypatch.setenv("TMPDIR", "/a")
    assert cluster.ray_folder() == "/a"
    monkeypatch.setenv("RAY_TMPDIR", "/b")
    assert cluster.ray_folder() == "/b"


def answer(listener: socket.socket, text: bytes) -> None:
    """Answer whoever comes first with a text, and go."""
    connection, _ = listener.accept()
    with connection:
        connection.sendall(text)
        connection.recv(4096)


@pytest.mark.parametrize("said", [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_an_address_where_something_else_answers(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=answer, args=(listener, said), daemon=True).start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(ConfigError, match=rf"^ray\.address={address}: .*something else answers there\)$"):
            check_cluster(address)


def test_files_that_may_not_grow(tmp_path: Path) -> None:
    """A result is larger than the limit. What is there of it is not taken for a point."""
    point = [sys.executable, "run.py", "conns=6", "tracking=none", *SHORT, f"output_dir={tmp_path}"]
    limited = subprocess.run(["bash", "-c", 'ulimit -f 4 && exec "$@"', "-", *point], cwd=ROOT, capture_output=True, text=True)
    (line,) = limited.stderr.splitlines()
    assert limited.returncode == FAILED_POINTS
    assert "cannot be written (File too large); finished points are kept, the same command runs the rest" in line
    assert not results(tmp_path)
    done = subprocess.run(point, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(results(tmp_path)) == 1


def test_these_processes_of_ray_were_tried() -> None:
    """With another version, add it after the test below: without it agents start as well, which is slower, and right."""
    assert version("ray") in ray_processes.TRIED


@pytest.mark.parametrize("tried", [True, False])
def test_ray_on_this_computer_starts_few_processes_and_leaves_none(tried: bool, tmp_path: Path) -> None:
    """What grows clusters, prints for workers and serves pages is left out, in a known version agents too; workers still work."""
    script = """
import psutil, sys
from experiments.run import ray_processes
from experiments.run.cluster import start_or_join
if sys.argv[1] == "False":
    ray_processes.TRIED = ()
ray = start_or_join(2, 1, None, False)
assert ray.get(ray.remote(lambda: 6 * 7).remote()) == 42
children = psutil.Process().children(recursive=True)
print(sorted({one.cmdline()[0].rpartition("/")[2].partition(":")[0] for one in children}))
agents = [one for one in children if "Agent" in one.cmdline()[0]]
ray.shutdown()
psutil.wait_procs(children, 30)
print(len(agents), [one.pid for one in children if one.is_running()])
"""
    done = subprocess.run([sys.executable, "-c", script, str(tried)], cwd=ROOT, capture_output=True, text=True)
    processes = ["cat", "gcs_server", "ray", "raylet"] if tried else ["gcs_server", "ray", "raylet"]
    expected = [str(processes), "0 []" if tried else "2 []"]
    assert done.stdout.splitlines()[-2:] == expected, done.stdout + done.stderr
