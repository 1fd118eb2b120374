"""Compiles a function that Python calls, and all that it calls, as one LLVM module that is optimized once.

Numba on its own makes a module of each function, and LLVM optimizes the functions that it calls again in each: with hundreds
of small functions most of the time. Here a function that compiled code calls is lowered to LLVM's intermediate representation
and no further. An entry, a function that Python calls, links those that it reaches and makes them internal, so that LLVM knows
all their callers. What then takes time is Numba's front end, whose passes for closures, ``with`` blocks, literal arguments and
expressions of whole arrays are left out: compiled functions have none of these.

It rests on these inner parts of Numba, which may change with any release (`netstack.jit.compilation.TRIED` has those that it was
tried with): a pass `NativeLowering` that leaves machine code out with the flag `no_compile` and puts a tuple with the field
`cfunc` into the state; a compiler that takes its library and passes from the state; libraries with `_final_module` and
`_linking_libraries`, of which `add_linking_library` finalizes those that it adds; environments by the name of a global; and a
dispatcher that is asked for a template and then for an overload where compiled code calls it. Knows no cache.
"""

import gc
import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import numba
from numba.core import sigutils, typed_passes, untyped_passes
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_lock import global_compiler_lock, require_global_compiler_lock
from numba.core.compiler_machinery import register_pass
from numba.core.errors import NumbaError
from numba.core.lowering import Environment
from numba.core.registry import CPUDispatcher

_ENVIRONMENT = "_ZN08NumbaEnv"  # how the names of globals begin that hold the address of a function's environment
_LEFT_OUT = (
    untyped_passes.WithLifting,
    untyped_passes.RewriteSemanticConstants,
    untyped_passes.DeadBranchPrune,
    untyped_passes.RewriteDynamicRaises,
    untyped_passes.MakeFunctionToJitFunction,
    untyped_passes.InlineInlinables,
    untyped_passes.FindLiterallyCalls,
    untyped_passes.LiteralUnroll,
    untyped_passes.LiteralPropagationSubPipelinePass,
    typed_passes.InlineOverloads,
    typed_passes.NopythonRewrites,
    typed_passes.DumpParforDiagnostics,
)
_register: Any = register_pass


class _Library(JITCodeLibrary):
    """Code of a function, which is optimized with its callers, not alone."""

    _codegen: Any
    _final_module: Any
    _linking_libraries: list[Any]

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout

    def _reached(self) -> Iterator[Any]:
        """Yield the libraries whose code this one calls, directly or not, each once."""
        seen: set[Any] = {self}
        pending = list(self._linking_libraries)
        while pending:
            library = pending.pop()
            if library not in seen:
                seen.add(library)
                yield library
                if isinstance(library, CalleeLibrary):
                    pending.extend(library._linking_libraries)

    def _link(self, module: Any) -> None:
        """Link the code of all that this library reaches into a module of it."""
        for library in self._reached():
            self._reload_init.update(library._reload_init)
            own = isinstance(library, CalleeLibrary)
            module.link_in(library._final_module if own else library._get_module_for_linking(), preserve=True)


class CalleeLibrary(_Library):
    """A function that compiled code calls: intermediate representation only."""

    def finalize(self) -> None:
        """End the library. Nothing is optimized."""
        self._raise_if_finalized()
        self._finalized = True

    def _get_module_for_linking(self) -> Any:
        """Return the function with all that it calls, for a library of Numba's own."""
        module = self._final_module.clone()
        self._link(module)
        for function in module.functions:
            if not function.is_declaration and function.linkage.name == "external":
                function.linkage = "linkonce_odr"
        return module


class EntryLibrary(_Library):
    """A function that Python calls, with everything that it calls."""

    def finalize(self) -> None:
        """Link, optimize, and make machine code."""
        require_global_compiler_lock()
        self._codegen._check_llvm_bugs()
        self._raise_if_finalized()
        module = self._final_module
        exported = {function.name for function in module.functions if not function.is_declaration}
        self._link(module)
        for function in module.functions:
            if not function.is_declaration and function.name not in exported:
                function.linkage = "internal"
        self._optimize_final_module()
        self._final_module.verify()
        self._finalize_final_module()
        for variable in self._final_module.global_variables:
            if variable.name.startswith(_ENVIRONMENT) and (found := Environment._memo.get(variable.name)) is not None:
                self._codegen.set_env(variable.name, found)


@_register(mutates_CFG=True, analysis_only=False)
class _CalleeLowering(typed_passes.NativeLowering):
    """Lower to intermediate representation, and stop."""

    _name = "callee_lowering"

    def run_pass(self, state: Any) -> bool:
        state.flags.no_compile = True
        super().run_pass(state)
        result = state["cr"]._replace(cfunc=object())  # stands for the code that there is not: libraries are found by it
        state.targetctx.insert_user_function(result.cfunc, result.fndesc, [state.library])
        state["cr"] = result
        return True


class EntryCompiler(CompilerBase):
    """Compiles an entry."""

    library: type[_Library] = EntryLibrary
    lowering: Any = typed_passes.NativeLowering

    def define_pipelines(self) -> list[Any]:
        """Return those of Numba's passes that are needed, for a library of this module."""
        state: Any = self.state
        state.library = self.library(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        pipeline: Any = DefaultPassBuilder.define_nopython_pipeline(state)
        passes = [(kind, name) for kind, name in pipeline.passes if kind not in _LEFT_OUT]
        lowering = typed_passes.NativeLowering
        pipeline.passes = [(self.lowering if kind is lowering else kind, name) for kind, name in passes]
        pipeline.finalize()
        return [pipeline]


class _CalleeCompiler(EntryCompiler):
    library = CalleeLibrary
    lowering = _CalleeLowering


class _Callee(CPUDispatcher):
    """A function as compiled code calls it. Nobody calls it from Python."""

    overloads: Any
    _compiler: Any

    def compile(self, sig: Any) -> Any:
        args, return_type = sigutils.normalize_signature(sig)
        if args not in self.overloads:
            with self._compiling_counter:
                self.add_overload(self._compiler.compile(args, return_type))
        return self.overloads[args].entry_point

    def add_overload(self, cres: Any) -> None:
        self.overloads[tuple(cres.signature.args)] = cres


@contextmanager
def _without_garbage_collection() -> Generator[None, None, None]:
    """Let no garbage be collected: the front end makes many objects that stay, and searching them takes a tenth of its time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Entry(CPUDispatcher):
    """A function as Python calls it, and, for compiled code, the same function without machine code."""

    overloads: Any
    _gave_up = False  # for all entries

    def __init__(self, py_func: Any, locals: Any = None, targetoptions: Any = None, pipeline_class: Any = EntryCompiler) -> None:
        super().__init__(py_func, locals, targetoptions, pipeline_class)
        self._callee = _Callee(py_func, locals, {**(targetoptions or {}), "no_cpython_wrapper": True}, _CalleeCompiler)
        self.plain: Callable[[Any], Any] = lambda kind: kind
        self.ordinary: Callable[[], Any] | None = None

    def configure(self, plain: Callable[[Any], Any], ordinary: Callable[[], Any]) -> None:
        """Set which type a function is compiled for, and where Numba's own dispatcher of it comes from when this one fails."""
        self.plain, self.ordinary = plain, ordinary

    @global_compiler_lock
    def compile(self, sig: Any) -> Any:
        """Return the machine code for a signature, with all that it calls.

        Should that fail, this and all later entries are compiled in Numba's own way. An error in the function is no reason.
        """
        if not Entry._gave_up:
            try:
                with _without_garbage_collection():
                    return super().compile(sig)
            except NumbaError:
                raise
            except Exception as error:
                if self.ordinary is None:
                    raise
                _give_up(error)
        ordinary: Any = self.ordinary and self.ordinary()
        code = ordinary.compile(sig)
        for result in ordinary.overloads.values():
            if tuple(result.signature.args) not in self.overloads:
                self.add_overload(result)
        return code

    @property
    def is_compiling(self) -> Any:
        """Whether it is being compiled: a call within it is then recursive."""
        return self._compiling_counter or self._callee.is_compiling

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """Return what compiled code that calls this function needs to know of it; see `_of_callers`."""
        plain_kws = {name: self.plain(kind) for name, kind in kws.items()}
        return self._of_callers().get_call_template(tuple(map(self.plain, args)), plain_kws)

    def get_overload(self, sig: Any) -> Any:
        """Return by what compiled code that calls this function finds it."""
        return self._of_callers().get_overload(sig)

    def _of_callers(self) -> Any:
        return self.ordinary() if Entry._gave_up and self.ordinary else self._callee


@global_compiler_lock
def compiled_callback(signature: Any, function: Callable[..., Any]) -> Any:
    """Return a function that compiled code calls by its address, None if functions are compiled in Numba's own way."""
    if not Entry._gave_up:
        try:
            return numba.cfunc(signature, cache=True, pipeline_class=EntryCompiler)(function)
        except NumbaError:
            raise
        except Exception as error:
            _give_up(error)
    return None


def _give_up(error: Exception) -> None:
    """Compile functions one by one from now on."""
    Entry._gave_up = True
    reason = "compiling as one module failed with %s: %s; compiling functions one by one, which is slow"
    logging.getLogger(__name__).warning(reason, type(error).__name__, error)
