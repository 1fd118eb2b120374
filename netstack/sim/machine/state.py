"""The machine's state: one record a kind of thing, reached through accessors.

Only the layout is here; what moves in it is in memory, locks, scheduler and nic. Knows no TCP.
Times are core cycles since the start of the simulation; -1 means "none" in every index field.
"""

import numpy as np

from netstack.jit.compilation import compiled
from netstack.jit.records import record_accessor
from netstack.jit.tables import journaled, table_accessor, with_journal, word_policies
from netstack.sim.machine.costs import CATEGORIES, INSTANCES, OPERATIONS

NEVER = 1 << 62
LINK_UNITS = 1024  # a NIC's clock counts 1/1024 cycles, so that rounding never adds up

(
    PROTOCOL,
    APPLICATION,
    COPY,
    DRIVER,
    INTERRUPT,
    SCHEDULING,
    LOCK_ATOMIC,
    LOCK_SPIN,
    LOCK_SLEEP,
    CACHE_STALL,
    IDLE,
) = range(len(CATEGORIES))
(KERNEL, CORE, THREAD, FLOW, BUCKET, LOCK, GROUP, NIC, TX_SLOT, RX_SLOT, MBUF, LISTENER) = range(len(INSTANCES))
(
    OP_APP_EVENT,
    OP_APP_WAIT,
    OP_WRITE_CALL,
    OP_SOSEND_UNIT,
    OP_PAGE_WIRE,
    OP_LOOKUP,
    OP_PRU_SEND,
    OP_TCP_OUTPUT,
    OP_CALLOUT_SET,
    OP_ROUTE_LOOKUP,
    OP_IP_OUTPUT,
    OP_DRIVER_TRANSMIT,
    OP_DRIVER_TRANSMIT_DONE,
    OP_INTERRUPT,
    OP_DRIVER_RECEIVE,
    OP_IP_INPUT,
    OP_TCP_PREDICT,
    OP_TCP_INPUT,
    OP_SB_DROP,
    OP_PAGE_UNWIRE,
    OP_SO_WAKEUP,
    OP_MBUF_ALLOC,
    OP_MBUF_FREE,
    OP_MBUF_ZONE,
    OP_TIMER,
    OP_LOCK_ACQUIRE,
    OP_LOCK_RELEASE,
    OP_LOCK_BLOCK,
    OP_LOCK_UNBLOCK,
    OP_CONTEXT_SWITCH,
    OP_WAKEUP,
    OP_IPI_SEND,
    OP_IPI_RECEIVE,
    OP_MESSAGE_SEND,
    OP_MESSAGE_RECEIVE,
    OP_LOOKUP_REFERENCE,
    OP_BUCKET_LOCK,
    OP_BACKLOG_ADD,
    OP_BACKLOG_TAKE,
    OP_MESSAGE_APPEND,
    OP_MESSAGE_COLLECT,
    OP_MESSAGE_POST,
    OP_MESSAGE_DELIVER,
    OP_PERIMETER_ADD,
    OP_PERIMETER_TAKE,
    OP_CONNECTION_CREATE,
    OP_CONNECTION_INSERT,
    OP_CONNECTION_REMOVE,
    OP_BUCKET_SECTION,
    OP_LISTENER_QUEUE,
    OP_ACCEPT_CALL,
    OP_CLOSE_CALL,
    OP_RESET,
) = range(len(OPERATIONS))

LOCK_CLASSES = (
    "global",
    "connection",
    "socket_buffer",
    "nic",
    "run_queue",
    "message_port",
    "mbuf_zone",
    "event_queue",
    "route",
    "callout",
    "page_queue",
    "listener",
    "bucket",
)
(
    GLOBAL_LOCK,
    CONNECTION_LOCK,
    SOCKET_BUFFER,
    NIC_LOCK,
    RUN_QUEUE,
    MESSAGE_PORT,
    MBUF_ZONE,
    EVENT_QUEUE,
    ROUTE,
    CALLOUT,
    PAGE_QUEUE,
    LISTENER_LOCK,
    BUCKET_LOCK,
) = range(len(LOCK_CLASSES))

BLOCKED, RUNNABLE, RUNNING = range(3)


def _record(*fields: tuple) -> np.dtype:
    return np.dtype(list(fields), align=True)


LINE_DTYPE = _record(("sharers", "i8"))
"""A cache line: bit k of `sharers` is set if core k may hold it; the tag in the core's way decides."""

OWNER_DTYPE = np.dtype([("core", "u1")])
"""1 + the core whose copy of a line, while it holds one, is newer than memory; 0 for none."""

PLACE_DTYPE = np.dtype([("l2", "u1")])
"""Where one core put one line in L2: 1 + its way, 0 if nowhere, LOST after a write of another core."""

LOST = 255
OWNER_OFFSET = LINE_DTYPE.itemsize
PLACE_OFFSET = OWNER_OFFSET + OWNER_DTYPE.itemsize


def line_stride(cores: int) -> int:
    """Return the bytes of one line's records, one after the other so that one access of the host finds all."""
    return _multiple_of_8(PLACE_OFFSET + cores * PLACE_DTYPE.itemsize)


TAG_DTYPE = _record(("tag", "i4"))
"""A way of a cache set: twice its line, EMPTY if there is none. In L1, WRITABLE is added while the core is the line's only
holder and owner. An L1 set is its tags, the one used last first; in an L2 set they stay where they are, behind their order."""

EMPTY = -1
WRITABLE = 1
ORDER_DTYPE = _record(("order", "i8"))
"""The order of the ways of an L2 set, see `recency`."""

ORDER_BYTES = ORDER_DTYPE.itemsize


def l1_set_stride(ways: int) -> int:
    """Return the bytes of one L1 set."""
    return _multiple_of_8(ways * TAG_DTYPE.itemsize)


def l2_set_stride(ways: int) -> int:
    """Return the bytes of one L2 set."""
    return _multiple_of_8(ORDER_BYTES + ways * TAG_DTYPE.itemsize)


def _multiple_of_8(size: int) -> int:
    return -(-size // 8) * 8


COUNT_DTYPE = _record(("l1_misses", "i8"), ("l2_misses", "i8"), ("coherence_misses", "i8"), ("upgrades", "i8"))
COUNT_BYTES = COUNT_DTYPE.itemsize
KIND_DTYPE = _record(("first_line", "i8"), ("lines", "i8"), ("per", "i8"))
"""A structure: where its instances begin, how many lines each takes, and what it exists once for."""

OPERATION_DTYPE = _record(
    ("cycles", "i8"), ("category", "i8"), ("atomic_cycles", "i8"), ("first_touch", "i8"), ("last_touch", "i8")
)
TOUCH_DTYPE = _record(("kind", "i8"), ("first_line", "i8"), ("lines", "i8"), ("per", "i8"), ("count", "i8"), ("write", "i8"))
"""One row of a footprint: `count` lines of an instance from `first_line` on, which is that of instance 0."""


CORE_DTYPE = _record(
    ("clock", "i8"),
    ("next_time", "i8"),
    ("thread", "i8"),
    ("spinning_on", "i8"),
    ("spin_settlements", "i8"),
    ("resched", "i8"),
    ("interrupts", "i8"),
    ("ipis", "i8"),
    ("context_switches", "i8"),
    ("ipis_sent", "i8"),
    ("node", "i8"),
    ("free_mbuf", "i8"),
    ("free_mbufs", "i8"),
    ("cycles", "i8", (len(CATEGORIES),)),
    ("instance", "i8", (len(INSTANCES),)),
)
"""A core. `spin_settlements` counts how often its spinning was accounted, by itself or another core. `interrupts` and `ipis` are
taken but not yet charged; `free_mbuf` heads its private free list."""

THREAD_DTYPE = _record(
    ("kind", "i8"),
    ("index", "i8"),
    ("state", "i8"),
    ("phase", "i8"),
    ("core", "i8"),
    ("pinned", "i8"),
    ("priority", "i8"),
    ("base_priority", "i8"),
    ("ready_sequence", "i8"),
    ("blocked_on", "i8"),
    ("wait_since", "i8"),
    ("waiting", "i8"),
    ("locks_held", "i8"),
    ("item", "i8"),
    ("flow", "i8"),
    ("writes_to", "i8"),
    ("remaining_bytes", "i8"),
    ("lock", "i8"),
    ("flags", "i8"),
    ("batch_left", "i8"),
    ("message_kind", "i8"),
    ("waits_for", "i8"),
    ("table_locked", "i8"),
)
"""A kernel or application thread. `item` and the fields after it belong to its program."""

SECTION_DTYPE = _record(("start", "i8"), ("end", "i8"))
"""A short critical section of the whole kernel: when it was last entered and left."""

LOCK_DTYPE = _record(("owner", "i8"), ("sleepers", "i8"), ("lock_class", "i8"), ("acquired_at", "i8"))
LOCK_CLASS_DTYPE = _record(
    ("acquisitions", "i8"), ("waited", "i8"), ("wait_cycles", "i8"), ("hold_cycles", "i8"), ("sleeps", "i8"), ("releases", "i8")
)

NIC_DTYPE = _record(
    ("next_time", "i8"),
    ("thread", "i8"),
    ("core", "i8"),
    ("masked", "i8"),
    ("last_interrupt", "i8"),
    ("transmit_free", "i8"),
    ("receive_free", "i8"),
    ("transmit_head", "i8"),
    ("transmit_tail", "i8"),
    ("transmit_departed", "i8"),
    ("receive_head", "i8"),
    ("receive_tail", "i8"),
    ("arrivals", "i8"),
    ("arrival_sequence", "i8"),
    ("frames_sent", "i8"),
    ("frames_arrived", "i8"),
    ("frames_received", "i8"),
    ("transmit_drops", "i8"),
    ("receive_drops", "i8"),
    ("brief_start", "i8"),
    ("brief_end", "i8"),
)
"""A NIC. Transmit slots run from head (oldest not reclaimed) to tail; link clocks are in 1/1024 cycles."""

SLOT_DTYPE = _record(("departure", "i8"), ("mbuf", "i8"))
ARRIVAL_DTYPE = _record(("time", "i8"), ("sequence", "i8"), ("packet", "i8"))
INDEX_DTYPE = _record(("value", "i8"))

_MACHINE_FIELDS = """
cores cores_used own_core nodes threads nics kinds locks lines ready_sequence fault
l1_sets l1_ways l1_stride l2_sets l2_ways l2_stride exclusive
l2_hit memory_local memory_remote cache_same_node cache_other_node upgrade ipi_latency
transmit_slots transmit_descriptors receive_slots arrival_capacity interrupt_interval link_units_per_byte
receive_ring_kind receive_buffer_kind receive_buffer_lines transmit_ring_kind
core_table thread_table lock_table lock_class_table section_table nic_table line_table line_stride l1_table l2_table count_table
kind_table operation_table touch_table transmit_table receive_table arrival_table
"""
MACHINE_DTYPE = _record(*[(name, "i8") for name in _MACHINE_FIELDS.split()])
MACHINE_WITH_JOURNAL_DTYPE = with_journal(MACHINE_DTYPE)
MACHINE_TABLE = journaled(
    "machine", MACHINE_WITH_JOURNAL_DTYPE, word_policies(MACHINE_WITH_JOURNAL_DTYPE, (), (), ("ready_sequence",))
)
"""The machine's record itself: what is no table in it is merged like one."""

_line_at = record_accessor(LINE_DTYPE)
_owner_at = record_accessor(OWNER_DTYPE)
_place_at = record_accessor(PLACE_DTYPE)
_order_at = record_accessor(ORDER_DTYPE)
_tag_at = record_accessor(TAG_DTYPE)
_count_at = record_accessor(COUNT_DTYPE)
_slot_of = table_accessor(SLOT_DTYPE, "transmit_table")
_index_of = table_accessor(INDEX_DTYPE, "receive_table")
_arrival_of = table_accessor(ARRIVAL_DTYPE, "arrival_table")

core_of = table_accessor(
    CORE_DTYPE,
    "core_table",
    added=("interrupts", "ipis", "context_switches", "ipis_sent", "cycles"),
    last=("clock", "next_time", "free_mbuf", "free_mbufs", "instance"),
)
"""Return the core's record."""

_core_at = record_accessor(CORE_DTYPE)

thread_of = table_accessor(
    THREAD_DTYPE,
    "thread_table",
    last=("phase", "wait_since", "item", "flow", "writes_to", "remaining_bytes", "lock", "flags", "batch_left", "message_kind"),
)
"""Return the thread's record."""

lock_of = table_accessor(LOCK_DTYPE, "lock_table")
"""Return the lock's record."""

lock_class_of = table_accessor(LOCK_CLASS_DTYPE, "lock_class_table", added=tuple(LOCK_CLASS_DTYPE.names or ()))
"""Return the statistics of a lock class."""

section_of = table_accessor(SECTION_DTYPE, "section_table", last=("start", "end"))
"""Return the kernel-wide critical section of a lock class that has one lock only."""

nic_of = table_accessor(
    NIC_DTYPE,
    "nic_table",
    added=("frames_sent", "frames_arrived", "frames_received", "transmit_drops", "receive_drops"),
    last=("brief_start", "brief_end"),
)
"""Return the NIC's record."""

kind_of = table_accessor(KIND_DTYPE, "kind_table", noted=False)
"""Return the layout of the structure `kind`."""

operation_of = table_accessor(OPERATION_DTYPE, "operation_table", noted=False)
"""Return the cost record of an operation."""

touch_of = table_accessor(TOUCH_DTYPE, "touch_table", noted=False)
"""Return one row of a footprint."""


@compiled
def node_of(m, core):
    """Return the memory node of a core, which never changes: a journal has nothing to note."""
    return _core_at(m.core_table, core).node


@compiled
def line_address(m, line):
    """Return the address of a cache line's records."""
    return m.line_table + line * m.line_stride


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
def l1_set_address(m, core, line):
    """Return the address of the L1 set that `line` maps to."""
    return m.l1_table + (core * m.l1_sets + (line & (m.l1_sets - 1))) * m.l1_stride


@compiled
def l2_set_address(m, core, line):
    """Return the address of the L2 set that `line` maps to."""
    return m.l2_table + (core * m.l2_sets + (line & (m.l2_sets - 1))) * m.l2_stride


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
def count_address(m, core, kind):
    """Return the address of the miss counters of `core` for the structure `kind`."""
    return m.count_table + (core * m.kinds + kind) * COUNT_BYTES


@compiled
def count_of(m, core, kind):
    """Return the miss counters of `core` for the structure `kind`."""
    return _count_at(m.count_table, core * m.kinds + kind)


@compiled
def transmit_slot_of(m, nic, position):
    """Return the transmit slot that the running `position` falls on."""
    return _slot_of(m, nic * m.transmit_slots + position % m.transmit_slots)


@compiled
def transmit_descriptor(m, nic, position):
    """Return the number of the ring's descriptor that the running `position` falls on; frames in the queue wait for theirs."""
    return nic * m.transmit_descriptors + position % m.transmit_descriptors


@compiled
def receive_slot_of(m, nic, position):
    """Return the receive slot that the running `position` falls on: the packet number in it."""
    return _index_of(m, nic * m.receive_slots + position % m.receive_slots)


@compiled
def arrival_of(m, nic, position):
    """Return one entry of the NIC's heap of frames on the way."""
    return _arrival_of(m, nic * m.arrival_capacity + position)
