"""Packets in the notation of scripts, and how a sent one differs from the expected one. Knows no wire format and no endpoint."""

from collections.abc import Iterator

from netstack.script.packets import flag_bits, flag_letters
from netstack.script.syntax import IcmpPacket, IpInfo, Sequence, TcpOption, TcpPacket

_PADDING = ("nop", "eol")


def option_text(option: TcpOption) -> str:
    numbers = ["..." if number is None else str(number) for number in option.numbers]
    if option.text:
        return option.text
    if option.name == "TS" and len(numbers) == 2:
        return f"TS val {numbers[0]} ecr {numbers[1]}"
    if option.name == "sack":
        return " ".join(["sack", *(f"{left}:{right}" for left, right in zip(numbers[::2], numbers[1::2], strict=True))])
    return " ".join([option.name, *numbers, *([option.blob.hex()] if option.blob else [])])


def packet_text(packet: TcpPacket | IcmpPacket) -> str:
    """Return a packet as a script writes it, without its time."""
    direction = "<" if packet.inbound else ">"
    if isinstance(packet, IcmpPacket):
        parts = [direction, *_ip_text(packet.ip), "icmp", packet.type, packet.code or ""]
        parts += [f"mtu {packet.mtu_bytes}"] if packet.mtu_bytes is not None else []
        parts += [f"id {packet.echo_id}"] if packet.echo_id is not None else []
        parts += [f"[{_sequence_text(packet.echoed)}]"] if packet.echoed is not None else []
        return " ".join(part for part in parts if part)
    parts = [direction, *_ip_text(packet.ip), *(["{} > {}".format(*packet.ports)] if packet.ports else [])]
    parts += [_flags_text(packet), _sequence_text(packet.sequence)]
    parts += [f"ack {packet.ack}{'!' if packet.ack_absolute else ''}"] if packet.ack is not None else []
    parts += [f"win {packet.window}"] if packet.window is not None else []
    parts += [f"urg {packet.urgent}"] if packet.urgent else []
    if packet.options is None:
        parts.append("<...>")
    elif packet.options:
        parts.append(f"<{','.join(option_text(option) for option in packet.options)}>")
    return " ".join(parts)


def _sequence_text(sequence: Sequence) -> str:
    if sequence.anywhere:
        return f"...({sequence.length})"
    end = (sequence.start + sequence.length) & 0xFFFFFFFF
    return f"{sequence.start}:{end}({sequence.length}){'!' if sequence.absolute else ''}"


def event_text(time_us: int, packet: TcpPacket | IcmpPacket) -> str:
    """Return a packet as a line of a script, at an absolute time."""
    return f"{time_us / 1e6:.6f} {packet_text(packet)}"


def _flags_text(packet: TcpPacket) -> str:
    if packet.ace is None:
        return flag_letters(flag_bits(packet.flags))
    return f"{packet.flags.replace('.', '')}{'.' if '.' in packet.flags else ''}{packet.ace}"


def _ip_text(ip: IpInfo) -> list[str]:
    parts = [ip.ecn] if ip.ecn is not None else []
    parts += [f"tos {ip.tos:#x}"] if ip.tos is not None else []
    parts += [f"ttl {ip.ttl}"] if ip.ttl is not None else []
    parts += [f"flowlabel {ip.flow_label:#x}"] if ip.flow_label is not None else []
    return [f"[{', '.join(parts)}]"] if parts else []


def differences(
    expected: TcpPacket, actual: TcpPacket, strict: bool = False, tick_us: int = 0, tolerance_us: int = 0
) -> list[str]:
    """Return in a phrase each how a segment differs from the expected one, where the script says anything.

    Args:
        expected: The segment of the script.
        actual: The one that was sent, with the same relative numbers.
        strict: Compare order and padding of options, and echoed timestamps, too; the RFCs leave order and padding to the sender.
        tick_us: What a tick of a timestamp is; 0 leaves timestamp values uncompared.
        tolerance_us: By how much a timestamp may be off.
    """
    fields = [f"{name} is {found}, expected {wanted}" for name, wanted, found in _fields(expected, actual) if wanted != found]
    return fields + list(_option_differences(expected.options, actual.options or (), strict, tick_us, tolerance_us))


def _fields(expected: TcpPacket, actual: TcpPacket) -> Iterator[tuple[str, object, object]]:
    yield "flags", flag_letters(flag_bits(expected.flags, expected.ace)), flag_letters(flag_bits(actual.flags, actual.ace))
    if not expected.sequence.anywhere:
        yield "sequence number", expected.sequence.start, actual.sequence.start
    yield "length", expected.sequence.length, actual.sequence.length
    if expected.ack is not None or actual.ack is not None:
        yield "ack", expected.ack or 0, actual.ack or 0
    if expected.window is not None:
        yield "win", expected.window, actual.window
    yield "urg", expected.urgent, actual.urgent
    if expected.ports is not None:
        yield "ports", expected.ports, actual.ports
    ip, sent = expected.ip, actual.ip
    if ip.ecn == "ect01":
        yield "ECN", "ect0 or ect1", "ect0 or ect1" if sent.ecn in ("ect0", "ect1") else sent.ecn
    elif ip.ecn is not None:
        yield "ECN", ip.ecn, sent.ecn
    if ip.tos is not None:
        yield "tos", ip.tos, sent.tos
    if ip.ttl is not None:
        yield "ttl", ip.ttl, sent.ttl


def _option_differences(
    expected: tuple[TcpOption, ...] | None, actual: tuple[TcpOption, ...], strict: bool, tick_us: int, tolerance_us: int
) -> Iterator[str]:
    if expected is None:
        return
    wanted = [option for option in expected if strict or option.name not in _PADDING]
    sent = [option for option in actual if strict or option.name not in _PADDING]
    if strict and [option.name for option in wanted] != [option.name for option in sent]:
        order = [",".join(option.name for option in options) or "none" for options in (sent, wanted)]
        yield f"options are {order[0]}, expected {order[1]}"
        return
    for option in wanted:
        found = next((candidate for candidate in sent if candidate.name == option.name), None)
        if found is None:
            yield f"option {option_text(option)} is missing"
            continue
        sent.remove(found)
        if not _same_option(option, found, strict, tick_us, tolerance_us):
            yield f"option is {option_text(found)}, expected {option_text(option)}"
    yield from (f"option {option_text(option)} is not expected" for option in sent)


def _same_option(wanted: TcpOption, found: TcpOption, strict: bool, tick_us: int, tolerance_us: int) -> bool:
    if wanted.name == "TS" and len(found.numbers) == 2:
        (val, ecr), (found_val, found_ecr) = wanted.numbers, found.numbers
        late_us = (
            0 if val is None or found_val is None else abs((found_val - val + 0x80000000) % 0x100000000 - 0x80000000) * tick_us
        )
        return late_us <= tolerance_us and not (strict and ecr is not None and ecr != found_ecr)
    if len(wanted.numbers) != len(found.numbers) or wanted.blob != found.blob:
        return False
    return all(number is None or number == other for number, other in zip(wanted.numbers, found.numbers, strict=True))
