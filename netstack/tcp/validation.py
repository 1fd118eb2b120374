"""The congestion window grows only while it is what limits the sender, and shrinks while it is not (RFC 7661, RFC 2861).

Decides by how much an ACK opens the window of a connection that remembers its transmissions (RFC 3465). Knows no loss.
"""

from netstack.jit.compilation import compiled
from netstack.tcp.congestion import first_window, flight_size
from netstack.tcp.cubic import cubic_increase, cubic_pause, cubic_restart
from netstack.tcp.pcb import CUBIC, LARGE_WINDOW, cold_of
from netstack.tcp.scoreboard import CongestionState
from netstack.tcp.sequence import seq_geq
from netstack.tcp.undo import threshold_in_use


@compiled
def note_use(pcb, board, now_us):
    """Note how much of the window is used, after a segment was sent or held back."""
    limited = board.flight_segments >= pcb.snd_cwnd // pcb.mss
    more = board.window_limited == 0 and board.outstanding_segments > board.flight_limit
    if limited or more or seq_geq(pcb.snd_una, board.window_seq):
        board.window_limited = 1 if limited else 0
        board.flight_limit = board.outstanding_segments
        board.window_seq = pcb.snd_max
    if is_limited(pcb, board):
        board.window_used = 0
        board.window_used_us = now_us
        return
    board.window_used = max(board.window_used, board.outstanding_segments)
    if pcb.keep_window == 0 and now_us - board.window_used_us >= pcb.rto_us:
        _decay(pcb, board, now_us)


@compiled
def _decay(pcb, board, now_us):
    """Move the window half way to what was used of it in the last retransmission timeout (RFC 2861, section 3.1)."""
    if board.congestion_state == CongestionState.OPEN:
        used = max(board.window_used * pcb.mss, first_window(pcb))
        if used < pcb.snd_cwnd:
            pcb.snd_ssthresh = threshold_in_use(pcb)
            pcb.snd_cwnd = (pcb.snd_cwnd + used) // 2
        board.window_used = 0
    board.window_used_us = now_us


@compiled
def is_limited(pcb, board):
    """Return whether the window is what limits the sender: in slow start, if half of it was used in this round trip."""
    if board.window_limited != 0:
        return True
    return pcb.snd_cwnd < pcb.snd_ssthresh and pcb.snd_cwnd < 2 * board.flight_limit * pcb.mss


@compiled
def grow_window(pcb, board, delivered, now_us):
    """Open the window for `delivered` segments: as many below ssthresh, above one per window (RFC 3465) or as CUBIC does."""
    if not is_limited(pcb, board):
        cubic_pause(pcb, now_us)
        return
    acked = delivered * pcb.mss
    if pcb.snd_cwnd < pcb.snd_ssthresh:
        window = min(pcb.snd_cwnd + acked, min(pcb.snd_ssthresh, LARGE_WINDOW))
        acked -= window - pcb.snd_cwnd
        pcb.snd_cwnd = window
        cold_of(pcb).cubic_seen_us = now_us
    if acked <= 0:
        return
    if pcb.congestion == CUBIC:
        pcb.snd_cwnd = min(pcb.snd_cwnd + cubic_increase(pcb, acked, now_us), LARGE_WINDOW)
        return
    board.credit_bytes += acked
    windows = board.credit_bytes // pcb.snd_cwnd
    board.credit_bytes -= windows * pcb.snd_cwnd
    pcb.snd_cwnd = min(pcb.snd_cwnd + windows * pcb.mss, LARGE_WINDOW)


@compiled
def begin_to_send(pcb, board, now_us):
    """Prepare to send with nothing outstanding: the pause is no time of growth, and a long one makes the window doubtful.

    For each retransmission timeout that passed the window is halved, to the first window at least (RFC 2861, section 3.1).
    """
    if flight_size(pcb) != 0:
        return
    cubic_pause(pcb, now_us)
    idle_us = now_us - pcb.last_sent_us
    if pcb.keep_window != 0 or idle_us <= pcb.rto_us:
        return
    threshold = threshold_in_use(pcb)
    least = min(first_window(pcb), pcb.snd_cwnd)
    window = pcb.snd_cwnd
    idle_us -= pcb.rto_us
    while idle_us > 0 and window > least:
        window //= 2
        idle_us -= pcb.rto_us
    window = max(window // pcb.mss * pcb.mss, least)
    pcb.snd_ssthresh = threshold
    if window < pcb.snd_cwnd:
        cubic_restart(pcb)
    pcb.snd_cwnd = window
    board.window_used = 0
    board.window_used_us = now_us
