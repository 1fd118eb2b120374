"""What last-level caches add to a fetch, an invalidation, an eviction and a write by a device.

They are holders of lines in the directory, as cores are, and its records are exact with them.
"""

from netstack.jit.compilation import compiled
from netstack.sim.machine import directory
from netstack.sim.machine.cache_state import EMPTY, home_of, l2_set_of
from netstack.sim.machine.last_level import count_llc_miss, group_of, insert_into_llc, remove_from_llc, use_in_llc
from netstack.sim.machine.private_caches import drop_line, forbid_writes, take_line
from netstack.sim.machine.state import core_of, node_of

FROM_OTHERS, FROM_OWNER, FROM_AFAR = 1, 2, 4
"""From whom a line was taken; the last one is any holder of another group, if cores share last-level caches."""


@compiled
def stall_from_memory(machine, core, line):
    """Return the stall of a fetch by `core` from the memory of a line, in cycles."""
    return machine.memory_local if home_of(machine, line) == node_of(machine, core) else machine.memory_remote


@compiled
def fetch_through_llc(machine, core, line, kind, address):
    """Bring a line that `core` does not hold by way of the last-level cache of its group; return the stall in cycles.

    A cache of victims gives the line away, together with its ownership. An inclusive one keeps it, and takes over what a core of
    its group has written.
    """
    llc = core_of(machine, core).llc
    group = group_of(machine, llc)
    owner = directory.owner_of(address) - 1
    if 0 <= owner < machine.cores:
        forbid_writes(machine, owner, line)
    if directory.is_sharer(address, llc):
        if machine.llc_inclusive == 0:
            remove_from_llc(machine, llc, line)
            directory.remove_sharer(address, llc)
            if owner == llc:
                directory.set_owner(address, core + 1)
            return machine.llc_hit
        use_in_llc(machine, llc, line)
        if group.first_core <= owner < group.end_core:
            directory.set_owner(address, llc + 1)
            return machine.cache_same_group
        return machine.llc_hit
    if machine.llc_inclusive != 0:
        _fill_llc(machine, llc, line, machine.llc_ways)
    else:
        for other in range(group.first_core, group.end_core):
            if other != core and directory.is_sharer(address, other):
                return machine.cache_same_group
    count_llc_miss(machine, core, kind)
    if owner < 0:
        return stall_from_memory(machine, core, line)
    node = node_of(machine, owner) if owner < machine.cores else group_of(machine, owner).node
    return machine.cache_same_node if node == node_of(machine, core) else machine.cache_other_node


@compiled
def invalidate_all(machine, line, keeper, kept_llc):
    """Take a line from all cores and last-level caches that hold it but `keeper` and `kept_llc`, -1 for none.

    Returns `FROM_OTHERS` if any of them held it, and `FROM_AFAR` if one of another group than `keeper` did.
    """
    address = directory.line_address(machine, line)
    number = l2_set_of(machine, line)
    group = core_of(machine, keeper).llc if keeper >= 0 else -1
    taken = 0
    for position in range(machine.line_words):
        sharers = directory.other_sharers(address, position, keeper)
        while sharers != 0:
            holder = directory.first_of(sharers, position)
            sharers &= sharers - 1
            if holder == kept_llc:
                continue
            llc = holder
            if holder < machine.cores:
                take_line(machine, holder, line, address, number)
                llc = core_of(machine, holder).llc
            else:
                remove_from_llc(machine, llc, line)
            taken |= FROM_OTHERS if llc == group else FROM_OTHERS | FROM_AFAR
    return taken


@compiled
def leave_core(machine, core, line):
    """Let a line that `core` evicted go to the last-level cache of its group. An inclusive one has it already."""
    address = directory.line_address(machine, line)
    llc = core_of(machine, core).llc
    owned = directory.owner_of(address) == core + 1
    directory.remove_sharer(address, core)
    if machine.llc_inclusive == 0:
        if directory.is_sharer(address, llc):
            use_in_llc(machine, llc, line)
        else:
            _fill_llc(machine, llc, line, machine.llc_ways)
    if owned:
        directory.set_owner(address, llc + 1)


@compiled
def _fill_llc(machine, llc, line, ways):
    """Put a line into one of the first `ways` ways of a last-level cache. What gives way is written to memory.

    An inclusive cache takes it from the cores of its group as well.
    """
    directory.add_sharer(directory.line_address(machine, line), llc)
    victim = insert_into_llc(machine, llc, line, ways)
    if victim == EMPTY:
        return
    address = directory.line_address(machine, victim)
    directory.remove_sharer(address, llc)
    if machine.llc_inclusive != 0:
        number = l2_set_of(machine, victim)
        group = group_of(machine, llc)
        for core in range(group.first_core, group.end_core):
            if directory.is_sharer(address, core):
                drop_line(machine, core, victim, number)
                directory.remove_sharer(address, core)


@compiled
def write_by_device(machine, line, address):
    """Write a line by a device: into the last-level cache that devices write to if its memory is there, else to memory."""
    llc = machine.ddio_llc
    if llc >= 0 and home_of(machine, line) != group_of(machine, llc).node:
        llc = -1
    there = llc >= 0 and directory.is_sharer(address, llc)
    if directory.has_sharers(machine, address):
        invalidate_all(machine, line, -1, llc)
        directory.clear_sharers(machine, address)
    if llc < 0:
        return
    if there:
        use_in_llc(machine, llc, line)
        directory.add_sharer(address, llc)
    else:
        _fill_llc(machine, llc, line, machine.ddio_ways)
    directory.set_owner(address, llc + 1)
