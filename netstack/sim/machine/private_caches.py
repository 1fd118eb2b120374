"""What is done to the private caches of one core: finding a line in them, taking it out, and taking its permission to be written.

Knows no other core, and nothing that lies behind an L2.
"""

from netstack.jit.compilation import compiled
from netstack.sim.machine import directory
from netstack.sim.machine.cache_state import EMPTY, WRITABLE, find_in_l2, l1_set_address, l2_set_at, order_at
from netstack.sim.machine.replacement import emptied
from netstack.sim.machine.ways import tag_at


@compiled
def find_in_l1(machine, l1_set, line):
    """Return the position of a line in its L1 set, 0 for the line used last, -1 if it is not there."""
    if tag_at(l1_set, 0).tag >> 1 == line:
        return 0
    way = 1  # no range(): the compiler would unroll the loop, which is slower for few ways
    while way < machine.l1_ways:
        if tag_at(l1_set, way).tag >> 1 == line:
            return way
        way += 1
    return -1


@compiled
def move_to_front(l1_set, way):
    tag = tag_at(l1_set, way).tag
    while way > 0:
        tag_at(l1_set, way).tag = tag_at(l1_set, way - 1).tag
        way -= 1
    tag_at(l1_set, 0).tag = tag


@compiled
def remove_from_l1(machine, l1_set, way):
    last = machine.l1_ways - 1
    while way < last:  # no range(), see above
        tag_at(l1_set, way).tag = tag_at(l1_set, way + 1).tag
        way += 1
    tag_at(l1_set, last).tag = EMPTY


@compiled
def remove_from_l2(machine, l2_set, way):
    recency = order_at(machine, l2_set)
    recency.order = emptied(machine, recency.order, way)
    tag_at(l2_set, way).tag = EMPTY


@compiled
def drop_line(machine, core, line, number):
    """Take a line from the caches of `core`, where it is in L2 set `number`; return whether they held it."""
    held = False
    l1_set = l1_set_address(machine, core, line)
    way = find_in_l1(machine, l1_set, line)
    if way >= 0:
        remove_from_l1(machine, l1_set, way)
        held = True
    if machine.exclusive == 0 or not held:
        l2_set = l2_set_at(machine, core, number)
        way = find_in_l2(machine, l2_set, line)
        if way >= 0:
            remove_from_l2(machine, l2_set, way)
            held = True
    return held


@compiled
def take_line(machine, core, line, address, number):
    """Take a line from the caches of `core` for a write of another; return whether they held it."""
    held = drop_line(machine, core, line, number)
    if held:
        directory.set_lost(address, core)
    return held


@compiled
def forbid_writes(machine, core, line):
    """Note in the L1 of `core`, if a line is there, that it is not its only holder."""
    l1_set = l1_set_address(machine, core, line)
    way = find_in_l1(machine, l1_set, line)
    if way >= 0:
        tag_at(l1_set, way).tag &= ~WRITABLE
