"""The folders on the disk that keep compiled code: one for each part of netstack and version of what its code can call.

A process holds the folders that it uses. Of a part's old folders, which nobody uses any more, only the newest stay. Knows
nothing of what is in them.
"""

import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import TextIO

from netstack.installation import PACKAGE, checkout
from netstack.jit.versions import code_version

KEPT = 5
"""Folders of a part that stay: those used last, so that one can go back and forth between a few versions."""
REMOVED = ".removed-"
_HELD = "in-use"  # a file in each folder, locked by the processes that use it
_held: list[TextIO] = []


@cache
def cache_folder(part: str) -> Path:
    """Return the folder for compiled code of a part in this version, which stays while this process lives.

    It is in the first of these that can be written: `outputs` of a checkout, the user's folder for caches, that for temporary
    files.
    """
    identity = hashlib.sha256(f"{PACKAGE}\0{code_version(part)}".encode())  # Numba keeps the code of each place apart
    name = f"{part}-{identity.hexdigest()[:16]}"
    places = _places()
    for place in places:
        folder = place / "compiled" / name
        with suppress(OSError):
            is_new = not folder.exists()
            _held.append(hold(folder))
            if is_new:
                remove_old(folder.parent, part)
            return folder
    raise OSError(f"no folder for compiled code can be written: {', '.join(map(str, places))}")


def hold(folder: Path) -> TextIO:
    """Make a folder unless it is there, and keep others from removing it as long as the returned file is open."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
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


def _places() -> list[Path]:
    """Return where compiled code may be kept, the best place first. What is kept there is run: nobody else may write it."""
    places: list[Path] = []
    if (root := checkout()) is not None:
        places.append(root / "outputs")
    with suppress(RuntimeError):  # this user has no home
        places.append(user_cache() / "netstack")
    temporary = Path(tempfile.gettempdir()) / f"netstack-{os.getuid()}"
    with suppress(OSError):
        temporary.mkdir(mode=0o700, exist_ok=True)
        if not temporary.is_symlink() and temporary.stat().st_uid == os.getuid():
            places.append(temporary)
    return places


def user_cache() -> Path:
    """Return the user's folder for caches, as the XDG Base Directory Specification and macOS have it."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if given.is_absolute():
        return given
    return Path("~/Library/Caches" if sys.platform == "darwin" else "~/.cache").expanduser()
