"""The grammar of packets: segments, ICMP messages, and what stands around them. Knows no packet on a wire."""

import re

from netstack.script.lexer import UNSIGNED, WORD, Scanner
from netstack.script.syntax import IcmpPacket, IpInfo, Sequence, TcpOption, TcpPacket, Unsupported

_FLAGS = re.compile(r"[FSRPEWAU]*[0-7]?\.[0-7]?(?![0-9])|[FSRPEWAU]+[0-7]?(?![A-Za-z])|-")
_TUNNELS = ("ipv4", "ipv6", "gre", "GREv0", "mpls")
_PROTOCOLS = ("udp", "sctp", "udplite")
_ECN = ("noecn", "ect01", "ect0", "ect1", "ce")
_OPTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_HEX_BLOB = re.compile(r"[0-9a-fA-F]+(?![0-9A-Za-z])")
_UNTIL_NEXT_OPTION = re.compile(r"[^,>\n]+")
_PORTS = re.compile(r"(\d+)\s*>\s*(\d+)(?=\s)")
_QUOTED = re.compile(r"\[(?=\d|\.\.\.)")
_ICMP_WORD = re.compile(r"(?!mtu\b|id\b)[A-Za-z_][A-Za-z0-9_]*")
U16, U32 = 0xFFFF, 0xFFFFFFFF


def parse_packet(scanner: Scanner) -> TcpPacket | IcmpPacket | Unsupported:
    """Take a packet from its ``<`` or ``>`` on; of an unsupported one only the beginning.

    Raises:
        ScriptError: It is not in the language.
    """
    direction = scanner.expect(re.compile("[<>]"), "< or >")
    inbound = direction == "<"
    if tunnel := scanner.accept_word(*_TUNNELS):
        return Unsupported(f"tunnel {tunnel}")
    about = _parse_quoted(scanner) if scanner.peek(_QUOTED) else None  # FreeBSD's scripts have it before the message
    ip = _parse_ip_info(scanner)
    ports = _parse_ports(scanner)
    if protocol := scanner.accept_word(*_PROTOCOLS):
        return Unsupported(f"protocol {protocol}")
    if scanner.accept_word("icmp"):
        return _parse_icmp(scanner, inbound, ip, about)
    return _parse_tcp(scanner, inbound, ip, ports)


def _parse_ports(scanner: Scanner) -> tuple[int, int] | None:
    text = scanner.accept(_PORTS)
    if text is None:
        return None
    source, destination = (int(part) for part in text.split(">"))
    if max(source, destination) > U16:
        raise scanner.error(f"ports must be 0 to {U16}, not {source} > {destination}", found=False)
    return source, destination


def _parse_ip_info(scanner: Scanner) -> IpInfo:
    opening = scanner.accept("[") or scanner.accept("(")
    if opening is None:
        return IpInfo()
    closing = "]" if opening == "[" else ")"
    values: dict[str, int | str] = {}
    while True:
        name = scanner.expect(WORD, "noecn, ect0, ect1, ect01, ce, tos, ttl or flowlabel")
        if name in _ECN:
            values["ecn"] = name
        elif name in ("tos", "ttl"):
            values[name] = scanner.number(name, 255)
        elif name == "flowlabel":
            values["flow_label"] = scanner.number("the flow label", 0xFFFFF)
        else:
            raise scanner.error(f"{name}: expected noecn, ect0, ect1, ect01, ce, tos, ttl or flowlabel", found=False)
        if scanner.accept(closing):
            return IpInfo(**values)  # type: ignore[arg-type]
        scanner.expect(",", f", or {closing} in what is said of the IP header")


def _parse_tcp(scanner: Scanner, inbound: bool, ip: IpInfo, ports: tuple[int, int] | None) -> TcpPacket | Unsupported:
    written = scanner.expect(_FLAGS, "TCP flags (F S R P E W A U and . for ACK, or - for none)")
    digits = [letter for letter in written if letter.isdigit()]
    flags = "".join(letter for letter in written if not letter.isdigit() and letter != "-")
    sequence = _parse_sequence(scanner)
    if sequence.anywhere and inbound:
        raise scanner.error("...(length) is only allowed for packets that the stack sends (>)", found=False)
    ack, ack_absolute = None, False
    if scanner.accept_word("ack"):
        ack = scanner.number("an acknowledgment number", U32)
        ack_absolute = scanner.accept("!") is not None
    window = scanner.number("a window", U16) if scanner.accept_word("win") else None
    urgent = scanner.number("an urgent pointer", U16) if scanner.accept_word("urg") else 0
    options: tuple[TcpOption, ...] | None = ()
    if scanner.accept("<"):
        options = _parse_options(scanner)
        if options is None and inbound:
            raise scanner.error("<...> is only allowed for packets that the stack sends (>)", found=False)
    for mark, construct in (("{", "mutation of a packet"), ("/", "encapsulation in UDP")):
        if scanner.peek(mark):
            return Unsupported(construct)
    ace = int(digits[0]) if digits else None
    return TcpPacket(inbound, flags, sequence, ack, ack_absolute, window, urgent, options, ip, ports, ace)


def _parse_sequence(scanner: Scanner) -> Sequence:
    if scanner.accept("..."):
        scanner.expect("(", "( and the length of the payload")
        length = scanner.number("a length", U16)
        scanner.expect(")", ")")
        return Sequence(0, length, anywhere=True)
    start = scanner.number("a sequence number", U32)
    absolute = scanner.accept("!") is not None
    scanner.expect(":", ": and the end of the sequence numbers")
    end = scanner.number("a sequence number", U32)
    absolute = scanner.accept("!") is not None or absolute
    scanner.expect("(", "( and the length of the payload")
    length = scanner.number("a length", U16)
    scanner.expect(")", ")")
    absolute = scanner.accept("!") is not None or absolute
    if end != (start + length) & U32:
        raise scanner.error(f"{start}:{end}({length}): the end must be {(start + length) & U32}", found=False)
    return Sequence(start, length, absolute)


def _parse_options(scanner: Scanner) -> tuple[TcpOption, ...] | None:
    if scanner.accept("..."):
        scanner.expect(">", "> at the end of the options")
        return None
    options = []
    while True:
        options.append(_parse_option(scanner))
        if scanner.accept(">"):
            return tuple(options)
        scanner.expect(",", ", or > in the TCP options")


def _parse_option(scanner: Scanner) -> TcpOption:
    name = scanner.expect(_OPTION_NAME, "a TCP option (mss, wscale, sackOK, sack, TS, nop, eol, FO, ...)")
    if name in ("nop", "eol", "sackOK"):
        return TcpOption(name)
    if name == "mss":
        return TcpOption(name, (scanner.number("an MSS", U16),))
    if name == "wscale":
        return TcpOption(name, (scanner.number("a window scale", 255),))
    if name == "TS":
        scanner.expect(re.compile(r"val\b"), "val behind TS")
        val = _number_or_anything(scanner)
        scanner.expect(re.compile(r"ecr\b"), "ecr behind TS val")
        return TcpOption(name, (val, _number_or_anything(scanner)))
    if name == "sack":
        return TcpOption(name, _parse_blocks(scanner))
    if name in ("FO", "FOEXP", "exp-FO"):
        cookie = scanner.accept(_HEX_BLOB) or ""
        if len(cookie) % 2:
            raise scanner.error(f"a cookie has an even number of digits, not {cookie}", found=False)
        return TcpOption("FO" if name == "FO" else "FOEXP", blob=bytes.fromhex(cookie))
    if name == "md5" and (digest := scanner.accept(_HEX_BLOB)):
        return TcpOption(name, blob=bytes.fromhex(digest.rjust(32, "0")))
    rest = scanner.accept(_UNTIL_NEXT_OPTION) or ""
    return TcpOption(name, text=" ".join([name, *rest.split()]))


def _number_or_anything(scanner: Scanner) -> int | None:
    return None if scanner.accept("...") else scanner.number("a timestamp", U32)


def _parse_blocks(scanner: Scanner) -> tuple[int, ...]:
    edges: list[int] = []
    while not edges or scanner.peek(UNSIGNED):
        edges.append(scanner.number("the left edge of a SACK block", U32))
        scanner.expect(":", ": and the right edge of the SACK block")
        edges.append(scanner.number("the right edge of the SACK block", U32))
    return tuple(edges)


def _parse_quoted(scanner: Scanner) -> Sequence:
    scanner.expect("[", "[")
    sequence = _parse_sequence(scanner)
    scanner.expect("]", "] behind the segment that the message is about")
    return sequence


def _parse_icmp(scanner: Scanner, inbound: bool, ip: IpInfo, echoed: Sequence | None) -> IcmpPacket | Unsupported:
    kind = scanner.expect(WORD, "an ICMP type, for example unreachable")
    code = scanner.accept(_ICMP_WORD)
    mtu = scanner.number("an MTU", U32) if scanner.accept_word("mtu") else None
    echo_id = scanner.number("the identifier of an echo", U16) if scanner.accept_word("id") else None
    protocol = "tcp"
    if scanner.accept("["):
        named = scanner.accept_word("udp", "raw", "tcp", "sctp", "udplite")
        if named in ("udp", "raw", "sctp", "udplite"):
            return Unsupported(f"ICMP about {named}")
        echoed = _parse_sequence(scanner)
        scanner.expect("]", "] behind the segment that the message is about")
    return IcmpPacket(inbound, kind, code, mtu, echoed, protocol, ip, echo_id)
