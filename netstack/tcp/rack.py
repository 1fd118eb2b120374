"""Loss detection by time (RACK, RFC 8985, section 6): what was sent before something that arrived is lost after a while.

Decides which bytes are lost. What that does to the congestion window is decided in `acknowledgment`.
"""

from netstack.jit.compilation import compiled
from netstack.tcp.congestion import DUPACK_THRESHOLD
from netstack.tcp.options import timestamp
from netstack.tcp.scoreboard import (
    IN_FLIGHT,
    LOST,
    SACKED,
    SENT_ONCE,
    CongestionState,
    count_runs,
    mark_lost,
    run_start,
    runs_below,
    runs_between,
    tidy,
)
from netstack.tcp.sequence import seq_add, seq_geq, seq_gt, seq_leq, seq_lt, seq_sub
from netstack.tcp.undo import note_duplicates

MIN_RTT_INTERVAL_US = 150_000_000  # the minimum is over two intervals: five minutes (section 6.2, step 1)
DSACK_PERSISTENCE = 16  # recoveries (section 6.2, step 4)
MAX_REO_WND_MULT = 255
MAX_REORDERING = 300  # segments


@compiled
def rack_acknowledge(pcb, board, segment, now_us):
    """Enter an ACK's number and blocks into the runs (section 6.2, steps 1 to 3).

    The caller then sets snd_una to the number of the ACK, before anything else reads the runs.
    """
    board.newly_sacked = 0
    board.delivered_segments = 0
    board.original_arrived = 0
    board.repeat_acknowledged = 0
    board.reordered = 0
    board.sample_us = 0
    board.dsack_received = 0
    first_block = _read_dsack(pcb, board, segment) if pcb.use_sack != 0 else 0
    if seq_lt(board.fack, pcb.snd_una):
        board.fack = pcb.snd_una
    for index in range(runs_below(pcb, board, segment.ack)):
        if board.run_state[index] != SACKED:
            board.delivered_segments += board.run_segments[index]
            rtt_us = _note_delivery(pcb, board, segment, index, now_us)
            board.sample_us = max(board.sample_us, rtt_us)  # of the segment that was sent first
    if board.repeat_acknowledged != 0:
        board.sample_us = 0
    if pcb.use_sack != 0:
        _sort_blocks(segment, first_block)
        for block in range(first_block, segment.sack_count):
            start = segment.sack_start[block]
            end = segment.sack_end[block]
            if seq_lt(start, end) and seq_gt(start, segment.ack) and seq_leq(end, pcb.snd_max):
                _take_block(pcb, board, segment, start, end, now_us)
    if board.reordered != 0:
        note_reordering(pcb, board, board.reordered_seq)
    tidy(board, segment.ack if seq_gt(segment.ack, pcb.snd_una) else pcb.snd_una)


@compiled
def _sort_blocks(segment, first):
    """Sort an ACK's blocks in ascending order. Their order in the ACK is the peer's choice and no reordering of the network."""
    for block in range(first + 1, segment.sack_count):
        place = block
        while place > first and seq_gt(segment.sack_start[place - 1], segment.sack_start[place]):
            start = segment.sack_start[place]
            end = segment.sack_end[place]
            segment.sack_start[place] = segment.sack_start[place - 1]
            segment.sack_end[place] = segment.sack_end[place - 1]
            segment.sack_start[place - 1] = start
            segment.sack_end[place - 1] = end
            place -= 1


@compiled
def _read_dsack(pcb, board, segment):
    """Note whether the first block reports a duplicate (RFC 2883, section 4); return the index of the first one that does not."""
    board.dsack_received = 0
    if segment.sack_count == 0:
        return 0
    start = segment.sack_start[0]
    end = segment.sack_end[0]
    if not seq_lt(start, end) or seq_gt(end, pcb.snd_max) or seq_sub(pcb.snd_max, start) > 2 * max(pcb.max_snd_wnd, 65535):
        return 0
    duplicate = seq_leq(end, segment.ack)
    if not duplicate and segment.sack_count > 1:
        duplicate = seq_geq(start, segment.sack_start[1]) and seq_leq(end, segment.sack_end[1])
    if not duplicate:
        return 0
    segments = note_duplicates(pcb, board, start, end)
    if segments > 0:
        board.dsack_received = 1
        board.dsack_received_end = end
        board.delivered_segments += segments  # a needless retransmission has left the network
    return 1


@compiled
def _take_block(pcb, board, segment, start, end, now_us):
    """Mark the bytes from `start` to `end` as delivered to the peer."""
    sampled = board.sample_us != 0
    first, last = runs_between(pcb, board, start, end)
    for index in range(first, last):
        if board.run_state[index] != SACKED:
            board.newly_sacked = 1
            board.delivered_segments += board.run_segments[index]
            rtt_us = _note_delivery(pcb, board, segment, index, now_us)
            board.run_state[index] = SACKED
            if not sampled and rtt_us > 0:
                board.sample_us = rtt_us
                sampled = True


@compiled
def _note_delivery(pcb, board, segment, index, now_us):
    """Update what is known by a run that has just been delivered (section 6.2, steps 1 to 3).

    Return its round-trip time, or 0 if that cannot be known.
    """
    sent_us = board.run_sent_us[index]
    start = run_start(pcb, board, index)
    end = board.run_end[index]
    rtt_us = max(now_us - sent_us, 1)
    once = board.run_repeated[index] == SENT_ONCE
    if once:
        update_min_rtt(board, rtt_us, now_us)
        board.probes_unanswered = 0
        if seq_lt(start, board.fack) and (board.reordered == 0 or seq_lt(start, board.reordered_seq)):
            board.reordered = 1
            board.reordered_seq = start
        if seq_leq(end, pcb.snd_recover):
            board.original_arrived = 1
    elif seq_lt(start, segment.ack):
        board.repeat_acknowledged = 1
    if seq_gt(end, board.fack):
        board.fack = end
    if not once:
        if segment.has_timestamps != 0 and pcb.use_timestamps != 0 and seq_lt(segment.ts_ecr, timestamp(pcb, sent_us)):
            return 0  # the ACK is of an earlier transmission
        if rtt_us < min_rtt(board):
            return 0
    if sent_us > board.xmit_us or (sent_us == board.xmit_us and seq_gt(end, board.end_seq)):
        board.xmit_us = sent_us
        board.end_seq = end
        board.rtt_us = rtt_us
    return rtt_us if once else 0


@compiled
def note_reordering(pcb, board, seq):
    """Note that `seq` arrived after higher numbers: the distance is what reordering can be (RFC 4653, section 3)."""
    if pcb.use_sack != 0 and seq_lt(seq, board.fack):
        displacement = -(-seq_sub(board.fack, seq) // pcb.mss)
        if displacement > duplicate_threshold(board):
            board.reordering = min(displacement, MAX_REORDERING)
        board.reordering_seen = 1


@compiled
def duplicate_threshold(board):
    """Return how many segments must have arrived above a hole to show a loss: more than reordering has been seen to make."""
    configured = board.duplicate_threshold if board.duplicate_threshold > 0 else DUPACK_THRESHOLD
    return max(configured, board.reordering)


@compiled
def update_min_rtt(board, rtt_us, now_us):
    """Update the minimum by a round-trip time in us (section 6.2, step 1)."""
    if board.min_rtt_recent_us == 0 or now_us - board.min_rtt_since_us > MIN_RTT_INTERVAL_US:
        board.min_rtt_us = board.min_rtt_recent_us
        board.min_rtt_recent_us = rtt_us
        board.min_rtt_since_us = now_us
    board.min_rtt_recent_us = min(board.min_rtt_recent_us, rtt_us)


@compiled
def min_rtt(board):
    """Return the smallest round-trip time of the last two intervals in us, 0 if there is none yet."""
    if board.min_rtt_us == 0:
        return board.min_rtt_recent_us
    return min(board.min_rtt_us, board.min_rtt_recent_us)


@compiled
def is_recovering(board):
    """Return whether the repair after a loss or a timeout is still going on."""
    return board.congestion_state >= CongestionState.RECOVERY


@compiled
def adapt_to_duplicates(pcb, board):
    """Wait longer for what is late, once per round trip in which the peer reports a duplicate (section 6.2, step 4).

    As in Linux, only where reordering was seen: else something other than this wait made the duplicate.
    """
    if board.dsack_round_open != 0 and seq_geq(pcb.snd_una, board.dsack_round):
        board.dsack_round_open = 0
    if board.dsack_round_open == 0 and board.dsack_received != 0 and board.reordering_seen != 0:
        board.dsack_round_open = 1
        board.dsack_round = pcb.snd_max
        board.reo_wnd_mult = min(max(board.reo_wnd_mult, 1) + 1, MAX_REO_WND_MULT)
        board.reo_wnd_persist = DSACK_PERSISTENCE


@compiled
def leave_repaired(board):
    """Count the end of a recovery: after enough of them without duplicates the wait is the shortest again."""
    board.reo_wnd_persist = max(board.reo_wnd_persist - 1, 0)
    if board.reo_wnd_persist == 0:
        board.reo_wnd_mult = 1


@compiled
def keep_patience(board):
    """Let the wait be long for one more recovery: the last one was needless."""
    board.reo_wnd_persist = min(board.reo_wnd_persist + 1, DSACK_PERSISTENCE)


@compiled
def reordering_window_us(pcb, board):
    """Return how long a segment may be late, in us (section 6.2, step 4)."""
    if board.reordering_seen == 0 and (is_recovering(board) or board.sacked_segments >= duplicate_threshold(board)):
        return 0
    return min(max(board.reo_wnd_mult, 1) * min_rtt(board) // 4, pcb.srtt_us)


@compiled
def rack_detect_loss(pcb, board, now_us):
    """Find what is lost, and set when to look again (section 6.2, step 5); return whether something new is lost."""
    count_runs(pcb, board)
    patience_us = board.rtt_us + reordering_window_us(pcb, board)
    wait_us = 0
    found = False
    for index in range(board.run_count):
        if board.run_state[index] != IN_FLIGHT:
            continue
        sent_us = board.run_sent_us[index]
        if sent_us < board.xmit_us or (sent_us == board.xmit_us and seq_lt(board.run_end[index], board.end_seq)):
            remaining_us = sent_us + patience_us - now_us
            if remaining_us <= 0:
                mark_lost(board, index)
                found = True
            else:
                wait_us = max(wait_us, remaining_us)
    board.reorder_deadline_us = now_us + wait_us if wait_us > 0 else 0
    if found:
        tidy(board, pcb.snd_una)
        count_runs(pcb, board)
    return found


@compiled
def rack_timeout(pcb, board, now_us):
    """Mark the first segment and what was sent a round trip ago as lost: the retransmission timer expired (section 6.3).

    If the peer had reported the first one, it reneged: then all is lost (RFC 2018, section 8). Without SACK all is lost, too.
    """
    all_lost = pcb.use_sack == 0 or (board.run_count > 0 and board.run_state[0] == SACKED)
    if pcb.use_sack != 0 and board.run_count > 0 and board.run_state[0] == IN_FLIGHT:
        runs_between(pcb, board, pcb.snd_una, seq_add(pcb.snd_una, pcb.mss))
    for index in range(board.run_count):
        late = board.run_sent_us[index] + board.rtt_us <= now_us
        if (all_lost and board.run_state[index] != LOST) or (board.run_state[index] == IN_FLIGHT and (index == 0 or late)):
            mark_lost(board, index)
    board.duplicate_segments = 0
    tidy(board, pcb.snd_una)
    count_runs(pcb, board)
    board.reorder_deadline_us = 0
    board.probe_deadline_us = 0
    board.probe_outstanding = 0
    board.probe_due = 0
