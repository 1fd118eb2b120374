"""How hot functions are compiled. Knows Numba, not where compiled code is kept (`netstack.jit.cache`)."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import numba
from numba import types

from netstack.jit.cache import cache_folder

_numba_config: Any = numba.config
_decorating = RLock()


def compiled(function: Callable[..., Any] | None = None, *, nogil: bool = False) -> Any:
    """Compile a function with Numba when it is first called, once for integers of any value and width.

    Numba on its own compiles a callee again for each literal argument and each width of an integer: a call for every
    operation number would make thirty copies of the caches.
    """
    if function is None:
        return lambda decorated: compiled(decorated, nogil=nogil)
    jit: Any = numba.njit
    with _cached(function):
        dispatcher = jit(cache=True, nogil=nogil, no_cfunc_wrapper=True, error_model="numpy")(function)
    if hasattr(dispatcher, "get_call_template"):
        specialize = dispatcher.get_call_template

        def get_call_template(args: tuple, kws: dict) -> Any:
            return specialize(tuple(map(_plain, args)), {name: _plain(kind) for name, kind in kws.items()})

        dispatcher.get_call_template = get_call_template
    return dispatcher


def compiled_callback(signature: Any, function: Callable[..., Any]) -> Any:
    """Compile a function that compiled code calls by its address."""
    with _cached(function):
        return numba.cfunc(signature, cache=True)(function)


@contextmanager
def _cached(function: Callable[..., Any]) -> Generator[None, None, None]:
    """Let Numba keep the code of a function in the folder of its part; it looks where that is when a function is decorated."""
    if _numba_config.DISABLE_JIT:
        yield
        return
    with _decorating:
        before = _numba_config.CACHE_DIR
        _numba_config.CACHE_DIR = str(cache_folder(_part_of(function.__module__)))
        try:
            yield
        finally:
            _numba_config.CACHE_DIR = before


def _part_of(module: str) -> str:
    """Return the part of netstack that a module is in, ``other`` for a module outside of it."""
    package, _, inside = module.partition(".")
    return inside.partition(".")[0] if package == "netstack" and inside else "other"


def _plain(kind: Any) -> Any:
    """Return the type that a function is compiled for: int64 for integers that fit, and for members of enumerations."""
    kind = types.unliteral(kind)
    if isinstance(kind, types.IntEnumMember):
        return types.int64
    return types.int64 if isinstance(kind, types.Integer) and kind != types.uint64 else kind
