"""Starts Ray on this computer or joins a cluster, gives nodes the code, and says what they have.

Knows nothing of points. Ray is imported late: it takes a second.
"""

import errno
import logging
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import psutil

from experiments.config.locations import EXPERIMENTS
from experiments.config.user_errors import UnfinishedError
from experiments.points.modes import unshared
from experiments.run.ray_processes import few_processes
from netstack.errors import ConfigError
from netstack.installation import PACKAGE, checkout

OBJECT_STORE_BYTES = 80 * 1024 * 1024  # the least that Ray takes; configurations and results are small
WARNING_FACTOR = 4  # Ray warns when processes that start are this many times those that it starts at a time
MEMORY_SHARE = 0.9  # of the free memory that points in flight may need together
CONNECT_SECONDS = 3
GREET_SECONDS = 10  # of a cluster that is busy
NO_SETTINGS = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))  # a frame of HTTP/2: length, type, flags, stream
LEAST_FILES = 512  # that processes of Ray have open on a computer with few CPUs
LONGEST_REASON = 200  # characters of an error of Ray's
SENT = (PACKAGE, EXPERIMENTS)
"""The packages that workers import: a cluster gets them."""
CLUSTER = "must be the address of a running Ray cluster, for example 10.0.0.1:6379, or auto for one on this machine"


class NoRayError(UnfinishedError):
    """Ray cannot start on this computer. The message says what to do."""

    def __str__(self) -> str:
        return f"Ray cannot start on this computer: {super().__str__()}"


def check_cluster(address: str | None) -> None:
    """Raise ConfigError when nobody listens at an address such as ``host:6379``.

    None is Ray on this computer; what ``auto`` finds only Ray knows.
    """
    if address in (None, "auto"):
        return
    if address.startswith("ray://"):
        allowed = "must be HOST:PORT or auto: from outside of a cluster send the command into it with `ray job submit`"
        raise ConfigError("ray.address", address, allowed)
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError("ray.address", address, CLUSTER)
    try:
        with socket.create_connection((host, int(port)), CONNECT_SECONDS) as connection:
            greeted = bool(os.environ.get("RAY_USE_TLS")) or _is_greeted(connection)
    except (OSError, OverflowError) as error:
        raise ConfigError("ray.address", address, f"{CLUSTER} ({error})") from error
    if not greeted:
        raise ConfigError("ray.address", address, f"{CLUSTER} (something else answers there)")


def _is_greeted(connection: socket.socket) -> bool:
    """Return whether the other end speaks gRPC, as Ray does: it answers with its settings of HTTP/2 (RFC 9113, section 3.4)."""
    connection.settimeout(GREET_SECONDS)
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + NO_SETTINGS)
    answer = b""
    while len(answer) < len(NO_SETTINGS) and (more := connection.recv(len(NO_SETTINGS) - len(answer))):
        answer += more
    return answer[3:4] == NO_SETTINGS[3:4]


def start_or_join(processes: int, workers: int | None, address: str | None, send_sources: bool, actors: int = 0) -> Any:
    """Start Ray for at most so many processes at a time, or join a cluster. Return Ray's module.

    `actors` of these processes take less than a CPU each, and live at the same time.

    Raises:
        ConfigError: There is no cluster at the address.
        NoRayError: Ray cannot start on this computer.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    import ray

    logging.getLogger("ray").setLevel(logging.CRITICAL)  # each outcome is one line, printed elsewhere
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL, "configure_logging": False}
    at_termination = signal.getsignal(signal.SIGTERM)
    try:
        if address:
            modules = {"py_modules": [str(package) for package in SENT]}
            with unshared(), _without_standard_error():
                ray.init(address=address, runtime_env=modules if send_sources else None, **quiet)
        else:
            if (root := checkout()) is not None:  # workers find installed sources by themselves
                os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
            cpus = workers or (processes if processes < (os.cpu_count() or 1) else None)  # None: Ray knows limits of containers
            _check_files()
            startup = {"worker_maximum_startup_concurrency": max(os.cpu_count() or 1, actors // WARNING_FACTOR + 1)}
            if actors:  # which wait for each other: Ray's 15 would let each wait long for its turn beside any busy process
                startup["worker_niceness"] = 0
            with unshared(), _without_standard_error(), few_processes():
                ray.init(
                    address="local",
                    num_cpus=cpus and min(cpus, processes),
                    object_store_memory=OBJECT_STORE_BYTES,
                    _system_config=startup,
                    _memory=int(MEMORY_SHARE * psutil.virtual_memory().available),
                    include_dashboard=False,
                    **quiet,
                )
    except BaseException as error:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, at_termination)
        ray.shutdown()
        if isinstance(error, SystemExit):  # by Ray's handler of SIGTERM, which is there while it starts
            raise KeyboardInterrupt from error
        if isinstance(error, ConnectionError) and address:
            reason = " ".join(str(error).split())
            allowed = f"{CLUSTER}; one with tokens needs RAY_AUTH_MODE=token ({reason})"
            raise ConfigError("ray.address", address, allowed) from error
        if isinstance(error, Exception) and not address and not isinstance(error, NoRayError):
            raise NoRayError(_why_not(error)) from error
        raise
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, at_termination)  # Ray's own handler exits silently
    return ray


@contextmanager
def _without_standard_error() -> Generator[None, None, None]:
    """Drop what Ray's processes and its core write to the standard error, a line per second at times. Errors are exceptions."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _check_files() -> None:
    """Raise NoRayError when processes may have too few files open. Ray takes as many as it may."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most != resource.RLIM_INFINITY and most < LEAST_FILES:
        raise NoRayError(f"{most} open files are too few for it: raise the limit, for example by `ulimit -n 4096`")


def _why_not(error: Exception) -> str:
    """Return why Ray did not start, and what to do, in one line."""
    text = " ".join(str(error).split())
    folder = ray_folder()
    if "AF_UNIX" in text:
        return f"the name of its folder {folder} is too long for a socket: give it a shorter one, RAY_TMPDIR=/tmp for example"
    cause = error if isinstance(error, OSError) else error.__cause__
    if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
        return f"{cause.strerror}: raise the limit, for example by `ulimit -n 4096`"
    if isinstance(cause, OSError) and cause.filename is not None:
        where = f"{os.fsdecode(cause.filename)} cannot be used ({cause.strerror})"
        return f"{where}: its folder is {folder}, RAY_TMPDIR=FOLDER gives it another one that can be written"
    if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
        return f"{folder} or /dev/shm is full: make room, or RAY_TMPDIR=FOLDER gives it another folder"
    reason = text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}..."
    logs = f"its logs are in {folder}/ray/session_latest/logs"
    return f"{type(error).__name__}: {reason}; {logs}; free ports, memory and processes (`ulimit -u`) are what it needs"


def ray_folder() -> str:
    """Return the folder in which Ray on this computer has its sockets and logs."""
    return os.environ.get("RAY_TMPDIR") or (sys.platform.startswith("linux") and os.environ.get("TMPDIR")) or "/tmp"


def cpus_of(ray: Any) -> int:
    """Return how many CPUs the nodes that are alive have together."""
    return int(sum(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]))


def idle_cpus(ray: Any) -> int:
    """Return how many CPUs are left for processes that wait for each other, at least one.

    On this computer they are those that its load leaves idle: beside busy processes each would wait for its turn, and all of them
    for the last one. Nobody says so of the nodes of a cluster.
    """
    from ray.util import get_node_ip_address

    cpus = cpus_of(ray)
    nodes = [node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]]
    if nodes == [get_node_ip_address()]:
        cpus = min(cpus, round((os.cpu_count() or 1) - os.getloadavg()[0]))
    return max(1, cpus)


def fits(ray: Any, needed: Mapping[str, float]) -> bool:
    """Return whether a node that is alive has all of these resources, free now or not."""
    return any(
        all(node["Resources"].get(name, 0) >= amount for name, amount in needed.items()) for node in ray.nodes() if node["Alive"]
    )
