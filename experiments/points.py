"""Points of a sweep: frozen configurations, their fingerprints, and the folders that keep their results.

A folder is named by its point's fingerprint and appears whole or not at all. Knows no tracking and no Ray.
"""

import dataclasses
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from netstack.engine import Result, SimulationConfig, source_digest
from netstack.errors import ConfigError


@dataclass(frozen=True)
class Point:
    """One configuration to simulate, and where outputs go."""

    config: SimulationConfig
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
        """What tells the point from others at a glance."""
        return f"{self.config.org.name} conns={self.config.conns}"

    @property
    def folder(self) -> Path:
        """Where the point's result is kept."""
        return self.output_dir / "points" / self.fingerprint[:16]

    @property
    def result_file(self) -> Path:
        """The result as JSON."""
        return self.folder / "result.json"

    @property
    def config_file(self) -> Path:
        """The configuration that was simulated."""
        return self.folder / "config.yaml"

    def load(self) -> Result | None:
        """Return the result if the point was finished before."""
        try:
            return Result.from_json(self.result_file.read_text())
        except FileNotFoundError:
            return None

    def save(self, result: Result) -> None:
        """Keep the result: the folder is complete when it appears."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=self.folder.parent, prefix=".unfinished-"))
        (staging / "config.yaml").write_text(yaml.safe_dump(self.values, sort_keys=False))
        (staging / "result.json").write_text(result.to_json())
        try:
            staging.rename(self.folder)
        except OSError:  # another process finished the same point
            for path in staging.iterdir():
                path.unlink()
            staging.rmdir()


def flattened(values: dict, prefix: str = "") -> dict[str, object]:
    """Return nested values under dotted keys; lists are kept as text."""
    flat: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat.update(flattened(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat


def sweep_id(points: list[Point]) -> str:
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
