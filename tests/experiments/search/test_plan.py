"""What a search runs: everything, or what a sampler asks for, which finds the best of a known function."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.points.point import Outcome
from experiments.search.plan import Budget, SearchPlan
from experiments.search.space import Space, default_choices, space_of
from netstack.sim import Result, SimulationConfig
from netstack.sim.organization.config import OrganizationConfig

MakeResult = Callable[..., Result]


@pytest.fixture(scope="module")
def space(composed) -> Space:
    base = composed("org=connp_l")
    return space_of(base, default_choices(base, {"port": ("locked",)}))


def known(org: OrganizationConfig, seed: int) -> float:
    """A function with one best composition, choices that depend on each other, and a little noise."""
    value = {"connection_lock": 300, "group_lock": 340, "group_thread": 200}[org.serialize]
    value += {"global_lock": -80, "group": 0, "bucket_lock": 15, "rcu": 30}[org.lookup]
    value += {"nic_thread": 0, "software_hash": 40, "netisr": -50}[org.dispatch] * (2 if org.placement == "pinned" else -1)
    value += {16: 20, 128: 60}.get(org.groups or 0, 0) * (org.serialize == "group_lock") + 5 * (org.scheduler == "ule")
    return value + random.Random(seed).random()


def run(plan: SearchPlan, make_result: MakeResult, shuffle: int = 0) -> list[str]:
    """Give a plan the outcomes of its points in an order by `shuffle`; return the names of what was run."""
    waiting, order = plan.points, random.Random(shuffle)
    while waiting:
        point = waiting.pop(order.randrange(len(waiting)))
        waiting += plan.more(Outcome(point, make_result(known(point.config.org, point.config.seed))))
    return [candidate.name for candidate in plan.candidates]


def best(space: Space) -> tuple:
    return max(
        space.compositions,
        key=lambda row: known(SimulationConfig(org=space.config(space.compositions.index(row), "").org).org, 1),
    )


def test_all_are_run_where_they_fit_the_budget(space: Space, composed, make_result: MakeResult, tmp_path: Path) -> None:
    published = [composed("org=connp_l"), composed("org=solaris10")]
    plan = SearchPlan(space, published, Budget(1000, (1, 2)), "goodput_mbps", False, tmp_path)
    run(plan, make_result)
    assert not plan.is_sampled
    assert len(plan.candidates) == len(space.compositions) + 1  # solaris10 has batches of its own; connp_l is one of them
    assert all(len(each.points) == 2 and each.is_finished for each in plan.candidates)
    assert {each.name for each in plan.candidates if each.published} == {"connp_l", "solaris10"}
    assert len({point.fingerprint for point in plan.points}) == len(plan.points)
    first = plan.finished()[0]
    assert first.index is not None
    assert space.compositions[first.index] == best(space)
    assert first.half_width("goodput_mbps") > 0


def test_a_sampler_finds_the_best_one_with_a_part_of_the_runs(space: Space, make_result: MakeResult, tmp_path: Path) -> None:
    plan = SearchPlan(space, [space.config(0, "first")], Budget(120, (1,)), "goodput_mbps", False, tmp_path)
    assert plan.is_sampled
    run(plan, make_result)
    assert len(plan.candidates) == 121 < len(space.compositions) / 2
    first = plan.finished()[0]
    assert first.index is not None
    assert space.compositions[first.index] == best(space)


def test_what_a_sampler_asks_for_does_not_depend_on_the_order_of_results(
    space: Space, make_result: MakeResult, tmp_path: Path
) -> None:
    def names(shuffle: int) -> list[str]:
        return run(
            SearchPlan(space, [space.config(0, "first")], Budget(40, (1, 2)), "p50_us", True, tmp_path), make_result, shuffle
        )

    assert names(1) == names(2)


def test_a_sampler_that_may_run_all_runs_each_once(composed, make_result: MakeResult, tmp_path: Path) -> None:
    base = composed("org=connp_l")
    small = space_of(base, {"lookup": ("global_lock", "group", "rcu", "bucket_lock"), "groups": (4, 16, 128)})
    plan = SearchPlan(small, [base], Budget(50, (1,)), "goodput_mbps", True, tmp_path)
    run(plan, make_result)
    assert sorted(each.index for each in plan.candidates if each.index is not None) == list(range(12))
