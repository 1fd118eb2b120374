"""Private L1 and L2 caches, kept coherent by a directory (MOESI), and the charging of operations.

A line's state follows from its records: held by one core only (E, or M if that core is its owner), by several (S, or O for the
owner), by none (I). Records may say that a core holds a line that it has evicted: the tag in the way decides. Knows lines and
structures, not what they hold.
"""

from netstack.jit.compilation import compiled
from netstack.jit.journal import add_event, save_words
from netstack.jit.tables import has_journal, journal_of
from netstack.sim.machine import cache_state
from netstack.sim.machine.cache_state import (
    count_address,
    count_of,
    l1_set_address,
    l1_tag_at,
    l2_set_address,
    l2_tag_at,
    line_address,
    line_at,
    order_at,
    owner_at,
    place_at,
)
from netstack.sim.machine.numbers import Category, Instance, LineEvent
from netstack.sim.machine.replacement import emptied, filled, next_victim, used
from netstack.sim.machine.state import core_of, node_of, operation_of, structure_of, touch_of

EVENT_KIND_BITS, EVENT_CORE_BITS = 2, 8


@compiled
def _notify_others(machine, core, line, what):
    """Windowed: notify the other cores of what `core` did with a line."""
    add_event(journal_of(machine), ((line << EVENT_CORE_BITS | core) << EVENT_KIND_BITS) | what)


@compiled
def _save(machine, address, size_bytes):
    """Windowed: keep what is about to change, so that the step can be undone."""
    if has_journal(machine):
        save_words(journal_of(machine), address, size_bytes)


@compiled
def touch_line(machine, core, line, kind, write):
    """Access one line from `core` and return the stall in cycles.

    An invalidation empties the other core's way at once: empty ways are filled first.
    """
    l1_set = l1_set_address(machine, core, line)
    way = find_in_l1(machine, l1_set, line)
    if way < 0:
        return _miss(machine, core, line, l1_set, kind, write)
    if way > 0:
        _save(machine, l1_set, machine.l1_stride)
        _move_to_front(l1_set, way)
    if write == 0 or l1_tag_at(l1_set, 0).tag & cache_state.WRITABLE:
        return 0
    return _own(machine, core, line, l1_set, kind)


@compiled
def find_in_l1(machine, l1_set, line):
    """Return the position of a line in its L1 set, 0 for the line used last, -1 if it is not there."""
    if l1_tag_at(l1_set, 0).tag >> 1 == line:
        return 0
    way = 1  # no range(): the compiler would unroll the loop, which is slower for few ways
    while way < machine.l1_ways:
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
def _remove_from_l1(machine, l1_set, way):
    for position in range(way, machine.l1_ways - 1):
        l1_tag_at(l1_set, position).tag = l1_tag_at(l1_set, position + 1).tag
    l1_tag_at(l1_set, machine.l1_ways - 1).tag = cache_state.EMPTY


@compiled
def in_l2(machine, core, line, address):
    """Return whether `core` holds the line in L2. The record is stale if another line has taken the way since."""
    way = place_at(address, core).l2
    return 0 < way < cache_state.LOST and l2_tag_at(l2_set_address(machine, core, line), way - 1).tag >> 1 == line


@compiled
def _miss(machine, core, line, l1_set, kind, write):
    """Access a line that is not in L1: take it from L2, another cache or memory."""
    address = line_address(machine, line)
    place = place_at(address, core)
    count = count_of(machine, core, kind)
    _save(machine, count_address(machine, core, kind), cache_state.COUNT_BYTES)
    _save(machine, address, machine.line_stride)
    _save(machine, l1_set, machine.l1_stride)
    count.l1_misses += 1
    if in_l2(machine, core, line, address):
        stall = machine.l2_hit
        l2_set = l2_set_address(machine, core, line)
        _save(machine, l2_set, machine.l2_stride)
        if machine.exclusive != 0:
            _remove_from_l2(machine, l2_set, place.l2 - 1)
            place.l2 = 0
        else:
            recency = order_at(l2_set)
            recency.order = used(machine, recency.order, place.l2 - 1)
    else:
        stall = _fetch(machine, core, line, address, count)
        place.l2 = 0 if machine.exclusive != 0 else _fill_l2(machine, core, line)
    _fill_l1(machine, core, line, l1_set)
    if write != 0:
        stall += _own(machine, core, line, l1_set, kind)
    return stall


@compiled
def _own(machine, core, line, l1_set, kind):
    """Make `core` the only holder and owner of the line that is first in `l1_set`; return the stall in cycles."""
    address = line_address(machine, line)
    entry = line_at(address)
    mine = 1 << core
    if has_journal(machine):
        _save(machine, address, machine.line_stride)
        _save(machine, l1_set, machine.l1_stride)
        _save(machine, count_address(machine, core, kind), cache_state.COUNT_BYTES)
        if owner_at(address).core != core + 1 or entry.sharers != mine:
            _notify_others(machine, core, line, LineEvent.OWNED)
    owner_at(address).core = core + 1
    l1_tag_at(l1_set, 0).tag |= cache_state.WRITABLE
    if entry.sharers == mine:
        return 0
    held = True
    if not has_journal(machine):
        held = _invalidate(machine, line, address, entry.sharers & ~mine)
    entry.sharers = mine
    if not held:
        return 0
    count_of(machine, core, kind).upgrades += 1
    return machine.upgrade


@compiled
def _fetch(machine, core, line, address, count):
    """Bring a line that `core` does not hold from another cache or from memory; return the stall in cycles."""
    count.l2_misses += 1
    if place_at(address, core).l2 == cache_state.LOST:
        count.coherence_misses += 1
    line_at(address).sharers |= 1 << core
    node = core_of(machine, core).node
    owner = owner_at(address)
    if has_journal(machine):
        _notify_others(machine, core, line, LineEvent.FETCHED)
        if owner.core != 0:  # a holder that evicts a line notifies the others
            return machine.cache_same_node if node_of(machine, owner.core - 1) == node else machine.cache_other_node
    elif owner.core != 0:
        holder = owner.core - 1
        l1_set = l1_set_address(machine, holder, line)
        way = find_in_l1(machine, l1_set, line)
        if way >= 0:
            l1_tag_at(l1_set, way).tag &= ~cache_state.WRITABLE
        if way >= 0 or in_l2(machine, holder, line, address):
            return machine.cache_same_node if core_of(machine, holder).node == node else machine.cache_other_node
        owner.core = 0  # written back when it was evicted
    return machine.memory_local if cache_state.home_of(machine, line) == node else machine.memory_remote


@compiled
def _invalidate(machine, line, address, sharers):
    """Take the line from the cores in the bit set `sharers`; return whether any of them still held it."""
    held = False
    other = 0
    while sharers != 0:
        if sharers & 1:
            place = place_at(address, other)
            l1_set = l1_set_address(machine, other, line)
            way = find_in_l1(machine, l1_set, line)
            if way >= 0:
                _remove_from_l1(machine, l1_set, way)
            if in_l2(machine, other, line, address):
                _remove_from_l2(machine, l2_set_address(machine, other, line), place.l2 - 1)
                way = 0
            if way >= 0:
                place.l2 = cache_state.LOST
                held = True
        sharers = (sharers >> 1) & 0x7FFFFFFFFFFFFFFF
        other += 1
    return held


@compiled
def _remove_from_l2(machine, l2_set, way):
    recency = order_at(l2_set)
    recency.order = emptied(machine, recency.order, way)
    l2_tag_at(l2_set, way).tag = cache_state.EMPTY


@compiled
def _fill_l1(machine, core, line, l1_set):
    """Put a line into its L1 set. The victim moves to an exclusive L2. An inclusive L2 has it already."""
    last = machine.l1_ways - 1
    victim = l1_tag_at(l1_set, last).tag
    l1_tag_at(l1_set, last).tag = line << 1
    _move_to_front(l1_set, last)
    if victim >= 0 and machine.exclusive != 0:
        _save(machine, line_address(machine, victim >> 1), machine.line_stride)
        place_at(line_address(machine, victim >> 1), core).l2 = _fill_l2(machine, core, victim >> 1)


@compiled
def _fill_l2(machine, core, line):
    """Put a line into L2 and return 1 + its way. The victim leaves the core: an inclusive L2 takes it from L1 too.

    The victim's records are not touched, for that would be slow. The next reader finds them stale.
    """
    l2_set = l2_set_address(machine, core, line)
    _save(machine, l2_set, machine.l2_stride)
    recency = order_at(l2_set)
    way = next_victim(machine, recency.order)
    recency.order = filled(machine, recency.order, way)
    slot = l2_tag_at(l2_set, way)
    victim = slot.tag >> 1
    slot.tag = line << 1
    if victim >= 0 and machine.exclusive == 0:
        l1_set = l1_set_address(machine, core, victim)
        l1_way = find_in_l1(machine, l1_set, victim)
        if l1_way >= 0:
            _save(machine, l1_set, machine.l1_stride)
            _remove_from_l1(machine, l1_set, l1_way)
    if victim >= 0 and has_journal(machine):
        _note_eviction(machine, core, victim)
    return way + 1


@compiled
def _note_eviction(machine, core, line):
    """Windowed: remove `core` from the directory's record of a line that it evicted, and notify the others."""
    address = line_address(machine, line)
    _save(machine, address, machine.line_stride)
    line_at(address).sharers &= ~(1 << core)
    if owner_at(address).core == core + 1:
        owner_at(address).core = 0
    _notify_others(machine, core, line, LineEvent.EVICTED)


@compiled
def dma_write(machine, kind, instance, first_line, count):
    """Write lines of a structure to memory by a device: every cached copy is invalidated."""
    layout = structure_of(machine, kind)
    start = layout.first_line + instance * layout.lines + first_line
    for line in range(start, start + count):
        address = line_address(machine, line)
        entry = line_at(address)
        if entry.sharers != 0:
            if has_journal(machine):
                _drop_own_copy(machine, machine.own_core, line, address)
                _notify_others(machine, 0, line, LineEvent.WRITTEN_BY_DEVICE)
            else:
                _invalidate(machine, line, address, entry.sharers)
            entry.sharers = 0
            owner_at(address).core = 0


@compiled
def _drop_own_copy(machine, core, line, address):
    """Windowed: invalidate the copy that `core` has of a line that a device writes."""
    _save(machine, address, machine.line_stride)
    if line_at(address).sharers & (1 << core) != 0:
        _save(machine, l1_set_address(machine, core, line), machine.l1_stride)
        _save(machine, l2_set_address(machine, core, line), machine.l2_stride)
        _invalidate(machine, line, address, 1 << core)


@compiled
def update_directory(machine, event):
    """Windowed: update this core's directory by what any core, this one included, did with a line."""
    line = event >> (EVENT_KIND_BITS + EVENT_CORE_BITS)
    core = (event >> EVENT_KIND_BITS) & ((1 << EVENT_CORE_BITS) - 1)
    what = event & ((1 << EVENT_KIND_BITS) - 1)
    address = line_address(machine, line)
    entry = line_at(address)
    owner = owner_at(address)
    if what == LineEvent.FETCHED:
        entry.sharers |= 1 << core
    elif what == LineEvent.OWNED:
        entry.sharers = 1 << core
        owner.core = core + 1
    elif what == LineEvent.EVICTED:
        entry.sharers &= ~(1 << core)
        if owner.core == core + 1:
            owner.core = 0
    else:
        entry.sharers = 0
        owner.core = 0


@compiled
def apply_directory(machine, core, event):
    """Windowed: apply what the directory says about the line of an event to the caches of `core`."""
    line = event >> (EVENT_KIND_BITS + EVENT_CORE_BITS)
    address = line_address(machine, line)
    sharers = line_at(address).sharers
    mine = 1 << core
    if sharers & mine == 0:
        _invalidate(machine, line, address, mine)
    elif sharers != mine:
        l1_set = l1_set_address(machine, core, line)
        way = find_in_l1(machine, l1_set, line)
        if way >= 0:
            l1_tag_at(l1_set, way).tag &= ~cache_state.WRITABLE


@compiled
def charge(machine, core, operation):
    """Run one operation on `core`: its instructions, and the stalls of its footprint on the current instances."""
    cpu = core_of(machine, core)
    cost = operation_of(machine, operation)
    first_set = l1_set_address(machine, core, 0)
    set_mask = machine.l1_sets - 1
    stride = machine.l1_stride
    stall = 0
    for row in range(cost.first_touch, cost.last_touch):
        touch = touch_of(machine, row)
        write = touch.write
        start = touch.first_line + cpu.instance[touch.per] * touch.lines
        for line in range(start, start + touch.count):
            tag = l1_tag_at(first_set + (line & set_mask) * stride, 0).tag
            if tag != (line << 1 | cache_state.WRITABLE) and (write != 0 or tag != line << 1):  # else the access changes nothing
                stall += touch_line(machine, core, line, touch.kind, write)
    cpu.cycles[cost.category] += cost.cycles
    cpu.cycles[Category.LOCK_ATOMIC] += cost.atomic_cycles
    cpu.cycles[Category.CACHE_STALL] += stall
    cpu.clock += cost.cycles + cost.atomic_cycles + stall


@compiled
def touch_structure(machine, core, kind, instance, first_line, write):
    """Access one line of a structure's instance and charge the stall to `core`."""
    layout = structure_of(machine, kind)
    stall = touch_line(machine, core, layout.first_line + instance * layout.lines + first_line, kind, write)
    cpu = core_of(machine, core)
    cpu.cycles[Category.CACHE_STALL] += stall
    cpu.clock += stall


@compiled
def charge_lock_word(machine, core, lock, operation):
    """Run a lock operation on `core` against the word of `lock`."""
    core_of(machine, core).instance[Instance.LOCK] = lock
    charge(machine, core, operation)
