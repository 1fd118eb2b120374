"""Who may write what is written: files of an output folder are shared with the group that the folder is shared with.

Knows files, not what is in them.
"""

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

GROUP = 0o070
_own: list[int] = []
"""The user's own mask while another one holds."""


@contextmanager
def shared_like(folder: Path) -> Generator[None, None, None]:
    """Let the group of a folder write what this process makes, if it may write the folder and what is new belongs to it."""
    mode = folder.stat().st_mode
    if not (mode & stat.S_ISGID and mode & stat.S_IWGRP):
        yield
        return
    own = os.umask(0)
    os.umask(own & ~(mode & GROUP))
    _own.append(own)
    try:
        yield
    finally:
        os.umask(_own.pop())


@contextmanager
def unshared() -> Generator[None, None, None]:
    """Give what is made meanwhile the user's own mode: code that is compiled for the user is nobody else's to write."""
    if not _own:
        yield
        return
    shared = os.umask(_own[-1])
    try:
        yield
    finally:
        os.umask(shared)
