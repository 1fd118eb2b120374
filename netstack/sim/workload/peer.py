"""The remote ends of all connections: the same TCP at no cost, at a random distance.

A frame is processed when it is sent, at the time of its arrival. The link keeps the order within a connection, so that this does
too. Knows nothing of the machine but its NICs.
"""

from netstack.jit.compilation import compiled
from netstack.sim.machine.nic import SMALLEST_FRAME_BYTES, send_to_host, wire_bytes
from netstack.sim.machine.state import NEVER
from netstack.sim.stack.numbers import ItemKind, Side
from netstack.sim.stack.state import (
    connection_hash,
    exchange_of,
    flow_of,
    group_of_hash,
    item_of,
    late_of,
    late_segment_of,
    out_segment,
    peer_of,
    renew_pcb,
    segment_of,
    take_item,
)
from netstack.sim.stack.steering import steer
from netstack.sim.stack.timer_wheel import arm
from netstack.sim.workload.backend import accept_on_backend, accepts, client_of, is_done, is_to_backend, receive_request
from netstack.sim.workload.client import begin_exchange, first_requests, is_last, receive_response
from netstack.sim.workload.config import HEADER_BYTES
from netstack.sim.workload.network import is_late, loses
from netstack.tcp.connection import reset_reply, tcp_close, tcp_connect
from netstack.tcp.flags import TCP_CLOSED, TCP_CONNECTED, TCP_FINISHED, TCP_OUTPUT
from netstack.tcp.input import tcp_input
from netstack.tcp.output import tcp_output
from netstack.tcp.sequence import seq_sub
from netstack.tcp.states import State
from netstack.tcp.timers import tcp_timeout

FIRST_PORT, LAST_PORT = 1024, 65535
ALL_PORTS = LAST_PORT - FIRST_PORT + 1


@compiled
def peer_receive(machine, stack, flow_index, segment, now):
    """Deliver a segment whose last bit left the host at `now` cycles to the remote end, and send the answers.

    One that is late waits until the next one has come, if that arrives before it.
    """
    if loses(stack, flow_index, Side.LOCAL):
        return
    arrival = now + flow_of(stack, flow_index).outbound_cycles
    if stack.late_limit[Side.LOCAL] != 0:
        deliver_late(machine, stack, flow_index, arrival)
        late = late_of(stack, flow_index)
        if late.arrival == 0 and is_late(stack, flow_index, Side.LOCAL):
            late.arrival = arrival + stack.late_cycles
            copy_segment(late_segment_of(stack, flow_index), segment)
            stack.late_waiting += 1
            return
    _arrive(machine, stack, flow_index, segment, arrival)


@compiled
def deliver_late(machine, stack, flow_index, until):
    """Deliver a connection's late segment to the remote end, if it arrives by `until`."""
    late = late_of(stack, flow_index)
    arrival = late.arrival
    if 0 < arrival <= until:
        late.arrival = 0
        stack.late_waiting -= 1
        _arrive(machine, stack, flow_index, late_segment_of(stack, flow_index), arrival)


@compiled
def _arrive(machine, stack, flow_index, segment, arrival):
    """Let the remote end have a segment at `arrival`."""
    now_us = arrival // stack.cycles_per_us
    peer = peer_of(stack, flow_index)
    if accepts(stack, flow_index, segment):
        _accept(machine, stack, flow_index, segment, arrival)
        return
    if segment.destination_port != peer.local_port or peer.state == State.CLOSED:
        _refuse(machine, stack, flow_index, segment, arrival)
        return
    if 0 < peer.delack_deadline_us <= now_us:
        peer_timeout(machine, stack, flow_index, peer.delack_deadline_us)
    flags = tcp_input(peer, segment, now_us)
    if stack.read_delay != 0:
        _read_later(stack, flow_index, arrival)
    if stack.streams != 0:
        peer.send_buffered_bytes = stack.streams
    if flags & TCP_OUTPUT:
        _peer_output(machine, stack, flow_index, arrival)
    if stack.exchanges != 0:
        _exchange(machine, stack, flow_index, flags, peer.delivered_bytes, arrival)
    if stack.connections_end != 0:
        _close(machine, stack, flow_index, flags, arrival)
    arm(stack, flow_index, Side.REMOTE)


@compiled
def _accept(machine, stack, flow_index, segment, now):
    """Accept a connection of the host at `now`: the SYN-ACK is sent."""
    value = connection_hash(
        stack, segment.destination_address, segment.destination_port, segment.source_address, segment.source_port
    )
    now_us = now // stack.cycles_per_us
    accept_on_backend(stack, flow_index, segment, initial_sequence(value, now_us), now_us)
    _peer_output(machine, stack, flow_index, now)
    arm(stack, flow_index, Side.REMOTE)


@compiled
def _exchange(machine, stack, flow_index, flags, delivered_bytes, now):
    """Let the client see what arrived at `now`: that its connection is open, or payload of responses. It may ask again.

    A backend sees payload of the request, and may answer.
    """
    sent_at = NEVER
    if stack.serves == 0:
        return
    if is_to_backend(stack, flow_index):
        if delivered_bytes > 0:
            sent_at = receive_request(stack, flow_index, delivered_bytes, now)
    elif flags & TCP_CONNECTED:
        sent_at = first_requests(stack, flow_index, now)
    elif delivered_bytes > 0:
        sent_at = receive_response(stack, flow_index, delivered_bytes, now)
    if sent_at < NEVER:
        _peer_output(machine, stack, flow_index, sent_at)


@compiled
def peer_begin(machine, stack, flow_index, now):
    """Begin to use a connection that is open from the beginning: its client asks, or its peer begins to send without end."""
    first = now
    if stack.streams != 0:
        peer_of(stack, flow_index).send_buffered_bytes = stack.streams
    else:
        first = first_requests(stack, flow_index, now)
    _peer_output(machine, stack, flow_index, first)
    arm(stack, flow_index, Side.REMOTE)


@compiled
def _read_later(stack, flow_index, arrival):
    """Set the window of the remote end by what its application has not read yet, after payload arrived at `arrival`."""
    flow = flow_of(stack, flow_index)
    peer = peer_of(stack, flow_index)
    if arrival >= flow.read_at:
        flow.unread_bytes = 0
    if peer.delivered_bytes > 0:
        if flow.unread_bytes == 0:
            flow.read_at = arrival + stack.read_delay
        flow.unread_bytes += peer.delivered_bytes
    peer.rcv_wnd = peer.receive_buffer_bytes - flow.unread_bytes


@compiled
def _refuse(machine, stack, flow_index, segment, now):
    """Answer a segment that belongs to no connection of the client."""
    if reset_reply(segment, out_segment(stack, Side.REMOTE)):
        _send(machine, stack, flow_index, now)


@compiled
def _close(machine, stack, flow_index, flags, now):
    """Close the client's end once the host has closed, or once it has all bytes if it closes first.

    Opens the next connection if both ends are done with this one.
    """
    peer = peer_of(stack, flow_index)
    received_all = stack.client_closes_first != 0 and _has_all(stack, flow_index)
    closes = flags & TCP_FINISHED != 0 or (peer.state == State.ESTABLISHED and received_all)
    if closes and tcp_close(peer, now // stack.cycles_per_us) & TCP_OUTPUT:
        _peer_output(machine, stack, flow_index, now)
    if is_done(peer):
        open_next(machine, stack, flow_index, now)


@compiled
def _has_all(stack, flow_index):
    """Return whether a client has all that its connection carries."""
    if stack.serves != 0:
        return is_last(stack, exchange_of(stack, flow_index).answered)
    peer = peer_of(stack, flow_index)
    return seq_sub(peer.rcv_nxt, peer.irs) > stack.bytes_per_connection


@compiled
def _done_at(stack, flow_index):
    """Return when the remote end had the last segment of a connection that both ends are done with, NEVER if they are not."""
    peer = peer_of(stack, flow_index)
    if flow_of(stack, flow_index).open != 0 or not is_done(peer):
        return NEVER
    return peer.last_received_us * stack.cycles_per_us


@compiled
def open_next(machine, stack, flow_index, now):
    """Open the client's next connection if both ends are done with the last one. One of them is so at `now`.

    Of a proxy the client's connection to its backend must be over as well.
    """
    client = client_of(stack, flow_index)
    done_at = _done_at(stack, client)
    if stack.proxies != 0:
        done_at = max(done_at, _done_at(stack, client + stack.clients))
    if done_at < NEVER:
        peer_open(machine, stack, client, max(now, done_at) + stack.think_cycles)


@compiled
def peer_open(machine, stack, flow_index, now):
    """Open a connection from the client's next port: its SYN is sent at `now`."""
    peer = peer_of(stack, flow_index)
    client_address, host_address, host_port = peer.local_address, peer.foreign_address, peer.foreign_port
    first_port = first_client_port(stack, flow_index)
    client_port = peer.local_port + 1 if peer.local_port < first_port + stack.client_ports - 1 else first_port
    renew_pcb(stack, flow_index, Side.REMOTE)
    if stack.exchanges != 0:
        begin_exchange(stack, flow_index)
    peer.local_address = client_address
    peer.local_port = client_port
    peer.foreign_address = host_address
    peer.foreign_port = host_port
    now_us = now // stack.cycles_per_us
    value = connection_hash(stack, host_address, host_port, client_address, client_port)
    flow_of(stack, flow_index).group = group_of_hash(stack, value)
    steer(machine, stack, flow_index)
    tcp_connect(peer, initial_sequence(value, now_us), now_us)
    _peer_output(machine, stack, flow_index, now)
    arm(stack, flow_index, Side.REMOTE)


@compiled
def first_client_port(stack, flow_index):
    """Return the first port of those that a client uses. Clients of one address have parts of the port numbers."""
    if stack.client_addresses == 0:
        return FIRST_PORT
    return FIRST_PORT + flow_index // stack.client_addresses * stack.client_ports


@compiled
def initial_sequence(value, now_us):
    """Return a connection's first number: a clock with ticks of 4 us plus the hash of its 4-tuple (RFC 6528, section 3)."""
    return (value + now_us // 4) & 0xFFFFFFFF


@compiled
def peer_timeout(machine, stack, flow_index, now_us):
    """Run the remote end's expired timers at `now_us`."""
    flags = tcp_timeout(peer_of(stack, flow_index), now_us)
    if flags & TCP_OUTPUT:
        _peer_output(machine, stack, flow_index, now_us * stack.cycles_per_us)
    if flags & TCP_CLOSED:
        peer_of(stack, flow_index).linger_deadline_us = 0


@compiled
def _peer_output(machine, stack, flow_index, now):
    peer = peer_of(stack, flow_index)
    retransmitted = peer.retransmitted_segments
    while tcp_output(peer, out_segment(stack, Side.REMOTE), now // stack.cycles_per_us):
        _send(machine, stack, flow_index, now)
    stack.peer_retransmitted_segments += peer.retransmitted_segments - retransmitted


@compiled
def _send(machine, stack, flow_index, now):
    """Send the segment that was built to the host."""
    if loses(stack, flow_index, Side.REMOTE):
        return
    flow = flow_of(stack, flow_index)
    packet = take_item(machine, stack)
    item = item_of(stack, packet)
    item.kind = ItemKind.PACKET
    item.flow = flow_index
    copy_segment(segment_of(stack, packet), out_segment(stack, Side.REMOTE))
    length = segment_of(stack, packet).length
    frame_bytes = wire_bytes(length + HEADER_BYTES) if length > 0 else SMALLEST_FRAME_BYTES
    late = stack.late_cycles if is_late(stack, flow_index, Side.REMOTE) else 0
    send_to_host(machine, flow.queue, now + flow.inbound_cycles + late, frame_bytes, packet)


@compiled
def copy_segment(target, source):
    """Copy the fields that TCP reads of a segment."""
    target.source_address = source.source_address
    target.destination_address = source.destination_address
    target.source_port = source.source_port
    target.destination_port = source.destination_port
    target.seq = source.seq
    target.ack = source.ack
    target.flags = source.flags
    target.window = source.window
    target.length = source.length
    target.ts_val = source.ts_val
    target.ts_ecr = source.ts_ecr
    target.has_timestamps = source.has_timestamps
    target.mss = source.mss
    target.wscale = source.wscale
