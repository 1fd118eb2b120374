"""Groups of constants are found by their keys, and scaled in proportion without a change of anything else."""

from collections.abc import Callable
from dataclasses import asdict

import pytest

from experiments.config.constant_groups import Constants, differences, scaled
from netstack.errors import ConfigError
from netstack.sim import SimulationConfig
from netstack.sim.machine.costs import CostsConfig, OperationCost, StructureCost, parse_touch

Compose = Callable[..., SimulationConfig]


def made(touches: list[str], lines: int = 10) -> SimulationConfig:
    structures = {"text": StructureCost(lines), "other": StructureCost(10)}
    operations = {
        "timer": OperationCost(90, touches=touches, source="calibrated"),
        "wakeup": OperationCost(1, source="manual"),
        "lookup": OperationCost(0, source="calibrated"),
    }
    return SimulationConfig(costs=CostsConfig(structures=structures, operations=operations))


def test_members_are_found_by_pattern_and_source() -> None:
    config = made([])
    cycles = ("costs.operations.*.cycles",)
    assert list(Constants("all", cycles).members(config).values()) == [90, 1, 0]
    assert Constants("some", cycles, "calibrated").members(config) == {
        "costs.operations.timer.cycles": 90,
        "costs.operations.lookup.cycles": 0,
    }
    assert Constants("one", ("machine.ipi_latency_us",)).members(config) == {"machine.ipi_latency_us": 1.0}


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        (Constants("g", ("machine.latency.memory_locl_cycles",)), "did you mean machine.latency.memory_local_cycles"),
        (Constants("g", ("costs.operations.nothing*.cycles",)), "matches no key"),
        (Constants("g", ("machine.name",)), "must be the key of a number"),
        (Constants("g", ("machine.l2_policy",)), "must be the key of a number"),
        (Constants("g", ("costs.operations.*.cycles",), "guessed"), "no source of the keys says this"),
    ],
)
def test_keys_that_cannot_be_scaled_are_refused_in_a_line(constants: Constants, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        constants.members(made([]))
    assert str(caught.value).startswith("g=")
    assert "\n" not in str(caught.value)


def test_whole_numbers_are_rounded_and_stay_above_zero() -> None:
    config = made([])
    members = Constants("g", ("costs.operations.*.cycles", "machine.nic.interrupt_interval_us")).members(config)
    changed = scaled(config, members, 0.25)
    assert [operation.cycles for operation in changed.costs.operations.values()] == [23, 1, 0]
    assert changed.machine.nic.interrupt_interval_us == 31.25
    assert differences(config, changed) == {
        ("costs", "operations", "timer", "cycles"): 23,
        ("machine", "nic", "interrupt_interval_us"): 31.25,
    }
    assert config == made([])


@pytest.mark.parametrize(
    ("touch", "factor", "stretched"),
    [
        ("text 0-9 r", 1.2, "text 0-11 r"),
        ("text 0-9 w", 0.8, "text 0-7 w"),
        ("text 0-4 w", 2.0, "text 0-9 w"),
        ("text 5-9 r", 0.2, "text 1 r"),
        ("text 9 r", 0.1, "text 0 r"),
        ("text 9 r", 3.0, "text 27-29 r"),
        ("other 0-9 r", 1.2, "other 0-9 r"),
    ],
)
def test_touches_stretch_with_their_structure(touch: str, factor: float, stretched: str) -> None:
    config = made([touch])
    changed = scaled(config, Constants("g", ("costs.structures.text.lines",)).members(config), factor)
    assert changed.costs.operations["timer"].touches == [stretched]
    assert parse_touch(stretched, "timer", changed.costs.structures)


def test_all_of_a_connections_records_can_be_scaled(composed: Compose) -> None:
    config = composed("org=up")
    members = {
        f"costs.structures.{name}.lines": structure.lines
        for name, structure in config.costs.structures.items()
        if structure.per == "flow"
    }
    for factor in (0.8, 1.2, 2.0):
        changed = scaled(config, members, factor)
        changed.validate()
        before, after = (sum(one.costs.structures[key.split(".")[2]].lines for key in members) for one in (config, changed))
        assert after == pytest.approx(before * factor, rel=0.1)
    assert asdict(scaled(config, members, 1.0)) == asdict(config)
