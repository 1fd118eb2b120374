"""Which way of an L2 set gives way to the next line: the machine's choice between exact LRU and a tree.

Knows the order word of a set, see `recency` and `pseudo_lru`, and no lines.
"""

from netstack.jit.compilation import compiled
from netstack.sim.machine import pseudo_lru, recency


@compiled
def next_victim(machine, order):
    """Return the way to be filled next: an empty one if there is one."""
    if machine.l2_pseudo_lru != 0:
        return pseudo_lru.next_victim(order, machine.l2_ways)
    return recency.next_victim(order, machine.l2_ways)


@compiled
def filled(machine, order, way):
    """Return the order after the next victim, `way`, got a line."""
    if machine.l2_pseudo_lru != 0:
        return pseudo_lru.used(order, way)
    return recency.filled(order, machine.l2_ways)


@compiled
def used(machine, order, way):
    """Return the order after a use of `way`."""
    if machine.l2_pseudo_lru != 0:
        return pseudo_lru.used(order, way)
    return recency.used(order, way)


@compiled
def emptied(machine, order, way):
    """Return the order after `way` lost its line."""
    if machine.l2_pseudo_lru != 0:
        return pseudo_lru.emptied(order, way)
    return recency.emptied(order, way, machine.l2_ways)
