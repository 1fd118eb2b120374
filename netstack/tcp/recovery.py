"""Loss recovery of a connection that remembers its transmissions: the states of congestion and what leads from one to another.

RFC 5681, RFC 6582, RFC 8985, RFC 9937, F-RTO (RFC 5682) and undo (RFC 4015). What the RFCs leave open is as in Linux. Decides
states and windows. What to send is decided in `output`.
"""

from netstack.jit.compilation import compiled
from netstack.tcp.congestion import unsent_segment
from netstack.tcp.pcb import cold_of
from netstack.tcp.prr import begin_reduction, end_reduction, is_shrinking, reduce_threshold, shrink_window
from netstack.tcp.rack import (
    duplicate_threshold,
    keep_patience,
    leave_repaired,
    note_reordering,
    rack_detect_loss,
    rack_timeout,
)
from netstack.tcp.scoreboard import (
    IN_FLIGHT,
    REPAIRED,
    SACKED,
    SENT_ONCE,
    CongestionState,
    count_runs,
    mark_all_lost,
    mark_lost,
    runs_between,
)
from netstack.tcp.sequence import seq_add, seq_geq, seq_gt
from netstack.tcp.undo import drag_marker, is_delayed, may_undo, open_undo, save_window, undo_reduction
from netstack.tcp.validation import grow_window

LEAST_RENEGED_US = 10_000


@compiled
def react(pcb, board, segment, duplicate, marked, now_us):
    """Judge an ACK whose reports are entered, and set the window.

    `duplicate` says that it acknowledges and announces nothing new, `marked` that it echoes a mark of the network.
    """
    lost_before = board.marked_lost
    board.new_first = 0
    state = board.congestion_state
    if state < CongestionState.REDUCING:
        pcb.snd_recover = pcb.snd_una
    drag_marker(pcb, board)
    doubtful = duplicate or marked or board.newly_sacked != 0 or board.dsack_received != 0
    if doubtful or state != CongestionState.OPEN:
        _judge(pcb, board, segment, duplicate, marked, now_us)
    if is_shrinking(board):
        shrink_window(pcb, board, board.delivered_segments, board.marked_lost - lost_before)
    elif board.advanced != 0 or (board.reordering > 0 and board.newly_sacked != 0):
        grow_window(pcb, board, board.delivered_segments, now_us)


@compiled
def _enter(pcb, board, state):
    board.congestion_state = state
    pcb.in_recovery = 1 if state == CongestionState.RECOVERY else 0


@compiled
def _judge(pcb, board, segment, duplicate, marked, now_us):
    if marked:
        board.undo_saved = 0  # the reduction is due, whatever was late
    if board.advanced != 0 and board.run_count > 0 and board.run_state[0] == SACKED:
        pcb.rexmt_deadline_us = now_us + max(pcb.srtt_us // 2, LEAST_RENEGED_US)  # the peer may have reneged
        return
    if board.congestion_state == CongestionState.OPEN:
        board.first_repeat_us = 0
    elif seq_geq(pcb.snd_una, pcb.snd_recover) and _ends(pcb, board, segment, now_us):
        return
    if board.congestion_state == CongestionState.RECOVERY:
        _go_on(pcb, board, segment, duplicate, marked, now_us)
        return
    if board.congestion_state == CongestionState.LOSS:
        _judge_timeout(pcb, board, segment, duplicate, now_us)
        lost_again = _find_losses(pcb, board, now_us)
        if board.congestion_state != CongestionState.OPEN and not lost_again:
            return
    if pcb.use_sack == 0:
        if board.advanced != 0:
            _forget_duplicates(pcb, board)
        _count_duplicate(pcb, board, duplicate)
    if board.congestion_state <= CongestionState.DISORDER:
        _undo_reported(pcb, board, now_us)
    _find_losses(pcb, board, now_us)
    if board.lost_segments == 0:
        _try_open(pcb, board, marked, now_us)
    else:
        _begin_recovery(pcb, board, marked, now_us)


@compiled
def _ends(pcb, board, segment, now_us):
    """End a reduction: all that was outstanding at its beginning is acknowledged. Return whether nothing else is to be judged."""
    if board.congestion_state == CongestionState.REDUCING:
        if pcb.snd_una != pcb.snd_recover:  # something above must arrive, which tells the peer of the reduction
            end_reduction(pcb, board, now_us)
            _enter(pcb, board, CongestionState.OPEN)
    elif board.congestion_state == CongestionState.RECOVERY:
        if pcb.use_sack == 0:
            _forget_duplicates(pcb, board)
        if _leave(pcb, board, segment, now_us):
            return True
        end_reduction(pcb, board, now_us)
    return False


@compiled
def _leave(pcb, board, segment, now_us):
    """Leave a recovery or the state after a timeout, undone if it was needless; return whether it must be held.

    Without SACK it is held until something above is acknowledged: duplicates of this ACK mean no loss (RFC 6582, section 4).
    """
    if may_undo(pcb, board, segment):
        undo_reduction(pcb, board, False, now_us)
    else:
        leave_repaired(board)
    if _is_held(pcb, board):
        return True
    _enter(pcb, board, CongestionState.OPEN)
    return False


@compiled
def _is_held(pcb, board):
    held = pcb.use_sack == 0 and pcb.snd_una == pcb.snd_recover
    if held and not _has_repeated(board):
        board.first_repeat_us = 0
    return held


@compiled
def _has_repeated(board):
    """Return whether something in flight, or the first segment, was sent again."""
    return board.repeated_segments > 0 or (board.run_count > 0 and board.run_repeated[0] != SENT_ONCE)


@compiled
def _go_on(pcb, board, segment, duplicate, marked, now_us):
    """Judge an ACK within a recovery."""
    if board.advanced == 0:
        if pcb.use_sack == 0:
            _count_duplicate(pcb, board, duplicate)
    elif board.undo_open != 0 and is_delayed(pcb, board, segment):
        note_reordering(pcb, board, seq_add(pcb.snd_una, -board.acked_bytes))  # what seemed lost was late
        if board.repeated_segments > 0:
            board.new_first = 1  # repairs wait until it is known how late the rest is
            return
        if not _has_repeated(board):
            board.first_repeat_us = 0
        undo_reduction(pcb, board, True, now_us)
        _keep_open(pcb, board)
    if _undo_reported(pcb, board, now_us):
        _try_open(pcb, board, marked, now_us)
    _find_losses(pcb, board, now_us)
    if board.congestion_state != CongestionState.RECOVERY and board.lost_segments > 0:
        _begin_recovery(pcb, board, marked, now_us)


@compiled
def _undo_reported(pcb, board, now_us):
    """Undo a reduction if all that was sent again was reported as duplicate (RFC 3708); return whether it was."""
    if board.undo_open == 0 or board.undo_repeats != 0:
        return False
    keep_patience(board)
    undo_reduction(pcb, board, False, now_us)
    return True


@compiled
def _try_open(pcb, board, marked, now_us):
    """Enter the state in which nothing is lost: reduce for a mark of the network, or be open, or in disorder."""
    if not _has_repeated(board):
        board.first_repeat_us = 0
    if marked:
        board.undo_saved = 0
        if board.congestion_state < CongestionState.REDUCING:
            board.undo_open = 0
            begin_reduction(pcb, board, now_us)
            _enter(pcb, board, CongestionState.REDUCING)
    if board.congestion_state != CongestionState.REDUCING:
        _keep_open(pcb, board)


@compiled
def _keep_open(pcb, board):
    missing = board.sacked_segments + board.duplicate_segments + board.lost_segments > 0 or _has_repeated(board)
    _enter(pcb, board, CongestionState.DISORDER if missing else CongestionState.OPEN)


@compiled
def _begin_recovery(pcb, board, marked, now_us):
    """Begin a fast recovery (RFC 6582, section 3.2; RFC 8985, section 9)."""
    open_undo(pcb, board)
    board.undo_saved = 0
    if not is_shrinking(board):
        if not marked:
            save_window(pcb, board)
        begin_reduction(pcb, board, now_us)
    _enter(pcb, board, CongestionState.RECOVERY)


@compiled
def _find_losses(pcb, board, now_us):
    """Find what is lost; return whether something that was sent again is."""
    if pcb.use_sack != 0:
        repeated = board.repeated_segments
        rack_detect_loss(pcb, board, now_us)
        return board.repeated_segments < repeated
    if board.run_count == 0:
        return False
    first = board.congestion_state < CongestionState.RECOVERY and board.duplicate_segments >= duplicate_threshold(board)
    next_hole = board.congestion_state == CongestionState.RECOVERY and board.advanced != 0
    if (first or next_hole) and board.run_state[0] == IN_FLIGHT and board.run_repeated[0] != REPAIRED:
        runs_between(pcb, board, pcb.snd_una, seq_add(pcb.snd_una, pcb.mss))
        mark_lost(board, 0)
        count_runs(pcb, board)
    return False


@compiled
def _forget_duplicates(pcb, board):
    board.duplicate_segments = 0
    count_runs(pcb, board)


@compiled
def _count_duplicate(pcb, board, duplicate):
    """Count a segment that has arrived, whichever. One at least is missing: more duplicates than the rest are reordering."""
    if not duplicate:
        return
    before = board.duplicate_segments
    board.duplicate_segments += 1
    _limit_duplicates(board, 0)
    board.delivered_segments += max(board.duplicate_segments - before, 0)
    count_runs(pcb, board)


@compiled
def _limit_duplicates(board, acked):
    holes = min(max(board.lost_segments, 1), board.outstanding_segments)
    if board.duplicate_segments + holes > board.outstanding_segments:
        board.duplicate_segments = board.outstanding_segments - holes
        board.reordering = board.outstanding_segments + acked
        board.reordering_seen = 1


@compiled
def acknowledge_duplicates(pcb, board):
    """Take the segments that an ACK of something new acknowledges off those that arrived by the count of duplicates (no SACK).

    One filled the hole, the others had made duplicates. What was sent once cannot be told from what was sent again.
    """
    acked = board.delivered_segments
    if acked > 0:
        board.delivered_segments = max(acked - board.duplicate_segments, 1)
        board.duplicate_segments -= min(acked - 1, board.duplicate_segments)
        if board.duplicate_segments > 0:
            _limit_duplicates(board, acked)
    if board.repeat_acknowledged != 0:
        board.original_arrived = 0


@compiled
def _judge_timeout(pcb, board, segment, duplicate, now_us):
    """Judge an ACK after a timeout: was the timeout needless (F-RTO, RFC 5682, sections 2.1 and 3.1), is the repair done?"""
    recovered = seq_geq(pcb.snd_una, pcb.snd_recover)
    if board.advanced != 0 and may_undo(pcb, board, segment):
        _undo_timeout(pcb, board, False, now_us)
        return
    if board.frto != 0:
        if board.original_arrived != 0:
            _undo_timeout(pcb, board, True, now_us)
            return
        if seq_gt(pcb.snd_max, pcb.snd_recover):
            if duplicate or board.newly_sacked != 0:
                board.frto = 0
        elif board.advanced != 0 and not recovered:
            pcb.snd_recover = pcb.snd_max
            if unsent_segment(pcb) > 0:
                board.new_first = 1
                return
            board.frto = 0
    if recovered:
        _leave(pcb, board, segment, now_us)
    elif pcb.use_sack == 0:
        if duplicate and seq_gt(pcb.snd_max, pcb.snd_recover):
            _count_duplicate(pcb, board, duplicate)
        elif board.advanced != 0:
            _forget_duplicates(pcb, board)


@compiled
def _undo_timeout(pcb, board, shown, now_us):
    """Undo what a needless timeout did. If F-RTO has `shown` it, nothing is left to be repaired."""
    undo_reduction(pcb, board, True, now_us)
    pcb.rexmt_shift = 0
    if not _is_held(pcb, board) and (shown or pcb.use_sack != 0):
        _enter(pcb, board, CongestionState.OPEN)


@compiled
def enter_loss(pcb, board, now_us):
    """The retransmission timer expired: send again from the first hole on, with a window of one segment (RFC 5681, 3.1)."""
    state = board.congestion_state
    if state <= CongestionState.DISORDER and board.sacked_segments + board.duplicate_segments >= duplicate_threshold(board):
        board.reordering = 0  # it was taken for larger than it is
    rack_timeout(pcb, board, now_us)
    if state < CongestionState.RECOVERY:
        board.first_repeat_us = 0
    first = state == CongestionState.LOSS and pcb.rexmt_shift == 0
    if first or state <= CongestionState.DISORDER or seq_geq(pcb.snd_una, pcb.snd_recover):
        save_window(pcb, board)
        board.undo_cwnd = pcb.snd_cwnd
        board.undo_cubic_max = cold_of(pcb).cubic_max_bytes
        reduce_threshold(pcb, board, now_us)
        open_undo(pcb, board)
    pcb.snd_cwnd = (board.flight_segments + 1) * pcb.mss
    board.credit_bytes = 0
    board.new_first = 0
    pcb.snd_recover = pcb.snd_max
    pcb.ecn_reduced = 1
    board.frto = 1 if state < CongestionState.RECOVERY or pcb.rexmt_shift > 0 else 0
    _enter(pcb, board, CongestionState.LOSS)


@compiled
def expire_reordering(pcb, board, now_us):
    """The reordering timer expired: what is late is lost (RFC 8985, section 6.2); return whether something is."""
    lost_before = board.marked_lost
    if not rack_detect_loss(pcb, board, now_us):
        return False
    if board.congestion_state != CongestionState.RECOVERY:
        _begin_recovery(pcb, board, False, now_us)
        board.advanced = 0
        shrink_window(pcb, board, 1, board.marked_lost - lost_before)
    return True


@compiled
def tail_was_lost(pcb, board, now_us):
    """Reduce the window at once: a probe has repaired a loss, and nothing is left to be sent again (RFC 8985, section 7.4)."""
    begin_reduction(pcb, board, now_us)
    pcb.snd_cwnd = pcb.snd_ssthresh
    board.window_used_us = now_us
    _keep_open(pcb, board)


@compiled
def repeat_all(pcb, board):
    """Send all that is outstanding again, which is no sign of congestion."""
    mark_all_lost(pcb, board)
    if board.congestion_state != CongestionState.LOSS and board.run_count > 0:
        pcb.snd_recover = pcb.snd_max
        board.undo_saved = 0
        board.undo_open = 0
        board.frto = 0
        _enter(pcb, board, CongestionState.LOSS)
