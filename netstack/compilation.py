"""Where compiled code is kept, and which version of the model it belongs to.

Numba does not notice when a function that another one calls has changed, so that the cache's folder is named after
a digest of all sources of the package.
"""

import hashlib
import os
import tempfile
from functools import cache
from pathlib import Path

import numba

PACKAGE = Path(__file__).resolve().parent


@cache
def source_digest() -> str:
    """Return a digest of the package's sources: the version of the model."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def use_cache_of_these_sources() -> Path:
    """Direct Numba's on-disk cache to a folder of this version, under ``outputs/compiled`` where that can be written."""
    root = PACKAGE.parent / "outputs"
    if not os.access(root if root.exists() else PACKAGE.parent, os.W_OK):
        root = Path(tempfile.gettempdir()) / "netstack"
    folder = root / "compiled" / source_digest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    numba.config.CACHE_DIR = str(folder)  # pyright: ignore[reportAttributeAccessIssue]
    return folder
