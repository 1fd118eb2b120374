"""Worker processes on Ray: at most as many points in flight as there are CPUs and memory, results as they come.

Knows points and outcomes, not what is done with them. Ray is imported late: it takes a second.
"""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import psutil

import experiments
import netstack
from experiments.points import Outcome, Point
from experiments.task import is_compiled, simulate_point
from netstack.engine import Result, memory_needed_bytes
from netstack.errors import ConfigError

OBJECT_STORE_BYTES = 80 * 1024 * 1024  # the least that Ray takes; configurations and results are small
MEMORY_SHARE = 0.9  # of the free memory that points in flight may need together
CONNECT_SECONDS = 3
CLUSTER = "must be the address of a running Ray cluster, for example 10.0.0.1:6379, or auto for one on this machine"
RESTARTS = 1  # of a point whose worker died

Show = Callable[[str, int], None]
"""Called with what goes on and the number of running points."""


def simulate_on_ray(
    points: Sequence[Point], workers: int | None, address: str | None, show: Show
) -> Generator[Outcome, None, None]:
    """Simulate points, those with most connections first, and yield an outcome whenever one finishes.

    Closing the generator stops all workers at once.
    """
    show("starting workers", 0)
    ray, available = _start(len(points), workers, address)
    try:
        slots = workers or int(ray.cluster_resources().get("CPU", 1))
        task = ray.remote(num_cpus=1, max_retries=RESTARTS)(simulate_point)
        left = sorted(points, key=_weight)
        running: dict = {}

        def submit() -> None:
            needed = sum(memory_needed_bytes(point.config) for point in running.values())
            while left and len(running) < slots:
                needed += memory_needed_bytes(left[0].config)
                if running and needed > available:
                    return
                point = left.pop(0)
                running[task.remote(point.config)] = point

        submit()
        show("" if address or is_compiled() else "compiling once, half a minute", len(running))
        while running:
            ready, _ = ray.wait(list(running), num_returns=1)
            point = running.pop(ready[0])
            submit()
            show("", len(running))
            try:
                result = Result.from_json(ray.get(ready[0]))
                point.save(result)
                outcome = Outcome(point, result)
            except Exception as error:
                outcome = Outcome.of_error(point, getattr(error, "cause", None) or error, str(error))
            yield outcome
    finally:
        ray.shutdown()


def check_cluster(address: str) -> None:
    """Raise ConfigError when nobody listens at an address such as ``host:6379`` or ``ray://host:10001``.

    What ``auto`` finds only Ray knows.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        return
    if not host or not port.isdecimal():
        raise ConfigError("ray_address", address, CLUSTER)
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ConfigError("ray_address", address, f"{CLUSTER} ({error})") from error


def _start(points: int, workers: int | None, address: str | None):
    """Start or join Ray; return its module and the memory that points in flight may need together."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    packages = [Path(str(package.__file__)).parent for package in (netstack, experiments)]
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    at_termination = signal.getsignal(signal.SIGTERM)
    try:
        if address:
            ray.init(address=address, runtime_env={"py_modules": [str(package) for package in packages]}, **quiet)
            available = float("inf")
        else:
            root = str(packages[0].parent)
            os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
            cpus = workers or (points if points < (os.cpu_count() or 1) else None)  # None: Ray knows limits of containers
            ray.init(
                num_cpus=cpus and min(cpus, points), object_store_memory=OBJECT_STORE_BYTES, include_dashboard=False, **quiet
            )
            available = MEMORY_SHARE * psutil.virtual_memory().available
    except ConnectionError as error:
        raise ConfigError("ray_address", address, f"{CLUSTER}; one with tokens needs RAY_AUTH_MODE=token ({error})") from error
    except BaseException:
        ray.shutdown()
        raise
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, at_termination)  # Ray's own handler exits without a word
    return ray, available


def _weight(point: Point) -> tuple[int, int]:
    config = point.config
    return -config.conns, -(config.org.cores or config.machine.cores)
