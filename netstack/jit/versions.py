"""Which version of the sources a result belongs to, and which one compiled code does.

A digest covers what can change the thing that it names and nothing else, so that work on other parts leaves finished points
and compiled code alone. Knows parts of netstack by name only.
"""

import hashlib
from functools import cache

from netstack.installation import PACKAGE

CALLABLE = {
    "jit": ("jit",),
    "tcp": ("jit", "tcp"),
    "host": ("host", "jit", "tcp"),
    "sim": ("jit", "sim", "tcp"),
}
"""The parts whose functions compiled code of a part can call. Numba does not notice when one of them has changed."""
MODEL = ("errors.py", *CALLABLE["sim"])
"""What can change the result of a simulation."""


@cache
def model_version() -> str:
    """Return a digest of the sources that can change the result of a simulation."""
    return _digest(MODEL)


@cache
def code_version(part: str) -> str:
    """Return a digest of the sources that compiled code of a part can call: all of netstack for a part that is not known."""
    return _digest(CALLABLE.get(part, (".",)))


def _digest(parts: tuple[str, ...]) -> str:
    """Return a digest of folders and files of the package, by name and content."""
    digest = hashlib.sha256()
    for part in parts:
        path = PACKAGE / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.relative_to(PACKAGE).as_posix().encode() + b"\0")
            digest.update(file.read_bytes() + b"\0")
    return digest.hexdigest()
