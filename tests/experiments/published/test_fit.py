"""A fit on a stand-in for the simulator: it finds what is known, and writes only its own values and a record."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from experiments.config.command_line import BAD_INPUT
from experiments.published import __main__ as command
from experiments.published import fit as fitting
from experiments.published.figures import DATA, read_published
from netstack.sim import Result, SimulationConfig
from tests.helpers.folders import CONF

NAME = "irq_suspension"
INTERVAL_US, MOST_US = 40.0, 120.0


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Copies of the experiment and of its figures, which a fit may change."""
    experiment, figures = tmp_path / "experiment" / f"{NAME}.yaml", tmp_path / "data" / f"{NAME}.yaml"
    for path, source in ((experiment, CONF / "experiment"), (figures, DATA)):
        path.parent.mkdir()
        shutil.copy(source / path.name, path)
    monkeypatch.setattr(command, "CONF", tmp_path)
    monkeypatch.setattr(command, "DATA", figures.parent)
    return experiment, figures


@pytest.fixture
def simulated(make_result: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> list[SimulationConfig]:
    """Replace the simulator by a closed form, and return the list of what it was asked to simulate.

    Published values come out with a scale of 1.25, 8,000 cycles of an interrupt, intervals of 40 and 120 us, and 0.9 times cycles
    that are no stalls.
    """
    asked: list[SimulationConfig] = []

    def simulate(config: SimulationConfig) -> Result:
        asked.append(config)
        result = make_result()
        scale, interrupt = config.costs.cycles_scale, config.costs.operations["interrupt"].cycles
        nic = config.machine.nic
        assert nic.interrupt_interval_most_us is not None
        if config.workload.requests.rate_per_second is None:
            result.kilocycles_per_request, result.stall_kilocycles_per_request = 20.0 * scale, 20.0 * scale - 23.7 / 0.9
            result.frames_per_interrupt = 27.7 * nic.interrupt_interval_most_us / MOST_US
        else:
            result.kilocycles_per_request = scale * (39.1 / 1.25 - 8.0 + interrupt / 1000)
            result.stall_kilocycles_per_request = result.kilocycles_per_request - 34.0 / 0.9
            result.frames_per_interrupt = 1 + 1.6 * nic.interrupt_interval_us / INTERVAL_US
        return result

    monkeypatch.setattr(fitting, "simulate", simulate)
    return asked


def values_of(path: Path) -> dict:
    return yaml.safe_load(path.read_text())


def test_a_fit_finds_and_writes_its_parameters_only(files: tuple[Path, Path], simulated: list[SimulationConfig]) -> None:
    experiment, figures = files
    before, figures_before = values_of(experiment), values_of(figures)
    assert command.main(["fit", NAME]) == 0
    after, figures_after = values_of(experiment), values_of(figures)
    fitted = {
        "costs.cycles_scale": 1.25,
        "costs.operations.interrupt.cycles": 8000,
        "machine.nic.interrupt_interval_us": INTERVAL_US,
        "machine.nic.interrupt_interval_most_us": MOST_US,
    }
    for key, value in fitted.items():
        assert after["common"].pop(key) == pytest.approx(value, rel=0.03)
        del before["common"][key]
    assert after == before
    statistic = "kiloinstructions_per_request"
    assert figures_after["statistics"][statistic].pop("factor") == pytest.approx(0.9, rel=1e-3)
    del figures_before["statistics"][statistic]["factor"]
    assert figures_after == figures_before
    assert len(simulated) < 40
    assert {config.org.name for config in simulated} == {"linux_incoming_cpu"}, "only what is given is simulated"


def test_the_record_says_command_values_and_residuals(files: tuple[Path, Path], simulated: list[SimulationConfig]) -> None:
    experiment, _ = files
    comments = [line for line in experiment.read_text().splitlines() if line.startswith("# ") and line != "# fit:"][:3]
    assert command.main(["fit", NAME, "--seeds", "1"]) == 0
    text = experiment.read_text()
    assert all(line in text for line in comments)
    block = text.partition("\n# fit:\n")[2]
    assert block.startswith(f"#   python -m experiments.published fit {NAME} --seeds 1, 20")
    assert "model " in block
    for name in read_published(NAME).parameters:
        assert f"  {name}: " in block
    assert "factor of kiloinstructions_per_request: 0.9" in block
    assert "27.7" in block
    assert "%)" in block
    assert command.main(["fit", NAME, "--seeds", "1"]) == 0
    assert experiment.read_text().count("# fit:\n") == 1


def test_a_dry_run_writes_nothing(files: tuple[Path, Path], simulated: list[SimulationConfig], capsys) -> None:
    before = [path.read_text() for path in files]
    assert command.main(["fit", NAME, "--dry-run"]) == 0
    assert [path.read_text() for path in files] == before
    assert "not written" in capsys.readouterr().out


def test_values_of_variants_are_written_to_their_variants(tmp_path: Path) -> None:
    path = tmp_path / "fastsocket.yaml"
    shutil.copy(CONF / "experiment" / "fastsocket.yaml", path)
    published = read_published("fastsocket")
    text = fitting.Experiment(path, published).rewritten(published, {"scale of Fastsocket": 3.5}, ["found"])
    before, after = values_of(path), yaml.safe_load(text)
    assert [variant["costs.cycles_scale"] for variant in after["variants"]][:2] == [
        variant["costs.cycles_scale"] for variant in before["variants"]
    ][:2]
    assert after["variants"][2]["costs.cycles_scale"] == 3.5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fit", "paper"], "experiment.name=paper: has no published figures; fastsocket"),
        (["fit", NAME, "--seeds", "9"], "--seeds=9: must be from 1 to the 1"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], said: str, files: tuple[Path, Path], capsys) -> None:
    assert command.main(arguments) == BAD_INPUT
    assert said in capsys.readouterr().err


def test_a_start_outside_of_its_bounds_is_refused(files: tuple[Path, Path], capsys) -> None:
    experiment, _ = files
    text = experiment.read_text()
    experiment.write_text(text.replace("costs.cycles_scale: ", "costs.cycles_scale: 9 #"))
    assert command.main(["fit", NAME]) == BAD_INPUT
    assert "costs.cycles_scale=9.0: must be from 0.5 to 2" in capsys.readouterr().err
