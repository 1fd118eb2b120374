"""Input: what an arriving segment does to a connection in each state (RFC 9293, section 3.10.7; RFC 5961; RFC 7323).

Moves sequence numbers, windows and states. Payload bytes belong to the host. What segments of no connection and for listeners do
is in `connection`.
"""

from netstack.jit.compilation import compiled
from netstack.tcp.acceptance import (
    answer,
    challenge,
    has_valid_ack,
    is_at_edge,
    is_in_window,
    is_older,
    may_answer,
    repeats,
    take_timestamp,
)
from netstack.tcp.acknowledgment import measure, receive_ack
from netstack.tcp.connection import tcp_end
from netstack.tcp.flags import TCP_CONNECTED, TCP_FINISHED, TCP_OUTPUT, TCP_REPLY_RESET, TCP_SEND_RESET
from netstack.tcp.freebsd import PROCESS, freebsd_answer, freebsd_check
from netstack.tcp.header import ACK, CE, CWR, ECE, FIN, RST, SYN
from netstack.tcp.options import accept_syn, reduce_options
from netstack.tcp.pcb import cold_of
from netstack.tcp.reassembly import deliver_held, hold_data, receive_data
from netstack.tcp.sequence import seq_add, seq_gt, seq_leq, seq_lt
from netstack.tcp.states import End, State
from netstack.tcp.style import FREEBSD, RFC, round_buffer

RTO_AFTER_LOST_SYN_US = 3_000_000  # RFC 6298, section 5.7


@compiled
def tcp_input(pcb, segment, now_us):
    """Process one segment at `now_us`; return a union of the flags in `flags`.

    The order of checks in SYN-RECEIVED and all later states. Before step 7 a segment changes nothing of the connection but the
    limit of answers, or ends it; steps 1 and 3 name what else. "Answered" means with an ACK, within that limit (`acceptance`).

    1. A SYN that repeats the first one: our SYN or SYN-ACK is sent again, within the limit, without options that it lacks. The
       timer goes on, so that this ends. With an ACK it is the other half of a simultaneous open: from here on an ACK without SYN.
    2. Time stamps, if agreed, except in resets: a segment without them is dropped, but not a SYN; an older one is answered (RFC
       7323, sections 3.2 and 5.3).
    3. Sequence number: outside of the window a reset is dropped, all else is answered (section 3.10.7.4, first check). With a
       valid ACK, a repetition of the last window renews the echoed time stamp, that of the FIN TIME-WAIT; and next to the
       window (`is_at_edge`) the ACK and the peer's window are read, and of a repetition an ACK of something new, as BSD does:
       two ends that have both shrunk their windows know of nothing else to send. As FreeBSD, `freebsd_check` stands for steps
       1 and 3 to 5.
    4. RST: the next number exactly ends the connection, others in the window are answered (RFC 5961, section 3.2).
    5. SYN: answered, but ends a passive SYN-RECEIVED (RFC 5961, section 4.2; fourth check).
    6. No ACK: dropped. ACK field: in SYN-RECEIVED one that is not of our SYN gets a reset (fifth check); later one outside of
       [SND.UNA - MAX.SND.WND, SND.MAX] is answered (RFC 5961, section 5.2).
    7. Accepted. In SYN-RECEIVED the connection is established. The peer is alive; its time stamp is echoed (RFC 7323, section
       4.3); marks of congestion are echoed; payload and FIN are taken (seventh and eighth check); what is acknowledged leaves
       the buffer, the window is set, and our own FIN may be done (fifth check). An ACK of something new sets the window even if
       its segment is older than the last one that did, unlike SND.WL1 and SND.WL2 of the RFC (decision 0012).
    """
    pcb.acked_bytes = 0
    pcb.delivered_bytes = 0
    pcb.accepted_bytes = 0
    if pcb.state <= State.SYN_RECEIVED:
        if pcb.state == State.SYN_SENT:
            return _input_syn_sent(pcb, segment, now_us)
        if pcb.state <= State.LISTEN:
            return 0
        if segment.flags & SYN:
            segment.window >>= pcb.snd_scale  # that of a SYN is not scaled (RFC 7323, section 2.2), and will be below
        if segment.flags & (SYN | RST) == SYN and segment.seq == pcb.irs and pcb.style != FREEBSD:
            if not segment.flags & ACK:
                return _repeat_syn(pcb, segment, now_us)
            segment.flags &= ~SYN  # the other half of a simultaneous open (RFC 9293, figure 8)
            segment.seq = seq_add(segment.seq, 1)
    if pcb.use_timestamps != 0 and not segment.flags & RST:
        if segment.has_timestamps == 0:
            if not segment.flags & SYN:
                return 0
        elif is_older(pcb, segment, now_us):
            return answer(pcb, segment, now_us)
    flags = 0
    if pcb.style == FREEBSD:
        action = freebsd_check(pcb, segment)
        if action != PROCESS:
            return freebsd_answer(pcb, segment, action, now_us)
        flags = TCP_OUTPUT if pcb.ack_now != 0 else 0
    elif not is_in_window(pcb, segment):
        return _input_outside(pcb, segment, now_us)
    if segment.flags & RST:
        return _input_reset(pcb, segment, now_us)
    if segment.flags & SYN:
        if pcb.state == State.SYN_RECEIVED and pcb.passive != 0:
            return tcp_end(pcb, End.RESET)  # its listener stays (RFC 9293, section 3.10.7.4, fourth check)
        return challenge(pcb, now_us)
    if not segment.flags & ACK:
        return 0
    if pcb.state == State.SYN_RECEIVED:
        if not (seq_gt(segment.ack, pcb.iss) and seq_leq(segment.ack, pcb.snd_max)):
            return TCP_REPLY_RESET
        _establish(pcb, segment, now_us)
        pcb.snd_wnd = segment.window << pcb.snd_scale
        pcb.max_snd_wnd = pcb.snd_wnd
        flags |= TCP_CONNECTED
    elif not has_valid_ack(pcb, segment):
        return flags | challenge(pcb, now_us)
    _note_alive(pcb, now_us)
    if pcb.use_timestamps != 0 and seq_leq(segment.seq, pcb.last_ack_sent):
        take_timestamp(pcb, segment, now_us)
    if pcb.use_ecn != 0:
        _receive_mark(pcb, segment)
    if segment.length > 0 or segment.flags & FIN:
        if pcb.state == State.ESTABLISHED or pcb.state == State.FIN_WAIT_1 or pcb.state == State.FIN_WAIT_2:
            if pcb.detached != 0 and segment.length > 0 and seq_gt(seq_add(segment.seq, segment.length), pcb.rcv_nxt):
                # no application reads it (RFC 9293, section 3.6.1)
                return tcp_end(pcb, End.RESET) | (TCP_SEND_RESET if pcb.style == RFC else TCP_REPLY_RESET)
            flags |= receive_data(pcb, segment, now_us)
        elif pcb.state == State.TIME_WAIT and segment.flags & FIN:
            flags |= challenge(pcb, now_us)  # beyond the peer's only FIN
    if flags & TCP_CONNECTED:
        flags |= deliver_held(pcb)
    flags |= receive_ack(pcb, segment, now_us)
    if pcb.state >= State.FIN_WAIT_1:
        flags |= _finish(pcb, now_us)
    if flags & TCP_FINISHED:
        _receive_fin(pcb, now_us)
    return flags


@compiled
def _note_alive(pcb, now_us):
    """Note that the peer sent something acceptable: nobody else keeps a dead connection open."""
    pcb.last_received_us = now_us
    if pcb.keepalive_sent != 0:
        pcb.keepalive_sent = 0
        pcb.keepalive_deadline_us = now_us + cold_of(pcb).keepalive_idle_us


@compiled
def _repeat_syn(pcb, segment, now_us):
    """Answer a SYN that came again: the peer did not get ours. Its options count if they became fewer."""
    if not may_answer(pcb, now_us):
        return 0
    reduce_options(pcb, segment)
    pcb.snd_nxt = pcb.iss
    return TCP_OUTPUT


@compiled
def _input_outside(pcb, segment, now_us):
    """Process a segment that is not in the window; return flags (RFC 9293, section 3.10.7.4, first check)."""
    if segment.flags & RST:
        return 0
    flags = answer(pcb, segment, now_us)
    if pcb.state < State.ESTABLISHED:
        return flags
    if repeats(pcb, segment):
        if pcb.use_timestamps != 0 and seq_leq(segment.seq, pcb.last_ack_sent):
            take_timestamp(pcb, segment, now_us)  # our ACK was lost: the next one must not echo the time of the first copy
        if pcb.state == State.TIME_WAIT and segment.flags & FIN and seq_add(segment.seq, segment.length) == pcb.peer_fin_seq:
            pcb.linger_deadline_us = now_us + pcb.time_wait_us
    at_edge = is_at_edge(pcb, segment)
    tells_more = at_edge or (repeats(pcb, segment) and seq_gt(segment.ack, pcb.snd_una))
    if segment.flags & (SYN | ACK) == ACK and tells_more and has_valid_ack(pcb, segment):
        if at_edge:
            segment.seq = pcb.rcv_nxt  # for the window: it is the peer's latest
        segment.length = 0
        _note_alive(pcb, now_us)
        flags |= receive_ack(pcb, segment, now_us)
        if pcb.state >= State.FIN_WAIT_1:
            flags |= _finish(pcb, now_us)
    return flags


@compiled
def _input_reset(pcb, segment, now_us):
    """End the connection if a reset in the window has exactly the next number, else challenge it (RFC 5961, section 3.2)."""
    if segment.seq != pcb.rcv_nxt:
        return challenge(pcb, now_us)
    return tcp_end(pcb, End.REFUSED if pcb.state == State.SYN_RECEIVED and pcb.passive == 0 else End.RESET)


@compiled
def _receive_mark(pcb, segment):
    """Echo a congestion mark until the peer says that it has reduced its window (RFC 3168, section 6.1.3)."""
    if segment.flags & CWR:
        pcb.ecn_echo = 0
    if segment.ecn == CE:
        pcb.ecn_echo = 1


@compiled
def _establish(pcb, segment, now_us):
    """Enter ESTABLISHED, or FIN-WAIT-1 if the user has closed: the peer acknowledged our SYN."""
    if pcb.rexmt_shift > 0:
        pcb.rto_us = max(pcb.rto_us, RTO_AFTER_LOST_SYN_US)
    if pcb.rexmt_shift > 1:
        pcb.snd_cwnd = pcb.mss  # RFC 6928, section 2: a single timeout may have been too early
    measure(pcb, segment, now_us)
    if pcb.passive != 0:
        round_buffer(pcb, min(pcb.own_mss, pcb.peer_mss))
    pcb.state = State.ESTABLISHED
    if pcb.fin_queued != 0:
        pcb.state = State.FIN_WAIT_1
    pcb.snd_una = seq_add(pcb.iss, 1)
    pcb.fin_seq = seq_add(pcb.snd_una, pcb.send_buffered_bytes)
    if seq_lt(pcb.snd_nxt, pcb.snd_una):
        pcb.snd_nxt = pcb.snd_una
    pcb.snd_recover = pcb.iss
    pcb.ecn_recover = pcb.iss
    pcb.snd_wl1 = segment.seq
    pcb.rexmt_shift = 0
    pcb.rexmt_deadline_us = 0
    pcb.unanswered_since_us = 0


@compiled
def _input_syn_sent(pcb, segment, now_us):
    """Process a segment in SYN-SENT; return flags (RFC 9293, section 3.10.7.3)."""
    acknowledges = segment.flags & ACK != 0
    if acknowledges and not (seq_gt(segment.ack, pcb.iss) and seq_leq(segment.ack, pcb.snd_max)):
        return 0 if segment.flags & RST else TCP_REPLY_RESET
    if segment.flags & RST:
        if not acknowledges:
            return 0
        return tcp_end(pcb, End.REFUSED)
    if not segment.flags & SYN:
        return 0
    pcb.last_received_us = now_us
    accept_syn(pcb, segment, now_us)
    if not acknowledges:
        pcb.state = State.SYN_RECEIVED  # both ends opened at once
        pcb.use_ecn = 0
        pcb.snd_nxt = pcb.iss
        pcb.rexmt_deadline_us = 0
        hold_data(pcb, segment)
        return TCP_OUTPUT
    pcb.use_ecn = 1 if pcb.use_ecn != 0 and segment.flags & (ECE | CWR) == ECE else 0
    _establish(pcb, segment, now_us)
    flags = TCP_CONNECTED | TCP_OUTPUT
    segment.seq = pcb.rcv_nxt
    if segment.length > 0 or segment.flags & FIN:
        flags |= receive_data(pcb, segment, now_us)
        if flags & TCP_FINISHED:
            _receive_fin(pcb, now_us)
    pcb.ack_now = 1
    return flags


@compiled
def _finish(pcb, now_us):
    """Enter the next state if our FIN has been acknowledged; return flags."""
    if not seq_gt(pcb.snd_una, pcb.fin_seq):
        return 0
    if pcb.state == State.FIN_WAIT_1:
        pcb.state = State.FIN_WAIT_2
        if pcb.detached != 0:
            pcb.linger_deadline_us = now_us + cold_of(pcb).fin_wait_2_us
    elif pcb.state == State.CLOSING:
        _wait(pcb, now_us)
    elif pcb.state == State.LAST_ACK:
        return tcp_end(pcb, End.NONE)
    return 0


@compiled
def _receive_fin(pcb, now_us):
    """Enter the next state: the peer's FIN was delivered (RFC 9293, section 3.10.7.4, eighth check)."""
    if pcb.state == State.ESTABLISHED:
        pcb.state = State.CLOSE_WAIT
    elif pcb.state == State.FIN_WAIT_1:
        pcb.state = State.CLOSING
    elif pcb.state == State.FIN_WAIT_2:
        _wait(pcb, now_us)


@compiled
def _wait(pcb, now_us):
    """Enter TIME-WAIT, and stop all other timers."""
    pcb.state = State.TIME_WAIT
    pcb.rexmt_deadline_us = 0
    pcb.keepalive_deadline_us = 0
    pcb.linger_deadline_us = now_us + pcb.time_wait_us
