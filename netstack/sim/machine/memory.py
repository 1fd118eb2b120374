"""Private L1 and L2 caches, kept coherent by a directory (MOESI).

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
from netstack.sim.machine.numbers import Access, LineEvent
from netstack.sim.machine.replacement import emptied, filled, next_victim, used
from netstack.sim.machine.state import core_of, node_of, structure_of

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
def touch_line(machine, core, line, kind, access):
    """Access one line from `core` and return the stall in cycles. What only stores wait for is added to `Core.store_cycles`.

    An invalidation empties the other core's way at once: empty ways are filled first.
    """
    l1_set = l1_set_address(machine, core, line)
    way = find_in_l1(machine, l1_set, line)
    if way < 0:
        return _miss(machine, core, line, l1_set, kind, access)
    if way > 0:
        _save(machine, l1_set, machine.l1_stride)
        _move_to_front(l1_set, way)
    if access == Access.READ or l1_tag_at(l1_set, 0).tag & cache_state.WRITABLE or not _own(machine, core, line, l1_set):
        return 0
    return _upgrade(machine, core, kind, access)


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
def _miss(machine, core, line, l1_set, kind, access):
    """Access a line that is not in L1: take it from L2, another cache or memory.

    A store or a locked instruction fetches the line to own it, in one transaction. What is read first is upgraded afterwards, and
    so is what others hold beside this core's L2.
    """
    address = line_address(machine, line)
    place = place_at(address, core)
    count = count_of(machine, core, kind)
    _save(machine, count_address(machine, core, kind), cache_state.COUNT_BYTES)
    _save(machine, address, machine.line_stride)
    _save(machine, l1_set, machine.l1_stride)
    count.l1_misses += 1
    held = in_l2(machine, core, line, address)
    if held:
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
    if access == Access.READ:
        return stall
    if _own(machine, core, line, l1_set) and (held or access == Access.WRITE):
        stall += _upgrade(machine, core, kind, access)
    if access == Access.STORE and machine.store_run_ahead > 0:
        core_of(machine, core).store_cycles += stall
        return 0
    return stall


@compiled
def _upgrade(machine, core, kind, access):
    """Count a write to a line that others held as well; return the stall in cycles. Only a locked instruction waits for it."""
    _save(machine, count_address(machine, core, kind), cache_state.COUNT_BYTES)
    count_of(machine, core, kind).upgrades += 1
    if access == Access.LOCKED or machine.store_run_ahead == 0:
        return machine.upgrade
    core_of(machine, core).store_cycles += machine.upgrade
    return 0


@compiled
def _own(machine, core, line, l1_set):
    """Make `core` the only holder and owner of the line that is first in `l1_set`; return whether others held it, too."""
    address = line_address(machine, line)
    entry = line_at(address)
    mine = 1 << core
    if has_journal(machine):
        _save(machine, address, machine.line_stride)
        _save(machine, l1_set, machine.l1_stride)
        if owner_at(address).core != core + 1 or entry.sharers != mine:
            _notify_others(machine, core, line, LineEvent.OWNED)
    owner_at(address).core = core + 1
    l1_tag_at(l1_set, 0).tag |= cache_state.WRITABLE
    if entry.sharers == mine:
        return False
    held = True
    if not has_journal(machine):
        held = _invalidate(machine, line, address, entry.sharers & ~mine)
    entry.sharers = mine
    return held


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
    """Write lines of a structure, -1 for none, to memory by a device: every cached copy is invalidated."""
    if kind < 0:
        return
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
