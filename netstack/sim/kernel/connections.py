"""How connections come and go on the host: a listener's answer to a SYN, the connection table, accept and close, resets.

The caller holds what the organization serializes the connection table with, except the lock of a bucket, which is taken here.
"""

from netstack.jit.compilation import compiled
from netstack.sim.kernel.paths import get_mbuf, put_mbuf, transmit_segment, wake_application
from netstack.sim.machine.memory import charge, touch_structure
from netstack.sim.machine.sections import brief_leave, brief_wait, charge_in
from netstack.sim.machine.state import (
    BUCKET,
    BUCKET_LOCK,
    LISTENER,
    LISTENER_LOCK,
    OP_ACCEPT_CALL,
    OP_BUCKET_SECTION,
    OP_CONNECTION_CREATE,
    OP_CONNECTION_INSERT,
    OP_CONNECTION_REMOVE,
    OP_LISTENER_QUEUE,
    OP_RESET,
    OP_TCP_PREDICT,
    core_of,
)
from netstack.sim.stack.state import (
    LOCAL,
    PACKET,
    SEND,
    bucket_of_hash,
    bucket_section_of,
    buckets_of_hash,
    connection_hash,
    flow_of,
    free_packet,
    listener_of,
    out_segment,
    packet_of,
    pcb_of,
    peer_of,
    renew_pcb,
    segment_of,
)
from netstack.sim.workload.peer import initial_sequence, open_next
from netstack.tcp.connection import LISTEN_OPEN, reset_reply, tcp_accept, tcp_listen_input
from netstack.tcp.flags import TCP_CONNECTED, TCP_FINISHED, TCP_REPLY_RESET
from netstack.tcp.header import FIN, RST, SYN
from netstack.tcp.lookup import lookup_insert, lookup_matches, lookup_remove
from netstack.tcp.states import ESTABLISHED

KNOWN, OPENED, REFUSED = range(3)
SHARED, PARTITIONED, REPLICATED = range(3)


@compiled
def admit_segment(m, s, core, packet):
    """Return KNOWN for a segment of its flow's connection; answer any other: OPENED for a SYN, REFUSED for what is stray."""
    record = packet_of(s, packet)
    segment = segment_of(s, packet)
    flow = flow_of(s, record.flow)
    if flow.open != 0 and lookup_matches(
        s.pcb_table,
        record.flow,
        segment.destination_address,
        segment.destination_port,
        segment.source_address,
        segment.source_port,
    ):
        return KNOWN
    charge(m, core, OP_TCP_PREDICT)
    answer = tcp_listen_input(segment)
    result = REFUSED
    if answer == LISTEN_OPEN and flow.open == 0 and segment.source_port == peer_of(s, record.flow).local_port:
        _open(m, s, core, record.flow, segment)
        result = OPENED
    else:
        s.stray_segments += 1
        if answer == TCP_REPLY_RESET:
            send_reset(m, s, core, record.flow, segment)
    free_packet(s, packet)
    return result


@compiled
def _open(m, s, core, flow_index, segment):
    """Create the connection that a SYN asks for, and put it into the table and among the listener's incomplete ones."""
    flow = flow_of(s, flow_index)
    cpu = core_of(m, core)
    cpu.instance[LISTENER] = _listener(s, flow_index)
    charge(m, core, OP_CONNECTION_CREATE)
    renew_pcb(s, flow_index, LOCAL)
    pcb = pcb_of(s, flow_index)
    pcb.local_address = segment.destination_address
    pcb.local_port = segment.destination_port
    pcb.foreign_address = segment.source_address
    pcb.foreign_port = segment.source_port
    now_us = cpu.clock // s.cycles_per_us
    secret = connection_hash(s, pcb.foreign_address, pcb.foreign_port, pcb.local_address, pcb.local_port)
    tcp_accept(pcb, segment, initial_sequence(secret, now_us), now_us)
    _insert(m, s, core, flow_index)
    _charge_listener(m, s, core, flow_index)
    flow.open = 1
    flow.accepted = 0
    flow.ready = 0
    flow.unwritten_bytes = s.bytes_per_connection
    s.connections_opened += 1


@compiled
def _insert(m, s, core, flow_index):
    pcb = pcb_of(s, flow_index)
    value = connection_hash(s, pcb.local_address, pcb.local_port, pcb.foreign_address, pcb.foreign_port)
    entered = _enter_bucket(m, s, core, bucket_of_hash(s, value))
    charge(m, core, OP_CONNECTION_INSERT)
    lookup_insert(s.pcb_table, buckets_of_hash(s, value), s.buckets_per_group, s.hash_seed, flow_index)
    _leave_bucket(m, s, core, bucket_of_hash(s, value), entered)


@compiled
def remove_connection(m, s, core, flow_index):
    """Take an ended connection out of the table and free it. Faults if an application has it and has not closed it."""
    pcb = pcb_of(s, flow_index)
    flow = flow_of(s, flow_index)
    complete = pcb.snd_una != pcb.iss
    if complete and (pcb.fin_queued == 0 or pcb.send_buffered_bytes != 0):
        m.fault = 5
        return
    value = connection_hash(s, pcb.local_address, pcb.local_port, pcb.foreign_address, pcb.foreign_port)
    entered = _enter_bucket(m, s, core, bucket_of_hash(s, value))
    before = lookup_remove(s.pcb_table, buckets_of_hash(s, value), s.buckets_per_group, s.hash_seed, flow_index)
    if before >= 0:
        touch_structure(m, core, s.inpcb_kind, before, 0, 1)
    _leave_bucket(m, s, core, bucket_of_hash(s, value), entered)
    charge(m, core, OP_CONNECTION_REMOVE)
    renew_pcb(s, flow_index, LOCAL)
    flow.open = 0
    s.connections_closed += 1
    open_next(m, s, flow_index, core_of(m, core).clock)


@compiled
def _enter_bucket(m, s, core, bucket):
    """Take the lock of a bucket, where look-ups do not exclude changes of the table; return when."""
    cpu = core_of(m, core)
    cpu.instance[BUCKET] = bucket >> 3
    if s.lookup_first != 0:
        section = bucket_section_of(s, bucket)
        brief_wait(m, core, BUCKET_LOCK, section.start, section.end)
    entered = cpu.clock
    if s.lookup_first != 0:
        charge(m, core, OP_BUCKET_SECTION)
    return entered


@compiled
def _leave_bucket(m, s, core, bucket, entered):
    if s.lookup_first != 0:
        section = bucket_section_of(s, bucket)
        section.start = entered
        section.end = core_of(m, core).clock
        brief_leave(m, core, BUCKET_LOCK, entered)


@compiled
def _listener(s, flow_index):
    """Return the listening socket that a connection comes through."""
    if s.listener_kind == SHARED:
        return 0
    flow = flow_of(s, flow_index)
    return flow.group if s.listener_kind == PARTITIONED else flow.app_thread


@compiled
def _charge_listener(m, s, core, flow_index):
    """Move a connection into, between or out of the queues of its listening socket, under the socket's lock."""
    listener = _listener(s, flow_index)
    core_of(m, core).instance[LISTENER] = listener
    charge_in(m, core, listener_of(s, listener), LISTENER_LOCK, OP_LISTENER_QUEUE)


@compiled
def accept_connection(m, s, core, flow_index):
    """System call accept(): the application takes a connection that is complete."""
    _charge_listener(m, s, core, flow_index)
    charge(m, core, OP_ACCEPT_CALL)
    flow_of(s, flow_index).accepted = 1


@compiled
def tell_application(m, s, core, flow_index, flags):
    """Wake the application for a connection that is complete, or whose client has sent all."""
    if flags & TCP_CONNECTED:
        _charge_listener(m, s, core, flow_index)
        wake_application(m, s, core, flow_index)
    elif flags & TCP_FINISHED and s.client_closes_first != 0:
        flow = flow_of(s, flow_index)
        if flow.accepted != 0 and flow.ready == 0:
            wake_application(m, s, core, flow_index)


@compiled
def may_change_table(s, item):
    """Return whether an item could end its connection: what tcp_input() of FreeBSD 7 keeps the table's lock for to the end."""
    record = packet_of(s, item)
    if s.bytes_per_connection == 0 or record.kind == SEND:
        return False
    if record.kind != PACKET:
        return True
    return pcb_of(s, record.flow).state != ESTABLISHED or segment_of(s, item).flags & (SYN | FIN | RST) != 0


@compiled
def send_reset(m, s, core, flow_index, segment):
    """Answer a segment of no connection (RFC 9293, section 3.10.7.1)."""
    reply = out_segment(s, LOCAL)
    if not reset_reply(segment, reply):
        return
    mbuf = get_mbuf(m, s, core)
    charge(m, core, OP_RESET)
    if transmit_segment(m, s, core, flow_index, reply, mbuf):
        s.resets_sent += 1
    else:
        put_mbuf(m, s, core, mbuf)
        s.interface_queue_drops += 1
