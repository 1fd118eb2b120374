"""The protocol control block: all that TCP remembers of a connection (RFC 9293, section 3.3.1; names after the BSD sources).

Knows nothing of the table that holds it but its link in a hash chain.
"""

from typing import Annotated

from netstack.jit.compilation import compiled
from netstack.jit.records import Record, i4, i8, record_accessor, u1, u2, u4
from netstack.tcp.header import MAX_SACK_BLOCKS
from netstack.tcp.states import State

MAX_REORDERED = 8  # ranges of data received out of order that a receiver remembers
MAX_SACKED = 16  # ranges of data that the peer reported as received out of order
MAX_RECORDS = 8  # ends of records that wait to be sent
INITIAL_RTO_US = 1_000_000  # RFC 6298, 2.1
DEFAULT_MSS = 536  # RFC 9293, section 3.7.1
LARGE_WINDOW = 1 << 30
NEW_RENO, CUBIC = range(2)


class ProtocolControlBlock(Record):
    """A connection, but for its `ColdState`. Fields that are used together are together on 64 bytes, a line of the host's caches.

    The host sets `rcv_wnd` to the room in its receive buffer. After input, `accepted_bytes` of payload from `accepted_seq` on are
    new and belong in that buffer. `delivered_bytes` have become readable.

    Sequence numbers and the peer's time stamps compare only within 2**31 of each other, and a connection may last longer or
    rest for weeks. Whatever is compared with a later one therefore follows, or says itself whether it counts:

    * `snd_una`, `snd_nxt`, `snd_max`, `rcv_nxt` are where the connection is; `sacked_*`, `reordered_*` and their counts are
      within a window of them, and ACKs and data drop what is behind.
    * `rcv_adv`, `last_ack_sent`: every segment sent sets them.
    * `snd_wl1`: every ACK of something new sets it, and others unless their segment is older.
    * `snd_recover`, `ecn_recover`: outside of a recovery every ACK of something new moves them up to just below snd_una.
    * `high_rxt`, `rescue_rxt`, `first_hole_max`: used while `in_recovery`, whose begin sets them; `flight_before_dupacks`
      while there are `dupacks`.
    * `timed_seq`: used while `timed_at_us` is not 0. `fin_seq`: once `fin_queued`; `peer_fin_seq`: once `fin_received`.
      Nothing comes after either.
    * `ts_recent`: used for 24 days from `ts_recent_us`.
    * `iss`, `irs`: used in SYN-SENT and SYN-RECEIVED; `irs` also while there are `quick_acks`, which are a few segments.
    * `recent_seqs`: they choose an order of blocks. A wrong order is harmless.
    * Times are in 64 bits and never wrap. 0 is none for all but `last_received_us`, `last_sent_us` and `ts_recent_us`, which
      are set when the connection begins.

    Of the scoreboard (RFC 8985): `run_end` are outstanding; `fack` is raised to snd_una by every ACK; `end_seq` counts if a
    run was sent at `xmit_us` exactly; `dsack_round` while `dsack_round_open`, `probe_end_seq` while `probe_outstanding`, both
    of which every ACK judges; `dsack_start` and `dsack_end` while `dsack_pending`, `dsack_received_end` while
    `dsack_received`.
    """

    # What finds a connection, and what each segment asks of it
    local_address: i8  # IPv4 address of the host, as a 32-bit number
    foreign_address: i8  # IPv4 address of the peer, as a 32-bit number
    cold_address: i8  # of its `ColdState`, 0 for none
    local_port: i4  # TCP port of the host
    foreign_port: i4  # TCP port of the peer
    hash_next: i4  # the next pcb of the hash chain, -1 for none
    mss: i4  # bytes of payload in a full segment, beside time stamps; SACK blocks take some of them
    state: u1  # State
    style: u1  # RFC, LINUX or FREEBSD
    use_timestamps: u1  # 1: RFC 7323, section 3
    use_ecn: u1  # 1: RFC 3168
    use_sack: u1  # 1: RFC 2018
    snd_scale: u1  # shift of the windows that the peer announces
    rcv_scale: u1  # shift of the windows that the host announces
    in_recovery: u1  # 1: a fast recovery is going on
    reordered_count: u1  # ranges of data received out of order
    sacked_count: u1  # ranges of data that the peer reported
    record_count: u1  # ends of records that wait to be sent
    fin_received: u1  # 1: the peer's FIN has come, perhaps before data that is missing
    fin_queued: u1  # 1: the application has closed
    detached: u1  # 1: the application reads no more data
    ack_now: u1  # 1: output acknowledges at once
    unacked_segments: u1  # received in order since an acknowledgment was last sent
    retransmit_now: u1  # 1: output repeats the segment at snd_una
    probe_now: u1  # 1: output probes a closed window
    probe_alive: u1  # 1: output sends a keep-alive probe
    no_delay: u1  # 1: short segments leave at once, without Nagle's algorithm
    cork: u1  # 1: a short last segment waits for more data
    congestion: u1  # NEW_RENO or CUBIC
    quick_acks: u1  # segments of data that are still acknowledged at once, or of Linux: ACKs that are sent at once
    burst_idle: u1  # 1: nothing was outstanding when the present burst of segments began
    # Sending
    snd_una: i8  # SND.UNA: the oldest number that is not acknowledged
    snd_nxt: i8  # SND.NXT: the next number to send
    snd_max: i8  # the highest number sent, plus one
    snd_wl1: i8  # SND.WL1: the number of the segment that last set the window
    snd_cwnd: i8  # congestion window in bytes
    snd_recover: i8  # recover (RFC 6582): snd_max at the last recovery or timeout, at least snd_una - 1
    send_buffered_bytes: i8  # bytes in the send buffer, from snd_una on; the host adds, input subtracts
    rexmt_deadline_us: i8  # of the retransmission or persist timer, 0 if it is off
    # Receiving
    rcv_nxt: i8  # RCV.NXT: the next number expected
    rcv_adv: i8  # the right edge of the window that was announced
    last_ack_sent: i8  # Last.ACK.sent (RFC 7323)
    ts_recent: i8  # TS.Recent (RFC 7323)
    ts_recent_us: i8  # when ts_recent was last set
    last_received_us: i8  # when an acceptable segment was last received
    delack_deadline_us: i8  # of the delayed acknowledgment, 0 if none is due
    timed_at_us: i8  # when the timed segment was sent, 0 if none is timed (RFC 6298, section 3)
    # Round trips, windows, and what the last input did
    srtt_us: i8  # smoothed round-trip time, 0 before the first sample
    rttvar_us: i8  # round-trip time variation
    rto_us: i8  # retransmission timeout, with back-off
    last_sent_us: i8  # when a segment with data, SYN or FIN was last sent
    unanswered_since_us: i8  # when something was first sent since the last ACK of something new, 0 for not yet
    snd_wnd: i4  # SND.WND in bytes
    max_snd_wnd: i4  # the largest window that the peer has announced, in bytes
    rcv_wnd: i4  # RCV.WND: room in the host's receive buffer, in bytes
    acked_bytes: i4  # bytes that the last input took off the send buffer
    delivered_bytes: i4  # bytes that the last input made readable
    accepted_bytes: i4  # bytes of payload that the last input accepted as new
    # Beside these
    snd_ssthresh: i8  # slow start threshold in bytes
    accepted_seq: i8  # number of the first byte that the last input accepted
    scoreboard_address: i8  # of the host's `scoreboard` record of the connection, 0 for none
    keepalive_deadline_us: i8  # of the next keep-alive probe, 0 for none
    linger_deadline_us: i8  # of the end of FIN-WAIT-2 or TIME-WAIT, 0 for none
    user_timeout_us: i8  # how long data may stay unanswered before the connection ends, 0 for no limit
    segments_sent: i8  # segments sent with data, SYN or FIN
    retransmitted_segments: i8  # of them, those that sent a number again
    snd_small: i8  # the end of the last short segment of new data
    iss: i8  # initial send sequence number
    timestamp_offset: u4  # added to the clock of time stamps, in ticks
    min_rto_us: i4  # least retransmission timeout
    delayed_ack_us: i4  # longest delay of an acknowledgment, 0 to send each at once
    rto_slop_us: i4  # a constant part of each retransmission timeout
    dupacks: i4  # duplicate acknowledgments in a row
    rexmt_shift: i4  # timeouts in a row, without probes that a live peer answers
    new_bytes: i4  # numbers that the last segment of data, SYN or FIN sent for the first time
    timestamp_unit_us: i4  # tick of the clock of time stamps
    burst_segments: i4  # most segments that output builds as one
    receive_buffer_bytes: i4  # size of the host's receive buffer
    keepalive_sent: i4  # keep-alive probes without an answer
    retransmission_timeouts: i4  # expiries of the retransmission timer, without those of the persist timer
    # The beginning and the end, and what is seldom asked for
    irs: i8  # initial receive sequence number
    fin_seq: i8  # the number of the host's FIN, once it has closed
    peer_fin_seq: i8  # the number of the peer's FIN, if fin_received
    ecn_recover: i8  # snd_max when the window was last reduced: an echo up to it changes nothing
    time_wait_us: i8  # length of TIME-WAIT
    initial_rto_us: i4  # retransmission timeout before the first sample
    max_retransmissions: i4  # timeouts in a row that end the connection
    own_mss: u2  # maximum segment size that the host announces
    peer_mss: u2  # maximum segment size that the peer announced, or default_mss
    default_mss: u2  # maximum segment size of a peer that announces none
    initial_segments: u2  # segments of the initial congestion window; 0: RFC 3390
    ended: u1  # End: why the connection is closed
    passive: u1  # 1: the peer opened the connection
    use_scaling: u1  # 1: RFC 7323, section 2
    ecn_echo: u1  # 1: congestion is echoed to the peer until it answers
    ecn_reduced: u1  # 1: the next data segment says that the window was reduced
    limited_transmit: u1  # 1: RFC 3042, without SACK too
    keep_window: u1  # 1: the congestion window survives an idle time
    no_options: u1  # 1: SYNs carry no options


class ColdState(Record):
    """What few segments of a connection ask for: losses, reordering, CUBIC, records of the application, and long timers.

    Hosts keep it in a table of its own. As long as nothing of the kind happens, it is zero and is not written, so that it takes
    no memory of a table that the system has not yet filled in. The counts and flags that say what of it is in use are in the pcb.
    """

    # What the receiver holds out of order, and what the sender knows to have arrived so
    reordered_start: Annotated[i8, MAX_REORDERED]  # where each range received out of order begins
    reordered_end: Annotated[i8, MAX_REORDERED]  # where each such range ends
    sacked_start: Annotated[i8, MAX_SACKED]  # where each range begins that the peer reported
    sacked_end: Annotated[i8, MAX_SACKED]  # where each such range ends
    recent_seqs: Annotated[u4, MAX_SACK_BLOCKS]  # a number in each range received out of order, the range that changed last first
    # Recovery (RFC 6675; RFC 5681), and the timed segment (RFC 6298, section 3)
    high_rxt: i8  # HighRxt: the end of what this recovery has sent again
    rescue_rxt: i8  # RescueRxt: no rescue retransmission before snd_una is above it
    first_hole_max: i8  # snd_max when the first hole was last sent again
    timed_seq: i8  # the first number of the timed segment: an ACK above it is the sample
    # CUBIC (RFC 9438)
    cubic_seen_us: i8  # until when the time since the epoch counts
    cubic_epoch_us: i8  # t_epoch: when this period of congestion avoidance began
    cubic_k_us: i8  # K: time from the epoch until the window is cubic_origin_bytes
    cubic_origin_bytes: i8  # the window at the plateau of the cubic function
    cubic_max_bytes: i8  # W_max
    cubic_friendly_bytes: i8  # W_est
    cubic_friendly_credit: i8  # acknowledged bytes that have not yet grown W_est
    cubic_credit_bytes: i8  # growth that has not yet moved the window, times the window: in bytes squared
    # Records, keep-alive, and choices of other systems
    record_end: Annotated[i8, MAX_RECORDS]  # numbers that no segment of new data crosses
    keepalive_idle_us: i8  # silence before the first probe, 0 for no probes
    keepalive_interval_us: i8  # time between probes
    fin_wait_2_us: i8  # longest FIN-WAIT-2 after the application has detached
    last_data_us: i8  # when data was last received in order, 0 for never
    answers_since_us: i8  # the beginning of the present interval of `answers`
    segments_in: i8  # segments received, counted by the host
    segments_out: i8  # segments sent, with all ACKs, counted by the host
    keepalive_probes: i4  # probes without an answer that end the connection
    answers: i4  # answers to segments that were not acceptable, in that interval (RFC 5961, section 7)
    flight_before_dupacks: i4  # bytes outstanding when the first duplicate acknowledgment came
    rcv_mss: i4  # the largest segment received, in bytes
    interactive: u1  # 1: answers come soon, so that acknowledgments wait for them


PCB = ProtocolControlBlock.dtype
COLD = ColdState.dtype


class _Word(Record):
    """Any 64 bits."""

    value: i8  # the bits as a signed number


_word_at = record_accessor(_Word.dtype)
_pcb_at = record_accessor(PCB)
_cold_at = record_accessor(COLD)
_PCB_WORDS, _COLD_WORDS = PCB.itemsize // 8, COLD.itemsize // 8


@compiled
def cold_of(pcb):
    """Return the cold state of a pcb."""
    return _cold_at(pcb.cold_address, 0)


@compiled
def pcb_renew(target_address, source_address):
    """Copy the pcb at one address to another, whose cold state is cleared. What is zero there already is not written."""
    cold_address = _pcb_at(target_address, 0).cold_address
    for index in range(_PCB_WORDS):
        _word_at(target_address, index).value = _word_at(source_address, index).value
    _pcb_at(target_address, 0).cold_address = cold_address
    for index in range(_COLD_WORDS):
        word = _word_at(cold_address, index)
        if word.value != 0:
            word.value = 0


@compiled
def window_scale(buffer_bytes):
    """Return the smallest shift, at most 14, that lets 16 bits announce `buffer_bytes` (RFC 7323, section 2.3)."""
    shift = 0
    while shift < 14 and (65535 << shift) < buffer_bytes:
        shift += 1
    return shift


@compiled
def initial_window(mss):
    """Return the initial congestion window in bytes for an `mss` in bytes (RFC 3390)."""
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
    """Put a zeroed pcb into the established state, as after a handshake that agreed on scaling and time stamps.

    `send_window` is the peer's receive buffer in bytes. The initial congestion window is that of RFC 3390.
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
    pcb.ecn_recover = pcb.snd_recover
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
