"""The state of the caches: a directory record per line, sets of tags per core, and counters of misses.

Only the layout is here; what moves in it is in `memory`. All of it is reached by address, because records are as long as the
machine has cores or its caches have ways.
"""

from netstack.jit.compilation import compiled
from netstack.jit.records import Record, i4, i8, record_accessor, u1

LOST = 255
EMPTY = -1
WRITABLE = 1


class Line(Record):
    """The directory's record of a cache line."""

    sharers: i8  # bit k is set if core k may hold the line; the tag in the core's way decides


class Owner(Record):
    """Behind the line's record: whose copy is newer than memory."""

    core: u1  # 1 + the core, while it holds a copy; 0 for none


class Place(Record):
    """Behind the owner, for each core: where it put the line in its L2."""

    l2: u1  # 1 + the way; 0 if nowhere, LOST after a write of another core


class Tag(Record):
    """A way of a cache set. An L1 set is its tags, the one used last first; in an L2 set they stay where they are."""

    tag: i4  # twice the line, EMPTY for none; in L1, WRITABLE is added while the core is its only holder and owner


class Order(Record):
    """The beginning of an L2 set: when its ways were used."""

    order: i8  # see `recency`


class MissCount(Record):
    """What one core missed on one structure."""

    l1_misses: i8  # accesses that left the L1
    l2_misses: i8  # accesses that left the L2
    coherence_misses: i8  # L2 misses on lines that another core or a device wrote since
    upgrades: i8  # writes to lines that others held as well


OWNER_OFFSET = Line.dtype.itemsize
PLACE_OFFSET = OWNER_OFFSET + Owner.dtype.itemsize
ORDER_BYTES = Order.dtype.itemsize
COUNT_BYTES = MissCount.dtype.itemsize


def line_stride(cores: int) -> int:
    """Return the bytes of one line's records, one after the other so that one access of the host finds all."""
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
    """Return where `core` holds the cache line whose records are at `address`."""
    return _place_at(address + PLACE_OFFSET, core)


@compiled
def l1_set_address(machine, core, line):
    """Return the address of the L1 set that `line` maps to."""
    return machine.l1_table + (core * machine.l1_sets + (line & (machine.l1_sets - 1))) * machine.l1_stride


@compiled
def l2_set_address(machine, core, line):
    """Return the address of the L2 set that `line` maps to."""
    return machine.l2_table + (core * machine.l2_sets + (line & (machine.l2_sets - 1))) * machine.l2_stride


@compiled
def order_at(address):
    """Return the order of the L2 set at `address`."""
    return _order_at(address, 0)


@compiled
def l1_tag_at(l1_set, way):
    """Return one way of the L1 set at an address, the one used last first."""
    return _tag_at(l1_set, way)


@compiled
def l2_tag_at(l2_set, way):
    """Return one way of the L2 set at an address."""
    return _tag_at(l2_set + ORDER_BYTES, way)


@compiled
def count_address(machine, core, kind):
    """Return the address of the miss counters of `core` for the structure `kind`."""
    return machine.count_table + (core * machine.kinds + kind) * COUNT_BYTES


@compiled
def count_of(machine, core, kind):
    """Return the miss counters of `core` for the structure `kind`."""
    return _count_at(machine.count_table, core * machine.kinds + kind)
