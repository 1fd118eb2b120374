"""The connection under test: who its ends are, and how numbers of the script and of the wire relate.

In a segment with SYN the numbers of a script are as written, in all others relative to the initial ones, as packetdrill has it.
Timestamps of the stack are learned from the segments in which the script expects them.
"""

from dataclasses import dataclass, field, replace
from enum import Enum

from netstack.script.packets import (
    ICMP,
    ICMPV6,
    TCP,
    Header,
    IcmpMessage,
    PacketError,
    Segment,
    flag_bits,
    flag_letters,
    header_of,
    icmp_numbers,
    quoted_segment,
)
from netstack.script.syntax import IcmpPacket, IpInfo, Sequence, TcpOption, TcpPacket

_MODULUS = 1 << 32


class Phase(Enum):
    """What of the handshake has been seen, from which the initial sequence numbers follow."""

    LISTENING = "listening"
    PACKET_RECEIVED = "packet received"
    SYNACK_SENT = "SYN-ACK sent"
    CONNECTING = "connecting"
    SYN_SENT = "SYN sent"
    KNOWN = "both initial sequence numbers known"


@dataclass
class Connection:
    """Local is the stack, remote the script; `local_port` None is not known before the first segment."""

    phase: Phase
    local_address: str
    remote_address: str
    local_port: int | None
    remote_port: int
    script_local_isn: int = 0
    wire_local_isn: int = 0
    script_remote_isn: int = 0
    wire_remote_isn: int = 0
    other_ports: set[tuple[int, int]] = field(default_factory=set)
    """Remote and local ports that the script itself named."""
    last_sent_seq: int = 0
    """Number on the wire of the segment that the stack sent last."""
    _timestamps: dict[int, int] = field(default_factory=dict)
    _first_timestamp: tuple[int, int] | None = None
    _reopening: tuple[int, int] | None = None
    """Number of the last SYN to a known connection, in the script and on the wire: it may open it anew."""

    def is_sender_of(self, segment: Segment) -> bool:
        """Whether a segment that the stack sent belongs to this connection; learns its number, and the local port from a SYN."""
        header = segment.header
        if (header.source, header.destination) != (self.local_address, self.remote_address):
            return False
        if self.local_port is None and segment.destination_port == self.remote_port and segment.flags & flag_bits("S"):
            self.local_port = segment.source_port
        ports = (segment.destination_port, segment.source_port)
        own = ports == (self.remote_port, self.local_port) or ports in self.other_ports
        if own:
            self.last_sent_seq = segment.seq
        return own

    def _local_offset(self, with_syn: bool) -> int:
        return self.wire_local_isn - (self.script_local_isn if with_syn else 0)

    def _remote_offset(self, with_syn: bool) -> int:
        return self.wire_remote_isn - (self.script_remote_isn if with_syn else 0)

    def begin_with(self, packet: TcpPacket) -> None:
        """Take the peer's initial sequence number from the first packet to a listening socket."""
        self.script_remote_isn = self.wire_remote_isn = packet.sequence.start

    def to_wire(self, packet: TcpPacket, echo_scaled: bool = False) -> Segment:
        """Return the segment that an inbound packet of the script is.

        Raises:
            PacketError: It echoes a timestamp that the stack has not sent.
        """
        if self.phase is Phase.SYNACK_SENT and "." in packet.flags:
            self.phase = Phase.KNOWN
        elif self.phase is Phase.SYN_SENT and "S" in packet.flags:
            self.phase = Phase.KNOWN  # a SYN without ACK opens from both ends at once
            self.begin_with(packet)
        with_syn = "S" in packet.flags
        ports = packet.ports or (self.remote_port, self.local_port or 0)
        if packet.ports is not None:
            self.other_ports.add(packet.ports)
        seq = packet.sequence.start + (0 if packet.sequence.absolute else self._remote_offset(with_syn))
        ack = packet.ack or 0
        if "." in packet.flags and not packet.ack_absolute:
            ack += self._local_offset(with_syn)
        if self.phase is Phase.KNOWN and with_syn and "." not in packet.flags:
            self._reopening = packet.sequence.start, seq % _MODULUS
        options = tuple(self._option_to_wire(option, packet, with_syn, echo_scaled) for option in packet.options or ())
        return Segment(
            header=header_of(self.remote_address, self.local_address, TCP, packet.ip),
            source_port=ports[0],
            destination_port=ports[1],
            seq=seq % _MODULUS,
            ack=ack % _MODULUS,
            flags=flag_bits(packet.flags, packet.ace),
            window=packet.window or 0,
            urgent=packet.urgent,
            options=options,
            payload=bytes(packet.sequence.length),
        )

    def _option_to_wire(self, option: TcpOption, packet: TcpPacket, with_syn: bool, echo_scaled: bool) -> TcpOption:
        if option.name == "sack":
            offset = self._local_offset(with_syn)
            return replace(option, numbers=tuple(((number or 0) + offset) % _MODULUS for number in option.numbers))
        if option.name == "TS" and "." in packet.flags and option.numbers[1] is not None:
            return replace(option, numbers=(option.numbers[0], self._echo_to_wire(option.numbers[1], echo_scaled)))
        return option

    def _echo_to_wire(self, echo: int, scaled: bool) -> int:
        if echo in self._timestamps:
            return self._timestamps[echo]
        if scaled and self._first_timestamp is not None:
            script, wire = self._first_timestamp
            return (echo - script + wire) % _MODULUS
        raise PacketError(f"TS ecr {echo} echoes no timestamp that the script expected before")

    def to_script(self, segment: Segment, expected: TcpPacket) -> TcpPacket:
        """Return a segment that the stack sent as a packet of the script, which expects `expected`."""
        with_syn = bool(segment.flags & flag_bits("S"))
        with_ack = bool(segment.flags & flag_bits("."))
        if with_syn and with_ack and (self.phase is Phase.PACKET_RECEIVED or self._opens_anew(segment)):
            self.phase = Phase.SYNACK_SENT
            self.script_local_isn, self.wire_local_isn = expected.sequence.start, segment.seq
        elif with_syn and not with_ack and self.phase in (Phase.CONNECTING, Phase.SYN_SENT):
            self.phase = Phase.SYN_SENT
            self.script_local_isn, self.wire_local_isn = expected.sequence.start, segment.seq
        seq = segment.seq - (0 if expected.sequence.absolute else self._local_offset(with_syn))
        ack: int | None = segment.ack or None
        if with_ack:
            ack = (segment.ack - (0 if expected.ack_absolute else self._remote_offset(with_syn))) % _MODULUS
        options = tuple(self._option_to_script(option, expected, with_syn) for option in segment.options)
        return TcpPacket(
            inbound=False,
            flags=flag_letters(segment.flags & 0x1FF).replace("-", ""),
            sequence=Sequence(seq % _MODULUS, len(segment.payload), expected.sequence.absolute),
            ack=ack,
            ack_absolute=expected.ack_absolute,
            window=segment.window,
            urgent=segment.urgent,
            options=options,
            ip=_ip_info(segment.header, expected.ip),
            ports=(segment.source_port, segment.destination_port) if expected.ports else None,
        )

    def _opens_anew(self, segment: Segment) -> bool:
        """Whether a SYN-ACK answers a SYN that came when the connection was known, and with another number than its own."""
        if self.phase is not Phase.KNOWN or self._reopening is None:
            return False
        script, wire = self._reopening
        if wire == self.wire_remote_isn % _MODULUS or segment.ack != (wire + 1) % _MODULUS:
            return False
        self.script_remote_isn, self.wire_remote_isn = script, wire
        return True

    def _option_to_script(self, option: TcpOption, expected: TcpPacket, with_syn: bool) -> TcpOption:
        if option.name == "sack":
            offset = self._remote_offset(with_syn)
            return replace(option, numbers=tuple(((number or 0) - offset) % _MODULUS for number in option.numbers))
        wanted = next((other.numbers[0] for other in expected.options or () if other.name == "TS"), None)
        if option.name == "TS" and len(option.numbers) == 2 and option.numbers[0] is not None and wanted is not None:
            value = option.numbers[0]
            self._timestamps[wanted] = value
            self._first_timestamp = self._first_timestamp or (wanted, value)
            script, wire = self._first_timestamp
            return replace(option, numbers=((value - wire + script) % _MODULUS, option.numbers[1]))
        return option

    def icmp_to_wire(self, packet: IcmpPacket) -> IcmpMessage:
        """Return the ICMP message that an inbound packet of the script is, from the host of the peer.

        Raises:
            PacketError: Its type or code does not exist in this IP version.
        """
        header = header_of(self.remote_address, self.local_address, ICMP, packet.ip)
        if header.version == 6:
            header = replace(header, protocol=ICMPV6)
        kind, code = icmp_numbers(header.version, packet.type, packet.code)
        quoted = Header(self.local_address, self.remote_address, TCP)
        echoed = packet.echoed or Sequence(0, 0)
        seq = (echoed.start + (0 if echoed.absolute else self._local_offset(False))) % _MODULUS
        if echoed.anywhere:
            seq = self.last_sent_seq
        about = quoted_segment(quoted, (self.local_port or 0, self.remote_port), seq, echoed.length)
        return IcmpMessage(header, kind, code, packet.mtu_bytes or 0, about)


def _ip_info(header: Header, expected: IpInfo) -> IpInfo:
    """What the script says anything of: the rest would only fill its lines."""
    return IpInfo(
        ecn=header.ecn if expected.ecn is not None else None,
        tos=header.tos if expected.tos is not None else None,
        ttl=header.ttl if expected.ttl is not None else None,
    )
