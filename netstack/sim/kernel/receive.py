"""The receive path, top to bottom: look-up, header prediction, input, acknowledged data; and expired timers.

Who runs it, and under which lock, is decided in `organization`.
"""

from netstack.jit.compilation import compiled
from netstack.sim.kernel.callouts import set_callout, stop_callout
from netstack.sim.kernel.mbufs import put_mbuf
from netstack.sim.kernel.readiness import so_received, so_wakeup
from netstack.sim.kernel.transmit import charge_copy
from netstack.sim.machine.charging import charge, charge_section, touch_structure
from netstack.sim.machine.numbers import Access, Instance, LockClass, Operation
from netstack.sim.machine.sections import enter_section, leave_section
from netstack.sim.machine.state import core_of
from netstack.sim.stack.numbers import Callout
from netstack.sim.stack.state import (
    BUCKETS_PER_LINE,
    bucket_of,
    bucket_of_hash,
    exchange_of,
    flow_of,
    free_item,
    item_of,
    latency_bucket,
    latency_of,
    mbuf_of,
    packet_hash,
    pcb_of,
    segment_of,
)
from netstack.tcp.connection import tcp_received
from netstack.tcp.flags import TCP_ACKED, TCP_OUTPUT
from netstack.tcp.input import tcp_input
from netstack.tcp.lookup import lookup_matches
from netstack.tcp.states import State
from netstack.tcp.timers import tcp_timeout


@compiled
def lookup_connection(machine, stack, core, packet):
    """Find a received packet's connection by its hash bucket and chain of pcbs; return its index, -1 if there is none."""
    bucket = bucket_of_hash(stack, packet_hash(stack, packet))
    core_of(machine, core).instance[Instance.BUCKET] = bucket // BUCKETS_PER_LINE
    charge(machine, core, Operation.LOOKUP)
    segment = segment_of(stack, packet)
    index = bucket_of(stack, bucket).head
    while index >= 0:
        touch_structure(machine, core, stack.inpcb_kind, index, 0, Access.READ)
        if lookup_matches(
            stack.pcb_table,
            index,
            segment.destination_address,
            segment.destination_port,
            segment.source_address,
            segment.source_port,
        ):
            return index
        index = pcb_of(stack, index).hash_next
    return -1


@compiled
def predict_packet(machine, stack, core, packet):
    """Charge the checks of a received segment up to header prediction, and the restart of the keep-alive timer."""
    charge(machine, core, Operation.TCP_PREDICT)
    set_callout(machine, stack, core, item_of(stack, packet).flow, Callout.KEEP_ALIVE)


@compiled
def process_packet(machine, stack, core, packet):
    """Run TCP input for a received packet; return TCP's flags. Acknowledged mbufs leave the send buffer, and its user is told."""
    flow_index = item_of(stack, packet).flow
    charge(machine, core, Operation.TCP_INPUT)
    pcb = pcb_of(stack, flow_index)
    state = pcb.state
    flags = tcp_input(pcb, segment_of(stack, packet), core_of(machine, core).clock // stack.cycles_per_us)
    if flags & TCP_ACKED:
        if pcb.rexmt_deadline_us == 0:
            stop_callout(machine, stack, core, flow_index, Callout.RETRANSMISSION)
        else:
            set_callout(machine, stack, core, flow_index, Callout.RETRANSMISSION)
        _drop_acknowledged(machine, stack, core, flow_index, pcb.acked_bytes)
        so_wakeup(machine, stack, core, flow_index)
    if pcb.state == State.TIME_WAIT and state != State.TIME_WAIT:
        charge(machine, core, Operation.TIME_WAIT)
    if pcb.delivered_bytes > 0:
        _append_received(machine, stack, core, flow_index, packet)
    free_item(stack, packet)
    return flags


@compiled
def _append_received(machine, stack, core, flow_index, packet):
    """Append the payload that became readable to the receive buffer, and tell the application."""
    flow = flow_of(stack, flow_index)
    exchange = exchange_of(stack, flow_index)
    pcb = pcb_of(stack, flow_index)
    enter_section(machine, core, flow.section, LockClass.SOCKET_BUFFER)
    charge(machine, core, Operation.RECEIVE_APPEND)
    exchange.unread_bytes += pcb.delivered_bytes
    exchange.unread_frames += 1
    exchange.slot = item_of(stack, packet).slot
    pcb.rcv_wnd = pcb.receive_buffer_bytes - exchange.unread_bytes
    leave_section(machine, core, flow.section, LockClass.SOCKET_BUFFER)
    so_received(machine, stack, core, flow_index)


@compiled
def read_socket(machine, stack, core, flow_index):
    """Take all payload off the receive buffer, and copy it to the application; return TCP's flags: a window may be announced."""
    flow = flow_of(stack, flow_index)
    exchange = exchange_of(stack, flow_index)
    pcb = pcb_of(stack, flow_index)
    cpu = core_of(machine, core)
    cpu.instance[Instance.RX_SLOT] = exchange.slot
    enter_section(machine, core, flow.section, LockClass.SOCKET_BUFFER)
    for _ in range(exchange.unread_frames):
        charge(machine, core, Operation.READ_FRAME)
    leave_section(machine, core, flow.section, LockClass.SOCKET_BUFFER)
    charge_copy(machine, core, exchange.unread_bytes, Operation.COPY_RECEIVE)
    exchange.read_bytes += exchange.unread_bytes
    exchange.unserved_bytes += exchange.unread_bytes
    stack.read_bytes += exchange.unread_bytes
    exchange.unread_bytes = 0
    exchange.unread_frames = 0
    pcb.rcv_wnd = pcb.receive_buffer_bytes
    return tcp_received(pcb)


@compiled
def process_read(machine, stack, core, flow_index):
    """Run a request to read under the connection's lock; return TCP's flags."""
    if exchange_of(stack, flow_index).unread_bytes > 0:
        return read_socket(machine, stack, core, flow_index)
    return TCP_OUTPUT if pcb_of(stack, flow_index).ack_now != 0 else 0


@compiled
def _drop_acknowledged(machine, stack, core, flow_index, acked_bytes):
    flow = flow_of(stack, flow_index)
    cpu = core_of(machine, core)
    enter_section(machine, core, flow.section, LockClass.SOCKET_BUFFER)
    flow.acked_bytes += acked_bytes
    stack.acked_bytes += acked_bytes
    flow.front_bytes += acked_bytes
    while flow.first_mbuf >= 0 and mbuf_of(stack, flow.first_mbuf).bytes <= flow.front_bytes:
        index = flow.first_mbuf
        mbuf = mbuf_of(stack, index)
        flow.front_bytes -= mbuf.bytes
        flow.first_mbuf = mbuf.next
        cpu.instance[Instance.MBUF] = index
        charge(machine, core, Operation.SB_DROP)
        charge_section(machine, core, LockClass.PAGE_QUEUE, Operation.PAGE_UNWIRE)
        latency_of(stack, latency_bucket((cpu.clock - mbuf.written_at) // stack.cycles_per_us)).value += 1
        put_mbuf(machine, stack, core, index)
    leave_section(machine, core, flow.section, LockClass.SOCKET_BUFFER)


@compiled
def process_timer(machine, stack, core, timer):
    """Run the connection's expired timers, unless it has ended since; return TCP's flags."""
    item = item_of(stack, timer)
    charge(machine, core, Operation.TIMER)
    pcb = pcb_of(stack, item.flow)
    if pcb.foreign_port != item.bytes:
        return 0
    timeouts = pcb.retransmission_timeouts
    flags = tcp_timeout(pcb, core_of(machine, core).clock // stack.cycles_per_us)
    stack.timeouts += pcb.retransmission_timeouts - timeouts
    return flags
