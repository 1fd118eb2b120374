"""Commands that ask for the state of connections: sockstat, netstat or ss, and grep behind them. Runs no shell.

Knows how FreeBSD and Linux write a connection in a line.
"""

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from netstack.script.descriptors import Descriptor
from netstack.script.host import state_name
from netstack.script.settings import UnsupportedError

TOOLS = ("sockstat", "netstat", "ss")
_GREP_SWITCHES = "cqEFivwxsno"
_LINUX_STATES = {
    "SYN_RECEIVED": "SYN-RECV",
    "ESTABLISHED": "ESTAB",
    "CLOSED": "UNCONN",
}


@dataclass(frozen=True)
class Filter:
    """One grep: which lines it lets pass."""

    pattern: re.Pattern[str]
    inverted: bool


@dataclass(frozen=True)
class Question:
    """A pipeline: the tool, its filters, and whether it must find nothing (``!``)."""

    text: str
    tool: str
    switches: str
    filters: tuple[Filter, ...]
    negated: bool


def question_of(text: str) -> Question | None:
    """Return the question that a command is, None if it is another command.

    Raises:
        UnsupportedError: It asks in a way that is not known.
    """
    command = text.strip()
    negated = command.startswith("!")
    lexer = shlex.shlex(command.removeprefix("!"), posix=True, punctuation_chars="|")
    lexer.whitespace_split = True
    try:
        words = [list(stage) for is_pipe, stage in groupby(lexer, key=lambda word: word == "|") if not is_pipe]
    except ValueError:
        return None
    if not words:
        return None
    if not words[0] or words[0][0].rsplit("/", 1)[-1] not in TOOLS:
        return None
    filters = []
    for stage in words[1:]:
        if not stage or stage[0].rsplit("/", 1)[-1] not in ("grep", "egrep", "fgrep"):
            raise UnsupportedError(f"command {command}")
        filters.append(_filter_of(stage, command))
    switches = "".join(word[1:] for word in words[0][1:] if word.startswith("-"))
    return Question(command, words[0][0].rsplit("/", 1)[-1], switches, tuple(filters), negated)


def _filter_of(words: list[str], command: str) -> Filter:
    switches, patterns = "", []
    for word in words[1:]:
        if word.startswith("-") and len(word) > 1:
            switches += word[1:]
        else:
            patterns.append(word)
    if len(patterns) != 1 or not set(switches) <= set(_GREP_SWITCHES + "e"):
        raise UnsupportedError(f"command {command}")
    fixed = "F" in switches or words[0].endswith("fgrep")
    pattern = re.escape(patterns[0]) if fixed else patterns[0].replace(r"\|", "|")
    pattern = rf"(?<!\w)(?:{pattern})(?!\w)" if "w" in switches else pattern
    try:
        return Filter(re.compile(pattern, re.IGNORECASE if "i" in switches else 0), "v" in switches)
    except re.error:
        raise UnsupportedError(f"command {command}") from None


def answer(question: Question, lines: Iterable[tuple[str, bool]]) -> bool:
    """Return whether a question finds what it must; `lines` are those of `socket_lines`."""
    listening_only = "l" in question.switches and "c" not in question.switches
    found = [line for line, listening in lines if (listening if listening_only else True)]
    if question.tool == "ss":
        found = [line.rsplit("\t", 1)[1] for line in found]
    else:
        found = [line.rsplit("\t", 1)[0] for line in found]
    for each in question.filters:
        found = [line for line in found if (each.pattern.search(line) is None) == each.inverted]
    return bool(found) != question.negated


def socket_lines(descriptors: Iterable[Descriptor], endpoint: Any) -> list[tuple[str, bool]]:
    """Return a line for each socket, and whether it listens.

    Before a tab it is as sockstat and netstat of FreeBSD write it, with the state last; behind it as ss of Linux does.
    """
    lines = []
    owned = {id(descriptor.socket): descriptor for descriptor in descriptors if descriptor.socket is not None}
    for descriptor in descriptors:
        if descriptor.listener is not None:
            lines.append((_line(str(descriptor.number), descriptor.listener.local, "*:*", "LISTEN"), True))
    for socket in getattr(endpoint, "connections", ()):
        owner = owned.get(id(socket))
        number = str(owner.number) if owner is not None else "?"
        lines.append((_line(number, socket.local, str(socket.remote), state_name(socket)), False))
    return lines


def _line(number: str, local: Any, remote: str, state: str) -> str:
    kind = "tcp6" if ":" in local.host else "tcp4"
    freebsd = {"SYN_RECEIVED": "SYN_RCVD"}.get(state, state)
    linux = _LINUX_STATES.get(state, state.replace("_", "-"))
    owner = "root     packetdril 1234" if number != "?" else "?        ?          ?   "
    return f"{owner} {number:<4} {kind}   {local!s:<21} {remote:<21} {freebsd}\t{linux} 0 0 {local} {remote}"
