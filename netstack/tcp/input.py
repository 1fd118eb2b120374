"""Input: what an arriving segment does to a connection in each state (RFC 9293, section 3.10.7; RFC 5961; RFC 7323).

Moves sequence numbers, windows and states. Payload bytes belong to the host. What segments of no connection and for listeners do
is in `connection`.
"""

from netstack.jit.compilation import compiled
from netstack.tcp.acknowledgment import measure, receive_ack
from netstack.tcp.connection import tcp_end
from netstack.tcp.flags import (
    TCP_CONNECTED,
    TCP_FINISHED,
    TCP_OUTPUT,
    TCP_REPLY_RESET,
    TCP_SEND_RESET,
)
from netstack.tcp.freebsd import (
    ACKNOWLEDGE,
    CHALLENGE,
    CLOSE,
    PROCESS,
    REFUSE,
    REFUSE_SEGMENT,
    RESET,
    SYN_AGAIN,
    freebsd_check,
    repeats_fin,
)
from netstack.tcp.header import ACK, CE, CWR, ECE, FIN, RST, SYN, sequence_length
from netstack.tcp.options import accept_syn
from netstack.tcp.reassembly import receive_data, receive_window
from netstack.tcp.sack import note_duplicate
from netstack.tcp.sequence import seq_add, seq_gt, seq_leq, seq_lt, seq_sub
from netstack.tcp.states import End, State
from netstack.tcp.style import FREEBSD, RFC, round_buffer

CHALLENGE_ACKS = 10  # per interval (RFC 5961, section 7)
CHALLENGE_INTERVAL_US = 5_000_000
RTO_AFTER_LOST_SYN_US = 3_000_000  # RFC 6298, section 5.7
TIMESTAMP_LIFE_US = 24 * 86400 * 1_000_000  # RFC 7323, section 5.5: an idle connection's ts_recent becomes invalid


@compiled
def tcp_input(pcb, segment, now_us):
    """Process one segment at `now_us`; return a union of the flags in `flags`."""
    pcb.acked_bytes = 0
    pcb.delivered_bytes = 0
    pcb.accepted_bytes = 0
    if pcb.state == State.SYN_SENT:
        return _input_syn_sent(pcb, segment, now_us)
    if pcb.state <= State.LISTEN:
        return 0
    idle_us = now_us - pcb.last_received_us
    pcb.last_received_us = now_us
    if pcb.keepalive_sent != 0:
        pcb.keepalive_sent = 0
        pcb.keepalive_deadline_us = now_us + pcb.keepalive_idle_us
    if pcb.use_timestamps != 0 and not segment.flags & RST:
        if segment.has_timestamps == 0:
            return 0  # RFC 7323, section 3.2
        if seq_lt(segment.ts_val, pcb.ts_recent) and idle_us < TIMESTAMP_LIFE_US:  # PAWS (section 5.3)
            if segment.length == 0 and not segment.flags & (SYN | FIN):
                return 0  # without an answer, as BSD does: two ends must not acknowledge each other's ACKs
            _note_old_data(pcb, segment)
            pcb.ack_now = 1
            return TCP_OUTPUT
    if pcb.state == State.SYN_RECEIVED and segment.flags & SYN and segment.seq == pcb.irs and pcb.style != FREEBSD:
        if not segment.flags & ACK:
            pcb.snd_nxt = pcb.iss  # the peer did not get our SYN: send it again
            return TCP_OUTPUT
        segment.flags &= ~SYN  # the other half of a simultaneous open (RFC 9293, figure 8)
        segment.seq = seq_add(segment.seq, 1)
    flags = 0
    if pcb.style == FREEBSD:
        action = freebsd_check(pcb, segment)
        if action != PROCESS:
            return _answer_as_freebsd(pcb, segment, action, now_us)
        flags = TCP_OUTPUT if pcb.ack_now != 0 else 0
    elif not _acceptable(pcb, segment):
        if segment.flags & RST:
            return 0
        if pcb.state == State.TIME_WAIT and segment.flags & FIN:
            pcb.linger_deadline_us = now_us + pcb.time_wait_us
        if pcb.use_timestamps != 0 and _repeats(pcb, segment):
            pcb.ts_recent = segment.ts_val  # our ACK was lost: the next one must not echo the time of the first copy
        _note_old_data(pcb, segment)
        pcb.ack_now = 1
        return TCP_OUTPUT
    if segment.flags & RST:
        return _input_reset(pcb, segment, now_us)
    if segment.flags & SYN:
        if pcb.state == State.SYN_RECEIVED and pcb.passive != 0:
            return tcp_end(pcb, End.RESET)  # its listener stays (RFC 9293, section 3.10.7.4, fourth check)
        return _challenge(pcb, now_us)
    if not segment.flags & ACK:
        return 0
    if pcb.use_timestamps != 0 and seq_leq(segment.seq, pcb.last_ack_sent):
        pcb.ts_recent = segment.ts_val
    if pcb.state == State.SYN_RECEIVED:
        if not (seq_gt(segment.ack, pcb.iss) and seq_leq(segment.ack, pcb.snd_max)):
            return TCP_REPLY_RESET
        _establish(pcb, segment, now_us)
        pcb.snd_wnd = segment.window << pcb.snd_scale
        pcb.max_snd_wnd = pcb.snd_wnd
        flags |= TCP_CONNECTED
    if seq_gt(segment.ack, pcb.snd_max):
        pcb.ack_now = 1  # the ACK is of something that was never sent
        return flags | TCP_OUTPUT
    if seq_lt(segment.ack, seq_add(pcb.snd_una, -max(pcb.max_snd_wnd, 65535))):
        return flags | _challenge(pcb, now_us)  # RFC 5961, section 5.2
    if pcb.use_ecn != 0:
        _receive_mark(pcb, segment)
    if segment.length > 0 or segment.flags & FIN:
        if pcb.state == State.ESTABLISHED or pcb.state == State.FIN_WAIT_1 or pcb.state == State.FIN_WAIT_2:
            if pcb.detached != 0 and segment.length > 0 and seq_gt(seq_add(segment.seq, segment.length), pcb.rcv_nxt):
                # no application reads it (RFC 9293, section 3.6.1)
                return tcp_end(pcb, End.RESET) | (TCP_SEND_RESET if pcb.style == RFC else TCP_REPLY_RESET)
            flags |= receive_data(pcb, segment, now_us)
        elif pcb.state == State.TIME_WAIT and segment.flags & FIN:
            pcb.linger_deadline_us = now_us + pcb.time_wait_us
            pcb.ack_now = 1
            flags |= TCP_OUTPUT
    flags |= receive_ack(pcb, segment, now_us)
    if pcb.state >= State.FIN_WAIT_1:
        flags |= _finish(pcb, now_us)
    if flags & TCP_FINISHED:
        _receive_fin(pcb, now_us)
    return flags


@compiled
def _answer_as_freebsd(pcb, segment, action, now_us):
    """Do what `freebsd_check` says; return flags."""
    if action == CHALLENGE:
        return _challenge(pcb, now_us)
    if action == CLOSE:
        return tcp_end(pcb, End.REFUSED if pcb.state == State.SYN_RECEIVED and pcb.passive == 0 else End.RESET)
    if action in (RESET, REFUSE):
        return tcp_end(pcb, End.RESET) | TCP_REPLY_RESET
    if action == REFUSE_SEGMENT:
        return TCP_REPLY_RESET
    if action == SYN_AGAIN:
        pcb.snd_nxt = pcb.iss
        pcb.rexmt_shift = 0
        pcb.rto_us = max(pcb.initial_rto_us, pcb.min_rto_us)
        return TCP_OUTPUT
    if action == ACKNOWLEDGE:
        if pcb.state == State.TIME_WAIT and repeats_fin(pcb, segment):
            pcb.linger_deadline_us = now_us + pcb.time_wait_us
        pcb.ack_now = 1
        return TCP_OUTPUT
    return 0


@compiled
def _acceptable(pcb, segment):
    """Return whether a part of the segment is in the window (RFC 9293, section 3.10.7.4, first check)."""
    window = receive_window(pcb)
    length = sequence_length(segment)
    offset = seq_sub(segment.seq, pcb.rcv_nxt)
    if length == 0:
        return offset == 0 or 0 <= offset < window
    if window == 0:
        return offset == 0 and segment.flags & (ACK | RST) != 0  # the ACK or reset is taken, the payload is not
    return offset < window and offset + length > 0


@compiled
def _repeats(pcb, segment):
    """Return whether the segment repeats data of the last window. A number outside of it may be an attacker's guess."""
    behind = seq_sub(pcb.rcv_nxt, segment.seq)
    return segment.length > 0 and 0 < behind <= pcb.receive_buffer_bytes and seq_leq(segment.seq, pcb.last_ack_sent)


@compiled
def _note_old_data(pcb, segment):
    """Report data of the last window that was received again (RFC 2883, section 4.1)."""
    if pcb.scoreboard_address != 0 and segment.length > 0 and not segment.flags & SYN:
        end = seq_add(segment.seq, segment.length)
        if seq_leq(end, pcb.rcv_nxt) and seq_sub(pcb.rcv_nxt, segment.seq) <= pcb.receive_buffer_bytes:
            note_duplicate(pcb, segment.seq, end)


@compiled
def _input_reset(pcb, segment, now_us):
    """End the connection if a reset in the window has exactly the next number, else challenge it (RFC 5961, section 3.2)."""
    if segment.seq != pcb.rcv_nxt:
        return _challenge(pcb, now_us)
    return tcp_end(pcb, End.REFUSED if pcb.state == State.SYN_RECEIVED and pcb.passive == 0 else End.RESET)


@compiled
def _challenge(pcb, now_us):
    """Send a challenge ACK to what may be an attacker, but not too often (RFC 5961); return flags."""
    if now_us - pcb.challenge_since_us > CHALLENGE_INTERVAL_US or pcb.challenge_since_us == 0:
        pcb.challenge_since_us = max(now_us, 1)
        pcb.challenge_acks = 0
    if pcb.challenge_acks >= CHALLENGE_ACKS:
        return 0
    pcb.challenge_acks += 1
    pcb.ack_now = 1
    return TCP_OUTPUT


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
    accept_syn(pcb, segment)
    if not acknowledges:
        pcb.state = State.SYN_RECEIVED  # both ends opened at once
        pcb.use_ecn = 0
        pcb.snd_nxt = pcb.iss
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
            pcb.linger_deadline_us = now_us + pcb.fin_wait_2_us
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
