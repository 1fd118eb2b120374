"""Which points a sensitivity analysis needs."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from experiments.config.constant_groups import Constants
from experiments.sensitivity.plan import SPECIFICATION, plan_of, read_specification
from netstack.sim import Result, SimulationConfig
from tests.helpers.sensitivity import SMALL

Compose = Callable[..., SimulationConfig]


def test_a_change_that_rounding_undoes_costs_no_points(tmp_path: Path) -> None:
    (tmp_path / "free.yaml").write_text(SMALL.replace('"machine.latency.memory_*"', "costs.structures.table.lines"))
    specification = read_specification(tmp_path / "free.yaml")
    plan = plan_of(specification, specification.quick, tmp_path)
    assert len(plan.distinct) == 4 * 5


def test_every_cost_and_latency_is_changed_once(composed: Compose) -> None:
    config = composed()
    specification = read_specification(SPECIFICATION)
    changed = Counter(
        key for name, keys in specification.parameters.items() for key in Constants(name, tuple(keys)).members(config)
    )
    assert {key for key, count in changed.items() if count > 1} == set()
    wanted = {f"costs.operations.{name}.cycles" for name in config.costs.operations}
    wanted |= {f"costs.structures.{name}.lines" for name in config.costs.structures}
    wanted |= {f"machine.latency.{name}" for name in vars(config.machine.latency)}
    assert wanted - set(changed) == set()


def test_all_changes_of_the_project_can_be_simulated(tmp_path: Path) -> None:
    specification = read_specification(SPECIFICATION)
    for grid in (specification.quick, specification.full):
        plan = plan_of(specification, grid, tmp_path)
        assert len(plan.points) == 2 * len(specification.parameters) + 1


def test_rows_of_table_1_are_simulated_with_lock_profiling_and_nothing_else_is(tmp_path: Path) -> None:
    (tmp_path / "rows.yaml").write_text(SMALL.replace("{4: [6]}", "{1: [6, 16384], 4: [6]}"))
    specification = read_specification(tmp_path / "rows.yaml")
    for points in plan_of(specification, specification.full, tmp_path).points.values():
        configs = [point.config for point in points.values() if point.config.costs.lock_profiling]
        assert sorted((config.org.name, config.org.groups, config.conns, config.seed) for config in configs) == [
            *(("connp_l", 4, 6, seed) for seed in (1, 2)),
            *(("msgp", 1, 6, seed) for seed in (1, 2)),
            ("msgp", 1, 16384, 1),
        ]
        assert len(points) == 5 + 4 * 2 + 4
        assert all(("with lock profiling" in point.label) == point.config.costs.lock_profiling for point in points.values())


def test_results_go_to_each_change_that_has_their_point(tmp_path: Path, make_result: Callable[..., Result]) -> None:
    """The change that rounding undoes has the results of no change; what is not finished is left out."""
    (tmp_path / "free.yaml").write_text(SMALL.replace('"machine.latency.memory_*"', "costs.structures.table.lines"))
    specification = read_specification(tmp_path / "free.yaml")
    plan = plan_of(specification, specification.quick, tmp_path)
    results = plan.results({point.fingerprint: make_result() for point in plan.points[None].values()})
    assert results[None].keys() == plan.points[None].keys()
    assert results["memory", True] == results["memory", False] == results[None]
    assert results["locks", True] == {}
