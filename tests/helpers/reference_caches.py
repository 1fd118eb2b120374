"""Slow reference models of the caches: lists in the order of use, trees, and looking into every cache for whoever holds a line.

Without knowledge of the simulator's records. A line's set is its number modulo the sets: pages are placed one after the other.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from netstack.sim.machine.config import MachineConfig
from tests.helpers.pseudo_lru_tree import TreeSet


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
        self.latency = machine.latency
        sets = [cache.size_bytes // (machine.line_bytes * cache.ways) for cache in (machine.l1, machine.l2)]
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
                stall = self.latency.l2_hit_cycles
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
            upgrade = self.take_from_others(index, line)
            self.owner[line] = index
            self.upgrades += upgrade > 0
            stall += upgrade
        return stall

    def take_from_others(self, index: int, line: int) -> int:
        """Take a line from all caches but those of core `index`, or all; return the stall if there were any."""
        others = [other for number, other in enumerate(self.cores) if number != index and other.holds(line)]
        for other in others:
            other.drop(line)
            other.lost.add(line)
        return self.latency.upgrade_cycles if others else 0

    def fetch(self, index: int, line: int) -> int:
        self.count_miss(index, line)
        if line in self.owner:
            return self.from_cache(index, self.node_of[self.owner[line]])
        return self.from_memory(index, line)

    def count_miss(self, index: int, line: int) -> None:
        self.l2_misses += 1
        if line in self.cores[index].lost:
            self.cores[index].lost.remove(line)
            self.coherence_misses += 1

    def from_cache(self, index: int, node: int) -> int:
        near = self.node_of[index] == node
        return self.latency.cache_same_node_cycles if near else self.latency.cache_other_node_cycles

    def from_memory(self, index: int, line: int) -> int:
        near = self.node_of[index] == self.home_of[line]
        return self.latency.memory_local_cycles if near else self.latency.memory_remote_cycles

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
            self.leave(index, victim)

    def leave(self, index: int, line: int) -> None:
        """Note that core `index` evicted a line."""
        if self.owner.get(line) == index:
            del self.owner[line]

    def dma(self, line: int) -> None:
        self.take_from_others(-1, line)
        self.owner.pop(line, None)


class SharedSet:
    """A set of a last-level cache: the line of each way, and lines in the order of their use, the last one at the end."""

    def __init__(self, ways: int) -> None:
        self.slots: list[int | None] = [None] * ways
        self.order: list[int] = []

    def use(self, line: int) -> None:
        self.order.remove(line)
        self.order.append(line)

    def remove(self, line: int) -> None:
        self.slots[self.slots.index(line)] = None
        self.order.remove(line)

    def insert(self, line: int, ways: int) -> int | None:
        """Put a line into one of the first ways; return what gave way."""
        victim = None
        if None not in self.slots[:ways]:
            victim = next(old for old in self.order if old in self.slots[:ways])
            self.order.remove(victim)
        self.slots[self.slots.index(victim, 0, ways)] = line
        self.order.append(line)
        return victim


class SharedReference(Reference):
    """The obvious model with a last-level cache per group of cores. An owner below 0 is such a cache: -1 that of group 0."""

    def __init__(
        self, machine: MachineConfig, node_of: list[int], home_of: list[int], groups: list[list[int]], ddio_group: int
    ) -> None:
        super().__init__(machine, node_of, home_of)
        self.llc, self.groups, self.ddio_group = machine.llc, groups, ddio_group
        self.group_of = {core: number for number, cores in enumerate(groups) for core in cores}
        self.sets = machine.llc.size_bytes // (machine.line_bytes * machine.llc.ways)
        self.caches = [defaultdict(lambda: SharedSet(machine.llc.ways)) for _ in groups]
        self.llc_misses = 0

    def shared_set(self, group: int, line: int) -> SharedSet:
        return self.caches[group][line % self.sets]

    def in_llc(self, group: int, line: int) -> bool:
        return line in self.shared_set(group, line).slots

    def fetch(self, index: int, line: int) -> int:
        self.count_miss(index, line)
        group, owner = self.group_of[index], self.owner.get(line)
        mates = [core for core in self.groups[group] if core != index and self.cores[core].holds(line)]
        if self.in_llc(group, line):
            if self.llc.policy == "victim":
                self.shared_set(group, line).remove(line)
                if owner == -1 - group:
                    self.owner[line] = index
                return self.latency.llc_hit_cycles
            self.shared_set(group, line).use(line)
            if owner in mates:
                self.owner[line] = -1 - group
                return self.latency.cache_same_group_cycles
            return self.latency.llc_hit_cycles
        if mates:
            assert self.llc.policy == "victim"
            return self.latency.cache_same_group_cycles
        self.llc_misses += 1
        if self.llc.policy == "inclusive":
            self.insert_llc(group, line, self.llc.ways)
        if owner is None:
            return self.from_memory(index, line)
        holder = owner if owner >= 0 else self.groups[-1 - owner][0]
        return self.from_cache(index, self.node_of[holder])

    def insert_llc(self, group: int, line: int, ways: int) -> None:
        victim = self.shared_set(group, line).insert(line, ways)
        if victim is None:
            return
        gone = [-1 - group]
        if self.llc.policy == "inclusive":
            gone += self.groups[group]
            for core in self.groups[group]:
                self.cores[core].drop(victim)
        if self.owner.get(victim) in gone:
            del self.owner[victim]

    def leave(self, index: int, line: int) -> None:
        group = self.group_of[index]
        if self.owner.get(line) == index:
            self.owner[line] = -1 - group
        if self.llc.policy == "victim":
            if self.in_llc(group, line):
                self.shared_set(group, line).use(line)
            else:
                self.insert_llc(group, line, self.llc.ways)

    def take_from_others(self, index: int, line: int) -> int:
        mine = self.group_of.get(index)
        far = any(core.holds(line) for number, core in enumerate(self.cores) if self.group_of[number] != mine)
        stall = super().take_from_others(index, line)
        for group in range(len(self.groups)):
            if self.in_llc(group, line) and not (group == mine and self.llc.policy == "inclusive"):
                self.shared_set(group, line).remove(line)
                stall = self.latency.upgrade_cycles
                far |= group != mine
        return self.latency.upgrade_same_group_cycles if stall and not far else stall

    def dma(self, line: int) -> None:
        group = self.ddio_group
        direct = self.llc.ddio_ways > 0 and self.home_of[line] == self.node_of[self.groups[group][0]]
        there = direct and self.in_llc(group, line)
        before = list(self.shared_set(group, line).slots), list(self.shared_set(group, line).order)
        super().dma(line)
        if there:  # it stays in its way
            self.shared_set(group, line).slots, self.shared_set(group, line).order = before
            self.shared_set(group, line).use(line)
        elif direct:
            self.insert_llc(group, line, self.llc.ddio_ways)
        if direct:
            self.owner[line] = -1 - group

    def contents(self) -> dict[str, list[set[int]]]:
        """Return the lines of each private cache and each last-level cache."""
        return {
            "l1": [{line for lines in core.l1.values() for line in lines} for core in self.cores],
            "l2": [{line for entry in core.l2.values() for line in entry.lines} for core in self.cores],
            "llc": [{line for entry in cache.values() for line in entry.order} for cache in self.caches],
        }
