"""Points of a sweep: frozen configurations, their fingerprints, and the folders that keep their results.

A folder is named by its point's fingerprint and appears whole or not at all. Knows no tracking and no Ray.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from experiments.naming import PointName
from experiments.provenance import provenance
from netstack.engine import Result, SimulationConfig, source_digest
from netstack.errors import ConfigError


@dataclass(frozen=True)
class Point:
    """One configuration to simulate, what it is called, and where outputs go."""

    config: SimulationConfig
    name: PointName
    output_dir: Path

    @cached_property
    def values(self) -> dict:
        """The configuration as plain nested values."""
        return dataclasses.asdict(self.config)

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
        """Keep the result: the folder is complete when it appears."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=self.folder.parent, prefix=".unfinished-"))
        try:
            (staging / "config.yaml").write_text(yaml.safe_dump(self.values, sort_keys=False))
            (staging / "provenance.json").write_text(json.dumps(provenance(), indent=2) + "\n")
            (staging / "result.json").write_text(result.to_json())
            staging.chmod(0o755)
            staging.rename(self.folder)
        except OSError:
            if not self.result_file.exists():  # else another process finished the same point
                raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        self.failure_file.unlink(missing_ok=True)

    def save_failure(self, details: str) -> None:
        """Keep why the point failed."""
        self.failure_file.parent.mkdir(parents=True, exist_ok=True)
        self.failure_file.write_text(f"{self.label}\n{details}\n")


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
