"""Selective acknowledgment: the sender's scoreboard and loss recovery on it (RFC 2018, RFC 6675), the receiver's blocks.

Decides which bytes are lost and which to send next in a recovery. When a recovery begins is decided in `acknowledgment`.
"""

import numpy as np

from netstack.jit.compilation import compiled
from netstack.tcp.congestion import DUPACK_THRESHOLD
from netstack.tcp.header import MAX_SACK_BLOCKS
from netstack.tcp.pcb import cold_of
from netstack.tcp.ranges import drop_ranges_below, find_range, insert_range
from netstack.tcp.scoreboard import scoreboard_at
from netstack.tcp.sequence import seq_add, seq_geq, seq_gt, seq_leq, seq_lt, seq_sub

SACK_KIND_BYTES, SACK_BLOCK_BYTES = 4, 8  # kind and length with padding; both edges


@compiled
def sacked_bytes(pcb):
    """Return how many bytes above snd_una the peer holds."""
    cold = cold_of(pcb)
    total = 0
    for index in range(pcb.sacked_count):
        total += seq_sub(cold.sacked_end[index], cold.sacked_start[index])
    return total


@compiled
def sack_update(pcb, segment):
    """Enter an ACK's blocks into the scoreboard (RFC 6675, section 4, Update); return how many bytes are newly reported.

    Blocks outside of what is outstanding are ignored: old ones, duplicate SACKs (RFC 2883), and forged ones.
    """
    cold = cold_of(pcb)
    pcb.sacked_count = drop_ranges_below(cold.sacked_start, cold.sacked_end, pcb.sacked_count, segment.ack)
    kept = sacked_bytes(pcb)
    for index in range(segment.sack_count):
        start = segment.sack_start[index]
        end = segment.sack_end[index]
        if seq_lt(start, end) and seq_gt(start, segment.ack) and seq_leq(end, pcb.snd_max):
            pcb.sacked_count = insert_range(cold.sacked_start, cold.sacked_end, pcb.sacked_count, start, end)
    return sacked_bytes(pcb) - kept


@compiled
def _lost(pcb, ranges_above, bytes_above):
    """Return IsLost() of a hole below so many ranges and bytes that the peer holds (RFC 6675, section 4)."""
    return ranges_above >= DUPACK_THRESHOLD or bytes_above > (DUPACK_THRESHOLD - 1) * pcb.mss


@compiled
def sack_first_lost(pcb):
    """Return whether what follows snd_una counts as lost."""
    return _lost(pcb, pcb.sacked_count, sacked_bytes(pcb))


@compiled
def sack_lost_again(pcb):
    """Return whether the retransmission of the first hole was lost too: enough data that was sent after it has arrived.

    RFC 6675 waits for the timer instead. RFC 8985 treats a retransmission like any other segment that can be lost.
    """
    cold = cold_of(pcb)
    last = cold.sacked_end[pcb.sacked_count - 1] if pcb.sacked_count > 0 else pcb.snd_una
    return seq_sub(last, cold.first_hole_max) >= DUPACK_THRESHOLD * pcb.mss


@compiled
def sack_pipe(pcb):
    """Return the bytes that are estimated to be in the network (RFC 6675, section 4, SetPipe)."""
    cold = cold_of(pcb)
    pipe = 0
    seq = pcb.snd_una
    ranges_above = pcb.sacked_count
    bytes_above = sacked_bytes(pcb)
    for index in range(pcb.sacked_count):
        hole = seq_sub(cold.sacked_start[index], seq)
        if not _lost(pcb, ranges_above, bytes_above):
            pipe += hole
        pipe += min(max(seq_sub(cold.high_rxt, seq), 0), hole)
        seq = cold.sacked_end[index]
        ranges_above -= 1
        bytes_above -= seq_sub(seq, cold.sacked_start[index])
    rest = max(seq_sub(pcb.snd_max, seq), 0)
    return pipe + rest + min(max(seq_sub(cold.high_rxt, seq), 0), rest)


@compiled
def sack_next_hole(pcb, only_lost):
    """Return (seq, length) of the first hole above what was retransmitted in this recovery. The length is 0 if there is none.

    NextSeg(), rules 1 (`only_lost`) and 3 (RFC 6675, section 4).
    """
    cold = cold_of(pcb)
    seq = pcb.snd_una
    ranges_above = pcb.sacked_count
    bytes_above = sacked_bytes(pcb)
    for index in range(pcb.sacked_count):
        if seq_lt(seq, cold.high_rxt):
            seq = cold.high_rxt
        hole = seq_sub(cold.sacked_start[index], seq)
        if hole > 0:
            if only_lost and not _lost(pcb, ranges_above, bytes_above):
                return seq, 0
            return seq, min(hole, pcb.mss)
        if seq_lt(seq, cold.sacked_end[index]):
            seq = cold.sacked_end[index]
        ranges_above -= 1
        bytes_above -= seq_sub(cold.sacked_end[index], cold.sacked_start[index])
    return seq, 0


@compiled
def sack_rescue(pcb):
    """Return (seq, length) of the last outstanding bytes when nothing above them was reported (NextSeg(), rule 4)."""
    last = pcb.snd_una
    if pcb.sacked_count > 0:
        last = cold_of(pcb).sacked_end[pcb.sacked_count - 1]
    length = min(seq_sub(pcb.snd_max, last), pcb.mss)
    return seq_add(pcb.snd_max, -length), length


@compiled
def skip_sacked(pcb, seq):
    """Return the first byte from `seq` on that the peer does not hold."""
    cold = cold_of(pcb)
    index = find_range(cold.sacked_start, cold.sacked_end, pcb.sacked_count, seq)
    return seq if index < 0 else cold.sacked_end[index]


@compiled
def until_sacked(pcb, seq, length):
    """Return how much of `length` bytes from `seq` on lies before the next bytes that the peer holds."""
    cold = cold_of(pcb)
    for index in range(pcb.sacked_count):
        if seq_gt(cold.sacked_start[index], seq):
            return min(length, seq_sub(cold.sacked_start[index], seq))
    return length


@compiled
def forget_reneged(pcb):
    """Clear the scoreboard if the peer reneged: it acknowledges up to a range and not beyond (RFC 2018, section 8)."""
    if pcb.sacked_count > 0 and seq_geq(pcb.snd_una, cold_of(pcb).sacked_start[0]):
        pcb.sacked_count = 0


@compiled
def note_duplicate(pcb, start, end):
    """Make the next ACK report that the bytes from `start` to `end` came a second time (RFC 2883, section 4)."""
    if pcb.scoreboard_address != 0 and pcb.use_sack != 0 and seq_lt(start, end):
        board = scoreboard_at(pcb.scoreboard_address, 0)
        if board.use_dsack != 0:
            board.dsack_pending = 1
            board.dsack_start = start
            board.dsack_end = end


@compiled
def _duplicate_pending(pcb):
    if pcb.scoreboard_address == 0:
        return False
    return scoreboard_at(pcb.scoreboard_address, 0).dsack_pending != 0


@compiled
def reports_blocks(pcb):
    """Return whether the next segment has a range or a duplicate to report."""
    return pcb.use_sack != 0 and (pcb.reordered_count > 0 or _duplicate_pending(pcb))


@compiled
def sack_block_count(pcb, has_payload):
    """Return how many ranges the next segment reports: as many as the options have room for with a byte of payload left."""
    room = 3 if pcb.use_timestamps != 0 else MAX_SACK_BLOCKS
    if has_payload:
        room = min(room, max((pcb.mss - SACK_KIND_BYTES - 1) // SACK_BLOCK_BYTES, 0))
    count = pcb.reordered_count
    if _duplicate_pending(pcb):
        count += 1
    return min(room, count)


@compiled
def without_sack_blocks(pcb, length):
    """Return how much of `length` bytes of payload fits into a segment with the blocks that it carries (RFC 6691, section 2)."""
    count = sack_block_count(pcb, True)
    if count == 0:
        return length
    return min(length, pcb.mss - SACK_KIND_BYTES - count * SACK_BLOCK_BYTES)


@compiled
def fill_sack_blocks(pcb, segment):
    """Report a duplicate, then the ranges held out of order, the last changed ones first (RFC 2018, section 4; RFC 2883)."""
    cold = cold_of(pcb)
    room = sack_block_count(pcb, segment.length > 0)
    segment.sack_count = 0
    first = 0
    if room > 0 and _duplicate_pending(pcb):
        board = scoreboard_at(pcb.scoreboard_address, 0)
        board.dsack_pending = 0
        segment.sack_start[0] = board.dsack_start
        segment.sack_end[0] = board.dsack_end
        segment.sack_count = 1
        first = 1
        index = find_range(cold.reordered_start, cold.reordered_end, pcb.reordered_count, board.dsack_start)
        if index >= 0:
            _add_block(pcb, segment, index, first, room)
    for place in range(len(cold.recent_seqs)):
        seq = np.int64(cold.recent_seqs[place])
        index = find_range(cold.reordered_start, cold.reordered_end, pcb.reordered_count, seq)
        if index >= 0:
            _add_block(pcb, segment, index, first, room)
    for index in range(pcb.reordered_count):
        _add_block(pcb, segment, index, first, room)


@compiled
def _add_block(pcb, segment, index, first, room):
    """Report a range, unless a block from `first` on reports it already or there is no room."""
    cold = cold_of(pcb)
    for block in range(first, segment.sack_count):
        if segment.sack_start[block] == cold.reordered_start[index]:
            return
    if segment.sack_count < room:
        segment.sack_start[segment.sack_count] = cold.reordered_start[index]
        segment.sack_end[segment.sack_count] = cold.reordered_end[index]
        segment.sack_count += 1
