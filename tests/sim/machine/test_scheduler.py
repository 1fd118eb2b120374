"""Where woken threads and interrupts go, and against which thread the work of the scheduler is charged."""

from collections.abc import Callable

import pytest

from netstack.sim import SimulationConfig
from netstack.sim.build.build import build
from netstack.sim.build.simulation import Simulation
from netstack.sim.machine.config import LatencyConfig, MachineConfig, NicConfig
from netstack.sim.machine.costs import CostsConfig, OperationCost, StructureCost
from netstack.sim.machine.directory import CORES_PER_WORD
from netstack.sim.machine.nic import raise_interrupt
from netstack.sim.machine.numbers import Category, Instance, LockClass, ThreadState
from netstack.sim.machine.scheduler import begin_step, sleep, take_interrupts, wakeup
from netstack.sim.organization.config import OrganizationConfig

CORES, URGENT, LAZY = 4, 3, 1
OPERATIONS = {
    "sleep": OperationCost(cycles=1, category="scheduling", touches=["thread 0 w"]),
    "switch_out": OperationCost(cycles=20, category="scheduling", touches=["thread 1 w"]),
    "context_switch": OperationCost(cycles=300, category="scheduling", touches=["thread 2 w"]),
    "switch_in": OperationCost(cycles=4000, category="scheduling", touches=["thread 3 w"]),
    "wakeup": OperationCost(cycles=50_000, category="scheduling", touches=["thread 4 w"]),
    "run_queue_add": OperationCost(cycles=600_000, category="scheduling", touches=["thread 5 w"]),
    "interrupt": OperationCost(cycles=2205, category="interrupt"),
}


def server(scheduler: str = "bsd4", interrupts: str = "fixed", placement: str = "free") -> Simulation:
    org = OrganizationConfig(scheduler=scheduler, placement=placement)
    free = LatencyConfig(*[0] * 8)
    machine = MachineConfig(cores=CORES, nodes=1, nic=NicConfig(interrupts=interrupts), latency=free, ipi_latency_us=2.0)
    costs = CostsConfig(structures={"thread": StructureCost(6, "thread")}, operations=OPERATIONS)
    simulation = build(SimulationConfig(conns=1, machine=machine, costs=costs, org=org))
    return simulation


def occupy(simulation: Simulation, core: int, thread: int, priority: int) -> None:
    """Let a thread run on a core."""
    simulation.tables["core"]["thread"][core] = simulation.tables["core"]["instance"][core, Instance.THREAD] = thread
    row = simulation.tables["thread"][thread]
    row["state"], row["core"], row["priority"] = ThreadState.RUNNING, core, priority


@pytest.mark.parametrize(
    ("scheduler", "busy", "expected"),
    [
        ("bsd4", {3: LAZY}, 0),  # the first idle one
        ("ule", {3: LAZY}, 2),  # where it ran
        ("bsd4", {3: LAZY, 0: LAZY}, 1),
        ("ule", {3: LAZY, 2: LAZY}, 0),  # that is busy
        ("bsd4", {0: URGENT, 1: LAZY, 2: URGENT, 3: URGENT}, 1),  # the least urgent
        ("ule", {0: URGENT, 1: LAZY, 2: URGENT, 3: URGENT}, 1),
    ],
)
def test_where_a_woken_thread_goes(scheduler: str, busy: dict[int, int], expected: int) -> None:
    simulation = server(scheduler)
    woken = simulation.tables["thread"][5]
    woken["core"], woken["priority"], woken["pinned"] = 2, 2, -1
    for core, priority in busy.items():
        occupy(simulation, core, core, priority)
    wakeup(simulation.machine, 3, 5)
    assert woken["core"] == expected
    assert simulation.tables["core"]["ipis"].tolist() == [int(core == expected) for core in range(CORES)]


def test_a_pinned_thread_stays_under_either_scheduler() -> None:
    for scheduler in ("bsd4", "ule"):
        simulation = server(scheduler)
        simulation.tables["thread"]["pinned"][5] = 2
        occupy(simulation, 2, 0, LAZY)
        wakeup(simulation.machine, 3, 5)
        assert simulation.tables["thread"]["core"][5] == 2


def test_the_schedulers_work_touches_the_thread_that_it_is_about() -> None:
    """Thread 5 is woken by thread 3 on core 3, and runs on core 0 after thread 1, which goes to sleep there."""
    simulation = server()
    simulation.tables["thread"]["pinned"] = -1
    occupy(simulation, 3, 3, LAZY)
    occupy(simulation, 0, 1, LAZY)
    wakeup(simulation.machine, 3, 5)
    assert touched(simulation) == {(5, 4), (5, 5)}
    assert simulation.tables["core"]["instance"][3, Instance.THREAD] == 3
    sleep(simulation.machine, 0)
    assert touched(simulation) == {(5, 4), (5, 5), (1, 0), (1, 1)}
    assert begin_step(simulation.machine, 0)
    assert touched(simulation) == {(5, 4), (5, 5), (1, 0), (1, 1), (5, 2), (5, 3)}
    cycles = simulation.tables["core"]["cycles"]
    assert cycles[3, Category.SCHEDULING] == 650_000
    assert cycles[0].sum() == simulation.tables["core"]["clock"][0]


def touched(simulation: Simulation) -> set[tuple[int, int]]:
    """Return which lines of which threads any core has touched."""
    sharers = simulation.tables["line"]["bits"] & ((1 << CORES_PER_WORD) - 1)
    return {divmod(line, 6) for line in range(len(sharers)) if sharers[line]}


def test_the_wait_for_the_run_queue_is_scheduling() -> None:
    simulation = server()
    occupy(simulation, 2, 2, LAZY)
    occupy(simulation, 3, 3, LAZY)
    for waker, thread in ((2, 5), (3, 6)):
        wakeup(simulation.machine, waker, thread)
    assert simulation.tables["lock_class"]["wait_cycles"][LockClass.RUN_QUEUE] == 600_000
    assert simulation.tables["core"]["cycles"][3, Category.SCHEDULING] == 650_000 + 600_000
    assert simulation.tables["core"]["cycles"][3, Category.LOCK_SPIN] == 0


@pytest.mark.parametrize(
    ("interrupts", "busy", "charged", "forwarded"),
    [
        ("fixed", (), 1, None),  # its own core idles
        ("idle_core", (), 1, None),
        ("fixed", (1,), 1, 0),  # its own core takes it, and interrupts the first idle one
        ("idle_core", (1,), 0, None),
        ("fixed", (0, 1, 2, 3), 1, None),  # none idles
        ("idle_core", (0, 1, 2, 3), 1, None),
    ],
)
def test_which_core_is_charged_for_an_interrupt(
    interrupts: str, busy: tuple[int, ...], charged: int, forwarded: int | None
) -> None:
    simulation = server(interrupts=interrupts)
    cores, nic = simulation.tables["core"], simulation.tables["nic"][0]
    nic["core"] = 1
    simulation.tables["thread"]["pinned"][nic["thread"]] = -1
    for core in busy:
        occupy(simulation, core, core, LAZY)
    raise_interrupt(simulation.machine, 0, 10_000)
    assert cores["interrupts"].tolist() == [int(core == charged) for core in range(CORES)]
    assert cores["ipis"].tolist() == [int(core == forwarded) for core in range(CORES)]
    assert simulation.tables["thread"]["core"][nic["thread"]] == (charged if forwarded is None else forwarded)
    if forwarded is not None:
        assert cores["next_time"][forwarded] == 10_000 + 2 * 2200
    take_interrupts(simulation.machine, charged, 10_000)
    assert cores["cycles"][charged, Category.INTERRUPT] == 2205


def test_cards_take_turns_from_a_core_that_the_seed_draws(composed: Callable[..., SimulationConfig]) -> None:
    first = []
    for seed in range(1, 25):
        cores = build(composed("conns=6", f"seed={seed}")).tables["nic"]["core"].tolist()
        assert cores == [(cores[0] + card) % CORES for card in range(6)]
        first.append(cores[0])
    assert set(first) == set(range(CORES))
    assert build(composed("conns=6", "org=up")).tables["nic"]["core"].tolist() == [0] * 6
