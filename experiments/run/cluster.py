"""Starts Ray on this computer or joins a cluster, gives nodes the code, and says what they have.

Knows nothing of points. Ray is imported late: it takes a second.
"""

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import psutil

from experiments.config.locations import EXPERIMENTS
from netstack.errors import ConfigError
from netstack.installation import PACKAGE, checkout

OBJECT_STORE_BYTES = 80 * 1024 * 1024  # the least that Ray takes; configurations and results are small
WARNING_FACTOR = 4  # Ray warns when processes that start are this many times those that it starts at a time
MEMORY_SHARE = 0.9  # of the free memory that points in flight may need together
CONNECT_SECONDS = 3
SENT = (PACKAGE, EXPERIMENTS)
"""The packages that workers import: a cluster gets them."""
CLUSTER = "must be the address of a running Ray cluster, for example 10.0.0.1:6379, or auto for one on this machine"


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
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ConfigError("ray.address", address, f"{CLUSTER} ({error})") from error


def start_or_join(processes: int, workers: int | None, address: str | None, send_sources: bool, actors: int = 0) -> Any:
    """Start Ray for at most so many processes at a time, or join a cluster. Return Ray's module.

    `actors` of these processes take less than a CPU each, and live at the same time.

    Raises:
        ConfigError: There is no cluster at the address.
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
            with _without_standard_error():  # to which Ray's core writes a line per second while nobody answers
                ray.init(address=address, runtime_env=modules if send_sources else None, **quiet)
        else:
            if (root := checkout()) is not None:  # workers find installed sources by themselves
                os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
            cpus = workers or (processes if processes < (os.cpu_count() or 1) else None)  # None: Ray knows limits of containers
            ray.init(
                address="local",
                num_cpus=cpus and min(cpus, processes),
                object_store_memory=OBJECT_STORE_BYTES,
                _system_config={"worker_maximum_startup_concurrency": max(os.cpu_count() or 1, actors // WARNING_FACTOR + 1)},
                _memory=int(MEMORY_SHARE * psutil.virtual_memory().available),
                include_dashboard=False,
                **quiet,
            )
    except ConnectionError as error:
        reason = " ".join(str(error).split())
        raise ConfigError("ray.address", address, f"{CLUSTER}; one with tokens needs RAY_AUTH_MODE=token ({reason})") from error
    except BaseException:
        ray.shutdown()
        raise
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, at_termination)  # Ray's own handler exits silently
    return ray


@contextmanager
def _without_standard_error() -> Generator[None, None, None]:
    """Drop what native code writes to the standard error. Errors come as exceptions."""
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


def cpus_of(ray: Any) -> int:
    """Return how many CPUs the nodes that are alive have together."""
    return int(sum(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]))


def fits(ray: Any, needed: Mapping[str, float]) -> bool:
    """Return whether a node that is alive has all of these resources, free now or not."""
    return any(
        all(node["Resources"].get(name, 0) >= amount for name, amount in needed.items()) for node in ray.nodes() if node["Alive"]
    )
