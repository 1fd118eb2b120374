"""Which segments a connection accepts, and what answers the others (RFC 9293, section 3.10.7.4; RFC 5961; RFC 7323, section 5).

The checks change nothing. Answers have one limit, whatever they are for. Knows no state transition.
"""

from netstack.jit.compilation import compiled
from netstack.tcp.flags import TCP_OUTPUT
from netstack.tcp.header import ACK, RST, SYN, sequence_length
from netstack.tcp.pcb import cold_of
from netstack.tcp.reassembly import receive_window
from netstack.tcp.sack import note_duplicate
from netstack.tcp.sequence import seq_add, seq_leq, seq_lt, seq_sub

ANSWERS = 10  # per interval (RFC 5961, section 7)
ANSWERS_INTERVAL_US = 5_000_000
TIMESTAMP_LIFE_US = 24 * 86400 * 1_000_000  # RFC 7323, section 5.5: a ts_recent that did not change for longer is invalid


@compiled
def is_in_window(pcb, segment):
    """Return whether a part of the segment is in the window (RFC 9293, section 3.10.7.4, first check)."""
    window = receive_window(pcb)
    length = sequence_length(segment)
    offset = seq_sub(segment.seq, pcb.rcv_nxt)
    if length == 0:
        return offset == 0 or 0 <= offset < window
    if window == 0:
        return offset == 0 and segment.flags & (ACK | RST) != 0  # the ACK or reset is taken, the payload is not
    return offset < window and offset + length > 0


@compiled
def is_at_edge(pcb, segment):
    """Return whether an ACK just outside of the window is read all the same, though it is answered.

    To a closed window peers send the number before rcv_nxt, as a probe, or the number after it once they have probed with a byte
    (RFC 9293, section 3.10.7.4: "special allowance should be made to accept valid ACKs"). A peer that fills the window, and whose
    segments are lost, sends the number behind it.
    """
    window = receive_window(pcb)
    offset = seq_sub(segment.seq, pcb.rcv_nxt)
    if window == 0:
        return -1 <= offset <= 1 and sequence_length(segment) <= 1
    return offset == window and sequence_length(segment) == 0


@compiled
def is_older(pcb, segment, now_us):
    """Return whether the segment's time stamp is older than ts_recent, and that is still valid (PAWS, RFC 7323, section 5.3)."""
    return seq_lt(segment.ts_val, pcb.ts_recent) and now_us - pcb.ts_recent_us < TIMESTAMP_LIFE_US


@compiled
def has_valid_ack(pcb, segment):
    """Return whether the ACK field is from SND.UNA - MAX.SND.WND to what was sent (RFC 5961, section 5.2)."""
    behind = seq_sub(pcb.snd_max, segment.ack)
    return 0 <= behind <= seq_sub(pcb.snd_max, pcb.snd_una) + pcb.max_snd_wnd


@compiled
def take_timestamp(pcb, segment, now_us):
    """Echo the time stamp of an acceptable segment from now on (RFC 7323, section 4.3)."""
    pcb.ts_recent = segment.ts_val
    pcb.ts_recent_us = now_us


@compiled
def repeats(pcb, segment):
    """Return whether the segment repeats numbers of the last window, and has a valid ACK: our ACK was lost, or was late."""
    if segment.flags & (SYN | ACK) != ACK or sequence_length(segment) == 0:
        return False
    behind = seq_sub(pcb.rcv_nxt, segment.seq)
    return 0 < behind <= pcb.receive_buffer_bytes + 1 and has_valid_ack(pcb, segment)  # a FIN is behind the buffer's last byte


@compiled
def answer(pcb, segment, now_us):
    """Acknowledge a segment that is not acceptable; return flags.

    Two ends must not acknowledge each other's ACKs for ever.
    What repeats the last window is answered always, all else a few times.
    """
    if not repeats(pcb, segment):
        return challenge(pcb, now_us)
    end = seq_add(segment.seq, segment.length)
    if pcb.scoreboard_address != 0 and segment.length > 0 and seq_leq(end, pcb.rcv_nxt):
        note_duplicate(pcb, segment.seq, end)  # RFC 2883, section 4.1
    pcb.ack_now = 1
    return TCP_OUTPUT


@compiled
def challenge(pcb, now_us):
    """Send an ACK to what may be an attacker, unless there were too many (RFC 5961, section 7); return flags."""
    if not may_answer(pcb, now_us):
        return 0
    pcb.ack_now = 1
    return TCP_OUTPUT


@compiled
def may_answer(pcb, now_us):
    """Count an answer, and return whether it is within the limit."""
    cold = cold_of(pcb)
    if now_us - cold.answers_since_us > ANSWERS_INTERVAL_US or cold.answers_since_us == 0:
        cold.answers_since_us = max(now_us, 1)
        cold.answers = 0
    if cold.answers >= ANSWERS:
        return False
    cold.answers += 1
    return True


@compiled
def acceptable_seq(pcb):
    """Return the number of a segment that takes none: the next one, or the end of the peer's window if that is before it.

    It is so after a probe of a closed window, or once the peer has shrunk its window. Peers drop what is beyond their window with
    its ACK. The low bits that a scaled window lacks are no shrinking (RFC 7323, section 2.4).
    """
    end = seq_add(pcb.snd_una, pcb.snd_wnd)
    beyond = seq_sub(pcb.snd_max, end)
    if beyond <= 0 or (pcb.snd_wnd > 0 and beyond < 1 << pcb.snd_scale):
        return pcb.snd_max
    return end
