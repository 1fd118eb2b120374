"""Points of a sweep: frozen configurations, their fingerprints, and the folders that keep their results.

A folder is named by its point's fingerprint and appears whole or not at all, also when the power fails. Knows no tracking and
no Ray.
"""

import hashlib
import json
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psutil

from experiments.points.names import PointName, config_text, plain_values
from experiments.points.provenance import provenance
from netstack.errors import ConfigError
from netstack.sim import Result, SimulationConfig, source_digest

UNFINISHED = ".unfinished-"


class UnwritableError(Exception):
    """A file of a point cannot be written; nothing that comes after it could be kept either."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(path, error)
        self.path, self.error = path, error

    def __str__(self) -> str:
        return f"{self.path} cannot be written ({self.error.strerror or self.error})"


@dataclass(frozen=True)
class Point:
    """One configuration to simulate, what it is called, and where outputs go."""

    config: SimulationConfig
    name: PointName
    output_dir: Path

    @property
    def values(self) -> dict:
        """The configuration as plain nested values."""
        return plain_values(self.config)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the configuration and the model's version: equal fingerprints mean equal results."""
        text = json.dumps([self.values, source_digest()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def label(self) -> str:
        """What tells the point from others of its sweep at a glance."""
        return self.name.label

    @property
    def folder(self) -> Path:
        """Where the finished point is kept: ``config.yaml``, ``result.json`` and ``provenance.json``."""
        return self.output_dir / "points" / self.fingerprint[:16]

    @property
    def result_file(self) -> Path:
        """The result as JSON."""
        return self.folder / "result.json"

    @property
    def failure_file(self) -> Path:
        """Why the point failed when it last ran; gone once it is finished."""
        return self.output_dir / "failures" / f"{self.fingerprint[:16]}.txt"

    def load(self) -> Result | None:
        """Return the result if the point was finished before."""
        try:
            return Result.from_json(self.result_file.read_text())
        except FileNotFoundError:
            return None

    def provenance(self) -> dict[str, str]:
        """Return what a finished point was computed by."""
        return json.loads((self.folder / "provenance.json").read_text())

    def save(self, result: Result) -> None:
        """Keep the result: the folder is complete, and on the disk, when it appears.

        Raises:
            UnwritableError: It cannot be kept, for example because the disk is full.
        """
        if self.result_file.exists():  # another process finished the same point
            return
        staging = None
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(dir=self.folder.parent, prefix=f"{UNFINISHED}{_owner(os.getpid())}-"))
            _write_durably(staging / "config.yaml", config_text(self.config))
            _write_durably(staging / "provenance.json", json.dumps(provenance(), indent=2) + "\n")
            _write_durably(staging / "result.json", result.to_json())
            staging.chmod(0o755)
            _sync(staging)
            staging.rename(self.folder)
            _sync(self.folder.parent)
        except OSError as error:
            if not self.result_file.exists():
                raise UnwritableError(self.folder, error) from error
        finally:
            if staging is not None:
                shutil.rmtree(staging, ignore_errors=True)
        self.failure_file.unlink(missing_ok=True)

    def save_failure(self, details: str) -> None:
        """Keep why the point failed. Raises UnwritableError when that cannot be written."""
        try:
            self.failure_file.parent.mkdir(parents=True, exist_ok=True)
            self.failure_file.write_text(f"{self.label}\n{details}\n")
        except OSError as error:
            raise UnwritableError(self.failure_file, error) from error


@dataclass(frozen=True)
class Outcome:
    """What became of a point: a result, or the reason why there is none, in one line and in full."""

    point: Point
    result: Result | None
    failure: str = ""
    details: str = ""
    done_before: bool = False

    @classmethod
    def of_error(cls, point: Point, error: BaseException, details: str) -> "Outcome":
        """Return the outcome of a point that raised."""
        return cls(point, None, f"{type(error).__name__}: {error}".splitlines()[0], details)


def sweep_id(points: Sequence[Point]) -> str:
    """Return a name of the set of points: the same sweep launched again has the same name."""
    digests = sorted(point.fingerprint for point in points)
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:16]


def check_output_dir(output_dir: Path) -> None:
    """Create the output folder. Raises ConfigError when it cannot be written."""
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=output_dir, prefix=".writable-")
        os.close(descriptor)
        Path(name).unlink()
    except OSError as error:
        raise ConfigError("output_dir", output_dir, f"must be a folder that can be written ({error.strerror})") from error


def output_id(output_dir: Path) -> str:
    """Return the identity of an output folder, which it keeps wherever it is moved; it gets one when first asked."""
    path = output_dir / "identity"
    if not path.exists():
        output_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=output_dir, prefix=".identity-") as file:
            file.write(uuid.uuid4().hex)
            file.flush()
            os.fsync(file.fileno())
            with suppress(FileExistsError):  # another process was faster
                os.link(file.name, path)
    return path.read_text()


def remove_unfinished(output_dir: Path) -> None:
    """Delete what processes of this host left in the folder of points when they were killed."""
    for path in (output_dir / "points").glob(f"{UNFINISHED}*"):
        host_and_process = path.name.removeprefix(UNFINISHED).rsplit("-", 1)[0]
        process = host_and_process.rsplit("-", 1)[-1]
        if process.isdecimal() and host_and_process == _owner(int(process)) and not psutil.pid_exists(int(process)):
            shutil.rmtree(path, ignore_errors=True)


def _owner(process: int) -> str:
    return f"{socket.gethostname()}-{process}"


def _write_durably(path: Path, text: str) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Wait until the disk has a folder's entries."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
