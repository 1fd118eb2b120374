"""Private L1 and L2 caches with LRU replacement, kept coherent by a directory (MOESI), and the charging of operations.

A line's state follows from its records: held by one core only (E, or M when that core is its owner), by several
(S, or O for the owner), by none (I). Knows lines and structures, not what they hold.
"""

from netstack.compilation import compiled
from netstack.machine.recency import emptied, filled, last_used, next_victim, used
from netstack.machine.state import (
    CACHE_STALL,
    LOCK,
    LOST,
    core_of,
    count_of,
    kind_of,
    l1_set_address,
    l2_set_address,
    line_address,
    line_at,
    operation_of,
    order_at,
    owner_at,
    place_at,
    touch_of,
    way_line_at,
)

PAGE_LINES = 64  # memory nodes take turns page by page


@compiled
def touch_line(m, core, line, kind, write):
    """Access one line from `core` and return the stall in cycles.

    LRU is exact. An invalidation empties the remote way at once, so that empty ways are refilled first.
    """
    address = line_address(m, line)
    place = place_at(address, core)
    if place.l1 == 0:
        return _miss(m, core, line, address, kind, write)
    recency = order_at(l1_set_address(m, core, line))
    if last_used(recency.order) != place.l1 - 1:
        recency.order = used(recency.order, place.l1 - 1)
    if write == 0 or (line_at(address).sharers == 1 << core and owner_at(address).core == core + 1):
        return 0
    return _own(m, core, line, address, kind)


@compiled
def _miss(m, core, line, address, kind, write):
    """Access a line that is not in L1: take it from L2, another cache or memory."""
    place = place_at(address, core)
    count = count_of(m, core, kind)
    count.l1_misses += 1
    if 0 < place.l2 < LOST:
        stall = m.l2_hit
        cache_set = l2_set_address(m, core, line)
        recency = order_at(cache_set)
        if m.exclusive != 0:
            recency.order = emptied(recency.order, place.l2 - 1, m.l2_ways)
            way_line_at(cache_set, place.l2 - 1).line = -1
            place.l2 = 0
        else:
            recency.order = used(recency.order, place.l2 - 1)
    else:
        stall = _fetch(m, core, line, address, count)
        place.l2 = 0 if m.exclusive != 0 else _fill_l2(m, core, line)
    place.l1 = _fill_l1(m, core, line)
    if write != 0:
        stall += _own(m, core, line, address, kind)
    return stall


@compiled
def _own(m, core, line, address, kind):
    """Make `core` the only holder and the owner of a line it holds; return the cycles of the upgrade, if one is needed."""
    entry = line_at(address)
    mine = 1 << core
    owner_at(address).core = core + 1
    if entry.sharers == mine:
        return 0
    _invalidate(m, line, address, entry.sharers & ~mine)
    entry.sharers = mine
    count_of(m, core, kind).upgrades += 1
    return m.upgrade


@compiled
def _fetch(m, core, line, address, count):
    """Bring a line that `core` does not hold from another cache or from memory; return the stall in cycles."""
    count.l2_misses += 1
    if place_at(address, core).l2 == LOST:
        count.coherence_misses += 1
    node = core_of(m, core).node
    owner = owner_at(address).core
    line_at(address).sharers |= 1 << core
    if owner != 0:
        return m.cache_same_node if core_of(m, owner - 1).node == node else m.cache_other_node
    return m.memory_local if line // PAGE_LINES % m.nodes == node else m.memory_remote


@compiled
def _invalidate(m, line, address, holders):
    """Take the line from the cores in the bit set `holders`."""
    other = 0
    while holders != 0:
        if holders & 1:
            place = place_at(address, other)
            if place.l1 != 0:
                _empty(l1_set_address(m, other, line), place.l1 - 1, m.l1_ways)
                place.l1 = 0
            if place.l2 != 0:
                _empty(l2_set_address(m, other, line), place.l2 - 1, m.l2_ways)
            place.l2 = LOST
        holders = (holders >> 1) & 0x7FFFFFFFFFFFFFFF
        other += 1


@compiled
def _empty(cache_set, way, ways):
    recency = order_at(cache_set)
    recency.order = emptied(recency.order, way, ways)
    way_line_at(cache_set, way).line = -1


@compiled
def _fill_l1(m, core, line):
    """Put a line into L1 and return 1 + its way. The victim moves to an exclusive L2; an inclusive one has it already."""
    cache_set = l1_set_address(m, core, line)
    recency = order_at(cache_set)
    way = next_victim(recency.order, m.l1_ways)
    recency.order = filled(recency.order, m.l1_ways)
    slot = way_line_at(cache_set, way)
    victim = slot.line
    slot.line = line
    if victim >= 0:
        place = place_at(line_address(m, victim), core)
        place.l1 = 0
        if m.exclusive != 0:
            place.l2 = _fill_l2(m, core, victim)
    return way + 1


@compiled
def _fill_l2(m, core, line):
    """Put a line into L2 and return 1 + its way. The victim leaves the core (an inclusive L2 takes it from L1 too)."""
    cache_set = l2_set_address(m, core, line)
    recency = order_at(cache_set)
    way = next_victim(recency.order, m.l2_ways)
    recency.order = filled(recency.order, m.l2_ways)
    slot = way_line_at(cache_set, way)
    victim = slot.line
    slot.line = line
    if victim >= 0:
        address = line_address(m, victim)
        place = place_at(address, core)
        place.l2 = 0
        if place.l1 != 0:
            _empty(l1_set_address(m, core, victim), place.l1 - 1, m.l1_ways)
            place.l1 = 0
        line_at(address).sharers &= ~(1 << core)
        owner = owner_at(address)
        if owner.core == core + 1:  # written back: memory is current
            owner.core = 0
    return way + 1


@compiled
def dma_write(m, kind, instance, first_line, count):
    """A device writes lines of a structure to memory: every cached copy is lost."""
    layout = kind_of(m, kind)
    start = layout.first_line + instance * layout.lines + first_line
    for line in range(start, start + count):
        address = line_address(m, line)
        entry = line_at(address)
        if entry.sharers != 0:
            _invalidate(m, line, address, entry.sharers)
            entry.sharers = 0
            owner_at(address).core = 0


@compiled
def charge(m, core, operation):
    """Run one operation on `core`: its instructions, and the stalls of its footprint on the current instances."""
    cpu = core_of(m, core)
    cost = operation_of(m, operation)
    stall = 0
    for row in range(cost.first_touch, cost.last_touch):
        touch = touch_of(m, row)
        start = touch.first_line + cpu.instance[touch.per] * touch.lines
        for line in range(start, start + touch.count):
            stall += touch_line(m, core, line, touch.kind, touch.write)
    cpu.cycles[cost.category] += cost.cycles
    cpu.cycles[CACHE_STALL] += stall
    cpu.clock += cost.cycles + stall


@compiled
def touch_structure(m, core, kind, instance, first_line, write):
    """Access one line of a structure's instance and charge the stall to `core`."""
    layout = kind_of(m, kind)
    stall = touch_line(m, core, layout.first_line + instance * layout.lines + first_line, kind, write)
    cpu = core_of(m, core)
    cpu.cycles[CACHE_STALL] += stall
    cpu.clock += stall


@compiled
def charge_lock_word(m, core, lock, operation):
    """Run a lock operation on `core` against the word of `lock`."""
    core_of(m, core).instance[LOCK] = lock
    charge(m, core, operation)
