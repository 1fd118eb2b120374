"""What a sender remembers of each transmission, for loss recovery by time (RFC 8985, section 5.2), and of duplicates (RFC 2883).

Too large for a pcb: the host keeps one record per connection and puts its address into the pcb, or 0 to do without. What is
outstanding is divided into runs of bytes with one fate, which bounds the memory. Knows no congestion control.
"""

from enum import IntEnum
from typing import Annotated

from netstack.jit.compilation import compiled
from netstack.jit.records import Record, i4, i8, record_accessor, u1
from netstack.tcp.sequence import seq_add, seq_geq, seq_gt, seq_leq, seq_lt, seq_sub

MAX_RUNS = 512
IN_FLIGHT, SACKED, LOST = range(3)
SENT_ONCE, REPEATED, REPAIRED, DOUBLED = range(4)
"""How a run was sent: once; again by a probe; again after it was found lost; again though it was not lost: both are in flight."""


class CongestionState(IntEnum):
    """What a sender believes of the network, in the order and with the numbers of Linux (``tcpi_ca_state``)."""

    OPEN = 0
    """Nothing is missing."""
    DISORDER = 1
    """Something is missing that may only be late."""
    REDUCING = 2
    """The window shrinks after a mark of the network, and nothing is lost."""
    RECOVERY = 3
    """A fast recovery is going on."""
    LOSS = 4
    """The retransmission timer expired."""


class Scoreboard(Record):
    """The transmissions of a connection, and what its sender concludes from them.

    A run begins where the one before it ends, the first one at snd_una. A FIN counts as a byte. Windows and what is in flight are
    counted in segments, the last short one of a write like a full one. `fack` is valid while something is outstanding.
    """

    # What the host switches on; all else starts at zero
    use_rack: u1  # 1: losses are found by time; without SACK, by duplicate ACKs
    use_probes: u1  # PROBE_NEVER, PROBE_TAIL or PROBE_ALWAYS
    use_dsack: u1  # 1: duplicates are reported to the peer
    duplicate_threshold: u1  # duplicates that show a loss as long as no reordering was seen, 0 for 3
    # RACK (RFC 8985, section 5.3)
    reordering_seen: u1  # 1: RACK.reordering_seen
    dsack_round_open: u1  # 1: reo_wnd_mult grew less than a round trip ago
    dsack_received: u1  # 1: the last ACK reported a duplicate
    # TLP (section 7)
    probe_due: u1  # 1: output sends a probe
    probe_outstanding: u1  # 1: a probe that was sent while nothing was missing has no answer
    probe_is_retransmission: u1  # TLP.is_retrans
    probes_unanswered: u1  # probes sent since a round-trip time was last known
    dsack_pending: u1  # 1: the next segment reports a duplicate
    # The state of congestion, and what the last ACK changed
    congestion_state: u1  # CongestionState
    advanced: u1  # 1: the last ACK acknowledged something new
    newly_sacked: u1  # 1: its blocks were the first to report something
    original_arrived: u1  # 1: it reported bytes that were sent once, before the timeout
    repeat_acknowledged: u1  # 1: it acknowledged bytes that were sent twice
    frto: u1  # 1: whether the timeout was needless is not known yet (RFC 5682)
    new_first: u1  # 1: new data goes before repairs, until the next ACK
    # Undo (RFC 3708, RFC 4015)
    undo_open: u1  # 1: the last reduction may turn out to be needless
    undo_saved: u1  # 1: undo_cwnd and undo_ssthresh are to be restored then
    window_limited: u1  # 1: in this round trip the congestion window was the limit
    run_count: i4  # runs in use below
    flight_segments: i4  # segments in flight: neither lost nor reported (RFC 6675, pipe)
    outstanding_segments: i4  # segments from snd_una to snd_max
    sacked_segments: i4  # segments that the peer reported
    lost_segments: i4  # segments found lost and not acknowledged, sent again or not
    repeated_segments: i4  # of them, those that are in flight again
    duplicate_segments: i4  # segments that arrived by the count of duplicate ACKs, without SACK
    delivered_segments: i4  # segments that the last ACK was the first to report
    reordering: i4  # largest displacement seen in segments, 0 for none (RFC 4653)
    reo_wnd_mult: i4  # RACK.reo_wnd_mult
    reo_wnd_persist: i4  # RACK.reo_wnd_persist: recoveries until reo_wnd_mult is 1 again
    # PRR (RFC 9937), in segments
    prr_delivered: i4  # delivered since the reduction began
    prr_out: i4  # sent since then
    prr_flight: i4  # RecoverFS
    undo_repeats: i4  # repeated segments that were not reported as duplicates; -1: none was repeated yet
    # Congestion window validation (RFC 7661, RFC 2861)
    flight_limit: i4  # most segments outstanding in this round trip
    window_used: i4  # most segments outstanding since `window_used_us`
    lost_bytes: i8  # bytes found lost and not yet sent again
    acked_bytes: i8  # bytes that the last ACK acknowledged
    marked_lost: i8  # segments ever found lost
    duplicates_reported: i8  # segments that the peer ever reported as duplicates
    window_seq: i8  # snd_max when this round trip began
    window_used_us: i8  # when the window was last the limit
    credit_bytes: i8  # acknowledged bytes that have not yet grown the window (RFC 3465)
    undo_marker: i8  # snd_una when the reduction began
    undo_cwnd: i8  # congestion window before it, in bytes
    undo_ssthresh: i8  # slow start threshold before it, in bytes
    undo_cubic_max: i8  # cubic_max_bytes before it
    first_repeat_us: i8  # when something was first sent again in this recovery, 0 for not yet
    xmit_us: i8  # RACK.xmit_ts
    end_seq: i8  # RACK.end_seq
    rtt_us: i8  # RACK.rtt
    fack: i8  # RACK.fack
    min_rtt_us: i8  # least round-trip time of the interval before; RACK.min_RTT is the lesser of both, see `rack.min_rtt`
    min_rtt_recent_us: i8  # least round-trip time of the present interval, 0 for none
    min_rtt_since_us: i8  # when that interval began
    sample_us: i8  # round-trip time that the last ACK shows, 0 for none
    dsack_round: i8  # RACK.dsack_round: snd_max when reo_wnd_mult last grew
    reorder_deadline_us: i8  # of the reordering timer, 0 if it is off
    probe_deadline_us: i8  # of the probe timer, 0 if it is off
    probe_end_seq: i8  # TLP.end_seq: snd_max when the last probe was sent
    probe_segment_end: i8  # the end of the last probe itself
    # The sender's last D-SACK, and the receiver's next one
    dsack_received_end: i8  # the end of the range that the peer reported
    dsack_start: i8  # where the range to be reported begins
    dsack_end: i8  # where it ends
    reordered_seq: i8  # the lowest number that arrived after a higher one
    reordered: u1  # 1: the last ACK reported such a number
    probes: i8  # probes sent
    # Runs, ascending and without gaps from snd_una to snd_max
    run_end: Annotated[i8, MAX_RUNS]  # where each run ends
    run_sent_us: Annotated[i8, MAX_RUNS]  # when each run was last sent
    run_segments: Annotated[i4, MAX_RUNS]  # segments of each run
    run_state: Annotated[u1, MAX_RUNS]  # IN_FLIGHT, SACKED or LOST
    run_repeated: Annotated[u1, MAX_RUNS]  # SENT_ONCE to DOUBLED


SCOREBOARD = Scoreboard.dtype

scoreboard_at = record_accessor(SCOREBOARD)


@compiled
def rack_runs(pcb):
    """Return whether this connection remembers its transmissions, and finds losses by them."""
    if pcb.scoreboard_address == 0:
        return False
    return pcb.use_sack == 0 or scoreboard_at(pcb.scoreboard_address, 0).use_rack != 0


@compiled
def run_start(pcb, board, index):
    """Return the number of the first byte of a run."""
    return pcb.snd_una if index == 0 else board.run_end[index - 1]


@compiled
def note_sent(pcb, board, seq, end, now_us):
    """Note the transmission of the bytes from `seq` to `end`. Some of them may have been sent before."""
    if board.run_count == 0:
        board.fack = pcb.snd_una
    again = seq_lt(seq, pcb.snd_max)
    if again:
        first, last = runs_between(pcb, board, seq, end)
        for index in range(first, last):
            if board.run_state[index] != SACKED:
                if board.run_state[index] == LOST:
                    board.run_repeated[index] = REPAIRED
                elif board.run_repeated[index] == SENT_ONCE:
                    board.run_repeated[index] = REPEATED
                board.run_state[index] = IN_FLIGHT
                board.run_sent_us[index] = now_us
                if last - first == 1:
                    board.run_segments[index] = _segments(pcb, seq_sub(end, seq))  # short ones may leave as one
    if seq_gt(end, pcb.snd_max):
        _append(pcb, board, end, now_us, again)
    count_runs(pcb, board)


@compiled
def _segments(pcb, length):
    """Return how many segments so many bytes are."""
    return max(-(-length // pcb.mss), 1)


@compiled
def _append(pcb, board, end, now_us, again):
    """Add new bytes up to `end`: to the last run if that was sent at the same time in full segments, else in a new run."""
    _make_room(board)
    repeated = REPEATED if again else SENT_ONCE
    last = board.run_count - 1
    segments = _segments(pcb, seq_sub(end, pcb.snd_max))
    now = last >= 0 and board.run_state[last] == IN_FLIGHT and board.run_sent_us[last] == now_us
    if now and board.run_repeated[last] == repeated and _is_full(pcb, board, last):
        board.run_end[last] = end
        board.run_segments[last] += segments
        return
    board.run_count += 1
    _set(board, last + 1, end, now_us, segments, IN_FLIGHT, repeated)


@compiled
def _is_full(pcb, board, index):
    """Return whether all segments of a run are full."""
    return seq_sub(board.run_end[index], run_start(pcb, board, index)) == board.run_segments[index] * pcb.mss


@compiled
def _set(board, index, end, sent_us, segments, state, repeated):
    board.run_end[index] = end
    board.run_sent_us[index] = sent_us
    board.run_segments[index] = segments
    board.run_state[index] = state
    board.run_repeated[index] = repeated


@compiled
def _copy(board, source, target):
    _set(
        board,
        target,
        board.run_end[source],
        board.run_sent_us[source],
        board.run_segments[source],
        board.run_state[source],
        board.run_repeated[source],
    )


@compiled
def runs_between(pcb, board, start, end):
    """Cut runs at `start` and `end`; return the index of the first run between them, and of the one after the last."""
    _make_room(board)
    first = _cut(pcb, board, start, 1)
    return first, _cut(pcb, board, end, 1)


@compiled
def runs_below(pcb, board, end):
    """Cut a run at `end`; return how many runs are below it. A segment that is acknowledged in part stays above."""
    _make_room(board)
    return _cut(pcb, board, end, 0)


@compiled
def _cut(pcb, board, seq, least):
    """Make a run begin at `seq`; return its index, or the number of runs if `seq` is snd_max or beyond.

    The part below it counts as `least` segments at least.
    """
    index = 0
    while index < board.run_count and seq_leq(board.run_end[index], seq):
        index += 1
    if index == board.run_count or seq_leq(seq, run_start(pcb, board, index)):
        return index
    for place in range(board.run_count, index, -1):
        _copy(board, place - 1, place)
    board.run_count += 1
    segments = board.run_segments[index]
    below = min(seq_sub(seq, run_start(pcb, board, index)) // pcb.mss, segments - 1)
    board.run_end[index] = seq
    board.run_segments[index] = max(below, least)
    board.run_segments[index + 1] = max(segments - below, 1)
    return index + 1


@compiled
def _make_room(board):
    """Make room for two more runs.

    Neighbours of one fate are joined, and the later of their times holds. A loss is then found later, and never too early. If all
    neighbours differ, the last ones become one run in flight, whatever is known of them.
    """
    if board.run_count + 2 <= MAX_RUNS:
        return
    kept = 0
    single = True
    for index in range(1, board.run_count):
        same = board.run_state[index] == board.run_state[kept]
        if single and same and board.run_repeated[index] == board.run_repeated[kept]:
            _join(board, kept, index)
            single = False
        else:
            kept += 1
            single = True
            _copy(board, index, kept)
    board.run_count = kept + 1
    while board.run_count + 2 > MAX_RUNS:
        board.run_count -= 1
        last = board.run_count - 1
        _join(board, last, last + 1)
        board.run_state[last] = IN_FLIGHT
        board.run_repeated[last] = REPEATED


@compiled
def _join(board, index, follower):
    """Give a run the bytes of the one that follows it."""
    board.run_end[index] = board.run_end[follower]
    board.run_sent_us[index] = max(board.run_sent_us[index], board.run_sent_us[follower])
    board.run_segments[index] += board.run_segments[follower]


@compiled
def tidy(board, una):
    """Drop the runs below `una`, and join neighbours that have become equal."""
    kept = -1
    for index in range(board.run_count):
        if seq_leq(board.run_end[index], una):
            continue
        if kept >= 0 and _alike(board, kept, index):
            _join(board, kept, index)
        else:
            kept += 1
            if kept != index:
                _copy(board, index, kept)
    board.run_count = kept + 1


@compiled
def _alike(board, index, follower):
    """Return whether two neighbours are equal. The time matters only for what is in flight."""
    state = board.run_state[index]
    if state != board.run_state[follower]:
        return False
    if state == SACKED:
        return True
    if board.run_repeated[index] != board.run_repeated[follower]:
        return False
    return state == LOST or board.run_sent_us[index] == board.run_sent_us[follower]


@compiled
def count_runs(pcb, board):
    """Count what is in flight, lost, reported and repeated."""
    flight = 0
    outstanding = 0
    sacked = 0
    lost = 0
    repeated = 0
    lost_bytes = 0
    start = pcb.snd_una
    for index in range(board.run_count):
        segments = board.run_segments[index]
        state = board.run_state[index]
        outstanding += segments
        if state == IN_FLIGHT:
            flight += segments
            if board.run_repeated[index] == REPAIRED:
                repeated += segments
                lost += segments
            elif board.run_repeated[index] == DOUBLED:
                repeated += segments
                flight += segments
        elif state == LOST:
            lost += segments
            lost_bytes += seq_sub(board.run_end[index], start)
        else:
            sacked += segments
        start = board.run_end[index]
    board.outstanding_segments = outstanding
    board.sacked_segments = sacked
    board.lost_segments = lost
    board.repeated_segments = repeated
    board.lost_bytes = lost_bytes
    board.flight_segments = max(flight - board.duplicate_segments, 0)


@compiled
def mark_lost(board, index):
    """Note that a run is lost."""
    board.run_state[index] = LOST
    board.marked_lost += board.run_segments[index]


@compiled
def mark_all_lost(pcb, board):
    """Mark all that is outstanding as lost, except what the peer reported."""
    for index in range(board.run_count):
        if board.run_state[index] == IN_FLIGHT:
            mark_lost(board, index)
    tidy(board, pcb.snd_una)
    count_runs(pcb, board)


@compiled
def forget_losses(pcb, board):
    """Take back that something is lost: it was only late."""
    for index in range(board.run_count):
        if board.run_state[index] == IN_FLIGHT and board.run_repeated[index] == REPAIRED:
            board.run_repeated[index] = DOUBLED
        elif board.run_state[index] == LOST:
            board.run_state[index] = IN_FLIGHT
            if board.run_repeated[index] != SENT_ONCE:
                board.run_repeated[index] = REPEATED
    tidy(board, pcb.snd_una)
    count_runs(pcb, board)


@compiled
def first_lost(pcb, board):
    """Return (seq, length) of the first bytes to be sent again, length 0 if there are none."""
    for index in range(board.run_count):
        if board.run_state[index] == LOST:
            seq = run_start(pcb, board, index)
            return seq, seq_sub(board.run_end[index], seq)
    return pcb.snd_max, 0


@compiled
def before_sacked(pcb, board, seq, length):
    """Return how much of `length` bytes from `seq` on lies before the next bytes that the peer reported."""
    for index in range(board.run_count):
        if board.run_state[index] == SACKED:
            start = run_start(pcb, board, index)
            if seq_geq(start, seq):
                return min(length, seq_sub(start, seq))
    return length


@compiled
def last_segment(pcb, board):
    """Return the number of the first byte of the last segment that is outstanding."""
    last = board.run_count - 1
    start = run_start(pcb, board, last)
    length = seq_sub(board.run_end[last], start)
    others = (board.run_segments[last] - 1) * pcb.mss
    if 0 < others < length:
        length -= others
    data_end = pcb.fin_seq if seq_gt(pcb.snd_max, pcb.fin_seq) and pcb.fin_queued != 0 else pcb.snd_max
    earliest = seq_add(data_end, -pcb.mss)
    seq = seq_add(pcb.snd_max, -length)
    return earliest if seq_lt(seq, earliest) else seq
