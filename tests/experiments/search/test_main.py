"""The command: what it asks for, writes and refuses."""

from pathlib import Path

import pytest
import yaml

from experiments import sweep
from experiments.config.command_line import BAD_INPUT
from experiments.points.point import Outcome
from experiments.search.__main__ import main, read_request
from experiments.search.report import BEST, EFFECTS, FIGURE, RANKING, TABLES
from netstack.sim import simulate
from netstack.sim.organization.config import OrganizationConfig

SMALL = ("conns=6", "engine.warmup_ms=1", "engine.measure_ms=1", "choices=lookup,groups")


def local(points, _workers, _ray, _show):
    """Stand in for Ray: simulate in this process."""
    for point in points:
        yield Outcome(point, simulate(point.config))


def test_a_search_writes_what_it_found_and_runs_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(sweep, "simulate_on_ray", local)
    given = [*SMALL, f"output_dir={tmp_path}", "tracking=none"]
    assert main(given) == 0
    said = capsys.readouterr().out
    assert "12 compositions of lookup (4), groups (3) are not refused; all are run" in said
    assert "is best" in said
    (folder,) = (tmp_path / "sweeps").iterdir()
    assert {FIGURE, TABLES, RANKING, EFFECTS, BEST, "points.yaml"} <= {path.name for path in folder.iterdir()}
    ranking = (folder / RANKING).read_text().splitlines()
    assert len(ranking) - 1 >= 12
    assert ranking[0].startswith("rank,organization,published,lookup,groups,goodput_mbps,goodput_mbps half width,cycles_per_kb")
    best = OrganizationConfig(**yaml.safe_load((folder / BEST).read_text()))
    best.validate(machine_cores=4)
    assert ranking[1].split(",")[3] == best.lookup
    monkeypatch.setattr(sweep, "simulate_on_ray", lambda *_: pytest.fail("all points are finished"))
    assert main(given) == 0
    assert main([*given, "--dry-run"]) == 0
    assert "0 to run" in capsys.readouterr().out


def test_given_values_are_searched_or_fixed() -> None:
    request = read_request(
        ["org.groups=4,16", "org.batch=2", "choices=lookup", "objective=cycles_per_kb", "budget=7", "seed=3,4"]
    )
    assert {key: len(values) for key, values in request.space.choices.items()} == {"lookup": 4, "groups": 2, "batch": 1}
    assert request.objectives == ("cycles_per_kb", "goodput_mbps")
    assert (request.budget.compositions, request.budget.seeds) == (7, (3, 4))
    assert {"up", "msgp", "connp_l"} <= {config.org.name for config in request.published}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["conns"], "must be KEY=VALUE"),
        (["conns=6,192"], "conns=6,192: must be one value"),
        (["objective=speed"], "objective=speed: allowed are goodput_mbps"),
        (["objective=p99_us"], "needs a workload with requests"),
        (["objective=goodput_mbps,goodput_mbps"], "two different ones"),
        (["choices=speed"], "choices=speed: allowed are dispatch"),
        (["org.serialize=magic"], "org.serialize=magic: allowed are none"),
        (["org.groups=many"], "org.groups=many: must be of type"),
        (["org.serialise=none"], "did you mean org.serialize?"),
        (["budget=0"], "budget=0: must be a whole number from 1"),
        (["budget=many"], "budget=many: must be a whole number"),
        (["sampler=best"], "sampler=best: allowed are auto, full, tpe"),
        (["org.serialize=group_thread", "org.lookup=rcu", "choices="], "the last one was refused"),
        (["seed=x"], "seed=x: must be whole numbers"),
        (["machine=pdp11"], "machine=pdp11"),
        (["conns=0"], "conns=0: must be a whole number from 1"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_a_line(given: list[str], said: str, tmp_path: Path, capsys) -> None:
    assert main([*given, f"output_dir={tmp_path / 'outputs'}"]) == BAD_INPUT
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert not (tmp_path / "outputs").exists()
