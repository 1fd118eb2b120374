"""What a store of runs takes and gives, whichever way it is reached. Knows no MLflow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

Series = Mapping[str, Sequence[tuple[int, float]]]
"""Metrics over steps."""


@dataclass(frozen=True)
class RunRecord:
    """All that a run will hold. `status` is FINISHED or FAILED; `texts` are artifacts beside the files of `folder`."""

    name: str
    status: str
    tags: Mapping[str, str]
    parameters: Mapping[str, str]
    metrics: Mapping[str, float] = field(default_factory=dict)
    series: Series = field(default_factory=dict)
    folder: Path | None = None
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FoundRun:
    """A run that is in the store."""

    run_id: str
    status: str
    tags: Mapping[str, str]


class Store(Protocol):
    """The runs of one experiment in MLflow."""

    def search(self, tags: Mapping[str, str]) -> list[FoundRun]:
        """Return the runs that have these tags and are not deleted, the newest first."""
        ...

    def create(self, name: str, tags: Mapping[str, str]) -> str:
        """Create a run, which is RUNNING; return its identity."""
        ...

    def resume(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run, and make it RUNNING again."""
        ...

    def end(self, run_id: str, status: str, files: Sequence[Path]) -> None:
        """Attach files to a run, and end it."""
        ...

    def delete(self, run_id: str) -> None:
        """Mark a run as deleted."""
        ...

    def write(self, record: RunRecord) -> None:
        """Write a whole run."""
        ...
