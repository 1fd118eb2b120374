"""The state of the stack beside the machine's: its own record, and the tables of its `records` with their accessors.

Beside the layout only the pools of items are here, which cost no cycles. -1 means "none" in every index field. Knows no
organization.
"""

from typing import Annotated

from netstack.jit.compilation import compiled
from netstack.jit.records import Record, i8
from netstack.jit.tables import journaled, table_accessor, with_journal, word_policies
from netstack.sim.machine.numbers import Fault
from netstack.sim.machine.state import Section
from netstack.sim.stack import records
from netstack.sim.stack.numbers import Side
from netstack.tcp.header import SEGMENT
from netstack.tcp.lookup import BUCKET, tuple_hash
from netstack.tcp.pcb import COLD, PCB, pcb_renew

PCB_BYTES, BUCKET_BYTES = PCB.itemsize, BUCKET.itemsize
BUCKETS_PER_LINE = 8  # hash buckets of the connection table per cache line
LATENCY_BUCKETS = 512
LATENCY_BUCKETS_PER_OCTAVE = 16
HELD = 8  # packets that a receive queue holds at most; Linux has as many per bucket of eight (MAX_GRO_SKBS)


class Stack(Record):
    """The host's stack: sizes, the organization's plan, counters, and where its tables are."""

    # Sizes and the workload
    conns: i8  # connections, or clients with theirs: of a proxy also those to backends, behind all clients
    clients: i8  # connections, or clients
    groups: i8  # connection groups, each with a part of the connection table
    buckets_per_group: i8  # hash buckets
    hash_seed: i8  # seed of the hash of 4-tuples
    send_buffer: i8  # bytes of each send buffer
    write_bytes: i8  # most bytes that an application writes per visit of a connection
    events_per_call: i8  # most connections that an application is told of at once
    send_unit: i8  # most bytes of a send request
    lowat: i8  # bytes of room that make a socket writable
    read_delay: i8  # from the first unread byte until a remote application reads all that is there, in cycles
    cycles_per_us: i8  # the clock of all cores
    mbufs: i8  # all mbufs
    free_mbuf: i8  # the head of the shared zone's list
    free_mbufs: i8  # mbufs in the shared zone
    items: i8  # items of the pools; behind them each application thread and the clock thread have one
    pool: i8  # the pool that this process takes from first
    pools: i8  # one, or windowed one per core
    app_threads: i8  # application threads
    ports: i8  # message ports or perimeters, each with a thread
    port_capacity: i8  # items in a port above which packets are dropped
    ipi_queue_first: i8  # the first queue on the way to a port
    ring_first: i8  # the first queue that is a ring of requests
    rings: i8  # such queues, one per receive queue
    backlog_first: i8  # the first queue that is a backlog
    use_files: i8  # 1: each socket has an inode and a directory entry
    slow_path: i8  # 1: a thread with a port opens and closes connections, and runs expired timers
    crosses: i8  # 1: a system call for each request; 0: for all that were made since the last wait
    crosses_to_wait: i8  # 1: a system call to wait for events
    forwards: i8  # 1: packets of a poll go to their owners' cores at its end
    to_consumer: i8  # 1: the owner is the core of the application's last call
    accept_kind: i8  # AcceptKind
    next_application: i8  # the application thread that is asked first to take a connection
    steals: i8  # 1: applications without events take connections or events from others
    steals_connections: i8  # 1: connections that nobody has accepted
    steals_events: i8  # 1: events of connections that stay with their core
    marks_busy: i8  # 1: accept queues are marked as busy, and only these are taken from
    migrate_ticks: i8  # ticks of the wheel after which an entry of the indirection table moves, 0 for never
    migrate_next: i8  # the entry that is asked first to move
    one_thread: i8  # 1: the application's thread is that of the stack
    app_polls: i8  # 1: applications poll their receive queue
    polls_events: i8  # 1: applications poll their event queue
    suspends: i8  # 1: and interrupts stay off while they work
    receive_aggregation: i8  # ReceiveAggregation
    send_aggregation: i8  # SendAggregation
    aggregate_bytes: i8  # payload of an aggregate, at most
    held_next: i8  # number of the packet that is held last
    batch: i8  # items that a port's thread takes at a time, or a drain of a perimeter at most
    wheel_slots: i8  # lists of the timer wheel
    tick_cycles: i8  # time between ticks of the wheel
    next_tick: i8  # number of the wheel's next tick
    timers_listed: i8  # entries in the wheel
    clock_thread: i8  # the first thread that runs expired timers
    clocks: i8  # threads that do, one or one per core
    clock_next: i8  # when the next tick is due
    # Counters: added up when cores are merged, for which COUNTERS has their names
    acked_bytes: i8  # payload that peers acknowledged
    written_bytes: i8  # payload that entered send buffers
    data_segments: i8  # segments sent with payload
    retransmitted_segments: i8  # segments sent that repeat payload, SYN or FIN
    peer_retransmitted_segments: i8  # the same of peers
    timeouts: i8  # expiries of retransmission timers
    interface_queue_drops: i8  # segments that a NIC had no room for
    queue_drops: i8  # packets that a port had no room for
    merged_frames: i8  # received frames that were joined to an earlier one
    stolen: i8  # connections and events taken from another thread
    migrated: i8  # entries of the indirection table that moved
    hand_offs: i8  # items left to another thread or to whoever holds a connection or perimeter
    messages_sent: i8  # items put into queues
    messages_received: i8  # items taken out of queues
    items_taken: i8  # items taken off pools
    items_freed: i8  # items given back to pools
    mbufs_taken: i8  # mbufs taken off free lists of cores
    mbufs_freed: i8  # mbufs given back to free lists of cores
    # The organization's plan, see `organization.plan`
    queue_packets: i8  # 1: received packets go to a port
    queue_requests: i8  # 1: requests and timers go to a port too, and applications wait for the answer
    use_rings: i8  # 1: requests and timers go to the thread of their receive queue by a ring, and nobody waits
    use_global_lock: i8  # 1: the connection table has one lock
    lookup_first: i8  # 1: the table is searched before the connection's lock is tried
    lookup_operation: i8  # Operation that such a search costs beside its walk, -1 for none
    group_tables: i8  # 1: that search is in the table of a group, under the table's lock
    use_backlog: i8  # 1: packets that find an application inside wait in the connection's backlog
    copies_sent: i8  # 1: written payload is copied into the kernel; 0: its pages are mapped
    use_perimeter: i8  # 1: whoever is inside a group processes what others leave
    use_ipi_queues: i8  # 1: ports have no lock, other cores send interrupts
    input_by_owner: i8  # 1: the port's thread does IP input, not the NIC's thread
    lock_kind: i8  # LockKind: what an item needs
    first_phase: i8  # Phase of a new item
    connection_lock_first: i8  # the lock of connection 0
    group_lock_first: i8  # the lock of group 0
    table_lock_first: i8  # the lock of the table of group 0
    global_lock: i8  # the connection table's lock
    app_thread_first: i8  # the first application thread
    port_thread_first: i8  # the first thread of a port
    inpcb_kind: i8  # the structure of a pcb's addresses and ports, -1 for none
    timers_kind: i8  # the structure of a connection's callouts, -1 for none
    callout_last: Annotated[i8, 2]  # by Callout: the connection whose callout was set last
    connections_end: i8  # 1: clients open connections one after the other, and each ends
    bytes_per_connection: i8  # writer: payload after which a connection is closed; 0: connections never end
    exchanges: i8  # 1: peers send payload: requests to a server, or a stream to a reader
    serves: i8  # 1: the application is a server, and its peers are clients with requests
    requests_per_connection: i8  # after which a connection is closed; 0: connections never end
    outstanding: i8  # requests of a connection that wait for their responses, at most
    open_loop: i8  # 1: requests have intended starts, whatever became of those before
    draw_seed: i8  # of sizes and times of requests
    loss_limit: Annotated[i8, 2]  # by side: a segment of it is lost whose draw of 32 bits is below
    late_limit: Annotated[i8, 2]  # by side: a segment of it is late whose draw of 32 bits is below
    late_cycles: i8  # by how much
    late_waiting: i8  # segments of the host that are on their way, late
    streams: i8  # bytes that a peer's send buffer always holds, if peers send without end, else 0
    proxies: i8  # 1: the application is a server that asks a backend for each response
    backends: i8  # that clients are divided among
    backend_cycles: i8  # from the last byte of a request at a backend to the response
    next_port: i8  # the ephemeral port that is tried first, from 0 on
    waits_for_ports: i8  # 1: an application waits for such a port, and takes no other
    ports_by_core: i8  # 1: an ephemeral port is one whose packets the card takes to the core that connects
    think_cycles: i8  # pause of a client between connections or requests
    client_addresses: i8  # that all clients share, 0 if each has one of its own
    client_ports: i8  # ports that a client uses one after the other, from its first one on
    client_closes_first: i8  # 1: the client closes when it has all bytes; 0: when the host has closed
    listener_kind: i8  # ListenerKind
    connections_opened: i8  # by a SYN, or at the start
    backlog: i8  # complete connections that may wait for an application, per listening socket
    listen_drops: i8  # SYNs that a listening socket had no room for
    connections_closed: i8  # and removed from the table
    connects: i8  # connections that applications opened, which do not count as opened
    connects_ended: i8  # of these, removed from the table
    lost_to_host: i8  # segments of peers that the network lost
    lost_to_peers: i8  # segments of the host that the network lost
    late_to_host: i8  # segments of peers that the network delayed
    late_to_peers: i8  # segments of the host that the network delayed
    resets_sent: i8  # answers to segments of no connection
    stray_segments: i8  # received segments of no connection that opened none
    requests_sent: i8  # by clients
    requests_answered: i8  # responses that clients have completely
    requests_lost: i8  # outstanding when their connection ended
    read_bytes: i8  # payload that applications read
    # Addresses of tables
    pcb_table: i8  # PCB, by connection
    pcb_cold_table: i8  # COLD of these, by connection
    peer_table: i8  # PCB of the remote end, by connection
    peer_cold_table: i8  # COLD of these, by connection
    bucket_table: i8  # BUCKET, by group
    flow_table: i8  # Flow, by connection
    mbuf_table: i8  # Mbuf
    item_table: i8  # Item
    segment_table: i8  # SEGMENT, by item
    queue_table: i8  # Queue
    held_table: i8  # Held, by NIC
    ready_table: i8  # ReadyQueue, by application thread
    port_wait_table: i8  # ReadyQueue, by application thread: clients whose connections to backends wait for a port
    wheel_table: i8  # WheelSlot, by tick
    latency_table: i8  # Counter, by bucket of latency
    exchange_table: i8  # Exchange, by connection
    request_latency_table: i8  # Counter, by bucket of `histogram`
    request_size_table: i8  # Sample: bytes of requests
    response_size_table: i8  # Sample: bytes of responses
    service_table: i8  # Sample: cycles that the application computes for a request
    interval_table: i8  # Sample: cycles between intended starts of a connection's requests
    late_table: i8  # Late, by connection
    late_segment_table: i8  # SEGMENT, by connection
    out_segment_table: i8  # SEGMENT, by side
    pool_table: i8  # Pool
    pcb_template_table: i8  # PCB, by side: what a client's connection begins with
    listener_table: i8  # Listener, by listening socket
    theft_table: i8  # Counter, by thief and victim, if accept queues are marked
    bucket_section_table: i8  # Section, by hash bucket
    group_section_table: i8  # Section, by group: of its table's lock
    ephemeral_table: i8  # EphemeralPort, by backend and port


STACK_WITH_JOURNAL = with_journal(Stack.dtype)
COUNTERS = (
    "acked_bytes",
    "written_bytes",
    "data_segments",
    "retransmitted_segments",
    "peer_retransmitted_segments",
    "timeouts",
    "interface_queue_drops",
    "queue_drops",
    "merged_frames",
    "stolen",
    "migrated",
    "hand_offs",
    "messages_sent",
    "messages_received",
    "items_taken",
    "items_freed",
    "mbufs_taken",
    "mbufs_freed",
    "free_mbufs",
    "timers_listed",
    "connections_opened",
    "connections_closed",
    "connects",
    "connects_ended",
    "resets_sent",
    "stray_segments",
    "lost_to_host",
    "lost_to_peers",
    "late_to_host",
    "late_to_peers",
    "listen_drops",
    "requests_sent",
    "requests_answered",
    "requests_lost",
    "read_bytes",
)
"""Fields of the stack's record that are added up when cores are merged.

A counter that is missing here is right as well, but windowed cores repeat the steps that touch it.
"""
STACK_TABLE = journaled("stack", STACK_WITH_JOURNAL, word_policies(STACK_WITH_JOURNAL, COUNTERS, ("callout_last",)))
"""The stack's record itself: its scalar fields are merged like the record of a table."""

flow_of = table_accessor(records.Flow.dtype, "flow_table", last=("section", "callout_before", "callout_behind", "callout_tick"))
"""Return the connection's record beside its pcb."""

_PCB_COLD = journaled("pcb_cold_table", COLD, word_policies(COLD, (), ()))
_PEER_COLD = journaled("peer_cold_table", COLD, word_policies(COLD, (), ()))

pcb_of = table_accessor(PCB, "pcb_table", beside=_PCB_COLD)
"""Return the connection's protocol control block."""

peer_of = table_accessor(PCB, "peer_table", beside=_PEER_COLD)
"""Return the protocol control block of the remote end."""

bucket_of = table_accessor(BUCKET, "bucket_table")
"""Return one hash bucket of the connection table."""

mbuf_of = table_accessor(records.Mbuf.dtype, "mbuf_table")
"""Return the mbuf."""

item_of = table_accessor(records.Item.dtype, "item_table")
"""Return the item."""

segment_of = table_accessor(SEGMENT, "segment_table")
"""Return the TCP segment of a received packet."""

out_segment = table_accessor(SEGMENT, "out_segment_table", noted=False)
"""Return the segment that the output of one side is built in, scratch memory."""

late_of = table_accessor(records.Late.dtype, "late_table")
"""Return when a connection's late segment arrives."""

late_segment_of = table_accessor(SEGMENT, "late_segment_table")
"""Return that segment."""

queue_of = table_accessor(records.Queue.dtype, "queue_table", last=("section",))
"""Return a queue.

The ports come first, from `ipi_queue_first` on what is on its way to each, from `ring_first` on the rings, from `backlog_first`
on the backlogs.
"""

_held_of = table_accessor(records.Held.dtype, "held_table")

ready_of = table_accessor(records.ReadyQueue.dtype, "ready_table", last=("section",))
"""Return an application thread's event queue."""

port_wait_of = table_accessor(records.ReadyQueue.dtype, "port_wait_table", last=("section",))
"""Return the list of connections for which an application thread waits for a port."""

listener_of = table_accessor(records.Listener.dtype, "listener_table", last=("section",))
"""Return a listening socket."""

theft_of = table_accessor(records.Counter.dtype, "theft_table")
"""Return how many connections an application thread took from another since entries last moved."""

bucket_section_of = table_accessor(Section.dtype, "bucket_section_table", last=("start", "end"))
"""Return the section of a hash bucket's lock."""

group_section_of = table_accessor(Section.dtype, "group_section_table", last=("start", "end"))
"""Return the section of the lock of a group's table."""

ephemeral_of = table_accessor(records.EphemeralPort.dtype, "ephemeral_table")
"""Return an ephemeral port of the host towards one backend."""

latency_of = table_accessor(records.Counter.dtype, "latency_table", added=("value",))
"""Return the counter of one bucket of the write-to-acknowledgment histogram."""

exchange_of = table_accessor(records.Exchange.dtype, "exchange_table")
"""Return what client and server exchange over the connection."""

request_latency_of = table_accessor(records.Counter.dtype, "request_latency_table", added=("value",))
"""Return the counter of one bucket of the histogram of request latencies."""

request_size_of = table_accessor(records.Sample.dtype, "request_size_table", noted=False)
"""Return a quantile of the payload of requests."""

response_size_of = table_accessor(records.Sample.dtype, "response_size_table", noted=False)
"""Return a quantile of the payload of responses."""

service_of = table_accessor(records.Sample.dtype, "service_table", noted=False)
"""Return a quantile of the application's own work for a request."""

interval_of = table_accessor(records.Sample.dtype, "interval_table", noted=False)
"""Return a quantile of the time between intended starts."""

pool_of = table_accessor(records.Pool.dtype, "pool_table")
"""Return a pool of free items."""

_wheel_slot_of = table_accessor(records.WheelSlot.dtype, "wheel_table")


@compiled
def held_of(stack, nic, place):
    """Return one of the packets that a NIC's receive queue holds."""
    return _held_of(stack, nic * HELD + place)


@compiled
def connection_hash(stack, local_address, local_port, foreign_address, foreign_port):
    """Return the host's hash of a 4-tuple."""
    return tuple_hash(stack.hash_seed, local_address, local_port, foreign_address, foreign_port)


@compiled
def group_of_hash(stack, value):
    """Return the connection group of a hash."""
    return (value >> 16) % stack.groups


@compiled
def bucket_of_hash(stack, value):
    """Return the index of the hash bucket, in the table of its group."""
    return group_of_hash(stack, value) * stack.buckets_per_group + value % stack.buckets_per_group


@compiled
def buckets_of_hash(stack, value):
    """Return the address of the hash buckets of a hash's group."""
    return stack.bucket_table + group_of_hash(stack, value) * stack.buckets_per_group * BUCKET_BYTES


@compiled
def packet_hash(stack, packet):
    """Return the hash of a received packet's 4-tuple."""
    segment = segment_of(stack, packet)
    return connection_hash(
        stack, segment.destination_address, segment.destination_port, segment.source_address, segment.source_port
    )


@compiled
def flow_hash(stack, flow_index):
    """Return the hash of a connection's 4-tuple, as its client has it."""
    peer = peer_of(stack, flow_index)
    return connection_hash(stack, peer.foreign_address, peer.foreign_port, peer.local_address, peer.local_port)


@compiled
def packet_group(stack, packet):
    """Return the connection group that a received packet's 4-tuple hashes to."""
    return group_of_hash(stack, packet_hash(stack, packet))


@compiled
def renew_pcb(stack, flow, side):
    """Reset the pcb of one end to what a client's connection begins with."""
    table = stack.pcb_table if side == Side.LOCAL else stack.peer_table
    pcb_renew(table + flow * PCB_BYTES, stack.pcb_template_table + side * PCB_BYTES)


@compiled
def side_of(stack, flow, side):
    """Return the pcb of one end, LOCAL or REMOTE."""
    if side == Side.LOCAL:
        return pcb_of(stack, flow)
    return peer_of(stack, flow)


@compiled
def wheel_slot_of(stack, tick):
    """Return the timer wheel's list of a tick."""
    return _wheel_slot_of(stack, tick % stack.wheel_slots)


@compiled
def take_item(machine, stack):
    """Take an item off a pool; return its index. Faults and returns 0 if all pools are empty."""
    pool = pool_of(stack, stack.pool)
    other = 0
    while pool.count == 0 and other < stack.pools:
        pool = pool_of(stack, other)
        other += 1
    if pool.count == 0:
        machine.fault = Fault.ITEM_POOL_EMPTY
        return 0
    index = pool.head
    if index < 0:
        index = pool.untouched
        pool.untouched += 1
    else:
        pool.head = item_of(stack, index).next
    item = item_of(stack, index)
    pool.count -= 1
    stack.items_taken += 1
    item.next = -1
    return index


@compiled
def free_item(stack, index):
    """Give an item back to the pool."""
    pool = pool_of(stack, stack.pool)
    item_of(stack, index).next = pool.head
    pool.head = index
    pool.count += 1
    stack.items_freed += 1


@compiled
def latency_bucket(microseconds):
    """Return the histogram bucket of a latency in us: sixteen buckets per octave, exact below 32."""
    octave = 0
    value = max(microseconds, 0)  # the clocks of two cores may differ by the window
    while value >= 2 * LATENCY_BUCKETS_PER_OCTAVE:
        value >>= 1
        octave += 1
    return min(octave * LATENCY_BUCKETS_PER_OCTAVE + value, LATENCY_BUCKETS - 1)
