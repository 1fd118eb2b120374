"""A sweep ends in its logbook as it ended, and one without a store writes nothing."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from experiments.config.schema import TrackingConfig
from experiments.points.folders import UnwritableError
from experiments.points.names import PointName
from experiments.points.point import Outcome, Point
from experiments.store import logbook as module
from experiments.store.logbook import Logbook, NoLogbook, check_reachable, logbook_for
from netstack.errors import ConfigError
from netstack.sim import SimulationConfig


class Tracker:
    """Takes the place of MLflow: remembers what was written, and refuses what it is told to."""

    written: ClassVar[list[tuple]] = []
    refused: ClassVar[Exception | None] = None

    def __init__(self, tracking: TrackingConfig, output_dir: Path) -> None:
        pass

    def _write(self, *what: object) -> None:
        if self.refused is not None:
            raise self.refused
        self.written.append(what)

    def open_sweep(self, sweep: str, name: str, points: int) -> None:
        self._write("open", sweep, name, points)

    def log(self, outcomes: Sequence[Outcome], again: bool = False) -> None:
        self._write("log", *(outcome.point.config.conns for outcome in outcomes))

    def close_sweep(self, status: str, files: list[Path], _: object) -> None:
        self._write("close", status, files)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    monkeypatch.setattr(Tracker, "written", [])
    monkeypatch.setattr(module, "Tracker", Tracker)
    return Tracker.written


@pytest.fixture
def outcome(tmp_path: Path) -> Outcome:
    return Outcome(Point(SimulationConfig(conns=6), PointName("up", "conns", 6), tmp_path), None, "made up")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "FINISHED"),
        (ValueError("ours"), "FAILED"),
        (UnwritableError(Path("x"), OSError("full")), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (SystemExit(), "KILLED"),
    ],
)
def test_a_sweep_ends_as_it_ended(error: BaseException | None, status: str, written: list[tuple], tmp_path: Path) -> None:
    def sweep() -> None:
        with closing(Logbook(TrackingConfig(), tmp_path)) as logbook, logbook.sweep("abc", "up", 2) as entry:
            entry.files = [tmp_path / "summary.csv"]
            if error is not None:
                raise error

    if error is None:
        sweep()
    else:
        with pytest.raises(type(error)):
            sweep()
    assert written == [("open", "abc", "up", 2), ("close", status, [tmp_path / "summary.csv"])]


def test_a_sweep_with_a_failed_point_has_failed(written: list[tuple], outcome: Outcome, tmp_path: Path) -> None:
    with closing(Logbook(TrackingConfig(), tmp_path)) as logbook, logbook.sweep("abc", "up", 1) as entry:
        logbook.log(outcome)
        entry.failed = [outcome]
    assert written == [("open", "abc", "up", 1), ("log", 6), ("close", "FAILED", ())]
    assert logbook.failure() is None


@pytest.mark.parametrize("error", [UnwritableError(Path("x"), OSError("full")), KeyboardInterrupt()])
def test_whoever_ends_early_does_not_wait_for_a_store_that_is_away(
    error: BaseException, written: list[tuple], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test would take the patience of ten minutes."""
    monkeypatch.setattr(Tracker, "refused", ConnectionRefusedError("away"))
    logbook = Logbook(TrackingConfig(patience_s=600), tmp_path)
    with pytest.raises(type(error)), closing(logbook), logbook.sweep("abc", "up", 1):
        raise error
    assert written == []
    assert logbook.failure() == "ConnectionRefusedError: away"


def test_what_is_refused_for_good_is_told_at_once_and_nothing_is_logged_without_its_sweep(
    written: list[tuple], outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A point without its sweep would be logged a second time by the next launch. The test would take ten minutes' patience."""
    told: list[str] = []
    monkeypatch.setattr(Tracker, "refused", PermissionError(13, "Permission denied"))
    with closing(Logbook(TrackingConfig(patience_s=600), tmp_path, told.append)) as logbook, logbook.sweep("abc", "up", 1):
        logbook.begin()
        while not told:
            time.sleep(0.01)
        monkeypatch.setattr(Tracker, "refused", None)
        logbook.log(outcome)
    assert told == ["MLflow: PermissionError: [Errno 13] Permission denied; the sweep goes on"]
    assert written == []
    assert logbook.failure() == "PermissionError: [Errno 13] Permission denied"


def test_an_interrupt_while_the_rest_is_written_does_not_wait(
    written: list[tuple], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tracker, "refused", ConnectionRefusedError("away"))
    logbook = Logbook(TrackingConfig(patience_s=600), tmp_path)
    with logbook.sweep("abc", "up", 1):
        pass
    thread = logbook._thread
    with monkeypatch.context() as patch:
        patch.setattr(thread, "shutdown", lambda: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            logbook.close()
    thread.shutdown()
    assert written == []


def test_without_tracking_nothing_is_written(written: list[tuple], outcome: Outcome, tmp_path: Path) -> None:
    made = logbook_for(TrackingConfig(enabled=False), tmp_path / "outputs")
    assert isinstance(made, NoLogbook)
    with closing(made) as logbook, logbook.sweep("abc", "up", 1) as entry:
        logbook.begin()
        logbook.log(outcome)
        entry.failed, entry.files = [outcome], [tmp_path]
    assert logbook.failure() is None
    assert written == []
    assert list(tmp_path.iterdir()) == []
    assert {name for name in vars(Logbook) if not name.startswith("_")} == {n for n in vars(NoLogbook) if not n.startswith("_")}


def test_a_store_is_asked_for_only_when_it_is_wanted(tmp_path: Path) -> None:
    check_reachable(TrackingConfig(enabled=False, uri="ftp://somewhere"), tmp_path)
    with pytest.raises(ConfigError, match="must begin with sqlite"):
        check_reachable(TrackingConfig(uri="ftp://somewhere"), tmp_path)


def points_of(outcome: Outcome, conns: Sequence[int]) -> list[Outcome]:
    return [replace(outcome, point=replace(outcome.point, config=SimulationConfig(conns=each))) for each in conns]


def test_points_that_wait_are_written_together(written: list[tuple], outcome: Outcome, tmp_path: Path) -> None:
    """Some at a time, in their order, and the sweep ends after them."""
    count = module.MOST_AT_ONCE + 10
    with closing(Logbook(TrackingConfig(), tmp_path)) as logbook, logbook.sweep("abc", "up", count):
        for each in points_of(outcome, range(1, count + 1)):
            logbook.log(each)
    first, second = range(1, module.MOST_AT_ONCE + 1), range(module.MOST_AT_ONCE + 1, count + 1)
    assert written == [("open", "abc", "up", count), ("log", *first), ("log", *second), ("close", "FINISHED", ())]
    assert logbook.failure() is None


def test_points_that_come_one_by_one_are_written_together(
    written: list[tuple], outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that come while others are written. The last ones do not wait for more."""
    log = Tracker.log

    def log_slowly(self: Tracker, outcomes: Sequence[Outcome], again: bool = False) -> None:
        time.sleep(0.02)
        log(self, outcomes, again)

    monkeypatch.setattr(Tracker, "log", log_slowly)
    monkeypatch.setattr(module, "GATHER_SECONDS", 60)
    most = module.MOST_AT_ONCE
    points = points_of(outcome, range(1, 3 * most + 3))
    started_s = time.monotonic()
    with closing(Logbook(TrackingConfig(), tmp_path)) as logbook, logbook.sweep("abc", "up", len(points)):
        logbook.begin()
        for each in points:
            logbook.log(each)
            time.sleep(0.002)
    assert time.monotonic() - started_s < module.GATHER_SECONDS
    logged = [many for kind, *many in written if kind == "log"]
    assert [each for many in logged for each in many] == list(range(1, 3 * most + 3))
    assert min(len(many) for many in logged[:-2]) >= most // 2  # the last ones are what came before the end, and after it
    assert len(logged) <= 5


def await_writes(written: list[tuple], count: int) -> None:
    ends_s = time.monotonic() + 10
    while len(written) < count and time.monotonic() < ends_s:
        time.sleep(0.01)


def test_a_point_is_written_in_time_though_no_other_comes(
    written: list[tuple], outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GATHER_SECONDS", 0.05)
    with closing(Logbook(TrackingConfig(), tmp_path)) as logbook, logbook.sweep("abc", "up", 2):
        logbook.begin()
        logbook.log(outcome)
        await_writes(written, 2)
        assert written[1:] == [("log", 6)]


def test_an_interrupt_loses_no_point_that_waits(written: list[tuple], outcome: Outcome, tmp_path: Path) -> None:
    def run() -> None:
        with closing(Logbook(TrackingConfig(), tmp_path)) as logbook, logbook.sweep("abc", "up", 3):
            for each in points_of(outcome, [6, 24]):
                logbook.log(each)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert written == [("open", "abc", "up", 3), ("log", 6, 24), ("close", "KILLED", ())]


def test_a_point_that_is_refused_keeps_no_other_out(
    written: list[tuple], outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Tracker.log
    tries: list[bool] = []

    def refuse_24(self: Tracker, outcomes: Sequence[Outcome], again: bool = False) -> None:
        if any(each.point.config.conns == 24 for each in outcomes):
            raise ValueError("24")
        tries.append(again)
        log(self, outcomes, again)

    monkeypatch.setattr(Tracker, "log", refuse_24)
    with closing(Logbook(TrackingConfig(), tmp_path)) as logbook, logbook.sweep("abc", "up", 3):
        for each in points_of(outcome, [6, 24, 192]):
            logbook.log(each)
    assert written[1:-1] == [("log", 6), ("log", 192)]
    assert tries == [True, True]  # what was tried together may have left something
    assert logbook.failure() == "ValueError: 24"


def test_points_that_wait_for_a_store_that_is_away_are_written_once(
    written: list[tuple], outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logbook = Logbook(TrackingConfig(patience_s=600), tmp_path)
    with closing(logbook), logbook.sweep("abc", "up", 3):
        logbook.begin()
        monkeypatch.setattr(Tracker, "refused", ConnectionRefusedError("away"))
        for each in points_of(outcome, [6, 24, 192]):
            logbook.log(each)
        time.sleep(0.3)
        monkeypatch.setattr(Tracker, "refused", None)
    logged = [conns for kind, *many in written if kind == "log" for conns in many]
    assert logged == [6, 24, 192]
    assert logbook.failure() is None
