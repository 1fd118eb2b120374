"""The traces of a sweep's points: which may be asked for, and where they are written."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.points.folders import writing
from experiments.points.point import Point
from experiments.trace.chrome import write_trace
from netstack.errors import ConfigError
from netstack.sim import trace

FOLDER = "traces"
MOST_POINTS = 32


@dataclass(frozen=True)
class TraceSettings:
    """What is traced of each point: so many ms from a simulated time on."""

    from_ms: float
    length_ms: float


def check_traces(points: Sequence[Point]) -> None:
    """Raise ConfigError for points that cannot be traced, or too many."""
    if len(points) > MOST_POINTS:
        raise ConfigError("trace", "chrome", f"is for {MOST_POINTS} points at most, and there are {len(points)}")
    for point in points:
        window_us = point.config.engine.window_us
        if window_us > 0:
            raise ConfigError("engine.window_us", window_us, "must be 0 with trace=chrome, which has the exact order of events")


def write_traces(points: Sequence[Point], settings: TraceSettings, say: Callable[[str], None]) -> list[Path]:
    """Record the points once more up to the end of their traces, and write a file each; return the files."""
    files = []
    for point in points:
        recording = trace(point.config, settings.from_ms, settings.length_ms)
        path = point.output_dir / FOLDER / f"{re.sub(r'[^a-z0-9_]+', '-', point.label)}-{point.fingerprint[:8]}.json"
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_trace(path, recording, {"point": point.label, "fingerprint": point.fingerprint})
        files.append(path)
        say(f"trace:   {path} ({point.label})")
        if recording.is_cut_off:
            say(f"         cut off after {len(recording.records):,} records of {recording.wanted:,}: give a smaller trace_ms")
    return files
