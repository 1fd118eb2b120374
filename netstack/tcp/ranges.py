"""Ascending lists of disjoint sequence ranges: what a receiver holds out of order, and what a sender knows to have arrived.

A list is two arrays, starts and ends, and a count. An end is exclusive. Knows no pcb.
"""

from netstack.jit.compilation import compiled
from netstack.tcp.sequence import seq_geq, seq_gt, seq_leq, seq_lt


@compiled
def insert_range(starts, ends, count, start, end):
    """Add a range, merged with those that it touches; return the new count. A full list drops the range."""
    kept = 0
    for index in range(count):
        if seq_lt(ends[index], start) or seq_gt(starts[index], end):
            starts[kept] = starts[index]
            ends[kept] = ends[index]
            kept += 1
        else:
            if seq_lt(starts[index], start):
                start = starts[index]
            if seq_gt(ends[index], end):
                end = ends[index]
    if kept == len(starts):
        return kept
    place = kept
    while place > 0 and seq_gt(starts[place - 1], start):
        starts[place] = starts[place - 1]
        ends[place] = ends[place - 1]
        place -= 1
    starts[place] = start
    ends[place] = end
    return kept + 1


@compiled
def find_range(starts, ends, count, seq):
    """Return the index of the range that contains `seq`, -1 if none does."""
    for index in range(count):
        if seq_leq(starts[index], seq) and seq_lt(seq, ends[index]):
            return index
    return -1


@compiled
def drop_ranges_below(starts, ends, count, seq):
    """Forget everything below `seq`; return the new count."""
    kept = 0
    for index in range(count):
        if seq_leq(ends[index], seq):
            continue
        starts[kept] = starts[index] if seq_geq(starts[index], seq) else seq
        ends[kept] = ends[index]
        kept += 1
    return kept
