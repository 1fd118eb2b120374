"""The compiled calls of an endpoint into the stack core: one call per received packet, one per packet that is sent.

Records are passed as addresses, which is far cheaper than as objects. Rings hold the payload: the byte with sequence number n
is at n modulo the ring's length, a power of two. Knows no socket.
"""

import numpy as np

from netstack.host.ip import FRAGMENT_HEADER, FRAGMENT_HEADER_BYTES, HEADER_BYTES, TCP
from netstack.jit.compilation import compiled
from netstack.jit.records import record_accessor
from netstack.tcp.connection import (
    fill_reset,
    is_outstanding,
    reset_reply,
    tcp_abort,
    tcp_accept,
    tcp_close,
    tcp_connect,
    tcp_detach,
    tcp_listen_input,
    tcp_path_mtu,
    tcp_received,
)
from netstack.tcp.header import FIN, SEGMENT, SYN, decode, encode, internet_checksum
from netstack.tcp.input import tcp_input
from netstack.tcp.output import tcp_output
from netstack.tcp.pcb import PCB, cold_of
from netstack.tcp.reassembly import receive_window
from netstack.tcp.sequence import seq_sub
from netstack.tcp.states import State
from netstack.tcp.style import end_record
from netstack.tcp.timers import tcp_next_deadline_us, tcp_timeout

FLAGS, DELIVERED, ACKED, DEADLINE_US, STATE = range(5)
RESULTS = 5
FIRST_ID_BYTE, FLAGS_BYTE, DF = 4, 6, 0x40  # of an IPv4 header
NOT_TCP, BAD_PACKET, FRAGMENT = -10, -11, -12
IPV4_BYTES, IPV6_BYTES = HEADER_BYTES[4], HEADER_BYTES[6]

pcb_at = record_accessor(PCB)
segment_at = record_accessor(SEGMENT)


@compiled
def read_packet(packet, segment_address):
    """Decode an IP packet into the segment; return the offset of the payload, NOT_TCP, FRAGMENT, or BAD_PACKET if a check fails.

    Checked are lengths, the checksum of an IPv4 header, and that of the segment.
    """
    size = len(packet)
    if size < IPV4_BYTES:
        return BAD_PACKET
    version = np.int64(packet[0]) >> 4
    if version == 4:
        header = (np.int64(packet[0]) & 15) << 2
        length = (np.int64(packet[2]) << 8) | np.int64(packet[3])
        if header < IPV4_BYTES or length < header or length > size:
            return BAD_PACKET
        if internet_checksum(packet, 0, header, 0) != 0:
            return BAD_PACKET
        if (np.int64(packet[6]) & 0x3F) != 0 or packet[7] != 0:
            return FRAGMENT
        protocol = np.int64(packet[9])
        ecn = np.int64(packet[1]) & 3
        first_address = 12
    elif version == 6:
        header = IPV6_BYTES
        if size < header:
            return BAD_PACKET
        length = header + ((np.int64(packet[4]) << 8) | np.int64(packet[5]))
        if length > size:
            return BAD_PACKET
        protocol = np.int64(packet[6])
        if protocol == FRAGMENT_HEADER:
            return FRAGMENT if length >= header + FRAGMENT_HEADER_BYTES else BAD_PACKET
        ecn = (np.int64(packet[1]) >> 4) & 3
        first_address = 8
    else:
        return BAD_PACKET
    if protocol != TCP:
        return NOT_TCP
    segment = segment_at(segment_address, 0)
    found = decode(packet, header, length - header, segment)
    if found < 0:
        return BAD_PACKET
    if internet_checksum(packet, header, length - header, _pseudo_sum(packet, first_address, header, length)) != 0:
        return BAD_PACKET
    segment.ecn = ecn
    return header + found


@compiled
def _pseudo_sum(packet, first_address, header, length):
    """Return the sum of the pseudo header: the addresses from the IP header, protocol and length of the segment."""
    end = header if first_address == 8 else IPV4_BYTES
    total = TCP + length - header
    for index in range(first_address, end, 2):
        total += (np.int64(packet[index]) << 8) | np.int64(packet[index + 1])
    return total


@compiled
def input_segment(packet, payload, pcb_address, segment_address, ring, unread_bytes, results, now_us):
    """Run input on the decoded segment, whose payload is at offset `payload` of the packet, and store what is new in the ring.

    `unread_bytes` before `rcv_nxt` are in the ring. Returns 0, or, before anything was done, the bytes that a larger ring must
    hold. If the ring cannot grow, `trim_segment` comes first.
    """
    pcb = pcb_at(pcb_address, 0)
    segment = segment_at(segment_address, 0)
    if segment.length > 0:
        needed = _needed_bytes(pcb, segment, unread_bytes)
        if needed > len(ring):
            return needed
    seq = segment.seq
    if segment.flags & SYN:
        seq = (seq + 1) & 0xFFFFFFFF  # payload stands behind a SYN
    cold_of(pcb).segments_in += 1
    flags = tcp_input(pcb, segment, now_us)
    mask = len(ring) - 1
    skipped = seq_sub(pcb.accepted_seq, seq)
    for index in range(min(pcb.accepted_bytes, len(ring))):
        ring[(pcb.accepted_seq + index) & mask] = packet[payload + skipped + index]
    pcb.rcv_wnd = max(pcb.receive_buffer_bytes - unread_bytes - pcb.delivered_bytes, 0)
    _report(pcb, results, flags)
    results[DELIVERED] = pcb.delivered_bytes
    results[ACKED] = pcb.acked_bytes
    return 0


@compiled
def trim_segment(pcb_address, segment_address, ring, unread_bytes):
    """Drop the end of a payload that has no room in the ring, and the FIN behind it: the peer sends them again."""
    pcb = pcb_at(pcb_address, 0)
    segment = segment_at(segment_address, 0)
    room = len(ring) - unread_bytes - _offset(pcb, segment)
    if segment.length > room:
        segment.length = max(room, 0)
        segment.flags &= ~FIN


@compiled
def _needed_bytes(pcb, segment, unread_bytes):
    """Return how far a ring must reach from the first unread byte on for what input may accept of the payload."""
    if pcb.detached != 0:
        return 0
    offset = _offset(pcb, segment)
    window = pcb.rcv_wnd if pcb.state == State.SYN_SENT else receive_window(pcb)
    if offset >= window or offset + segment.length <= 0:
        return 0
    return unread_bytes + min(offset + segment.length, window)


@compiled
def _offset(pcb, segment):
    """Return where the payload begins, from `rcv_nxt` on."""
    if pcb.state == State.SYN_SENT:
        return 0
    return seq_sub(segment.seq, pcb.rcv_nxt) + (1 if segment.flags & SYN else 0)


@compiled
def _report(pcb, results, flags):
    results[FLAGS] = flags
    results[DELIVERED] = 0
    results[ACKED] = 0
    results[DEADLINE_US] = tcp_next_deadline_us(pcb)
    results[STATE] = pcb.state


@compiled
def emit(pcb_address, segment_address, ring, template, packet, results, now_us):
    """Build the connection's next packet into `packet`; return its length, 0 if there is none.

    `template` is an IP header with addresses, hop limit and class of traffic.
    """
    pcb = pcb_at(pcb_address, 0)
    segment = segment_at(segment_address, 0)
    if tcp_output(pcb, segment, now_us) == 0:
        results[DEADLINE_US] = tcp_next_deadline_us(pcb)
        return 0
    cold_of(pcb).segments_out += 1
    header = len(template)
    start = header + encode(segment, packet, header)
    mask = len(ring) - 1
    for index in range(segment.length):
        packet[start + index] = ring[(segment.seq + index) & mask]
    return _finish_packet(template, packet, start + segment.length, segment.ecn)


@compiled
def emit_segment(segment_address, template, packet):
    """Build the packet of a segment without payload, and return its length."""
    segment = segment_at(segment_address, 0)
    header = len(template)
    length = header + encode(segment, packet, header)
    return _finish_packet(template, packet, length, 0)


@compiled
def _finish_packet(template, packet, length, ecn):
    """Write the IP header before a segment, and both checksums."""
    header = len(template)
    for index in range(header):
        packet[index] = template[index]
    if header == IPV4_BYTES:
        if template[FLAGS_BYTE] & DF == 0:  # may be fragmented, so that it needs a number of its own (RFC 6864)
            number = ((np.int64(template[FIRST_ID_BYTE]) << 8) + np.int64(template[FIRST_ID_BYTE + 1]) + 1) & 0xFFFF
            template[FIRST_ID_BYTE] = number >> 8
            template[FIRST_ID_BYTE + 1] = number & 255
        packet[1] = template[1] | ecn
        packet[2] = length >> 8
        packet[3] = length & 255
        packet[10] = 0
        packet[11] = 0
        value = internet_checksum(packet, 0, header, 0)
        packet[10] = value >> 8
        packet[11] = value & 255
        first_address = 12
    else:
        packet[1] = template[1] | (ecn << 4)
        packet[4] = (length - header) >> 8
        packet[5] = (length - header) & 255
        first_address = 8
    value = internet_checksum(packet, header, length - header, _pseudo_sum(packet, first_address, header, length))
    packet[header + 16] = value >> 8
    packet[header + 17] = value & 255
    return length


@compiled
def run_timers(pcb_address, results, now_us):
    """Run the connection's timers that expired."""
    pcb = pcb_at(pcb_address, 0)
    _report(pcb, results, tcp_timeout(pcb, now_us))


@compiled
def connect(pcb_address, iss, now_us):
    """Open the connection actively."""
    tcp_connect(pcb_at(pcb_address, 0), iss, now_us)


@compiled
def accept(pcb_address, segment_address, iss, now_us):
    """Open the connection passively, by the SYN in the segment."""
    tcp_accept(pcb_at(pcb_address, 0), segment_at(segment_address, 0), iss, now_us)


@compiled
def keep_syn_data(packet, payload, pcb_address, ring):
    """Store the payload at offset `payload` of the SYN that opened the connection, as much of it as was accepted."""
    pcb = pcb_at(pcb_address, 0)
    for index in range(pcb.accepted_bytes):
        ring[(pcb.accepted_seq + index) & (len(ring) - 1)] = packet[payload + index]


@compiled
def accept_cookie(pcb_address, segment_address, iss, now_us):
    """Open the connection as if the SYN in the segment had come and been answered (RFC 4987, section 3.6)."""
    pcb = pcb_at(pcb_address, 0)
    syn = segment_at(segment_address, 0)
    syn.length = 0  # the payload is that of the ACK
    tcp_accept(pcb, syn, iss, now_us)
    pcb.snd_nxt = (iss + 1) & 0xFFFFFFFF
    pcb.snd_max = pcb.snd_nxt


@compiled
def close(pcb_address, results, detach, now_us):
    """Send a FIN after what is buffered; `detach` says that nobody reads from now on."""
    pcb = pcb_at(pcb_address, 0)
    if detach:
        tcp_detach(pcb, now_us)
    _report(pcb, results, tcp_close(pcb, now_us))


@compiled
def abort(pcb_address, segment_address, now_us):
    """Close at once; fill the segment with a reset and return whether it is to be sent."""
    return tcp_abort(pcb_at(pcb_address, 0), segment_at(segment_address, 0), now_us)


@compiled
def own_reset(pcb_address, segment_address, now_us):
    """Fill the segment with the connection's own reset."""
    fill_reset(pcb_at(pcb_address, 0), segment_at(segment_address, 0), now_us)


@compiled
def reply_reset(segment_address, reply_address):
    """Fill the reply with the reset that answers the segment; return whether there is one."""
    return reset_reply(segment_at(segment_address, 0), segment_at(reply_address, 0))


@compiled
def listen_input(segment_address):
    """Return what a listener does with the segment."""
    return tcp_listen_input(segment_at(segment_address, 0))


@compiled
def received(pcb_address, unread_bytes):
    """Note that the application left `unread_bytes`; return TCP_OUTPUT if the peer must learn of the room."""
    pcb = pcb_at(pcb_address, 0)
    pcb.rcv_wnd = max(pcb.receive_buffer_bytes - unread_bytes, 0)
    return tcp_received(pcb)


@compiled
def written(pcb_address, count):
    """Note that the application put `count` bytes into the send buffer."""
    pcb_at(pcb_address, 0).send_buffered_bytes += count


@compiled
def record_ends(pcb_address, seq):
    """Note that a record of the application ends before `seq`."""
    end_record(pcb_at(pcb_address, 0), seq)


@compiled
def outstanding(pcb_address, seq):
    """Return whether the connection waits for the acknowledgment of `seq`."""
    return is_outstanding(pcb_at(pcb_address, 0), seq)


@compiled
def path_mtu(pcb_address, mss):
    """Apply the MSS of a path that a router reports; return TCP_OUTPUT if something is to be sent again."""
    return tcp_path_mtu(pcb_at(pcb_address, 0), mss)
