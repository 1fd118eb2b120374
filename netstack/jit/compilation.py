"""How hot functions are compiled, where the result is kept, and which version of the model it belongs to.

Numba does not notice when a function that another one calls has changed. The cache's folder is therefore named after a digest of
all sources of the package.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba import types

PACKAGE = Path(__file__).resolve().parent.parent


@cache
def source_digest() -> str:
    """Return a digest of the package's sources: the version of the model."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def use_cache_of_these_sources() -> Path:
    """Direct Numba's on-disk cache to a folder of this version, and return the folder.

    It is under ``outputs/compiled``, or in the computer's folder for temporary files if that cannot be written.
    """
    root = PACKAGE.parent / "outputs"
    if not os.access(root if root.exists() else PACKAGE.parent, os.W_OK):
        root = Path(tempfile.gettempdir()) / "netstack"
    folder = root / "compiled" / source_digest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    numba.config.CACHE_DIR = str(folder)  # pyright: ignore[reportAttributeAccessIssue]
    return folder


def compiled(function: Callable[..., Any] | None = None, *, nogil: bool = False) -> Any:
    """Compile a function with Numba when it is first called.

    It is compiled once for integers of any value and width. Numba on its own compiles a callee again for each literal argument
    and each width of an integer: a call for every operation number would make thirty copies of the caches.

    Args:
        function: The function; None returns a decorator.
        nogil: Whether the compiled function releases Python's global interpreter lock.
    """
    if function is None:
        return lambda decorated: compiled(decorated, nogil=nogil)
    jit: Any = numba.njit
    dispatcher = jit(cache=True, nogil=nogil, no_cfunc_wrapper=True, error_model="numpy")(function)
    if hasattr(dispatcher, "get_call_template"):
        specialize = dispatcher.get_call_template

        def get_call_template(args: tuple, kws: dict) -> Any:
            return specialize(tuple(map(_plain, args)), {name: _plain(kind) for name, kind in kws.items()})

        dispatcher.get_call_template = get_call_template
    return dispatcher


def _plain(kind: Any) -> Any:
    """Return the type that a function is compiled for: int64 for integers that fit, and for members of enumerations."""
    kind = types.unliteral(kind)
    if isinstance(kind, types.IntEnumMember):
        return types.int64
    return types.int64 if isinstance(kind, types.Integer) and kind != types.uint64 else kind
