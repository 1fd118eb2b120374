"""Judges every packet that an endpoint sent in a test, by scapy and the RFCs. Knows nothing of the stack but its packets.

What the endpoint received is read too: what was agreed on, acknowledged and allowed follows from both directions.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from scapy.layers.inet import IP, TCP, in4_chksum
from scapy.layers.inet6 import IPv6, in6_chksum
from scapy.utils import checksum

MODULUS = 1 << 32
OPTION_BYTES = {"MSS": 4, "WScale": 3, "SAckOK": 2, "Timestamp": 10, "NOP": 1}
SYN_OPTIONS = {"MSS", "WScale", "SAckOK"}
DEFAULT_MSS = {4: 536, 6: 1220}  # RFC 9293, section 3.7.1
NOT_ECT, ECT0, CE = 0, 2, 3

Key = tuple[str, int, str, int]
"""Our address and port, the peer's address and port."""


@dataclass
class Offer:
    """What a SYN said."""

    seq: int
    window: int
    options: dict[str, Any]
    flags: str


@dataclass
class Conversation:
    """One connection as the packets show it."""

    key: Key
    ours: Offer
    peer: Offer | None
    version: int
    mtu_bytes: int
    stream: bytes = b""
    """What the application wrote."""
    sent_end: int = 0
    """Of payload and FIN, counted from the first byte."""
    received_end: int = 0
    """Of the peer's, counted from its SYN."""
    acked_end: int = 0
    allowed_end: int = 0
    """How far the peer's window reached at most."""
    announced_end: int = 0
    last_timestamp: int | None = None
    peer_timestamps: set[int] = field(default_factory=set)

    def both(self, option: str) -> bool:
        """Whether both SYNs have an option."""
        return self.peer is not None and option in self.ours.options and option in self.peer.options

    @property
    def ecn(self) -> bool:
        """RFC 3168, section 6.1.1: asked for by ECE and CWR, granted by ECE alone."""
        if self.peer is None:
            return False
        asked, granted = (self.peer, self.ours) if "A" in self.ours.flags else (self.ours, self.peer)
        return {"E", "C"} <= set(asked.flags) and "E" in granted.flags and "C" not in granted.flags


class Judge:
    """Reads packets in the order in which the endpoint received and sent them."""

    def __init__(self, mtu_bytes: int, streams: Mapping[tuple[Key, int], bytes]) -> None:
        """Expect what applications wrote, by connection and initial sequence number."""
        self.conversations: list[Conversation] = []
        self.checked = 0
        self._mtu_bytes = mtu_bytes
        self._streams = streams
        self._open: dict[Key, Conversation] = {}
        self._peer_syns: dict[Key, Offer] = {}

    def read(self, packets: Iterable[tuple[bool, bytes]]) -> None:
        """Read packets, each with whether it was sent. Raises AssertionError for the first one that is wrong."""
        for number, (sent, packet) in enumerate(packets):
            ip = IP(packet) if packet[0] >> 4 == 4 else IPv6(packet)
            if TCP not in ip:
                continue
            try:
                if sent:
                    self._judge(packet, ip)
                else:
                    self._note(ip)
            except AssertionError as error:
                raise AssertionError(f"packet {number}, {ip.summary()}: {error}\n{ip.show2(dump=True)}") from error

    def _note(self, ip: Any) -> None:
        """Take what the peer says."""
        tcp = ip[TCP]
        key = (ip.dst, tcp.dport, ip.src, tcp.sport)
        flags = str(tcp.flags)
        conversation = self._open.get(key)
        if "S" in flags:
            offer = Offer(tcp.seq, tcp.window, dict(tcp.options), flags)
            self._peer_syns[key] = offer
            if conversation is not None and conversation.peer is None:
                self._begin(conversation, offer)
            if conversation is None or conversation.peer is not offer:
                return
        if conversation is None or conversation.peer is None or "R" in flags:
            return
        length = len(tcp.payload)
        end = offset(tcp.seq + length + ("F" in flags), conversation.peer.seq + 1)
        conversation.received_end = max(conversation.received_end, end)
        if "Timestamp" in dict(tcp.options):
            conversation.peer_timestamps.add(dict(tcp.options)["Timestamp"][0])
        if "A" in flags:
            scale = conversation.peer.options["WScale"] if conversation.both("WScale") and "S" not in flags else 0
            allowed = offset(tcp.ack, conversation.ours.seq + 1) + (tcp.window << scale)
            conversation.allowed_end = max(conversation.allowed_end, allowed)

    def _begin(self, conversation: Conversation, offer: Offer) -> None:
        conversation.peer = offer
        conversation.allowed_end = offer.window
        if "Timestamp" in offer.options:
            conversation.peer_timestamps.add(offer.options["Timestamp"][0])

    def _judge(self, packet: bytes, ip: Any) -> None:
        """Check a packet of ours."""
        self.checked += 1
        tcp = ip[TCP]
        self._judge_form(packet, ip, tcp)
        flags = str(tcp.flags)
        options = dict(tcp.options)
        key = (ip.src, tcp.sport, ip.dst, tcp.dport)
        if "S" in flags:
            self._judge_syn(key, ip, tcp, flags, options)
            return
        assert not SYN_OPTIONS & options.keys(), "an option of SYNs in another segment"
        if "R" in flags:
            assert options.keys() <= {"NOP", "Timestamp"}, "a reset with other options than time stamps"
            assert not bytes(tcp.payload), "a reset with payload"
            assert ecn_of(ip) == NOT_ECT, "a reset that is ECN-capable"
            if not options:
                return
        conversation = self._open.get(key)
        assert conversation is not None, "a segment before a SYN"
        assert conversation.peer is not None, "a segment before the peer's SYN"
        assert "A" in flags, "no acknowledgment"
        if "R" in flags:
            self._judge_options(conversation, tcp, options)
            return
        self._judge_stream(conversation, ip, tcp, flags)
        self._judge_acknowledgment(conversation, tcp)
        self._judge_options(conversation, tcp, options)

    def _judge_form(self, packet: bytes, ip: Any, tcp: Any) -> None:
        """Lengths, checksums, and that the options fill the header."""
        assert len(packet) <= self._mtu_bytes, f"longer than the MTU of {self._mtu_bytes}"
        if ip.version == 4:
            header = 4 * ip.ihl
            assert ip.len == len(packet), "total length"
            assert checksum(packet[:header]) == 0, "checksum of the IP header"
            assert in4_chksum(6, ip, packet[header:]) == 0, "checksum"
            assert str(ip.flags) == "DF", "may be fragmented"
        else:
            header = 40
            assert ip.plen == len(packet) - header, "payload length"
            assert in6_chksum(6, ip, packet[header:]) == 0, "checksum"
        assert tcp.reserved == 0, "reserved bits"
        assert tcp.urgptr == 0, "urgent pointer"
        assert "U" not in str(tcp.flags), "urgent"
        length = 0
        for name, value in tcp.options:
            assert name in OPTION_BYTES or name == "SAck", f"option {name}"
            length += OPTION_BYTES[name] if name != "SAck" else 2 + 4 * len(value)
        names = [name for name, _ in tcp.options if name != "NOP"]
        assert len(names) == len(set(names)), "an option twice"
        assert 4 * tcp.dataofs == 20 + length, "data offset"
        assert 4 * tcp.dataofs + len(tcp.payload) == len(packet) - header, "payload"

    def _judge_syn(self, key: Key, ip: Any, tcp: Any, flags: str, options: dict[str, Any]) -> None:
        assert not bytes(tcp.payload), "a SYN with payload"
        assert "F" not in flags, "SYN and FIN"
        assert "SAck" not in options, "SACK blocks in a SYN"
        assert "MSS" in options, "a SYN without MSS"
        assert options.get("WScale", 0) <= 14, "window scale (RFC 7323, section 2.3)"
        assert ecn_of(ip) == NOT_ECT, "a SYN that is ECN-capable (RFC 3168, section 6.1.1)"
        offer = Offer(tcp.seq, tcp.window, options, flags)
        conversation = self._open.get(key)
        if conversation is None or conversation.ours.seq != tcp.seq:
            stream = bytes(self._streams.get((key, tcp.seq), b""))
            conversation = Conversation(key, offer, None, ip.version, self._mtu_bytes, stream)
            self._open[key] = conversation
            self.conversations.append(conversation)
        if "A" not in flags:
            return
        peer = self._peer_syns.get(key)
        assert peer is not None, "a SYN-ACK without a SYN"
        if conversation.peer is None:
            self._begin(conversation, peer)
        assert tcp.ack == (peer.seq + 1) % MODULUS, "acknowledges something else than the SYN"
        for option in ("WScale", "SAckOK", "Timestamp"):
            assert option not in options or option in peer.options, f"{option} was not offered"
        if "E" in flags:
            assert {"E", "C"} <= set(peer.flags), "grants ECN to a peer that did not ask"
            assert "C" not in flags, "asks for ECN in a SYN-ACK"
        conversation.announced_end = tcp.window

    def _judge_stream(self, conversation: Conversation, ip: Any, tcp: Any, flags: str) -> None:
        """Sequence numbers and payload are those of what the application wrote."""
        start = offset(tcp.seq, conversation.ours.seq + 1)
        payload = bytes(tcp.payload)
        end = start + len(payload)
        stream = conversation.stream
        assert start >= (0 if payload or "F" in flags else -1), "sequence number before the stream"
        assert end <= len(stream) + (not payload), "sequence number beyond the stream"
        assert not payload or payload == stream[start:end], "payload is not what was written"
        assert start <= conversation.sent_end, "a gap in what was sent"
        if "F" in flags:
            assert end == len(stream), "FIN before the end"
        assert conversation.peer is not None
        mss = conversation.peer.options.get("MSS", DEFAULT_MSS[conversation.version])
        assert len(payload) + 4 * tcp.dataofs - 20 <= mss, f"longer than the peer's MSS of {mss}"
        assert end <= max(conversation.allowed_end, conversation.sent_end) + 1, "beyond the window by more than a probe"
        fresh = bool(payload) and start >= conversation.sent_end
        if ecn_of(ip) != NOT_ECT:
            assert conversation.ecn, "ECN-capable without an agreement"
            assert ecn_of(ip) == ECT0
            assert fresh, "ECN-capable though not new data (RFC 3168, sections 6.1.4 and 6.1.5)"
        elif fresh:
            assert not conversation.ecn, "new data that is not ECN-capable"
        if not conversation.ecn:
            assert not {"E", "C"} & set(flags), "ECE or CWR without an agreement"
        conversation.sent_end = max(conversation.sent_end, end + ("F" in flags))

    def _judge_acknowledgment(self, conversation: Conversation, tcp: Any) -> None:
        """It never goes back nor ahead of the peer, and the window's right edge stays (RFC 9293, section 3.8.6)."""
        assert conversation.peer is not None
        acked = offset(tcp.ack, conversation.peer.seq + 1)
        assert acked >= conversation.acked_end, "an acknowledgment goes back"
        assert acked <= conversation.received_end, "acknowledges what did not arrive"
        conversation.acked_end = acked
        scale = conversation.ours.options["WScale"] if conversation.both("WScale") else 0
        edge = acked + (tcp.window << scale)
        assert edge > conversation.announced_end - (1 << scale), "the window shrinks"
        conversation.announced_end = max(edge, conversation.announced_end)

    def _judge_options(self, conversation: Conversation, tcp: Any, options: dict[str, Any]) -> None:
        assert conversation.peer is not None
        assert ("Timestamp" in options) == conversation.both("Timestamp"), "time stamps (RFC 7323, section 3.2)"
        if "Timestamp" in options:
            value, echo = options["Timestamp"]
            if conversation.last_timestamp is not None:
                assert offset(value, conversation.last_timestamp) >= 0, "the time stamp clock goes back"
            conversation.last_timestamp = value
            assert echo in conversation.peer_timestamps, "echoes a time stamp that did not come"
        if "SAck" in options:
            assert conversation.both("SAckOK"), "SACK blocks without an agreement"
            edges = [offset(edge, conversation.peer.seq + 1) for edge in options["SAck"]]
            blocks = list(zip(edges[::2], edges[1::2], strict=True))
            start, end = blocks[0]
            if end <= conversation.acked_end or (blocks[1:] and blocks[1][0] <= start and end <= blocks[1][1]):
                assert start < end, f"D-SACK block {start} to {end} (RFC 2883, section 4)"
                del blocks[0]
            for start, end in blocks:
                assert conversation.acked_end < start < end <= conversation.received_end, f"SACK block {start} to {end}"


def offset(number: int, start: int) -> int:
    """Return how far a sequence number is from another one."""
    return (number - start + MODULUS // 2) % MODULUS - MODULUS // 2


def ecn_of(ip: Any) -> int:
    """Return the codepoint of RFC 3168, section 5."""
    return (ip.tos if ip.version == 4 else ip.tc) & 3
