"""What a store of runs takes and gives, whichever way it is reached. Knows no MLflow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

Series = Mapping[str, Sequence[tuple[int, float]]]
"""Metrics over steps."""


def page_of(experiment_id: str | int) -> str:
    """Return the page of an experiment's runs, below the address of MLflow's server."""
    return f"#/experiments/{experiment_id}/runs"


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

    def end(self, run_id: str, status: str, files: Sequence[Path], tags: Mapping[str, str]) -> None:
        """Attach files to a run, PNG figures as images too, set tags, and end it."""
        ...

    def tag_experiment(self, key: str, value: str) -> None:
        """Set a tag of the experiment that all runs belong to."""
        ...

    @property
    def page(self) -> str:
        """The page of the experiment's runs, below the address of MLflow's server."""
        ...

    def delete(self, run_id: str) -> None:
        """Mark a run as deleted."""
        ...

    def write(self, records: Sequence[RunRecord]) -> None:
        """Write whole runs."""
        ...
