"""Which received frames are joined to one packet: by segments alone, at no cost. The stack sees a legal segment, only longer.

Source: dev_gro_receive() and tcp_gro_receive() of Linux.
"""

from netstack.jit.compilation import compiled
from netstack.sim.stack.state import HELD, free_item, held_of, item_of, segment_of
from netstack.tcp.header import ACK, PSH
from netstack.tcp.sequence import seq_add

TIMESTAMP_UNITS = 1000  # senders of frames that are joined have a clock of 1 ms, those that are simulated one of 1 us


@compiled
def join_or_hold(stack, nic, packet):
    """Join a frame to the packet of its connection that a queue holds, or hold it; return a packet that must go up now, or -1."""
    place = _place_of(stack, nic, item_of(stack, packet).flow)
    if place < 0:
        if not _is_data(segment_of(stack, packet)) or segment_of(stack, packet).flags & PSH:
            return packet
        place = _free_place(stack, nic)
        return _replace(stack, nic, place, packet, 0)
    held = held_of(stack, nic, place)
    if not _follows(stack, held, packet):
        ends = not _is_data(segment_of(stack, packet)) or segment_of(stack, packet).flags & PSH != 0
        return _replace(stack, nic, place, packet, ends)
    _join(stack, held, packet)
    return -1


@compiled
def _place_of(stack, nic, flow_index):
    """Return which of the packets that a queue holds is of a connection, -1 for none."""
    for place in range(HELD):
        item = held_of(stack, nic, place).item
        if item >= 0 and item_of(stack, item).flow == flow_index:
            return place
    return -1


@compiled
def _is_data(segment):
    """Return whether a segment has payload and no more to say than an acknowledgment."""
    return segment.length > 0 and segment.flags & ~PSH == ACK


@compiled
def _follows(stack, held, packet):
    """Return whether a frame goes on where a packet ends, with the same header otherwise."""
    segment = segment_of(stack, packet)
    before = segment_of(stack, held.item)
    return (
        held.closed == 0
        and _is_data(segment)
        and segment.seq == seq_add(before.seq, before.length)
        and segment.ack == before.ack
        and segment.window == before.window
        and segment.length <= held.segment_bytes
        and before.length + segment.length <= stack.aggregate_bytes
        and segment.ts_val // TIMESTAMP_UNITS == before.ts_val // TIMESTAMP_UNITS
        and segment.ts_ecr // TIMESTAMP_UNITS == before.ts_ecr // TIMESTAMP_UNITS
        and segment.source_port == before.source_port
    )


@compiled
def _join(stack, held, packet):
    """Join a frame to a packet that is held. A shorter one, or one that its sender pushes, is the last."""
    segment = segment_of(stack, packet)
    before = segment_of(stack, held.item)
    before.length += segment.length
    before.flags |= segment.flags
    if segment.length < held.segment_bytes or segment.flags & PSH:
        held.closed = 1
    stack.merged_frames += 1
    free_item(stack, packet)


@compiled
def _replace(stack, nic, place, packet, closed):
    """Hold a packet in a place; return the one that was there, -1 for none."""
    held = held_of(stack, nic, place)
    out = held.item
    stack.held_next += 1
    held.item = packet
    held.segment_bytes = segment_of(stack, packet).length
    held.order = stack.held_next
    held.closed = closed
    return out


@compiled
def _free_place(stack, nic):
    """Return a place where a queue holds no packet, or the place of the oldest one."""
    oldest = 0
    for place in range(HELD):
        if held_of(stack, nic, place).item < 0:
            return place
        if held_of(stack, nic, place).order < held_of(stack, nic, oldest).order:
            oldest = place
    return oldest


@compiled
def take_closed(stack, nic):
    """Take the oldest packet that a queue holds to which nothing is joined any more; return it, -1 for none."""
    return _take_oldest(stack, nic, 1)


@compiled
def pass_on(stack, nic):
    """At the end of a poll, take the oldest packet that a queue holds; return it, -1 for none."""
    return _take_oldest(stack, nic, 0)


@compiled
def _take_oldest(stack, nic, closed):
    found = -1
    for place in range(HELD):
        held = held_of(stack, nic, place)
        if held.item >= 0 and held.closed >= closed and (found < 0 or held.order < held_of(stack, nic, found).order):
            found = place
    if found < 0:
        return -1
    packet = held_of(stack, nic, found).item
    held_of(stack, nic, found).item = -1
    return packet
