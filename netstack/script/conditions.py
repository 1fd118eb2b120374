"""Lines of a script that hold on one platform only: ``#ifdef`` and its kin, as in a text that cpp would read first.

Knows no grammar of scripts; a line that begins with another ``#`` stays as it is, a comment.
"""

import re
from collections.abc import Mapping

from netstack.script.syntax import ScriptError

_DIRECTIVE = re.compile(r"^[ \t]*#[ \t]*(ifdef|ifndef|if|else|endif|define|undef)\b[ \t]*(.*?)[ \t]*(?://.*)?$")
_DEFINED = re.compile(r"^(!?)[ \t]*(?:defined[ \t]*\(?[ \t]*)?([A-Za-z_]\w*|\d+)[ \t]*\)?$")
_NAME = re.compile(r"^([A-Za-z_]\w*)(?:[ \t]+(.*))?$")
PLATFORM_NAMES = {
    "linux": ("linux", "__linux__", "LINUX"),
    "freebsd": ("freebsd", "__FreeBSD__", "FREEBSD"),
}
"""What compilers, and scripts, call a platform."""


def choose_lines(text: str, path: str, names: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return the text with the lines blank that do not hold, and the names that it defines.

    Args:
        text: A script.
        path: Its name in errors.
        names: What is defined before, with its values.

    Raises:
        ScriptError: A condition has no end or no beginning, or is no name.
    """
    defined = dict(names)
    own: dict[str, str] = {}
    open_conditions: list[tuple[int, bool]] = []
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        match = _DIRECTIVE.match(line)
        holds = all(condition for _, condition in open_conditions)
        if match is None:
            lines[number - 1] = line if holds else ""
            continue
        lines[number - 1] = ""
        word, rest = match[1], match[2]
        if word in ("ifdef", "ifndef", "if"):
            open_conditions.append((number, _condition(word, rest, defined, path, number)))
        elif word in ("else", "endif"):
            if not open_conditions:
                raise ScriptError(path, number, f"#{word} without #ifdef")
            start, condition = open_conditions.pop()
            if word == "else":
                open_conditions.append((start, not condition))
        elif holds:
            name = _NAME.match(rest)
            if name is None:
                raise ScriptError(path, number, f"#{word} needs a name")
            if word == "define":
                defined[name[1]] = own[name[1]] = name[2] or ""
            else:
                defined.pop(name[1], None)
                own.pop(name[1], None)
    if open_conditions:
        raise ScriptError(path, open_conditions[-1][0], "a condition without #endif")
    return "\n".join(lines), own


def _condition(word: str, rest: str, defined: Mapping[str, str], path: str, number: int) -> bool:
    match = _DEFINED.match(rest)
    if match is None:
        raise ScriptError(path, number, f"#{word} {rest}: only a name can be asked for")
    holds = int(match[2]) != 0 if match[2].isdigit() else match[2] in defined
    return holds != (word == "ifndef" or match[1] == "!")
