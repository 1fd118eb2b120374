"""The protocol control block: all that TCP remembers of a connection (RFC 9293, section 3.3.1, names after the BSD sources).

Knows no table it stands in but its link in a hash chain.
"""

import numpy as np

from netstack.compilation import compiled

MAX_REORDERED = 4  # ranges of out-of-order data a receiver remembers
INITIAL_RTO_US = 1_000_000  # RFC 6298, 2.1
LARGE_WINDOW = 1 << 30

PCB = np.dtype(
    [
        ("local_address", "i8"),
        ("foreign_address", "i8"),
        ("local_port", "i4"),
        ("foreign_port", "i4"),
        ("hash_next", "i4"),
        ("mss", "i4"),
        ("snd_una", "i8"),
        ("snd_nxt", "i8"),
        ("snd_max", "i8"),
        ("snd_wnd", "i8"),
        ("max_snd_wnd", "i8"),
        ("snd_wl1", "i8"),
        ("snd_cwnd", "i8"),
        ("snd_ssthresh", "i8"),
        ("snd_recover", "i8"),
        ("send_buffered_bytes", "i8"),
        ("acked_bytes", "i8"),
        ("delivered_bytes", "i8"),
        ("rcv_nxt", "i8"),
        ("rcv_adv", "i8"),
        ("rcv_wnd", "i8"),
        ("rexmt_deadline_us", "i8"),
        ("delack_deadline_us", "i8"),
        ("ts_recent", "i8"),
        ("last_ack_sent", "i8"),
        ("srtt_us", "i8"),
        ("rttvar_us", "i8"),
        ("rto_us", "i8"),
        ("min_rto_us", "i4"),
        ("delayed_ack_us", "i4"),
        ("dupacks", "i4"),
        ("rexmt_shift", "i4"),
        ("new_bytes", "i4"),
        ("snd_scale", "u1"),
        ("rcv_scale", "u1"),
        ("in_recovery", "u1"),
        ("retransmit_now", "u1"),
        ("probe_now", "u1"),
        ("ack_now", "u1"),
        ("unacked_segments", "u1"),
        ("reordered_count", "u1"),
        ("segments_sent", "i8"),
        ("retransmitted_segments", "i8"),
        ("retransmission_timeouts", "i4"),
        ("reordered_start", "i8", (MAX_REORDERED,)),
        ("reordered_end", "i8", (MAX_REORDERED,)),
    ],
    align=True,
)
"""A connection. The host adds what it writes to `send_buffered_bytes` (from snd_una on); input takes off what is acknowledged."""


@compiled
def window_scale(buffer_bytes):
    """Return the smallest shift that lets `buffer_bytes` be announced in 16 bits (RFC 7323, section 2.3)."""
    shift = 0
    while shift < 14 and (65535 << shift) < buffer_bytes:
        shift += 1
    return shift


@compiled
def pcb_init(
    pcb,
    local_address,
    local_port,
    foreign_address,
    foreign_port,
    iss,
    irs,
    mss,
    send_window,
    receive_buffer_bytes,
    delayed_ack_us,
    min_rto_us,
):
    """Put a zeroed pcb into the established state, as after a handshake that agreed on scaling and timestamps.

    `send_window` is the peer's receive buffer. The initial congestion window is that of RFC 3390.
    """
    pcb.local_address = local_address
    pcb.local_port = local_port
    pcb.foreign_address = foreign_address
    pcb.foreign_port = foreign_port
    pcb.hash_next = -1
    pcb.mss = mss
    pcb.snd_una = iss
    pcb.snd_nxt = iss
    pcb.snd_max = iss
    pcb.snd_recover = (iss - 1) & 0xFFFFFFFF
    pcb.snd_wnd = send_window
    pcb.max_snd_wnd = send_window
    pcb.snd_wl1 = irs
    pcb.snd_cwnd = min(4 * mss, max(2 * mss, 4380))
    pcb.snd_ssthresh = LARGE_WINDOW
    pcb.snd_scale = window_scale(send_window)
    pcb.rcv_nxt = irs
    pcb.rcv_wnd = receive_buffer_bytes
    pcb.rcv_adv = (irs + receive_buffer_bytes) & 0xFFFFFFFF
    pcb.rcv_scale = window_scale(receive_buffer_bytes)
    pcb.last_ack_sent = irs
    pcb.rto_us = max(INITIAL_RTO_US, min_rto_us)
    pcb.min_rto_us = min_rto_us
    pcb.delayed_ack_us = delayed_ack_us
