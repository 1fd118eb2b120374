"""Congestion control: slow start, congestion avoidance, fast retransmit and recovery (RFC 5681; NewReno, RFC 6582).

CUBIC's window is in `cubic`. Changes windows only. What to send is decided in `output`.
"""

from netstack.jit.compilation import compiled
from netstack.tcp.cubic import cubic_increase, cubic_reduce
from netstack.tcp.pcb import CUBIC, LARGE_WINDOW, cold_of, initial_window
from netstack.tcp.sequence import seq_sub

DUPACK_THRESHOLD = 3


@compiled
def flight_size(pcb):
    """Return the bytes sent and not acknowledged."""
    return seq_sub(pcb.snd_max, pcb.snd_una)


@compiled
def first_outstanding(pcb):
    """Return the bytes of payload in the first segment that is not acknowledged."""
    return min(pcb.mss, min(pcb.send_buffered_bytes, flight_size(pcb)))


@compiled
def unsent_segment(pcb):
    """Return the bytes of the next segment of new data that the peer's window has room for, 0 or less if there is none."""
    return min(pcb.mss, min(pcb.send_buffered_bytes, pcb.snd_wnd) - flight_size(pcb))


@compiled
def on_ack(pcb, acked, now_us):
    """Open the window for `acked` new bytes: one segment per ACK below ssthresh, one per window above (RFC 5681, section 3.1)."""
    mss = pcb.mss
    if pcb.snd_cwnd < pcb.snd_ssthresh:
        increase = min(acked, mss)
    elif pcb.congestion == CUBIC:
        increase = cubic_increase(pcb, acked, now_us)
    else:
        increase = max(mss * mss // pcb.snd_cwnd, 1)
    pcb.snd_cwnd = min(pcb.snd_cwnd + increase, LARGE_WINDOW)


@compiled
def reduce(pcb, flight, now_us):
    """Set ssthresh after a congestion event: to half the flight, at least two segments (RFC 5681, equation 4), or as CUBIC does.

    With ECN the peer learns of it, whatever the reason was. Marks on what is outstanding then change nothing (RFC 3168, 6.1.2).
    """
    pcb.ecn_recover = pcb.snd_max
    pcb.ecn_reduced = 1
    if pcb.congestion == CUBIC:
        pcb.snd_ssthresh = cubic_reduce(pcb, now_us)
    else:
        pcb.snd_ssthresh = max(flight // 2, 2 * pcb.mss)


@compiled
def enter_recovery(pcb, now_us):
    """Begin a recovery: retransmit one segment (RFC 6582, section 3.2, step 2; RFC 6675, section 5, step 4).

    Without SACK the window is inflated by the three segments that left the network. With it, the pipe is estimated. What was sent
    in answer to duplicates is no part of the flight (RFC 5681, section 3.2, step 2).
    """
    cold = cold_of(pcb)
    flight = flight_size(pcb)
    if pcb.dupacks > 0:
        flight = min(flight, cold.flight_before_dupacks)
    reduce(pcb, flight, now_us)
    pcb.in_recovery = 1
    pcb.snd_recover = pcb.snd_max
    pcb.snd_cwnd = pcb.snd_ssthresh
    if pcb.use_sack == 0:
        pcb.snd_cwnd += DUPACK_THRESHOLD * pcb.mss
    cold.rescue_rxt = pcb.snd_una
    repair(pcb)


@compiled
def repair(pcb):
    """Send what is missing, from the first hole on: once per recovery, and again if that was lost too."""
    cold = cold_of(pcb)
    cold.high_rxt = pcb.snd_una
    cold.first_hole_max = pcb.snd_max
    pcb.retransmit_now = 1


@compiled
def on_partial_ack(pcb, acked):
    """Retransmit the next hole and deflate after an ACK below `snd_recover` (RFC 6582, section 3.2, step 3, partial)."""
    if pcb.use_sack != 0:
        return
    pcb.retransmit_now = 1
    pcb.snd_cwnd = max(pcb.snd_cwnd - acked, pcb.mss)
    if acked >= pcb.mss:
        pcb.snd_cwnd += pcb.mss


@compiled
def leave_recovery(pcb):
    """End a recovery: deflate to ssthresh without a burst (RFC 6582, section 3.2, step 3, full)."""
    pcb.in_recovery = 0
    pcb.retransmit_now = 0
    pcb.snd_cwnd = min(pcb.snd_ssthresh, max(flight_size(pcb), pcb.mss) + pcb.mss)


@compiled
def on_timeout(pcb, now_us):
    """Reduce the window to one segment: the retransmission timer expired (RFC 5681, section 3.1)."""
    if pcb.rexmt_shift == 0:
        reduce(pcb, flight_size(pcb), now_us)
    pcb.snd_cwnd = pcb.mss
    pcb.in_recovery = 0
    pcb.retransmit_now = 0
    pcb.dupacks = 0
    pcb.snd_recover = pcb.snd_max


@compiled
def on_congestion(pcb, acked, now_us):
    """Reduce the window, once per window: the peer reports a mark of the network (RFC 3168, section 6.1.2).

    The `acked` bytes of the ACK that reports it were in flight at the event.
    """
    reduce(pcb, flight_size(pcb) + acked, now_us)
    pcb.snd_cwnd = pcb.snd_ssthresh


@compiled
def first_window(pcb):
    """Return the congestion window in bytes with which a connection begins (RFC 6928, or RFC 3390)."""
    return pcb.initial_segments * pcb.mss if pcb.initial_segments > 0 else initial_window(pcb.mss)


@compiled
def restart_after_idle(pcb, now_us):
    """Restart from the initial window if nothing was sent for a retransmission timeout (RFC 5681, section 4.1)."""
    if pcb.keep_window == 0 and pcb.snd_una == pcb.snd_max and now_us - pcb.last_sent_us > pcb.rto_us:
        pcb.snd_cwnd = min(pcb.snd_cwnd, initial_window(pcb.mss))
