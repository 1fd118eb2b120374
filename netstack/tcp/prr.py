"""Proportional rate reduction (PRR, RFC 9937): while the window shrinks, what is sent follows what is delivered.

Counts in segments, as Linux does. Knows neither when a reduction begins nor why.
"""

from netstack.jit.compilation import compiled
from netstack.tcp.congestion import reduce
from netstack.tcp.pcb import cold_of
from netstack.tcp.scoreboard import CongestionState


@compiled
def begin_reduction(pcb, board, now_us):
    """Lower the slow start threshold, to which the window then shrinks. It ends with the ACK of what is outstanding now."""
    window = pcb.snd_cwnd // pcb.mss
    pcb.snd_recover = pcb.snd_max
    board.probe_outstanding = 0
    board.credit_bytes = 0
    board.undo_cwnd = pcb.snd_cwnd
    board.undo_cubic_max = cold_of(pcb).cubic_max_bytes
    board.prr_flight = max(window, 1)  # as Linux does: the window, which grows only while it is what limits
    board.prr_delivered = 0
    board.prr_out = 0
    reduce_threshold(pcb, board, now_us)


@compiled
def reduce_threshold(pcb, board, now_us):
    """Lower the slow start threshold to whole segments (RFC 5681, section 3.1; RFC 9438, section 4.6)."""
    reduce(pcb, pcb.snd_cwnd // pcb.mss * pcb.mss, now_us)
    pcb.snd_ssthresh = pcb.snd_ssthresh // pcb.mss * pcb.mss


@compiled
def shrink_window(pcb, board, delivered, newly_lost):
    """Set the window by an ACK that reports `delivered` and leaves `newly_lost` segments to be lost (section 6.2)."""
    if delivered <= 0:
        return
    threshold = pcb.snd_ssthresh // pcb.mss
    flight = board.flight_segments
    board.prr_delivered += delivered
    if flight > threshold:
        allowed = -(-board.prr_delivered * threshold // board.prr_flight) - board.prr_out
    else:
        allowed = max(board.prr_delivered - board.prr_out, delivered)
        if board.advanced != 0 and newly_lost == 0:
            allowed += 1  # the ACK is safe: slow start reduction bound
        allowed = min(allowed, threshold - flight)
    if board.prr_out == 0:
        allowed = max(allowed, 1)  # the first retransmission is never held back
    pcb.snd_cwnd = (flight + max(allowed, 0)) * pcb.mss


@compiled
def end_reduction(pcb, board, now_us):
    """Leave the window at the threshold, unless the reduction has been taken back."""
    if board.congestion_state == CongestionState.REDUCING or board.undo_open != 0:
        pcb.snd_cwnd = pcb.snd_ssthresh
        board.window_used_us = now_us


@compiled
def is_shrinking(board):
    """Return whether PRR sets the window now."""
    state = board.congestion_state
    return state == CongestionState.REDUCING or state == CongestionState.RECOVERY
