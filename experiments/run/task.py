"""The task of a worker: compile once per machine and version, then simulate. Imports nothing but the simulator."""

import fcntl
import sys
from collections.abc import Generator
from pathlib import Path

import numba

from netstack.sim import SimulationConfig, cache_folder, model_version, prepare, simulate


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
    with (_marker(windows).parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_compiled(windows=windows):
            prepare(windows=windows)
            _marker(windows).touch()


def is_compiled(*, windows: bool = False) -> bool:
    """Return whether these sources were compiled on this machine with this Python and this Numba."""
    interpreted = numba.config.DISABLE_JIT  # pyright: ignore[reportAttributeAccessIssue]
    return bool(interpreted) or _marker(windows).exists()


def _marker(windows: bool) -> Path:
    """Return the file that says so, in the folder of the code that these sources compile to."""
    name = f"compiled-{sys.implementation.cache_tag}-numba-{numba.__version__}"
    return cache_folder("sim") / (f"{name}-windows" if windows else name)
