"""The caches against a slow reference model: lists in LRU order, trees and sets of holders, on random traces."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.sim.build.build import build
from netstack.sim.build.simulation import Simulation
from netstack.sim.config import SimulationConfig
from netstack.sim.machine.config import CacheConfig, LatencyConfig, MachineConfig
from netstack.sim.machine.costs import CostsConfig, StructureCost
from netstack.sim.machine.memory import dma_write, touch_line
from netstack.sim.organization.config import OrganizationConfig
from tests.helpers.reference_caches import Reference

CORES, LINES, LINE_BYTES = 3, 40, 64
L2_HIT, LOCAL, REMOTE, SAME, OTHER, UPGRADE = 11, 101, 203, 307, 409, 53


def small_machine(policy: str, l2_ways: int = 4, replacement: str = "lru") -> Simulation:
    latency = LatencyConfig(L2_HIT, LOCAL, REMOTE, SAME, OTHER, UPGRADE)
    caches = (CacheConfig(4 * LINE_BYTES, 2), CacheConfig(2 * l2_ways * LINE_BYTES, l2_ways, replacement))
    machine = MachineConfig(cores=CORES, nodes=2, l1=caches[0], l2=caches[1], l2_policy=policy, latency=latency)
    costs = CostsConfig(structures={"thing": StructureCost(LINES, "kernel")})
    org = OrganizationConfig(serialize="group_lock")
    return build(SimulationConfig(conns=1, machine=machine, costs=costs, org=org))


@pytest.mark.parametrize(("l2_ways", "replacement"), [(4, "lru"), (4, "plru"), (7, "plru")])
@pytest.mark.parametrize("policy", ["exclusive", "inclusive"])
@settings(max_examples=60, deadline=None)
@given(
    trace=st.lists(
        st.tuples(st.integers(0, CORES - 1), st.integers(0, LINES - 1), st.sampled_from("rrrwwd")), min_size=1, max_size=400
    )
)
def test_every_stall_and_count_agrees_with_the_reference(
    policy: str, l2_ways: int, replacement: str, trace: list[tuple[int, int, str]]
) -> None:
    simulation = small_machine(policy, l2_ways, replacement)
    nodes = simulation.tables["core"]["node"].tolist()
    reference = Reference(simulation.config.machine, nodes, [0] * LINES)
    for core, line, action in trace:
        if action == "d":
            dma_write(simulation.machine, 0, 0, line, 1)
            reference.dma(line)
        else:
            expected = reference.touch(core, line, action == "w")
            assert touch_line(simulation.machine, core, line, 0, int(action == "w")) == expected
    counts = simulation.tables["count"]
    assert counts["l1_misses"].sum() == reference.l1_misses
    assert counts["l2_misses"].sum() == reference.l2_misses
    assert counts["coherence_misses"].sum() == reference.coherence_misses
    assert counts["upgrades"].sum() == reference.upgrades


def test_a_working_set_of_the_l2_stays_and_a_larger_one_leaves() -> None:
    simulation = small_machine("exclusive")
    for _ in range(5):
        for line in range(12):
            touch_line(simulation.machine, 0, line, 0, 0)
    assert simulation.tables["count"]["l2_misses"].sum() == 12  # L1 and exclusive L2 together hold 12 lines
    for _ in range(5):
        for line in range(24):
            touch_line(simulation.machine, 1, line, 0, 0)
    assert simulation.tables["count"]["l2_misses"].sum() == 12 + 5 * 24  # LRU and a cyclic walk: every access misses


def test_lines_alternate_between_memory_nodes_by_page() -> None:
    machine = MachineConfig(cores=2, nodes=2)
    costs = CostsConfig(structures={"thing": StructureCost(256, "kernel")})
    simulation = build(SimulationConfig(conns=1, machine=machine, costs=costs))
    stalls = [int(touch_line(simulation.machine, 0, line, 0, 0)) for line in (0, 64, 128, 192)]
    latency = machine.latency
    assert stalls == [latency.memory_local_cycles, latency.memory_remote_cycles] * 2
    assert np.all(np.diff(simulation.tables["core"]["node"]) >= 0)
