"""Output: which segment may be sent now (RFC 9293, sections 3.7 and 3.8.6.2; RFC 5681; RFC 6675; RFC 3168).

Each call builds one segment. The host transmits it and calls again until there is none.
"""

from netstack.jit.compilation import compiled
from netstack.tcp.acceptance import acceptable_seq
from netstack.tcp.congestion import DUPACK_THRESHOLD, first_outstanding, flight_size, restart_after_idle, unsent_segment
from netstack.tcp.header import ACK, CWR, ECE, ECT0, FIN, PSH, SYN, clear_options
from netstack.tcp.options import fill_syn_options, timestamp
from netstack.tcp.pcb import cold_of
from netstack.tcp.probe import arm_probe, note_probe, probe_segment, repairs
from netstack.tcp.prr import is_shrinking
from netstack.tcp.reassembly import announced_window
from netstack.tcp.sack import (
    fill_sack_blocks,
    reports_blocks,
    sack_next_hole,
    sack_pipe,
    sack_rescue,
    skip_sacked,
    until_sacked,
    without_sack_blocks,
)
from netstack.tcp.scoreboard import before_sacked, first_lost, note_sent, rack_runs, scoreboard_at
from netstack.tcp.sequence import seq_add, seq_geq, seq_gt, seq_lt, seq_sub
from netstack.tcp.states import State
from netstack.tcp.style import (
    FREEBSD,
    RFC,
    begin_burst,
    note_acknowledged,
    note_data_sent,
    note_short,
    persist_timeout_us,
    sends_short,
    within_record,
)
from netstack.tcp.undo import note_repeat
from netstack.tcp.validation import begin_to_send, note_use


@compiled
def tcp_output(pcb, segment, now_us):
    """Fill `segment` with the next segment to be sent at `now_us` and return 1; return 0 if there is none.

    A segment is full, or with nothing outstanding the last one of the buffer (Nagle, RFC 9293, section 3.7.4) or half of the
    largest window (section 3.8.6.2.1).
    """
    if pcb.state < State.ESTABLISHED:
        if pcb.state == State.SYN_RECEIVED and pcb.ack_now != 0 and pcb.snd_nxt != pcb.iss:
            _fill(pcb, segment, pcb.snd_nxt, 0, now_us)
            segment.flags = ACK
            if pcb.style == FREEBSD:
                segment.window = min(pcb.rcv_wnd, 65535)  # from its cache of half-open connections, which does not scale
            return 1
        return _output_syn(pcb, segment, now_us)
    begin_burst(pcb)
    seq = pcb.snd_nxt
    length = 0
    in_order = True
    by_time = rack_runs(pcb)
    if by_time:
        seq, length = _sendable_by_time(pcb, now_us)
        in_order = seq == pcb.snd_max
    elif pcb.in_recovery != 0 and pcb.use_sack != 0:
        seq, length = _sack_sendable(pcb)
        in_order = seq == pcb.snd_nxt
    elif pcb.retransmit_now != 0:
        pcb.retransmit_now = 0
        seq = pcb.snd_una
        length = first_outstanding(pcb)
        in_order = False
    else:
        restart_after_idle(pcb, now_us)
        if pcb.sacked_count > 0:
            seq = skip_sacked(pcb, seq)
            pcb.snd_nxt = seq
        length = _sendable(pcb, seq)
        if pcb.sacked_count > 0:
            length = until_sacked(pcb, seq, length)
    if length > 0 and reports_blocks(pcb):
        length = without_sack_blocks(pcb, length)
    fin = _sends_fin(pcb, seq, length)
    if length <= 0 and not fin:
        if by_time and pcb.send_buffered_bytes > flight_size(pcb):
            note_use(pcb, scoreboard_at(pcb.scoreboard_address, 0), now_us)
        if pcb.send_buffered_bytes > 0 and pcb.rexmt_deadline_us == 0:
            pcb.rexmt_deadline_us = now_us + persist_timeout_us(pcb)  # the window is closed: probe it
        if pcb.ack_now == 0 and pcb.probe_alive == 0:
            pcb.burst_idle = 0
            return 0
        length = 0
        seq = acceptable_seq(pcb)
        if pcb.probe_alive != 0:
            pcb.probe_alive = 0
            seq = seq_add(pcb.snd_una, -1)  # a number that the peer must answer (RFC 9293, section 3.8.4)
    _fill(pcb, segment, seq, length, now_us)
    end = seq_add(seq, length)
    segment.flags = ACK
    if length > 0 and length == pcb.send_buffered_bytes - seq_sub(seq, pcb.snd_una):
        segment.flags |= PSH
    if fin:
        segment.flags |= FIN
        end = seq_add(end, 1)
    if reports_blocks(pcb):
        fill_sack_blocks(pcb, segment)
    if pcb.use_ecn != 0:
        _mark(pcb, segment, seq, length)
    if length > 0 or fin:
        _account(pcb, seq, end, in_order, now_us)
    return 1


@compiled
def _fill(pcb, segment, seq, length, now_us):
    """Fill in what all segments have, and note what the segment acknowledges and announces."""
    segment.source_address = pcb.local_address
    segment.destination_address = pcb.foreign_address
    segment.source_port = pcb.local_port
    segment.destination_port = pcb.foreign_port
    segment.seq = seq
    segment.ack = pcb.rcv_nxt
    segment.length = length
    segment.window = min(announced_window(pcb) >> pcb.rcv_scale, 65535)
    segment.has_timestamps = pcb.use_timestamps
    segment.ts_val = timestamp(pcb, now_us)
    segment.ts_ecr = pcb.ts_recent
    clear_options(segment)
    announced_end = seq_add(pcb.rcv_nxt, segment.window << pcb.rcv_scale)
    if seq_gt(announced_end, pcb.rcv_adv):
        pcb.rcv_adv = announced_end  # else it stays: the bits that the shift drops must not add up (RFC 7323, section 2.4)
    pcb.last_ack_sent = pcb.rcv_nxt
    pcb.ack_now = 0
    pcb.unacked_segments = 0
    pcb.delack_deadline_us = 0
    note_acknowledged(pcb)


@compiled
def _account(pcb, seq, end, in_order, now_us):
    """Advance the send sequence over a segment from `seq` to `end`, FIN included, and start its timers."""
    by_time = pcb.state >= State.ESTABLISHED and rack_runs(pcb)
    if by_time:
        _record(pcb, scoreboard_at(pcb.scoreboard_address, 0), seq, end, now_us)
    pcb.segments_sent += 1
    pcb.last_sent_us = now_us
    pcb.new_bytes = max(seq_sub(end, pcb.snd_max), 0)
    if pcb.new_bytes < seq_sub(end, seq):
        pcb.retransmitted_segments += 1
        if pcb.timed_at_us != 0 and seq_gt(end, cold_of(pcb).timed_seq):
            pcb.timed_at_us = 0  # Karn's algorithm (RFC 6298, section 3)
    elif pcb.timed_at_us == 0 and (pcb.timestamp_unit_us > 1 or pcb.use_timestamps == 0):
        pcb.timed_at_us = max(now_us, 1)
        cold_of(pcb).timed_seq = seq
    if by_time:
        pcb.snd_nxt = end if pcb.new_bytes > 0 else pcb.snd_max
    elif in_order:
        pcb.snd_nxt = end
    elif pcb.in_recovery != 0 and seq_gt(end, cold_of(pcb).high_rxt):
        cold_of(pcb).high_rxt = end
    if pcb.new_bytes > 0:
        pcb.snd_max = end
        note_data_sent(pcb, now_us)
        note_short(pcb, end, pcb.new_bytes)
    pcb.probe_now = 0
    if pcb.unanswered_since_us == 0:
        pcb.unanswered_since_us = max(now_us, 1)
    if pcb.rexmt_deadline_us == 0 or seq == pcb.snd_una:
        closed = pcb.state >= State.ESTABLISHED and pcb.snd_wnd == 0
        pcb.rexmt_deadline_us = now_us + (persist_timeout_us(pcb) if closed else pcb.rto_us)
    if by_time:
        board = scoreboard_at(pcb.scoreboard_address, 0)
        if pcb.new_bytes > 0:
            note_use(pcb, board, now_us)
        if board.probe_due != 0:
            note_probe(pcb, board, end, pcb.new_bytes)
        arm_probe(pcb, board, now_us)


@compiled
def _record(pcb, board, seq, end, now_us):
    """Note the transmission of the bytes from `seq` to `end`, which may have been sent before."""
    note_sent(pcb, board, seq, end, now_us)
    if is_shrinking(board):
        board.prr_out += 1
    if seq_lt(seq, pcb.snd_max) and (board.probe_due == 0 or repairs(pcb, board)):
        note_repeat(board, 1, now_us)


@compiled
def _output_syn(pcb, segment, now_us):
    """Build a SYN or SYN-ACK and return 1 if `snd_nxt` is at its number; else return 0."""
    if pcb.state <= State.LISTEN or pcb.snd_nxt != pcb.iss:
        return 0
    _fill(pcb, segment, pcb.iss, 0, now_us)
    segment.flags = SYN if pcb.state == State.SYN_SENT else SYN | ACK
    segment.window = min(pcb.rcv_wnd, 65535)  # never scaled (RFC 7323, section 2.2)
    pcb.rcv_adv = seq_add(pcb.rcv_nxt, segment.window)
    fill_syn_options(pcb, segment)
    if pcb.state == State.SYN_SENT:
        segment.ack = 0
        segment.ts_ecr = 0
        if pcb.use_ecn != 0 and pcb.rexmt_shift < 2:  # a firewall may drop such SYNs (RFC 3168, section 6.1.1.1)
            segment.flags |= ECE | CWR
    elif pcb.use_ecn != 0:
        segment.flags |= ECE
    deadline_us = pcb.rexmt_deadline_us
    _account(pcb, pcb.iss, seq_add(pcb.iss, 1), True, now_us)
    if deadline_us != 0:
        pcb.rexmt_deadline_us = deadline_us  # a peer that repeats its SYN must not keep the connection half-open for ever
    return 1


@compiled
def _sendable(pcb, seq):
    """Return how many bytes may be sent from `seq` on: at most one segment, or a burst of full ones; 0 to wait."""
    offset = seq_sub(seq, pcb.snd_una)
    buffered = pcb.send_buffered_bytes - offset
    window = min(pcb.snd_wnd, pcb.snd_cwnd) - offset
    if rack_runs(pcb):
        free = pcb.snd_cwnd // pcb.mss - scoreboard_at(pcb.scoreboard_address, 0).flight_segments
        window = min(pcb.snd_wnd - offset, free * pcb.mss)
    elif _limited_transmit(pcb) and 0 < pcb.dupacks < DUPACK_THRESHOLD and pcb.in_recovery == 0 and seq == pcb.snd_max:
        window = min(pcb.snd_wnd - offset, window + pcb.dupacks * pcb.mss)
    length = min(buffered, window)
    if pcb.record_count > 0 and seq == pcb.snd_max:
        part = within_record(pcb, seq, min(length, pcb.mss))
        if 0 < part < min(length, pcb.mss):
            return part  # it is followed by others
    if length >= pcb.mss:
        if pcb.burst_segments == 1:
            return pcb.mss
        return min(length, pcb.burst_segments * pcb.mss) // pcb.mss * pcb.mss
    if pcb.probe_now != 0 and buffered > 0:
        return max(length, 1)  # the timer expired: at least one byte, whatever the window is
    if length <= 0:
        return 0
    if length == buffered:
        if seq_lt(seq, pcb.snd_max) or pcb.fin_queued != 0:
            return length
        if pcb.cork == 0 and (offset == 0 or pcb.no_delay != 0 or (pcb.style != RFC and sends_short(pcb))):
            return length
    if offset == 0 and 2 * length >= pcb.max_snd_wnd:
        return length
    return 0


@compiled
def _limited_transmit(pcb):
    """Return whether the first duplicate ACKs allow new data (RFC 3042; RFC 6675, section 5, step 3)."""
    return pcb.limited_transmit != 0 or pcb.use_sack != 0


@compiled
def _sendable_by_time(pcb, now_us):
    """Return (seq, length) of what to send with the record of transmissions (RFC 8985): probes, what is lost, then new data.

    After a timeout or a closed window it is the first segment, whatever the windows are, filled up with new data if it is short.
    """
    board = scoreboard_at(pcb.scoreboard_address, 0)
    if flight_size(pcb) == 0:
        board.probe_due = 0
        length = _sendable(pcb, pcb.snd_max)
        if length > 0:
            begin_to_send(pcb, board, now_us)
        return pcb.snd_max, length
    if pcb.probe_now != 0:
        length = min(pcb.mss, min(pcb.send_buffered_bytes, max(pcb.snd_wnd, 1)))
        return pcb.snd_una, before_sacked(pcb, board, pcb.snd_una, length)
    if board.probe_due != 0:
        return probe_segment(pcb, board)
    if board.new_first != 0:
        length = _sendable(pcb, pcb.snd_max)
        if length > 0 or board.frto == 0 or seq_gt(pcb.snd_max, pcb.snd_recover):
            return pcb.snd_max, length
        board.frto = 0  # nothing new to send: the conventional repair (RFC 5682, section 2.1, step 2)
        board.new_first = 0
    if board.lost_bytes > 0:
        seq, length = first_lost(pcb, board)
        offset = seq_sub(seq, pcb.snd_una)
        if seq_add(seq, length) == pcb.snd_max:
            length = max(length, min(pcb.snd_wnd - offset, pcb.mss))
        length = min(pcb.mss, min(length, pcb.send_buffered_bytes - offset))
        if pcb.snd_cwnd // pcb.mss > board.flight_segments:
            return seq, length
        return pcb.snd_max, 0
    return pcb.snd_max, _sendable(pcb, pcb.snd_max)


@compiled
def _sack_sendable(pcb):
    """Return (seq, length) of what to send in a recovery with SACK (RFC 6675, section 5, steps 4 and C, and NextSeg())."""
    cold = cold_of(pcb)
    if pcb.retransmit_now != 0:
        pcb.retransmit_now = 0
        return pcb.snd_una, until_sacked(pcb, pcb.snd_una, first_outstanding(pcb))
    if pcb.snd_cwnd - sack_pipe(pcb) < pcb.mss:
        return pcb.snd_max, 0
    seq, length = sack_next_hole(pcb, True)
    if length > 0:
        return seq, length
    fresh = unsent_segment(pcb)
    if fresh > 0:
        pcb.snd_nxt = pcb.snd_max
        return pcb.snd_max, fresh
    seq, length = sack_next_hole(pcb, False)
    if length > 0:
        return seq, length
    if seq_gt(pcb.snd_una, cold.rescue_rxt) and seq_geq(pcb.snd_una, cold.high_rxt):
        seq, length = sack_rescue(pcb)
        cold.rescue_rxt = pcb.snd_recover
        if length > 0:
            return seq, min(length, pcb.send_buffered_bytes - seq_sub(seq, pcb.snd_una))
    return pcb.snd_max, 0


@compiled
def _sends_fin(pcb, seq, length):
    """Return whether a segment carries the FIN: it ends where the data ends, and the FIN has not been acknowledged."""
    if pcb.fin_queued == 0 or pcb.state == State.TIME_WAIT:
        return False
    return seq_add(seq, max(length, 0)) == pcb.fin_seq and not seq_gt(pcb.snd_una, pcb.fin_seq)


@compiled
def _mark(pcb, segment, seq, length):
    """Set the ECN bits: new data is marked as capable, a mark is echoed, a reduction is announced (RFC 3168, section 6.1)."""
    if pcb.ecn_echo != 0:
        segment.flags |= ECE
    if length > 0 and seq_geq(seq, pcb.snd_max):
        segment.ecn = ECT0
        if pcb.ecn_reduced != 0:
            segment.flags |= CWR
            pcb.ecn_reduced = 0


@compiled
def tcp_output_refused(pcb, segment, now_us):
    """Take back the segment just built: the interface had no room for it (ENOBUFS).

    Source of the behaviour: FreeBSD of 2006. The sequence is pulled back, and the congestion window drops to one segment (source
    quench). The retransmission timer or the next ACK sends again.
    """
    if segment.length == 0:
        pcb.ack_now = 1
        return
    pcb.segments_sent -= 1
    pcb.snd_max = seq_add(pcb.snd_max, -pcb.new_bytes)
    if pcb.new_bytes < segment.length:
        pcb.retransmitted_segments -= 1
    if seq_lt(segment.seq, pcb.snd_nxt):
        pcb.snd_nxt = segment.seq
    pcb.snd_cwnd = pcb.mss
    if pcb.rexmt_deadline_us == 0:
        pcb.rexmt_deadline_us = now_us + pcb.rto_us
