"""An experiment is the union of its grids; what the command line says replaces what the file says."""

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

import run
from experiments import sweep
from experiments.config.command_line import BAD_INPUT
from experiments.config.grids import ExperimentConfig
from experiments.paper.claims import CLAIMS
from experiments.paper.verdicts import organization_label, places_of
from experiments.points.names import name_points
from experiments.points.point import Outcome, Point
from netstack.errors import ConfigError
from netstack.sim import SimulationConfig, simulate

ROOT = Path(run.__file__).resolve().parent
EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))
REPORTS = {"ablation": "ablation.md"} | dict.fromkeys(
    ("paper", "fastsocket", "irq_suspension", "linux_ablation", "why"), "report.html"
)
TINY = ["conns=6", "seed=1,2", "engine.warmup_ms=1", "engine.measure_ms=1"]


def written(folder: Path, text: str, name: str = "mine") -> list[str]:
    """Write an experiment file; return the arguments that choose it."""
    path = folder / "conf" / "experiment" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return ["--config-dir", str(folder / "conf"), f"experiment={name}"]


def launch(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["run.py", "-m", *arguments])
    return run.main()


def listed(output: str) -> list[str]:
    """Return the fingerprints that a dry run printed."""
    return [line.split()[-3] for line in output.splitlines()[:-1]]


def overrides_of(experiment: ExperimentConfig, *given: str) -> list[list[str]]:
    parser = OverridesParser.create()
    return experiment.overrides(parser.parse_overrides(list(given)), parser.parse_override)


def test_a_grid_goes_before_what_is_common_and_the_command_line_before_both() -> None:
    experiment = ExperimentConfig(
        name="mine",
        common={"seed": [1, 2], "engine.measure_ms": 7.5, "workers": None},
        grids=[{"org": "up", "conns": [6, 24]}, {"org": "connp_l", "org.groups": [4, 8], "seed": 3}],
    )
    experiment.validate()
    assert overrides_of(experiment, "conns=12,48", "workload.mbufs=9") == [
        ["org=up", "seed=1,2", "engine.measure_ms=7.5", "workers=null", "conns=12,48", "workload.mbufs=9"],
        ["org=connp_l", "org.groups=4,8", "seed=3", "engine.measure_ms=7.5", "workers=null", "conns=12,48", "workload.mbufs=9"],
    ]


def test_the_command_line_chooses_among_the_values_of_grids() -> None:
    experiment = ExperimentConfig(
        name="mine",
        common={"seed": [1, 2, 3]},
        grids=[
            {"org": "up,msgp", "conns": [6, 24], "engine.measure_ms": 5},
            {"org": "msgp", "conns": 192, "engine.measure_ms": 9},
        ],
    )
    assert overrides_of(experiment, "conns=192,6", "seed=3") == [
        ["org=up,msgp", "conns=6", "engine.measure_ms=5", "seed=3"],
        ["org=msgp", "conns=192", "engine.measure_ms=9", "seed=3"],
    ]
    assert overrides_of(experiment, "org=up", "seed=3,4") == [
        ["org=up", "conns=6,24", "engine.measure_ms=5", "seed=3,4"],
    ]
    with pytest.raises(ConfigError, match="experiment=mine: has no grid with org=up conns=192"):
        overrides_of(experiment, "org=up", "conns=192")


@pytest.mark.parametrize(
    ("given", "as_typed"),
    [
        ("org='up'", "org=up"),
        ('org="up"', "org=up"),
        ("org=choice(up)", "org=up"),
        ("org=glob(connp*)", "org=connp_l,connp_t"),
        ("conns=choice(6,192)", "conns=6,192"),
        ("conns=6, 192", "conns=6,192"),
        ("conns='6'", "conns=6"),
        ("conns=range(6,13,6)", "conns=6,12"),
        ("costs.lock_profiling=True", "costs.lock_profiling=true"),
        ("engine.measure_ms=250.0", "engine.measure_ms=250"),
        ("conns=7, 8", "conns=7,8"),
    ],
)
def test_values_choose_however_they_are_written(given: str, as_typed: str, tmp_path: Path, monkeypatch, capsys) -> None:
    """A value that the grids have not replaces theirs, written either way."""
    text = "name: mine\ngrids: [{org: [up, connp_l, connp_t], conns: [6, 12, 192], engine.measure_ms: 250}"
    mine = written(tmp_path, text + ", {org: msgp, conns: 24, costs.lock_profiling: true}]")
    found = []
    for override in (given, as_typed):
        assert launch(monkeypatch, "--dry-run", f"output_dir={tmp_path}", *mine, override) == 0
        found.append(capsys.readouterr().out)
    assert found[0] == found[1]


def test_truth_is_no_number_and_words_are_no_values() -> None:
    experiment = ExperimentConfig(
        name="mine", grids=[{"seed": [0, 1], "costs.lock_profiling": True, "variant": "without a thing"}]
    )
    assert overrides_of(experiment, "costs.lock_profiling=1", "variant=without") == [
        ["seed=0,1", "costs.lock_profiling=1", "variant=without"]
    ]
    assert overrides_of(experiment, "seed=true") == [["costs.lock_profiling=true", "variant=without a thing", "seed=true"]]
    assert overrides_of(experiment, "variant='without a thing'", "seed=1") == [
        ["seed=1", "costs.lock_profiling=true", "variant=without a thing"]
    ]


def test_each_grid_is_run_in_each_variant() -> None:
    experiment = ExperimentConfig(
        name="mine",
        common={"seed": [1, 2], "org.batch": 4},
        grids=[{"conns": 6, "engine.measure_ms": 5}, {"conns": 24}],
        variants=[{"variant": "first"}, {"variant": "without a thing", "costs.operations.lookup.cycles": 0, "org.batch": 1}],
    )
    experiment.validate()
    first = [["conns=6", "engine.measure_ms=5", "variant=first"], ["conns=24", "variant=first"]]
    without = ["variant=without a thing", "costs.operations.lookup.cycles=0", "org.batch=1"]
    assert overrides_of(experiment) == [
        *([*grid, "seed=1,2", "org.batch=4"] for grid in first),
        ["conns=6", "engine.measure_ms=5", *without, "seed=1,2"],
        ["conns=24", *without, "seed=1,2"],
    ]
    assert overrides_of(experiment, "variant=without a thing", "conns=24") == [["conns=24", *without, "seed=1,2"]]


def test_without_an_experiment_the_command_line_is_the_grid() -> None:
    ExperimentConfig().validate()
    assert overrides_of(ExperimentConfig(), "conns=6,24") == [["conns=6,24"]]
    assert overrides_of(ExperimentConfig(name="mine", common={"flag": True})) == [["flag=true"]]


MINE = """
name: mine
common: {seed: [1, 2]}
grids:
  - {org: [up, connp_l], conns: [6, 24]}
  - {org: connp_l, org.groups: [4, 128], conns: 24}
  - {org: connp_l, conns: 6, engine.measure_ms: 5}
"""


VARIANTS = """
name: mine
report: ablation
common: {org: [up, connp_l], conns: 6}
variants:
  - {variant: unchanged}
  - variant: without a notification
    costs.operations.so_notify.cycles: 0
    costs.operations.so_notify.touches: "[]"
  - {variant: with what is there, org.batch: 1}
"""


def test_variants_are_composed_and_named(composed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """A variant that changes nothing has no points of its own, and does not rename those of the first."""
    assert launch(monkeypatch, "--dry-run", f"output_dir={tmp_path}", *written(tmp_path, VARIANTS)) == 0
    output = capsys.readouterr().out
    nothing = ["costs.operations.so_notify.cycles=0", "costs.operations.so_notify.touches=[]"]
    configs = [composed(f"org={org}", "conns=6", *own) for own in ([], nothing) for org in ("up", "connp_l")]
    assert configs[2].costs.operations["so_notify"].touches == []
    names = name_points(configs)
    assert listed(output) == [Point(one, name, tmp_path).fingerprint[:16] for one, name in zip(configs, names, strict=True)]
    assert [line.split("  ")[0] for line in output.splitlines()[:-1]] == [
        "up unchanged conns=6",
        "connp_l unchanged conns=6",
        "up without a notification conns=6",
        "connp_l without a notification conns=6",
    ]


def test_the_union_has_each_point_once_and_each_is_what_it_composes_to(
    composed: Callable[..., SimulationConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """The grids set different keys: what one of them sets must not reach the points of another."""
    assert launch(monkeypatch, "--dry-run", f"output_dir={tmp_path}", *written(tmp_path, MINE)) == 0
    points = [
        *itertools.product(("org=up", "org=connp_l"), ("conns=6", "conns=24"), ("seed=1", "seed=2")),
        *itertools.product(("org=connp_l",), ("org.groups=4",), ("conns=24",), ("seed=1", "seed=2")),
        *itertools.product(("org=connp_l",), ("conns=6",), ("engine.measure_ms=5",), ("seed=1", "seed=2")),
    ]
    configs = [composed(*overrides) for overrides in points]
    expected = [Point(config, name, tmp_path) for config, name in zip(configs, name_points(configs), strict=True)]
    output = capsys.readouterr().out
    assert listed(output) == [point.fingerprint[:16] for point in expected]
    assert "12 points, 0 done, 12 to run" in output


BAD = {
    "an unknown experiment": (None, "experiment=mine", "available are"),
    "no name": ("grids: [{conns: 6}]", "experiment.name=", "as the file is called"),
    "an unknown field": ("name: mine\ngrid: [{conns: 6}]", "experiment.grid", "did you mean experiment.grids?"),
    "an unknown report": ("name: mine\nreport: pdf", "experiment.report=pdf", "allowed are paper"),
    "grids that are no list": ("name: mine\ngrids: {conns: 6}", "experiment.grids", "list"),
    "variants that are no list": ("name: mine\nvariants: {conns: 6}", "experiment.variants", "list"),
    "a variant without a name to compare": (
        "name: mine\nreport: ablation\ncommon: {conns: 6}",
        "variant=",
        "must be two or more",
    ),
    "one variant to compare": ("name: mine\nreport: ablation\nvariants: [{variant: one}]", "variant=one", "must be two or more"),
    "a neighbour in another report": (
        "name: mine\nvariants: [{variant: a}, {variant: b, beside: a}]",
        "experiment.variants[1].beside=a",
        "needs an experiment with report: steps",
    ),
    "a step without a neighbour": (
        "name: mine\nreport: steps\nvariants: [{variant: a}, {variant: b}]",
        "experiment.variants[1].beside=null",
        "must be an earlier variant: a",
    ),
    "a neighbour that comes later": (
        "name: mine\nreport: steps\nvariants: [{variant: a, beside: b}, {variant: b}]",
        "experiment.variants[0].beside=b",
        "must be an earlier variant: none yet",
    ),
    "a step without a name": (
        "name: mine\nreport: steps\nvariants: [{org.batch: 2}]",
        "experiment.variants[0].variant=null",
        "must be given",
    ),
    "steps of one variant": (
        "name: mine\nreport: steps\nvariants: [{variant: a}]",
        "variant=a",
        "must be two that the experiment has beside each other",
    ),
    "no grids": ("name: mine\ngrids: []", "experiment.grids=[]", "must be a list of grids, or be left out"),
    "no variants": ("name: mine\nvariants: []", "experiment.variants=[]", "must be a list of variants, or be left out"),
    "grids that are given elsewhere": ("name: mine\ngrids: ???", "mine.yaml, line 2: ???", "is no value"),
    "groups that are given elsewhere": ("name: mine\ngroups: ???", "mine.yaml, line 2: ???", "is no value"),
    "variants of the same name": (
        "name: mine\nvariants: [{variant: 3}, {org.batch: 2}, {variant: '3', org.batch: 1}]",
        "experiment.variants[2].variant=3",
        "must be another name than that of experiment.variants[0].variant",
    ),
    "a variant of two names": ("name: mine\nvariants: [{variant: [a, b]}]", "experiment.variants[0].variant", "must be one name"),
    "a number for a key": ("name: mine\ngrids: [{3: 4}]", "mine.yaml: 3", "a key must be a name"),
    "no key": ("name: mine\ngrids: [{'': 4}]", "experiment.grids[0].=4", "must be a dotted key"),
    "two keys": ("name: mine\ngrids: [{'conns=6,seed': 4}]", "experiment.grids[0].conns=6,seed=4", "must be a dotted key"),
    "a value that is an override": ("name: mine\ngrids: [{conns: 'seed=3,4'}]", "conns=seed=3,4", "a value or a list of values"),
    "a grid in itself": ("name: mine\ngrids: [&a {conns: *a}]", "mine.yaml, line 2: *a", "has no end"),
    "machines in a variant": (
        "name: mine\nreport: ablation\ncommon: {conns: 6}\nvariants: [{variant: a}, {variant: b, org.batch: [2, 4]}]",
        "experiment.report=ablation",
        "two points are connp_l(128) conns=6 seed=1",
    ),
    "variants in the report of the paper": (
        "name: mine\nreport: paper\ncommon: {conns: 6}\nvariants: [{variant: a}, {variant: b, org.batch: 2}]",
        "experiment.report=paper",
        "two points are connp_l(128) conns=6 seed=1",
    ),
    "a bad value of a variant": ("name: mine\nvariants: [{variant: a, conns: abc}]", "conns=abc", "a whole number"),
    "what is common as a list": ("name: mine\ncommon: [conns=6]", "experiment.common=['conns=6']", "mapping"),
    "a grid that is no mapping": ("name: mine\ngrids: [conns=6]", "experiment.grids", "mapping"),
    "a title that is none": ("name: mine\ntitle: [a]", "experiment/mine: experiment.title", "string"),
    "an unknown key": ("name: mine\ngrids: [{conn: 6}]", "conn: unknown key", "did you mean conns?"),
    "an unknown organization": ("name: mine\ngrids: [{org: [up, mspg]}]", "org=mspg", "available are"),
    "a bad value": ("name: mine\ngrids: [{conns: [6, abc]}]", "conns=abc", "a whole number"),
    "no value": ("name: mine\ngrids: [{conns: []}]", "experiment.grids[0].conns=[]", "a value or a list of values"),
    "nested values": ("name: mine\ncommon: {org: {groups: 4}}", "experiment.common.org", "a value or a list of values"),
    "an experiment in itself": (
        "name: mine\ngrids: [{experiment: paper}]",
        "experiment.grids[0].experiment=paper",
        "cannot be set",
    ),
    "a key of the whole sweep": ("name: mine\ngrids: [{workers: [1, 2]}]", "workers=2", "the same for all points"),
    "no YAML": ("name: [mine", "mine.yaml", "line"),
    "machines in a report": (
        "name: mine\nreport: paper\ncommon: {conns: 6}\ngrids: [{machine: [opteron_2x2, epyc_16]}]",
        "experiment.report=paper",
        "two points are connp_l(128) conns=6 seed=1",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_experiment_is_one_clear_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    text, value, allowed = BAD[name]
    if text is None:
        arguments = ["experiment=mine"]
    else:
        arguments = written(tmp_path, text)
    assert launch(monkeypatch, f"output_dir={tmp_path}/outputs", *arguments) == BAD_INPUT
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ")
    assert value in error
    assert allowed in error
    assert not (tmp_path / "outputs").exists()


def test_two_experiments_or_none_of_the_sweep_option(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert launch(monkeypatch, "experiment=paper,paper") == BAD_INPUT
    assert capsys.readouterr().err == "error: experiment=paper,paper: must be one: several are several commands\n"
    monkeypatch.setattr(sys, "argv", ["run.py", "experiment=paper"])
    assert run.main() == BAD_INPUT
    assert "experiment=paper: several points are a sweep, which needs the option -m" in capsys.readouterr().err


def local(points, _workers, _ray, _show):
    """Stand in for Ray: simulate in this process."""
    for point in points:
        yield Outcome(point, simulate(point.config))


FEW = {
    "fastsocket": ("org.cores=1",),
    "irq_suspension": ("workload.requests.rate_per_second=200000",),
    "linux_ablation": ("workload.requests.rate_per_second=400000",),
    "why": ("org=msgp", "experiment.mechanisms=[locks,copies]"),
}
"""Which of an experiment's grids are run here, if that is not all of them."""


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_runs_ends_in_its_report_and_resumes(
    name: str, composed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    seeds = [] if name not in FEW else ["seed=1"]
    command = (*(value for value in TINY if not seeds or not value.startswith("seed=")), *seeds, *FEW.get(name, ()))
    with monkeypatch.context() as patch:
        patch.setattr(sweep, "simulate_on_ray", local)
        assert launch(patch, f"experiment={name}", *command, f"output_dir={tmp_path}", "tracking=none") == 0
    first = capsys.readouterr().out
    (folder,) = (tmp_path / "sweeps").iterdir()
    assert "done before" not in first
    report = REPORTS.get(name)
    assert f"written: {folder / (report or 'summary.csv')}" in first
    assert report is None or f"experiment={name}" in (folder / report).read_text()
    assert launch(monkeypatch, f"experiment={name}", *command, f"output_dir={tmp_path}", "tracking=none") == 0
    assert capsys.readouterr().out.count("done before") == len(list((tmp_path / "points").iterdir()))


def test_the_paper_runs_what_its_claims_need(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    assert launch(monkeypatch, "--dry-run", "experiment=paper", f"output_dir={tmp_path}") == 0
    output = capsys.readouterr().out
    hashes = [place for place in places_of(CLAIMS) if place.profiled and place.org == "connp_l" and place.conns == 6]
    assert f"{5 * len(places_of(CLAIMS)) + 15 * len(hashes)} points" in output
    labels = {line.split(" seed=")[0] for line in output.splitlines()[:-1]}
    kernels = {False: "", True: " with lock profiling"}
    assert labels == {
        f"{organization_label(place.org, place.groups)}{kernels[place.profiled]} conns={place.conns}"
        for place in places_of(CLAIMS)
    }
