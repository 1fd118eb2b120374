"""What operations cost, against cases computed by hand: the store buffer, lock profiling, structures that are left out."""

from collections.abc import Callable

import pytest

from netstack.sim import SimulationConfig, simulate
from netstack.sim.build.build import build
from netstack.sim.build.simulation import Simulation
from netstack.sim.machine.charging import charge, charge_section, touch_structure
from netstack.sim.machine.config import LatencyConfig, MachineConfig
from netstack.sim.machine.costs import CostsConfig, OperationCost, StructureCost
from netstack.sim.machine.locks import acquire, enter, leave, release
from netstack.sim.machine.memory import touch_line
from netstack.sim.machine.numbers import Access, Category, LockClass, Operation
from netstack.sim.machine.scheduler import begin_step, make_runnable_from_interrupt
from netstack.sim.organization.config import OrganizationConfig

Compose = Callable[..., SimulationConfig]
ATOMIC, UPGRADE, RUN_AHEAD, TRANSFER, LOCAL = 55, 90, 256, 150, 170
READ_TIME, PROFILE = 1000, 300
OPERATIONS = {
    "tcp_output": OperationCost(cycles=100, touches=["thing 0 w"]),  # one store
    "ip_output": OperationCost(cycles=10, touches=["thing 1-10 w"]),  # ten
    "lookup": OperationCost(cycles=1, atomics=1),
    "tcp_input": OperationCost(cycles=20, touches=["thing 11 s"]),
    "sb_drop": OperationCost(cycles=20, touches=["thing 12 l"]),
    "pru_send": OperationCost(cycles=20, touches=["thing 13 w"]),
    "wakeup": OperationCost(cycles=7, atomics=2, category="scheduling", touches=["thing 14 r", "thing 1-10 w"]),
    "route_lookup": OperationCost(cycles=50, mutexes=3, atomics=1),
    "callout_set": OperationCost(cycles=80, atomics=2),
    "lock_acquire": OperationCost(cycles=15, atomics=1),
    "lock_release": OperationCost(cycles=10, atomics=1),
    "read_timecounter": OperationCost(cycles=READ_TIME, category="lock_profile"),
    "lock_profile": OperationCost(cycles=PROFILE, atomics=2, category="lock_profile"),
    "ip_input": OperationCost(cycles=5, touches=["other 0-3 w"]),
}
HELD_FOR_PROFILE = PROFILE + 2 * ATOMIC


def machine_of(run_ahead: int = RUN_AHEAD, profiling: bool = False, locks: bool = True, modelled: bool = True) -> Simulation:
    """Return a machine of two cores that both hold lines 0 to 10, while core 1 owns lines 11 to 13."""
    latency = LatencyConfig(12, LOCAL, 230, TRANSFER, 230, UPGRADE, run_ahead, ATOMIC)
    structures = {"thing": StructureCost(64), "other": StructureCost(64, modelled=modelled)}
    costs = CostsConfig(structures=structures, operations=OPERATIONS, lock_profiling=profiling)
    org = OrganizationConfig(serialize="group_lock", groups=1) if locks else OrganizationConfig(serialize="none", cores=1)
    machine = MachineConfig(cores=2, nodes=1, latency=latency)
    simulation = build(SimulationConfig(conns=1, machine=machine, costs=costs, org=org))
    for line in range(11):
        for core in (1, 0):
            touch_line(simulation.machine, core, line, 0, Access.READ)
    for line in range(11, 14):
        touch_line(simulation.machine, 1, line, 0, Access.WRITE)
    return simulation


def charged(simulation: Simulation, *operations: Operation) -> list[int]:
    """Return the clock of core 0 after each operation; its cycles always sum to its clock."""
    core, clocks = simulation.tables["core"], []
    for operation in operations:
        charge(simulation.machine, 0, operation)
        assert core["cycles"][0].sum() == core["clock"][0]
        clocks.append(int(core["clock"][0]))
    return clocks


def cycles(simulation: Simulation, category: Category) -> int:
    return int(simulation.tables["core"]["cycles"][0, category])


def test_a_plain_store_retires_before_its_line_is_owned() -> None:
    simulation = machine_of()
    assert charged(simulation, Operation.TCP_OUTPUT) == [100]
    assert simulation.tables["core"]["stores_done"][0] == UPGRADE
    assert simulation.tables["count"]["upgrades"].sum() == 1
    assert charged(simulation, Operation.TCP_OUTPUT) == [200]  # the line is owned now
    assert simulation.tables["count"]["upgrades"].sum() == 1


def test_a_full_buffer_lets_the_core_wait_for_what_is_beyond_it() -> None:
    """Ten stores take 900 cycles. The core, done at 10, may be 256 ahead of the last one."""
    simulation = machine_of()
    assert charged(simulation, Operation.IP_OUTPUT) == [900 - RUN_AHEAD]
    assert cycles(simulation, Category.CACHE_STALL) == 900 - RUN_AHEAD - 10
    assert cycles(simulation, Category.PROTOCOL) == 10


def test_a_locked_instruction_waits_until_the_buffer_is_empty() -> None:
    simulation = machine_of()
    assert charged(simulation, Operation.IP_OUTPUT, Operation.LOOKUP) == [644, 900]  # instead of 644 + 1 + 55
    assert cycles(simulation, Category.LOCK_ATOMIC) == ATOMIC
    assert cycles(simulation, Category.CACHE_STALL) == 900 - 10 - 1 - ATOMIC
    assert charged(simulation, Operation.LOOKUP) == [900 + 1 + ATOMIC]  # it is empty


def test_the_buffer_empties_while_the_core_works() -> None:
    """Stores of the second operation begin when it does, for the first one's is done at 90."""
    simulation = machine_of()
    assert charged(simulation, Operation.TCP_OUTPUT, Operation.IP_OUTPUT) == [100, 100 + 900 - RUN_AHEAD]
    assert simulation.tables["core"]["stores_done"][0] == 1000


def test_without_a_buffer_every_store_waits() -> None:
    simulation = machine_of(run_ahead=0)
    assert charged(simulation, Operation.TCP_OUTPUT, Operation.IP_OUTPUT) == [100 + UPGRADE, 190 + 10 + 10 * UPGRADE]
    assert charged(simulation, Operation.LOOKUP) == [1100 + 1 + ATOMIC]


@pytest.mark.parametrize(
    ("operation", "run_ahead", "stall", "stores"),
    [
        (Operation.TCP_INPUT, RUN_AHEAD, 0, TRANSFER),  # stored: fetched and owned at once, behind the core's back
        (Operation.SB_DROP, RUN_AHEAD, TRANSFER, 0),  # locked: the core waits for the one transaction
        (Operation.PRU_SEND, RUN_AHEAD, TRANSFER, UPGRADE),  # written: the core reads first
        (Operation.TCP_INPUT, 0, TRANSFER, 0),
        (Operation.SB_DROP, 0, TRANSFER, 0),
        (Operation.PRU_SEND, 0, TRANSFER + UPGRADE, 0),
    ],
)
def test_what_of_a_transfer_is_waited_for(operation: Operation, run_ahead: int, stall: int, stores: int) -> None:
    simulation = machine_of(run_ahead)
    assert charged(simulation, operation) == [20 + stall]
    assert simulation.tables["core"]["stores_done"][0] == stores
    assert cycles(simulation, Category.CACHE_STALL) == stall


def test_a_locked_instruction_on_a_line_that_its_own_l2_shares_waits_for_the_upgrade() -> None:
    machine = MachineConfig(cores=2, nodes=1, latency=LatencyConfig(12, LOCAL, 230, TRANSFER, 230, UPGRADE, RUN_AHEAD, ATOMIC))
    l1_sets = machine.l1.size_bytes // (machine.line_bytes * machine.l1.ways)
    costs = CostsConfig(structures={f"thing_{number}": StructureCost(1024) for number in range(2)})
    simulation = build(SimulationConfig(conns=1, machine=machine, costs=costs))
    for core, line in ((1, 0), (0, 0), *((0, way * l1_sets) for way in range(1, machine.l1.ways + 1))):
        touch_line(simulation.machine, core, line, 0, Access.READ)
    assert touch_line(simulation.machine, 0, 0, 0, Access.LOCKED) == 12 + UPGRADE
    assert simulation.tables["count"]["upgrades"].sum() == 1
    assert touch_line(simulation.machine, 1, 0, 0, Access.READ) == TRANSFER


def test_the_scheduler_owns_its_locked_instructions_and_stalls() -> None:
    simulation = machine_of()
    [clock] = charged(simulation, Operation.WAKEUP)
    assert clock == 900  # its locked instructions wait for ten stores; the fetch of line 14 is over before
    assert cycles(simulation, Category.SCHEDULING) == clock


@pytest.mark.parametrize("profiling", [False, True])
def test_each_profiled_mutex_adds_two_readings_and_an_update(profiling: bool) -> None:
    simulation = machine_of(profiling=profiling)
    work, per_mutex = 50 + 7 * ATOMIC, 2 * READ_TIME + HELD_FOR_PROFILE
    assert charged(simulation, Operation.ROUTE_LOOKUP) == [work + 3 * per_mutex * profiling]
    profile = simulation.tables["lock_class"][LockClass.LOCK_PROFILE]
    assert (profile["acquisitions"], profile["hold_cycles"]) == (3 * profiling, 3 * HELD_FOR_PROFILE * profiling)
    assert cycles(simulation, Category.LOCK_PROFILE) == 3 * (2 * READ_TIME + PROFILE) * profiling
    assert cycles(simulation, Category.LOCK_ATOMIC) == (7 + 6 * profiling) * ATOMIC


def test_spin_mutexes_and_kernels_without_locks_are_not_profiled() -> None:
    assert charged(machine_of(profiling=True), Operation.CALLOUT_SET) == [80 + 2 * ATOMIC]
    simulation = machine_of(profiling=True)
    charge_section(simulation.machine, 0, LockClass.CALLOUT, Operation.CALLOUT_SET)
    assert simulation.tables["core"]["clock"][0] == 80 + 2 * ATOMIC
    assert charged(machine_of(profiling=True, locks=False), Operation.ROUTE_LOOKUP) == [50]


def test_profiles_of_two_cores_exclude_each_other() -> None:
    """Both come to the profile's lock at the same time, three times: the second waits once, and is behind from then on."""
    simulation = machine_of(profiling=True)
    for core in (0, 1):
        charge(simulation.machine, core, Operation.ROUTE_LOOKUP)
    first, second = simulation.tables["core"]["clock"].tolist()
    assert second - first == HELD_FOR_PROFILE
    assert simulation.tables["core"]["cycles"][1, Category.LOCK_SPIN] == HELD_FOR_PROFILE
    assert simulation.tables["lock_class"]["waited"][LockClass.LOCK_PROFILE] == 1


def test_an_adaptive_mutex_is_held_for_its_profile() -> None:
    """It is acquired before the first reading, and released after the update."""
    held = []
    for profiling in (False, True):
        simulation = machine_of(profiling=profiling)
        make_runnable_from_interrupt(simulation.machine, 0, 0)
        begin_step(simulation.machine, 0)
        start = int(simulation.tables["core"]["clock"][0])
        assert acquire(simulation.machine, 0, 0)
        release(simulation.machine, 0, 0)
        pair = int(simulation.tables["core"]["clock"][0]) - start
        assert pair == 15 + 10 + 2 * ATOMIC + profiling * (2 * READ_TIME + HELD_FOR_PROFILE)
        held.append(int(simulation.tables["lock_class"]["hold_cycles"][LockClass.GLOBAL]))
    assert held == [10 + ATOMIC, 10 + ATOMIC + 2 * READ_TIME + HELD_FOR_PROFILE]


def test_a_perimeters_mutex_is_profiled_on_the_way_in_and_on_the_way_out() -> None:
    simulation = machine_of(profiling=True)
    make_runnable_from_interrupt(simulation.machine, 0, 0)
    begin_step(simulation.machine, 0)
    enter(simulation.machine, 0, 0)
    leave(simulation.machine, 0, 0)
    pair = 15 + 10 + 2 * ATOMIC + 2 * READ_TIME + HELD_FOR_PROFILE
    assert simulation.tables["core"]["cycles"][0].sum() == 2 * pair


def test_a_structure_that_is_not_modelled_is_not_touched() -> None:
    for modelled, touched in ((True, 4), (False, 0)):
        simulation = machine_of(modelled=modelled)
        [clock] = charged(simulation, Operation.IP_INPUT)
        assert clock == 5 + touched * LOCAL
        counts = simulation.tables["count"].reshape(2, -1)
        assert counts["l1_misses"][:, simulation.structures.index("other")].sum() == touched


def test_a_structure_that_there_is_not_has_no_lines() -> None:
    simulation = machine_of()
    before = simulation.tables["line"].copy()
    touch_structure(simulation.machine, 0, -1, 0, 0, Access.WRITE)
    assert (simulation.tables["line"] == before).all()
    assert simulation.tables["core"]["clock"][0] == 0


def test_profiling_shows_only_in_a_profiled_kernel(composed: Compose) -> None:
    point = ("org=msgp", "conns=24", "engine.warmup_ms=3", "engine.measure_ms=5")
    plain, profiled = (simulate(composed(*point, f"costs.lock_profiling={on}")) for on in ("false", "true"))
    assert "lock_profile" not in plain.lock
    assert plain.cycles_per_kb["lock_profile"] == 0
    assert profiled.lock["lock_profile"].acquisitions > profiled.data_segments
    assert profiled.cycles_per_kb["lock_profile"] > profiled.cycles_per_kb["protocol"]
    assert profiled.goodput_mbps < plain.goodput_mbps / 2
