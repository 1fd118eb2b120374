"""The logbook of a sweep: a writer beside the simulation that waits for a store that is away.

Knows what to log, not how MLflow keeps it.
"""

import fcntl
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from experiments.config.schema import TrackingConfig
from experiments.points.folders import UnwritableError
from experiments.points.point import Outcome
from experiments.store.address import database_file, tracking_uri
from experiments.store.database import check_database
from experiments.store.describe import Description
from experiments.store.refusals import may_pass
from experiments.store.runs import Tracker
from experiments.store.server import check_server
from netstack.errors import ConfigError

LONGEST_PAUSE_SECONDS = 5.0  # between two tries to reach a store that is away
MOST_AT_ONCE = 50  # points that wait and are written together: a database takes a quarter of the time for each
GATHER_SECONDS = 2.0  # that a point waits at most for others to be written with


def check_reachable(tracking: TrackingConfig, output_dir: Path) -> None:
    """Raise ConfigError when the tracking store is wanted and cannot be reached."""
    if not tracking.enabled:
        return
    uri = tracking_uri(tracking, output_dir)
    path = database_file(uri)
    if uri.startswith(("http://", "https://")):
        check_server(uri, tracking.experiment)
    elif path is not None:
        check_database(uri, path, tracking.experiment)
    else:
        raise ConfigError("tracking.uri", uri, "must begin with sqlite:///, http:// or https://")


@dataclass
class SweepEntry:
    """What a sweep tells its logbook before it ends: the points that failed, the files that it wrote, and what it is in words."""

    failed: Sequence[Outcome] = ()
    files: Sequence[Path] = ()
    description: Description | None = None


class Logbook:
    """Logs one sweep, or one point, in a thread of its own. Points never wait for MLflow, and an interrupt tears no run.

    MLflow needs seconds of a CPU to start. It does so after `begin`, when nothing more urgent waits for the CPU, or on closing.

    Args:
        tracking: Where.
        output_dir: Where the points are kept.
        tell: Is told, in a line, what MLflow refuses for good, as soon as it does.
    """

    def __init__(self, tracking: TrackingConfig, output_dir: Path, tell: Callable[[str], None] = lambda _: None) -> None:
        self._tracking, self._output_dir, self._tell = tracking, output_dir, tell
        self._thread = ThreadPoolExecutor(1, "mlflow")
        self._begun = threading.Event()
        self._hurry = threading.Event()
        self._thread.submit(self._begun.wait)
        self._tracker: Tracker | None = None
        self._waiting: deque[Outcome] = deque()
        self._enough = threading.Event()
        self._is_ending = False
        self._most_at_once = MOST_AT_ONCE
        self._away_since: float | None = None
        self._is_shut = False
        self._first_error: BaseException | None = None
        self._page: str | None = None

    def begin(self) -> None:
        """Start to write what was and will be logged."""
        self._begun.set()

    @contextmanager
    def sweep(self, sweep: str, name: str, points: int) -> Generator[SweepEntry, None, None]:
        """Make what is logged meanwhile part of a sweep, which at the end is FINISHED, FAILED or KILLED.

        Whoever ends it early, by an interrupt or with a full disk, does not wait for a store that is away.
        """
        entry = SweepEntry()
        self._thread.submit(self._open, lambda tracker, _: tracker.open_sweep(sweep, name, points))
        try:
            yield entry
        except UnwritableError:
            self._hurry.set()
            self._close_sweep("FAILED", entry)
            raise
        except Exception:
            self._close_sweep("FAILED", entry)
            raise
        except BaseException:
            self._hurry.set()
            self._close_sweep("KILLED", entry)
            raise
        self._close_sweep("FAILED" if entry.failed else "FINISHED", entry)

    def log(self, outcome: Outcome) -> None:
        """Log a point, finished or failed. It may wait for others to be written with, until the sweep ends at the latest."""
        self._waiting.append(outcome)
        if len(self._waiting) >= MOST_AT_ONCE:
            self._enough.set()
        self._thread.submit(self._gather)

    def close(self) -> None:
        """Wait until everything is written."""
        self.begin()
        self._end_gathering()
        try:
            self._thread.shutdown()
        except BaseException:  # an interrupt: what is left is written, but a store that is away is not waited for
            self._hurry.set()
            raise

    def page(self) -> str | None:
        """Return the page of the sweep's points, below the address of MLflow's server. It is known after `close`."""
        return self._page

    def failure(self) -> str | None:
        """Return why something was not logged, in one line; None if all was. It is known after `close`."""
        return _in_a_line(self._first_error) if self._first_error is not None else None

    def _gather(self) -> None:
        """Write the points that wait, when they are enough, have waited long enough, or are the last."""
        if not self._waiting:
            return
        if not self._is_ending:
            self._enough.wait(GATHER_SECONDS)
        self._write(self._log_waiting)
        self._enough.clear()
        if self._is_ending or len(self._waiting) >= MOST_AT_ONCE:
            self._enough.set()

    def _end_gathering(self) -> None:
        """Write what waits at once from now on."""
        self._is_ending = True
        self._enough.set()

    def _log_waiting(self, tracker: Tracker, again: bool) -> None:
        """Log the points that wait. If some of them are refused for good together, each is tried alone.

        Those that come meanwhile are left to the next time, when more of them are together.
        """
        left = len(self._waiting)
        while left:
            together = list(islice(self._waiting, min(left, self._most_at_once)))
            try:
                tracker.log(together, again)
            except Exception as error:
                if may_pass(error) and self._is_patient():
                    raise
                if len(together) > 1:
                    self._most_at_once = 1
                    again = True
                    continue
                self._refuse(error)
            for _ in together:
                self._waiting.popleft()
            left -= len(together)

    def _refuse(self, error: Exception) -> None:
        """Remember that something is not logged. The first time it is told."""
        if self._first_error is None:
            self._tell(f"MLflow: {_in_a_line(error)}; the sweep goes on")
        self._first_error = self._first_error or error

    def _close_sweep(self, status: str, entry: SweepEntry) -> None:
        def close(tracker: Tracker, _: bool) -> None:
            self._page = tracker.close_sweep(status, entry.files, entry.description)

        self._end_gathering()
        self._submit(close)

    def _submit(self, action: Callable[[Tracker, bool], None]) -> None:
        self._thread.submit(self._write, action)

    def _open(self, action: Callable[[Tracker, bool], None]) -> None:
        """Write what all that follows belongs to. Without it nothing is written: the next launch would not find it."""
        self._write(action)
        self._is_shut = self._first_error is not None

    def _write(self, action: Callable[[Tracker, bool], None]) -> None:
        """Write one thing. While the store is away it is tried again, for as long as the store may be away."""
        if self._is_shut:
            return
        again = False
        pause_seconds = 0.1
        while True:
            try:
                with self._alone():
                    if self._tracker is None:
                        self._tracker = Tracker(self._tracking, self._output_dir)
                    action(self._tracker, again)
                self._away_since = None
                return
            except Exception as error:
                if not (may_pass(error) and self._is_patient()):
                    self._refuse(error)
                    return
            again = True
            self._hurry.wait(pause_seconds)
            pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)

    def _is_patient(self) -> bool:
        """Return whether the store, which is away, may come back in time."""
        now = time.monotonic()
        self._away_since = self._away_since or now
        return now - self._away_since < self._tracking.patience_s and not self._hurry.is_set()

    @contextmanager
    def _alone(self) -> Generator[None, None, None]:
        """Hold the lock of the database file, for which other processes wait."""
        path = database_file(tracking_uri(self._tracking, self._output_dir))
        if path is None:
            yield
            return
        with path.with_name(f"{path.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                path.touch()  # SQLite itself would keep the group out, whatever the folder is
            yield


class NoLogbook:
    """A logbook that writes nothing."""

    def begin(self) -> None:
        """Do nothing."""

    @contextmanager
    def sweep(self, sweep: str, name: str, points: int) -> Generator[SweepEntry, None, None]:
        """Take what a sweep tells, and drop it."""
        yield SweepEntry()

    def log(self, outcome: Outcome) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def page(self) -> str | None:
        """Return None: there is no page."""
        return None

    def failure(self) -> str | None:
        """Return None: nothing was refused."""
        return None


def _in_a_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def logbook_for(tracking: TrackingConfig, output_dir: Path, tell: Callable[[str], None] = lambda _: None) -> Logbook | NoLogbook:
    """Return a logbook, or one that writes nothing where tracking is not enabled."""
    return Logbook(tracking, output_dir, tell) if tracking.enabled else NoLogbook()
