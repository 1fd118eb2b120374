"""The task of a worker: compile once per machine and version, then simulate. Imports nothing but the simulator."""

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path

import numba

from netstack.sim import SimulationConfig, cache_folder, model_version, prepare, simulate

COMPILE_SECONDS = 20.0
"""How long compiling an engine takes where nobody knows better, measured on a CPU of two GHz."""
_COMPILE = "from experiments.run.task import compile_once; compile_once(windows={})"


def run_task(config: SimulationConfig) -> Generator[str, None, None]:
    """Compile if needed, yield the version of the sources when the point begins, then its result as JSON."""
    compile_once(windows=config.engine.window_us > 0)
    yield model_version()
    yield simulate(config).to_json()


def compile_once(*, windows: bool = False) -> None:
    """Fill the on-disk cache of compiled code, once. Other workers wait for the first instead of compiling too.

    The code for `windows` is that of another engine, and is compiled when it is needed.
    """
    if is_compiled(windows=windows):
        return
    marker = _marker(windows)
    with marker.with_name(f"{marker.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_compiled(windows=windows):
            started = time.perf_counter()
            prepare(windows=windows)
            marker.write_text(f"{time.perf_counter() - started:.1f}\n")


def is_compiled(*, windows: bool = False) -> bool:
    """Return whether these sources were compiled on this machine with this Python and this Numba."""
    interpreted = numba.config.DISABLE_JIT  # pyright: ignore[reportAttributeAccessIssue]
    return bool(interpreted) or _marker(windows).exists()


def engines_to_compile(configs: Iterable[SimulationConfig]) -> list[bool]:
    """Return which engines that these points need are not compiled: for each, whether it is that of windows."""
    return [
        windows for windows in sorted({config.engine.window_us > 0 for config in configs}) if not is_compiled(windows=windows)
    ]


def compiling(engines: Collection[bool]) -> str:
    """Return what to show while engines are compiled, side by side: how long it takes, by the version before."""
    seconds = max(map(_compile_seconds, engines))
    return f"compiling the simulator, about {seconds:.0f} s, once per version"


@contextmanager
def compiling_apart(engines: Collection[bool]) -> Generator[None, None, None]:
    """Compile engines in processes of their own meanwhile. They end with the block, finished or not.

    Who needs an engine calls `compile_once`, which waits for them and tells what goes wrong.
    """
    paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    null = subprocess.DEVNULL
    processes = [
        subprocess.Popen([sys.executable, "-c", _COMPILE.format(windows)], env=environment, stdin=null, stdout=null, stderr=null)
        for windows in engines
    ]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
            process.wait()


def _compile_seconds(windows: bool) -> float:
    """Return how long compiling took the last time on this machine."""
    marker = _marker(windows)
    by_age = sorted(marker.parent.parent.glob(f"*/{marker.name}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in by_age:
        with suppress(OSError, ValueError):
            return float(path.read_text())
    return COMPILE_SECONDS


def _marker(windows: bool) -> Path:
    """Return the file that says so, in the folder of the code that these sources compile to."""
    name = f"compiled-{sys.implementation.cache_tag}-numba-{numba.__version__}"
    return cache_folder("sim") / (f"{name}-windows" if windows else name)
