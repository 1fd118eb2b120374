"""Private L1 and L2 caches and the last-level caches behind them, kept coherent by a directory (MOESI).

A line's state follows from its record: held by one core only (E, or M if that core is its owner), by several (S, or O for the
owner), by none (I). A record may say that a core holds a line that it has evicted: the tags in its sets decide. With last-level
caches, which are holders like the cores, records are exact. Knows lines and structures, not what they hold.
"""

from netstack.jit.compilation import compiled
from netstack.jit.journal import add_event, save_words
from netstack.jit.tables import has_journal, journal_of
from netstack.sim.machine import cache_state, directory
from netstack.sim.machine.cache_state import count_of, find_in_l2, l1_set_address, l2_set_address, l2_set_of, order_at
from netstack.sim.machine.numbers import Access, LineEvent
from netstack.sim.machine.private_caches import (
    find_in_l1,
    forbid_writes,
    move_to_front,
    remove_from_l1,
    remove_from_l2,
    take_line,
)
from netstack.sim.machine.replacement import filled, next_victim, used
from netstack.sim.machine.shared_caches import (
    FROM_AFAR,
    FROM_OTHERS,
    FROM_OWNER,
    fetch_through_llc,
    invalidate_all,
    leave_core,
    stall_from_memory,
    write_by_device,
)
from netstack.sim.machine.state import core_of, node_of, structure_of
from netstack.sim.machine.ways import prefetch, tag_at

EVENT_KIND_BITS, EVENT_CORE_BITS = 2, 8
JOURNAL_WORD_BYTES = 8


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
def _save_record(machine, line):
    """Windowed: keep the directory's record of a line, in whole words of the journal."""
    if has_journal(machine):
        address = directory.line_address(machine, line)
        start = address & -JOURNAL_WORD_BYTES
        end = (address + machine.line_words * directory.WORD_BYTES + JOURNAL_WORD_BYTES - 1) & -JOURNAL_WORD_BYTES
        save_words(journal_of(machine), start, end - start)


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
        move_to_front(l1_set, way)
    if access == Access.READ or tag_at(l1_set, 0).tag & cache_state.WRITABLE:
        return 0
    taken = _own(machine, core, line, l1_set)
    return _upgrade(machine, core, kind, access, taken) if taken != 0 else 0


@compiled
def _miss(machine, core, line, l1_set, kind, access):
    """Access a line that is not in L1: take it from L2, another cache or memory.

    A store or a locked instruction fetches the line to own it, in one transaction. What is read first is upgraded afterwards, and
    so is what others hold beside this core's L2.
    """
    victim = tag_at(l1_set, machine.l1_ways - 1).tag
    if victim >= 0:
        prefetch(l2_set_address(machine, core, victim >> 1))
    count = count_of(machine, core, kind)
    _save(machine, cache_state.count_address(machine, core, kind), cache_state.COUNT_BYTES)
    _save(machine, l1_set, machine.l1_stride)
    count.l1_misses += 1
    l2_set = l2_set_address(machine, core, line)
    way = find_in_l2(machine, l2_set, line) if directory.is_sharer(directory.line_address(machine, line), core) else -1
    in_l2 = way >= 0
    taken = 0
    if in_l2:
        stall = machine.l2_hit
        _save(machine, l2_set, machine.l2_stride)
        if machine.exclusive != 0:
            remove_from_l2(machine, l2_set, way)
        else:
            recency = order_at(machine, l2_set)
            recency.order = used(machine, recency.order, way)
    elif access == Access.READ or has_journal(machine) or machine.llc_groups != 0:
        stall = _fetch(machine, core, line, kind, count)
    else:
        stall, taken = _fetch_to_own(machine, core, line, count)
    if not in_l2 and machine.exclusive == 0:
        _fill_l2(machine, core, line)
    _fill_l1(machine, core, line, l1_set)
    if access == Access.READ:
        return stall
    if in_l2 or has_journal(machine) or machine.llc_groups != 0:
        taken = _own(machine, core, line, l1_set)
    else:
        tag_at(l1_set, 0).tag |= cache_state.WRITABLE
    if taken != 0 and (in_l2 or access == Access.WRITE):
        stall += _upgrade(machine, core, kind, access, taken)
    if access == Access.STORE and machine.store_run_ahead > 0:
        core_of(machine, core).store_cycles += stall
        return 0
    return stall


@compiled
def _upgrade(machine, core, kind, access, taken):
    """Count a write to a line that was taken from others; return the stall in cycles.

    Only a locked instruction waits for it, unless these are free.
    """
    _save(machine, cache_state.count_address(machine, core, kind), cache_state.COUNT_BYTES)
    count_of(machine, core, kind).upgrades += 1
    stall = machine.upgrade if machine.llc_groups == 0 or taken & FROM_AFAR else machine.upgrade_same_group
    if (access == Access.LOCKED and machine.free_atomics == 0) or machine.store_run_ahead == 0:
        return stall
    core_of(machine, core).store_cycles += stall
    return 0


@compiled
def _own(machine, core, line, l1_set):
    """Make `core` the only holder and owner of the line that is first in `l1_set`; return from whom it was taken, 0 for nobody.

    An inclusive last-level cache of its group keeps the line.
    """
    address = directory.line_address(machine, line)
    shared = directory.is_shared_beside(machine, address, core)
    if has_journal(machine):
        _save_record(machine, line)
        _save(machine, l1_set, machine.l1_stride)
        if shared or directory.owner_of(address) != core + 1 or not directory.is_sharer(address, core):
            _notify_others(machine, core, line, LineEvent.OWNED)
    tag_at(l1_set, 0).tag |= cache_state.WRITABLE
    taken = FROM_OTHERS if shared else 0
    if shared:
        if not has_journal(machine):
            taken = _invalidate(machine, line, core)
        directory.set_only_sharer(machine, address, core)
        if machine.llc_inclusive != 0:
            directory.add_sharer(address, core_of(machine, core).llc)
    else:
        directory.add_sharer(address, core)
        directory.set_owner(address, core + 1)
    return taken


@compiled
def _fetch(machine, core, line, kind, count):
    """Bring a line that `core` does not hold from another cache or from memory; return the stall in cycles."""
    address = directory.line_address(machine, line)
    _save_record(machine, line)
    count.l2_misses += 1
    count.coherence_misses += directory.has_lost(address, core)
    directory.add_sharer(address, core)
    owner = directory.owner_of(address)
    if machine.llc_groups != 0:
        return fetch_through_llc(machine, core, line, kind, address)
    if has_journal(machine):
        _notify_others(machine, core, line, LineEvent.FETCHED)
        if owner != 0:  # a holder that evicts a line notifies the others
            return _stall_from_cache(machine, core, owner - 1)
    elif owner != 0:
        holder = owner - 1
        l1_set = l1_set_address(machine, holder, line)
        way = find_in_l1(machine, l1_set, line)
        if way >= 0:
            tag_at(l1_set, way).tag &= ~cache_state.WRITABLE
        if way >= 0 or find_in_l2(machine, l2_set_address(machine, holder, line), line) >= 0:
            return _stall_from_cache(machine, core, holder)
        directory.set_owner(address, 0)  # written back when it was evicted
    return stall_from_memory(machine, core, line)


@compiled
def _stall_from_cache(machine, core, holder):
    """Return the stall of a fetch by `core` from the caches of `holder`, in cycles."""
    return machine.cache_same_node if node_of(machine, holder) == node_of(machine, core) else machine.cache_other_node


@compiled
def _fetch_to_own(machine, core, line, count):
    """Bring a line that `core` does not hold and will write, and take it from all others.

    Returns the stall in cycles, and from whom it was taken, 0 for nobody.
    """
    address = directory.line_address(machine, line)
    count.l2_misses += 1
    count.coherence_misses += directory.has_lost(address, core)
    owner = directory.owner_of(address)
    taken = _invalidate(machine, line, core) if directory.is_shared_beside(machine, address, core) else 0
    directory.add_sharer(address, core)
    directory.set_only_sharer(machine, address, core)
    if taken & FROM_OWNER:
        return _stall_from_cache(machine, core, owner - 1), taken
    return stall_from_memory(machine, core, line), taken


@compiled
def _invalidate(machine, line, keeper):
    """Take a line from all cores that may hold it but `keeper`, -1 for none.

    Returns `FROM_OTHERS` if any of them still held it, and `FROM_OWNER` if its owner did.
    """
    if machine.llc_groups != 0:
        return invalidate_all(machine, line, keeper, core_of(machine, keeper).llc if machine.llc_inclusive != 0 else -1)
    address = directory.line_address(machine, line)
    number = l2_set_of(machine, line)
    owner = directory.owner_of(address)
    taken = 0
    for position in range(machine.line_words):
        sharers = directory.other_sharers(address, position, keeper)
        while sharers != 0:
            other = directory.first_of(sharers, position)
            if take_line(machine, other, line, address, number):
                taken |= FROM_OTHERS | (FROM_OWNER if other + 1 == owner else 0)
            sharers &= sharers - 1
    return taken


@compiled
def _fill_l1(machine, core, line, l1_set):
    """Put a line into its L1 set. The victim moves to an exclusive L2. An inclusive L2 has it already."""
    last = machine.l1_ways - 1
    victim = tag_at(l1_set, last).tag
    tag_at(l1_set, last).tag = line << 1
    move_to_front(l1_set, last)
    if victim >= 0 and machine.exclusive != 0:
        _fill_l2(machine, core, victim >> 1)


@compiled
def _fill_l2(machine, core, line):
    """Put a line into L2. The victim leaves the core: an inclusive L2 takes it from L1 too.

    The victim's record is not touched, for that would be slow. The next reader finds it stale. Last-level caches need it exact.
    """
    l2_set = l2_set_address(machine, core, line)
    _save(machine, l2_set, machine.l2_stride)
    recency = order_at(machine, l2_set)
    way = next_victim(machine, recency.order)
    recency.order = filled(machine, recency.order, way)
    slot = tag_at(l2_set, way)
    victim = slot.tag >> 1
    slot.tag = line << 1
    if victim >= 0 and machine.exclusive == 0:
        l1_set = l1_set_address(machine, core, victim)
        l1_way = find_in_l1(machine, l1_set, victim)
        if l1_way >= 0:
            _save(machine, l1_set, machine.l1_stride)
            remove_from_l1(machine, l1_set, l1_way)
    if victim >= 0:
        if machine.llc_groups != 0:
            leave_core(machine, core, victim)
        if has_journal(machine):
            _note_eviction(machine, core, victim)


@compiled
def evict_from_l1(machine, core, count):
    """Take `count` lines out of the L1 of `core`: of one set after the other the one used least recently."""
    cpu = core_of(machine, core)
    for _ in range(count):
        l1_set = l1_set_address(machine, core, cpu.evict_next)
        cpu.evict_next = (cpu.evict_next + 1) & (machine.l1_sets - 1)
        way = machine.l1_ways - 1
        while way > 0 and tag_at(l1_set, way).tag < 0:
            way -= 1
        victim = tag_at(l1_set, way).tag
        if victim >= 0:
            _save(machine, l1_set, machine.l1_stride)
            tag_at(l1_set, way).tag = cache_state.EMPTY
            if machine.exclusive != 0:
                _fill_l2(machine, core, victim >> 1)


@compiled
def _note_eviction(machine, core, line):
    """Windowed: remove `core` from the directory's record of a line that it evicted, and notify the others."""
    _save_record(machine, line)
    directory.remove_sharer(directory.line_address(machine, line), core)
    _notify_others(machine, core, line, LineEvent.EVICTED)


@compiled
def dma_write(machine, kind, instance, first_line, count):
    """Write lines of a structure, -1 for none, by a device: cached copies are invalidated, except one that is written itself."""
    if kind < 0:
        return
    layout = structure_of(machine, kind)
    start = layout.first_line + instance * layout.lines + first_line
    for line in range(start, start + count):
        address = directory.line_address(machine, line)
        if machine.llc_groups != 0:
            write_by_device(machine, line, address)
        elif directory.has_sharers(machine, address):
            if has_journal(machine):
                _save_record(machine, line)
                _drop_copy(machine, machine.own_core, line)
                _notify_others(machine, 0, line, LineEvent.WRITTEN_BY_DEVICE)
            else:
                _invalidate(machine, line, -1)
            directory.clear_sharers(machine, address)


@compiled
def _drop_copy(machine, core, line):
    """Windowed: take a line that a device writes from `core`, if it may hold it, so that this can be undone."""
    address = directory.line_address(machine, line)
    if directory.is_sharer(address, core):
        _save(machine, l1_set_address(machine, core, line), machine.l1_stride)
        _save(machine, l2_set_address(machine, core, line), machine.l2_stride)
        take_line(machine, core, line, address, l2_set_of(machine, line))


@compiled
def update_directory(machine, event):
    """Windowed: update this core's directory by what any core, this one included, did with a line."""
    line = event >> (EVENT_KIND_BITS + EVENT_CORE_BITS)
    core = (event >> EVENT_KIND_BITS) & ((1 << EVENT_CORE_BITS) - 1)
    what = event & ((1 << EVENT_KIND_BITS) - 1)
    address = directory.line_address(machine, line)
    if what == LineEvent.FETCHED:
        directory.add_sharer(address, core)
    elif what == LineEvent.OWNED:
        directory.set_only_sharer(machine, address, core)
    elif what == LineEvent.EVICTED:
        directory.remove_sharer(address, core)
    else:
        directory.clear_sharers(machine, address)


@compiled
def apply_directory(machine, core, event):
    """Windowed: apply what the directory says about the line of an event to the caches of `core`."""
    line = event >> (EVENT_KIND_BITS + EVENT_CORE_BITS)
    address = directory.line_address(machine, line)
    if not directory.is_sharer(address, core):
        take_line(machine, core, line, address, l2_set_of(machine, line))
    elif directory.is_shared_beside(machine, address, core):
        forbid_writes(machine, core, line)
