"""The folders on the disk that keep compiled code: one for each part of netstack and version of what its code can call.

What is there is run, so nobody but this user may write there. A process holds the folders that it uses. Of a part's old folders,
which nobody uses any more, only the newest stay. Knows nothing of what is in them.
"""

import atexit
import fcntl
import hashlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import TextIO

from netstack.installation import PACKAGE, checkout
from netstack.jit.versions import code_version

KEPT = 5
"""Folders of a part that stay: those used last, so that one can go back and forth between a few versions."""
REMOVED = ".removed-"
GIVEN = "NETSTACK_CACHE_DIR"
"""The variable of the environment that names a folder for compiled code, in place of all others."""
PRIVATE = 0o700
_HELD = "in-use"  # a file in each folder, locked by the processes that use it
_held: list[TextIO] = []


class _OpenToOthersError(OSError):
    """A folder in which somebody else could put code."""


@cache
def cache_folder(part: str) -> Path:
    """Return the folder for compiled code of a part in this version, which stays while this process lives.

    It is in the folder that `GIVEN` names, else in `outputs` of a checkout, else in the user's folder for caches. Where none can
    be used, or others can write, it is in a private folder for temporary files, and a line on the standard error says so.
    """
    name = _name(part)
    refused = ""
    for place in _places():
        try:
            return _take(place / "compiled" / name, part)
        except OSError as error:
            reason = error if isinstance(error, _OpenToOthersError) else error.strerror
            refused = f"{place} cannot be used ({reason})"
    return _take_temporary(name, part, refused or f"this user has no home, and {GIVEN} names no other place")


def kept_cache_folder(part: str) -> Path | None:
    """Return the first folder that `cache_folder` would take if it is there and private, None if one would have to be made."""
    for place in _places():
        with suppress(OSError):
            folder = (place / "compiled" / _name(part)).resolve(strict=True)
            _check_private(folder)
            return folder
    return None


def _name(part: str) -> str:
    identity = hashlib.sha256(f"{PACKAGE}\0{code_version(part)}".encode())  # Numba keeps the code of each place apart
    return f"{part}-{identity.hexdigest()[:16]}"


def hold(folder: Path) -> TextIO:
    """Make a private folder unless it is there, and keep others from removing it as long as the returned file is open."""
    while True:
        _make_private(folder)
        with suppress(FileNotFoundError), ExitStack() as opened:  # raised if it is removed at this moment
            os.utime(folder)
            file = opened.enter_context((folder / _HELD).open("a"))
            fcntl.flock(file, fcntl.LOCK_SH)
            if os.path.samestat(os.fstat(file.fileno()), (folder / _HELD).stat()):
                opened.pop_all()
                return file


def remove_old(compiled: Path, part: str) -> None:
    """Remove the folders of a part that were not used for longest, but none that a process holds."""
    by_use = sorted(compiled.glob(f"{part}-*"), key=_last_use, reverse=True)
    for folder in by_use[KEPT:]:
        with suppress(OSError), (folder / _HELD).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            folder.rename(folder.with_name(f"{REMOVED}{folder.name}-{os.getpid()}"))
    for folder in compiled.glob(f"{REMOVED}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _last_use(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _places() -> Iterator[Path]:
    """Yield where compiled code is kept, the best place first."""
    if given := os.environ.get(GIVEN):
        yield Path(given).expanduser().absolute()
        return
    if (root := checkout()) is not None and (root / "outputs").is_dir():
        yield root / "outputs"
    with suppress(RuntimeError):  # this user has no home
        yield user_cache() / "netstack"


def _take(folder: Path, part: str) -> Path:
    """Hold a folder for compiled code and return it without links. Raises OSError where there can be none, or no private one."""
    is_new = not folder.exists()
    _make_private(folder)
    folder = folder.resolve(strict=True)
    _check_private(folder)
    _held.append(hold(folder))
    if is_new:
        remove_old(folder.parent, part)
    return folder


def _take_temporary(name: str, part: str, reason: str) -> Path:
    """Hold a private folder below that for temporary files: the same each time, or a fresh one if somebody else made that."""
    top = Path(tempfile.gettempdir()) / f"netstack-{os.getuid()}"
    try:
        if top.is_symlink():
            raise _OpenToOthersError(f"{top} is a link")
        _make_private(top)
        _check_private(top.resolve())
        folder = _take(top / "compiled" / name, part)
    except OSError:
        top = _fresh()
        folder = top / "compiled" / name
        _held.append(hold(folder))
    _say_once(f"compiled code is kept in {top}: {reason}")
    return folder


@cache
def _fresh() -> Path:
    """Return a new private folder, which goes with this process. Processes that it starts have it too."""
    top = Path(tempfile.mkdtemp(prefix="netstack-"))
    atexit.register(shutil.rmtree, top, ignore_errors=True)
    os.environ[GIVEN] = str(top)
    return top


@cache
def _say_once(text: str) -> None:
    print(text, file=sys.stderr)


def _make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for this user only, whatever the process's mask of modes is."""
    for path in (*reversed(folder.parents), folder):
        if not path.exists():
            path.mkdir(PRIVATE, exist_ok=True)


def _check_private(folder: Path) -> None:
    """Raise _OpenToOthersError unless a folder is this user's alone, and nobody but root can put another one in its place."""
    if folder.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise _OpenToOthersError(f"{folder} is open to other users, and must have mode 700")
    for path in (folder, *folder.parents):
        status = path.stat()
        if status.st_uid not in (os.getuid(), 0):
            raise _OpenToOthersError(f"{path} belongs to another user")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX:
            raise _OpenToOthersError(f"other users can write in {path}")


def user_cache() -> Path:
    """Return the user's folder for caches, as the XDG Base Directory Specification and macOS have it."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if given.is_absolute():
        return given
    return Path("~/Library/Caches" if sys.platform == "darwin" else "~/.cache").expanduser()
