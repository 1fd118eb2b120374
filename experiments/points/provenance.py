"""Where a result comes from: the commit, whether files differed from it, and the versions of the model and its tools.

Knows git and installed packages, not what is computed.
"""

import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version

from netstack.installation import checkout
from netstack.sim import model_version


@cache
def provenance() -> dict[str, str]:
    """Return the versions of the code that runs, as tags. Outside a git working tree of this project there is no commit."""
    known = {
        "model.version": model_version()[:16],
        "python.version": platform.python_version(),
        **{f"{name}.version": version(name) for name in ("numba", "numpy")},
    }
    commit = _git("rev-parse", "HEAD")
    if commit is not None:
        known |= {"git.commit": commit, "git.dirty": str(bool(_git("status", "--porcelain", "--untracked-files=no"))).lower()}
    return known


def commit_label(known: Mapping[str, str]) -> str | None:
    """Return the commit of a `provenance` as readers see it, None if there is none."""
    if "git.commit" not in known:
        return None
    return known["git.commit"][:12] + (" with changes" if known["git.dirty"] == "true" else "")


def _git(*arguments: str) -> str | None:
    root = checkout()
    if root is None:
        return None
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
