"""The state of the caches: a directory record per line, where pages are, sets of tags per core, and counters of misses.

Only the layout is here. What changes it is in `memory`. All of it is reached by address: the length of a record depends on how
many cores the machine has, or how many ways its caches.
"""

from netstack.jit.compilation import compiled
from netstack.jit.records import Record, i4, i8, record_accessor, u1

LOST = 255
EMPTY = -1
WRITABLE = 1
PAGE_BITS = 6  # a page is 64 consecutive lines
PAGE_LINES = 1 << PAGE_BITS


class Line(Record):
    """The directory's record of a cache line."""

    sharers: i8  # bit k is set if core k may hold the line: the tag in the core's way decides


class Owner(Record):
    """Behind the line's record: whose copy is newer than the memory."""

    core: u1  # 1 + the core, which may have evicted its copy since; 0 for none


class Place(Record):
    """Behind the owner, per core: where the core put the line in its L2."""

    l2: u1  # 1 + the way, which another line may have taken since; 0 for none, LOST after a write of a core or device


class Tag(Record):
    """A way of a cache set. In an L1 set tags are in order of use, the last used first. In an L2 set a tag stays in its way."""

    tag: i4  # twice the line, EMPTY for none; in L1, WRITABLE is added while the core is its only holder and owner


class Order(Record):
    """The beginning of an L2 set: what is known of the order in which its ways were used."""

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


OWNER_OFFSET = Line.dtype.itemsize
PLACE_OFFSET = OWNER_OFFSET + Owner.dtype.itemsize
ORDER_BYTES = Order.dtype.itemsize
COUNT_BYTES = MissCount.dtype.itemsize


def line_stride(cores: int) -> int:
    """Return the bytes of one line's records. They are consecutive: one access of the host computer finds them all."""
    return _multiple_of_8(PLACE_OFFSET + cores * Place.dtype.itemsize)


def l1_set_stride(ways: int) -> int:
    """Return the bytes of one L1 set."""
    return _multiple_of_8(ways * Tag.dtype.itemsize)


def l2_set_stride(ways: int) -> int:
    """Return the bytes of one L2 set."""
    return _multiple_of_8(ORDER_BYTES + ways * Tag.dtype.itemsize)


def _multiple_of_8(size: int) -> int:
    return -(-size // 8) * 8


_line_at = record_accessor(Line.dtype)
_owner_at = record_accessor(Owner.dtype)
_place_at = record_accessor(Place.dtype)
_order_at = record_accessor(Order.dtype)
_tag_at = record_accessor(Tag.dtype)
_count_at = record_accessor(MissCount.dtype)
_page_at = record_accessor(Page.dtype)


@compiled
def line_address(machine, line):
    """Return the address of a cache line's records."""
    return machine.line_table + line * machine.line_stride


@compiled
def line_at(address):
    """Return the directory record of the cache line whose records are at `address`."""
    return _line_at(address, 0)


@compiled
def owner_at(address):
    """Return the owner's record of the cache line whose records are at `address`."""
    return _owner_at(address + OWNER_OFFSET, 0)


@compiled
def place_at(address, core):
    """Return the record of where `core` put the cache line whose records are at `address`."""
    return _place_at(address + PLACE_OFFSET, core)


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
def l2_set_address(machine, core, line):
    """Return the address of the L2 set that `line` maps to, by its physical address."""
    number = core * machine.l2_sets + (physical_line(machine, line) & (machine.l2_sets - 1))
    return machine.l2_table + number * machine.l2_stride


@compiled
def order_at(address):
    """Return the order record of the L2 set at `address`."""
    return _order_at(address, 0)


@compiled
def l1_tag_at(l1_set, way):
    """Return tag `way` of the L1 set at an address, 0 for the line used last."""
    return _tag_at(l1_set, way)


@compiled
def l2_tag_at(l2_set, way):
    """Return the tag of a way of the L2 set at an address."""
    return _tag_at(l2_set + ORDER_BYTES, way)


@compiled
def count_address(machine, core, kind):
    """Return the address of the miss counters of `core` for the structure `kind`."""
    return machine.count_table + (core * machine.kinds + kind) * COUNT_BYTES


@compiled
def count_of(machine, core, kind):
    """Return the miss counters of `core` for the structure `kind`."""
    return _count_at(machine.count_table, core * machine.kinds + kind)
