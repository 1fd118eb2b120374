"""Input of segments in the established state (RFC 9293, section 3.10.7.4; RFC 5681; RFC 6298; RFC 7323).

Moves sequence numbers and windows; payload bytes belong to the host. The receiving application takes data at once.
"""

from netstack.compilation import compiled
from netstack.tcp.congestion import DUPACK_THRESHOLD, enter_recovery, leave_recovery, on_ack, on_partial_ack
from netstack.tcp.header import ACK, RST, SYN
from netstack.tcp.pcb import MAX_REORDERED
from netstack.tcp.sequence import seq_add, seq_geq, seq_gt, seq_leq, seq_lt, seq_sub

TCP_ACKED, TCP_OUTPUT, TCP_DELAYED_ACK, TCP_DELIVERED = 1, 2, 4, 8
MAX_RTO_US = 64_000_000


@compiled
def tcp_input(pcb, segment, now_us):
    """Process one segment at `now_us`; return a union of flags.

    TCP_ACKED: `pcb.acked_bytes` were newly acknowledged and left the send buffer. TCP_OUTPUT: call `tcp_output` until it
    has nothing more. TCP_DELAYED_ACK: the delayed-ACK timer was started. TCP_DELIVERED: `pcb.delivered_bytes` arrived in order.
    """
    pcb.acked_bytes = 0
    pcb.delivered_bytes = 0
    if segment.flags & (SYN | RST) or not segment.flags & ACK:
        return 0
    if seq_gt(segment.ack, pcb.snd_max):
        pcb.ack_now = 1  # acknowledges what was never sent
        return TCP_OUTPUT
    flags = 0
    if segment.has_timestamps != 0:
        if seq_lt(segment.ts_val, pcb.ts_recent):  # PAWS (RFC 7323, section 5.3)
            if segment.length == 0:
                return 0  # without an answer, as BSD does: two ends must not acknowledge each other's ACKs
            pcb.ack_now = 1
            return TCP_OUTPUT
        if seq_leq(segment.seq, pcb.last_ack_sent):
            pcb.ts_recent = segment.ts_val
    if segment.length > 0:
        flags |= _receive_data(pcb, segment, now_us)
    return flags | _receive_ack(pcb, segment, now_us)


@compiled
def _receive_ack(pcb, segment, now_us):
    window = segment.window << pcb.snd_scale
    acked = seq_sub(segment.ack, pcb.snd_una)
    if acked < 0:
        return 0
    if acked == 0:
        return _receive_duplicate(pcb, segment, window)
    _update_window(pcb, segment, window)
    if segment.has_timestamps != 0 and segment.ts_ecr != 0:
        tcp_rtt_update(pcb, max(seq_sub(now_us & 0xFFFFFFFF, segment.ts_ecr), 1))
    pcb.rexmt_shift = 0
    pcb.snd_una = segment.ack
    if seq_lt(pcb.snd_nxt, pcb.snd_una):
        pcb.snd_nxt = pcb.snd_una
    pcb.send_buffered_bytes -= acked
    pcb.acked_bytes = acked
    if pcb.in_recovery != 0:
        if seq_geq(segment.ack, pcb.snd_recover):
            leave_recovery(pcb)
            pcb.dupacks = 0
        else:
            on_partial_ack(pcb, acked)
    else:
        pcb.dupacks = 0
        if seq_gt(segment.ack, pcb.snd_recover):
            pcb.snd_recover = seq_add(segment.ack, -1)  # follows, or it looks like one ahead 2**31 bytes later
        on_ack(pcb, acked)
    if pcb.snd_una == pcb.snd_max:
        pcb.rexmt_deadline_us = 0
    else:
        pcb.rexmt_deadline_us = now_us + pcb.rto_us
    return TCP_ACKED | TCP_OUTPUT


@compiled
def _receive_duplicate(pcb, segment, window):
    """An ACK that moves nothing: a duplicate (RFC 5681, section 2) or a window update."""
    if segment.length > 0 or window != pcb.snd_wnd or window == 0 or pcb.snd_una == pcb.snd_max:
        before = pcb.snd_wnd
        _update_window(pcb, segment, window)
        if pcb.snd_wnd <= before:
            return 0
        if before == 0:
            pcb.snd_nxt = pcb.snd_una  # a probe was sent, and dropped
        return TCP_OUTPUT
    pcb.dupacks += 1
    if pcb.in_recovery != 0:
        pcb.snd_cwnd += pcb.mss
        return TCP_OUTPUT
    if pcb.dupacks == DUPACK_THRESHOLD and seq_gt(pcb.snd_una, pcb.snd_recover):
        enter_recovery(pcb)
        return TCP_OUTPUT
    return 0


@compiled
def _update_window(pcb, segment, window):
    """Take the window unless a later segment has set it already (SND.WL1 of RFC 9293, section 3.10.7.4).

    SND.WL2 is not needed: what acknowledges less than an earlier segment did has been dropped.
    """
    if seq_leq(pcb.snd_wl1, segment.seq):
        pcb.snd_wnd = window
        pcb.max_snd_wnd = max(pcb.max_snd_wnd, window)
        pcb.snd_wl1 = segment.seq


@compiled
def tcp_rtt_update(pcb, rtt_us):
    """Take one RTT sample in us into the retransmission timeout (RFC 6298, section 2)."""
    if pcb.srtt_us == 0:
        pcb.srtt_us = rtt_us
        pcb.rttvar_us = rtt_us // 2
    else:
        pcb.rttvar_us += (abs(pcb.srtt_us - rtt_us) - pcb.rttvar_us) // 4
        pcb.srtt_us += (rtt_us - pcb.srtt_us) // 8
    pcb.rto_us = min(max(pcb.srtt_us + max(4 * pcb.rttvar_us, 1), pcb.min_rto_us), MAX_RTO_US)


@compiled
def _receive_data(pcb, segment, now_us):
    start = segment.seq
    end = seq_add(start, segment.length)
    window_end = seq_add(pcb.rcv_nxt, pcb.rcv_wnd)
    if seq_leq(end, pcb.rcv_nxt) or seq_geq(start, window_end):
        pcb.ack_now = 1  # a duplicate, or beyond the window
        return TCP_OUTPUT
    if seq_gt(end, window_end):
        end = window_end
    if seq_gt(start, pcb.rcv_nxt):
        _remember_range(pcb, start, end)
        pcb.ack_now = 1  # RFC 5681, section 4.2: a duplicate ACK at once
        return TCP_OUTPUT
    before = pcb.rcv_nxt
    had_hole = pcb.reordered_count > 0
    pcb.rcv_nxt = end
    _take_ranges(pcb)
    pcb.delivered_bytes = seq_sub(pcb.rcv_nxt, before)
    pcb.unacked_segments += 1
    if had_hole or pcb.unacked_segments >= 2 or pcb.delayed_ack_us == 0:
        pcb.ack_now = 1
        return TCP_OUTPUT | TCP_DELIVERED
    pcb.delack_deadline_us = now_us + pcb.delayed_ack_us
    return TCP_DELAYED_ACK | TCP_DELIVERED


@compiled
def _remember_range(pcb, start, end):
    """Insert a range of out-of-order data, merged with those it touches; when all places are taken it is forgotten."""
    kept = 0
    for index in range(pcb.reordered_count):
        old_start = pcb.reordered_start[index]
        old_end = pcb.reordered_end[index]
        if seq_lt(old_end, start) or seq_gt(old_start, end):
            pcb.reordered_start[kept] = old_start
            pcb.reordered_end[kept] = old_end
            kept += 1
        else:
            if seq_lt(old_start, start):
                start = old_start
            if seq_gt(old_end, end):
                end = old_end
    if kept < MAX_REORDERED:
        pcb.reordered_start[kept] = start
        pcb.reordered_end[kept] = end
        kept += 1
    pcb.reordered_count = kept


@compiled
def _take_ranges(pcb):
    """Advance rcv_nxt over remembered ranges that it reached."""
    advanced = True
    while advanced:
        advanced = False
        kept = 0
        for index in range(pcb.reordered_count):
            start = pcb.reordered_start[index]
            end = pcb.reordered_end[index]
            if seq_leq(start, pcb.rcv_nxt):
                if seq_gt(end, pcb.rcv_nxt):
                    pcb.rcv_nxt = end
                    advanced = True
            else:
                pcb.reordered_start[kept] = start
                pcb.reordered_end[kept] = end
                kept += 1
        pcb.reordered_count = kept
