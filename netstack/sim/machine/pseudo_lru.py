"""Tree pseudo-LRU of a cache set: one bit per inner node of a binary tree over its ways, and which ways are in use, in one word.

The root tells even ways from odd ones, its children look at the next bit of the way's number, and so on. Bit k, from 1 to 15, is
set if the half that begins with way k was used before the other half of the same node. Bit 16 + k is set if way k is in use.
Knows no lines.

Instructions that stay in the L2 keep whole ways of it: only the first `ways` leaves of the tree hold data. A walk that comes to a
half without data goes to the other one. Hardware does the same, for each use of an instruction turns the nodes above it away from
it. That also turns nodes with data on both sides, which is left out: where instructions lie in a set is chance, so that no data
way is favoured. For the same reason ways are numbered so that those of the instructions are spread over the tree. Were they
neighbours, half of all fills would go to the few data ways beside them.
"""

import numpy as np

from netstack.jit.compilation import compiled
from netstack.sim.machine.recency import MAX_WAYS, trailing_zeros

EMPTY_SET = 0
"""The word of a set without lines."""
_IN_USE = 16  # the bit of way 0 among those of the ways in use


def _halves_of(way: int) -> list[tuple[int, bool]]:
    """Return, from the root down, the bit of each node above a way, and whether the way is in the half that the bit is for."""
    steps = (1, 2, 4, 8)
    return [((way & (step - 1)) + step, bool(way & step)) for step in steps]


_ABOVE = np.array([sum(1 << bit for bit, _ in _halves_of(way)) for way in range(MAX_WAYS)])
"""By way: the bits of the nodes above it."""
_OTHERS = np.array([sum(1 << bit for bit, inside in _halves_of(way) if not inside) for way in range(MAX_WAYS)])
"""By way: what these bits are after its use, when all nodes above it point to the other half."""


@compiled
def next_victim(word, ways):
    """Return the way to be filled next: the lowest empty one if there is one, else the one that the tree points to."""
    empty = ~(word >> _IN_USE) & ((1 << ways) - 1)
    if empty != 0:
        return trailing_zeros(empty)
    way = 0
    step = 1
    while step < ways:
        other = way + step  # where the other half of this node begins
        if other < ways and (word >> other) & 1:
            way = other
        step += step
    return way


@compiled
def used(word, way):
    """Return the word after a use of `way`, which has a line from now on."""
    return (word & ~_ABOVE[way]) | _OTHERS[way] | (1 << (_IN_USE + way))


@compiled
def emptied(word, way):
    """Return the word after `way` lost its line. The tree stays as it is."""
    return word & ~(1 << (_IN_USE + way))
