"""What system calls return, and how one that blocks continues. Knows no call."""

import errno
from dataclasses import dataclass

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
