"""ICMP messages that the stack sends, and echoes to it: from the notation of scripts to the wire and back. Knows no segment."""

from netstack.script.packets import ICMP, ICMPV6, IcmpMessage, header_of, icmp_names, icmp_numbers
from netstack.script.syntax import IcmpPacket

_ECHOES = ("echo_request", "echo_reply")


def is_echo(packet: IcmpPacket) -> bool:
    """Whether a message is an echo, which is about no segment."""
    return packet.type in _ECHOES


def echo_to_wire(packet: IcmpPacket, source: str, destination: str) -> IcmpMessage:
    """Return the message that an echo of a script is.

    Raises:
        PacketError: Its type or code does not exist in this IP version.
    """
    header = header_of(source, destination, ICMPV6 if ":" in source else ICMP, packet.ip)
    kind, code = icmp_numbers(header.version, packet.type, packet.code)
    return IcmpMessage(header, kind, code, (packet.echo_id or 0) << 16, b"")


def icmp_of_wire(message: IcmpMessage) -> IcmpPacket:
    """Return a message that the stack sent as a script writes it."""
    name, code = icmp_names(message.header.version, message.type, message.code)
    return IcmpPacket(False, name, code, echo_id=message.rest >> 16 if name in _ECHOES else None)


def icmp_differences(expected: IcmpPacket, actual: IcmpPacket) -> list[str]:
    """Return in a phrase each how a message differs from the expected one, where the script says anything."""
    fields = [("type", expected.type, actual.type), ("code", expected.code, actual.code)]
    if expected.echo_id is not None:
        fields.append(("id", expected.echo_id, actual.echo_id))
    return [f"{name} is {found}, expected {wanted}" for name, wanted, found in fields if wanted != found and wanted is not None]
