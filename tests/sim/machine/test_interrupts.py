"""What an interrupt costs beside its instructions: the exit from an idle state, and lines of the L1. By hand-computed cases."""

import pytest

from netstack.errors import ConfigError
from netstack.sim import SimulationConfig
from netstack.sim.build.build import build
from netstack.sim.build.simulation import Simulation
from netstack.sim.machine.config import CacheConfig, LatencyConfig, MachineConfig, NicConfig
from netstack.sim.machine.costs import CostsConfig, OperationCost, StructureCost
from netstack.sim.machine.memory import touch_line
from netstack.sim.machine.nic import raise_interrupt
from netstack.sim.machine.numbers import Access, Category, Instance, ThreadState
from netstack.sim.machine.scheduler import interrupt_core, send_ipi, take_interrupts
from netstack.sim.organization.config import OrganizationConfig

CLOCK_MHZ, IPI_US, WAKE_US, L2_HIT, MEMORY = 1000, 2.0, 3.0, 9, 100


def server(evicted: int = 0, wake_us: float = WAKE_US, l2_policy: str = "exclusive") -> Simulation:
    """Return two cores of one cycle per nanosecond; an L1 has 4 sets of 2 ways. Interrupts and IPIs have no instructions."""
    latency = LatencyConfig(L2_HIT, *[MEMORY] * 5, store_run_ahead_cycles=0, atomic_cycles=0)
    machine = MachineConfig(
        cores=2,
        nodes=1,
        clock_mhz=CLOCK_MHZ,
        l1=CacheConfig(8 * 64, 2),
        l2=CacheConfig(64 * 64, 8),
        l2_policy=l2_policy,
        latency=latency,
        ipi_latency_us=IPI_US,
        wake_us=wake_us,
        interrupt_evicts_lines=evicted,
        nic=NicConfig(interrupts="fixed"),
    )
    costs = CostsConfig(structures={"thing": StructureCost(32)}, operations={"interrupt": OperationCost(category="interrupt")})
    return build(SimulationConfig(conns=1, machine=machine, costs=costs, org=OrganizationConfig(placement="free")))


def occupy(simulation: Simulation, core: int) -> None:
    """Let thread `core` run on a core."""
    simulation.tables["core"]["thread"][core] = simulation.tables["core"]["instance"][core, Instance.THREAD] = core
    simulation.tables["thread"]["state"][core] = ThreadState.RUNNING


@pytest.mark.parametrize(("wake_us", "acts"), [(0.0, 10_000), (WAKE_US, 13_000)])
def test_an_idle_core_leaves_its_idle_state_before_it_takes_an_interrupt(wake_us: float, acts: int) -> None:
    simulation = server(wake_us=wake_us)
    cores, nic = simulation.tables["core"], simulation.tables["nic"][0]
    nic["core"] = 1
    simulation.tables["thread"]["pinned"][nic["thread"]] = -1
    raise_interrupt(simulation.machine, 0, 10_000)
    assert cores["next_time"][1] == acts
    take_interrupts(simulation.machine, 1, acts)
    assert cores["cycles"][1, Category.IDLE] == cores["clock"][1] == acts  # to wake up is idle time


def test_an_ipi_reaches_a_core_that_then_wakes_up() -> None:
    simulation = server()
    occupy(simulation, 0)
    simulation.tables["core"]["clock"][0] = 5000
    send_ipi(simulation.machine, 0, 1)
    assert simulation.tables["core"]["next_time"][1] == 5000 + 2000 + 3000


def test_a_second_interrupt_does_not_delay_a_core_that_wakes_up() -> None:
    simulation = server()
    interrupt_core(simulation.machine, 1, 10_000)
    interrupt_core(simulation.machine, 1, 12_000)
    assert simulation.tables["core"]["next_time"][1] == 13_000


def test_a_core_that_spins_is_awake() -> None:
    simulation = server()
    occupy(simulation, 1)
    simulation.tables["core"]["spinning_on"][1] = 0
    interrupt_core(simulation.machine, 1, 10_000)
    assert simulation.tables["core"]["next_time"][1] == 10_000


def stalls(simulation: Simulation, lines: range) -> list[int]:
    return [int(touch_line(simulation.machine, 0, line, 0, Access.READ)) for line in lines]


def interrupted(evicted: int, l2_policy: str = "exclusive", idle: bool = False) -> Simulation:
    """Return a core whose L1 had lines 4 to 7, of which 0 to 3 were used later, after an interrupt."""
    simulation = server(evicted, l2_policy=l2_policy)
    if not idle:
        occupy(simulation, 0)
    for lines in (range(4, 8), range(4)):
        stalls(simulation, lines)
    interrupt_core(simulation.machine, 0, 10_000)
    take_interrupts(simulation.machine, 0, 10_000)
    return simulation


@pytest.mark.parametrize("l2_policy", ["exclusive", "inclusive"])
def test_an_interrupt_takes_lines_that_were_used_least_recently_to_the_l2(l2_policy: str) -> None:
    simulation = interrupted(3, l2_policy)
    assert stalls(simulation, range(4)) == [0] * 4
    assert stalls(simulation, range(4, 8)) == [L2_HIT] * 3 + [0]


def test_the_next_interrupt_goes_on_with_the_next_set() -> None:
    simulation = interrupted(3)
    interrupt_core(simulation.machine, 0, 20_000)
    take_interrupts(simulation.machine, 0, 20_000)  # of sets 3, 0 and 1: lines 7, 0 and 1
    assert stalls(simulation, range(8)) == [L2_HIT, L2_HIT, 0, 0, L2_HIT, L2_HIT, L2_HIT, L2_HIT]


def test_an_interrupt_may_empty_the_l1() -> None:
    simulation = interrupted(100)
    assert stalls(simulation, range(8)) == [L2_HIT] * 8


@pytest.mark.parametrize(("evicted", "idle"), [(0, False), (3, True)])
def test_nothing_is_taken_by_default_or_from_an_idle_core(evicted: int, idle: bool) -> None:
    simulation = interrupted(evicted, idle=idle)
    assert stalls(simulation, range(8)) == [0] * 8


@pytest.mark.parametrize("machine", [MachineConfig(wake_us=-1), MachineConfig(interrupt_evicts_lines=-1)])
def test_negative_values_are_refused(machine: MachineConfig) -> None:
    with pytest.raises(ConfigError, match="must be"):
        machine.validate()
