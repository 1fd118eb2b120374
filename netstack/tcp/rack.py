"""Loss detection by time (RACK, RFC 8985, section 6): what was sent before something that arrived is lost after a while.

Decides which bytes are lost. What that does to the congestion window is decided in `acknowledgment`.
"""

from netstack.jit.compilation import compiled
from netstack.tcp.congestion import DUPACK_THRESHOLD
from netstack.tcp.options import timestamp
from netstack.tcp.scoreboard import IN_FLIGHT, LOST, SACKED, count_runs, run_start, runs_between, tidy
from netstack.tcp.sequence import seq_geq, seq_gt, seq_leq, seq_lt, seq_sub

MIN_RTT_INTERVAL_US = 150_000_000  # the minimum is over two intervals: five minutes (section 6.2, step 1)
DSACK_PERSISTENCE = 16  # recoveries (section 6.2, step 4)


@compiled
def rack_acknowledge(pcb, board, segment, now_us):
    """Enter an ACK's number and blocks into the runs (section 6.2, steps 1 to 3).

    The caller then sets snd_una to the number of the ACK, before anything else reads the runs.
    """
    board.newly_sacked_bytes = 0
    first_block = _read_dsack(pcb, board, segment)
    if seq_lt(board.fack, pcb.snd_una):
        board.fack = pcb.snd_una
    _deliver(pcb, board, segment, pcb.snd_una, segment.ack, now_us)
    board.newly_sacked_bytes = 0
    _sort_blocks(segment, first_block)
    for block in range(first_block, segment.sack_count):
        start = segment.sack_start[block]
        end = segment.sack_end[block]
        if seq_lt(start, end) and seq_gt(start, segment.ack) and seq_leq(end, pcb.snd_max):
            _deliver(pcb, board, segment, start, end, now_us)
    tidy(board, segment.ack)


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
    board.dsack_received = 1
    board.dsack_received_end = end
    board.duplicates_reported += 1
    return 1


@compiled
def _deliver(pcb, board, segment, start, end, now_us):
    """Mark the bytes from `start` to `end` as delivered to the peer."""
    if not seq_lt(start, end):
        return
    first, last = runs_between(pcb, board, start, end)
    for index in range(first, last):
        if board.run_state[index] != SACKED:
            board.run_state[index] = SACKED
            board.newly_sacked_bytes += seq_sub(board.run_end[index], run_start(pcb, board, index))
            _note_delivery(pcb, board, segment, index, now_us)


@compiled
def _note_delivery(pcb, board, segment, index, now_us):
    """Update the round-trip times and the latest delivery by a run that has just been delivered (section 6.2, steps 1 to 3)."""
    sent_us = board.run_sent_us[index]
    end = board.run_end[index]
    rtt_us = max(now_us - sent_us, 1)
    if board.run_retransmitted[index] == 0:
        update_min_rtt(board, rtt_us, now_us)
        board.probes_unanswered = 0
        if seq_lt(end, board.fack):
            board.reordering_seen = 1
    else:
        if segment.has_timestamps != 0 and pcb.use_timestamps != 0 and seq_lt(segment.ts_ecr, timestamp(pcb, sent_us)):
            return  # the ACK is of an earlier transmission
        if now_us - sent_us < min_rtt(board):
            return
    if seq_gt(end, board.fack):
        board.fack = end
    if sent_us > board.xmit_us or (sent_us == board.xmit_us and seq_gt(end, board.end_seq)):
        board.xmit_us = sent_us
        board.end_seq = end
        board.rtt_us = rtt_us


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
def is_recovering(pcb):
    """Return whether the repair after a loss or a timeout is still going on."""
    return pcb.in_recovery != 0 or seq_lt(pcb.snd_una, pcb.snd_recover)


@compiled
def adapt_to_duplicates(pcb, board):
    """Wait longer for what is late, once per round trip in which the peer reports a duplicate (section 6.2, step 4)."""
    if board.dsack_round_open != 0 and seq_geq(pcb.snd_una, board.dsack_round):
        board.dsack_round_open = 0
    if board.dsack_round_open == 0 and board.dsack_received != 0:
        board.dsack_round_open = 1
        board.dsack_round = pcb.snd_max
        board.reo_wnd_mult = max(board.reo_wnd_mult, 1) + 1
        board.reo_wnd_persist = DSACK_PERSISTENCE


@compiled
def leave_repaired(board):
    """Count the end of a recovery: after enough of them without duplicates the wait is the shortest again."""
    board.reo_wnd_persist -= 1
    if board.reo_wnd_persist <= 0:
        board.reo_wnd_mult = 1


@compiled
def reordering_window_us(pcb, board):
    """Return how long a segment may be late, in us (section 6.2, step 4)."""
    if board.reordering_seen == 0 and (is_recovering(pcb) or board.sacked_segments >= DUPACK_THRESHOLD):
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
                board.run_state[index] = LOST
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
    """Mark the first segment and what was sent long enough ago as lost: the retransmission timer expired (section 6.3).

    If the peer had reported the first one, it reneged: then all is lost (RFC 2018, section 8).
    """
    reneged = board.run_count > 0 and board.run_state[0] == SACKED
    patience_us = board.rtt_us + reordering_window_us(pcb, board)
    for index in range(board.run_count):
        late = board.run_sent_us[index] + patience_us <= now_us
        if reneged or (board.run_state[index] == IN_FLIGHT and (index == 0 or late)):
            board.run_state[index] = LOST
    tidy(board, pcb.snd_una)
    count_runs(pcb, board)
    board.reorder_deadline_us = 0
    board.probe_deadline_us = 0
    board.probe_outstanding = 0
    board.probe_due = 0
