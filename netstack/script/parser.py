"""The grammar of scripts: options, then events with their times. Knows no value that depends on the stack.

The language is that of packetdrill (Cardwell et al., USENIX ATC 2013), with additions that scripts for FreeBSD use.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from netstack.script.conditions import PLATFORM_NAMES, choose_lines
from netstack.script.lexer import BACKTICKS, CODE, SECONDS, STRING, WORD, Scanner
from netstack.script.parse_calls import parse_call
from netstack.script.parse_packets import parse_packet
from netstack.script.syntax import (
    Action,
    Code,
    Command,
    Event,
    EventTime,
    IcmpPacket,
    Option,
    Script,
    ScriptError,
    TcpPacket,
    TimeKind,
    Unsupported,
)

_OPTION_NAME = re.compile(r"--([A-Za-z0-9_-]+)")
_OPTION_VALUE = re.compile(r"[^\s]+")
_DEFINITION = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_NEXT_EVENT = re.compile(r"\n[ \t]*(?=[+*.`\d]|%\{)")
_CASE = re.compile(r"^[ \t]*//[ \t]*case:[ \t]*(.*)$")
_UNTIMED = EventTime(TimeKind.RELATIVE, 0)


def load(path: str, definitions: Sequence[str] = (), platform: str | None = None) -> list[Script]:
    """Read the scripts in a file: one, or one per case; `definitions` and `platform` are those of `parse`.

    A line ``// case: NAME`` begins a case, which lasts to the next one; what stands before the first belongs to each.

    Raises:
        ScriptError: It cannot be read or is not in the language.
    """
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ScriptError(path, 0, (error.strerror or str(error)).lower()) from error
    lines = text.split("\n")
    starts = [(number, match[1].strip()) for number, line in enumerate(lines) if (match := _CASE.match(line))]
    if not starts:
        return [parse(text, path, definitions, platform)]
    ends = [number for number, _ in starts[1:]] + [len(lines)]
    common = lines[: starts[0][0]]
    scripts = []
    for (start, name), end in zip(starts, ends, strict=True):
        if not name:
            raise ScriptError(path, start + 1, "a case needs a name")
        own = [*common, *[""] * (start - len(common)), *lines[start:end]]
        scripts.append(replace(parse("\n".join(own), path, definitions, platform), case=name))
    return scripts


def parse(text: str, path: str = "<script>", definitions: Sequence[str] = (), platform: str | None = None) -> Script:
    """Return the script that `text` is.

    Args:
        text: The script.
        path: Its name in errors.
        definitions: ``NAME=value`` each, which go before those of the script itself.
        platform: `linux` or `freebsd`, whose names ``#ifdef`` knows.

    Raises:
        ScriptError: It is not in the language.
    """
    names = dict.fromkeys(PLATFORM_NAMES.get(platform or "", ()), "1")
    names |= {name: value for name, _, value in (definition.partition("=") for definition in definitions)}
    lines = tuple(text.split("\n"))
    if "#" in text:
        text, own = choose_lines(text, path, names)
        definitions = [*definitions, *(f"{name}={value}" for name, value in own.items() if value and name not in names)]
    scanner = Scanner(path, text)
    options = _parse_options(scanner)
    given = {definition.partition("=")[0] for definition in definitions}
    own_definitions = [option.value for option in options if option.name in ("define", "D") and option.value]
    definitions = [*definitions, *(value for value in own_definitions if value.partition("=")[0] not in given)]
    for definition in definitions:
        text = _substitute(text, definition)
    if definitions:
        scanner = Scanner(path, text)
        _parse_options(scanner)
    events = []
    while not scanner.at_end():
        events.append(_parse_event(scanner))
    if not events:
        raise scanner.error("expected an event", found=False)
    return Script(path, tuple(options), tuple(events), lines)


def _substitute(text: str, definition: str) -> str:
    """Put the value of ``NAME=value`` for its name, except in the definition itself and in strings."""
    name, _, value = definition.partition("=")
    pattern = re.compile(rf"{STRING.pattern}|//[^\n]*|--\S+|(?P<name>\b{re.escape(name)}\b)")
    return pattern.sub(lambda match: value if match["name"] else match[0], text)


def _parse_options(scanner: Scanner) -> list[Option]:
    options = []
    while scanner.peek("--"):
        line = scanner.line
        name = scanner.expect(_OPTION_NAME, "an option --name=value")[2:]
        value = None
        if scanner.text.startswith("=", scanner.position):
            scanner.position += 1
            definition = (scanner.accept(_DEFINITION) or "") if name in ("define", "D") else ""
            quoted = scanner.accept(STRING) or scanner.accept(BACKTICKS)
            keep_quotes = bool(definition)
            rest = (quoted if keep_quotes else quoted[1:-1]) if quoted else scanner.expect(_OPTION_VALUE, f"a value for --{name}")
            value = definition + rest
        options.append(Option(line, name, value))
    return options


def _parse_event(scanner: Scanner) -> Event:
    line = scanner.line
    if scanner.peek("`") or scanner.peek("%{"):
        return Event(line, _UNTIMED, _parse_action(scanner))
    time = _parse_time(scanner)
    event = Event(line, time, _parse_action(scanner))
    outbound = isinstance(event.action, TcpPacket | IcmpPacket) and not event.action.inbound
    if (time.kind is TimeKind.ANY or time.end_us is not None) and not outbound and not isinstance(event.action, Unsupported):
        what = "*" if time.kind is TimeKind.ANY else "a range"
        raise ScriptError(scanner.path, line, f"{what} as time is only allowed for packets that the stack sends (>)")
    return event


def _parse_time(scanner: Scanner) -> EventTime:
    if scanner.accept("*"):
        return EventTime(TimeKind.ANY)
    relative = scanner.accept("+") is not None
    start = _seconds(scanner, "the time of an event (0.1, +.1, .1~.2 or *)")
    end = None
    if scanner.accept("~"):
        scanner.accept("+")
        end = _seconds(scanner, "the end of the time range")
        if end < start:
            raise scanner.error("the time range is backwards", found=False)
    return EventTime(TimeKind.RELATIVE if relative else TimeKind.ABSOLUTE, start, end)


def _seconds(scanner: Scanner, what: str) -> int:
    return round(float(scanner.expect(SECONDS, what)) * 1e6)


def _parse_action(scanner: Scanner) -> Action:
    scanner.skip_blanks()
    start = scanner.position
    if scanner.peek("<") or scanner.peek(">"):
        return _or_unsupported(scanner, parse_packet(scanner), start)
    if scanner.peek("`"):
        quoted = scanner.expect(BACKTICKS, "` at the end of the command")
        return Command(quoted[1:-1].strip())
    if scanner.peek("%{"):
        return Code(scanner.expect(CODE, "}% at the end of the code")[2:-2].strip())
    end = _seconds(scanner, "the time at which the call returns") if scanner.accept("...") else None
    if not scanner.peek(WORD):
        raise scanner.error("expected a packet (< or >), a system call, a `command` or %{ code }%")
    return _or_unsupported(scanner, parse_call(scanner, end), start)


def _or_unsupported(scanner: Scanner, action: Action, start: int) -> Action:
    """Pass what is left of an unsupported construct, which began at `start`, up to the line of the next event."""
    if not isinstance(action, Unsupported):
        return action
    match = _NEXT_EVENT.search(scanner.text, scanner.position)
    scanner.position = match.start() if match else len(scanner.text)
    return Unsupported(action.construct, scanner.text[start : scanner.position].strip())
