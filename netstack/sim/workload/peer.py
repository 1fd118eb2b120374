"""The remote ends of all connections: the same TCP, free of charge, at a random distance.

A frame is processed when it is sent, with the time of its arrival as now; order within a connection is kept, because the link
keeps it. Knows nothing of the machine but its NICs.
"""

from netstack.jit.compilation import compiled
from netstack.sim.machine.nic import send_to_host
from netstack.sim.stack.state import (
    PACKET,
    REMOTE,
    connection_hash,
    flow_of,
    group_of_hash,
    out_segment,
    packet_of,
    peer_of,
    renew_pcb,
    segment_of,
    take_packet,
)
from netstack.sim.stack.timer_wheel import arm
from netstack.tcp.connection import reset_reply, tcp_close, tcp_connect
from netstack.tcp.flags import TCP_CLOSED, TCP_FINISHED, TCP_OUTPUT
from netstack.tcp.input import tcp_input
from netstack.tcp.output import tcp_output
from netstack.tcp.sequence import seq_sub
from netstack.tcp.states import CLOSED, ESTABLISHED, TIME_WAIT
from netstack.tcp.timers import tcp_timeout

FIRST_PORT, LAST_PORT = 1024, 65535


@compiled
def peer_receive(m, s, flow_index, segment, now):
    """Deliver a segment to the remote end, whose last bit left the host at `now` cycles; send its answers on their way."""
    flow = flow_of(s, flow_index)
    arrival = now + flow.outbound_cycles
    now_us = arrival // s.cycles_per_us
    peer = peer_of(s, flow_index)
    if segment.destination_port != peer.local_port or peer.state == CLOSED:
        _refuse(m, s, flow_index, segment, arrival)
        return
    if 0 < peer.delack_deadline_us <= now_us:
        peer_timeout(m, s, flow_index, peer.delack_deadline_us)
    flags = tcp_input(peer, segment, now_us)
    if flags & TCP_OUTPUT:
        _peer_output(m, s, flow_index, arrival)
    if s.bytes_per_connection != 0:
        _close(m, s, flow_index, flags, arrival)
    arm(s, flow_index, REMOTE)


@compiled
def _refuse(m, s, flow_index, segment, now):
    """Answer a segment of a connection that the client has not, or not any more."""
    if reset_reply(segment, out_segment(s, REMOTE)):
        _send(m, s, flow_index, now)


@compiled
def _close(m, s, flow_index, flags, now):
    """A client closes when the host has, or first, when it has all bytes; notice when its end is done with."""
    peer = peer_of(s, flow_index)
    received_all = s.client_closes_first != 0 and seq_sub(peer.rcv_nxt, peer.irs) > s.bytes_per_connection
    closes = flags & TCP_FINISHED != 0 or (peer.state == ESTABLISHED and received_all)
    if closes and tcp_close(peer, now // s.cycles_per_us) & TCP_OUTPUT:
        _peer_output(m, s, flow_index, now)
    if _is_done(peer):
        open_next(m, s, flow_index, now)


@compiled
def _is_done(pcb):
    """Return whether the user of an end is done with its connection."""
    return pcb.state == CLOSED or pcb.state == TIME_WAIT


@compiled
def open_next(m, s, flow_index, now):
    """Let the client open its next connection if the last one is done with at both ends, as one of them is at `now`."""
    peer = peer_of(s, flow_index)
    if flow_of(s, flow_index).open == 0 and _is_done(peer):
        peer_open(m, s, flow_index, max(now, peer.last_received_us * s.cycles_per_us) + s.think_cycles)


@compiled
def peer_open(m, s, flow_index, now):
    """Open a connection from the client's next port at `now`: its SYN goes on its way."""
    peer = peer_of(s, flow_index)
    client_address, host_address, host_port = peer.local_address, peer.foreign_address, peer.foreign_port
    client_port = peer.local_port + 1 if peer.local_port < LAST_PORT else FIRST_PORT
    renew_pcb(s, flow_index, REMOTE)
    peer.local_address = client_address
    peer.local_port = client_port
    peer.foreign_address = host_address
    peer.foreign_port = host_port
    now_us = now // s.cycles_per_us
    value = connection_hash(s, host_address, host_port, client_address, client_port)
    flow_of(s, flow_index).group = group_of_hash(s, value)
    tcp_connect(peer, initial_sequence(value, now_us), now_us)
    _peer_output(m, s, flow_index, now)
    arm(s, flow_index, REMOTE)


@compiled
def initial_sequence(value, now_us):
    """Return a connection's first number: a clock of 4 us and the hash of its 4-tuple (RFC 6528, section 3)."""
    return (value + now_us // 4) & 0xFFFFFFFF


@compiled
def peer_timeout(m, s, flow_index, now_us):
    """Run the remote end's expired timers at `now_us`."""
    flags = tcp_timeout(peer_of(s, flow_index), now_us)
    if flags & TCP_OUTPUT:
        _peer_output(m, s, flow_index, now_us * s.cycles_per_us)
    if flags & TCP_CLOSED:
        peer_of(s, flow_index).linger_deadline_us = 0


@compiled
def _peer_output(m, s, flow_index, now):
    peer = peer_of(s, flow_index)
    while tcp_output(peer, out_segment(s, REMOTE), now // s.cycles_per_us):
        _send(m, s, flow_index, now)


@compiled
def _send(m, s, flow_index, now):
    """Put the segment that was built on its way to the host."""
    flow = flow_of(s, flow_index)
    packet = take_packet(m, s)
    record = packet_of(s, packet)
    record.kind = PACKET
    record.flow = flow_index
    copy_segment(segment_of(s, packet), out_segment(s, REMOTE))
    send_to_host(m, flow.nic, now + flow.inbound_cycles, packet)


@compiled
def copy_segment(target, source):
    """Copy what TCP reads of a segment."""
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
