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
from netstack.tcp.pcb import cold_of
from netstack.tcp.probe import arm_probe, receive_probe_answer
from netstack.tcp.rack import adapt_to_duplicates, rack_acknowledge, update_min_rtt
from netstack.tcp.recovery import acknowledge_duplicates, react, repeat_all, tail_was_lost
from netstack.tcp.sack import sack_first_lost, sack_lost_again, sack_update
from netstack.tcp.scoreboard import count_runs, rack_runs, scoreboard_at
from netstack.tcp.sequence import seq_add, seq_geq, seq_gt, seq_lt, seq_sub
from netstack.tcp.style import takes_window, timeout_us

MAX_RTO_US = 64_000_000


@compiled
def receive_ack(pcb, segment, now_us):
    """Process the ACK field of an acceptable segment; return flags. The field is not beyond snd_max."""
    window = segment.window << pcb.snd_scale
    acked = seq_sub(segment.ack, pcb.snd_una)
    newly_sacked = 0
    if rack_runs(pcb):
        return _receive_by_record(pcb, scoreboard_at(pcb.scoreboard_address, 0), segment, acked, window, now_us)
    if acked < 0:
        return 0
    if pcb.use_sack != 0 and (segment.sack_count > 0 or pcb.sacked_count > 0):
        newly_sacked = sack_update(pcb, segment)
    if acked == 0:
        return _receive_duplicate(pcb, segment, window, newly_sacked, now_us)
    measure(pcb, segment, now_us)
    _advance(pcb, segment, acked, window)
    if pcb.in_recovery != 0:
        if seq_geq(segment.ack, pcb.snd_recover):
            leave_recovery(pcb)
            pcb.dupacks = 0
        else:
            on_partial_ack(pcb, acked)
            cold_of(pcb).first_hole_max = pcb.snd_max
    else:
        pcb.dupacks = 0
        if seq_gt(segment.ack, pcb.snd_recover):
            pcb.snd_recover = seq_add(segment.ack, -1)  # follows, or 2**31 bytes later it would compare as ahead
        heeds_marks = pcb.use_ecn != 0 and seq_gt(segment.ack, pcb.ecn_recover)
        if heeds_marks:
            pcb.ecn_recover = seq_add(segment.ack, -1)  # for the same reason
        if heeds_marks and segment.flags & ECE:
            on_congestion(pcb, acked, now_us)
        else:
            on_ack(pcb, acked, now_us)
        if newly_sacked > 0:
            _notice_loss(pcb, now_us)
    _restart_timer(pcb, now_us)
    return TCP_ACKED | TCP_OUTPUT


@compiled
def _advance(pcb, segment, acked, window):
    """Take what an ACK newly acknowledges out of the send buffer, and its window.

    It is the peer's latest word, even if it came with an older segment: nobody acknowledges less than before. A forged ACK with a
    later number, which would keep every window out until the peer sends data (SND.WL1), is so forgotten.
    """
    _set_window(pcb, segment, window)
    pcb.rexmt_shift = 0
    pcb.unanswered_since_us = 0
    pcb.snd_una = segment.ack
    if seq_lt(pcb.snd_nxt, pcb.snd_una):
        pcb.snd_nxt = pcb.snd_una
    data = min(acked, pcb.send_buffered_bytes)  # a FIN is no byte of the buffer
    pcb.send_buffered_bytes -= data
    pcb.acked_bytes = data


@compiled
def _restart_timer(pcb, now_us):
    pcb.rexmt_deadline_us = 0 if pcb.snd_una == pcb.snd_max else now_us + pcb.rto_us


@compiled
def _receive_by_record(pcb, board, segment, acked, window, now_us):
    """Process an ACK with the record of transmissions; return flags."""
    if acked < 0 and (segment.sack_count == 0 or pcb.use_sack == 0):
        return 0
    outstanding = pcb.snd_una != pcb.snd_max
    window_before = pcb.snd_wnd
    rack_acknowledge(pcb, board, segment, now_us)
    board.acked_bytes = max(acked, 0)
    board.advanced = 1 if acked > 0 else 0
    if board.sample_us > 0:
        tcp_rtt_update(pcb, board.sample_us)
        pcb.timed_at_us = 0
    flags = 0
    if acked > 0:
        if board.sample_us == 0:
            measure(pcb, segment, now_us)
        _advance(pcb, segment, acked, window)
        flags = TCP_ACKED | TCP_OUTPUT
        if pcb.use_sack == 0:
            acknowledge_duplicates(pcb, board)
    elif acked == 0:
        flags = _reopen_window(pcb, segment, window)
    count_runs(pcb, board)
    if acked < 0:  # late itself, but it may report what no other ACK does
        if board.newly_sacked != 0 or board.dsack_received != 0:
            adapt_to_duplicates(pcb, board)
            react(pcb, board, segment, False, False, now_us)
            return TCP_OUTPUT
        return 0
    moves = acked > 0 or board.newly_sacked != 0 or segment.length > 0 or pcb.snd_wnd != window_before
    if acked > 0:
        _restart_timer(pcb, now_us)
    elif board.newly_sacked != 0 and board.probe_deadline_us != 0 and board.run_count > 0:
        # a probe would have come before the timeout, which has not been restarted since the first segment was sent
        pcb.rexmt_deadline_us = max(board.run_sent_us[0] + pcb.rto_us, now_us + 1)
    if receive_probe_answer(pcb, board, segment, moves):
        tail_was_lost(pcb, board, now_us)
    adapt_to_duplicates(pcb, board)
    if outstanding or board.dsack_received != 0:
        duplicate = not moves and outstanding and board.dsack_received == 0
        marked = segment.flags & ECE != 0 and pcb.use_ecn != 0
        react(pcb, board, segment, duplicate, marked, now_us)
        if duplicate or board.newly_sacked != 0 or board.dsack_received != 0:
            flags |= TCP_OUTPUT
    if moves:
        arm_probe(pcb, board, now_us)
    return flags


@compiled
def _receive_duplicate(pcb, segment, window, newly_sacked, now_us):
    """Process an ACK of nothing new: a duplicate (RFC 5681, section 2; with SACK, RFC 6675, section 2) or a window update."""
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
    before = pcb.snd_wnd
    flags = _reopen_window(pcb, segment, window)
    if segment.length > 0 or pcb.snd_wnd != before or window == 0 or pcb.snd_una == pcb.snd_max:
        return flags
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
        cold_of(pcb).flight_before_dupacks = flight_size(pcb)
    pcb.dupacks += 1


@compiled
def _notice_loss(pcb, now_us):
    """Begin a recovery if the scoreboard shows a loss, but only once per window (RFC 6675, section 5)."""
    lost = pcb.dupacks >= DUPACK_THRESHOLD or sack_first_lost(pcb)
    if lost and pcb.in_recovery == 0 and seq_gt(pcb.snd_una, pcb.snd_recover):
        enter_recovery(pcb, now_us)


@compiled
def _reopen_window(pcb, segment, window):
    """Take the window of an ACK of nothing new unless a later segment has set it (SND.WL1); return TCP_OUTPUT if it grew."""
    before = pcb.snd_wnd
    if seq_gt(segment.seq, pcb.snd_wl1) or (segment.seq == pcb.snd_wl1 and takes_window(pcb, window)):
        _set_window(pcb, segment, window)
    if pcb.snd_wnd <= before:
        return 0
    if before == 0:
        send_again(pcb)  # a probe was sent, and dropped
    return TCP_OUTPUT


@compiled
def send_again(pcb):
    """Send all that is outstanding again as if for the first time: none of it is a sign of congestion."""
    if rack_runs(pcb):
        repeat_all(pcb, scoreboard_at(pcb.scoreboard_address, 0))
    else:
        pcb.snd_nxt = pcb.snd_una


@compiled
def _set_window(pcb, segment, window):
    pcb.snd_wnd = window
    pcb.max_snd_wnd = max(pcb.max_snd_wnd, window)
    pcb.snd_wl1 = segment.seq


@compiled
def measure(pcb, segment, now_us):
    """Take a round-trip time: of the timed segment if there is one, else from the time stamp that the ACK echoes."""
    if pcb.timed_at_us != 0:
        if seq_gt(segment.ack, cold_of(pcb).timed_seq):
            rtt_us = max(now_us - pcb.timed_at_us, 1)
            tcp_rtt_update(pcb, rtt_us)
            if rack_runs(pcb):
                update_min_rtt(scoreboard_at(pcb.scoreboard_address, 0), rtt_us, now_us)
            pcb.timed_at_us = 0
    elif segment.has_timestamps != 0 and segment.ts_ecr != 0 and pcb.use_timestamps != 0:
        elapsed = seq_sub(timestamp(pcb, now_us), segment.ts_ecr) * pcb.timestamp_unit_us
        if elapsed >= 0:  # else the peer echoes what was never sent
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
