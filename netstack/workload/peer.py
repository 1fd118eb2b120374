"""The remote ends of all connections: the same TCP, free of charge, at a random distance.

A frame is processed when it is sent, with the time of its arrival as now; order within a connection is kept, because the link
keeps it. Knows nothing of the machine but its NICs.
"""

from netstack.compilation import compiled
from netstack.machine.nic import send_to_host
from netstack.tcp.flags import TCP_OUTPUT
from netstack.tcp.input import tcp_input
from netstack.tcp.output import tcp_output
from netstack.tcp.timers import tcp_timeout
from netstack.workload.state import PACKET, REMOTE, flow_of, out_segment, packet_of, peer_of, segment_of, take_packet
from netstack.workload.timers import arm


@compiled
def peer_receive(m, s, flow_index, segment, now):
    """Deliver a segment to the remote end, whose last bit left the host at `now` cycles; send its answers on their way."""
    flow = flow_of(s, flow_index)
    arrival = now + flow.outbound_cycles
    now_us = arrival // s.cycles_per_us
    peer = peer_of(s, flow_index)
    if 0 < peer.delack_deadline_us <= now_us:
        peer_timeout(m, s, flow_index, peer.delack_deadline_us)
    flags = tcp_input(peer, segment, now_us)
    if flags & TCP_OUTPUT:
        _peer_output(m, s, flow_index, arrival)
    arm(s, flow_index, REMOTE)


@compiled
def peer_timeout(m, s, flow_index, now_us):
    """Run the remote end's expired timers at `now_us`."""
    if tcp_timeout(peer_of(s, flow_index), now_us) & TCP_OUTPUT:
        _peer_output(m, s, flow_index, now_us * s.cycles_per_us)


@compiled
def _peer_output(m, s, flow_index, now):
    peer = peer_of(s, flow_index)
    flow = flow_of(s, flow_index)
    while tcp_output(peer, out_segment(s, REMOTE), now // s.cycles_per_us):
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
