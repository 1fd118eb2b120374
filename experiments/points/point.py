"""Points of a sweep: frozen configurations with fingerprints and folders, and their outcomes.

Knows no tracking and no Ray.
"""

import errno
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from experiments.config.values import config_json, config_text, is_number, plain_values
from experiments.points.folders import keep_folder, writing
from experiments.points.names import PointName
from experiments.points.provenance import provenance
from netstack.sim import Result, SimulationConfig, model_version

CONFIG, PROVENANCE = "config.yaml", "provenance.json"
IDENTITY, DIGEST = "fingerprint", "result.sha256"
"""What is kept beside the origin of a result: of which point it is, and the digest of its file."""
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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
        text = f"[{config_json(self.config)}, {json.dumps(model_version())}]"
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def label(self) -> str:
        """The name of the point, different from all others of its sweep."""
        return self.name.label

    @property
    def folder(self) -> Path:
        """Where the finished point is kept: ``config.yaml``, ``result.json`` and ``provenance.json``."""
        return folder_of_points(self.output_dir) / self.fingerprint[:16]

    @property
    def result_file(self) -> Path:
        """The result as JSON."""
        return self.folder / "result.json"

    @property
    def failure_file(self) -> Path:
        """Why the point failed when it last ran. It is deleted when the point is finished."""
        return self.output_dir / "failures" / f"{self.fingerprint[:16]}.txt"

    @property
    def is_finished(self) -> bool:
        """Whether the point was finished before."""
        return self.load() is not None

    def load(self) -> Result | None:
        """Return the result if the point was finished before: all of its files are there and whole."""
        result, _ = self._kept()
        return result

    def provenance(self) -> dict[str, str]:
        """Return what a finished point was computed by."""
        known = _read_provenance((self.folder / PROVENANCE).read_text(encoding="utf-8"))
        return {name: value for name, value in known.items() if name not in (IDENTITY, DIGEST)}

    def save(self, result: Result) -> None:
        """Keep the result. Raises UnwritableError when it cannot be kept."""
        text = result.to_json()
        known = {**provenance(), IDENTITY: self.fingerprint, DIGEST: _digest(text)}
        files = {
            CONFIG: config_text(self.config),
            PROVENANCE: json.dumps(known, indent=2) + "\n",
            self.result_file.name: text,
        }
        self.set_aside()
        keep_folder(self.folder, files)
        self.failure_file.unlink(missing_ok=True)

    def set_aside(self) -> str:
        """Move the folder of a point away that is not whole; return a line that says so, nothing if there is none.

        Raises:
            UnwritableError: It cannot be moved.
        """
        _, damage = self._kept()
        if not damage:
            return ""
        name = self.folder.name
        with writing(self.folder):
            (self.output_dir / "damaged").mkdir(exist_ok=True)
            number = next(each for each in count(1) if not (self.output_dir / "damaged" / f"{name}-{each}").exists())
            place = self.folder.rename(self.output_dir / "damaged" / f"{name}-{number}")
        return f"{self.label}: {self.folder / damage}; it is now in {place}, and the point is run again"

    def _kept(self) -> tuple[Result | None, str]:
        """Return the result, or which file is not whole and why; neither if the point was never kept.

        A full disk, a loss of power or somebody's hand may leave such a folder. This decides for all others whether a point is
        finished.
        """
        if not self.folder.exists():
            return None, ""
        texts: dict[str, str] = {}
        read: dict[str, Any] = {}
        for name, reader in _FILES.items():
            try:
                texts[name] = (self.folder / name).read_text(encoding="utf-8")
                if not texts[name].strip("\0\n "):
                    return None, f"{name} is empty"
                read[name] = reader(texts[name])
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return None, f"{name} is missing"
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise
                return None, f"{name} is a link to itself"
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                return None, f"{name} is cut off or damaged"
        if not self._is_configuration(texts[CONFIG]):
            return None, f"{CONFIG} is another configuration than that of the point"
        known = read[PROVENANCE]
        if known.get(IDENTITY, self.fingerprint) != self.fingerprint:
            return None, f"{PROVENANCE} is of another point"
        text, result = texts[self.result_file.name], read[self.result_file.name]
        if known.get(DIGEST, _digest(text)) != _digest(text):  # folders of earlier versions have none
            return None, f"{self.result_file.name} is not what was kept: of another point, or changed"
        return result, ""

    def _is_configuration(self, text: str) -> bool:
        """Return whether a text is the point's configuration, however it is set."""
        try:
            return text == config_text(self.config) or yaml.load(text, LOADER) == self.values
        except (yaml.YAMLError, ValueError, RecursionError):
            return False

    def save_failure(self, details: str) -> None:
        """Keep why the point failed. Raises UnwritableError when that cannot be written."""
        with writing(self.failure_file):
            self.failure_file.parent.mkdir(parents=True, exist_ok=True)
            self.failure_file.write_text(f"{self.label}\n{details}\n", encoding="utf-8")


def _read_provenance(text: str) -> dict[str, str]:
    """Return where a result comes from. Raises ValueError for what says nothing about it."""
    known = json.loads(text)
    if not known or not isinstance(known, dict) or not all(isinstance(value, str) for value in known.values()):
        raise ValueError("names and values must be given")
    return known


def _read_result(text: str) -> Result:
    """Return a result. Raises what `Result.from_json` raises, and ValueError for a value that is no text and no finite number."""
    result = Result.from_json(text)
    values = asdict(result)
    for name in [declared.name for declared in fields(Result) if declared.type is str]:
        if not isinstance(values.pop(name), str):
            raise ValueError(f"{name} must be text")
    for value in _leaves(values):
        if not (is_number(value) or isinstance(value, bool)) or not math.isfinite(value):
            raise ValueError(f"all values must be finite numbers, and one is {value!r}")
    return result


def _leaves(value: Any) -> Iterator[Any]:
    """Yield the values in nested ones."""
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _leaves(each)
    else:
        yield value


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


_FILES: dict[str, Callable[[str], object]] = {
    CONFIG: str,
    PROVENANCE: _read_provenance,
    "result.json": _read_result,
}
"""Files of a finished point, and how they are read; the result is the last one."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of a point: a result, or why there is none, in one line and in full."""

    point: Point
    result: Result | None
    failure: str = ""
    details: str = ""
    done_before: bool = False

    @classmethod
    def of_error(cls, point: Point, error: BaseException, details: str) -> "Outcome":
        """Return the outcome of a point that raised."""
        return cls(point, None, f"{type(error).__name__}: {error}".splitlines()[0], details)


def folder_of_points(output_dir: Path) -> Path:
    """Return where the finished points of all sweeps are kept."""
    return output_dir / "points"


def sweep_id(points: Sequence[Point], more: str = "") -> str:
    """Return a name of a set of points, and of what `more` is run. The same sweep launched again has the same name."""
    digests = [*sorted(point.fingerprint for point in points), *filter(None, [more])]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:16]
