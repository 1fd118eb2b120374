"""How the host opens and ends connections: the answer to a SYN, the connection table, the end of a connection, resets.

The caller holds what serializes the connection table in its organization, except the lock of a hash bucket. That is taken here.
"""

from netstack.jit.compilation import compiled
from netstack.sim.kernel.listener import assign_application, charge_listener, score_listeners
from netstack.sim.kernel.mbufs import get_mbuf, put_mbuf
from netstack.sim.kernel.opening import free_port, set_connecting
from netstack.sim.kernel.table import enter_bucket, leave_bucket
from netstack.sim.kernel.transmit import transmit_segment
from netstack.sim.machine.charging import charge, touch_structure
from netstack.sim.machine.numbers import Access, Fault, Instance, Operation
from netstack.sim.machine.state import core_of
from netstack.sim.stack import state
from netstack.sim.stack.numbers import Admission, ItemKind, Side
from netstack.sim.stack.state import flow_of, item_of, pcb_of, segment_of
from netstack.sim.workload.backend import is_to_backend
from netstack.sim.workload.peer import initial_sequence, open_next
from netstack.tcp.connection import LISTEN_OPEN, reset_reply, tcp_accept, tcp_listen_input
from netstack.tcp.flags import TCP_OUTPUT, TCP_REPLY_RESET
from netstack.tcp.header import ACK, FIN, RST, SYN, URG
from netstack.tcp.lookup import lookup_insert, lookup_matches, lookup_remove
from netstack.tcp.sequence import seq_gt, seq_leq
from netstack.tcp.states import State


@compiled
def admit_segment(machine, stack, core, packet):
    """Return whether a segment is of its flow's connection: KNOWN. Any other is answered here: OPENED by a SYN, or REFUSED."""
    flow_index = item_of(stack, packet).flow
    segment = segment_of(stack, packet)
    flow = flow_of(stack, flow_index)
    if flow.open != 0 and lookup_matches(
        stack.pcb_table,
        flow_index,
        segment.destination_address,
        segment.destination_port,
        segment.source_address,
        segment.source_port,
    ):
        return Admission.KNOWN
    charge(machine, core, Operation.TCP_PREDICT)
    answer = tcp_listen_input(segment)
    admission = Admission.REFUSED
    if (
        answer == LISTEN_OPEN
        and flow.open == 0
        and not is_to_backend(stack, flow_index)
        and segment.source_port == state.peer_of(stack, flow_index).local_port
    ):
        if _open(machine, stack, core, flow_index, segment):
            admission = Admission.OPENED
    else:
        stack.stray_segments += 1
        if answer == TCP_REPLY_RESET:
            send_reset(machine, stack, core, flow_index, segment)
    state.free_item(stack, packet)
    return admission


@compiled
def _open(machine, stack, core, flow_index, segment):
    """Create the connection that a SYN asks for, and put it into the table and into the listener's queue of incomplete ones.

    Returns whether the listener had room for it.
    """
    flow = flow_of(stack, flow_index)
    cpu = core_of(machine, core)
    assign_application(machine, stack, core, flow_index)
    score_listeners(machine, stack, core, flow_index)
    if state.listener_of(stack, cpu.instance[Instance.LISTENER]).waiting >= stack.backlog:
        stack.listen_drops += 1
        return False
    charge(machine, core, Operation.CONNECTION_CREATE)
    state.renew_pcb(stack, flow_index, Side.LOCAL)
    pcb = pcb_of(stack, flow_index)
    pcb.local_address = segment.destination_address
    pcb.local_port = segment.destination_port
    pcb.foreign_address = segment.source_address
    pcb.foreign_port = segment.source_port
    now_us = cpu.clock // stack.cycles_per_us
    secret = state.connection_hash(stack, pcb.foreign_address, pcb.foreign_port, pcb.local_address, pcb.local_port)
    tcp_accept(pcb, segment, initial_sequence(secret, now_us), now_us)
    _insert(machine, stack, core, flow_index)
    charge_listener(machine, stack, core, flow_index)
    flow.open = 1
    flow.accepted = 0
    flow.ready = 0
    flow.unwritten_bytes = stack.bytes_per_connection  # a server's come with its requests
    stack.connections_opened += 1
    return True


@compiled
def open_connection(machine, stack, core, flow_index):
    """Open a connection whose port `begin_connect` chose, and put it into the table; return TCP's flags: output sends the SYN."""
    set_connecting(stack, flow_index, core_of(machine, core).clock // stack.cycles_per_us)
    _insert(machine, stack, core, flow_index)
    flow_of(stack, flow_index).open = 1
    stack.connects += 1
    return TCP_OUTPUT


@compiled
def _insert(machine, stack, core, flow_index):
    pcb = pcb_of(stack, flow_index)
    value = state.connection_hash(stack, pcb.local_address, pcb.local_port, pcb.foreign_address, pcb.foreign_port)
    bucket = state.bucket_of_hash(stack, value)
    enter_bucket(machine, stack, core, flow_index, bucket)
    charge(machine, core, Operation.CONNECTION_INSERT)
    lookup_insert(stack.pcb_table, state.buckets_of_hash(stack, value), stack.buckets_per_group, stack.hash_seed, flow_index)
    leave_bucket(machine, stack, core, flow_index, bucket)


@compiled
def remove_connection(machine, stack, core, flow_index):
    """Take an ended connection out of the table, and free it.

    Faults if it was established and is not closed with all data acknowledged.
    """
    pcb = pcb_of(stack, flow_index)
    complete = pcb.snd_una != pcb.iss
    if complete and (pcb.fin_queued == 0 or pcb.send_buffered_bytes != 0):
        machine.fault = Fault.CONNECTION_ENDED_OPEN
        return
    value = state.connection_hash(stack, pcb.local_address, pcb.local_port, pcb.foreign_address, pcb.foreign_port)
    bucket = state.bucket_of_hash(stack, value)
    enter_bucket(machine, stack, core, flow_index, bucket)
    before = lookup_remove(
        stack.pcb_table, state.buckets_of_hash(stack, value), stack.buckets_per_group, stack.hash_seed, flow_index
    )
    if before >= 0:
        touch_structure(machine, core, stack.inpcb_kind, before, 0, Access.WRITE)
    leave_bucket(machine, stack, core, flow_index, bucket)
    charge(machine, core, Operation.CONNECTION_REMOVE)
    if is_to_backend(stack, flow_index):
        free_port(machine, stack, core, flow_index)
        stack.connects_ended += 1
    else:
        stack.connections_closed += 1
    state.renew_pcb(stack, flow_index, Side.LOCAL)
    flow_of(stack, flow_index).open = 0
    open_next(machine, stack, flow_index, core_of(machine, core).clock)


@compiled
def keeps_table(stack, index):
    """Return whether the lock of the connection table is kept until an item has been processed.

    tcp_input() of FreeBSD 7 releases it early only for segments that header prediction takes. Any other might end the connection.
    """
    item = item_of(stack, index)
    if item.kind == ItemKind.PACKET:
        return not _is_predicted(pcb_of(stack, item.flow), segment_of(stack, index))
    return item.kind != ItemKind.SEND and item.kind != ItemKind.READ and stack.connections_end != 0


@compiled
def _is_predicted(pcb, segment):
    """Return whether a segment is the next one that a long transfer expects, in either direction.

    It is in order and announces the same window. It acknowledges something new while neither the congestion window nor a recovery
    limits the sender, or it has payload, acknowledges nothing new and fills no hole. Source: the header prediction of tcp_input()
    of FreeBSD 7; Van Jacobson.
    """
    expected = (
        pcb.state == State.ESTABLISHED
        and segment.flags & (SYN | FIN | RST | URG | ACK) == ACK
        and segment.seq == pcb.rcv_nxt
        and segment.window != 0
        and segment.window << pcb.snd_scale == pcb.snd_wnd
        and pcb.snd_nxt == pcb.snd_max
    )
    if not expected or segment.length > 0:
        return expected and segment.ack == pcb.snd_una and pcb.reordered_count == 0 and segment.length <= pcb.rcv_wnd
    return (
        seq_gt(segment.ack, pcb.snd_una)
        and seq_leq(segment.ack, pcb.snd_max)
        and pcb.snd_cwnd >= pcb.snd_wnd
        and pcb.in_recovery == 0
    )


@compiled
def send_reset(machine, stack, core, flow_index, segment):
    """Answer a segment of no connection (RFC 9293, section 3.10.7.1)."""
    reply = state.out_segment(stack, Side.LOCAL)
    if not reset_reply(segment, reply):
        return
    mbuf = get_mbuf(machine, stack, core)
    charge(machine, core, Operation.RESET)
    if transmit_segment(machine, stack, core, flow_index, reply, mbuf):
        stack.resets_sent += 1
    else:
        put_mbuf(machine, stack, core, mbuf)
        stack.interface_queue_drops += 1
