"""A finished sweep is scored by the same command with ``targets``: nothing is simulated again."""

import csv
from pathlib import Path

import pytest

from experiments.config.command_line import BAD_INPUT
from tests.helpers.launching import launch

SWEEP = ("-m", "experiment=fastsocket", "org.cores=1", "conns=500", "seed=1", "tracking=none", "workers=1")


def test_targets_score_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    output_dir = tmp_path / "outputs"
    assert launch(monkeypatch, output_dir, *SWEEP) == 0
    (folder,) = (output_dir / "sweeps").iterdir()
    assert "No published values were given" in (folder / "report.html").read_text()
    before = {path: path.stat().st_mtime_ns for path in output_dir.glob("points/*/result.json")}
    assert len(before) == 6
    targets = tmp_path / "their figures?.yaml"
    targets.write_text("- {variant: 'nginx, Fastsocket', x: 1, statistic: request_us.mean, value: 20000}\n")
    capsys.readouterr()
    assert launch(monkeypatch, output_dir, *SWEEP, f"targets={targets}") == 0
    assert capsys.readouterr().out.count("done before") == 6
    assert {path: path.stat().st_mtime_ns for path in output_dir.glob("points/*/result.json")} == before
    assert list((output_dir / "sweeps").iterdir()) == [folder]
    assert "1 figure that was not given" in (folder / "report.html").read_text()
    with (folder / "published.csv").open() as file:
        (row,) = [row for row in csv.DictReader(file) if row["published"]]
    assert (row["variant"], row["x"], row["published"]) == ("nginx, Fastsocket", "1", "20000.0")
    assert float(row["error"]) == pytest.approx(float(row["simulated"]) / 20000 - 1)
    targets.write_text("- {variant: nginx, x: 1, statistic: request_us.mean, value: 20000}\n")
    assert launch(monkeypatch, output_dir, *SWEEP, f"targets={targets}") == BAD_INPUT
    error = capsys.readouterr().err
    assert "variant=nginx: allowed are nginx, Linux 2.6.32; nginx, Linux 3.13; nginx, Fastsocket; haproxy" in error
