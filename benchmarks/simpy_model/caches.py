"""Caches of the SimPy model, where structures lie in memory, and what an operation touches of them."""

from netstack.sim import SimulationConfig
from netstack.sim.machine.costs import parse_touch
from netstack.sim.machine.numbers import Access, Instance

PAGE_LINES = 64  # memory nodes take turns page by page


Row = tuple[int, int, int, int, Access]
Footprint = list[Row]
"""Rows of first line of the structure, lines of an instance, what it exists once for, lines touched, how they are accessed."""


class UnsupportedError(Exception):
    """The configuration asks for something that the SimPy model does not have."""


class Layout:
    """Every structure's instances on consecutive lines, and the operations' cycles and footprints on them."""

    def __init__(self, config: SimulationConfig, instances: dict[Instance, int]) -> None:
        costs = config.costs
        self.structures = costs.structures
        self.first_line: dict[str, int] = {}
        self.lines = 0
        for name, structure in costs.structures.items():
            self.first_line[name] = self.lines
            self.lines += structure.lines * instances[Instance.of(structure.per)]
        atomic_cycles = 0 if config.org.serialize == "none" else config.machine.latency.atomic_cycles
        self.operations: dict[str, tuple[int, bool, Footprint]] = {}  # cycles, whether locked, lines
        for name, operation in costs.operations.items():
            locked = (2 * operation.mutexes + operation.atomics) * atomic_cycles
            touches = [text for text in operation.touches if self.structures[text.split()[0]].modelled]
            rows = [self._row(text, name) for text in touches]
            self.operations[name] = (operation.cycles + locked, locked > 0, rows)
        self.operations["pcb_visit"] = (0, False, [self._row("inpcb 0 r", "pcb_visit")])
        self.operations["callout_link"] = (0, False, [self._row("timers 0 s", "callout_link")])

    def _row(self, text: str, operation: str) -> Row:
        touch = parse_touch(text, operation, self.structures)
        structure = self.structures[touch.structure]
        first_line = self.first_line[touch.structure] + touch.first_line
        return first_line, structure.lines, Instance.of(structure.per), touch.count, touch.access

    def lines_of(self, structure: str, instance: int) -> range:
        """Return the lines of an instance of a structure."""
        lines = self.structures[structure].lines
        first = self.first_line[structure] + instance * lines
        return range(first, first + lines)


class Caches:
    """Private L1 and exclusive L2 of every core: a dict a set, least recently used line first, kept coherent by a directory.

    The value of a line is whether its core may write it without asking: it is modified, and nobody else holds it.
    """

    def __init__(self, config: SimulationConfig, lines: int) -> None:
        machine = config.machine
        if machine.l2_policy != "exclusive":
            raise UnsupportedError("the SimPy model has an exclusive L2 only")
        l1_sets = machine.l1.size_bytes // (machine.line_bytes * machine.l1.ways)
        l2_sets = machine.l2.size_bytes // (machine.line_bytes * machine.l2.ways)
        self.l1: list[list[dict[int, bool]]] = [[{} for _ in range(l1_sets)] for _ in range(machine.cores)]
        self.l2: list[list[dict[int, bool]]] = [[{} for _ in range(l2_sets)] for _ in range(machine.cores)]
        self.l1_mask, self.l2_mask, self.l1_ways, self.l2_ways = l1_sets - 1, l2_sets - 1, machine.l1.ways, machine.l2.ways
        self.latency, self.nodes = machine.latency, machine.nodes
        self.node_of = [core * machine.nodes // machine.cores for core in range(machine.cores)]
        self.sharers = [0] * lines  # bit k: core k holds it
        self.owner = bytearray(lines)  # 1 + the core whose copy is newer than memory

    def touch(self, core: int, footprint: Footprint, instance: list[int]) -> tuple[int, int]:
        """Touch all lines of a footprint from `core`; return the stall, and the time that its stores take beside it."""
        stall = stores = 0
        buffered = self.latency.store_run_ahead_cycles > 0
        l1, l1_mask = self.l1[core], self.l1_mask
        for structure, stride, per, count, access in footprint:
            first = structure + instance[per] * stride
            for line in range(first, first + count):
                ways = l1[line & l1_mask]
                writable = ways.pop(line, None)
                fetched = 0
                to_own = access in (Access.STORE, Access.LOCKED)  # a fetch invalidates other copies as well
                if writable is None:
                    fetched, writable, held = self._miss(core, line)
                    to_own = to_own and not held
                    if len(ways) == self.l1_ways:
                        self._evict(core, ways)
                    if access == Access.STORE and buffered:
                        stores += fetched
                    else:
                        stall += fetched
                if access != Access.READ and not writable:
                    upgrade = self._own_cycles(core, line)
                    writable = True
                    if fetched and to_own:
                        upgrade = 0
                    if access == Access.LOCKED or not buffered:
                        stall += upgrade
                    else:
                        stores += upgrade
                ways[line] = writable
        return stall, stores

    def _miss(self, core: int, line: int) -> tuple[int, bool, bool]:
        """Find a line that is not in the L1; return the stall, whether it is writable, and whether the L2 held it."""
        latency = self.latency
        writable = self.l2[core][line & self.l2_mask].pop(line, None)
        if writable is not None:
            return latency.l2_hit_cycles, writable, True
        node = self.node_of[core]
        owner = self.owner[line] - 1
        self.sharers[line] |= 1 << core
        if owner < 0:
            home = line // PAGE_LINES % self.nodes
            return (latency.memory_local_cycles if home == node else latency.memory_remote_cycles), False, False
        ways = self.l1[owner][line & self.l1_mask]
        if line not in ways:
            ways = self.l2[owner][line & self.l2_mask]
        ways[line] = False
        near = self.node_of[owner] == node
        return (latency.cache_same_node_cycles if near else latency.cache_other_node_cycles), False, False

    def _evict(self, core: int, ways: dict[int, bool]) -> None:
        """Move the oldest line of an L1 set to the L2, whose oldest line leaves the core."""
        victim = next(iter(ways))
        writable = ways.pop(victim)
        ways = self.l2[core][victim & self.l2_mask]
        if len(ways) == self.l2_ways:
            gone = next(iter(ways))
            del ways[gone]
            self.sharers[gone] &= ~(1 << core)
            if self.owner[gone] == core + 1:
                self.owner[gone] = 0
        ways[victim] = writable

    def _own_cycles(self, core: int, line: int) -> int:
        """Make `core` the only holder of a line; return the cycles of the upgrade, if one is needed."""
        self.owner[line] = core + 1
        others = self.sharers[line] & ~(1 << core)
        if not others:
            return 0
        self._invalidate(line, others)
        self.sharers[line] = 1 << core
        return self.latency.upgrade_cycles

    def _invalidate(self, line: int, holders: int) -> None:
        for core in range(len(self.l1)):
            if holders >> core & 1 and self.l1[core][line & self.l1_mask].pop(line, None) is None:
                del self.l2[core][line & self.l2_mask][line]

    def dma_write(self, lines: range) -> None:
        """A device writes lines to memory: every cached copy is lost."""
        for line in lines:
            if self.sharers[line]:
                self._invalidate(line, self.sharers[line])
                self.sharers[line] = 0
                self.owner[line] = 0
