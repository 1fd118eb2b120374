"""Timers: retransmission and zero-window probes, delayed ACK, keep-alive, user timeout, and the waits of the last states.

RFC 6298; RFC 9293, sections 3.8.3, 3.8.4, 3.8.6 and 3.6.1. Deadlines are in us; 0 is off. The retransmission timer also runs
while data waits for a closed window: it is the persist timer then (section 3.8.6.1).

Knows no clock: the host asks for the earliest deadline and calls when it has passed.
"""

from netstack.jit.compilation import compiled
from netstack.tcp.acknowledgment import MAX_RTO_US
from netstack.tcp.congestion import on_timeout
from netstack.tcp.connection import tcp_end
from netstack.tcp.flags import TCP_CLOSED, TCP_OUTPUT, TCP_SEND_RESET
from netstack.tcp.pcb import cold_of
from netstack.tcp.recovery import enter_loss, expire_reordering
from netstack.tcp.sack import forget_reneged
from netstack.tcp.scoreboard import rack_runs, scoreboard_at
from netstack.tcp.states import End, State
from netstack.tcp.style import FREEBSD, LINUX, MAX_SHIFT, persist_timeout_us, tells_of_silence, tells_of_user_timeout


@compiled
def _earlier(a, b):
    """Return the earlier of two deadlines, each of which may be 0 for none."""
    if a == 0:
        return b
    return a if b == 0 else min(a, b)


@compiled
def tcp_next_deadline_us(pcb):
    """Return the earliest deadline in us, 0 if no timer runs."""
    deadline = _earlier(pcb.rexmt_deadline_us, pcb.delack_deadline_us)
    if pcb.scoreboard_address != 0:
        board = scoreboard_at(pcb.scoreboard_address, 0)
        deadline = _earlier(deadline, _earlier(board.reorder_deadline_us, board.probe_deadline_us))
    if pcb.keepalive_deadline_us != 0:
        deadline = _earlier(deadline, pcb.keepalive_deadline_us)
    if pcb.linger_deadline_us != 0:
        deadline = _earlier(deadline, pcb.linger_deadline_us)
    if pcb.user_timeout_us != 0 and pcb.unanswered_since_us != 0:
        deadline = _earlier(deadline, pcb.unanswered_since_us + pcb.user_timeout_us)
    return deadline


@compiled
def tcp_timeout(pcb, now_us):
    """Run the timers that expired by `now_us`; return a union of the flags in `flags`."""
    flags = 0
    if 0 < pcb.linger_deadline_us <= now_us:
        return tcp_end(pcb, End.NONE)
    if pcb.user_timeout_us != 0 and 0 < pcb.unanswered_since_us <= now_us - pcb.user_timeout_us:
        reset = TCP_SEND_RESET if tells_of_user_timeout(pcb) else 0
        return tcp_end(pcb, End.TIMED_OUT) | reset  # RFC 9293, section 3.9.1.1, and RFC 5482
    if 0 < pcb.delack_deadline_us <= now_us:
        pcb.delack_deadline_us = 0
        pcb.ack_now = 1
        flags = TCP_OUTPUT
    if 0 < pcb.keepalive_deadline_us <= now_us:
        flags |= _keep_alive(pcb, now_us)
        if flags & TCP_CLOSED:
            return flags
    by_time = pcb.state >= State.ESTABLISHED and rack_runs(pcb)
    if by_time:
        flags |= _expire_by_time(pcb, now_us)
    if 0 < pcb.rexmt_deadline_us <= now_us:
        window_closed = pcb.state >= State.ESTABLISHED and (
            pcb.snd_wnd == 0 or (pcb.snd_wnd < pcb.mss and pcb.snd_una == pcb.snd_max)
        )
        if not window_closed:
            pcb.retransmission_timeouts += 1
            if by_time:
                enter_loss(pcb, scoreboard_at(pcb.scoreboard_address, 0), now_us)
            else:
                on_timeout(pcb, now_us)
                forget_reneged(pcb)
        answered = now_us - pcb.last_received_us <= pcb.rto_us  # a peer that answers probes is alive
        if not (window_closed and answered):
            if pcb.rexmt_shift >= pcb.max_retransmissions:
                reset = TCP_SEND_RESET if tells_of_silence(pcb) else 0
                return tcp_end(pcb, End.TIMED_OUT) | reset
            pcb.rexmt_shift += 1
        pcb.probe_now = 1
        if pcb.snd_wnd == 0 and window_closed and pcb.style == LINUX and pcb.snd_una == pcb.snd_max:
            pcb.probe_now = 0
            pcb.probe_alive = 1  # a number that the peer must answer, and no data
        if window_closed and pcb.style == FREEBSD:
            pcb.rexmt_shift = min(pcb.rexmt_shift + 1, MAX_SHIFT) if answered else pcb.rexmt_shift
        else:
            first = pcb.state < State.ESTABLISHED and pcb.rexmt_shift == 1  # of a SYN, which has no slop
            pcb.rto_us = min((pcb.rto_us - (0 if first else pcb.rto_slop_us)) * 2 + pcb.rto_slop_us, MAX_RTO_US)
        if not by_time:
            pcb.snd_nxt = pcb.snd_una
        pcb.timed_at_us = 0
        pcb.rexmt_deadline_us = now_us + (persist_timeout_us(pcb) if window_closed else pcb.rto_us)
        flags |= TCP_OUTPUT
    return flags


@compiled
def _expire_by_time(pcb, now_us):
    """Run the reordering timer and the probe timer if they expired; return flags (RFC 8985, sections 6.2 and 7.3)."""
    board = scoreboard_at(pcb.scoreboard_address, 0)
    flags = 0
    if 0 < board.reorder_deadline_us <= now_us and expire_reordering(pcb, board, now_us):
        flags = TCP_OUTPUT
    if 0 < board.probe_deadline_us <= now_us:
        board.probe_deadline_us = 0
        board.probe_due = 1
        pcb.rexmt_deadline_us = now_us + pcb.rto_us
        flags = TCP_OUTPUT
    return flags


@compiled
def _keep_alive(pcb, now_us):
    """Probe a silent peer, and end the connection after enough probes; return flags (RFC 9293, section 3.8.4)."""
    cold = cold_of(pcb)
    idle_us = now_us - pcb.last_received_us
    if pcb.state < State.ESTABLISHED or cold.keepalive_idle_us == 0:
        pcb.keepalive_deadline_us = 0
        return 0
    if idle_us < cold.keepalive_idle_us:
        pcb.keepalive_deadline_us = pcb.last_received_us + cold.keepalive_idle_us
        return 0
    if pcb.snd_una == pcb.snd_max:
        if pcb.keepalive_sent >= cold.keepalive_probes:
            return tcp_end(pcb, End.TIMED_OUT) | TCP_SEND_RESET
        pcb.keepalive_sent += 1
        pcb.probe_alive = 1
    pcb.keepalive_deadline_us = now_us + cold.keepalive_interval_us
    return TCP_OUTPUT
