"""Doing things as other users of this computer."""

import os
import sys
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import pytest

GROUP, ONE, TWO = 23000, 23001, 23002  # numbers that nobody has: neither names nor entries of users are needed


def as_user(user: int, mask: int, action: Callable[[], int]) -> int:
    """Call a function in a process of a user who is also in `GROUP`; return what it returns.

    What the function imports must be there already, since the user may not be able to read where Python is.
    """
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        code = 99
        try:
            os.setgroups([GROUP])
            os.setgid(user)
            os.setuid(user)
            os.umask(mask)
            code = action()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


@contextmanager
def shared_folder(mode: int = 0o2775) -> Generator[Path, None, None]:
    """Make a folder of `ONE` and of `GROUP`, which others can reach."""
    if os.geteuid() != 0:
        pytest.skip("other users are for root")
    folder = Path(mkdtemp(prefix="netstack-tests-"))
    try:
        os.chown(folder, ONE, GROUP)
        folder.chmod(mode)
        yield folder
    finally:
        rmtree(folder)
