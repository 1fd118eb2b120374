"""Tail loss probes (TLP, RFC 8985, section 7): when no ACK comes, one more segment asks for one, long before the timeout.

RFC 8985 sends one probe, and none in a recovery. With PROBE_ALWAYS there is one in a recovery too, and a second one (RFC 9002,
section 6.2): receivers report a whole window in one ACK, which can be lost like any other. These probes are the first segment
outstanding. It may be what is missing, and the peer acknowledges it at once.

Decides when to probe and what an answer means. The segment itself is built in `output`.
"""

from netstack.jit.compilation import compiled
from netstack.tcp.congestion import first_outstanding, flight_size, unsent_segment
from netstack.tcp.scoreboard import CongestionState, before_sacked, last_segment
from netstack.tcp.sequence import seq_geq, seq_gt, seq_sub

WORST_DELAYED_ACK_US = 200_000  # section 7.2
PROBE_NEVER, PROBE_TAIL, PROBE_ALWAYS = range(3)
MAX_PROBES = 2  # in a row without a round-trip time
TIMER_GRANULARITY_US = 2000  # of the peer's answer and of our own timer
FIRST_PROBE_US = 1_000_000  # before the first round-trip time


@compiled
def arm_probe(pcb, board, now_us):
    """Restart the probe timer, or stop it if no probe may be sent now (section 7.2)."""
    board.probe_deadline_us = 0
    flight = flight_size(pcb)
    if flight == 0 or pcb.use_sack == 0 or board.reorder_deadline_us != 0 or pcb.rexmt_shift > 0:
        return
    limit = 1 if board.use_probes == PROBE_TAIL else MAX_PROBES
    if board.use_probes == PROBE_NEVER or board.probes_unanswered >= limit:
        return
    if board.use_probes == PROBE_TAIL and (repairs(pcb, board) or board.probe_outstanding != 0):
        return
    wait_us = FIRST_PROBE_US
    if pcb.srtt_us > 0:
        wait_us = 2 * pcb.srtt_us
        wait_us += WORST_DELAYED_ACK_US if board.outstanding_segments == 1 else TIMER_GRANULARITY_US
    board.probe_deadline_us = now_us + (wait_us << board.probes_unanswered)
    if pcb.rexmt_deadline_us != 0:
        board.probe_deadline_us = min(board.probe_deadline_us, pcb.rexmt_deadline_us)


@compiled
def repairs(pcb, board):
    """Return whether something is missing: reported, lost or in a recovery."""
    state = board.congestion_state
    return state != CongestionState.OPEN and state != CongestionState.REDUCING


@compiled
def probe_segment(pcb, board):
    """Return (seq, length) of the probe: new data if there is some and the peer has room, else the last segment (section 7.3).

    In a recovery, and after a probe without an answer, it is the first segment outstanding.
    """
    if repairs(pcb, board) or board.probes_unanswered > 0:
        return pcb.snd_una, before_sacked(pcb, board, pcb.snd_una, first_outstanding(pcb))
    fresh = unsent_segment(pcb)
    if fresh > 0:
        return pcb.snd_max, fresh
    seq = last_segment(pcb, board)
    return seq, min(pcb.mss, min(pcb.send_buffered_bytes, flight_size(pcb)) - seq_sub(seq, pcb.snd_una))


@compiled
def note_probe(pcb, board, end, new_bytes):
    """Note a probe up to `end` that was sent, `new_bytes` of it for the first time."""
    board.probe_due = 0
    board.probe_outstanding = 0 if repairs(pcb, board) else 1
    board.probe_segment_end = end
    board.probe_end_seq = pcb.snd_max
    board.probe_is_retransmission = 1 if new_bytes == 0 else 0
    board.probes_unanswered += 1
    board.probes += 1


@compiled
def receive_probe_answer(pcb, board, segment, moves):
    """Judge an ACK while a probe is outstanding; return whether the probe repaired a loss, a congestion event (section 7.4).

    `moves` says whether the ACK acknowledges, reports or announces something new, or carries data.
    """
    superfluous = board.dsack_received != 0 and board.dsack_received_end == board.probe_segment_end
    if superfluous:
        board.dsack_received = 0  # the probe itself made this duplicate, not the network
    if board.probe_outstanding == 0 or not seq_geq(segment.ack, board.probe_end_seq):
        return False
    if board.probe_is_retransmission == 0 or superfluous:
        board.probe_outstanding = 0
    elif seq_gt(segment.ack, board.probe_end_seq):
        board.probe_outstanding = 0
        return True
    elif not moves:
        board.probe_outstanding = 0
    return False
