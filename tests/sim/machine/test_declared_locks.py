"""Locks of a costs file: what exists once for what, holds that exclude each other, and hand-overs by tickets, by hand."""

import dataclasses
from collections.abc import Callable

import pytest

from netstack.errors import ConfigError
from netstack.jit.compilation import compiled
from netstack.sim import SimulationConfig
from netstack.sim.build.build import build
from netstack.sim.build.simulation import Simulation
from netstack.sim.machine.charging import charge
from netstack.sim.machine.costs import LockCost
from netstack.sim.machine.numbers import Category, LockClass, Operation

Compose = Callable[..., SimulationConfig]
HOLD, TRANSFER = 1000, 80
FOUR_CORES = ("machine=epyc_7662", "machine.cores=4", "machine.nic.queues=4", "org=linux_rss", "costs=linux6")


@compiled
def run_operation(machine, core, operation):
    """Charge an operation to a core."""
    charge(machine, core, operation)


def locked(composed: Compose, scope: str, *, ticket: bool = False, nodes: int = 1) -> Simulation:
    """Return a machine whose only lock is around `time_wait`, which takes 1,000 cycles and touches nothing."""
    config = composed(*FOUR_CORES, f"machine.nodes={nodes}", f"machine.latency.cache_same_node_cycles={TRANSFER}", "conns=8")
    operations = dict(config.costs.operations)
    operations["time_wait"] = dataclasses.replace(operations["time_wait"], cycles=HOLD, atomics=0, touches=[])
    locks = {"death_lock": LockCost(scope, ticket, ["time_wait"])}
    return build(dataclasses.replace(config, costs=dataclasses.replace(config.costs, operations=operations, locks=locks)))


def run_on(simulation: Simulation, cores: list[int]) -> list[int]:
    """Run the operation once on each of these cores, all at time 0; return their clocks in the end."""
    for core in cores:
        run_operation(simulation.machine, core, Operation.TIME_WAIT)
    return [int(simulation.tables["core"]["clock"][core]) for core in cores]


def test_one_lock_of_the_kernel_lets_one_core_after_the_other(composed: Compose) -> None:
    simulation = locked(composed, "kernel")
    assert run_on(simulation, [0, 1, 2, 3]) == [HOLD, 2 * HOLD, 3 * HOLD, 4 * HOLD]
    row = simulation.tables["lock_class"][len(LockClass)]
    assert (row["acquisitions"], row["releases"], row["waited"]) == (4, 4, 3)
    assert (row["hold_cycles"], row["wait_cycles"]) == (4 * HOLD, 6 * HOLD)
    assert simulation.tables["core"]["cycles"][:, Category.LOCK_SPIN].tolist() == [0, HOLD, 2 * HOLD, 3 * HOLD]


@pytest.mark.parametrize(
    ("scope", "nodes", "clocks"),
    [("core", 1, [1, 1, 1, 1]), ("none", 1, [1, 1, 1, 1]), ("node", 2, [1, 2, 1, 2]), ("kernel", 2, [1, 2, 3, 4])],
)
def test_what_a_lock_exists_once_for(composed: Compose, scope: str, nodes: int, clocks: list[int]) -> None:
    """Of two nodes the first has cores 0 and 1."""
    assert run_on(locked(composed, scope, nodes=nodes), [0, 1, 2, 3]) == [HOLD * clock for clock in clocks]


def test_a_ticket_lock_is_handed_over_the_later_the_more_wait(composed: Compose) -> None:
    """The k-th core finds k others before it: it gets the lock k half transfers after the last one lets go."""
    simulation = locked(composed, "kernel", ticket=True)
    first = HOLD
    second = first + TRANSFER // 2 + HOLD
    third = second + 2 * TRANSFER // 2 + HOLD
    fourth = third + 3 * TRANSFER // 2 + HOLD
    assert run_on(simulation, [0, 1, 2, 3]) == [first, second, third, fourth]


def test_a_short_hold_goes_into_a_gap_before_a_later_one(composed: Compose) -> None:
    simulation = locked(composed, "kernel")
    simulation.tables["core"]["clock"][0] = 5 * HOLD
    assert run_on(simulation, [0, 1]) == [6 * HOLD, HOLD]


@pytest.mark.parametrize(
    ("name", "lock", "line"),
    [
        ("run_queue", LockCost("core", False, ["sleep"]), "costs.locks.run_queue=run_queue: has its operations already"),
        ("run_queue", LockCost("bucket"), "costs.locks.run_queue.scope=bucket: must be kernel, node, core or none"),
        ("nic", LockCost("core", False, ["sleep"]), "costs.locks.nic=nic: is a class of the simulation"),
        ("mine", LockCost("planet", False, ["sleep"]), "costs.locks.mine.scope=planet: allowed are kernel"),
        ("mine", LockCost("kernel"), r"costs.locks.mine.operations=\[\]: must name the operations"),
        ("mine", LockCost("kernel", False, ["dance"]), "costs.locks.mine.operations=dance: is no operation"),
    ],
)
def test_what_is_refused(composed: Compose, name: str, lock: LockCost, line: str) -> None:
    costs = dataclasses.replace(composed(*FOUR_CORES).costs, locks={name: lock})
    with pytest.raises(ConfigError, match=f"^{line}"):
        costs.validate()


def test_an_operation_runs_under_one_lock(composed: Compose) -> None:
    locks = {"one": LockCost("kernel", False, ["sleep"]), "other": LockCost("kernel", False, ["sleep"])}
    with pytest.raises(ConfigError, match=r"^costs.locks.other.operations=sleep: runs under one already"):
        dataclasses.replace(composed(*FOUR_CORES).costs, locks=locks).validate()
