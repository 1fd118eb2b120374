"""Retransmission and delayed-ACK timers (RFC 6298; RFC 9293, section 3.8.6). Deadlines in us; 0 is off.

The retransmission timer also runs while data waits for a closed window (RFC 9293, section 3.8.6.1: the persist timer).

Knows no clock: the host asks for the earliest deadline and calls when it has passed.
"""

from netstack.compilation import compiled
from netstack.tcp.congestion import on_timeout
from netstack.tcp.input import TCP_OUTPUT

MAX_SHIFT = 12


@compiled
def tcp_next_deadline_us(pcb):
    """Return the earliest deadline, 0 if no timer runs."""
    rexmt = pcb.rexmt_deadline_us
    delack = pcb.delack_deadline_us
    if rexmt == 0:
        return delack
    if delack == 0:
        return rexmt
    return min(rexmt, delack)


@compiled
def tcp_timeout(pcb, now_us):
    """Run the timers that expired by `now_us`; return TCP_OUTPUT if there is something to send."""
    flags = 0
    if 0 < pcb.delack_deadline_us <= now_us:
        pcb.delack_deadline_us = 0
        pcb.ack_now = 1
        flags = TCP_OUTPUT
    if 0 < pcb.rexmt_deadline_us <= now_us:
        window_closed = pcb.snd_wnd == 0 or (pcb.snd_wnd < pcb.mss and pcb.snd_una == pcb.snd_max)
        if not window_closed:
            on_timeout(pcb)
            pcb.retransmission_timeouts += 1
            pcb.rexmt_shift = min(pcb.rexmt_shift + 1, MAX_SHIFT)
        pcb.probe_now = 1
        pcb.rto_us = min(pcb.rto_us * 2, 64_000_000)
        pcb.snd_nxt = pcb.snd_una
        pcb.rexmt_deadline_us = now_us + pcb.rto_us
        flags = TCP_OUTPUT
    return flags
