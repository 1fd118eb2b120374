"""Launching sweeps as a user does, in this process, and reading what they leave on the disk and in MLflow."""

import json
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

import run

SHORT = ["engine.warmup_ms=3", "engine.measure_ms=5"]


def launch(monkeypatch: pytest.MonkeyPatch, output_dir: Path, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["run.py", f"output_dir={output_dir}", *SHORT, *arguments])
    return run.main()


def results(output_dir: Path) -> dict[str, dict]:
    """Return all results by point, without wall times."""
    found = {}
    for path in sorted((output_dir / "points").glob("[!.]*/result.json")):
        values = json.loads(path.read_text())
        found[path.parent.name] = {name: value for name, value in values.items() if not name.startswith("wall_")}
    return found


def logged(output_dir: Path, uri: str | None = None) -> tuple[MlflowClient, list[Run], list[Run]]:
    """Return a client, the parent runs and the other runs of a default store, or of another."""
    client = MlflowClient(uri or f"sqlite:///{output_dir}/mlflow.db")
    experiment = client.get_experiment_by_name("network-stack-parallelization")
    assert experiment is not None
    runs = list(client.search_runs([experiment.experiment_id]))
    parents = [entry for entry in runs if "sweep.parent" in entry.data.tags]
    return client, parents, [entry for entry in runs if entry not in parents]
