"""Connections, sockets, mbufs and packets: the state of the stack beside the machine's.

Only the layout and the allocators that cost nothing are here. -1 means "none" in every index field.
"""

import numpy as np

from netstack.jit.compilation import compiled
from netstack.jit.tables import journaled, table_accessor, with_journal, word_policies
from netstack.sim.machine.state import SECTION_DTYPE
from netstack.tcp.header import SEGMENT
from netstack.tcp.lookup import BUCKET, tuple_hash
from netstack.tcp.pcb import PCB, pcb_copy

LOCAL, REMOTE = range(2)
PACKET, SEND, TIMER, CLOSE = range(4)
PCB_BYTES, BUCKET_BYTES = PCB.itemsize, BUCKET.itemsize
LATENCY_BUCKETS = 512
LATENCY_BUCKETS_PER_OCTAVE = 16


def _record(*fields: tuple) -> np.dtype:
    return np.dtype(list(fields), align=True)


FLOW_DTYPE = _record(
    ("nic", "i4"),
    ("app_thread", "i4"),
    ("group", "i4"),
    ("next_expired", "i4"),
    ("outbound_cycles", "i8"),
    ("inbound_cycles", "i8"),
    ("acked_bytes", "i8"),
    ("written_bytes", "i8"),
    ("front_bytes", "i8"),
    ("first_mbuf", "i4"),
    ("last_mbuf", "i4"),
    ("next_ready", "i4"),
    ("tick", "i4", (2,)),
    ("next_timer", "i4", (2,)),
    ("previous_timer", "i4", (2,)),
    ("waiting_bytes", "i4"),
    ("unwritten_bytes", "i4"),
    ("brief_start", "i8"),
    ("brief_end", "i8"),
    ("ready", "i1"),
    ("expired", "i1"),
    ("started", "i1"),
    ("open", "i1"),
    ("accepted", "i1"),
)
"""A connection as the host sees it beside its pcb: socket, send buffer (a list of mbufs), timers' places in the wheel.

`waiting_bytes` are those of send requests that wait in a queue: the send buffer has room for them already. `unwritten_bytes` are
left for the application to write, of an endless connection always some. A client's connections follow each other in the same
record, each with a port of its own: `open` while the host has the pcb in its table, `accepted` while the application has it.
"""

MBUF_DTYPE = _record(("written_at", "i8"), ("bytes", "i4"), ("next", "i4"))
PACKET_DTYPE = _record(
    ("kind", "i4"),
    ("flow", "i4"),
    ("next", "i4"),
    ("thread", "i4"),
    ("bytes", "i4"),
    ("mbuf", "i4"),
    ("slot", "i4"),
    ("written_at", "i8"),
)
"""A message about a connection: a received packet (its segment is in the segment table), a request or an expired timer.

`slot` is the receive slot whose buffer a packet came in. `bytes` are those of a send request; of a timer, the client's port, by
which its connection is known from a later one.
"""

QUEUE_DTYPE = _record(
    ("head", "i8"), ("tail", "i8"), ("count", "i8"), ("thread", "i8"), ("brief_start", "i8"), ("brief_end", "i8")
)
"""Messages in order, and the thread that is woken for them: a port, what is on its way to one, or a connection's backlog."""

READY_DTYPE = _record(("head", "i8"), ("tail", "i8"), ("count", "i8"), ("brief_start", "i8"), ("brief_end", "i8"))
"""An application thread's event queue: connections that became writable, in order."""

CELL_DTYPE = _record(("value", "i8"))
POOL_DTYPE = _record(("head", "i8"), ("count", "i8"))
"""Free packets. In a windowed simulation each core has a pool, and takes from others when its own is empty."""

_STACK_FIELDS = """
conns groups buckets_per_group hash_seed send_buffer write_bytes send_unit lowat cycles_per_us
mbufs free_mbuf free_mbufs packets pool pools
app_threads ports port_capacity ipi_queue_first backlog_first batch
wheel_slots tick_cycles next_tick timers_listed expired_head clock_thread clock_next
acked_bytes written_bytes data_segments retransmitted_segments timeouts interface_queue_drops queue_drops hand_offs
messages_sent messages_received packets_taken packets_freed mbufs_taken mbufs_freed
queue_packets queue_requests use_global_lock lookup_first lookup_operation use_backlog use_perimeter use_ipi_queues
input_by_owner lock_kind first_phase
connection_lock_first group_lock_first global_lock
app_thread_first port_thread_first inpcb_kind
bytes_per_connection think_cycles client_closes_first listener_kind
connections_opened connections_closed resets_sent stray_segments
pcb_table peer_table bucket_table flow_table mbuf_table packet_table segment_table queue_table ready_table wheel_table
latency_table out_segment_table pool_table pcb_template_table listener_table bucket_section_table
"""
STACK_DTYPE = _record(*[(name, "i8") for name in _STACK_FIELDS.split()])
STACK_WITH_JOURNAL_DTYPE = with_journal(STACK_DTYPE)
_COUNTERS = (
    "acked_bytes",
    "written_bytes",
    "data_segments",
    "retransmitted_segments",
    "timeouts",
    "interface_queue_drops",
    "queue_drops",
    "hand_offs",
    "messages_sent",
    "messages_received",
    "packets_taken",
    "packets_freed",
    "mbufs_taken",
    "mbufs_freed",
    "free_mbufs",
    "timers_listed",
    "connections_opened",
    "connections_closed",
    "resets_sent",
    "stray_segments",
)
STACK_TABLE = journaled("stack", STACK_WITH_JOURNAL_DTYPE, word_policies(STACK_WITH_JOURNAL_DTYPE, _COUNTERS, ()))
"""The stack's record itself: what is no table in it is merged like one."""

COUNTER_DTYPE = _record(("value", "i8"))

flow_of = table_accessor(FLOW_DTYPE, "flow_table", last=("brief_start", "brief_end"))
"""Return the connection's host-side record."""

pcb_of = table_accessor(PCB, "pcb_table")
"""Return the connection's protocol control block."""

peer_of = table_accessor(PCB, "peer_table")
"""Return the protocol control block of the remote end."""

bucket_of = table_accessor(BUCKET, "bucket_table")
"""Return one bucket of the connection hash tables."""

mbuf_of = table_accessor(MBUF_DTYPE, "mbuf_table")
"""Return the mbuf."""

packet_of = table_accessor(PACKET_DTYPE, "packet_table")
"""Return the message."""

segment_of = table_accessor(SEGMENT, "segment_table")
"""Return the TCP segment of a received packet."""

out_segment = table_accessor(SEGMENT, "out_segment_table", noted=False)
"""Return the scratch segment that output of one side is built in."""

queue_of = table_accessor(QUEUE_DTYPE, "queue_table", last=("brief_start", "brief_end"))
"""Return a queue: the ports come first, from `ipi_queue_first` what is on its way to each, from `backlog_first` the backlogs."""

ready_of = table_accessor(READY_DTYPE, "ready_table", last=("brief_start", "brief_end"))
"""Return an application thread's event queue."""

listener_of = table_accessor(SECTION_DTYPE, "listener_table", last=("start", "end"))
"""Return when a listening socket's lock was last held."""

bucket_section_of = table_accessor(SECTION_DTYPE, "bucket_section_table", last=("start", "end"))
"""Return when the lock of a bucket was last held."""

latency_of = table_accessor(COUNTER_DTYPE, "latency_table", added=("value",))
"""Return one bucket of the write-to-acknowledgment histogram."""

pool_of = table_accessor(POOL_DTYPE, "pool_table")
"""Return a pool of free packets."""

_cell_of = table_accessor(CELL_DTYPE, "wheel_table")


@compiled
def connection_hash(s, local_address, local_port, foreign_address, foreign_port):
    """Return the host's hash of a 4-tuple."""
    return tuple_hash(s.hash_seed, local_address, local_port, foreign_address, foreign_port)


@compiled
def group_of_hash(s, value):
    """Return the connection group of a hash."""
    return (value >> 16) % s.groups


@compiled
def bucket_of_hash(s, value):
    """Return the bucket of a hash, in the table of its group."""
    return group_of_hash(s, value) * s.buckets_per_group + value % s.buckets_per_group


@compiled
def buckets_of_hash(s, value):
    """Return the address of the buckets of a hash's group."""
    return s.bucket_table + group_of_hash(s, value) * s.buckets_per_group * BUCKET_BYTES


@compiled
def renew_pcb(s, flow, side):
    """Make the pcb of one end what that of a new client's connection begins with."""
    table = s.pcb_table if side == LOCAL else s.peer_table
    pcb_copy(table + flow * PCB_BYTES, s.pcb_template_table + side * PCB_BYTES)


@compiled
def side_of(s, flow, side):
    """Return the pcb of one end: LOCAL or REMOTE."""
    if side == LOCAL:
        return pcb_of(s, flow)
    return peer_of(s, flow)


@compiled
def wheel_of(s, tick):
    """Return the timer wheel's list head for a tick."""
    return _cell_of(s, tick % s.wheel_slots)


@compiled
def take_packet(m, s):
    """Take a packet off the pool. Faults (`m.fault`) and returns packet 0 when the pool is empty."""
    pool = pool_of(s, s.pool)
    other = 0
    while pool.count == 0 and other < s.pools:
        pool = pool_of(s, other)
        other += 1
    if pool.count == 0:
        m.fault = 2
        return 0
    packet = pool.head
    record = packet_of(s, packet)
    pool.head = record.next
    pool.count -= 1
    s.packets_taken += 1
    record.next = -1
    return packet


@compiled
def free_packet(s, packet):
    """Give a packet back."""
    pool = pool_of(s, s.pool)
    packet_of(s, packet).next = pool.head
    pool.head = packet
    pool.count += 1
    s.packets_freed += 1


@compiled
def latency_bucket(microseconds):
    """Return the histogram bucket of a latency: sixteen buckets an octave, exact below sixteen."""
    octave = 0
    value = max(microseconds, 0)  # the clocks of two cores may differ by the window
    while value >= 2 * LATENCY_BUCKETS_PER_OCTAVE:
        value >>= 1
        octave += 1
    return min(octave * LATENCY_BUCKETS_PER_OCTAVE + value, LATENCY_BUCKETS - 1)
