"""Whose choices hold where the RFCs leave several: those that they recommend, or those of Linux or FreeBSD.

Sources are the kernels' own: tcp_input.c and tcp_output.c of both, tcp_timer.c of FreeBSD. Knows no state transition.
"""

from netstack.jit.compilation import compiled
from netstack.tcp.pcb import cold_of
from netstack.tcp.sequence import seq_add, seq_leq, seq_lt, seq_sub
from netstack.tcp.states import State

RFC, LINUX, FREEBSD = range(3)
QUICK_ACKS = 16  # Linux acknowledges so many segments of a new conversation at once (TCP_MAX_QUICKACKS)
LEAST_QUICK_ACKS = 2
ANSWERS_SOON_US = 40_000  # Linux takes an answer within this time for interactive (TCP_ATO_MIN)
PERSIST_MIN_US, PERSIST_MAX_US = 5_000_000, 60_000_000  # FreeBSD's pauses between probes of a closed window
MAX_SHIFT = 12  # TCP_MAXRXTSHIFT of FreeBSD


@compiled
def persist_timeout_us(pcb):
    """Return how long to wait before a closed window is probed: the retransmission timeout, or as FreeBSD does."""
    if pcb.style != FREEBSD or pcb.snd_wnd >= min(pcb.mss, pcb.send_buffered_bytes):
        return pcb.rto_us
    pause_us = (4 * pcb.srtt_us + 8 * pcb.rttvar_us << min(pcb.rexmt_shift, MAX_SHIFT)) + pcb.rto_slop_us
    return min(max(pause_us, PERSIST_MIN_US), PERSIST_MAX_US)


@compiled
def timeout_us(pcb):
    """Return the retransmission timeout before back-off (RFC 6298, section 2.3).

    Linux bounds the variation from below, not the sum, and so does a host with a scoreboard.
    """
    if pcb.style == LINUX or (pcb.style == RFC and pcb.scoreboard_address != 0):
        return pcb.srtt_us + max(max(4 * pcb.rttvar_us, 1), pcb.min_rto_us) + pcb.rto_slop_us
    return max(pcb.srtt_us + max(4 * pcb.rttvar_us, 1), pcb.min_rto_us) + pcb.rto_slop_us


@compiled
def takes_window(pcb, window):
    """Return whether the window of an ACK counts that has the numbers of the one before.

    RFC 9293, section 3.10.7.4, takes every one. ACKs may change places on the way: both kernels take one that opens the window
    further, Linux also one that shuts it (tcp_may_update_window()).
    """
    return pcb.style == RFC or window > pcb.snd_wnd or (window == 0 and pcb.style == LINUX)


@compiled
def round_buffer(pcb, mss):
    """Enlarge the receive buffer of FreeBSD to whole segments of `mss` bytes (tcp_mss())."""
    if pcb.style == FREEBSD and pcb.receive_buffer_bytes > mss:
        more = -pcb.receive_buffer_bytes % mss
        pcb.receive_buffer_bytes += more
        pcb.rcv_wnd += more


@compiled
def tells_of_user_timeout(pcb):
    """Return whether the end by a user timeout sends a reset: to a peer that is known, and not from Linux."""
    return pcb.state >= State.SYN_RECEIVED and pcb.style != LINUX


@compiled
def tells_of_silence(pcb):
    """Return whether the end by too many retransmissions sends a reset: FreeBSD tells the peer whenever it knows it."""
    known = pcb.state >= State.ESTABLISHED or (pcb.state == State.SYN_RECEIVED and pcb.passive == 0)
    return pcb.style == FREEBSD and known


@compiled
def begin_burst(pcb):
    """Note whether nothing is outstanding when output begins."""
    if pcb.style == FREEBSD and pcb.snd_una == pcb.snd_max:
        pcb.burst_idle = 1


@compiled
def sends_short(pcb):
    """Return whether a short last segment may leave while others are outstanding (Nagle's algorithm).

    For Linux only a short one that is outstanding holds it back (Minshall); for FreeBSD none of the same burst does.
    """
    if pcb.style == LINUX:
        return seq_leq(pcb.snd_small, pcb.snd_una)
    return pcb.burst_idle != 0


@compiled
def note_short(pcb, end, length):
    """Note a segment of new data that is short, and forget the ends of records that have been sent."""
    cold = cold_of(pcb)
    if length < pcb.mss:
        pcb.snd_small = end
    while pcb.record_count > 0 and seq_leq(cold.record_end[0], end):
        for index in range(1, pcb.record_count):
            cold.record_end[index - 1] = cold.record_end[index]
        pcb.record_count -= 1


@compiled
def within_record(pcb, seq, length):
    """Return how much of new data belongs to one record (MSG_EOR of Linux); all of it without ends of records."""
    cold = cold_of(pcb)
    if pcb.record_count > 0 and seq_lt(cold.record_end[0], seq_add(seq, length)):
        return seq_sub(cold.record_end[0], seq)
    return length


@compiled
def end_record(pcb, seq):
    """Let no segment cross `seq`, where a record ends."""
    cold = cold_of(pcb)
    if pcb.record_count < len(cold.record_end):
        cold.record_end[pcb.record_count] = seq
        pcb.record_count += 1


@compiled
def note_received(pcb, length, now_us):
    """Note data received in order: Linux acknowledges the first segments at once, and those after a long silence."""
    cold = cold_of(pcb)
    if pcb.style != LINUX:
        return
    cold.rcv_mss = max(cold.rcv_mss, min(length, pcb.own_mss))
    if cold.last_data_us == 0 or now_us - cold.last_data_us > pcb.rto_us:
        segments = pcb.rcv_wnd // (2 * max(cold.rcv_mss, 1))
        pcb.quick_acks = max(pcb.quick_acks, min(max(segments, LEAST_QUICK_ACKS), QUICK_ACKS))
    cold.last_data_us = max(now_us, 1)


@compiled
def note_duplicate_received(pcb):
    """Note data that came twice: the peer lost our ACKs, and Linux acknowledges at once again."""
    if pcb.style == LINUX:
        cold_of(pcb).interactive = 0
        pcb.quick_acks = QUICK_ACKS


@compiled
def note_data_sent(pcb, now_us):
    """Note new data: an answer that comes soon shows a conversation, in which ACKs wait for answers."""
    cold = cold_of(pcb)
    if pcb.style == LINUX:
        if cold.last_data_us != 0 and now_us - cold.last_data_us < ANSWERS_SOON_US:
            cold.interactive = 1
    elif pcb.quick_acks != 0 and seq_sub(pcb.rcv_nxt, pcb.irs) > 1 and now_us - pcb.last_received_us < pcb.delayed_ack_us:
        pcb.quick_acks = 0


@compiled
def note_acknowledged(pcb):
    """Count a segment that acknowledges: for Linux all of them use up the quick ones."""
    if pcb.style == LINUX and pcb.quick_acks > 0:
        pcb.quick_acks -= 1


@compiled
def use_quick_ack(pcb):
    """Count data that is acknowledged at once, which Linux does not: it counts acknowledgments."""
    if pcb.style != LINUX and pcb.quick_acks > 0:
        pcb.quick_acks -= 1


@compiled
def delays_ack(pcb, unacked_bytes):
    """Return whether the acknowledgment of data received in order may wait: less than two segments (RFC 9293, section 3.8.6.3).

    `unacked_bytes` have come since the last acknowledgment. Linux counts bytes, and waits only in a conversation or late.
    """
    cold = cold_of(pcb)
    if pcb.style != LINUX:
        return pcb.unacked_segments < 2 and pcb.quick_acks == 0
    if pcb.quick_acks > 0 and cold.interactive == 0:
        return False
    return unacked_bytes <= cold.rcv_mss


@compiled
def freebsd_updates_window(pcb, announced):
    """Return whether FreeBSD announces the room after a read by itself; `announced` is what the peer knows of, in bytes."""
    room = min(pcb.rcv_wnd, 65535 << pcb.rcv_scale)
    growth = room - max(announced, 0)
    if growth <= 0 or max(announced, 0) >> pcb.rcv_scale >= room >> pcb.rcv_scale or pcb.delack_deadline_us != 0:
        return False
    size = pcb.receive_buffer_bytes
    if 2 * growth >= size:
        return True
    return growth >= 2 * pcb.mss and (growth >= size // 4 or pcb.rcv_wnd <= size // 8 or size <= 8 * pcb.mss)


@compiled
def linux_updates_window(pcb, announced):
    """Return whether Linux acknowledges after a read: it waits with an ACK of data read at once, or the window has doubled."""
    if pcb.delack_deadline_us != 0 and cold_of(pcb).interactive == 0 and pcb.rcv_wnd >= pcb.receive_buffer_bytes:
        return True
    most = min(pcb.receive_buffer_bytes, 65535 << pcb.rcv_scale)
    return 2 * announced <= most and min(pcb.rcv_wnd, most) >= max(2 * announced, pcb.mss)
