"""Which engines are compiled for which points, side by side, and what is shown of it."""

import os
import sys
import time
from pathlib import Path

import pytest

from experiments.run import task
from experiments.run.task import COMPILE_SECONDS, compile_once, compiling, compiling_apart, engines_to_compile, is_compiled
from netstack.sim import EngineConfig, SimulationConfig

EXACT = SimulationConfig(conns=1)
WINDOWS = SimulationConfig(conns=1, engine=EngineConfig(window_us=5.0))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of compiled code that is empty."""
    folder = tmp_path / "sim-2"
    folder.mkdir()
    monkeypatch.setattr(task, "cache_folder", lambda part: tmp_path / f"{part}-2")
    return folder


def test_engines_of_points_that_are_not_compiled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[bool] = []
    monkeypatch.setattr(task, "prepare", lambda *, windows: prepared.append(windows))
    assert engines_to_compile([EXACT, WINDOWS, EXACT]) == [False, True]
    assert engines_to_compile([WINDOWS]) == [True]
    compile_once(windows=True)
    compile_once(windows=True)
    assert prepared == [True]
    assert engines_to_compile([EXACT, WINDOWS]) == [False]
    assert is_compiled(windows=True)
    assert not is_compiled()


def test_the_version_before_tells_how_long_it_takes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "prepare", lambda *, windows: time.sleep(1.2 if windows else 0.0))
    assert compiling([False]) == f"compiling the simulator, about {COMPILE_SECONDS:.0f} s, once per version"
    compile_once(windows=True)
    before = folder.rename(folder.with_name("sim-1"))
    folder.mkdir()
    assert compiling([True]) == "compiling the simulator, about 1 s, once per version"
    assert compiling([False, True]) == f"compiling the simulator, about {COMPILE_SECONDS:.0f} s, once per version"
    (marker,) = (path for path in before.iterdir() if path.suffix != ".lock")
    marker.write_text("")  # as an earlier release left it
    assert compiling([True]) == f"compiling the simulator, about {COMPILE_SECONDS:.0f} s, once per version"


def test_engines_are_compiled_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process leaves a file when it begins, and waits for that of the other."""
    meet = (
        "import pathlib, time\n"
        f"name, folder = '{{}}', pathlib.Path({str(tmp_path)!r})\n"
        "(folder / name).touch()\n"
        "while len(list(folder.iterdir())) < 2: time.sleep(0.01)\n"
        "(folder / ('met-' + name)).touch()\n"
    )
    monkeypatch.setattr(task, "_COMPILE", meet)
    deadline = time.monotonic() + 60
    with compiling_apart([False, True]):
        while not {"met-False", "met-True"} <= {path.name for path in tmp_path.iterdir()} and time.monotonic() < deadline:
            time.sleep(0.01)
    assert {path.name for path in tmp_path.iterdir()} == {"False", "True", "met-False", "met-True"}


def test_processes_end_with_the_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = tmp_path / "pid"
    wait = f"import os, pathlib, time; pathlib.Path({str(pid)!r}).write_text(str(os.getpid())); time.sleep(600)  # {{}}"
    monkeypatch.setattr(task, "_COMPILE", wait)
    with compiling_apart([False]):
        while not (pid.exists() and pid.read_text()):
            time.sleep(0.01)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_a_process_finds_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is started in any folder, and runs this task."""
    found = tmp_path / "found"
    program = f"from experiments.run import task; open({str(found)!r}, 'w').write(task.__file__)  # {{}}"
    monkeypatch.setattr(task, "_COMPILE", program)
    monkeypatch.chdir(tmp_path)
    with compiling_apart([True]):
        deadline = time.monotonic() + 60
        while not (found.exists() and found.read_text()) and time.monotonic() < deadline:
            time.sleep(0.01)
    assert found.read_text() == sys.modules["experiments.run.task"].__file__
