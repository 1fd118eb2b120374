"""Private L1 and L2 caches with LRU replacement, kept coherent by a directory (MOESI), and the charging of operations.

A line's state follows from its records: held by one core only (E, or M when that core is its owner), by several
(S, or O for the owner), by none (I). Records may say that a core holds a line it has evicted; the tag of the way
decides. Knows lines and structures, not what they hold.
"""

from netstack.compilation import compiled
from netstack.machine.recency import emptied, filled, next_victim, used
from netstack.machine.state import (
    CACHE_STALL,
    EMPTY,
    LOCK,
    LOCK_ATOMIC,
    LOST,
    WRITABLE,
    core_of,
    count_of,
    kind_of,
    l1_set_address,
    l1_tag_at,
    l2_set_address,
    l2_tag_at,
    line_address,
    line_at,
    operation_of,
    order_at,
    owner_at,
    place_at,
    touch_of,
)

PAGE_LINES = 64  # memory nodes take turns page by page


@compiled
def touch_line(m, core, line, kind, write):
    """Access one line from `core` and return the stall in cycles.

    LRU is exact. An invalidation empties the remote way at once, so that empty ways are refilled first.
    """
    l1_set = l1_set_address(m, core, line)
    way = find_in_l1(m, l1_set, line)
    if way < 0:
        return _miss(m, core, line, l1_set, kind, write)
    if way > 0:
        _move_to_front(l1_set, way)
    if write == 0 or l1_tag_at(l1_set, 0).tag & WRITABLE:
        return 0
    return _own(m, core, line, l1_set, kind)


@compiled
def find_in_l1(m, l1_set, line):
    """Return the place of the line in its L1 set, 0 for the one used last; -1 if the core does not hold it in L1."""
    if l1_tag_at(l1_set, 0).tag >> 1 == line:
        return 0
    way = 1  # a loop that the compiler would unroll is slower for few ways
    while way < m.l1_ways:
        if l1_tag_at(l1_set, way).tag >> 1 == line:
            return way
        way += 1
    return -1


@compiled
def _move_to_front(l1_set, way):
    tag = l1_tag_at(l1_set, way).tag
    while way > 0:
        l1_tag_at(l1_set, way).tag = l1_tag_at(l1_set, way - 1).tag
        way -= 1
    l1_tag_at(l1_set, 0).tag = tag


@compiled
def _remove_from_l1(m, l1_set, way):
    for position in range(way, m.l1_ways - 1):
        l1_tag_at(l1_set, position).tag = l1_tag_at(l1_set, position + 1).tag
    l1_tag_at(l1_set, m.l1_ways - 1).tag = EMPTY


@compiled
def in_l2(m, core, line, address):
    """Return whether `core` holds the line in L2. A place that another line has taken since is stale."""
    way = place_at(address, core).l2
    return 0 < way < LOST and l2_tag_at(l2_set_address(m, core, line), way - 1).tag >> 1 == line


@compiled
def _miss(m, core, line, l1_set, kind, write):
    """Access a line that is not in L1: take it from L2, another cache or memory."""
    address = line_address(m, line)
    place = place_at(address, core)
    count = count_of(m, core, kind)
    count.l1_misses += 1
    if in_l2(m, core, line, address):
        stall = m.l2_hit
        l2_set = l2_set_address(m, core, line)
        if m.exclusive != 0:
            _remove_from_l2(m, l2_set, place.l2 - 1)
            place.l2 = 0
        else:
            recency = order_at(l2_set)
            recency.order = used(recency.order, place.l2 - 1)
    else:
        stall = _fetch(m, core, line, address, count)
        place.l2 = 0 if m.exclusive != 0 else _fill_l2(m, core, line)
    _fill_l1(m, core, line, l1_set)
    if write != 0:
        stall += _own(m, core, line, l1_set, kind)
    return stall


@compiled
def _own(m, core, line, l1_set, kind):
    """Make `core`, which used the line last, its only holder and owner; return the cycles of the upgrade, if one is needed."""
    address = line_address(m, line)
    entry = line_at(address)
    mine = 1 << core
    owner_at(address).core = core + 1
    l1_tag_at(l1_set, 0).tag |= WRITABLE
    if entry.sharers == mine:
        return 0
    held = _invalidate(m, line, address, entry.sharers & ~mine)
    entry.sharers = mine
    if not held:
        return 0
    count_of(m, core, kind).upgrades += 1
    return m.upgrade


@compiled
def _fetch(m, core, line, address, count):
    """Bring a line that `core` does not hold from another cache or from memory; return the stall in cycles."""
    count.l2_misses += 1
    if place_at(address, core).l2 == LOST:
        count.coherence_misses += 1
    line_at(address).sharers |= 1 << core
    node = core_of(m, core).node
    owner = owner_at(address)
    if owner.core != 0:
        holder = owner.core - 1
        l1_set = l1_set_address(m, holder, line)
        way = find_in_l1(m, l1_set, line)
        if way >= 0:
            l1_tag_at(l1_set, way).tag &= ~WRITABLE
        if way >= 0 or in_l2(m, holder, line, address):
            return m.cache_same_node if core_of(m, holder).node == node else m.cache_other_node
        owner.core = 0  # written back when it was evicted
    return m.memory_local if line // PAGE_LINES % m.nodes == node else m.memory_remote


@compiled
def _invalidate(m, line, address, sharers):
    """Take the line from the cores in the bit set `sharers`; return whether any of them held it still."""
    held = False
    other = 0
    while sharers != 0:
        if sharers & 1:
            place = place_at(address, other)
            l1_set = l1_set_address(m, other, line)
            way = find_in_l1(m, l1_set, line)
            if way >= 0:
                _remove_from_l1(m, l1_set, way)
            if in_l2(m, other, line, address):
                _remove_from_l2(m, l2_set_address(m, other, line), place.l2 - 1)
                way = 0
            if way >= 0:
                place.l2 = LOST
                held = True
        sharers = (sharers >> 1) & 0x7FFFFFFFFFFFFFFF
        other += 1
    return held


@compiled
def _remove_from_l2(m, l2_set, way):
    recency = order_at(l2_set)
    recency.order = emptied(recency.order, way, m.l2_ways)
    l2_tag_at(l2_set, way).tag = EMPTY


@compiled
def _fill_l1(m, core, line, l1_set):
    """Put a line into its L1 set. The victim moves to an exclusive L2; an inclusive one has it already."""
    last = m.l1_ways - 1
    victim = l1_tag_at(l1_set, last).tag
    l1_tag_at(l1_set, last).tag = line << 1
    _move_to_front(l1_set, last)
    if victim >= 0 and m.exclusive != 0:
        place_at(line_address(m, victim >> 1), core).l2 = _fill_l2(m, core, victim >> 1)


@compiled
def _fill_l2(m, core, line):
    """Put a line into L2 and return 1 + its way. The victim leaves the core: an inclusive L2 takes it from L1 too.

    The victim's records are not touched, which would be slow: whoever reads them next finds them stale.
    """
    l2_set = l2_set_address(m, core, line)
    recency = order_at(l2_set)
    way = next_victim(recency.order, m.l2_ways)
    recency.order = filled(recency.order, m.l2_ways)
    slot = l2_tag_at(l2_set, way)
    victim = slot.tag >> 1
    slot.tag = line << 1
    if victim >= 0 and m.exclusive == 0:
        l1_set = l1_set_address(m, core, victim)
        l1_way = find_in_l1(m, l1_set, victim)
        if l1_way >= 0:
            _remove_from_l1(m, l1_set, l1_way)
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
    first_set = l1_set_address(m, core, 0)
    set_mask = m.l1_sets - 1
    stride = m.l1_stride
    stall = 0
    for row in range(cost.first_touch, cost.last_touch):
        touch = touch_of(m, row)
        write = touch.write
        start = touch.first_line + cpu.instance[touch.per] * touch.lines
        for line in range(start, start + touch.count):
            tag = l1_tag_at(first_set + (line & set_mask) * stride, 0).tag
            if tag != (line << 1 | WRITABLE) and (write != 0 or tag != line << 1):  # else the access changes nothing
                stall += touch_line(m, core, line, touch.kind, write)
    cpu.cycles[cost.category] += cost.cycles
    cpu.cycles[LOCK_ATOMIC] += cost.atomic_cycles
    cpu.cycles[CACHE_STALL] += stall
    cpu.clock += cost.cycles + cost.atomic_cycles + stall


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
