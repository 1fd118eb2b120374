"""Received data: which part of a segment is new, which can be delivered, and when to acknowledge it.

RFC 9293, sections 3.10.7.4 and 3.8.6.3; RFC 5681, section 4.2. Payload bytes belong to the host.
"""

import numpy as np

from netstack.jit.compilation import compiled
from netstack.tcp.flags import TCP_DELAYED_ACK, TCP_DELIVERED, TCP_FINISHED, TCP_OUTPUT
from netstack.tcp.header import FIN
from netstack.tcp.pcb import cold_of
from netstack.tcp.ranges import drop_ranges_below, find_range, insert_range
from netstack.tcp.sack import note_duplicate
from netstack.tcp.sequence import seq_add, seq_geq, seq_gt, seq_leq, seq_lt, seq_sub
from netstack.tcp.style import FREEBSD, delays_ack, note_duplicate_received, note_received, use_quick_ack

MAX_WINDOW = 65535  # before scaling


@compiled
def receive_window(pcb):
    """Return how many bytes from rcv_nxt on are accepted: what was announced, which is never taken back, and no more.

    There may be room for less than is worth announcing. To take it, byte by byte from probes and in pieces from segments that
    are sent again, would bring the silly windows back that `announced_window` avoids. FreeBSD takes what there is room for.
    """
    announced = max(seq_sub(pcb.rcv_adv, pcb.rcv_nxt), 0)
    if pcb.style == FREEBSD:
        return max(min(pcb.rcv_wnd, MAX_WINDOW << pcb.rcv_scale), announced)
    return announced


@compiled
def announced_window(pcb):
    """Return the window to announce in bytes; it grows by a segment at least (RFC 9293, section 3.8.6.2.2)."""
    announced = seq_sub(pcb.rcv_adv, pcb.rcv_nxt)
    if pcb.style == FREEBSD:  # any growth, unless the room is less than a segment
        room = 0 if pcb.rcv_wnd < min(pcb.receive_buffer_bytes // 4, pcb.mss) else pcb.rcv_wnd
        return max(room, announced)
    if pcb.rcv_wnd - announced < min(pcb.mss, pcb.receive_buffer_bytes // 2):
        return max(announced, 0)
    return pcb.rcv_wnd


@compiled
def receive_data(pcb, segment, now_us):
    """Take the payload of a segment, and its FIN as one more byte; return flags."""
    cold = cold_of(pcb)
    start = segment.seq
    end = seq_add(start, segment.length)
    window_end = seq_add(pcb.rcv_nxt, receive_window(pcb))
    if segment.flags & FIN and _accept_fin(pcb, end, window_end):
        window_end = seq_add(window_end, 1)  # it takes no room
        end = seq_add(end, 1)
    elif pcb.fin_received != 0 and seq_gt(end, pcb.peer_fin_seq):
        end = pcb.peer_fin_seq  # nothing comes after a FIN
    if pcb.scoreboard_address != 0:
        _note_duplicates(pcb, start, end)
    if seq_leq(end, pcb.rcv_nxt) or seq_geq(start, window_end) or seq_leq(end, start) or _is_probe(pcb, start, end):
        pcb.ack_now = 1  # a duplicate, beyond the window or beyond a FIN, or a probe
        note_duplicate_received(pcb)
        return TCP_OUTPUT
    if seq_gt(end, window_end):
        end = window_end
    if seq_gt(start, pcb.rcv_nxt):
        pcb.ack_now = 1  # RFC 5681, section 4.2: a duplicate ACK at once
        count = insert_range(cold.reordered_start, cold.reordered_end, pcb.reordered_count, start, end)
        pcb.reordered_count = count
        _remember(pcb, start)
        if find_range(cold.reordered_start, cold.reordered_end, count, start) >= 0:
            _accept(pcb, start, end)
        elif segment.flags & FIN:
            pcb.fin_received = 0
        return TCP_OUTPUT
    before = pcb.rcv_nxt
    had_hole = pcb.reordered_count > 0
    _accept(pcb, before, end)
    pcb.rcv_nxt = end
    if had_hole:
        index = find_range(cold.reordered_start, cold.reordered_end, pcb.reordered_count, end)
        if index >= 0:
            pcb.rcv_nxt = cold.reordered_end[index]
        pcb.reordered_count = drop_ranges_below(cold.reordered_start, cold.reordered_end, pcb.reordered_count, pcb.rcv_nxt)
    if _deliver(pcb, before):
        return TCP_OUTPUT | TCP_FINISHED | (TCP_DELIVERED if pcb.delivered_bytes > 0 else 0)
    pcb.unacked_segments += 1
    note_received(pcb, segment.length, now_us)
    waits = delays_ack(pcb, seq_sub(pcb.rcv_nxt, pcb.last_ack_sent))
    if had_hole or not waits or pcb.delayed_ack_us == 0 or segment.length > pcb.mss:
        use_quick_ack(pcb)
        pcb.ack_now = 1
        return TCP_OUTPUT | TCP_DELIVERED
    pcb.delack_deadline_us = now_us + pcb.delayed_ack_us
    return TCP_DELAYED_ACK | TCP_DELIVERED


@compiled
def _is_probe(pcb, start, end):
    """Return whether a segment probes a window that is shut for its sender: one byte, where the scale cuts off what is left."""
    alone = start == pcb.rcv_nxt and seq_sub(end, start) == 1 and pcb.fin_received == 0
    return alone and announced_window(pcb) >> pcb.rcv_scale == 0 and pcb.style != FREEBSD


@compiled
def _deliver(pcb, before):
    """Deliver from `before` to rcv_nxt; return whether the peer's FIN is among it."""
    pcb.delivered_bytes = seq_sub(pcb.rcv_nxt, before)
    if pcb.fin_received == 0 or seq_leq(pcb.rcv_nxt, pcb.peer_fin_seq):
        return False
    pcb.delivered_bytes -= 1
    pcb.rcv_adv = seq_add(pcb.rcv_adv, 1)  # it took no room
    pcb.ack_now = 1
    return True


@compiled
def hold_data(pcb, segment):
    """Hold the payload of a SYN until the connection is established (RFC 9293, sections 3.10.7.2 and 3.10.7.3)."""
    cold = cold_of(pcb)
    count = min(segment.length, min(pcb.rcv_wnd, MAX_WINDOW))
    if count > 0:
        cold.reordered_start[0] = pcb.rcv_nxt
        cold.reordered_end[0] = seq_add(pcb.rcv_nxt, count)
        pcb.reordered_count = 1
        pcb.accepted_seq = pcb.rcv_nxt
        pcb.accepted_bytes = count


@compiled
def deliver_held(pcb):
    """Deliver what the SYN brought, and what follows it, once the connection is established; return flags."""
    cold = cold_of(pcb)
    if pcb.reordered_count == 0 or cold.reordered_start[0] != pcb.rcv_nxt:
        return 0
    before = pcb.rcv_nxt
    pcb.rcv_nxt = cold.reordered_end[0]
    pcb.reordered_count = drop_ranges_below(cold.reordered_start, cold.reordered_end, pcb.reordered_count, pcb.rcv_nxt)
    pcb.ack_now = 1
    return TCP_OUTPUT | TCP_DELIVERED | (TCP_FINISHED if _deliver(pcb, before) else 0)


@compiled
def _note_duplicates(pcb, start, end):
    """Report the first part of a segment that was received before: below rcv_nxt, or within a range (RFC 2883, section 4)."""
    cold = cold_of(pcb)
    if seq_lt(start, pcb.rcv_nxt):
        note_duplicate(pcb, start, end if seq_lt(end, pcb.rcv_nxt) else pcb.rcv_nxt)
        return
    for index in range(pcb.reordered_count):
        first = cold.reordered_start[index] if seq_lt(start, cold.reordered_start[index]) else start
        last = cold.reordered_end[index] if seq_gt(end, cold.reordered_end[index]) else end
        if seq_lt(first, last):
            note_duplicate(pcb, first, last)
            return


@compiled
def _remember(pcb, seq):
    """Put the range that contains `seq` before those that changed earlier, for the order of SACK blocks."""
    cold = cold_of(pcb)
    index = find_range(cold.reordered_start, cold.reordered_end, pcb.reordered_count, seq)
    for place in range(len(cold.recent_seqs)):
        earlier = np.int64(cold.recent_seqs[place])
        cold.recent_seqs[place] = seq
        if find_range(cold.reordered_start, cold.reordered_end, pcb.reordered_count, earlier) == index:
            return  # it moved to the front
        seq = earlier


@compiled
def _accept_fin(pcb, seq, window_end):
    """Note a FIN at `seq`; return whether it can end the stream: the first one, within the window, and behind all data."""
    if pcb.fin_received != 0:
        return seq == pcb.peer_fin_seq
    if seq_gt(seq, window_end) or seq_lt(seq, pcb.rcv_nxt):
        return False
    if pcb.reordered_count > 0 and seq_gt(cold_of(pcb).reordered_end[pcb.reordered_count - 1], seq):
        return False
    pcb.fin_received = 1
    pcb.peer_fin_seq = seq
    return True


@compiled
def _accept(pcb, start, end):
    """Set which payload the host takes as new. A FIN is no payload."""
    if pcb.fin_received != 0 and seq_gt(end, pcb.peer_fin_seq):
        end = pcb.peer_fin_seq
    pcb.accepted_seq = start
    pcb.accepted_bytes = max(seq_sub(end, start), 0)
