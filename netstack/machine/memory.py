"""Private L1 and L2 caches with LRU replacement, kept coherent by a directory (MOESI), and the charging of operations.

A line's state follows from its record: held by one core only (E, or M when that core is its owner), by several
(S, or O for the owner), by none (I). Knows lines and structures, not what they hold.
"""

from netstack.compilation import compiled
from netstack.machine.state import (
    CACHE_STALL,
    LOCK,
    core_of,
    count_of,
    kind_of,
    l1_way_of,
    l2_way_of,
    line_of,
    operation_of,
    place_of,
    touch_of,
)


@compiled
def touch_line(m, core, line, kind, write):
    """Access one line from `core` and return the stall in cycles.

    LRU is exact: every access stamps its way. An invalidation empties the remote way at once, so that invalid
    ways are refilled first.
    """
    place = place_of(m, line, core)
    m.stamp += 1
    if place.l1 != 0:
        l1_way_of(m, core, line, place.l1 - 1).stamp = m.stamp
        if write == 0:
            return 0
        return _own(m, core, line, kind)
    count = count_of(m, core, kind)
    count.l1_misses += 1
    if place.l2 != 0:
        stall = m.l2_hit
        if m.exclusive != 0:
            way = l2_way_of(m, core, line, place.l2 - 1)
            way.stamp = 0
            way.line = -1
            place.l2 = 0
        else:
            l2_way_of(m, core, line, place.l2 - 1).stamp = m.stamp
    else:
        stall = _fetch(m, core, line, place, count)
        if m.exclusive == 0:
            place.l2 = _fill_l2(m, core, line)
    place.l1 = _fill_l1(m, core, line)
    if write != 0:
        stall += _own(m, core, line, kind)
    return stall


@compiled
def _own(m, core, line, kind):
    """Make `core` the only holder and the owner of a line it holds; return the cycles of the upgrade, if one is needed."""
    entry = line_of(m, line)
    mine = 1 << core
    entry.owner = core + 1
    if entry.sharers == mine:
        return 0
    _invalidate(m, line, entry, core)
    entry.sharers = mine
    count_of(m, core, kind).upgrades += 1
    return m.upgrade


@compiled
def _fetch(m, core, line, place, count):
    """Bring a line that `core` does not hold from another cache or from memory; return the stall in cycles."""
    entry = line_of(m, line)
    count.l2_misses += 1
    if place.lost != 0:
        count.coherence_misses += 1
        place.lost = 0
    node = core_of(m, core).node
    if entry.owner != 0:
        near = core_of(m, entry.owner - 1).node == node
        stall = m.cache_same_node if near else m.cache_other_node
    else:
        stall = m.memory_local if entry.home == node else m.memory_remote
    entry.sharers |= 1 << core
    return stall


@compiled
def _invalidate(m, line, entry, keeper):
    """Take the line from every core but `keeper`."""
    for other in range(m.cores):
        if other != keeper and (entry.sharers >> other) & 1:
            place = place_of(m, line, other)
            if place.l1 != 0:
                way = l1_way_of(m, other, line, place.l1 - 1)
                way.stamp = 0
                way.line = -1
                place.l1 = 0
            if place.l2 != 0:
                way = l2_way_of(m, other, line, place.l2 - 1)
                way.stamp = 0
                way.line = -1
                place.l2 = 0
            place.lost = 1


@compiled
def _leave(m, core, line):
    """Record that `core` no longer holds a line; a newer copy is written back to memory."""
    entry = line_of(m, line)
    entry.sharers &= ~(1 << core)
    if entry.owner == core + 1:
        entry.owner = 0


@compiled
def _fill_l1(m, core, line):
    """Put a line into L1 and return 1 + its way. The victim moves to an exclusive L2; an inclusive one has it already."""
    best = 0
    oldest = l1_way_of(m, core, line, 0).stamp
    for way in range(1, m.l1_ways):
        stamp = l1_way_of(m, core, line, way).stamp
        if stamp < oldest:
            oldest = stamp
            best = way
    slot = l1_way_of(m, core, line, best)
    if oldest != 0:
        victim = slot.line
        place = place_of(m, victim, core)
        place.l1 = 0
        if m.exclusive != 0:
            place.l2 = _fill_l2(m, core, victim)
    slot.stamp = m.stamp
    slot.line = line
    return best + 1


@compiled
def _fill_l2(m, core, line):
    """Put a line into L2 and return 1 + its way. The victim leaves the core (an inclusive L2 takes it from L1 too)."""
    best = 0
    oldest = l2_way_of(m, core, line, 0).stamp
    for way in range(1, m.l2_ways):
        stamp = l2_way_of(m, core, line, way).stamp
        if stamp < oldest:
            oldest = stamp
            best = way
    slot = l2_way_of(m, core, line, best)
    if oldest != 0:
        victim = slot.line
        place = place_of(m, victim, core)
        place.l2 = 0
        if place.l1 != 0:
            l1 = l1_way_of(m, core, victim, place.l1 - 1)
            l1.stamp = 0
            l1.line = -1
            place.l1 = 0
        _leave(m, core, victim)
    slot.stamp = m.stamp
    slot.line = line
    return best + 1


@compiled
def dma_write(m, kind, instance, first_line, count):
    """A device writes lines of a structure to memory: every cached copy is lost."""
    layout = kind_of(m, kind)
    start = layout.first_line + instance * layout.lines + first_line
    for line in range(start, start + count):
        entry = line_of(m, line)
        if entry.sharers != 0:
            _invalidate(m, line, entry, -1)
            entry.sharers = 0
            entry.owner = 0


@compiled
def charge(m, core, operation):
    """Run one operation on `core`: its instructions, and the stalls of its footprint on the current instances."""
    charge_times(m, core, operation, 1)


@compiled
def charge_times(m, core, operation, times):
    """Run an operation whose instructions repeat `times` on the same lines."""
    cpu = core_of(m, core)
    cost = operation_of(m, operation)
    stall = 0
    for row in range(cost.first_touch, cost.last_touch):
        touch = touch_of(m, row)
        layout = kind_of(m, touch.kind)
        start = layout.first_line + cpu.instance[layout.per] * layout.lines + touch.first_line
        for line in range(start, start + touch.count):
            stall += touch_line(m, core, line, touch.kind, touch.write)
    cycles = cost.cycles * times
    cpu.cycles[cost.category] += cycles
    cpu.cycles[CACHE_STALL] += stall
    cpu.clock += cycles + stall


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
