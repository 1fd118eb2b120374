"""Undo: a reduction of the window that turns out to be needless is taken back (RFC 4015).

The peer shows it by reports of duplicates (RFC 2883, RFC 3708) or by the time stamp that it echoes (Eifel, RFC 3522). Knows no
state of congestion.
"""

from netstack.jit.compilation import compiled
from netstack.tcp.options import timestamp
from netstack.tcp.pcb import cold_of
from netstack.tcp.scoreboard import SENT_ONCE, forget_losses, run_start
from netstack.tcp.sequence import seq_add, seq_geq, seq_gt, seq_leq, seq_lt, seq_sub

OLDEST_MARKER_BYTES = 1 << 30  # an older one is dragged along: 2**31 bytes later it would compare as ahead


@compiled
def open_undo(pcb, board):
    """Begin to count the repeated segments that the peer reports as duplicates: if it is all of them, none was needed."""
    board.undo_open = 1
    board.undo_marker = pcb.snd_una
    board.undo_repeats = board.repeated_segments
    if board.probe_outstanding != 0 and board.probe_is_retransmission != 0:
        board.undo_repeats += 1
    if board.undo_repeats == 0:
        board.undo_repeats = -1


@compiled
def save_window(pcb, board):
    """Note the threshold before a reduction: at least three quarters of the window, which has been of use."""
    board.undo_saved = 1
    board.undo_ssthresh = threshold_in_use(pcb)


@compiled
def threshold_in_use(pcb):
    """Return the slow start threshold in bytes, three quarters of the window at least (RFC 2861, section 3)."""
    return max(pcb.snd_ssthresh, pcb.snd_cwnd // 2 + pcb.snd_cwnd // 4)


@compiled
def note_repeat(board, segments, now_us):
    """Note that so many segments were sent again."""
    if board.first_repeat_us == 0:
        board.first_repeat_us = max(now_us, 1)
    board.undo_repeats = max(board.undo_repeats, 0) + segments


@compiled
def note_duplicates(pcb, board, start, end):
    """Count a report that the bytes from `start` to `end` came twice; return the segments, 0 if the report is not to be believed.

    Not more can have come twice than was sent twice. The caller has not yet advanced snd_una.
    """
    if seq_sub(end, start) > pcb.max_snd_wnd:
        return 0
    segments = max(-(-seq_sub(end, start) // pcb.mss), 1)
    board.duplicates_reported += segments
    if board.duplicates_reported > pcb.retransmitted_segments:
        return 0
    counts = seq_gt(end, board.undo_marker) and (seq_leq(end, pcb.snd_una) or _was_repeated(pcb, board, start))
    if board.undo_open != 0 and board.undo_repeats > 0 and counts:
        board.undo_repeats = max(board.undo_repeats - segments, 0)
    return segments


@compiled
def _was_repeated(pcb, board, seq):
    """Return whether the outstanding byte `seq` was sent more than once."""
    for index in range(board.run_count):
        if seq_geq(seq, run_start(pcb, board, index)) and seq_lt(seq, board.run_end[index]):
            return board.run_repeated[index] != SENT_ONCE
    return False


@compiled
def is_delayed(pcb, board, segment):
    """Return whether an ACK answers the first transmission of what was repeated since: it echoes an earlier time (RFC 3522)."""
    if board.first_repeat_us != 0:
        if segment.has_timestamps == 0 or pcb.use_timestamps == 0 or segment.ts_ecr == 0:
            return False
        return seq_lt(segment.ts_ecr, timestamp(pcb, board.first_repeat_us))
    return pcb.use_sack != 0 or seq_lt(pcb.snd_una, pcb.snd_recover)  # nothing was sent again


@compiled
def may_undo(pcb, board, segment):
    """Return whether nothing that was sent again had been lost."""
    return board.undo_open != 0 and (board.undo_repeats == 0 or is_delayed(pcb, board, segment))


@compiled
def undo_reduction(pcb, board, all_late, now_us):
    """Restore the window and the threshold of before (RFC 4015, section 3.2). If `all_late`, nothing counts as lost any more."""
    if all_late:
        forget_losses(pcb, board)
    if board.undo_saved != 0:
        pcb.snd_cwnd = max(pcb.snd_cwnd, board.undo_cwnd)
        cold_of(pcb).cubic_max_bytes = board.undo_cubic_max
        if board.undo_ssthresh > pcb.snd_ssthresh:
            pcb.snd_ssthresh = board.undo_ssthresh
            pcb.ecn_reduced = 0
    board.window_used_us = now_us
    board.undo_open = 0


@compiled
def drag_marker(pcb, board):
    """Keep the marker comparable, however much is sent without a reduction."""
    if board.undo_open != 0 and seq_sub(pcb.snd_una, board.undo_marker) > OLDEST_MARKER_BYTES:
        board.undo_marker = seq_add(pcb.snd_una, -OLDEST_MARKER_BYTES)
