"""An entry with all that it calls as one module: the same results as interpreted, machine code of entries only, ways back."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba import types

from netstack.jit.compilation import TRIED, compiled, compiled_callback
from netstack.jit.one_module import CalleeLibrary, Entry, EntryLibrary
from tests.helpers.folders import ROOT

if numba.config.DISABLE_JIT:  # pyright: ignore[reportAttributeAccessIssue]
    pytest.skip("nothing is compiled", allow_module_level=True)

OPTIONS = {"nopython": True, "boundscheck": None, "no_cfunc_wrapper": True, "error_model": "numpy"}


def fresh(function: Any) -> Any:
    """Return an entry without a cache."""
    return Entry(function, targetoptions=dict(OPTIONS))


@fresh
def collatz(number):
    return number // 2 if number % 2 == 0 else 3 * number + 1


@fresh
def collatz_steps(number):
    steps = 0
    while number != 1:
        number = collatz(number)
        steps += 1
    return steps


@fresh
def longest(below):
    best = 1
    for number in range(2, below):
        if collatz_steps(number) > collatz_steps(best):
            best = number
    return best, collatz_steps(best)


@fresh
def factorial(number):
    return 1 if number < 2 else number * factorial(number - 1)


@fresh
def choose(of, number):
    return factorial(of) // factorial(number) // factorial(of - number)


@fresh
def checked(number):
    if number < 0:
        raise ValueError("below zero")
    return number


@fresh
def sum_checked(numbers):
    total = 0
    for index in range(len(numbers)):
        total += checked(numbers[index])
    return total


def test_numba_is_of_a_version_that_this_was_tried_with() -> None:
    assert numba.__version__ in TRIED, (
        f"compilation as one module was tried with Numba {', '.join(TRIED)}, not {numba.__version__}: each function is compiled"
        " alone, which takes four times as long. Add the version to netstack.jit.compilation.TRIED, and run the tests of"
        " tests/jit, tests/sim and tests/host: if they pass, it stays there"
    )


def test_a_chain_of_calls() -> None:
    """The longest chain below 1,000 starts at 871 and has 178 steps (OEIS A006884, A006885)."""
    assert longest(1000) == (871, 178)


def test_an_entry_exports_its_own_functions_only() -> None:
    longest(10)
    (result,) = longest.overloads.values()
    assert isinstance(result.library, EntryLibrary)
    exported = {function.name for function in result.library.get_defined_functions() if function.linkage.name == "external"}
    assert exported == {result.fndesc.llvm_func_name, result.fndesc.llvm_cpython_wrapper_name}


def test_what_an_entry_calls_has_no_machine_code() -> None:
    inner = fresh(lambda number: number + 1)
    outer = fresh(lambda number: inner(number) * 2)
    assert outer(3) == 8
    (result,) = inner._callee.overloads.values()
    assert isinstance(result.library, CalleeLibrary)
    assert result.library.get_pointer_to_function(result.fndesc.llvm_func_name) == 0
    assert not inner.overloads
    assert inner(3) == 4


def test_recursion() -> None:
    assert factorial(10) == 3_628_800
    assert choose(10, 3) == 120


def test_an_exception_of_a_function_that_is_called() -> None:
    assert sum_checked(np.array([1, 2, 3])) == 6
    with pytest.raises(ValueError, match="below zero"):
        sum_checked(np.array([1, -2]))


def test_each_type_of_argument_is_compiled() -> None:
    assert sum_checked(np.array([1.5, 2.0])) == 3.5
    assert sum_checked(np.array([1, 2], np.uint8)) == 3


def test_numba_s_own_functions_may_call_a_function() -> None:
    @numba.njit
    def twice(number):
        return 2 * collatz_steps(number)

    assert twice(27) == 2 * 111  # OEIS A008908


def test_a_callback_calls_other_functions() -> None:
    callback = compiled_callback(types.int64(types.int64), lambda number: collatz_steps(number))
    assert callback.ctypes(27) == 111


def test_threads_compile_at_the_same_time() -> None:
    """Each of two entries is called first by several threads at once, and both call the same function."""
    below = fresh(lambda number: collatz_steps(number) - 1)
    above = fresh(lambda number: collatz_steps(number) + 1)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda index: (below, above)[index % 2](27), range(64)))
    assert found == [110, 112] * 32
    assert len(below.overloads) == len(above.overloads) == 1


def test_what_is_decorated_is_an_entry_for_all_integers() -> None:
    assert isinstance(compiled(abs_difference), Entry)
    assert compiled(abs_difference)(np.int32(3), 5) == 2


def abs_difference(first, second):
    return first - second if first > second else second - first


PROGRAM = """
import logging, sys
import numba
logging.basicConfig(format="LOG %(message)s", stream=sys.stdout)
import change
from netstack.jit.compilation import compiled, compiled_callback

@compiled
def square(number):
    return number * number

@compiled
def sum_of_squares(count):
    total = 0
    for number in range(count):
        total += square(number)
    return total

@compiled
def twice(count):
    return 2 * sum_of_squares(count)

print(sum_of_squares(10), twice(10), square(3))
if not numba.config.DISABLE_JIT:
    signature = numba.types.int64(numba.types.int64)
    print(compiled_callback(signature, lambda count: sum_of_squares(count)).ctypes(10))
    print(type(sum_of_squares).__name__, sum(sum_of_squares.stats.cache_hits.values()))
"""
FAIL = """
from netstack.jit import one_module
def fail(self):
    raise AttributeError("no such part")
one_module.EntryLibrary.finalize = fail
"""


def run(folder: Path, change: str = "", *, jit: bool = True) -> list[str]:
    """Run the program in a process of its own, after a change to Numba or the compiler; return its lines."""
    if not (folder / "program.py").exists():
        (folder / "program.py").write_text(PROGRAM)
    (folder / "change.py").write_text(change)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "NUMBA_DISABLE_JIT": "0" if jit else "1",
    }
    command = [sys.executable, str(folder / "program.py")]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.splitlines()


FIGURES = ["285 570 9", "285"]  # sum of squares below 10


def test_entries_are_kept_for_the_next_process(tmp_path: Path) -> None:
    assert run(tmp_path) == [*FIGURES, "Entry 0"]
    assert run(tmp_path) == [*FIGURES, "Entry 1"]


KEPT = """
import sys
import numpy
from change import KIND
from netstack.jit.compilation import compiled

@compiled
def fill(values, number):
    for index in range(len(values)):
        values[index] = number * max(index, 1)
    return values[-1]

values = numpy.zeros(4)
print(fill(values, 2), values.tolist(), "numba.np.linalg" in sys.modules)
print(fill(numpy.zeros(3, KIND), 2), sum(fill.stats.cache_hits.values()))
"""


def test_kept_code_is_loaded_without_what_compiling_needs(tmp_path: Path) -> None:
    """What is then compiled all the same, for another type, is right as well."""
    (tmp_path / "program.py").write_text(KEPT)
    filled = "6.0 [2.0, 2.0, 4.0, 6.0]"
    assert run(tmp_path, "KIND = 'i8'") == [f"{filled} True", "4 0"]
    assert run(tmp_path, "KIND = 'i8'") == [f"{filled} False", "4 2"]
    assert run(tmp_path, "KIND = 'f4'") == [f"{filled} False", "4.0 1"]


def test_interpreted(tmp_path: Path) -> None:
    assert run(tmp_path, jit=False) == FIGURES[:1]


def test_another_version_of_numba_compiles_each_function_alone(tmp_path: Path) -> None:
    log, *lines = run(tmp_path, 'import numba; numba.__version__ = "9.8.7"')
    assert lines == [*FIGURES, "CPUDispatcher 0"]
    assert log == "LOG not tried with Numba 9.8.7: compiling functions one by one, which is slow"


def test_where_it_fails_functions_are_compiled_alone(tmp_path: Path) -> None:
    """What was compiled alone is kept apart from entries, whose code nothing can link."""
    log, *lines = run(tmp_path, FAIL)
    assert lines == [*FIGURES, "Entry 0"]
    assert log.startswith("LOG compiling as one module failed with AttributeError: no such part")
    assert run(tmp_path) == [*FIGURES, "Entry 0"]
    assert run(tmp_path, FAIL) == [*FIGURES, "Entry 1"]
