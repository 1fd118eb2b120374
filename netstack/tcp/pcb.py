"""The protocol control block: all that TCP remembers of a connection (RFC 9293, section 3.3.1, names after the BSD sources).

Knows no table it stands in but its link in a hash chain.
"""

import numpy as np

from netstack.jit.compilation import compiled
from netstack.jit.records import record_accessor
from netstack.tcp.header import MAX_SACK_BLOCKS
from netstack.tcp.states import ESTABLISHED

MAX_REORDERED = 8  # ranges of out-of-order data a receiver remembers
MAX_SACKED = 16  # ranges of data that the peer reported as received out of order
INITIAL_RTO_US = 1_000_000  # RFC 6298, 2.1
DEFAULT_MSS = 536  # RFC 9293, section 3.7.1
LARGE_WINDOW = 1 << 30
NEW_RENO, CUBIC = range(2)

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
        ("last_received_us", "i8"),
        ("last_sent_us", "i8"),
        ("unanswered_since_us", "i8"),
        ("timed_at_us", "i8"),
        ("timestamp_offset", "i8"),
        ("accepted_seq", "i8"),
        ("accepted_bytes", "i8"),
        ("fin_seq", "i8"),
        ("user_timeout_us", "i8"),
        ("keepalive_deadline_us", "i8"),
        ("linger_deadline_us", "i8"),
        ("min_rto_us", "i4"),
        ("delayed_ack_us", "i4"),
        ("dupacks", "i4"),
        ("rexmt_shift", "i4"),
        ("flight_before_dupacks", "i4"),
        ("new_bytes", "i4"),
        ("timestamp_unit_us", "i4"),
        ("burst_segments", "i4"),
        ("receive_buffer_bytes", "i4"),
        ("keepalive_sent", "i4"),
        ("state", "u1"),
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
        # the connection's life
        ("ended", "u1"),
        ("passive", "u1"),
        ("fin_queued", "u1"),
        ("fin_received", "u1"),
        ("detached", "u1"),
        # options: what is offered, and after the handshake what both agreed on
        ("use_timestamps", "u1"),
        ("use_scaling", "u1"),
        ("use_sack", "u1"),
        ("use_ecn", "u1"),
        ("no_delay", "u1"),
        ("cork", "u1"),
        ("limited_transmit", "u1"),
        ("congestion", "u1"),
        # ECN (RFC 3168)
        ("ecn_echo", "u1"),
        ("ecn_reduced", "u1"),
        ("probe_alive", "u1"),
        ("sacked_count", "u1"),
        # the record of transmissions that the host keeps (see `scoreboard`), 0 without
        ("scoreboard_address", "i8"),
        ("iss", "i8"),
        ("irs", "i8"),
        ("peer_fin_seq", "i8"),
        ("ecn_recover", "i8"),
        ("own_mss", "i4"),
        ("peer_mss", "i4"),
        ("default_mss", "i4"),
        ("initial_segments", "i4"),
        ("recent_seqs", "u4", (MAX_SACK_BLOCKS,)),
        # round-trip time without time stamps: one segment at a time (RFC 6298, section 3)
        ("timed_seq", "i8"),
        # timers beside retransmission and delayed ACK
        ("keepalive_idle_us", "i8"),
        ("keepalive_interval_us", "i8"),
        ("time_wait_us", "i8"),
        ("fin_wait_2_us", "i8"),
        ("initial_rto_us", "i8"),
        ("keepalive_probes", "i4"),
        ("max_retransmissions", "i4"),
        ("challenge_acks", "i4"),
        ("challenge_since_us", "i8"),
        # SACK: the scoreboard, and the recovery that works on it (RFC 6675)
        ("high_rxt", "i8"),
        ("rescue_rxt", "i8"),
        ("first_hole_max", "i8"),
        ("sacked_start", "i8", (MAX_SACKED,)),
        ("sacked_end", "i8", (MAX_SACKED,)),
        # CUBIC (RFC 9438)
        ("cubic_epoch_us", "i8"),
        ("cubic_k_us", "i8"),
        ("cubic_origin_bytes", "i8"),
        ("cubic_max_bytes", "i8"),
        ("cubic_friendly_bytes", "i8"),
        ("cubic_friendly_credit", "i8"),
        ("cubic_credit_bytes", "i8"),
        ("reordered_start", "i8", (MAX_REORDERED,)),
        ("reordered_end", "i8", (MAX_REORDERED,)),
    ],
    align=True,
)
"""A connection. The host adds what it writes to `send_buffered_bytes` (from snd_una on); input takes off what is acknowledged.

The host sets `rcv_wnd` to the room in its receive buffer. After input, `accepted_bytes` of payload from `accepted_seq` on are new
and belong into that buffer, `delivered_bytes` of it have become readable.
"""


_word_at = record_accessor(np.dtype([("value", "i8")]))
_WORDS = PCB.itemsize // 8


@compiled
def pcb_copy(target_address, source_address):
    """Copy the pcb at one address to another."""
    for index in range(_WORDS):
        _word_at(target_address, index).value = _word_at(source_address, index).value


@compiled
def window_scale(buffer_bytes):
    """Return the smallest shift that lets `buffer_bytes` be announced in 16 bits (RFC 7323, section 2.3)."""
    shift = 0
    while shift < 14 and (65535 << shift) < buffer_bytes:
        shift += 1
    return shift


@compiled
def initial_window(mss):
    """Return the initial congestion window of RFC 3390 in bytes."""
    return min(4 * mss, max(2 * mss, 4380))


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
    pcb.state = ESTABLISHED
    pcb.use_timestamps = 1
    pcb.use_scaling = 1
    pcb.timestamp_unit_us = 1
    pcb.burst_segments = 1
    pcb.own_mss = mss
    pcb.peer_mss = mss
    pcb.max_retransmissions = 255
    pcb.initial_rto_us = INITIAL_RTO_US
    pcb.default_mss = DEFAULT_MSS
    pcb.iss = (iss - 1) & 0xFFFFFFFF
    pcb.irs = (irs - 1) & 0xFFFFFFFF
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
    pcb.snd_cwnd = initial_window(mss)
    pcb.snd_ssthresh = LARGE_WINDOW
    pcb.snd_scale = window_scale(send_window)
    pcb.rcv_nxt = irs
    pcb.rcv_wnd = receive_buffer_bytes
    pcb.receive_buffer_bytes = receive_buffer_bytes
    pcb.rcv_adv = (irs + receive_buffer_bytes) & 0xFFFFFFFF
    pcb.rcv_scale = window_scale(receive_buffer_bytes)
    pcb.last_ack_sent = irs
    pcb.rto_us = max(INITIAL_RTO_US, min_rto_us)
    pcb.min_rto_us = min_rto_us
    pcb.delayed_ack_us = delayed_ack_us
