"""Congestion control: slow start, congestion avoidance, fast retransmit and recovery (RFC 5681, RFC 6582 NewReno).

Changes windows only; what to send is decided in output.
"""

from netstack.compilation import compiled
from netstack.tcp.pcb import LARGE_WINDOW
from netstack.tcp.sequence import seq_sub

DUPACK_THRESHOLD = 3


@compiled
def flight_size(pcb):
    """Return the bytes sent and not acknowledged."""
    return seq_sub(pcb.snd_max, pcb.snd_una)


@compiled
def on_ack(pcb, acked):
    """Open the window for `acked` new bytes: one segment an ACK below ssthresh, one a window above (RFC 5681, section 3.1)."""
    mss = pcb.mss
    if pcb.snd_cwnd < pcb.snd_ssthresh:
        increase = min(acked, mss)
    else:
        increase = max(mss * mss // pcb.snd_cwnd, 1)
    pcb.snd_cwnd = min(pcb.snd_cwnd + increase, LARGE_WINDOW)


@compiled
def halve(pcb):
    """Set ssthresh to half the flight, at least two segments (RFC 5681, equation 4)."""
    pcb.snd_ssthresh = max(flight_size(pcb) // 2, 2 * pcb.mss)


@compiled
def enter_recovery(pcb):
    """Third duplicate ACK: retransmit one segment, inflate by the three that left the network (RFC 6582, section 3.2, step 2)."""
    halve(pcb)
    pcb.in_recovery = 1
    pcb.snd_recover = pcb.snd_max
    pcb.snd_cwnd = pcb.snd_ssthresh + DUPACK_THRESHOLD * pcb.mss
    pcb.retransmit_now = 1


@compiled
def on_partial_ack(pcb, acked):
    """An ACK below `snd_recover`: retransmit the next hole, deflate (RFC 6582, section 3.2, step 3, partial)."""
    pcb.retransmit_now = 1
    pcb.snd_cwnd = max(pcb.snd_cwnd - acked, pcb.mss)
    if acked >= pcb.mss:
        pcb.snd_cwnd += pcb.mss


@compiled
def leave_recovery(pcb):
    """An ACK of all that was outstanding: deflate to ssthresh without a burst (RFC 6582, section 3.2, step 3, full)."""
    pcb.in_recovery = 0
    pcb.retransmit_now = 0
    pcb.snd_cwnd = min(pcb.snd_ssthresh, max(flight_size(pcb), pcb.mss) + pcb.mss)


@compiled
def on_timeout(pcb):
    """The retransmission timer expired: back to one segment (RFC 5681, section 3.1)."""
    if pcb.rexmt_shift == 0:
        halve(pcb)
    pcb.snd_cwnd = pcb.mss
    pcb.in_recovery = 0
    pcb.retransmit_now = 0
    pcb.dupacks = 0
    pcb.snd_recover = pcb.snd_max
