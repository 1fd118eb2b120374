"""The acknowledgment of a segment: what it acknowledges, and what it says about windows, round trips and losses.

RFC 9293, section 3.10.7.4 (check of the ACK field); RFC 5681; RFC 6298; RFC 6675, or RFC 8985 if the host keeps a scoreboard;
RFC 3168. Knows no state transition.
"""

from netstack.jit.compilation import compiled
from netstack.tcp.congestion import (
    DUPACK_THRESHOLD,
    enter_recovery,
    flight_size,
    leave_recovery,
    on_ack,
    on_congestion,
    on_partial_ack,
    repair,
)
from netstack.tcp.flags import TCP_ACKED, TCP_OUTPUT
from netstack.tcp.header import ECE
from netstack.tcp.options import timestamp
from netstack.tcp.probe import arm_probe, receive_probe_answer
from netstack.tcp.rack import (
    adapt_to_duplicates,
    is_recovering,
    leave_repaired,
    rack_acknowledge,
    rack_detect_loss,
    update_min_rtt,
)
from netstack.tcp.sack import sack_first_lost, sack_lost_again, sack_update
from netstack.tcp.scoreboard import mark_all_lost, rack_runs, scoreboard_at
from netstack.tcp.sequence import seq_add, seq_geq, seq_gt, seq_leq, seq_lt, seq_sub
from netstack.tcp.style import timeout_us

MAX_RTO_US = 64_000_000


@compiled
def receive_ack(pcb, segment, now_us):
    """Process the ACK field of an acceptable segment; return flags. The field is not beyond snd_max."""
    window = segment.window << pcb.snd_scale
    acked = seq_sub(segment.ack, pcb.snd_una)
    if acked < 0:
        return 0
    newly_sacked = 0
    by_time = rack_runs(pcb)
    if by_time:
        board = scoreboard_at(pcb.scoreboard_address, 0)
        rack_acknowledge(pcb, board, segment, now_us)
        newly_sacked = board.newly_sacked_bytes
    elif pcb.use_sack != 0 and (segment.sack_count > 0 or pcb.sacked_count > 0):
        newly_sacked = sack_update(pcb, segment)
    if acked == 0:
        return _receive_duplicate(pcb, segment, window, newly_sacked, now_us)
    pcb.snd_wnd = max(pcb.snd_wnd - acked, 0)  # its right edge stays unless the segment moves it
    _update_window(pcb, segment, window)
    measure(pcb, segment, now_us)
    pcb.rexmt_shift = 0
    pcb.unanswered_since_us = 0
    recovering = by_time and is_recovering(pcb)
    pcb.snd_una = segment.ack
    if seq_lt(pcb.snd_nxt, pcb.snd_una):
        pcb.snd_nxt = pcb.snd_una
    data = min(acked, pcb.send_buffered_bytes)  # a FIN is no byte of the buffer
    pcb.send_buffered_bytes -= data
    pcb.acked_bytes = data
    if pcb.in_recovery != 0:
        if seq_geq(segment.ack, pcb.snd_recover):
            leave_recovery(pcb, by_time)
            pcb.dupacks = 0
        else:
            on_partial_ack(pcb, acked)
            pcb.first_hole_max = pcb.snd_max
    else:
        pcb.dupacks = 0
        if seq_gt(segment.ack, pcb.snd_recover):
            pcb.snd_recover = seq_add(segment.ack, -1)  # follows, or 2**31 bytes later it would compare as ahead
        if segment.flags & ECE and pcb.use_ecn != 0 and seq_gt(segment.ack, pcb.ecn_recover):
            on_congestion(pcb, acked, now_us)
        else:
            on_ack(pcb, acked, now_us)
        if newly_sacked > 0 and not by_time:
            _notice_loss(pcb, now_us)
    if pcb.snd_una == pcb.snd_max:
        pcb.rexmt_deadline_us = 0
    else:
        pcb.rexmt_deadline_us = now_us + pcb.rto_us
    if by_time:
        _judge_by_time(pcb, segment, recovering, True, now_us)
    return TCP_ACKED | TCP_OUTPUT


@compiled
def _receive_duplicate(pcb, segment, window, newly_sacked, now_us):
    """Process an ACK of nothing new: a duplicate (RFC 5681, section 2; with SACK, RFC 6675, section 2) or a window update."""
    if rack_runs(pcb):
        window_before = pcb.snd_wnd
        flags = _reopen_window(pcb, segment, window)
        if newly_sacked > 0 and pcb.in_recovery == 0:
            _count_duplicate(pcb)
        moves = newly_sacked > 0 or segment.length > 0 or window != window_before
        lost = _judge_by_time(pcb, segment, False, moves, now_us)
        return flags | TCP_OUTPUT if lost or newly_sacked > 0 else flags
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
def _judge_by_time(pcb, segment, recovered, moves, now_us):
    """Judge the answer to a probe, find losses by what an ACK reports, and arm the next probe; return whether there are losses.

    `recovered` says that a recovery was going on before. `moves` is that of `receive_probe_answer` (RFC 8985, sections 6.2, 7.4).
    """
    board = scoreboard_at(pcb.scoreboard_address, 0)
    receive_probe_answer(pcb, board, segment, moves, now_us)
    adapt_to_duplicates(pcb, board)
    if recovered and not is_recovering(pcb):
        leave_repaired(board)
    lost = rack_detect_loss(pcb, board, now_us)
    if lost:
        begin_recovery_by_time(pcb, now_us)
    if moves:
        arm_probe(pcb, board, now_us)
    return lost


@compiled
def begin_recovery_by_time(pcb, now_us):
    """Reduce the window for a loss found by time, unless a repair of the same window is going on (RFC 8985, section 9)."""
    if pcb.in_recovery == 0 and seq_geq(pcb.snd_una, pcb.snd_recover):
        enter_recovery(pcb, now_us)


@compiled
def _count_duplicate(pcb):
    if pcb.dupacks == 0:
        pcb.flight_before_dupacks = flight_size(pcb)
    pcb.dupacks += 1


@compiled
def _notice_loss(pcb, now_us):
    """Begin a recovery if the scoreboard shows a loss, but only once per window (RFC 6675, section 5)."""
    lost = pcb.dupacks >= DUPACK_THRESHOLD or sack_first_lost(pcb)
    if lost and pcb.in_recovery == 0 and seq_gt(pcb.snd_una, pcb.snd_recover):
        enter_recovery(pcb, now_us)


@compiled
def _reopen_window(pcb, segment, window):
    """Take the window of an ACK of nothing new; return TCP_OUTPUT if it became larger."""
    before = pcb.snd_wnd
    _update_window(pcb, segment, window)
    if pcb.snd_wnd <= before:
        return 0
    if before == 0:
        send_again(pcb)  # a probe was sent, and dropped
    return TCP_OUTPUT


@compiled
def send_again(pcb):
    """Send all that is outstanding again as if for the first time: none of it is a sign of congestion."""
    if rack_runs(pcb):
        mark_all_lost(pcb, scoreboard_at(pcb.scoreboard_address, 0))
    else:
        pcb.snd_nxt = pcb.snd_una


@compiled
def _update_window(pcb, segment, window):
    """Take the window unless a later segment has set it already (SND.WL1 of RFC 9293, section 3.10.7.4).

    SND.WL2 is not needed: a segment that acknowledges less than an earlier one has been dropped.
    """
    if seq_leq(pcb.snd_wl1, segment.seq):
        pcb.snd_wnd = window
        pcb.max_snd_wnd = max(pcb.max_snd_wnd, window)
        pcb.snd_wl1 = segment.seq


@compiled
def measure(pcb, segment, now_us):
    """Take a round-trip time: of the timed segment if there is one, else from the time stamp that the ACK echoes."""
    if pcb.timed_at_us != 0:
        if seq_gt(segment.ack, pcb.timed_seq):
            rtt_us = max(now_us - pcb.timed_at_us, 1)
            tcp_rtt_update(pcb, rtt_us)
            if rack_runs(pcb):
                update_min_rtt(scoreboard_at(pcb.scoreboard_address, 0), rtt_us, now_us)
            pcb.timed_at_us = 0
    elif segment.has_timestamps != 0 and segment.ts_ecr != 0 and pcb.use_timestamps != 0:
        elapsed = seq_sub(timestamp(pcb, now_us), segment.ts_ecr) * pcb.timestamp_unit_us
        tcp_rtt_update(pcb, max(elapsed, 1))


@compiled
def tcp_rtt_update(pcb, rtt_us):
    """Update the retransmission timeout by one RTT sample in us (RFC 6298, section 2)."""
    if pcb.srtt_us == 0:
        pcb.srtt_us = rtt_us
        pcb.rttvar_us = rtt_us // 2
    else:
        pcb.rttvar_us += (abs(pcb.srtt_us - rtt_us) - pcb.rttvar_us) // 4
        pcb.srtt_us += (rtt_us - pcb.srtt_us) // 8
    pcb.rto_us = min(timeout_us(pcb), MAX_RTO_US)
