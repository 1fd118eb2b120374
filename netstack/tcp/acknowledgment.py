"""The acknowledgment of a segment: what it moves, what it says of windows, round trips and losses.

RFC 9293, section 3.10.7.4 (check of the ACK field); RFC 5681; RFC 6298; RFC 6675; RFC 3168. Knows no state transition.
"""

from netstack.compilation import compiled
from netstack.tcp.congestion import (
    DUPACK_THRESHOLD,
    enter_recovery,
    flight_size,
    leave_recovery,
    on_ack,
    on_congestion_mark,
    on_partial_ack,
    repair,
)
from netstack.tcp.flags import TCP_ACKED, TCP_OUTPUT
from netstack.tcp.header import ECE
from netstack.tcp.sack import sack_first_lost, sack_lost_again, sack_update
from netstack.tcp.sequence import seq_add, seq_geq, seq_gt, seq_leq, seq_lt, seq_sub

MAX_RTO_US = 64_000_000


@compiled
def receive_ack(pcb, segment, now_us):
    """Process the ACK field of an acceptable segment, which is not beyond snd_max; return flags."""
    window = segment.window << pcb.snd_scale
    acked = seq_sub(segment.ack, pcb.snd_una)
    if acked < 0:
        return 0
    newly_sacked = 0
    if pcb.use_sack != 0 and (segment.sack_count > 0 or pcb.sacked_count > 0):
        newly_sacked = sack_update(pcb, segment)
    if acked == 0:
        return _receive_duplicate(pcb, segment, window, newly_sacked, now_us)
    pcb.snd_wnd = max(pcb.snd_wnd - acked, 0)  # its right edge stays, unless the segment moves it
    _update_window(pcb, segment, window)
    measure(pcb, segment, now_us)
    pcb.rexmt_shift = 0
    pcb.unanswered_since_us = 0
    pcb.snd_una = segment.ack
    if seq_lt(pcb.snd_nxt, pcb.snd_una):
        pcb.snd_nxt = pcb.snd_una
    data = min(acked, pcb.send_buffered_bytes)  # a FIN is no byte of the buffer
    pcb.send_buffered_bytes -= data
    pcb.acked_bytes = data
    if pcb.in_recovery != 0:
        if seq_geq(segment.ack, pcb.snd_recover):
            leave_recovery(pcb)
            pcb.dupacks = 0
        else:
            on_partial_ack(pcb, acked)
            pcb.first_hole_max = pcb.snd_max
    else:
        pcb.dupacks = 0
        if seq_gt(segment.ack, pcb.snd_recover):
            pcb.snd_recover = seq_add(segment.ack, -1)  # follows, or it looks like one ahead 2**31 bytes later
        if segment.flags & ECE and pcb.use_ecn != 0 and seq_gt(segment.ack, pcb.ecn_recover):
            on_congestion_mark(pcb, acked, now_us)
        else:
            on_ack(pcb, acked, now_us)
        if newly_sacked > 0:
            _notice_loss(pcb, now_us)
    if pcb.snd_una == pcb.snd_max:
        pcb.rexmt_deadline_us = 0
    else:
        pcb.rexmt_deadline_us = now_us + pcb.rto_us
    return TCP_ACKED | TCP_OUTPUT


@compiled
def _receive_duplicate(pcb, segment, window, newly_sacked, now_us):
    """An ACK that moves nothing: a duplicate (RFC 5681, section 2; with SACK, RFC 6675, section 2) or a window update."""
    if pcb.use_sack != 0:
        flags = _reopen_window(pcb, segment, window)
        if newly_sacked == 0:
            return flags
        if pcb.in_recovery == 0:
            _count_duplicate(pcb)
            _notice_loss(pcb, now_us)
        elif sack_lost_again(pcb):
            repair(pcb)
        return TCP_OUTPUT
    if segment.length > 0 or window != pcb.snd_wnd or window == 0 or pcb.snd_una == pcb.snd_max:
        return _reopen_window(pcb, segment, window)
    _count_duplicate(pcb)
    if pcb.in_recovery != 0:
        pcb.snd_cwnd += pcb.mss
    elif pcb.dupacks == DUPACK_THRESHOLD and seq_gt(pcb.snd_una, pcb.snd_recover):
        enter_recovery(pcb, now_us)
    elif pcb.dupacks >= DUPACK_THRESHOLD:
        return 0
    return TCP_OUTPUT


@compiled
def _count_duplicate(pcb):
    if pcb.dupacks == 0:
        pcb.flight_before_dupacks = flight_size(pcb)
    pcb.dupacks += 1


@compiled
def _notice_loss(pcb, now_us):
    """Begin a recovery when the scoreboard shows a loss, but not a second time for the same window (RFC 6675, section 5)."""
    lost = pcb.dupacks >= DUPACK_THRESHOLD or sack_first_lost(pcb)
    if lost and pcb.in_recovery == 0 and seq_gt(pcb.snd_una, pcb.snd_recover):
        enter_recovery(pcb, now_us)


@compiled
def _reopen_window(pcb, segment, window):
    """Take the window of an ACK that moves nothing; return TCP_OUTPUT if it became larger."""
    before = pcb.snd_wnd
    _update_window(pcb, segment, window)
    if pcb.snd_wnd <= before:
        return 0
    if before == 0:
        pcb.snd_nxt = pcb.snd_una  # a probe was sent, and dropped
    return TCP_OUTPUT


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
def measure(pcb, segment, now_us):
    """Take a round-trip time: of the segment that is timed, else from the echoed time stamp if its clock is fine enough."""
    if pcb.timed_at_us != 0:
        if seq_gt(segment.ack, pcb.timed_seq):
            tcp_rtt_update(pcb, max(now_us - pcb.timed_at_us, 1))
            pcb.timed_at_us = 0
    elif segment.has_timestamps != 0 and segment.ts_ecr != 0 and pcb.use_timestamps != 0:
        elapsed = seq_sub(timestamp(pcb, now_us), segment.ts_ecr) * pcb.timestamp_unit_us
        tcp_rtt_update(pcb, max(elapsed, 1))


@compiled
def timestamp(pcb, now_us):
    """Return the value of the time stamp clock at `now_us` (RFC 7323, section 5.4)."""
    ticks = now_us if pcb.timestamp_unit_us == 1 else now_us // pcb.timestamp_unit_us
    return (ticks + pcb.timestamp_offset) & 0xFFFFFFFF


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
