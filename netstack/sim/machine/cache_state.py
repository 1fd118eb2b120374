"""The state of the caches: where pages are, sets of tags per core, and counters of misses.

Only the layout is here. What changes it is in `memory`. Sets are reached by address: their length depends on the ways of a cache.
"""

from netstack.jit.compilation import compiled
from netstack.jit.records import Record, i4, i8, record_accessor
from netstack.sim.machine.recency import trailing_zeros
from netstack.sim.machine.ways import Tag, matches

EMPTY = -1
WRITABLE = 1
PAGE_BITS = 6  # a page is 64 consecutive lines
PAGE_LINES = 1 << PAGE_BITS


class Order(Record):
    """The end of an L2 set: what is known of the order in which its ways were used."""

    order: i8  # in the form of the L2's replacement, see `recency` and `pseudo_lru`


class Page(Record):
    """Where a page of the structures' memory lies in physical memory."""

    colour: i4  # what the numbers of its physical lines differ in from those of its lines, by an exclusive or
    node: i4  # its memory node


class MissCount(Record):
    """What one core missed on one structure."""

    l1_misses: i8  # accesses that left the L1
    l2_misses: i8  # accesses that left the L2
    coherence_misses: i8  # L2 misses on lines that the core lost to a write of another core or a device
    upgrades: i8  # writes to lines that other cores held as well


ORDER_BYTES = Order.dtype.itemsize
COUNT_BYTES = MissCount.dtype.itemsize
HOST_LINE_BYTES = 64


def l1_set_stride(ways: int) -> int:
    """Return the bytes of one L1 set."""
    return _multiple_of_8(ways * Tag.dtype.itemsize)


def l2_set_stride(ways: int) -> int:
    """Return the bytes of one L2 set. Up to 14 ways and their order are one line of the host's caches."""
    return max(HOST_LINE_BYTES, _multiple_of_8(ways * Tag.dtype.itemsize) + ORDER_BYTES)


def _multiple_of_8(size: int) -> int:
    return -(-size // 8) * 8


_order_at = record_accessor(Order.dtype)
_count_at = record_accessor(MissCount.dtype)
_page_at = record_accessor(Page.dtype)


@compiled
def physical_line(machine, line):
    """Return the line of physical memory where `line` lies. Its lowest bits are its set in L2."""
    return line ^ _page_at(machine.page_table, line >> PAGE_BITS).colour


@compiled
def home_of(machine, line):
    """Return the memory node of a line."""
    return _page_at(machine.page_table, line >> PAGE_BITS).node


@compiled
def l1_set_address(machine, core, line):
    """Return the address of the L1 set that `line` maps to, by its address before translation."""
    return machine.l1_table + (core * machine.l1_sets + (line & (machine.l1_sets - 1))) * machine.l1_stride


@compiled
def l2_set_of(machine, line):
    """Return the number of the L2 set that `line` maps to, by its physical address: the same on every core."""
    return physical_line(machine, line) & (machine.l2_sets - 1)


@compiled
def l2_set_at(machine, core, number):
    """Return the address of an L2 set. Sets of one number lie side by side: a line that travels is sought in several."""
    return machine.l2_table + (number * machine.cores + core) * machine.l2_stride


@compiled
def l2_set_address(machine, core, line):
    """Return the address of the L2 set of `core` that `line` maps to."""
    return l2_set_at(machine, core, l2_set_of(machine, line))


@compiled
def find_in_l2(machine, l2_set, line):
    """Return the way of an L2 set that holds `line`, -1 if none does."""
    found = matches(l2_set, line << 1) & ((1 << machine.l2_ways) - 1)
    return trailing_zeros(found) if found != 0 else -1


@compiled
def order_at(machine, l2_set):
    """Return the order record of the L2 set at an address."""
    return _order_at(l2_set + machine.l2_stride - ORDER_BYTES, 0)


@compiled
def count_address(machine, core, kind):
    """Return the address of the miss counters of `core` for the structure `kind`."""
    return machine.count_table + (core * machine.kinds + kind) * COUNT_BYTES


@compiled
def count_of(machine, core, kind):
    """Return the miss counters of `core` for the structure `kind`."""
    return _count_at(machine.count_table, core * machine.kinds + kind)
