"""The state of the machine beside its caches: one record per kind of thing, reached through accessors.

Only the layout is here. It is changed in `memory`, `charging`, `sections`, `locks`, `scheduler` and `nic`. Knows no TCP. Times
are core cycles since the start of the simulation. -1 means "none" in every index field.
"""

from typing import Annotated

from netstack.jit.compilation import compiled
from netstack.jit.records import Record, i4, i8, record_accessor, u1, u2
from netstack.jit.tables import journaled, table_accessor, with_journal, word_policies
from netstack.sim.machine.numbers import Category, Instance

NEVER = 1 << 62
QUEUED = 128  # holds that a lock of a costs file remembers: one per core that may wait for it
RECENT = 8  # holds that a kernel-wide section remembers: more than begin within a step of another core
LINK_UNITS = 1024  # a NIC's clock counts 1/1024 cycles, so that rounding never adds up


class Section(Record):
    """A short critical section, see `sections`."""

    start: i8  # when it was last entered, -1 before
    end: i8  # when it was last left, -1 before


class KernelSection(Record):
    """A short critical section that the whole kernel shares, see `sections`."""

    entered: i8  # when the core that is inside came to it
    starts: Annotated[i8, RECENT]  # when the remembered holds began, -1 before: those that ended last
    ends: Annotated[i8, RECENT]  # when these holds ended


class DeclaredSection(Record):
    """A lock that a costs file puts around operations. Cores enter at times that are ahead of each other, see `sections`."""

    starts: Annotated[i8, QUEUED]  # when the remembered holds began, -1 before
    ends: Annotated[i8, QUEUED]  # when these holds ended


class LockPlan(Record):
    """What a lock exists once for."""

    scope: i8  # LockScope
    first: i8  # its first section
    ticket: i8  # 1: a hand-over takes the longer the more wait
    lock_class: i8  # where it is counted: LockClass, or behind these the locks of the costs file


class Machine(Record):
    """The machine: sizes, latencies, and where its tables are."""

    # Sizes
    cores: i8  # of the machine, used or not
    cores_used: i8  # used by the organization: the first ones
    own_core: i8  # windowed: the core that this replica belongs to
    nodes: i8  # memory nodes
    threads: i8  # of the kernel and of applications
    links: i8  # physical network interfaces
    nics: i8  # queues of network interfaces: the queue q of link l is number l + q x links
    kinds: i8  # structures
    locks: i8  # adaptive mutexes
    lines: i8  # cache lines of all structures
    line_words: i8  # words of the directory per line
    ready_sequence: i8  # number of the thread that became runnable last; windowed: from time and actor of the step
    fault: i8  # Fault: why the simulation broke down
    # Caches
    l1_sets: i8  # per core
    l1_ways: i8  # per set
    l1_stride: i8  # bytes per set
    l2_sets: i8  # per core
    l2_ways: i8  # per set, those that data may use
    l2_stride: i8  # bytes per set
    l2_pseudo_lru: i8  # 1: the L2 replaces by a tree, see `pseudo_lru`; 0: the least recently used line
    exclusive: i8  # 1: a line is in L1 or in L2; 0: L2 has all lines of L1
    # Latencies in cycles
    l2_hit: i8  # stall of a hit in the core's own L2
    memory_local: i8  # stall of a fetch from memory of the core's own node
    memory_remote: i8  # stall of a fetch from memory of another node
    cache_same_node: i8  # stall of a fetch from another core's cache in the same node
    cache_other_node: i8  # stall of a fetch from a core's cache in another node
    upgrade: i8  # stall of a locked write to a line that other cores hold as well, or time of a store to it
    store_run_ahead: i8  # how far a core runs ahead of its stores; 0: it waits for each
    ipi_latency: i8  # until an interprocessor interrupt reaches a core that waits
    # The kernel's choices
    lock_profiling: i8  # 1: every mutex is profiled
    free_locks: i8  # 1: waiting for a lock takes no time, see `locks`
    free_atomics: i8  # 1: a locked instruction waits for no upgrade, as a plain one does not
    affine: i8  # 1: a woken thread returns to the core that it ran on, if that idles
    fixed_interrupts: i8  # 1: an interrupt always goes to its own core
    light_threads: i8  # 1: some threads run in the context of an interrupt
    flow_entries: i8  # exact entries of a card's flow table, 0 for none
    rss_mask: i8  # entries of the indirection table less one
    defer: i8  # cycles after a poll until the next one, 0 for an interrupt
    defer_limit: i8  # polls without a frame after which interrupts are allowed again
    busy_poll: i8  # cycles that an application polls before it sleeps
    suspend: i8  # cycles that interrupts stay off at most while an application works
    budget: i8  # frames of a poll, 0 for no limit
    # Network interfaces
    transmit_slots: i8  # per NIC: descriptors and interface queue
    transmit_descriptors: i8  # per NIC
    receive_slots: i8  # per NIC
    arrival_capacity: i8  # per NIC: most frames on the way
    interrupt_interval: i8  # per NIC: least cycles between two interrupts
    interrupt_interval_most: i8  # up to which a NIC raises that by itself
    interrupt_frames: i8  # frames in the ring for which a NIC interrupts before that, 0 for none
    link_units_per_byte: i8  # time of a byte on the link, in 1/1024 cycles
    receive_ring_kind: i8  # structure of the descriptors that DMA writes on arrival, -1 for none
    receive_buffer_kind: i8  # structure of the buffers that DMA writes frames to, -1 for none
    receive_buffer_lines: i8  # most cache lines that DMA writes per frame
    line_bytes: i8  # of a cache line
    transmit_ring_kind: i8  # structure of the descriptors that DMA writes back, -1 for none
    # Addresses of tables
    core_table: i8  # Core
    thread_table: i8  # Thread
    lock_table: i8  # Lock
    lock_class_table: i8  # LockStatistics, by lock class
    section_table: i8  # KernelSection, by lock class, then those of scoped classes
    section_plan_table: i8  # LockPlan, by lock class
    declared_plan_table: i8  # LockPlan, by lock of the costs file
    declared_table: i8  # DeclaredSection
    nic_table: i8  # Nic
    page_table: i8  # Page, by page of the structures' memory, see `cache_state`
    line_table: i8  # DirectoryWord, `line_words` by cache line, see `directory`
    l1_table: i8  # sets, by core
    l2_table: i8  # sets, by number and core
    count_table: i8  # MissCount, by core and structure
    kind_table: i8  # Structure, by number of the structure
    operation_table: i8  # OperationCost, by Operation
    touch_table: i8  # Touch, by operation
    transmit_table: i8  # TransmitSlot, by NIC
    receive_table: i8  # ReceiveSlot, by NIC
    arrival_table: i8  # Arrival, by NIC
    toeplitz_table: i8  # HashWord: of each value of each byte of a tuple, see `toeplitz`
    indirection_table: i8  # HashWord: queue of a card, by the lowest bits of a hash
    flow_entry_table: i8  # HashWord: the connection that has an entry, -1 for none
    # Last-level caches
    llc_groups: i8  # groups of cores that share a last-level cache; 0: there is none
    llc_sets: i8  # per group
    llc_ways: i8  # per set
    llc_stride: i8  # bytes per set
    llc_inclusive: i8  # 1: it has all lines of the private caches of its group; 0: it takes the lines that leave them
    ddio_ways: i8  # ways that a device may put lines into
    ddio_llc: i8  # the last-level cache that devices write to, as a holder in the directory, -1 for none
    llc_hit: i8  # stall of a hit in the last-level cache of the core's group
    cache_same_group: i8  # stall of a fetch from another core's private cache in the same group
    upgrade_same_group: i8  # as upgrade, if all others are in the core's group
    llc_table: i8  # sets, by group
    group_table: i8  # Group, by number, see `last_level`
    llc_count_table: i8  # LlcMissCount, by core and structure
    # Interrupts
    wake: i8  # until an idle core that is interrupted acts
    interrupt_evicts: i8  # lines that leave the L1 of a core that is interrupted while it runs a thread
    # Trace
    recording: i8  # 1: what cores do is recorded, see `recording`
    trace_records: i8  # that were wanted
    trace_capacity: i8  # that there is room for; later ones are counted only
    trace_table: i8  # TraceRecord


class TraceRecord(Record):
    """What a core or a card did, for a trace, see `recording`."""

    time: i8  # when it begins
    cycles: i8  # that it takes; of an operation without locked instructions and stalls
    atomic: i8  # of its locked instructions
    stall: i8  # that it stalls
    subject: i4  # depends on the kind, see Recorded
    other: i4  # the same
    connection: i4  # that operations are charged against now
    mbuf: i4  # the same
    kind: i4  # Recorded
    core: i4  # that does it


class Structure(Record):
    """A data structure's cache lines."""

    first_line: i8  # first cache line of instance 0
    lines: i8  # cache lines per instance
    per: i8  # Instance: what the structure exists once for


class OperationCost(Record):
    """What an operation costs."""

    cycles: i8  # of its instructions, without stalls
    category: i8  # Category of these cycles
    atomic_cycles: i8  # of its locked instructions
    mutexes: i8  # that it acquires and releases
    lock: i8  # 1 + the lock of the costs file that it runs under, 0 for none
    first_touch: i8  # index of the first row of its footprint
    last_touch: i8  # index after the last row


class Touch(Record):
    """One row of a footprint: lines of the current instance of a structure. A line of the host's caches holds four rows."""

    first_line: i4  # first line touched, in instance 0
    lines: i4  # cache lines per instance of the structure
    kind: u2  # number of the structure
    count: u2  # how many lines are touched, from `first_line` on
    per: u1  # Instance: what the structure exists once for
    access: u1  # Access


class Core(Record):
    """A processor core."""

    clock: i8  # time up to which its cycles are accounted for
    next_time: i8  # when it acts next, NEVER while it spins or idles
    thread: i8  # the thread that runs on it
    spinning_on: i8  # the lock that its thread spins for
    spin_settlements: i8  # how often its spinning was accounted for: exclusive, or windowed cores could do it twice
    resched: i8  # 1: its thread gives way before the next step
    interrupts: i8  # device interrupts taken but not yet charged
    ipis: i8  # interprocessor interrupts taken but not yet charged
    timer_interrupts: i8  # timer's interrupts for receive queues taken but not yet charged
    interrupted: i8  # the thread that a thread in the context of an interrupt interrupted, -1 for none
    polling: i8  # 1: its thread polls an empty receive queue
    context_switches: i8  # threads that the core was given
    ipis_sent: i8  # interprocessor interrupts sent to other cores
    store_cycles: i8  # what the stores of the running operation take until their lines are owned
    stores_done: i8  # when the store buffer is empty
    node: i8  # its memory node
    free_mbuf: i8  # the head of its free list of mbufs
    free_mbufs: i8  # mbufs on that list
    cycles: Annotated[i8, len(Category)]  # by Category
    instance: Annotated[i8, len(Instance)]  # by Instance: the one that operations are charged against now
    llc: i8  # the last-level cache of its group, as a holder in the directory
    evict_next: i8  # the L1 set that loses a line to the next interrupt


class Thread(Record):
    """A kernel or application thread. From `item` on, the fields belong to its program."""

    kind: i8  # ThreadKind
    index: i8  # its number among the threads of its kind: NIC, port or application
    state: i8  # ThreadState
    phase: i8  # Phase of its item: what its next step does
    core: i8  # the core where it runs or ran last, or will run
    pinned: i8  # the only core that may run it, -1 if any may
    priority: i8  # higher is more urgent; may be lent by waiters for its locks
    base_priority: i8  # priority without what waiters lend
    own_priority: i8  # base priority unless it gives way after many frames
    ready_sequence: i8  # its position in the order in which threads became runnable
    blocked_on: i8  # the lock that it sleeps for
    wait_since: i8  # when it began to wait for a lock
    waiting: i8  # Waiting: how far it is with the lock that it wants
    locks_held: i8  # adaptive mutexes that it owns
    item: i8  # the Item that it works on
    flow: i8  # the connection of that item
    writes_to: i8  # application: the connection that it works on
    events: i8  # application: connections that its last request for events returned and that it has not served
    remaining_bytes: i8  # application: bytes that it may still write at this visit of the connection
    lock: i8  # the lock that the item needs, of its connection or group
    flags: i8  # flags that TCP returned for the item, see `netstack.tcp.flags`
    batch_left: i8  # items that it may still take before it pays again, or leaves the perimeter
    message_kind: i8  # port: ItemKind of the item that it took off its port last
    waits_for: i8  # WaitsFor: what it waits for while it sleeps without a lock
    light: i8  # 1: it runs in the context of an interrupt: switching to and from it costs nothing
    own_light: i8  # the same, unless it gives way after many frames
    expired_head: i8  # clock: the first connection whose timer expired, -1 for none
    expired_now: i8  # clock: 1 if one expired in this tick
    polls: i8  # application: 1 while it polls its receive queue
    polls_until: i8  # application: until when
    service_left: i8  # application: cycles that it still computes for a request
    table_locked: i8  # 1: it holds the connection table's lock, which its next step releases


class Lock(Record):
    """An adaptive mutex."""

    owner: i8  # the thread that holds it
    sleepers: i8  # threads that sleep for it
    lock_class: i8  # LockClass
    acquired_at: i8  # when its owner acquired it
    contested: i8  # 1: a thread has waited since the owner acquired it
    chain: Section  # of the lock of its turnstile chain


class LockStatistics(Record):
    """What happened to the locks of a class."""

    acquisitions: i8  # with and without a wait
    waited: i8  # acquisitions that did not succeed at once
    wait_cycles: i8  # from the first try to the acquisition, over all acquisitions
    hold_cycles: i8  # from acquisition to release, over all releases
    sleeps: i8  # times that a waiter went to sleep
    releases: i8  # by whoever held a lock


class Nic(Record):
    """A network interface. Its transmit slots in use run from head, the oldest that is not reclaimed, to tail."""

    next_time: i8  # when it interrupts next, NEVER if nothing is due
    thread: i8  # its inbound thread
    core: i8  # the core that it prefers to interrupt, if its thread is not pinned
    masked: i8  # 1: it must not interrupt
    last_interrupt: i8  # when it last interrupted
    interval: i8  # least cycles between two interrupts at present
    poller: i8  # the core whose application polls it, -1 for none
    polled: i8  # frames of the present poll
    frames_before: i8  # received when groups were last migrated
    empty_polls: i8  # polls without a frame in a row
    interrupts: i8  # interrupts of cores
    timer_polls: i8  # polls begun by a timer
    polls: i8  # polls that ended
    useful_polls: i8  # of them, with a frame
    transmit_free: i8  # when the link can send the next frame, in 1/1024 cycles
    receive_free: i8  # when the link can receive the next frame, in 1/1024 cycles
    transmit_head: i8  # running position of the oldest slot in use
    transmit_tail: i8  # running position of the next free slot
    transmit_departed: i8  # running position of the oldest frame that has not left
    receive_head: i8  # running position of the oldest frame in the receive ring
    receive_tail: i8  # running position of the next free receive slot
    arrivals: i8  # frames on the way to the host
    arrival_sequence: i8  # number of the last frame put on its way; orders frames of equal time
    frames_sent: i8  # frames put into the ring or the interface queue
    frames_arrived: i8  # frames put on their way to the host
    frames_received: i8  # frames taken off the receive ring
    transmit_drops: i8  # frames that ring and interface queue had no room for
    receive_drops: i8  # frames that the receive ring had no room for
    section: Section  # of the driver's lock


class HashWord(Record):
    """A number of the tables that a card chooses receive queues with."""

    value: i8  # 32 bits of a hash, a queue, or a connection


class TransmitSlot(Record):
    """A frame in the transmit ring or the interface queue."""

    departure: i8  # when its last bit leaves
    mbuf: i8  # the mbuf that holds it


class Arrival(Record):
    """A frame on the way to the host, in a heap by time."""

    time: i8  # when it reaches the end of the link, if the link is free
    wire_bytes: i8  # on the link
    sequence: i8  # order among frames of equal time
    item: i8  # the Item of the packet


class ReceiveSlot(Record):
    """A frame in the receive ring."""

    item: i8  # the Item of the packet


MACHINE_WITH_JOURNAL = with_journal(Machine.dtype)
MACHINE_TABLE = journaled("machine", MACHINE_WITH_JOURNAL, word_policies(MACHINE_WITH_JOURNAL, (), (), ("ready_sequence",)))
"""The machine's record itself: its scalar fields are merged like the record of a table."""

_slot_of = table_accessor(TransmitSlot.dtype, "transmit_table")
_trace_record_at = record_accessor(TraceRecord.dtype)
_receive_slot_of = table_accessor(ReceiveSlot.dtype, "receive_table")
_arrival_of = table_accessor(Arrival.dtype, "arrival_table")

core_of = table_accessor(
    Core.dtype,
    "core_table",
    added=("interrupts", "ipis", "timer_interrupts", "context_switches", "ipis_sent", "cycles"),
    last=("clock", "next_time", "store_cycles", "stores_done", "free_mbuf", "free_mbufs", "evict_next", "instance"),
)
"""Return the core's record."""

_core_at = record_accessor(Core.dtype)

thread_of = table_accessor(
    Thread.dtype,
    "thread_table",
    last=(
        "phase",
        "wait_since",
        "item",
        "flow",
        "writes_to",
        "events",
        "remaining_bytes",
        "lock",
        "flags",
        "batch_left",
        "message_kind",
    ),
)
"""Return the thread's record."""

lock_of = table_accessor(Lock.dtype, "lock_table", last=("chain",))
"""Return the lock's record."""

lock_class_of = table_accessor(LockStatistics.dtype, "lock_class_table", added=tuple(LockStatistics.dtype.names or ()))
"""Return the statistics of a lock class."""

section_of = table_accessor(KernelSection.dtype, "section_table", last=("entered", "starts", "ends"))
"""Return the section of a lock class that has one lock in the whole kernel."""

section_plan_of = table_accessor(LockPlan.dtype, "section_plan_table", noted=False)
"""Return what a lock class exists once for."""

declared_plan_of = table_accessor(LockPlan.dtype, "declared_plan_table", noted=False)
"""Return what a lock of the costs file exists once for."""

declared_of = table_accessor(DeclaredSection.dtype, "declared_table", last=("starts", "ends"))
"""Return a section of a lock of the costs file."""

nic_of = table_accessor(
    Nic.dtype,
    "nic_table",
    added=(
        "frames_sent",
        "frames_arrived",
        "frames_received",
        "transmit_drops",
        "receive_drops",
        "interrupts",
        "timer_polls",
        "polls",
        "useful_polls",
    ),
    last=("section",),
)
"""Return the NIC's record."""

structure_of = table_accessor(Structure.dtype, "kind_table", noted=False)
"""Return the layout of the structure `kind`."""

toeplitz_word_of = table_accessor(HashWord.dtype, "toeplitz_table", noted=False)
"""Return what one value of one byte of a tuple adds to its hash."""

indirection_of = table_accessor(HashWord.dtype, "indirection_table", noted=False)
"""Return the queue of an entry of the indirection table."""

flow_entry_of = table_accessor(HashWord.dtype, "flow_entry_table")
"""Return the connection of an entry of the flow table."""

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
    """Return the memory node of a core. It never changes: a journal has nothing to note."""
    return _core_at(machine.core_table, core).node


@compiled
def trace_record_of(machine, index):
    """Return a record of the trace."""
    return _trace_record_at(machine.trace_table, index)


@compiled
def transmit_slot_of(machine, nic, position):
    """Return the transmit slot that the running `position` falls on."""
    return _slot_of(machine, nic * machine.transmit_slots + position % machine.transmit_slots)


@compiled
def transmit_descriptor(machine, nic, position):
    """Return the number of the descriptor that the running `position` falls on. Frames in the interface queue wait for theirs."""
    return nic * machine.transmit_descriptors + position % machine.transmit_descriptors


@compiled
def receive_slot_of(machine, nic, position):
    """Return the receive slot that the running `position` falls on."""
    return _receive_slot_of(machine, nic * machine.receive_slots + position % machine.receive_slots)


@compiled
def arrival_of(machine, nic, position):
    """Return one entry of the NIC's heap of frames on the way."""
    return _arrival_of(machine, nic * machine.arrival_capacity + position)
