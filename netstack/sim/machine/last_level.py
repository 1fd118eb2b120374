"""The last-level caches, each shared by a group of cores: sets of tags, and the order in which their ways were used.

A set is found by the physical line modulo the number of sets, which may be any number. Knows lines, and no private caches.
"""

from netstack.jit.compilation import compiled
from netstack.jit.records import Record, i8, record_accessor, u1
from netstack.sim.machine.cache_state import EMPTY, physical_line
from netstack.sim.machine.ways import Tag, tag_at

MAX_LLC_WAYS = 32
_TAG_BYTES = Tag.dtype.itemsize


class Group(Record):
    """The cores that share a last-level cache. The directory knows the cache as a holder behind the cores, by its group."""

    first_core: i8  # the first of them
    end_core: i8  # the core after the last of them
    node: i8  # their memory node


class LlcMissCount(Record):
    """What one core missed on one structure in all caches of its group. Apart from other counters, which are hot."""

    llc_misses: i8  # L2 misses that no cache of the group served


class Rank(Record):
    """How long ago a way was used, in comparison with the other ways of its set."""

    rank: u1  # how many ways were used later


_count_at = record_accessor(LlcMissCount.dtype)
_rank_at = record_accessor(Rank.dtype)
_group_at = record_accessor(Group.dtype)


LLC_BYTES_PER_LINE = _TAG_BYTES + Rank.dtype.itemsize


def llc_set_stride(ways: int) -> int:
    """Return the bytes of one set: its tags, then its ranks, in whole words."""
    return -(-ways * LLC_BYTES_PER_LINE // 8) * 8


@compiled
def group_of(machine, llc):
    """Return the group that shares the cache that the directory knows as holder `llc`."""
    return _group_at(machine.group_table, llc - machine.cores)


@compiled
def count_llc_miss(machine, core, kind):
    """Count a miss of `core` on the structure `kind`."""
    _count_at(machine.llc_count_table, core * machine.kinds + kind).llc_misses += 1


@compiled
def _set_of(machine, llc, line):
    number = physical_line(machine, line) % machine.llc_sets
    return machine.llc_table + ((llc - machine.cores) * machine.llc_sets + number) * machine.llc_stride


@compiled
def _way_of(machine, llc_set, line):
    """Return the way of a set that holds `line`. One does: the directory says so."""
    way = 0
    while tag_at(llc_set, way).tag != line:
        way += 1
    return way


@compiled
def _note_use(machine, llc_set, way):
    ranks = llc_set + machine.llc_ways * _TAG_BYTES
    before = _rank_at(ranks, way).rank
    for other in range(machine.llc_ways):
        rank = _rank_at(ranks, other)
        rank.rank += rank.rank < before
    _rank_at(ranks, way).rank = 0


@compiled
def use_in_llc(machine, llc, line):
    """Note a use of a line that the cache holds."""
    llc_set = _set_of(machine, llc, line)
    _note_use(machine, llc_set, _way_of(machine, llc_set, line))


@compiled
def remove_from_llc(machine, llc, line):
    """Take a line that the cache holds out of it."""
    llc_set = _set_of(machine, llc, line)
    tag_at(llc_set, _way_of(machine, llc_set, line)).tag = EMPTY


@compiled
def insert_into_llc(machine, llc, line, ways):
    """Put a line into one of the first `ways` ways of its set; return the line that gave way, EMPTY for none.

    The way is an empty one if there is one, else the least recently used of them.
    """
    llc_set = _set_of(machine, llc, line)
    ranks = llc_set + machine.llc_ways * _TAG_BYTES
    chosen = 0
    for way in range(ways):
        if tag_at(llc_set, way).tag == EMPTY:
            chosen = way
            break
        if _rank_at(ranks, way).rank > _rank_at(ranks, chosen).rank:
            chosen = way
    victim = tag_at(llc_set, chosen).tag
    tag_at(llc_set, chosen).tag = line
    _note_use(machine, llc_set, chosen)
    return victim
