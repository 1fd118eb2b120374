"""The state of the machine beside its caches: one record per kind of thing, reached through accessors.

Only the layout is here; what moves in it is in `memory`, `locks`, `scheduler` and `nic`. Knows no TCP.
Times are core cycles since the start of the simulation; -1 means "none" in every index field.
"""

from typing import Annotated

from netstack.jit.compilation import compiled
from netstack.jit.records import Record, i8, record_accessor
from netstack.jit.tables import journaled, table_accessor, with_journal, word_policies
from netstack.sim.machine.numbers import Category, Instance

NEVER = 1 << 62
LINK_UNITS = 1024  # a NIC's clock counts 1/1024 cycles, so that rounding never adds up


class Section(Record):
    """A short critical section, see `sections`."""

    start: i8  # when it was last entered
    end: i8  # when it was last left


class Machine(Record):
    """The machine: sizes, latencies, and where its tables are."""

    # Sizes
    cores: i8  # of the machine
    cores_used: i8  # by the organization, the first ones
    own_core: i8  # windowed: the core that this replica belongs to
    nodes: i8  # memory nodes
    threads: i8  # of the kernel and of applications
    nics: i8  # network interfaces
    kinds: i8  # structures
    locks: i8  # adaptive mutexes
    lines: i8  # cache lines of all structures
    ready_sequence: i8  # counts threads that became runnable: who waits longest runs first
    fault: i8  # Fault: why the simulation broke down
    # Caches
    l1_sets: i8  # of each core
    l1_ways: i8  # of each set
    l1_stride: i8  # bytes of a set
    l2_sets: i8  # of each core
    l2_ways: i8  # of each set that data may use
    l2_stride: i8  # bytes of a set
    exclusive: i8  # 1: a line is in L1 or in L2; 0: L2 has all lines of L1
    # Latencies in cycles
    l2_hit: i8  # the core's own L2
    memory_local: i8  # memory of the core's own node
    memory_remote: i8  # memory of another node
    cache_same_node: i8  # the cache of another core of the node
    cache_other_node: i8  # the cache of a core of another node
    upgrade: i8  # a write to a line that others hold as well
    ipi_latency: i8  # until an interprocessor interrupt reaches a core that waits
    # Network interfaces
    transmit_slots: i8  # per NIC: descriptors and interface queue
    transmit_descriptors: i8  # per NIC
    receive_slots: i8  # per NIC
    arrival_capacity: i8  # frames on the way per NIC
    interrupt_interval: i8  # least cycles between interrupts of a NIC
    link_units_per_byte: i8  # 1/1024 cycles that a byte takes on the link
    receive_ring_kind: i8  # the structure that DMA writes descriptors of
    receive_buffer_kind: i8  # the structure that DMA writes frames to
    receive_buffer_lines: i8  # lines of a frame
    transmit_ring_kind: i8  # the structure that DMA writes descriptors back to
    # Addresses of tables
    core_table: i8  # Core
    thread_table: i8  # Thread
    lock_table: i8  # Lock
    lock_class_table: i8  # LockStatistics
    section_table: i8  # Section, by lock class
    nic_table: i8  # Nic
    line_table: i8  # records of each cache line, see `cache_state`
    line_stride: i8  # bytes of the records of a line
    l1_table: i8  # sets of all cores
    l2_table: i8  # sets of all cores
    count_table: i8  # MissCount, by core and structure
    kind_table: i8  # Structure
    operation_table: i8  # OperationCost
    touch_table: i8  # Touch
    transmit_table: i8  # TransmitSlot, by NIC
    receive_table: i8  # ReceiveSlot, by NIC
    arrival_table: i8  # Arrival, by NIC


class Structure(Record):
    """A data structure's cache lines."""

    first_line: i8  # of its first instance
    lines: i8  # of each instance
    per: i8  # Instance: what it exists once for


class OperationCost(Record):
    """What an operation costs."""

    cycles: i8  # of its instructions
    category: i8  # Category that they count as
    atomic_cycles: i8  # of its locked instructions
    first_touch: i8  # the first row of its footprint
    last_touch: i8  # one behind the last row


class Touch(Record):
    """One row of a footprint: lines of the current instance of a structure."""

    kind: i8  # the structure
    first_line: i8  # of instance 0
    lines: i8  # of each instance
    per: i8  # Instance: what the structure exists once for
    count: i8  # lines touched, from `first_line` on
    write: i8  # 1: written


class Core(Record):
    """A core."""

    clock: i8  # up to which its cycles are accounted
    next_time: i8  # when it acts next, NEVER while it spins or idles
    thread: i8  # that runs on it
    spinning_on: i8  # the lock that its thread spins for
    spin_settlements: i8  # how often its spinning was accounted, by itself or another core
    resched: i8  # 1: another thread is to run
    interrupts: i8  # of devices, taken but not yet charged
    ipis: i8  # interprocessor interrupts, taken but not yet charged
    context_switches: i8  # counts
    ipis_sent: i8  # counts
    node: i8  # its memory node
    free_mbuf: i8  # the head of its free list
    free_mbufs: i8  # on its free list
    cycles: Annotated[i8, len(Category)]  # by category
    instance: Annotated[i8, len(Instance)]  # what operations are charged against now, by kind


class Thread(Record):
    """A kernel or application thread. From `item` on, the fields belong to its program."""

    kind: i8  # ThreadKind
    index: i8  # among the threads of its kind: NIC, port or application
    state: i8  # ThreadState
    phase: i8  # Phase of its item
    core: i8  # where it ran last, or is to run
    pinned: i8  # the only core that may run it, -1 if any may
    priority: i8  # the higher, the more urgent; lent by waiters
    base_priority: i8  # without what waiters lend
    ready_sequence: i8  # when it became runnable, among all
    blocked_on: i8  # the lock that it sleeps for
    wait_since: i8  # when it began to wait for a lock
    waiting: i8  # Waiting: how far it is with a lock
    locks_held: i8  # counts
    item: i8  # what it works on
    flow: i8  # the connection of the item
    writes_to: i8  # application: the connection that it writes to
    remaining_bytes: i8  # application: left of its visit to the connection
    lock: i8  # that the item needs
    flags: i8  # what TCP asks for the item
    batch_left: i8  # messages before it pays or gives way
    message_kind: i8  # ItemKind of the message that it took off its port
    waits_for: i8  # WaitsFor, while it sleeps without a lock
    table_locked: i8  # 1: its item ended with the connection table's lock held


class Lock(Record):
    """An adaptive mutex."""

    owner: i8  # the thread that holds it
    sleepers: i8  # threads that sleep for it
    lock_class: i8  # LockClass
    acquired_at: i8  # by its owner


class LockStatistics(Record):
    """What happened to the locks of a class."""

    acquisitions: i8  # counts
    waited: i8  # acquisitions that did not succeed at once
    wait_cycles: i8  # of all acquisitions
    hold_cycles: i8  # of all releases
    sleeps: i8  # waits that slept
    releases: i8  # counts


class Nic(Record):
    """A NIC. Transmit slots run from head, the oldest not reclaimed, to tail."""

    next_time: i8  # of its next interrupt
    thread: i8  # its inbound thread
    core: i8  # that it interrupts
    masked: i8  # 1: it must not interrupt
    last_interrupt: i8  # when
    transmit_free: i8  # when the link is free to send, in 1/1024 cycles
    receive_free: i8  # when the link is free to receive, in 1/1024 cycles
    transmit_head: i8  # running position of the oldest slot in use
    transmit_tail: i8  # running position of the next free slot
    transmit_departed: i8  # running position of the oldest frame that has not left
    receive_head: i8  # running position of the oldest frame in the receive ring
    receive_tail: i8  # running position of the next free receive slot
    arrivals: i8  # frames on the way
    arrival_sequence: i8  # counts frames: the order of those that arrive at one time
    frames_sent: i8  # counts
    frames_arrived: i8  # counts those put on their way to the host
    frames_received: i8  # counts those taken off the receive ring
    transmit_drops: i8  # counts frames that ring and interface queue had no room for
    receive_drops: i8  # counts frames that the receive ring had no room for
    section: Section  # of the driver's lock


class TransmitSlot(Record):
    """A frame in the transmit ring or the interface queue."""

    departure: i8  # when its last bit leaves
    mbuf: i8  # that holds it


class Arrival(Record):
    """A frame on the way to the host, in a heap by time."""

    time: i8  # when it reaches the end of the link, if that is free
    sequence: i8  # breaks ties
    item: i8  # of the frame


class ReceiveSlot(Record):
    """A frame in the receive ring."""

    item: i8  # of the frame


MACHINE_WITH_JOURNAL = with_journal(Machine.dtype)
MACHINE_TABLE = journaled("machine", MACHINE_WITH_JOURNAL, word_policies(MACHINE_WITH_JOURNAL, (), (), ("ready_sequence",)))
"""The machine's record itself: what is no table in it is merged like one."""

_slot_of = table_accessor(TransmitSlot.dtype, "transmit_table")
_receive_slot_of = table_accessor(ReceiveSlot.dtype, "receive_table")
_arrival_of = table_accessor(Arrival.dtype, "arrival_table")

core_of = table_accessor(
    Core.dtype,
    "core_table",
    added=("interrupts", "ipis", "context_switches", "ipis_sent", "cycles"),
    last=("clock", "next_time", "free_mbuf", "free_mbufs", "instance"),
)
"""Return the core's record."""

_core_at = record_accessor(Core.dtype)

thread_of = table_accessor(
    Thread.dtype,
    "thread_table",
    last=("phase", "wait_since", "item", "flow", "writes_to", "remaining_bytes", "lock", "flags", "batch_left", "message_kind"),
)
"""Return the thread's record."""

lock_of = table_accessor(Lock.dtype, "lock_table")
"""Return the lock's record."""

lock_class_of = table_accessor(LockStatistics.dtype, "lock_class_table", added=tuple(LockStatistics.dtype.names or ()))
"""Return the statistics of a lock class."""

section_of = table_accessor(Section.dtype, "section_table", last=("start", "end"))
"""Return the kernel-wide critical section of a lock class that has one lock only."""

nic_of = table_accessor(
    Nic.dtype,
    "nic_table",
    added=("frames_sent", "frames_arrived", "frames_received", "transmit_drops", "receive_drops"),
    last=("section",),
)
"""Return the NIC's record."""

structure_of = table_accessor(Structure.dtype, "kind_table", noted=False)
"""Return the layout of the structure `kind`."""

operation_of = table_accessor(OperationCost.dtype, "operation_table", noted=False)
"""Return the cost record of an operation."""

touch_of = table_accessor(Touch.dtype, "touch_table", noted=False)
"""Return one row of a footprint."""


@compiled
def thread_on(machine, core):
    """Return the record of the thread that runs on `core`."""
    return thread_of(machine, core_of(machine, core).thread)


@compiled
def node_of(machine, core):
    """Return the memory node of a core, which never changes: a journal has nothing to note."""
    return _core_at(machine.core_table, core).node


@compiled
def transmit_slot_of(machine, nic, position):
    """Return the transmit slot that the running `position` falls on."""
    return _slot_of(machine, nic * machine.transmit_slots + position % machine.transmit_slots)


@compiled
def transmit_descriptor(machine, nic, position):
    """Return the number of the ring's descriptor that the running `position` falls on; frames in the queue wait for theirs."""
    return nic * machine.transmit_descriptors + position % machine.transmit_descriptors


@compiled
def receive_slot_of(machine, nic, position):
    """Return the receive slot that the running `position` falls on."""
    return _receive_slot_of(machine, nic * machine.receive_slots + position % machine.receive_slots)


@compiled
def arrival_of(machine, nic, position):
    """Return one entry of the NIC's heap of frames on the way."""
    return _arrival_of(machine, nic * machine.arrival_capacity + position)
