"""Output: which segment may be sent now (RFC 9293, sections 3.7 and 3.8.6.2; RFC 5681).

One segment a call; the host transmits it and calls again until there is none.
"""

from netstack.compilation import compiled
from netstack.tcp.header import ACK, PSH
from netstack.tcp.sequence import seq_add, seq_lt, seq_sub


@compiled
def tcp_output(pcb, segment, now_us):
    """Fill `segment` with the next segment to be sent at `now_us` and return 1; return 0 when there is none.

    A segment is full, or with nothing outstanding the last of the buffer (Nagle, RFC 9293, section 3.7.4) or half of the
    largest window (section 3.8.6.2.1).
    """
    seq = pcb.snd_nxt
    retransmit_one = pcb.retransmit_now != 0
    if retransmit_one:
        pcb.retransmit_now = 0
        seq = pcb.snd_una
        length = min(pcb.mss, min(pcb.send_buffered_bytes, seq_sub(pcb.snd_max, pcb.snd_una)))
    else:
        length = _sendable(pcb, seq)
    if length <= 0:
        if pcb.send_buffered_bytes > 0 and pcb.rexmt_deadline_us == 0:
            pcb.rexmt_deadline_us = now_us + pcb.rto_us  # the window is closed: probe it
        if pcb.ack_now == 0:
            return 0
        length = 0
        seq = pcb.snd_max
    segment.source_address = pcb.local_address
    segment.destination_address = pcb.foreign_address
    segment.source_port = pcb.local_port
    segment.destination_port = pcb.foreign_port
    segment.seq = seq
    segment.ack = pcb.rcv_nxt
    segment.length = length
    end = seq_add(seq, length)
    last = length > 0 and length == pcb.send_buffered_bytes - seq_sub(seq, pcb.snd_una)
    segment.flags = ACK | PSH if last else ACK
    segment.window = min(pcb.rcv_wnd >> pcb.rcv_scale, 65535)
    segment.has_timestamps = 1
    segment.ts_val = now_us & 0xFFFFFFFF
    segment.ts_ecr = pcb.ts_recent
    segment.mss = 0
    segment.wscale = -1
    pcb.rcv_adv = seq_add(pcb.rcv_nxt, segment.window << pcb.rcv_scale)
    pcb.last_ack_sent = pcb.rcv_nxt
    pcb.ack_now = 0
    pcb.unacked_segments = 0
    pcb.delack_deadline_us = 0
    if length > 0:
        pcb.segments_sent += 1
        pcb.new_bytes = max(seq_sub(end, pcb.snd_max), 0)
        if pcb.new_bytes < length:
            pcb.retransmitted_segments += 1
        if not retransmit_one:
            pcb.snd_nxt = end
        if pcb.new_bytes > 0:
            pcb.snd_max = end
        pcb.probe_now = 0
        if pcb.rexmt_deadline_us == 0 or seq == pcb.snd_una:
            pcb.rexmt_deadline_us = now_us + pcb.rto_us
    return 1


@compiled
def _sendable(pcb, seq):
    """Return how many bytes may be sent from `seq` on: at most one segment, 0 for "wait"."""
    offset = seq_sub(seq, pcb.snd_una)
    buffered = pcb.send_buffered_bytes - offset
    window = min(pcb.snd_wnd, pcb.snd_cwnd) - offset
    length = min(pcb.mss, min(buffered, window))
    if length >= pcb.mss:
        return length
    if pcb.probe_now != 0 and buffered > 0:
        return max(length, 1)  # the timer expired: whatever the window is, at least a byte
    if length <= 0:
        return 0
    if length == buffered and (offset == 0 or seq_lt(seq, pcb.snd_max)):
        return length
    if offset == 0 and 2 * length >= pcb.max_snd_wnd:
        return length
    return 0


@compiled
def tcp_output_refused(pcb, segment, now_us):
    """Take back the segment just built: the interface had no room for it (ENOBUFS).

    As FreeBSD of 2006 did: the sequence is pulled back and the congestion window drops to one segment (source
    quench). The retransmission timer, or the next ACK, sends again.
    """
    if segment.length == 0:
        pcb.ack_now = 1
        return
    pcb.segments_sent -= 1
    pcb.snd_max = seq_add(pcb.snd_max, -pcb.new_bytes)
    if pcb.new_bytes < segment.length:
        pcb.retransmitted_segments -= 1
    if seq_lt(segment.seq, pcb.snd_nxt):
        pcb.snd_nxt = segment.seq
    pcb.snd_cwnd = pcb.mss
    if pcb.rexmt_deadline_us == 0:
        pcb.rexmt_deadline_us = now_us + pcb.rto_us
