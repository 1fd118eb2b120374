"""The protocol control block: all that TCP remembers of a connection (RFC 9293, section 3.3.1, names after the BSD sources).

Knows no table it stands in but its link in a hash chain.
"""

from typing import Annotated

from netstack.jit.compilation import compiled
from netstack.jit.records import Record, i4, i8, record_accessor, u1, u4
from netstack.tcp.header import MAX_SACK_BLOCKS
from netstack.tcp.states import State

MAX_REORDERED = 8  # ranges of out-of-order data a receiver remembers
MAX_SACKED = 16  # ranges of data that the peer reported as received out of order
INITIAL_RTO_US = 1_000_000  # RFC 6298, 2.1
DEFAULT_MSS = 536  # RFC 9293, section 3.7.1
LARGE_WINDOW = 1 << 30
NEW_RENO, CUBIC = range(2)


class ProtocolControlBlock(Record):
    """A connection.

    The host sets `rcv_wnd` to the room in its receive buffer. After input, `accepted_bytes` of payload from `accepted_seq` on are
    new and belong into that buffer, `delivered_bytes` of it have become readable.
    """

    local_address: i8  # of the host, packed
    foreign_address: i8  # of the peer, packed
    local_port: i4  # of the host
    foreign_port: i4  # of the peer
    hash_next: i4  # the next pcb of the bucket's chain, -1 for none
    mss: i4  # payload of a full segment, without options
    snd_una: i8  # SND.UNA: the oldest number that is not acknowledged
    snd_nxt: i8  # SND.NXT: the next number to send
    snd_max: i8  # the highest number sent, and one
    snd_wnd: i8  # SND.WND in bytes
    max_snd_wnd: i8  # the largest window that the peer has announced, in bytes
    snd_wl1: i8  # SND.WL1: the number of the segment that last updated the window
    snd_cwnd: i8  # congestion window in bytes
    snd_ssthresh: i8  # slow start threshold in bytes
    snd_recover: i8  # the end of the last recovery (RFC 6582)
    send_buffered_bytes: i8  # in the send buffer, from snd_una on; the host adds, input takes off
    acked_bytes: i8  # that the last input took off the send buffer
    delivered_bytes: i8  # that the last input made readable
    rcv_nxt: i8  # RCV.NXT: the next number expected
    rcv_adv: i8  # the right edge of the window as announced
    rcv_wnd: i8  # RCV.WND: room in the host's receive buffer, in bytes
    rexmt_deadline_us: i8  # of the retransmission or persist timer, 0 if it does not run
    delack_deadline_us: i8  # of the delayed acknowledgment, 0 if none is due
    ts_recent: i8  # TS.Recent (RFC 7323)
    last_ack_sent: i8  # Last.ACK.sent (RFC 7323)
    srtt_us: i8  # smoothed round-trip time, 0 before the first sample
    rttvar_us: i8  # its variation
    rto_us: i8  # retransmission timeout
    last_received_us: i8  # when a segment last came
    last_sent_us: i8  # when a segment last left
    unanswered_since_us: i8  # since when what was sent has no answer, 0 if nothing waits for one
    timed_at_us: i8  # when the segment that is timed was sent, 0 if none is (RFC 6298, section 3)
    timestamp_offset: i8  # added to the clock of time stamps
    accepted_seq: i8  # where the payload of the last input belongs
    accepted_bytes: i8  # of payload that the last input accepted as new
    fin_seq: i8  # the number of the own FIN
    user_timeout_us: i8  # after which unanswered data ends the connection, 0 for none
    keepalive_deadline_us: i8  # of the next keep-alive probe, 0 for none
    linger_deadline_us: i8  # of the end of FIN-WAIT-2 or TIME-WAIT, 0 for none
    min_rto_us: i4  # least retransmission timeout
    delayed_ack_us: i4  # longest delay of an acknowledgment
    dupacks: i4  # duplicate acknowledgments in a row
    rexmt_shift: i4  # timeouts in a row, by which the timeout is doubled
    flight_before_dupacks: i4  # bytes outstanding when the first duplicate acknowledgment came
    new_bytes: i4  # of the segment that output built last: sent for the first time
    timestamp_unit_us: i4  # of the clock of time stamps
    burst_segments: i4  # most segments that output builds as one
    receive_buffer_bytes: i4  # of the host's receive buffer
    keepalive_sent: i4  # keep-alive probes without an answer
    state: u1  # State
    snd_scale: u1  # shift of the peer's windows
    rcv_scale: u1  # shift of the own windows
    in_recovery: u1  # 1: fast recovery
    retransmit_now: u1  # 1: output repeats the segment at snd_una
    probe_now: u1  # 1: output probes a closed window
    ack_now: u1  # 1: output acknowledges at once
    unacked_segments: u1  # received since the last acknowledgment
    reordered_count: u1  # ranges of data received out of order
    segments_sent: i8  # counts
    retransmitted_segments: i8  # counts
    retransmission_timeouts: i4  # counts
    # The connection's life
    ended: u1  # End: why it is closed
    passive: u1  # 1: the peer opened it
    fin_queued: u1  # 1: the application has closed
    fin_received: u1  # 1: the peer has sent all
    detached: u1  # 1: no application will read any more
    # Options: what is offered, and after the handshake what both agreed on
    use_timestamps: u1  # 1: RFC 7323, section 3
    use_scaling: u1  # 1: RFC 7323, section 2
    use_sack: u1  # 1: RFC 2018
    use_ecn: u1  # 1: RFC 3168
    no_delay: u1  # 1: short segments leave at once
    cork: u1  # 1: short segments wait
    limited_transmit: u1  # 1: RFC 3042
    congestion: u1  # NEW_RENO or CUBIC
    # ECN (RFC 3168)
    ecn_echo: u1  # 1: congestion is echoed to the peer
    ecn_reduced: u1  # 1: the next data segment says that the window was reduced
    probe_alive: u1  # 1: output sends a keep-alive probe
    sacked_count: u1  # ranges of data that the peer reported
    # The record of transmissions
    scoreboard_address: i8  # that the host keeps, see `scoreboard`; 0 without
    iss: i8  # initial send sequence number
    irs: i8  # initial receive sequence number
    peer_fin_seq: i8  # the number of the peer's FIN
    ecn_recover: i8  # the end of the window in which ECN reduced last
    own_mss: i4  # that is announced
    peer_mss: i4  # that the peer announced
    default_mss: i4  # where the peer announces none
    initial_segments: i4  # of the congestion window; 0 for that of RFC 3390
    recent_seqs: Annotated[u4, MAX_SACK_BLOCKS]  # ranges received out of order, the latest first: a number of each
    # Round-trip time without time stamps: one segment at a time (RFC 6298, section 3)
    timed_seq: i8  # the number that must be acknowledged
    # Timers beside retransmission and delayed acknowledgment
    keepalive_idle_us: i8  # before the first probe
    keepalive_interval_us: i8  # between probes
    time_wait_us: i8  # length of TIME-WAIT
    fin_wait_2_us: i8  # longest FIN-WAIT-2 without an application
    initial_rto_us: i8  # before the first sample
    keepalive_probes: i4  # without an answer that end the connection
    max_retransmissions: i4  # in a row that end the connection
    challenge_acks: i4  # sent in the present interval (RFC 5961)
    challenge_since_us: i8  # the beginning of that interval
    # SACK: the ranges reported, and the recovery that works on them (RFC 6675)
    high_rxt: i8  # HighRxt
    rescue_rxt: i8  # RescueRxt
    first_hole_max: i8  # snd_max when the first hole was last retransmitted
    sacked_start: Annotated[i8, MAX_SACKED]  # where each range begins
    sacked_end: Annotated[i8, MAX_SACKED]  # where each range ends
    # CUBIC (RFC 9438)
    cubic_epoch_us: i8  # t_epoch: when this period of congestion avoidance began
    cubic_k_us: i8  # K: until the window is cubic_max_bytes again
    cubic_origin_bytes: i8  # the window at the plateau
    cubic_max_bytes: i8  # W_max
    cubic_friendly_bytes: i8  # W_est
    cubic_friendly_credit: i8  # acknowledged bytes that have not yet grown W_est
    cubic_credit_bytes: i8  # products of bytes that have not yet grown the window
    reordered_start: Annotated[i8, MAX_REORDERED]  # where each range received out of order begins
    reordered_end: Annotated[i8, MAX_REORDERED]  # where each such range ends


PCB = ProtocolControlBlock.dtype


class _Word(Record):
    """Any 64 bits."""

    value: i8  # of them


_word_at = record_accessor(_Word.dtype)
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
    pcb.state = State.ESTABLISHED
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
