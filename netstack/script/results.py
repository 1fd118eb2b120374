"""What comes of scripts and of system calls, and how one that blocks continues. Knows no call."""

import errno
from dataclasses import dataclass, field
from enum import Enum

SAME_ERRORS = {"EWOULDBLOCK": "EAGAIN", "ENOTSUP": "EOPNOTSUPP", "EDEADLOCK": "EDEADLK"}
"""Other names of the same numbers, on Linux and on FreeBSD."""


class WouldBlockError(Exception):
    """A blocking call cannot return yet."""


@dataclass
class Progress:
    """What a call that blocks has done so far; `deadline_us` is when it gives up of itself."""

    started_us: int
    done: int = 0
    started: bool = False
    deadline_us: int | None = None


@dataclass(frozen=True)
class Returned:
    """What a call returned: its value, the name of its error, and how what it wrote differs from what the script expects."""

    value: int
    errno: str | None = None
    differences: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.value}{f' {self.errno}' if self.errno else ''}"


def failed(name: str) -> Returned:
    return Returned(-1, name)


def errno_of(error: OSError) -> str:
    """Return the name of a socket's error."""
    kinds = {
        ConnectionResetError: "ECONNRESET",
        ConnectionRefusedError: "ECONNREFUSED",
        TimeoutError: "ETIMEDOUT",
        BrokenPipeError: "EPIPE",
    }
    if error.errno is not None:
        return errno.errorcode.get(error.errno, str(error.errno))
    return next((name for kind, name in kinds.items() if isinstance(error, kind)), "EIO")


class Verdict(Enum):
    PASS = "pass"
    FAIL = "fail"
    UNSUPPORTED = "unsupported"


@dataclass
class Outcome:
    """What came of a script; `line` and `message` say where and why it did not pass."""

    path: str
    verdict: Verdict
    line: int = 0
    message: str = ""
    events_run: int = 0
    notes: list[str] = field(default_factory=list)
    case: str = ""

    def __str__(self) -> str:
        case = f"{self.case}: " if self.case else ""
        if self.verdict is Verdict.PASS:
            return f"{self.path}: {case}pass"
        return f"{self.path}:{self.line}: {case}{self.verdict.value}: {self.message}"
