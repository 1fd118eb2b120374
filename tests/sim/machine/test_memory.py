"""The caches against a slow reference model: lists in LRU order, trees and sets of holders, on random traces."""

from collections import defaultdict
from dataclasses import dataclass, field

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
from tests.helpers.pseudo_lru_tree import TreeSet

CORES, LINES, LINE_BYTES = 3, 40, 64
L2_HIT, LOCAL, REMOTE, SAME, OTHER, UPGRADE = 11, 101, 203, 307, 409, 53


@dataclass
class RecencySet:
    """A set of an L2 as a list of lines, the least recently used first."""

    ways: int
    lines: list[int] = field(default_factory=list)

    def remove(self, line: int) -> None:
        self.lines.remove(line)

    def use(self, line: int) -> None:
        self.lines.remove(line)
        self.lines.append(line)

    def insert(self, line: int) -> int | None:
        victim = self.lines.pop(0) if len(self.lines) == self.ways else None
        self.lines.append(line)
        return victim


class PseudoLruSet(TreeSet):
    """A set of an L2 as a tree, and the line of each way."""

    def __init__(self, ways: int) -> None:
        super().__init__(ways)
        self.line_of: dict[int, int] = {}

    @property
    def lines(self) -> list[int]:
        return [self.line_of[way] for way in self.in_use]

    def way_of(self, line: int) -> int:
        return next(way for way in self.in_use if self.line_of[way] == line)

    def remove(self, line: int) -> None:
        self.in_use.remove(self.way_of(line))

    def insert(self, line: int) -> int | None:
        way = self.victim()
        victim = self.line_of[way] if way in self.in_use else None
        self.line_of[way] = line
        super().use(way)
        return victim

    def use(self, line: int) -> None:
        super().use(self.way_of(line))


@dataclass
class ReferenceCore:
    """A core's caches: each L1 set a list of lines, the least recently used first."""

    l1_sets: int
    l1_ways: int
    l2_sets: int
    l2: defaultdict[int, RecencySet | PseudoLruSet]
    l1: dict[int, list[int]] = field(default_factory=dict)
    lost: set[int] = field(default_factory=set)

    def l1_set(self, line: int) -> list[int]:
        return self.l1.setdefault(line % self.l1_sets, [])

    def l2_set(self, line: int) -> RecencySet | PseudoLruSet:
        return self.l2[line % self.l2_sets]

    def holds(self, line: int) -> bool:
        return line in self.l1_set(line) or line in self.l2_set(line).lines

    def drop(self, line: int) -> None:
        if line in self.l1_set(line):
            self.l1_set(line).remove(line)
        if line in self.l2_set(line).lines:
            self.l2_set(line).remove(line)


class Reference:
    """The obvious model: who holds a line is found by looking into every cache."""

    def __init__(self, machine: MachineConfig, node_of: list[int], home_of: list[int]) -> None:
        sets = [cache.size_bytes // (LINE_BYTES * cache.ways) for cache in (machine.l1, machine.l2)]
        self.exclusive = machine.l2_policy == "exclusive"
        kind = PseudoLruSet if machine.l2.replacement == "plru" else RecencySet
        l2_sets = [defaultdict(lambda: kind(machine.l2.ways)) for _ in range(machine.cores)]
        self.cores = [ReferenceCore(sets[0], machine.l1.ways, sets[1], l2) for l2 in l2_sets]
        self.owner: dict[int, int] = {}
        self.node_of, self.home_of = node_of, home_of
        self.l1_misses = self.l2_misses = self.coherence_misses = self.upgrades = 0

    def touch(self, index: int, line: int, write: bool) -> int:
        core, stall = self.cores[index], 0
        l1, l2 = core.l1_set(line), core.l2_set(line)
        if line in l1:
            l1.remove(line)
            l1.append(line)
        else:
            self.l1_misses += 1
            if line in l2.lines:
                stall = L2_HIT
                if self.exclusive:
                    l2.remove(line)
                else:
                    l2.use(line)
            else:
                stall = self.fetch(index, line)
                if not self.exclusive:
                    self.insert_l2(index, line)
            self.insert_l1(index, line)
        if write:
            others = [other for other in self.cores if other is not core and other.holds(line)]
            for other in others:
                other.drop(line)
                other.lost.add(line)
            self.owner[line] = index
            if others:
                self.upgrades += 1
                stall += UPGRADE
        return stall

    def fetch(self, index: int, line: int) -> int:
        self.l2_misses += 1
        if line in self.cores[index].lost:
            self.cores[index].lost.remove(line)
            self.coherence_misses += 1
        node = self.node_of[index]
        if line in self.owner:
            return SAME if self.node_of[self.owner[line]] == node else OTHER
        return LOCAL if self.home_of[line] == node else REMOTE

    def insert_l1(self, index: int, line: int) -> None:
        core = self.cores[index]
        lines = core.l1_set(line)
        if len(lines) == core.l1_ways:
            victim = lines.pop(0)
            if self.exclusive:
                self.insert_l2(index, victim)
        lines.append(line)

    def insert_l2(self, index: int, line: int) -> None:
        core = self.cores[index]
        victim = core.l2_set(line).insert(line)
        if victim is not None:
            if victim in core.l1_set(victim):
                core.l1_set(victim).remove(victim)
            if self.owner.get(victim) == index:
                del self.owner[victim]

    def dma(self, line: int) -> None:
        for core in self.cores:
            if core.holds(line):
                core.drop(line)
                core.lost.add(line)
        self.owner.pop(line, None)


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
