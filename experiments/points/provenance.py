"""Where a result comes from: the commit, whether files differed from it, and the versions of the model and its tools.

Knows git and installed packages, not what is computed.
"""

import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

from netstack.installation import checkout
from netstack.sim import model_version

UNKNOWN = "unknown"
"""In place of a commit that is not known to be one of this project."""


@cache
def provenance() -> dict[str, str]:
    """Return the versions of the code that runs, as tags. Outside a git working tree of this project the commit is `UNKNOWN`."""
    known = {
        "model.version": model_version()[:16],
        "python.version": platform.python_version(),
        **{f"{name}.version": version(name) for name in ("numba", "numpy")},
    }
    try:
        known |= _commit()
    except UnknownCommitError:
        known["git.commit"] = UNKNOWN
    return known


def why_unknown() -> str | None:
    """Return why a checkout has no commit of its own, in words; None if it has one, or if these sources were installed."""
    try:
        _commit()
    except UnknownCommitError as error:
        return str(error) if checkout() is not None else None
    return None


def commit_label(known: Mapping[str, str]) -> str | None:
    """Return the commit of a `provenance` as readers see it, None if there is none."""
    if known.get("git.commit", UNKNOWN) == UNKNOWN:
        return None
    return known["git.commit"][:12] + (" with changes" if known["git.dirty"] == "true" else "")


class UnknownCommitError(Exception):
    """The sources are of no commit that can be named."""


@cache
def _commit() -> dict[str, str]:
    """Return the commit and whether files differ from it. Raises UnknownCommitError unless it is one of this project."""
    root = checkout()
    if root is None:
        raise UnknownCommitError("the sources were installed")
    try:
        top = _git(root, "rev-parse", "--show-toplevel")
        if Path(top).resolve() != root:
            raise UnknownCommitError(f"these sources are not of the git repository around them, {top}")
        _git(root, "ls-files", "--error-unmatch", "run.py")
        commit, changes = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain", "--untracked-files=no")
    except FileNotFoundError as error:
        raise UnknownCommitError("git is not installed") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UnknownCommitError(f"git cannot be run ({error})") from error
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip().splitlines() or ["no answer"])[0]
        raise UnknownCommitError(f"git says: {said}") from error
    return {"git.commit": commit, "git.dirty": str(bool(changes)).lower()}


def _git(root: Path, *arguments: str) -> str:
    """Return what git says of the folder, whatever repository the environment names and whoever owns the files."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | {"LC_ALL": "C"}
    command = ["git", "--no-optional-locks", "-c", f"safe.directory={root}", "-C", str(root), *arguments]
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", check=True)
    return done.stdout.strip()
