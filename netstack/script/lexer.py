"""Reads the text of a script piece by piece, past blanks and comments, and knows the line of each piece.

What a piece means depends on where it stands (``5.`` are flags in a packet and seconds before an event), so that the parser asks
for what it expects. Knows no grammar.
"""

import re

from netstack.script.syntax import ScriptError

INTEGER = re.compile(r"-?\d+")
UNSIGNED = re.compile(r"\d+")
HEXADECIMAL = re.compile(r"0[xX][0-9a-fA-F]+")
SECONDS = re.compile(r"\d*\.\d+|\d+(?:\.(?!\.))?")
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
STRING = re.compile(r'"(?:\\.|[^"\\])*"', re.DOTALL)
BACKTICKS = re.compile(r"`(?:\\.|[^`\\])*`", re.DOTALL)
CODE = re.compile(r"%\{(.*?)\}%", re.DOTALL)
_BLANK = re.compile(r"(?:\s+|//[^\n]*|/\*.*?\*/)+", re.DOTALL)
_LINE_COMMENT = re.compile(r"#[^\n]*")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)", re.DOTALL)


class Scanner:
    """A position in the text of a script."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.position = 0
        self._line_starts = [0, *(match.end() for match in re.finditer("\n", text))]

    @property
    def line(self) -> int:
        """The line of the next piece, counted from 1."""
        self.skip_blanks()
        return self.line_at(min(self.position, max(len(self.text.rstrip()) - 1, 0)))

    def line_at(self, position: int) -> int:
        low, high = 0, len(self._line_starts)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._line_starts[middle] <= position else (low, middle)
        return low + 1

    def skip_blanks(self) -> None:
        """Pass white space and comments; ``#`` begins a comment only where a line begins."""
        while True:
            start = self.position
            if blank := _BLANK.match(self.text, self.position):
                self.position = blank.end()
            elif self.text.startswith("/*", self.position):
                raise ScriptError(self.path, self.line_at(self.position), "expected */ at the end of the comment")
            line_start = self._line_starts[self.line_at(self.position) - 1]
            if not self.text[line_start : self.position].strip() and (comment := _LINE_COMMENT.match(self.text, self.position)):
                self.position = comment.end()
            if self.position == start:
                return

    def at_end(self) -> bool:
        self.skip_blanks()
        return self.position >= len(self.text)

    def peek(self, pattern: re.Pattern[str] | str) -> bool:
        """Whether the next piece begins with this text or matches this pattern."""
        self.skip_blanks()
        if isinstance(pattern, str):
            return self.text.startswith(pattern, self.position)
        return pattern.match(self.text, self.position) is not None

    def accept(self, pattern: re.Pattern[str] | str) -> str | None:
        """Take the next piece if it is this text or matches this pattern."""
        self.skip_blanks()
        if isinstance(pattern, str):
            if not self.text.startswith(pattern, self.position):
                return None
            self.position += len(pattern)
            return pattern
        match = pattern.match(self.text, self.position)
        if match is None:
            return None
        self.position = match.end()
        return match[0]

    def accept_word(self, *names: str) -> str | None:
        """Take the next piece if it is one of these whole words."""
        start = self.position
        word = self.accept(WORD)
        if word is not None and word in names:
            return word
        self.position = start
        return None

    def expect(self, pattern: re.Pattern[str] | str, what: str) -> str:
        """Take the next piece.

        Raises:
            ScriptError: It is something else; `what` says what was expected.
        """
        found = self.accept(pattern)
        if found is None:
            raise self.error(f"expected {what}")
        return found

    def number(self, what: str, limit: int | None = None) -> int:
        """Take a decimal or hexadecimal number of at most `limit`."""
        text = self.accept(HEXADECIMAL)
        value = int(text, 16) if text else int(self.expect(INTEGER, what))
        if limit is not None and not 0 <= value <= limit:
            raise self.error(f"{what} must be 0 to {limit}, not {value}", found=False)
        return value

    def string(self) -> bytes:
        """Take a quoted string and return what it stands for."""
        quoted = self.expect(STRING, "a string")
        return _ESCAPE.sub(_unescaped, quoted[1:-1]).encode("latin-1", "replace")

    def error(self, message: str, found: bool = True) -> ScriptError:
        """Return the error at the next piece, which the message shows if `found`."""
        line = self.line
        if found:
            rest = self.text[self.position :].split("\n", 1)[0].strip()
            message += f", found {rest[:40]!r}" if rest else ", found the end of the file"
        return ScriptError(self.path, line, message)


def _unescaped(match: re.Match[str]) -> str:
    escape = match[1]
    if escape[0] == "x" and len(escape) > 1:
        return chr(int(escape[1:], 16))
    if escape[0] in "01234567":
        return chr(int(escape, 8) & 0xFF)
    return _ESCAPES.get(escape, escape)
