"""Segments: the record that TCP reads and writes, and its encoding on the wire (RFC 9293, section 3.1; RFC 7323; RFC 2018).

Knows no connection.
"""

from typing import Annotated

import numpy as np

from netstack.jit.compilation import compiled
from netstack.jit.records import Record, i4, i8

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128
NOT_ECT, ECT1, ECT0, CE = range(4)
MAX_SACK_BLOCKS = 4


class Segment(Record):
    """A segment, read from the wire or to be written to it."""

    source_address: i8  # IPv4 address, as a 32-bit number
    destination_address: i8  # IPv4 address, as a 32-bit number
    source_port: i4  # TCP port of the sender
    destination_port: i4  # TCP port of the receiver
    seq: i8  # sequence number
    ack: i8  # acknowledgment number
    flags: i4  # union of FIN to CWR
    window: i4  # the field on the wire, not yet scaled
    length: i4  # of the payload, in bytes
    has_timestamps: i4  # 1: the time stamps option is present
    ts_val: i8  # TSval
    ts_ecr: i8  # TSecr
    mss: i4  # maximum segment size option, 0: absent
    wscale: i4  # window scale option, -1: absent
    checksum: i4  # the field on the wire; output leaves it to `fill_checksum`
    ecn: i4  # NOT_ECT to CE, the codepoint of the IP header (RFC 3168, section 5)
    sack_permitted: i4  # 1: the option is present
    sack_count: i4  # SACK blocks, 0: the option is absent
    sack_start: Annotated[i8, MAX_SACK_BLOCKS]  # where each block begins
    sack_end: Annotated[i8, MAX_SACK_BLOCKS]  # where each block ends


SEGMENT = Segment.dtype

TRUNCATED, BAD_OFFSET, BAD_OPTION = -1, -2, -3
_MINIMUM = 20


@compiled
def sequence_length(segment):
    """Return how many sequence numbers a segment takes: payload, and one each for SYN and FIN (SEG.LEN, RFC 9293, 3.3.1)."""
    length = segment.length
    if segment.flags & SYN:
        length += 1
    if segment.flags & FIN:
        length += 1
    return length


@compiled
def clear_options(segment):
    """Clear what only some segments have: the options of a SYN, SACK blocks, and the mark of an ECN-capable sender."""
    segment.mss = 0
    segment.wscale = -1
    segment.sack_permitted = 0
    segment.sack_count = 0
    segment.ecn = NOT_ECT


@compiled
def _put16(buffer, offset, value):
    buffer[offset] = (value >> 8) & 255
    buffer[offset + 1] = value & 255


@compiled
def _put32(buffer, offset, value):
    _put16(buffer, offset, value >> 16)
    _put16(buffer, offset + 2, value)


@compiled
def _get16(buffer, offset):
    return (np.int64(buffer[offset]) << 8) | np.int64(buffer[offset + 1])


@compiled
def _get32(buffer, offset):
    return (_get16(buffer, offset) << 16) | _get16(buffer, offset + 2)


@compiled
def encode(segment, buffer, offset):
    """Write the header with its options at `offset` of a uint8 array; return its length in bytes (20 to 60).

    The checksum field is zero: `fill_checksum` writes it once the payload is behind the header.
    """
    end = offset + _MINIMUM
    if segment.mss != 0:
        buffer[end] = 2
        buffer[end + 1] = 4
        _put16(buffer, end + 2, segment.mss)
        end += 4
    if segment.sack_permitted != 0 or segment.has_timestamps != 0:
        # two no-operations, or SACK-permitted in their place, align the time stamps
        buffer[end] = 4 if segment.sack_permitted != 0 and segment.has_timestamps != 0 else 1
        buffer[end + 1] = 2 if segment.sack_permitted != 0 and segment.has_timestamps != 0 else 1
        end += 2
    if segment.has_timestamps != 0:
        buffer[end] = 8
        buffer[end + 1] = 10
        _put32(buffer, end + 2, segment.ts_val)
        _put32(buffer, end + 6, segment.ts_ecr)
        end += 10
    elif segment.sack_permitted != 0:
        buffer[end] = 4
        buffer[end + 1] = 2
        end += 2
    if segment.wscale >= 0:
        buffer[end] = 1
        buffer[end + 1] = 3
        buffer[end + 2] = 3
        buffer[end + 3] = segment.wscale
        end += 4
    if segment.sack_count > 0:
        buffer[end] = 1
        buffer[end + 1] = 1
        buffer[end + 2] = 5
        buffer[end + 3] = 2 + 8 * segment.sack_count
        end += 4
        for index in range(segment.sack_count):
            _put32(buffer, end, segment.sack_start[index])
            _put32(buffer, end + 4, segment.sack_end[index])
            end += 8
    length = end - offset
    _put16(buffer, offset, segment.source_port)
    _put16(buffer, offset + 2, segment.destination_port)
    _put32(buffer, offset + 4, segment.seq)
    _put32(buffer, offset + 8, segment.ack)
    buffer[offset + 12] = (length >> 2) << 4
    buffer[offset + 13] = segment.flags
    _put16(buffer, offset + 14, segment.window)
    _put16(buffer, offset + 16, 0)
    _put16(buffer, offset + 18, 0)
    return length


@compiled
def decode(buffer, offset, length, segment):
    """Read a TCP segment of `length` bytes at `offset` of a uint8 array.

    Returns the header's length in bytes, or TRUNCATED, BAD_OFFSET or BAD_OPTION. Addresses and the ECN codepoint are those of the
    IP header and stay as they are. Unknown options are skipped (RFC 9293, section 3.1).
    """
    if length < _MINIMUM:
        return TRUNCATED
    header = (np.int64(buffer[offset + 12]) >> 4) << 2
    if header < _MINIMUM or header > length:
        return BAD_OFFSET
    segment.source_port = _get16(buffer, offset)
    segment.destination_port = _get16(buffer, offset + 2)
    segment.seq = _get32(buffer, offset + 4)
    segment.ack = _get32(buffer, offset + 8)
    segment.flags = np.int64(buffer[offset + 13])
    segment.window = _get16(buffer, offset + 14)
    segment.checksum = _get16(buffer, offset + 16)
    segment.length = length - header
    segment.mss = 0
    segment.wscale = -1
    segment.sack_permitted = 0
    segment.sack_count = 0
    segment.has_timestamps = 0
    segment.ts_val = 0
    segment.ts_ecr = 0
    at = offset + _MINIMUM
    end = offset + header
    while at < end:
        kind = buffer[at]
        if kind == 0:
            break
        if kind == 1:
            at += 1
            continue
        if at + 1 >= end:
            return BAD_OPTION
        size = np.int64(buffer[at + 1])
        if size < 2 or at + size > end:
            return BAD_OPTION
        if kind == 2 and size == 4:
            segment.mss = _get16(buffer, at + 2)
        elif kind == 3 and size == 3:
            segment.wscale = min(np.int64(buffer[at + 2]), 14)
        elif kind == 4 and size == 2:
            segment.sack_permitted = 1
        elif kind == 5 and size % 8 == 2:
            for index in range(min(size // 8, MAX_SACK_BLOCKS)):
                segment.sack_start[index] = _get32(buffer, at + 2 + 8 * index)
                segment.sack_end[index] = _get32(buffer, at + 6 + 8 * index)
                segment.sack_count = index + 1
        elif kind == 8 and size == 10:
            segment.has_timestamps = 1
            segment.ts_val = _get32(buffer, at + 2)
            segment.ts_ecr = _get32(buffer, at + 6)
        at += size
    return header


@compiled
def pseudo_header(length, source_address, destination_address):
    """Return the sum of a segment's pseudo header with IPv4 addresses (RFC 9293, section 3.1)."""
    total = (source_address >> 16) + (source_address & 0xFFFF) + (destination_address >> 16) + (destination_address & 0xFFFF)
    return total + 6 + length


@compiled
def internet_checksum(buffer, offset, length, total):
    """Return the Internet checksum (RFC 1071) of `length` bytes at `offset` and of `total`: 0 if they include a valid one."""
    end = offset + (length & ~1)
    for index in range(offset, end, 2):
        total += _get16(buffer, index)
    if length & 1:
        total += np.int64(buffer[end]) << 8
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


@compiled
def checksum(buffer, offset, length, source_address, destination_address):
    """Return the checksum of a TCP segment with its IPv4 pseudo header: 0 over a valid one, checksum included."""
    return internet_checksum(buffer, offset, length, pseudo_header(length, source_address, destination_address))


@compiled
def fill_checksum(buffer, offset, length, source_address, destination_address):
    """Compute the checksum of an encoded segment and write it into its header."""
    _put16(buffer, offset + 16, 0)
    _put16(buffer, offset + 16, checksum(buffer, offset, length, source_address, destination_address))
