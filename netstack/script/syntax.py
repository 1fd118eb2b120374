"""What a script says: options, and events of packets, system calls, commands and code, each with its line.

Values are those of the script, relative sequence numbers included. Knows no packet on a wire and no endpoint.
"""

from dataclasses import dataclass, field
from enum import Enum


class ScriptError(ValueError):
    """A script that is not in the language; the message is one line with file, line, and what was expected."""

    def __init__(self, path: str, line: int, message: str) -> None:
        super().__init__(f"{path}:{line}: {message}" if line else f"{path}: {message}")
        self.path = path
        self.line = line
        self.reason = message


class TimeKind(Enum):
    ABSOLUTE = "absolute"
    RELATIVE = "relative"
    ANY = "any"
    """Whenever it happens; only for packets that the stack sends."""


@dataclass(frozen=True)
class EventTime:
    """When an event happens: `start_us` after the script's start or after the previous event; a range ends at `end_us`."""

    kind: TimeKind
    start_us: int = 0
    end_us: int | None = None

    def __str__(self) -> str:
        if self.kind is TimeKind.ANY:
            return "*"
        sign = "+" if self.kind is TimeKind.RELATIVE else ""
        text = f"{sign}{self.start_us / 1e6:g}"
        return text if self.end_us is None else f"{text}~{sign}{self.end_us / 1e6:g}"


@dataclass(frozen=True)
class IpInfo:
    """What a script says of the IP header; None is not said, and then not compared.

    `ecn` is one of ``noecn``, ``ect0``, ``ect1``, ``ce``, or ``ect01`` for either of two (RFC 3168, section 5).
    """

    ecn: str | None = None
    tos: int | None = None
    ttl: int | None = None
    flow_label: int | None = None


@dataclass(frozen=True)
class TcpOption:
    """A TCP option by its name in scripts; `numbers` are its values, None for one that may be anything.

    mss: the size; wscale: the shift; TS: val, ecr; sack: left and right edge of every block. `blob` is a cookie or digest.
    """

    name: str
    numbers: tuple[int | None, ...] = ()
    blob: bytes = b""
    text: str = ""
    """As written; only for an option that cannot be built."""


@dataclass(frozen=True)
class Sequence:
    """`start`:`end`(`length`), relative to the initial sequence number unless `absolute`.

    Written as ``...(length)``, `anywhere`, it says nothing of the number.
    """

    start: int
    length: int
    absolute: bool = False
    anywhere: bool = False


@dataclass(frozen=True)
class TcpPacket:
    """A segment. `flags` has the letters FSRPEWAU and ``.`` for ACK; `ace` is the AccECN counter if it is written as a digit.

    `options` None stands for ``<...>``, `window` None for one that is not said.
    """

    inbound: bool
    flags: str
    sequence: Sequence
    ack: int | None = None
    ack_absolute: bool = False
    window: int | None = None
    urgent: int = 0
    options: tuple[TcpOption, ...] | None = ()
    ip: IpInfo = IpInfo()
    ports: tuple[int, int] | None = None
    """Source and destination, where the script names them."""
    ace: int | None = None


@dataclass(frozen=True)
class IcmpPacket:
    """An ICMP message, with the beginning of the segment that it is about; `echo_id` is the identifier of an echo."""

    inbound: bool
    type: str
    code: str | None = None
    mtu_bytes: int | None = None
    echoed: Sequence | None = None
    echoed_protocol: str = "tcp"
    ip: IpInfo = IpInfo()
    echo_id: int | None = None


@dataclass(frozen=True)
class Number:
    value: int
    text: str


@dataclass(frozen=True)
class Word:
    name: str


@dataclass(frozen=True)
class Text:
    """A string; `open_ended` has ``...`` behind it and is only the beginning."""

    value: bytes
    open_ended: bool = False


@dataclass(frozen=True)
class Anything:
    """``...``: whatever fits in an argument, and not compared in a result."""


@dataclass(frozen=True)
class Binary:
    operator: str
    left: "Expression"
    right: "Expression"


@dataclass(frozen=True)
class Array:
    items: tuple["Expression", ...]


@dataclass(frozen=True)
class Field:
    """A member of a structure: ``value``, ``name=value`` or ``name(length)=value``."""

    name: str | None
    value: "Expression"
    length: "Expression | None" = None


@dataclass(frozen=True)
class Struct:
    fields: tuple[Field, ...]

    def get(self, name: str) -> "Expression | None":
        return next((field.value for field in self.fields if field.name == name), None)


@dataclass(frozen=True)
class Call:
    """A function in an expression, for example ``htons(8080)``."""

    name: str
    arguments: tuple["Expression", ...]


Expression = Number | Word | Text | Anything | Binary | Array | Struct | Call


@dataclass(frozen=True)
class SystemCall:
    """A call with its arguments and what it must return; `end` is when a blocking call must return."""

    name: str
    arguments: tuple[Expression, ...]
    result: Expression
    errno: str | None = None
    end_us: int | None = None


@dataclass(frozen=True)
class Command:
    """A shell command."""

    text: str


@dataclass(frozen=True)
class Code:
    """Python between ``%{`` and ``}%``."""

    text: str


@dataclass(frozen=True)
class Unsupported:
    """Part of the language that is recognized and cannot be run; `text` is all of it."""

    construct: str
    text: str = ""


Action = TcpPacket | IcmpPacket | SystemCall | Command | Code | Unsupported


@dataclass(frozen=True)
class Event:
    line: int
    time: EventTime
    action: Action


@dataclass(frozen=True)
class Option:
    """A line ``--name=value`` before the events."""

    line: int
    name: str
    value: str | None


@dataclass(frozen=True)
class Script:
    path: str
    options: tuple[Option, ...] = ()
    events: tuple[Event, ...] = ()
    lines: tuple[str, ...] = field(default=(), repr=False)
    case: str = ""
    """What the script is a case of, if its file has several."""

    def source(self, line: int) -> str:
        """Return the text of a line, counted from 1."""
        return self.lines[line - 1].strip() if 0 < line <= len(self.lines) else ""
