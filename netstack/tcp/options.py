"""What both ends of a connection announce in their SYNs and agree on: numbers, segment size, scaling, time stamps, SACK.

RFC 9293, section 3.7.1; RFC 7323; RFC 2018.
"""

from netstack.jit.compilation import compiled
from netstack.tcp.pcb import initial_window
from netstack.tcp.sequence import seq_add
from netstack.tcp.style import round_buffer

TIMESTAMPS_BYTES = 12
LEAST_PEER_MSS = 48  # 8 bytes beside all options, as Linux: a peer must not make a host send a packet per byte


@compiled
def accept_syn(pcb, segment, now_us):
    """Take the number, window and options of the peer's SYN. An option that it does not offer is not used."""
    pcb.irs = segment.seq
    pcb.rcv_nxt = seq_add(segment.seq, 1)
    pcb.rcv_adv = seq_add(pcb.rcv_nxt, min(pcb.rcv_wnd, 65535))  # what a SYN announces
    pcb.last_ack_sent = pcb.rcv_nxt
    pcb.snd_wnd = segment.window  # never scaled in a SYN (RFC 7323, section 2.2)
    pcb.max_snd_wnd = pcb.snd_wnd
    pcb.peer_mss = max(segment.mss, LEAST_PEER_MSS) if segment.mss > 0 else pcb.default_mss
    if pcb.use_scaling != 0 and segment.wscale >= 0:
        pcb.snd_scale = segment.wscale
    else:
        pcb.use_scaling = 0
        pcb.snd_scale = 0
        pcb.rcv_scale = 0
    pcb.use_timestamps = 1 if pcb.use_timestamps != 0 and segment.has_timestamps != 0 else 0
    pcb.ts_recent = segment.ts_val if pcb.use_timestamps != 0 else 0
    pcb.ts_recent_us = now_us
    pcb.use_sack = 1 if pcb.use_sack != 0 and segment.sack_permitted != 0 else 0
    if pcb.passive == 0 and segment.mss > 0:
        round_buffer(pcb, min(pcb.own_mss, pcb.peer_mss))
    limit_mss(pcb, min(pcb.own_mss, pcb.mss))  # the interface's, and what is known of the path
    if pcb.initial_segments > 0:
        pcb.snd_cwnd = pcb.initial_segments * pcb.mss
    else:
        pcb.snd_cwnd = initial_window(pcb.mss)


@compiled
def reduce_options(pcb, segment):
    """Use no option that a repeated SYN does not offer again: after some tries without an answer peers leave them out."""
    path_mss = pcb.mss
    if pcb.use_timestamps != 0:
        path_mss += TIMESTAMPS_BYTES
        pcb.use_timestamps = segment.has_timestamps
    if segment.wscale < 0:
        pcb.use_scaling = 0
        pcb.snd_scale = 0
        pcb.rcv_scale = 0
    if segment.sack_permitted == 0:
        pcb.use_sack = 0
    limit_mss(pcb, path_mss)


@compiled
def limit_mss(pcb, path_mss):
    """Limit segments to the path and the peer; `path_mss` is in bytes, what a packet carries behind bare headers (RFC 6691)."""
    pcb.mss = min(path_mss, pcb.peer_mss)
    if pcb.use_timestamps != 0:
        pcb.mss -= TIMESTAMPS_BYTES
    pcb.mss = max(pcb.mss, 1)


@compiled
def fill_syn_options(pcb, segment):
    """Offer the options of this connection, or agree to them at the passive end."""
    if pcb.no_options != 0:
        return
    segment.mss = pcb.own_mss
    segment.wscale = pcb.rcv_scale if pcb.use_scaling != 0 else -1
    segment.sack_permitted = pcb.use_sack


@compiled
def timestamp(pcb, now_us):
    """Return the value of the time stamp clock at `now_us` (RFC 7323, section 5.4)."""
    ticks = now_us if pcb.timestamp_unit_us == 1 else now_us // pcb.timestamp_unit_us
    return (ticks + pcb.timestamp_offset) & 0xFFFFFFFF
