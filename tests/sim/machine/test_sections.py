"""Kernel-wide sections against all holds so far: no two overlap, and none waits longer than it must."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.sim import SimulationConfig
from netstack.sim.build.build import build
from netstack.sim.engine.exact import run_until, settle
from netstack.sim.machine.config import MachineConfig
from netstack.sim.machine.numbers import Category, LockClass
from netstack.sim.machine.sections import enter_kernel_section, leave_kernel_section
from netstack.sim.machine.state import RECENT

CORES = 4
HOLD = st.tuples(st.integers(0, 300), st.integers(1, 400))  # work before it, and its length
STEP = st.lists(HOLD, min_size=0, max_size=RECENT // CORES)
MS = 2_200_000


@settings(max_examples=200, deadline=None)
@given(st.lists(STEP, max_size=40))
def test_holds_exclude_each_other_whatever_the_order_of_cores(steps: list[list[tuple[int, int]]]) -> None:
    """The core that is behind takes the next step, as in the exact engine; each enters twice at most in a step."""
    simulation = build(SimulationConfig(conns=1, machine=MachineConfig(cores=CORES)))
    cores, machine = simulation.tables["core"], simulation.machine
    holds: list[tuple[int, int]] = []
    waits = 0
    for step in steps:
        core = int(np.argmin(cores["clock"]))
        cores["clock"][core] += 1
        for work, length in step:
            cores["clock"][core] += work
            asked = int(cores["clock"][core])
            enter_kernel_section(machine, core, LockClass.CALLOUT)
            cores["clock"][core] += length
            leave_kernel_section(machine, core, LockClass.CALLOUT)
            end = int(cores["clock"][core])
            assert end - length == first_gap(holds, asked, length)
            waits += end - length - asked
            holds.append((end - length, end))
    holds.sort()
    assert all(before[1] <= behind[0] for before, behind in pairwise(holds))
    statistics = simulation.tables["lock_class"][LockClass.CALLOUT]
    assert statistics["acquisitions"] == statistics["releases"] == len(holds)
    assert statistics["hold_cycles"] == sum(end - start for start, end in holds)
    assert statistics["wait_cycles"] == cores["cycles"][:, Category.LOCK_SPIN].sum() == waits


def first_gap(holds: list[tuple[int, int]], asked: int, length: int) -> int:
    """Return the first moment from `asked` on at which nothing is held for `length` cycles."""
    moments = [asked, *(end for _, end in holds if end > asked)]
    return min(time for time in moments if all(end <= time or time + length <= start for start, end in holds))


def test_a_short_hold_goes_before_a_later_one_and_a_long_one_behind_it() -> None:
    simulation = build(SimulationConfig(conns=1, machine=MachineConfig(cores=CORES)))
    clocks = simulation.tables["core"]["clock"]

    def hold(core: int, asked: int, length: int) -> int:
        clocks[core] = asked
        enter_kernel_section(simulation.machine, core, LockClass.RUN_QUEUE)
        clocks[core] += length
        leave_kernel_section(simulation.machine, core, LockClass.RUN_QUEUE)
        return int(clocks[core])

    assert hold(0, 1000, 200) == 1200
    assert hold(1, 900, 100) == 1000
    assert hold(2, 800, 101) == 1301  # 800 to 900 is one cycle too short
    assert hold(3, 1050, 10) == 1311
    cycles = simulation.tables["core"]["cycles"][3]
    assert cycles[Category.SCHEDULING] == cycles.sum() == 1301 - 1050


@pytest.mark.parametrize(
    "overrides", [("org=connp_t", "conns=24"), ("org=msgp", "conns=192"), ("org=msgp", "conns=24", "costs.lock_profiling=true")]
)
def test_nothing_is_held_for_longer_than_there_is_time(
    composed: Callable[..., SimulationConfig], overrides: tuple[str, ...]
) -> None:
    simulation = build(composed(*overrides, "workload.start_spread_us=0"))
    run_until(simulation.machine, simulation.stack, 20 * MS)
    settle(simulation.machine, 20 * MS)
    elapsed = simulation.tables["core"]["clock"].max()
    classes = ("RUN_QUEUE", "CALLOUT", "ROUTE", "PAGE_QUEUE", "LOCK_PROFILE")
    utilization = {name: simulation.tables["lock_class"]["hold_cycles"][LockClass[name]] / elapsed for name in classes}
    assert max(utilization.values()) <= 1, utilization
    assert max(utilization.values()) > 0.15, utilization
    for section in simulation.tables["section"][[LockClass[name] for name in classes]]:
        starts, ends = section["starts"], section["ends"]
        held = np.flatnonzero(ends > starts)  # stores that the buffer takes need no time
        order = held[np.argsort(starts[held])]
        assert (ends[order][:-1] <= starts[order][1:]).all()
