"""What FreeBSD does with a segment before its acknowledgment is processed: it trims it to the window instead of refusing it.

After tcp_input.c, tcp_syncache.c and tcp_timewait.c of FreeBSD 14. Moves no state but that of a connection that ends.
"""

from netstack.jit.compilation import compiled
from netstack.tcp.acceptance import challenge
from netstack.tcp.connection import tcp_end
from netstack.tcp.flags import TCP_OUTPUT, TCP_REPLY_RESET
from netstack.tcp.header import ACK, CWR, ECE, FIN, RST, SYN
from netstack.tcp.reassembly import receive_window
from netstack.tcp.sack import note_duplicate
from netstack.tcp.sequence import seq_add, seq_gt, seq_leq, seq_sub
from netstack.tcp.states import End, State

PROCESS, DROP, ACKNOWLEDGE, CHALLENGE, RESET, CLOSE, SYN_AGAIN, REFUSE, REFUSE_SEGMENT = range(9)
"""What to do: go on, nothing, ACK, challenge (RFC 5961), end by our reset, end by the peer's, repeat the SYN-ACK, and refuse the
connection or only the segment."""


@compiled
def freebsd_check(pcb, segment):
    """Return what to do with a segment in a state from SYN-RECEIVED on; of one to PROCESS only the part in the window is left."""
    if pcb.state == State.TIME_WAIT:
        return _check_time_wait(pcb, segment)
    half_open = pcb.state == State.SYN_RECEIVED and pcb.passive != 0
    wrong_ack = segment.flags & ACK and (seq_leq(segment.ack, pcb.snd_una) or seq_gt(segment.ack, pcb.snd_max))
    if wrong_ack and pcb.state == State.SYN_RECEIVED and not (half_open and segment.flags & (RST | SYN)):
        return DROP if segment.flags & RST else REFUSE_SEGMENT
    if segment.flags & RST:
        return _check_reset(pcb, segment)
    if segment.flags & SYN and half_open:
        return REFUSE if segment.flags & ACK else SYN_AGAIN
    if segment.flags & SYN and pcb.state != State.SYN_RECEIVED:
        return CHALLENGE  # whatever its number is
    if half_open:
        if not segment.flags & ACK:
            return DROP
        behind = seq_sub(segment.seq, pcb.irs)
        return PROCESS if 0 < behind <= min(pcb.rcv_wnd, 65535) else ACKNOWLEDGE
    return _trim(pcb, segment)


@compiled
def freebsd_answer(pcb, segment, action, now_us):
    """Do what `freebsd_check` says; return flags."""
    if action == CHALLENGE:
        return challenge(pcb, now_us)
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
        if pcb.state == State.TIME_WAIT and _repeats_fin(pcb, segment):
            pcb.linger_deadline_us = now_us + pcb.time_wait_us
        pcb.ack_now = 1
        return TCP_OUTPUT
    return 0


@compiled
def _check_reset(pcb, segment):
    """Check a reset against the number that was acknowledged last: a delayed ACK does not count."""
    offset = seq_sub(segment.seq, pcb.last_ack_sent)
    window = receive_window(pcb)
    if offset == 0:
        return CLOSE
    return CHALLENGE if 0 < offset < window else DROP


@compiled
def _check_time_wait(pcb, segment):
    """Resets are ignored (RFC 1337), and all but the expected ACK is acknowledged."""
    if segment.flags & RST or not segment.flags & ACK:
        return DROP
    expected = (
        segment.flags & ~(ECE | CWR) == ACK and segment.length == 0 and segment.seq == pcb.rcv_nxt and segment.ack == pcb.snd_max
    )
    return DROP if expected else ACKNOWLEDGE


@compiled
def _trim(pcb, segment):
    """Drop what is to the left and to the right of the window."""
    answer = False
    behind = seq_sub(pcb.rcv_nxt, segment.seq)
    if behind > 0:
        if segment.flags & SYN:
            segment.flags &= ~SYN
            segment.seq = seq_add(segment.seq, 1)
            behind -= 1
        if behind > segment.length or (behind == segment.length and not segment.flags & FIN):
            segment.flags &= ~FIN
            answer = True
            if segment.length > 0 and pcb.scoreboard_address != 0 and behind <= pcb.receive_buffer_bytes:
                note_duplicate(pcb, segment.seq, seq_add(segment.seq, segment.length))
            segment.seq = seq_add(segment.seq, segment.length)
            segment.length = 0
    if pcb.detached != 0 and pcb.state > State.CLOSE_WAIT and segment.length > 0:
        return RESET
    window = receive_window(pcb)
    beyond = seq_sub(seq_add(segment.seq, segment.length), seq_add(pcb.rcv_nxt, window))
    if beyond > 0:
        if beyond >= segment.length:
            if window != 0 or segment.seq != pcb.rcv_nxt:
                return ACKNOWLEDGE
            answer = True
        segment.length = max(segment.length - beyond, 0)
        segment.flags &= ~FIN
    if not segment.flags & ACK:
        return ACKNOWLEDGE if answer else DROP
    if answer:
        pcb.ack_now = 1
    return PROCESS


@compiled
def _repeats_fin(pcb, segment):
    """Return whether a segment in TIME-WAIT repeats the peer's FIN, and so restarts the wait."""
    return segment.flags & FIN != 0 and seq_leq(seq_add(segment.seq, segment.length + 1), pcb.rcv_nxt)
