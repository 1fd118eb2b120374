"""Mechanisms that are free: each alone against cases worked out by hand, all together against limits that are known."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from netstack.errors import ConfigError
from netstack.sim import MECHANISMS, Result, SimulationConfig, simulate
from netstack.sim.build.build import build
from netstack.sim.build.ideal import priced
from netstack.sim.machine.charging import charge
from netstack.sim.machine.config import LatencyConfig, MachineConfig
from netstack.sim.machine.costs import CostsConfig, OperationCost, StructureCost
from netstack.sim.machine.locks import acquire, release
from netstack.sim.machine.memory import touch_line
from netstack.sim.machine.numbers import Access, Category, LockClass, Operation
from netstack.sim.machine.scheduler import begin_step, end_step, interrupt_core, make_runnable_from_interrupt
from netstack.sim.machine.sections import enter_kernel_section, leave_kernel_section
from netstack.sim.organization.config import OrganizationConfig
from tests.sim.engine.test_simulate import without_wall
from tests.sim.machine.test_locks import run_contenders

Compose = Callable[..., SimulationConfig]
EVERYTHING = f"ideal=[{','.join(MECHANISMS)}]"
SHORT = ("conns=24", "engine.warmup_ms=20", "engine.measure_ms=40")
LINKS_MBPS = 6 * 1000 * 1448 / 1538
L2_HIT, LOCAL, REMOTE, NEAR, FAR, UPGRADE, RUN_AHEAD, ATOMIC = 12, 170, 230, 150, 300, 90, 256, 55


def machine_of(*ideal: str, operations: dict[str, OperationCost] | None = None, cores: int = 2):
    """Return a machine of some cores on a node that share nothing yet."""
    latency = LatencyConfig(L2_HIT, LOCAL, REMOTE, NEAR, FAR, UPGRADE, RUN_AHEAD, ATOMIC)
    costs = CostsConfig(structures={name: StructureCost(1024) for name in ("thing", "another")}, operations=operations or {})
    org = OrganizationConfig(serialize="group_lock", groups=1)
    machine = MachineConfig(cores=cores, nodes=1, latency=latency)
    return build(SimulationConfig(conns=1, ideal=list(ideal), machine=machine, costs=costs, org=org))


def stalls(*ideal: str) -> list[int]:
    """Return the stalls of core 0: a line from memory, one from core 1, one that its own L2 has; and an upgrade of a lock."""
    simulation = machine_of(*ideal)
    machine = simulation.machine
    touch_line(machine, 1, 1, 0, Access.WRITE)
    found = [touch_line(machine, 0, 0, 0, Access.READ), touch_line(machine, 0, 1, 0, Access.READ)]
    l1_sets, ways = int(machine["l1_sets"]), int(machine["l1_ways"])
    for way in range(1, ways + 1):  # line 0 leaves the L1
        touch_line(machine, 0, way * l1_sets, 0, Access.READ)
    found.append(touch_line(machine, 0, 0, 0, Access.READ))
    return [*found, touch_line(machine, 0, 1, 0, Access.LOCKED)]


@pytest.fixture(scope="module")
def run(composed: Compose) -> Callable[..., Result]:
    return lambda *overrides: simulate(composed(*overrides))


@pytest.mark.parametrize(
    ("ideal", "expected"),
    [
        ((), [LOCAL, NEAR, L2_HIT, UPGRADE]),
        (("coherence",), [LOCAL, 0, L2_HIT, 0]),
        (("capacity",), [0, NEAR, 0, UPGRADE]),
        (("coherence", "capacity"), [0, 0, 0, 0]),
        (("atomics",), [LOCAL, NEAR, L2_HIT, 0]),  # the store buffer waits, as for a plain store
        (("locks", "scheduling", "interrupts", "copies"), [LOCAL, NEAR, L2_HIT, UPGRADE]),
    ],
)
def test_each_stall_belongs_to_whoever_has_the_line(ideal: tuple[str, ...], expected: list[int]) -> None:
    assert stalls(*ideal) == expected


@pytest.mark.parametrize(
    ("mechanism", "free"),
    [
        (
            "scheduling",
            {"sleep", "switch_out", "context_switch", "switch_in", "wakeup", "run_queue_add", "ipi_send", "ipi_receive"},
        ),
        ("interrupts", {"interrupt", "timer_interrupt", "softirq"}),
        ("copies", {"sosend_unit", "page_wire", "sb_drop", "page_unwire", "read_frame", "copy_receive", "copy_send"}),
    ],
)
def test_free_operations_run_nothing_touch_nothing_and_lock_nothing(composed: Compose, mechanism: str, free: set[str]) -> None:
    config = composed("costs=freebsd7")
    operations, before = priced(dataclasses.replace(config, ideal=[mechanism])).costs.operations, config.costs.operations
    assert {name for name in before if operations[name] != before[name]} == free
    for name in free:
        found = operations[name]
        assert (found.cycles, found.mutexes, found.atomics, found.touches) == (0, 0, 0, [])


def test_a_free_operation_runs_under_no_lock_of_the_costs_file(composed: Compose) -> None:
    config = composed("org=linux", "costs=linux26", "ideal=[scheduling]")
    locks = {
        **config.costs.locks,
        "wait_lock": dataclasses.replace(config.costs.locks["inode_lock"], operations=["wakeup", "timer"]),
    }
    found = priced(dataclasses.replace(config, costs=dataclasses.replace(config.costs, locks=locks))).costs.locks
    assert found["wait_lock"].operations == ["timer"]
    assert found["inode_lock"] == config.costs.locks["inode_lock"]


def test_a_free_locked_instruction_is_a_plain_one() -> None:
    """It takes no cycles of its own, and does not wait until the store buffer is empty."""
    operations = {"lookup": OperationCost(cycles=10, atomics=2), "tcp_output": OperationCost(cycles=1, touches=["thing 0 s"])}
    for ideal, expected in (((), LOCAL), (("atomics",), 11)):  # the store of tcp_output takes as long as memory
        simulation = machine_of(*ideal, operations=operations)
        charge(simulation.machine, 0, Operation.TCP_OUTPUT)
        charge(simulation.machine, 0, Operation.LOOKUP)
        assert simulation.tables["core"]["clock"][0] == expected


@pytest.mark.parametrize(("cores", "think"), [(2, 1000), (4, 1000), (8, 6000)])
def test_free_locks_run_as_if_there_were_no_queue(cores: int, think: int) -> None:
    """Each core then has a rate of 1 / (think + hold), which is what a station without a queue has."""
    hold, steps = 1000, 60_000
    org = OrganizationConfig(serialize="group_lock", groups=1)
    simulation = build(SimulationConfig(conns=1, ideal=["locks"], machine=MachineConfig(cores=cores, nodes=1), org=org))
    for core in range(cores):
        make_runnable_from_interrupt(simulation.machine, core, core)
        interrupt_core(simulation.machine, core, 0)
    run_contenders(simulation.machine, np.random.default_rng(7).exponential(size=steps), think, hold, steps)
    clocks, found = simulation.tables["core"]["clock"], simulation.tables["lock_class"][LockClass.GLOBAL]
    assert found["acquisitions"] / clocks.mean() == pytest.approx(cores / (think + hold), rel=0.03)
    assert found["waited"] > 0.1 * found["acquisitions"]
    assert found["wait_cycles"] == 0
    assert found["sleeps"] == 0
    assert simulation.tables["core"]["cycles"][:, Category.LOCK_SPIN].sum() == 0
    assert clocks.max() - clocks.min() < cores * 20 * hold  # who waits falls back by the holds before it only


def test_a_free_lock_still_excludes() -> None:
    """Core 1 asks at 100 while core 0 holds until 5,000: it goes on after the release, but at 100."""
    simulation = machine_of("locks")
    machine, cores, threads = simulation.machine, simulation.tables["core"], simulation.tables["thread"]
    for core in (0, 1):
        make_runnable_from_interrupt(machine, core, core)
        interrupt_core(machine, core, 0)
        assert begin_step(machine, core)
    assert acquire(machine, 0, 0)
    cores["clock"][0], cores["clock"][1] = 5000, 100
    assert not acquire(machine, 1, 0)
    end_step(machine, 1)
    assert simulation.tables["lock"]["owner"][0] == cores["thread"][0]
    interrupt_core(machine, 1, 2000)  # is taken when the core goes on, as by a core that works
    assert cores["next_time"][1] > 1 << 61
    cores["resched"][0] = 1
    assert begin_step(machine, 0)  # who holds a lock keeps its core
    assert threads["state"][cores["thread"][0]] == threads["state"][cores["thread"][1]]
    release(machine, 0, 0)
    assert simulation.tables["lock"]["owner"][0] == cores["thread"][1]
    assert cores["next_time"][1] == cores["clock"][1] == 100
    assert acquire(machine, 1, 0)  # what it was given


def test_a_free_section_is_entered_at_once() -> None:
    for ideal, wait in (((), 900), (("locks",), 0)):
        simulation = machine_of(*ideal)
        machine, cores = simulation.machine, simulation.tables["core"]
        enter_kernel_section(machine, 0, LockClass.ROUTE)
        cores["clock"][0] = 1000
        leave_kernel_section(machine, 0, LockClass.ROUTE)
        cores["clock"][1] = 100
        enter_kernel_section(machine, 1, LockClass.ROUTE)
        cores["clock"][1] = 150
        leave_kernel_section(machine, 1, LockClass.ROUTE)
        assert cores["clock"][1] == 150 + wait
        assert simulation.tables["lock_class"]["waited"][LockClass.ROUTE] == 1


def test_what_one_core_does_not_have_changes_nothing(run) -> None:
    """It waits for no lock, takes lines from nobody, and its kernel has no locked instructions."""
    unchanged = without_wall(run("org=up", *SHORT))
    assert without_wall(run("org=up", *SHORT, "ideal=[locks,coherence,atomics]")) == unchanged
    assert without_wall(run("org=up", *SHORT, "ideal=[capacity]")) != unchanged


@pytest.mark.parametrize("org", ["msgp", "connp_t", "connp_l", "linux", "solaris10", "dragonflybsd"])
def test_with_everything_free_the_links_are_the_limit(run, org: str) -> None:
    found = run(f"org={org}", "conns=192", "engine.warmup_ms=100", "engine.measure_ms=60", EVERYTHING)
    assert found.goodput_mbps == pytest.approx(LINKS_MBPS, rel=0.01)
    spent = {name for name, cycles in found.cycles_per_kb.items() if cycles > 0}
    assert spent <= {"protocol", "application", "driver", "scheduling", "idle"}
    if org in ("msgp", "connp_l", "linux"):
        assert "scheduling" not in spent  # that of others is the queues of their ports and perimeters


@pytest.mark.parametrize(("org", "cores"), [("up", 1), ("msgp", 4), ("connp_l", 4)])
def test_with_everything_free_instructions_are_the_limit(composed: Compose, org: str, cores: int) -> None:
    """One operation of 25,000 cycles per segment: cores x 2,200 MHz / 25,000 per second, three for each page of 4,096 bytes."""
    config = composed(f"org={org}", "conns=192", "engine.warmup_ms=40", "engine.measure_ms=60", EVERYTHING)
    operations = {
        name: dataclasses.replace(operation, cycles=25_000 * (name == "tcp_output"))
        for name, operation in config.costs.operations.items()
    }
    found = simulate(dataclasses.replace(config, costs=dataclasses.replace(config.costs, operations=operations)))
    assert found.goodput_mbps == pytest.approx(cores * 2200 / 25_000 * 4096 / 3 * 8, rel=0.005)
    assert found.utilization > 0.99


@pytest.mark.parametrize("org", ["msgp", "connp_t", "connp_l"])
def test_nothing_that_is_free_lowers_goodput(run, org: str) -> None:
    """Within 2 %: a few cycles less change the order in which locks are taken."""
    unchanged = run(f"org={org}", *SHORT).goodput_mbps
    gains = {name: run(f"org={org}", *SHORT, f"ideal=[{name}]").goodput_mbps / unchanged for name in MECHANISMS}
    assert min(gains.values()) > 0.98, gains
    whole = run(f"org={org}", *SHORT, EVERYTHING).goodput_mbps / unchanged
    assert whole > 0.98 * max(gains.values())


@pytest.mark.parametrize(
    "point",
    [
        ("org=msgp", "workload=churn", "conns=24"),
        ("org=linux_rss", "machine=epyc_7662", "costs=linux6", "workload=memcached", "conns=100"),
        ("org=linux", "costs=linux26", "workload=web_short", "conns=24"),
    ],
)
def test_other_workloads_keep_the_laws(run, point: tuple[str, ...]) -> None:
    """A lock that let two threads into one connection would break one of them."""
    for ideal in ("ideal=[locks]", EVERYTHING):
        found = run(*point, "engine.warmup_ms=2", "engine.measure_ms=6", ideal)
        assert found.cycles_per_kb["lock_spin"] == 0


def test_prices_hold_in_windows(run) -> None:
    exact, windows = (
        run("org=connp_l", *SHORT, "ideal=[coherence,capacity,atomics]", f"engine.window_us={width}") for width in (0, 2)
    )
    assert windows.cycles_per_kb["cache_stall"] == windows.cycles_per_kb["lock_atomic"] == 0
    assert windows.goodput_mbps == pytest.approx(exact.goodput_mbps, rel=0.02)


@pytest.mark.parametrize(
    ("overrides", "key", "reason"),
    [
        (("ideal=[lock]",), "ideal", "allowed are locks, coherence"),
        (("ideal=[locks,locks]",), "ideal", "each mechanism once"),
        (("ideal=[atomics,locks]", "engine.window_us=2"), "engine.window_us", r"must be 0 with ideal=\[locks\]"),
    ],
)
def test_what_cannot_be_free_is_refused(composed: Compose, overrides: tuple[str, ...], key: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        composed(*overrides)
    assert caught.value.key == key


def test_the_order_of_what_is_free_is_no_difference(composed: Compose) -> None:
    assert composed("ideal=[atomics,locks]") == composed("ideal=[locks,atomics]")


def test_without_anything_free_no_price_changes(composed: Compose) -> None:
    config = composed("org=msgp")
    assert priced(config) is config
