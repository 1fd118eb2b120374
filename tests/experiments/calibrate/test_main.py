"""A calibration on a stand-in for the simulator: it finds what is known, writes only its own values, and refuses bad input."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from experiments.calibrate import __main__ as calibrate
from experiments.calibrate import targets as calibration
from experiments.calibrate.targets import FITTED, SPECIFICATION, CalibrationConfig, FreeConfig
from experiments.config.command_line import BAD_INPUT
from experiments.config.constant_groups import Constants, scaled
from experiments.run import in_process
from netstack.sim import Result, SimulationConfig

CONF = SPECIFICATION.parent
FILES = ("costs/freebsd7.yaml", "machine/opteron_2x2.yaml")
Compose = Callable[..., SimulationConfig]
TRANSFERS = tuple(f"machine.latency.{name}_cycles" for name in ("cache_same_node", "cache_other_node", "upgrade"))


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A copy of `conf/`, whose files a calibration may change."""
    return shutil.copytree(CONF, tmp_path / "conf")


@pytest.fixture
def stand_in(composed: Compose, make_result: Callable[..., Result], conf: Path, monkeypatch: pytest.MonkeyPatch) -> list:
    """Replace the simulator by a closed form, and return the list of what it was asked to simulate.

    With all values as they are in `conf/`, one processor sends 4 % too little, and four are right. So cycles must fall by 4 %,
    and transfers between caches, of which four processors have two fifths of their work, rise by 6 %.
    """
    asked: list[SimulationConfig] = []
    total, latency = work(composed()), composed().machine.latency.cache_other_node_cycles

    def closed_form(config: SimulationConfig, _follow: Callable[[float], None]) -> Result:
        asked.append(config)
        cycles, transfers = work(config) / total, config.machine.latency.cache_other_node_cycles / latency
        misses = {6: 1.8, 192: 2.3, 16384: 18.0}.get(config.conns, 0.0)
        if config.org.name == "up":
            return make_result(0.96 * 4034 / cycles * (1 + 0.001 * (config.seed - 8.5)), misses)
        return make_result(5440 / (0.6 * cycles + 0.4 * transfers), misses)

    monkeypatch.setattr(in_process, "simulate", closed_form)
    monkeypatch.setattr("experiments.config.compose.CONF", conf)
    return asked


def work(config: SimulationConfig) -> int:
    """Return the cycles that a calibration may change: those of connections that come and go are not in bulk send."""
    return sum(operation.cycles for operation in config.costs.operations.values() if "calibrated" in operation.source)


def values_of(conf: Path) -> list[dict]:
    return [yaml.safe_load((conf / name).read_text()) for name in FILES]


def ratios(before: list[dict], after: list[dict]) -> tuple[list[float], list[float]]:
    """Return by what calibrated cycles and transfers between caches grew; everything else must be equal."""
    cycles, transfers = [], []
    for name, old in before[0]["operations"].items():
        new = after[0]["operations"][name]
        if "calibrated" in old["source"]:
            assert abs(new["cycles"] - old["cycles"] * 0.96) <= 0.5 + 0.01 * old["cycles"], name
            cycles.append(new.pop("cycles") / old.pop("cycles"))
    for key in TRANSFERS:
        name = key.rpartition(".")[2]
        transfers.append(after[1]["latency"].pop(name) / before[1]["latency"].pop(name))
    assert before == after
    return cycles, transfers


def test_only_the_uniprocessor_and_connp_l_at_moderate_loads_are_fitted() -> None:
    """Five published numbers; the last one is of all moderate loads."""
    published = {(part.quantity.label, part.published) for part in FITTED}
    assert published == {
        ("goodput of up at 6", 4034),
        ("L2 misses of up at 6", 1.83),
        ("L2 misses of up at 192", 4.08),
        ("L2 misses of up at 16,384", 18.49),
        *((f"goodput of connp_l(128) at {load:,}", 5440) for load in (24, 48, 96, 192, 384, 768, 1536)),
    }


def test_a_calibration_finds_the_known_values_and_writes_nothing_else(stand_in: list, conf: Path, capsys) -> None:
    before = values_of(conf)
    comments = [re.findall(r"#.*", (conf / name).read_text().partition("\n# calibration:\n")[0]) for name in FILES]
    assert calibrate.main(["--workers", "1"]) == 0
    cycles, transfers = ratios(before, values_of(conf))
    assert len(cycles) > 30
    assert sorted(cycles)[len(cycles) // 2] == pytest.approx(0.96, rel=0.01)
    assert transfers == pytest.approx([1.06] * 3, rel=0.02)
    for name, earlier in zip(FILES, comments, strict=True):
        text = (conf / name).read_text()
        kept, _, block = text.partition("\n# calibration:\n")
        assert re.findall(r"#.*", kept) == earlier
        assert all(line.startswith("#   ") for line in block.splitlines())
        assert "model " in block
        assert "4 seeds (2 from 1,024 connections on)" in block
        assert re.search(r"instruction_cycles x 0\.9\d+ .* by goodput of up at 6", block)
        assert re.search(r"cache_to_cache x 1\.0\d+ .* by goodput of connp_l\(128\) at [\d,]+", block)
        assert re.search(r"goodput of up at 6: 4,0\d\d and 4,034 Mb/s \([+-]0\.\d %\)", block)
        assert re.search(r"L2 misses of up at 192: 2.30 and 4.08 1/KB \(-43.6 %\)", block)
    assert "no parameter moves L2 misses of up at 192" in capsys.readouterr().out


def test_calibrating_again_changes_no_value(stand_in: list, conf: Path) -> None:
    assert calibrate.main(["--workers", "1"]) == 0
    once = values_of(conf)
    assert calibrate.main(["--workers", "2"]) == 0
    assert values_of(conf) == once
    assert (conf / FILES[0]).read_text().count("# calibration:") == 1


def test_every_evaluation_has_the_same_places_and_seeds(stand_in: list, conf: Path) -> None:
    assert calibrate.main(["--workers", "1", "--dry-run"]) == 0
    points = [(config.org.name, config.conns, config.seed) for config in stand_in]
    once = len(set(points))
    assert once == (2 + 6) * 4 + (1 + 1) * 2
    assert len(points) % once == 0
    assert {name: len({c for n, c, _ in points if n == name}) for name in ("up", "connp_l")} == {"up": 3, "connp_l": 7}
    assert {seed for _, conns, seed in points if conns >= 1024} == {1, 2}


def test_a_dry_run_writes_nothing(stand_in: list, conf: Path, capsys) -> None:
    texts = [(conf / name).read_text() for name in FILES]
    assert calibrate.main(["--dry-run"]) == 0
    assert [(conf / name).read_text() for name in FILES] == texts
    output = capsys.readouterr().out
    assert output.count("not written: ") == 2
    assert "goodput of up at 6" in output


def test_lines_of_a_structure_can_be_fitted(composed: Compose) -> None:
    """A footprint parameter changes the structure and all its touches."""
    config = composed("org=up")
    free = calibration.free_parameters(
        CalibrationConfig(parameters={"stack": FreeConfig(["costs.structures.kernel_stack.lines"], 26, 520, "made up")}), config
    )
    assert free[0].parameter.start == 52
    wider = calibration.applied(config, free, [104.0])
    assert wider.costs.structures["kernel_stack"].lines == 104
    assert "kernel_stack 96-103 r" in wider.costs.operations["context_switch"].touches
    assert wider == scaled(config, Constants("s", ("costs.structures.kernel_stack.lines",)).members(config), 2)


BAD = {
    "an unknown key": ("{keys: [machine.latency.nothing], low: 1, high: 2, reason: x}", "p=machine.latency.nothing: matches no"),
    "an unknown field": ("{keys: [machine.clock_mhz], low: 1, high: 2, reason: x, hgih: 1}", "hgih"),
    "a missing bound": ("{keys: [machine.clock_mhz], low: 1, reason: x}", "high"),
    "a bound in words": ("{keys: [machine.clock_mhz], low: 1, high: much, reason: x}", "must be a number"),
    "a start out of bounds": (
        "{keys: [machine.clock_mhz], low: 1, high: 2, reason: x}",
        "p: starts at 2200, outside its bounds 1 to 2",
    ),
    "another measure": (
        "{keys: [machine.clock_mhz], measured_by: machine.cores, low: 1, high: 2, reason: x}",
        "must be one of the parameter's keys",
    ),
    "a key in two parameters": (
        "{keys: [machine.clock_mhz], low: 1, high: 9999, reason: x}\n"
        "  q: {keys: [machine.clock*], low: 1, high: 9999, reason: x}",
        "is in p, too",
    ),
    "no influence": ("{keys: [machine.l1.ways], low: 1, high: 8, reason: x}", "p: has no influence on any target"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_line(name: str, stand_in: list, tmp_path: Path, conf: Path, capsys) -> None:
    parameter, message = BAD[name]
    (tmp_path / "free.yaml").write_text(f"parameters:\n  p: {parameter}\n")
    texts = [(conf / file).read_text() for file in FILES]
    assert calibrate.main(["--specification", str(tmp_path / "free.yaml")]) == BAD_INPUT
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ")
    assert message in error
    assert [(conf / file).read_text() for file in FILES] == texts


@pytest.mark.parametrize(
    ("text", "message"),
    [("step: 3", "step=3"), ("repetitions: 0", "repetitions=0"), ("a: b: c", "free.yaml"), ("parameters: {}", "none are given")],
)
def test_a_bad_specification_is_one_clear_line(text: str, message: str, stand_in: list, tmp_path: Path, capsys) -> None:
    (tmp_path / "free.yaml").write_text(text)
    assert calibrate.main(["--specification", str(tmp_path / "free.yaml")]) == BAD_INPUT
    (error,) = capsys.readouterr().err.splitlines()
    assert message in error


def test_a_missing_specification_and_no_workers(tmp_path: Path, capsys) -> None:
    assert calibrate.main(["--specification", str(tmp_path / "none.yaml")]) == BAD_INPUT
    assert calibrate.main(["--workers", "0"]) == BAD_INPUT
    missing, workers = capsys.readouterr().err.splitlines()
    assert "must be a file that can be read" in missing
    assert workers == "error: --workers=0: must be from 1 to 1024"
