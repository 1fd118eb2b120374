"""The requests of a connection's user: open, close, abort, and the room that a read makes (RFC 9293, section 3.10).

Moves states only. What is to be sent follows from `tcp_output`. Resets for segments of no connection are built here too.
"""

from netstack.jit.compilation import compiled
from netstack.tcp.acceptance import acceptable_seq
from netstack.tcp.acknowledgment import send_again
from netstack.tcp.flags import TCP_CLOSED, TCP_OUTPUT, TCP_REPLY_RESET
from netstack.tcp.header import ACK, CWR, ECE, RST, SYN, clear_options, sequence_length
from netstack.tcp.options import accept_syn, limit_mss, timestamp
from netstack.tcp.pcb import LARGE_WINDOW, cold_of
from netstack.tcp.reassembly import MAX_WINDOW, hold_data
from netstack.tcp.sequence import seq_add, seq_leq, seq_lt, seq_sub
from netstack.tcp.states import End, State
from netstack.tcp.style import FREEBSD, RFC, freebsd_updates_window, linux_updates_window

LISTEN_IGNORE, LISTEN_OPEN = 0, 1
MUCH_ANNOUNCED_SEGMENTS = 16


@compiled
def _start(pcb, iss, now_us):
    pcb.iss = iss
    pcb.snd_una = iss
    pcb.snd_nxt = iss
    pcb.snd_max = iss
    pcb.snd_recover = iss
    pcb.ecn_recover = iss
    pcb.fin_seq = seq_add(iss, 1)
    pcb.snd_ssthresh = LARGE_WINDOW
    pcb.snd_cwnd = pcb.mss
    pcb.rto_us = max(pcb.initial_rto_us, pcb.min_rto_us)
    pcb.last_received_us = now_us
    pcb.last_sent_us = now_us


@compiled
def tcp_connect(pcb, iss, now_us):
    """Open actively a closed pcb whose addresses, mss, options, scales and receive window are set. Output sends the SYN."""
    _start(pcb, iss, now_us)
    pcb.state = State.SYN_SENT


@compiled
def tcp_listen_input(segment):
    """Return what a listener does with a segment: LISTEN_IGNORE, LISTEN_OPEN or TCP_REPLY_RESET (RFC 9293, section 3.10.7.2)."""
    if segment.flags & RST:
        return LISTEN_IGNORE
    if segment.flags & ACK:
        return TCP_REPLY_RESET
    return LISTEN_OPEN if segment.flags & SYN else LISTEN_IGNORE


@compiled
def tcp_accept(pcb, segment, iss, now_us):
    """Open passively by a SYN. Output sends the SYN-ACK."""
    _start(pcb, iss, now_us)
    pcb.passive = 1
    pcb.state = State.SYN_RECEIVED
    accept_syn(pcb, segment, now_us)
    hold_data(pcb, segment)
    pcb.use_ecn = 1 if pcb.use_ecn != 0 and segment.flags & (ECE | CWR) == ECE | CWR else 0


@compiled
def tcp_close(pcb, now_us):
    """Close the sending side; return flags. A FIN follows the data that is buffered (RFC 9293, section 3.10.4)."""
    if pcb.fin_queued != 0 or pcb.state == State.CLOSED:
        return 0
    if pcb.style == FREEBSD and pcb.state < State.ESTABLISHED:
        ends = pcb.detached != 0  # without a reset; a mere end of sending waits for the handshake
    else:
        ends = pcb.state == State.LISTEN or pcb.state == State.SYN_SENT
    if ends:
        return tcp_end(pcb, End.NONE)
    pcb.fin_queued = 1
    if pcb.state < State.ESTABLISHED:
        return 0  # the FIN waits for the handshake
    pcb.fin_seq = seq_add(pcb.snd_una, pcb.send_buffered_bytes)
    if pcb.state == State.ESTABLISHED:
        pcb.state = State.FIN_WAIT_1
    elif pcb.state == State.CLOSE_WAIT:
        pcb.state = State.LAST_ACK
    return TCP_OUTPUT


@compiled
def tcp_end(pcb, reason):
    """End the connection for a `reason`, a member of End; return TCP_CLOSED."""
    pcb.state = State.CLOSED
    pcb.ended = reason
    return TCP_CLOSED


@compiled
def tcp_detach(pcb, now_us):
    """End reading: from now on FIN-WAIT-2 has a time limit (RFC 9293, section 3.6.1)."""
    pcb.detached = 1
    if pcb.state == State.FIN_WAIT_2:
        pcb.linger_deadline_us = now_us + cold_of(pcb).fin_wait_2_us


@compiled
def tcp_abort(pcb, reset, now_us):
    """End the connection at once; fill `reset` and return whether it is to be sent (RFC 9293, section 3.10.5)."""
    sends = pcb.state >= State.SYN_RECEIVED and pcb.state <= State.FIN_WAIT_2
    fill_reset(pcb, reset, now_us)
    tcp_end(pcb, End.ABORTED)
    return sends


@compiled
def fill_reset(pcb, reset, now_us):
    """Fill `reset` with the connection's own reset, with time stamps if they are agreed (RFC 7323, section 3.2)."""
    reset.source_port = pcb.local_port
    reset.destination_port = pcb.foreign_port
    reset.seq = acceptable_seq(pcb)  # snd_nxt may be below the peer's window during a retransmission
    reset.ack = pcb.rcv_nxt
    reset.flags = RST | ACK
    _clear(reset)
    reset.has_timestamps = pcb.use_timestamps
    reset.ts_val = timestamp(pcb, now_us)
    reset.ts_ecr = pcb.ts_recent


@compiled
def reset_reply(segment, reply):
    """Fill `reply` with the answer to a segment of no connection; return whether there is one (RFC 9293, section 3.10.7.1)."""
    if segment.flags & RST:
        return False
    reply.source_address = segment.destination_address
    reply.destination_address = segment.source_address
    reply.source_port = segment.destination_port
    reply.destination_port = segment.source_port
    if segment.flags & ACK:
        reply.seq = segment.ack
        reply.ack = 0
        reply.flags = RST
    else:
        reply.seq = 0
        reply.ack = seq_add(segment.seq, sequence_length(segment))
        reply.flags = RST | ACK
    _clear(reply)
    return True


@compiled
def _clear(segment):
    """Clear all of a reset but its numbers."""
    segment.window = 0
    segment.length = 0
    segment.has_timestamps = 0
    clear_options(segment)


@compiled
def tcp_received(pcb):
    """Return TCP_OUTPUT if the window is worth announcing after a read. The host has set `rcv_wnd` anew.

    The receiver avoids the silly window syndrome: the window grows by two segments or half of the buffer at least (RFC 9293,
    section 3.8.6.2.2). While much is announced still, the next acknowledgment announces it.
    """
    if pcb.state < State.ESTABLISHED or pcb.fin_received != 0:
        return 0
    announced = seq_sub(pcb.rcv_adv, pcb.rcv_nxt)
    if pcb.style != RFC:
        updates = freebsd_updates_window(pcb, announced) if pcb.style == FREEBSD else linux_updates_window(pcb, announced)
        if not updates:
            return 0
        pcb.ack_now = 1
        return TCP_OUTPUT
    room = min(pcb.rcv_wnd, MAX_WINDOW << pcb.rcv_scale)  # more cannot be announced
    if room - announced < min(2 * pcb.mss, pcb.receive_buffer_bytes // 2):
        return 0
    if announced > min(MUCH_ANNOUNCED_SEGMENTS * pcb.mss, pcb.receive_buffer_bytes // 2):
        return 0
    pcb.ack_now = 1
    return TCP_OUTPUT


@compiled
def is_outstanding(pcb, seq):
    """Return whether `seq` is sent and not acknowledged. An ICMP error must be about such a number (RFC 5927, section 4.1)."""
    return seq_leq(pcb.snd_una, seq) and seq_lt(seq, pcb.snd_max)


@compiled
def tcp_path_mtu(pcb, path_mss):
    """Send smaller segments, and what is outstanding again, after a router could not forward one (RFC 1191).

    `path_mss` is what a packet carries behind bare headers, in bytes. Returns TCP_OUTPUT if this lowers the size, else 0.
    """
    if pcb.state < State.SYN_RECEIVED:
        return 0
    before = pcb.mss
    limit_mss(pcb, path_mss)
    if pcb.mss >= before:
        pcb.mss = before
        return 0
    if pcb.state < State.ESTABLISHED:
        pcb.snd_nxt = pcb.snd_una
    else:
        send_again(pcb)
    return TCP_OUTPUT
