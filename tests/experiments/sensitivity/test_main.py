"""A sensitivity analysis on a stand-in for the simulator: what it finds, and that it resumes."""

import json
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import pytest

from experiments.config.command_line import BAD_INPUT, FAILED_POINTS
from experiments.config.schema import RayConfig
from experiments.points.point import Outcome, Point
from experiments.sensitivity import __main__ as module
from experiments.sensitivity.__main__ import main
from experiments.sensitivity.analysis import load_sensitivity, survival
from netstack.sim import Result
from tests.helpers.sensitivity import SMALL


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch, make_result: Callable[..., Result]) -> list[Point]:
    """Replace workers by a closed form: msgp is 5 % above up, and an expensive lock acquisition takes 10 %."""
    ran: list[Point] = []

    def closed_form(points: Sequence[Point], workers: int | None, ray: RayConfig, show) -> Generator[Outcome, None, None]:
        show("", 1)
        for point in points:
            ran.append(point)
            config = point.config
            factor = {"up": 1.0, "msgp": 1.05, "connp_t": 0.8, "connp_l": 1.3}[config.org.name]
            if config.org.name == "msgp" and config.costs.operations["lock_acquire"].cycles > 15:
                factor -= 0.1
            goodput = 4034 * factor * (1 if config.conns == 6 else 0.5) * 170 / config.machine.latency.memory_local_cycles
            result = make_result(goodput, contention=50.0 if config.org.name != "up" else None)
            if config.org.name == "msgp" and FAIL in point.label:
                yield Outcome.of_error(point, RuntimeError("made up"), "details")
                continue
            yield Outcome(point, result)

    monkeypatch.setattr(module, "simulate_on_ray", closed_form)
    return ran


FAIL = "nothing fails"


def arguments(specification: Path, tmp_path: Path, *more: str) -> list[str]:
    return ["--specification", str(specification), "--output-dir", str(tmp_path / "outputs"), "--no-tracking", *more]


def test_it_finds_which_change_breaks_which_claim(specification: Path, tmp_path: Path, simulated: list, capsys) -> None:
    assert main(arguments(specification, tmp_path)) == 0
    folder = tmp_path / "outputs" / "sensitivity"
    found = load_sensitivity(folder / "sensitivity.json")
    rows = {row.claim: row for row in survival(found)}
    assert rows["msgp better than up"].broken_by == ("locks +",)
    assert rows["connp_l best"].survives
    assert rows["connp_t worse than up"].verdict == "fails"
    assert set(rows["up at 6"].broken_by) == {"memory -", "memory +"}
    assert {len(claim.effects) for claim in found.claims} == {6}
    assert "order at moderate loads" not in rows  # no such load was simulated
    output = capsys.readouterr().out
    assert "locks +" in output
    for claim in found.claims:
        name = claim.name.replace(" ", "-")
        if name.isidentifier():
            assert (folder / f"tornado-{name}.svg").exists()
    assert len(list(folder.glob("tornado-*.png"))) == len(list(folder.glob("tornado-*.svg"))) == len(found.claims)


def test_heavy_loads_have_one_seed_and_all_changes_the_same_ones(specification: Path, tmp_path: Path, simulated: list) -> None:
    assert main(arguments(specification, tmp_path)) == 0
    changes = Counter(point.name.series.partition(":")[0] for point in simulated)
    assert changes == dict.fromkeys(["unchanged", "locks +20 %", "locks -20 %", "memory +20 %", "memory -20 %"], 14) | {
        "distance +20 %": 14,
        "distance -20 %": 14,
    }
    assert {point.config.seed for point in simulated if point.config.conns == 16384} == {1}
    assert {point.config.seed for point in simulated if point.config.conns == 6} == {1, 2}


def test_the_same_command_runs_what_is_left(specification: Path, tmp_path: Path, simulated: list) -> None:
    assert main(arguments(specification, tmp_path, "--quick")) == 0
    once = len(simulated)
    assert once == 4 * 7
    assert main(arguments(specification, tmp_path, "--quick")) == 0
    assert len(simulated) == once
    assert main(arguments(specification, tmp_path)) == 0
    assert len({point.fingerprint for point in simulated}) == len(simulated) == 14 * 7


def test_a_failed_point_is_said_and_tried_again(
    specification: Path, tmp_path: Path, simulated: list, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(f"{__name__}.FAIL", "locks +20 %")
    assert main(arguments(specification, tmp_path, "--quick")) == FAILED_POINTS
    assert capsys.readouterr().err.startswith("error: 1 of 28 points failed")
    assert not (tmp_path / "outputs" / "sensitivity-quick").exists()
    before = len(simulated)
    monkeypatch.setattr(f"{__name__}.FAIL", "nothing fails")
    assert main(arguments(specification, tmp_path, "--quick")) == 0
    assert len(simulated) == before + 1


def test_a_dry_run_counts(specification: Path, tmp_path: Path, simulated: list, capsys) -> None:
    assert main(arguments(specification, tmp_path, "--dry-run")) == 0
    assert capsys.readouterr().out.strip() == "98 points, 0 done, 98 to run"
    assert simulated == []
    assert not (tmp_path / "outputs").exists()


BAD = {
    "an unknown key": ("memory_*", "memry_*", "error: memory=machine.latency.memry_*: matches no key"),
    "an organization's key": ("workload.rtt_min_us", "org.groups", "org.groups: must be below costs, machine, workload"),
    "a change too far": ("percent: 20", "percent: 99", "distance=-99 %: cannot be simulated: workload.rtt_min_us"),
    "percent": ("percent: 20", "percent: 120", "percent=120.0: must be above 0 and below 100"),
    "no loads": ("loads: [6, 16384]", "lods: [6]", "lods"),
    "a load in words": ("[6, 16384]", "[six]", "a whole number"),
    "no row of table 1": ("profiled: {4: [6]}", "profiled: {5: [6]}", "full.profiled=5: is no row of table 1: 1, 4, 8, 16"),
    "no YAML": ("percent: 20", "percent: 20: 3", "must be YAML"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_line(name: str, tmp_path: Path, simulated: list, capsys) -> None:
    old, new, message = BAD[name]
    assert old in SMALL
    path = tmp_path / "bad.yaml"
    path.write_text(SMALL.replace(old, new))
    assert main(arguments(path, tmp_path)) == BAD_INPUT
    (error,) = capsys.readouterr().err.splitlines()
    assert message in error
    assert simulated == []


def test_bad_options_are_one_clear_line(specification: Path, tmp_path: Path, capsys) -> None:
    assert main(arguments(tmp_path / "none.yaml", tmp_path)) == BAD_INPUT
    assert main(arguments(specification, tmp_path, "--workers", "0")) == BAD_INPUT
    assert main(arguments(specification, tmp_path, "--ray-address", "nowhere")) == BAD_INPUT
    missing, workers, address = capsys.readouterr().err.splitlines()
    assert "must be a file that can be read" in missing
    assert workers.startswith("error: --workers=0: must be")
    assert "must be the address of a running Ray cluster" in address


def test_the_data_are_plain_json(specification: Path, tmp_path: Path, simulated: list) -> None:
    assert main(arguments(specification, tmp_path, "--quick")) == 0
    values = json.loads((tmp_path / "outputs" / "sensitivity-quick" / "sensitivity.json").read_text())
    assert values["percent"] == 20
    assert values["parameters"]["distance"] == ["workload.rtt_min_us", "workload.rtt_max_us"]
    assert {"model.version"} <= set(values["provenance"])
