"""A single lock against the exact solution of a closed queueing network, and the rules of adaptive mutexes."""

import numpy as np
import pytest

from netstack.jit.compilation import compiled
from netstack.sim.build.build import build
from netstack.sim.build.simulation import Simulation
from netstack.sim.config import SimulationConfig
from netstack.sim.engine.exact import settle
from netstack.sim.machine.config import MachineConfig
from netstack.sim.machine.costs import CostsConfig, OperationCost
from netstack.sim.machine.locks import acquire, release
from netstack.sim.machine.numbers import Category, LockClass
from netstack.sim.machine.scheduler import begin_step, end_step, interrupt_core, make_runnable_from_interrupt, take_interrupts
from netstack.sim.machine.state import core_of, thread_of
from netstack.sim.organization.config import OrganizationConfig
from netstack.sim.workload.config import WorkloadConfig

THINK, WANT, HOLD = range(3)


@compiled
def begun(machine, core, now):
    """Begin a step of `core` at `now`; return whether a thread runs."""
    take_interrupts(machine, core, now)
    return begin_step(machine, core)


@compiled
def run_contenders(machine, exponentials, think, hold, steps):
    """Each core thinks, takes lock 0, holds it, and starts over; times are exponential. Stops after `steps` steps."""
    drawn = 0
    for _ in range(steps):
        core = 0
        for other in range(machine.cores_used):
            if core_of(machine, other).next_time < core_of(machine, core).next_time:
                core = other
        cpu = core_of(machine, core)
        if begun(machine, core, cpu.next_time):
            thread = thread_of(machine, cpu.thread)
            if thread.phase == WANT:
                if acquire(machine, core, 0):
                    spend(cpu, int(exponentials[drawn] * hold))
                    drawn += 1
                    thread.phase = HOLD
            else:
                if thread.phase == HOLD:
                    release(machine, core, 0)
                spend(cpu, int(exponentials[drawn] * think))
                drawn += 1
                thread.phase = WANT
        end_step(machine, core)


@compiled
def spend(cpu, cycles):
    cpu.cycles[Category.PROTOCOL] += cycles
    cpu.clock += cycles


def contenders(cores: int, costs: CostsConfig | None = None) -> Simulation:
    org = OrganizationConfig(serialize="group_lock", groups=1)
    machine = MachineConfig(cores=cores, nodes=1)
    simulation = build(SimulationConfig(conns=1, machine=machine, org=org, costs=costs or CostsConfig()))
    for core in range(cores):
        make_runnable_from_interrupt(simulation.machine, core, core)
        interrupt_core(simulation.machine, core, 0)
    return simulation


def mva_throughput(customers: int, think: float, service: float) -> float:
    """Exact mean value analysis of one queueing station and a delay (Reiser and Lavenberg, JACM 1980)."""
    queue = throughput = 0.0
    for population in range(1, customers + 1):
        response = service * (1 + queue)
        throughput = population / (think + response)
        queue = throughput * response
    return throughput


@pytest.mark.parametrize(("cores", "think"), [(1, 5000), (2, 3000), (4, 4000), (4, 1000), (8, 6000)])
def test_one_lock_is_a_closed_queueing_network(cores: int, think: int) -> None:
    hold = 1000
    simulation = contenders(cores)
    exponentials = np.random.default_rng(7).exponential(size=1_200_000)
    run_contenders(simulation.machine, exponentials, think, hold, 1_000_000)
    lock = simulation.tables["lock_class"][0]
    elapsed = simulation.tables["core"]["clock"].max()
    throughput = lock["releases"] / elapsed
    assert throughput == pytest.approx(mva_throughput(cores, think, hold), rel=0.02)
    assert lock["hold_cycles"] / lock["releases"] == pytest.approx(hold, rel=0.02)


def test_a_waiter_spins_while_the_owner_runs_and_gets_the_lock_at_its_release() -> None:
    simulation = contenders(2)
    machine, tables = simulation.machine, simulation.tables
    for core in (0, 1):
        assert begun(machine, core, 0)
    assert acquire(machine, 0, 0)
    assert not acquire(machine, 1, 0)
    end_step(machine, 1)
    assert tables["core"]["spinning_on"][1] == 0
    tables["core"]["clock"][0] += 500
    release(machine, 0, 0)
    settle(machine, 0)
    assert tables["lock"]["owner"][0] == 1
    assert tables["core"]["clock"][1] == 500
    assert acquire(machine, 1, 0)
    assert tables["lock_class"]["sleeps"][0] == 0
    assert tables["lock_class"]["wait_cycles"][0] == 500


def test_a_waiter_sleeps_when_the_owner_was_preempted_and_lends_its_priority() -> None:
    workload = WorkloadConfig(threads_per_core=2)
    org = OrganizationConfig(serialize="group_lock", groups=1)
    simulation = build(SimulationConfig(conns=1, machine=MachineConfig(cores=2, nodes=1), org=org, workload=workload))
    machine, tables = simulation.machine, simulation.tables
    owner, waiter, urgent = 0, 1, 2  # threads 0 and 2 belong to core 0
    tables["thread"]["priority"][:3] = tables["thread"]["base_priority"][:3] = (0, 1, 3)
    for thread in (owner, waiter):
        make_runnable_from_interrupt(machine, thread, thread)
        assert begun(machine, thread, 0)
    assert acquire(machine, 0, 0)
    make_runnable_from_interrupt(machine, 0, urgent)
    assert begun(machine, 0, 100)
    assert tables["core"]["thread"][0] == urgent
    assert not acquire(machine, 1, 0)
    assert tables["core"]["spinning_on"][1] == -1
    assert tables["thread"]["blocked_on"][waiter] == 0
    assert tables["thread"]["priority"][owner] == 1
    assert tables["lock"]["sleepers"][0] == 1


def test_waiters_mark_the_mutex_each_time_anew_and_a_release_looks_for_sleepers() -> None:
    """By hand: a mark takes 100 cycles and the release of a marked mutex 40 more, one at a time under the lock of the chain."""
    operations = {"lock_contend": OperationCost(cycles=100), "lock_release_contested": OperationCost(cycles=40)}
    simulation = contenders(3, CostsConfig(operations=operations))
    machine, tables = simulation.machine, simulation.tables
    clocks, owner, contested = tables["core"]["clock"], tables["lock"]["owner"], tables["lock"]["contested"]
    for core in range(3):
        assert begun(machine, core, 0)
    assert acquire(machine, 0, 0)
    assert contested[0] == 0
    assert not acquire(machine, 1, 0)
    assert not acquire(machine, 2, 0)
    assert clocks[:3].tolist() == [0, 100, 200]  # core 2 waits for the chain, then marks
    clocks[0] = 150
    release(machine, 0, 0)
    assert (clocks[0], owner[0]) == (240, 1)  # it waits until 200
    assert clocks[1:3].tolist() == [240, 340]  # who waited longest has it, the other one marks again
    assert contested[0] == 1
    assert acquire(machine, 1, 0)
    release(machine, 1, 0)
    assert (clocks[1], clocks[2], owner[0], contested[0]) == (380, 380, 2, 0)
    assert acquire(machine, 2, 0)
    release(machine, 2, 0)
    assert clocks[2] == 380  # nobody waited
    assert tables["lock_class"]["hold_cycles"][0] == 240 + 140 + 0
    assert tables["lock_class"]["acquisitions"][LockClass.TURNSTILE] == 5
