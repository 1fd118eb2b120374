"""Segments on the wire against scapy's: RFC 9293, section 3.1; RFC 7323, sections 2.2 and 3.2; RFC 1071."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP
from scapy.packet import Raw

from netstack.tcp.header import (
    BAD_OFFSET,
    BAD_OPTION,
    SEGMENT,
    TRUNCATED,
    checksum,
    decode,
    encode,
    fill_checksum,
)
from tests.helpers.packet_trace import record

u16, u32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
FIELDS = {"source_port": u16, "destination_port": u16, "seq": u32, "ack": u32, "flags": st.integers(0, 255), "window": u16}


@st.composite
def segments(draw: st.DrawFn) -> Any:
    """A segment with any combination of the options that TCP here knows."""
    segment = record(SEGMENT)
    for name, values in FIELDS.items():
        setattr(segment, name, draw(values))
    segment.mss = draw(st.just(0) | st.integers(1, 0xFFFF))
    segment.wscale = draw(st.integers(-1, 14))
    segment.has_timestamps = draw(st.integers(0, 1))
    segment.sack_permitted = draw(st.integers(0, 1))
    if segment.wscale < 0 and segment.mss == 0 and segment.sack_permitted == 0:
        segment.sack_count = draw(st.integers(0, 3 if segment.has_timestamps else 4))
        for index in range(segment.sack_count):
            segment.sack_start[index], segment.sack_end[index] = draw(u32), draw(u32)
    if segment.has_timestamps:
        segment.ts_val, segment.ts_ecr = draw(u32), draw(u32)
    segment.source_address, segment.destination_address = draw(u32), draw(u32)
    return segment


def dotted(address: int) -> str:
    return ".".join(str(int(address) >> shift & 255) for shift in (24, 16, 8, 0))


def options_of(segment: Any) -> list[tuple[str, Any]]:
    """The options of a segment in the order in which they are encoded, as scapy names them."""
    options: list[tuple[str, Any]] = [("MSS", int(segment.mss))] if segment.mss else []
    permitted: list[tuple[str, Any]] = [("SAckOK", b"")] if segment.sack_permitted else [("NOP", None), ("NOP", None)]
    if segment.has_timestamps:
        options += [*permitted, ("Timestamp", (int(segment.ts_val), int(segment.ts_ecr)))]
    elif segment.sack_permitted:
        options += [("NOP", None), ("NOP", None), *permitted]
    if segment.wscale >= 0:
        options += [("NOP", None), ("WScale", int(segment.wscale))]
    if segment.sack_count:
        edges = zip(segment.sack_start.tolist(), segment.sack_end.tolist(), strict=True)
        blocks = list(edges)[: int(segment.sack_count)]
        options += [("NOP", None), ("NOP", None), ("SAck", tuple(edge for block in blocks for edge in block))]
    return options


def scapy_bytes(segment: Any, options: list[tuple[str, Any]], payload: bytes) -> bytes:
    """The TCP part of scapy's packet, with scapy's checksum."""
    ip = IP(src=dotted(segment.source_address), dst=dotted(segment.destination_address))
    tcp = TCP(
        sport=int(segment.source_port),
        dport=int(segment.destination_port),
        seq=int(segment.seq),
        ack=int(segment.ack),
        flags=int(segment.flags),
        window=int(segment.window),
        options=options,
    )
    return bytes(ip / tcp / Raw(payload))[20:]


@settings(deadline=None)
@given(segments(), st.binary(max_size=41), st.integers(0, 300))
def test_encoding_is_scapys(segment: Any, payload: bytes, offset: int) -> None:
    buffer = np.full(offset + 60 + len(payload) + 1, 0xEE, np.uint8)
    header = encode(segment, buffer, offset)
    buffer[offset + header : offset + header + len(payload)] = np.frombuffer(payload, np.uint8)
    assert (buffer[offset + 16 : offset + 20] == 0).all()
    buffer[offset + 16 : offset + 18] = 0xEE  # the sum must not include what stood in its place
    fill_checksum(buffer, offset, header + len(payload), segment.source_address, segment.destination_address)
    expected = scapy_bytes(segment, options_of(segment), payload)
    assert buffer[offset : offset + len(expected)].tobytes() == expected
    assert (buffer[:offset] == 0xEE).all()
    assert (buffer[offset + len(expected) :] == 0xEE).all()


SCAPY_OPTIONS = st.one_of(
    st.tuples(st.just("MSS"), u16),
    st.tuples(st.just("WScale"), st.integers(0, 255)),
    st.tuples(st.just("Timestamp"), st.tuples(u32, u32)),
    st.just(("NOP", None)),
    st.just(("SAckOK", b"")),
    st.tuples(st.just("SAck"), st.tuples(u32, u32)),
    st.tuples(st.just(254), st.binary(max_size=6)),
)


@settings(deadline=None)
@given(segments(), st.lists(SCAPY_OPTIONS, max_size=4), st.binary(max_size=9), st.integers(0, 300))
def test_decoding_reads_what_scapy_wrote(segment: Any, options: list[tuple[Any, Any]], payload: bytes, offset: int) -> None:
    """Unknown options are skipped; of an option that comes twice the last one counts (RFC 9293, section 3.1)."""
    wire = scapy_bytes(segment, options, payload)
    found = record(SEGMENT)
    buffer = np.frombuffer(bytes(offset) + wire, np.uint8)
    assert decode(buffer, offset, len(wire), found) == len(wire) - len(payload)
    for name in FIELDS:
        assert found[name] == segment[name], name
    assert found.length == len(payload)
    assert found.checksum == int.from_bytes(wire[16:18], "big")
    last = dict(options)
    assert found.mss == last.get("MSS", 0)
    assert found.wscale == min(last.get("WScale", -1), 14)
    assert found.has_timestamps == ("Timestamp" in last)
    assert (found.ts_val, found.ts_ecr) == last.get("Timestamp", (0, 0))
    assert found.sack_permitted == ("SAckOK" in last)
    assert found.sack_count == ("SAck" in last)
    if found.sack_count:
        assert (found.sack_start[0], found.sack_end[0]) == last["SAck"]


@settings(deadline=None)
@given(segments(), st.binary(max_size=33), st.data())
def test_a_changed_bit_is_found_by_the_checksum(segment: Any, payload: bytes, data: st.DataObject) -> None:
    """RFC 1071: the sum over a valid segment, checksum included, is 0; one flipped bit anywhere changes it."""
    wire = np.frombuffer(scapy_bytes(segment, options_of(segment), payload), np.uint8).copy()
    addresses = int(segment.source_address), int(segment.destination_address)
    assert checksum(wire, 0, len(wire), *addresses) == 0
    bit = data.draw(st.integers(0, 8 * len(wire) - 1))
    wire[bit // 8] ^= 1 << bit % 8
    assert checksum(wire, 0, len(wire), *addresses) != 0


def test_the_checksum_covers_the_pseudo_header() -> None:
    """RFC 9293, section 3.1: addresses, protocol and length are part of the sum."""
    wire = np.frombuffer(bytes(IP(src="10.0.0.1", dst="10.0.0.2") / TCP() / Raw(b"abc"))[20:], np.uint8)
    assert checksum(wire, 0, len(wire), 0x0A000001, 0x0A000002) == 0
    assert checksum(wire, 0, len(wire), 0x0A000001, 0x0A000003) != 0
    assert checksum(wire, 0, len(wire), 0x0A010001, 0x0A000002) != 0
    padded = np.append(wire, np.uint8(0))
    assert checksum(padded, 0, len(padded), 0x0A000001, 0x0A000002) != 0


def header(options: bytes, words: int | None = None) -> np.ndarray:
    """Twenty bytes of header and these options; the header's length as given, or the true one."""
    words = (20 + len(options)) // 4 if words is None else words
    return np.frombuffer(bytes(12) + bytes([words << 4, 16]) + bytes(6) + options, np.uint8)


MALFORMED = [
    ("19 bytes", header(b"")[:19], TRUNCATED),
    ("nothing", header(b"")[:0], TRUNCATED),
    ("a header of 16 bytes", header(b"", 4), BAD_OFFSET),
    ("a header longer than the segment", header(b"", 6), BAD_OFFSET),
    ("an option without length", header(bytes([1, 1, 1, 2])), BAD_OPTION),
    ("an option of length 0", header(bytes([2, 0, 5, 180])), BAD_OPTION),
    ("an option of length 1", header(bytes([254, 1, 0, 0])), BAD_OPTION),
    ("an option beyond the header", header(bytes([8, 10, 0, 0, 0, 0, 0, 0])), BAD_OPTION),
]


@pytest.mark.parametrize(("wire", "error"), [case[1:] for case in MALFORMED], ids=[case[0] for case in MALFORMED])
def test_malformed_segments_are_refused(wire: np.ndarray, error: int) -> None:
    """RFC 9293, section 3.1 (MUST-7): be prepared for an illegal option length. The buffer holds more behind the segment."""
    buffer = np.append(wire, np.full(60, 1, np.uint8))
    assert decode(buffer, 0, len(wire), record(SEGMENT)) == error


def test_the_end_of_the_option_list_ends_it() -> None:
    """RFC 9293, section 3.1: what follows kind 0 is padding, even if it looks like an option."""
    found = record(SEGMENT)
    assert decode(header(bytes([0, 1, 1, 1, 2, 4, 5, 180])), 0, 28, found) == 28
    assert found.mss == 0


def test_a_known_option_of_the_wrong_length_is_skipped() -> None:
    """An MSS option of 6 bytes is not one; the window scale behind it still counts."""
    found = record(SEGMENT)
    assert decode(header(bytes([2, 6, 5, 180, 0, 0, 1, 3, 3, 7, 1, 1])), 0, 32, found) == 32
    assert (found.mss, found.wscale) == (0, 7)


def test_decoding_forgets_the_segment_before() -> None:
    """A record is used again for the next segment: options of the last one must not stay."""
    found = record(SEGMENT)
    wire = np.frombuffer(bytes(TCP(options=[("MSS", 1460), ("WScale", 7), ("Timestamp", (5, 6))])), np.uint8)
    assert decode(wire, 0, len(wire), found) == 40
    assert (found.mss, found.wscale, found.has_timestamps, found.ts_val, found.ts_ecr) == (1460, 7, 1, 5, 6)
    assert decode(header(b""), 0, 20, found) == 20
    assert (found.mss, found.wscale, found.has_timestamps, found.ts_val, found.ts_ecr) == (0, -1, 0, 0, 0)


def test_decoding_interpreted() -> None:
    """Compiled code is also run as plain Python: no arithmetic may depend on the width of a byte of the buffer."""
    wire = np.frombuffer(bytes(300) + bytes(TCP(options=[("Timestamp", (5, 6))])), np.uint8)
    found = record(SEGMENT)
    assert getattr(decode, "py_func", decode)(wire, 300, 32, found) == 32
    assert (found.ts_val, found.ts_ecr) == (5, 6)


@settings(deadline=None)
@given(st.binary(min_size=20, max_size=64))
def test_no_bytes_make_decoding_read_beyond_the_segment(wire: bytes) -> None:
    """What stands behind the segment in the buffer changes nothing."""
    results = []
    for filler in (0x00, 0x02, 0xFF):
        found = record(SEGMENT)
        buffer = np.append(np.frombuffer(wire, np.uint8), np.full(64, filler, np.uint8))
        results.append((decode(buffer, 0, len(wire), found), str(found.tolist())))
    assert results[0] == results[1] == results[2]
