"""How hot functions are compiled. Knows Numba, not where compiled code is kept (`netstack.jit.cache`)."""

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache, cached_property
from types import ModuleType
from typing import Any

import numba
from numba import types
from numba.core.caching import FunctionCache
from numba.core.compiler_lock import global_compiler_lock
from numba.core.runtime import rtsys

from netstack.jit.cache import cache_folder

TRIED = ("0.68.1",)
"""The versions of Numba whose inner parts `netstack.jit.one_module` was tried with. Others compile each function alone."""

_numba_config: Any = numba.config
_compiling: Any = global_compiler_lock
_OPTIONS = {"nopython": True, "boundscheck": None, "no_cfunc_wrapper": True, "error_model": "numpy"}


def compiled(function: Callable[..., Any] | None = None, *, nogil: bool = False) -> Any:
    """Compile a function with Numba when it is first called, once for integers of any value and width.

    Numba on its own compiles a callee again for each literal argument and each width of an integer: a call for every
    operation number would make thirty copies of the caches.
    """
    if function is None:
        return lambda decorated: compiled(decorated, nogil=nogil)
    if _numba_config.DISABLE_JIT:
        return function
    if (one_module := _one_module()) is None:
        return _compiled_alone(function, nogil)
    entry = one_module.Entry(function, targetoptions={**_OPTIONS, "nogil": nogil})
    entry._cache = _KeptCode(function, "entries")
    entry.configure(_plain, cache(lambda: _compiled_alone(function, nogil)))
    return entry


def compiled_callback(signature: Any, function: Callable[..., Any]) -> Any:
    """Compile a function that compiled code calls by its address."""
    if (one_module := _one_module()) is not None:
        with _kept_in_folder(function, "entries"):
            callback = one_module.compiled_callback(signature, function)
        if callback is not None:
            return callback
    with _kept_in_folder(function, "functions"):
        return numba.cfunc(signature, cache=True)(function)


@cache
def _one_module() -> ModuleType | None:
    """Return the module that compiles an entry as one, None with a version of Numba that it was not tried with."""
    if numba.__version__ in TRIED:
        from netstack.jit import one_module

        return one_module
    logging.getLogger(__name__).warning(
        "not tried with Numba %s: compiling functions one by one, which is slow", numba.__version__
    )
    return None


def _compiled_alone(function: Callable[..., Any], nogil: bool) -> Any:
    """Return Numba's own dispatcher of a function: each function becomes a module."""
    jit: Any = numba.njit
    dispatcher = jit(nogil=nogil, no_cfunc_wrapper=True, error_model="numpy")(function)
    dispatcher._cache = _KeptCode(function, "functions")
    specialize = dispatcher.get_call_template

    def get_call_template(args: tuple, kws: dict) -> Any:
        return specialize(tuple(map(_plain, args)), {name: _plain(kind) for name, kind in kws.items()})

    dispatcher.get_call_template = get_call_template
    return dispatcher


class _KeptCode:
    """Numba's cache of a function's code, which is opened when the function is compiled or its code is read.

    Numba on its own makes the folder when the function is decorated, so that an import would write.
    """

    def __init__(self, function: Callable[..., Any], kind: str) -> None:
        self._function, self._kind = function, kind

    @cached_property
    def _opened(self) -> FunctionCache:
        with _kept_in_folder(self._function, self._kind):
            return FunctionCache(self._function)

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Return kept code, None if there is none.

        Numba on its own would first load all that it needs to compile: a third of a second, when there is nothing to compile.
        """
        if numba.__version__ not in TRIED:
            return self._opened.load_overload(signature, context)
        rtsys.initialize(context)  # what kept code calls
        return self._opened._load_overload(signature, context)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._opened, name)


@contextmanager
def _kept_in_folder(function: Callable[..., Any], kind: str) -> Generator[None, None, None]:
    """Let Numba keep the code of a function in the folder of its part.

    Entries and functions that are compiled alone have folders of their own: the code of an entry cannot be linked.
    """
    with _compiling:
        before = _numba_config.CACHE_DIR
        _numba_config.CACHE_DIR = str(cache_folder(_part_of(function.__module__)) / kind)
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
