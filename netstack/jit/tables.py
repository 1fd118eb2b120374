"""Accessors of a simulation's tables. Where the state has a journal, they note in it which records they return.

The type of the state decides whether they do, when a function is compiled: the exact engine's code has no trace of a journal.
Each table says how the changes of several cores to one record are merged.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import extending, types
from numba.core import cgutils

from netstack.jit.journal import emit_call, note
from netstack.jit.records import interpreted_has_field, record_accessor, reference_to

_intrinsic: Any = extending.intrinsic
_interpreted = numba.config.DISABLE_JIT  # pyright: ignore[reportAttributeAccessIssue]

EXCLUSIVE, ADDED, LAST, LOCAL_ONLY = range(4)
"""How a word is merged. EXCLUSIVE: a core that touched the record after another core changed the word repeats its step. ADDED:
a counter, changes add up. LAST: the last change holds, no step is repeated. LOCAL_ONLY: changes stay on their core."""

JOURNAL_FIELD = "journal"


@dataclass(frozen=True)
class JournaledTable:
    """A table whose records a journal notes: its number, name, layout, and how each word of a record is merged."""

    number: int
    name: str
    dtype: np.dtype
    policies: np.ndarray


JOURNALED: dict[str, JournaledTable] = {}
"""All journaled tables by the field that holds their address."""


def with_journal(dtype: np.dtype) -> np.dtype:
    """Return the layout of a state that keeps a journal: the journal's address comes first.

    Behind the other fields it would make a subtype, and Numba would run code compiled for a state without a journal.
    """
    fields: Any = [(name, dtype[name]) for name in dtype.names or ()]
    return np.dtype([(JOURNAL_FIELD, "i8"), *fields], align=True)


def word_policies(dtype: np.dtype, added: tuple[str, ...], last: tuple[str, ...], local: tuple[str, ...] = ()) -> np.ndarray:
    """Return how each 64-bit word of a record is merged, from the names of fields; all others are exclusive.

    Raises:
        ValueError: A counter is not 64 bits wide.
    """
    policies = np.full(dtype.itemsize // 8, EXCLUSIVE, np.int64)
    for names, policy in ((added, ADDED), (last, LAST), (local, LOCAL_ONLY)):
        for name in names:
            fields: Any = dtype.fields
            kind, offset = fields[name][:2]
            if policy == ADDED and kind.base.itemsize != 8:
                raise ValueError(f"{name} is a counter and must be 64 bits wide")
            policies[offset // 8 : (offset + kind.itemsize + 7) // 8] = policy
    return policies


def journaled(name: str, dtype: np.dtype, policies: np.ndarray) -> JournaledTable:
    """Give a table its number in the journal; return the table.

    Raises:
        ValueError: A record is not whole 64-bit words.
    """
    if dtype.itemsize % 8:
        raise ValueError(f"records of {name} must be whole 64-bit words, not {dtype.itemsize} bytes")
    return JOURNALED.setdefault(name, JournaledTable(len(JOURNALED), name, dtype, policies))


def table_accessor(
    dtype: np.dtype,
    table: str,
    *,
    added: tuple[str, ...] = (),
    last: tuple[str, ...] = (),
    noted: bool = True,
    beside: JournaledTable | None = None,
) -> Callable[[Any, Any], Any]:
    """Return ``of(state, index)`` giving a reference to record `index` of the table whose address is ``state.<table>``.

    It is an intrinsic and no function around `record_accessor`: there are many, and each would be compiled.

    Args:
        dtype: The layout of a record.
        table: The field of the state that holds the table's address.
        added: Counters, see `ADDED`.
        last: Fields of which the last change holds, see `LAST`.
        noted: Whether a journal notes the records. Constants and scratch memory need no note.
        beside: A table whose record `index` is reached through this one, without an accessor: it is noted too.
    """
    numbers = [journaled(table, dtype, word_policies(dtype, added, last)).number] if noted else []
    if beside is not None:
        numbers.append(beside.number)
    if _interpreted:
        at = record_accessor(dtype)

        def interpreted_of(state: Any, index: Any) -> Any:
            if numbers and has_journal(state):
                for number in numbers:
                    note(state.journal, number, index)
            return at(getattr(state, table), index)

        return interpreted_of

    record_type = numba.from_dtype(dtype)

    @_intrinsic
    def of(typingctx: Any, state: Any, index: Any) -> Any:
        def codegen(context, builder, signature, arguments):
            if numbers and JOURNAL_FIELD in state.fields:
                journal = _load(builder, arguments[0], state.offset(JOURNAL_FIELD))
                for number in numbers:
                    table_number = context.get_constant(types.int64, number)
                    emit_call(builder, "note_function", (journal, table_number, arguments[1]))
            address = _load(builder, arguments[0], state.offset(table))
            return reference_to(context, builder, record_type, address, arguments[1])

        return record_type(state, types.int64), codegen

    return of


def _load(builder: Any, record: Any, offset: int) -> Any:
    return builder.load(cgutils.get_record_member(builder, record, offset, ir.IntType(64)))


def _interpreted_has_journal(state: Any) -> bool:
    return interpreted_has_field(state, JOURNAL_FIELD)


def _compiled_has_journal(typingctx: Any, state: Any) -> Any:
    def codegen(context, builder, signature, arguments):
        return context.get_constant(types.boolean, JOURNAL_FIELD in state.fields)

    return types.boolean(state), codegen


has_journal: Any = _interpreted_has_journal if _interpreted else _intrinsic(_compiled_has_journal)
"""Return whether a state keeps a journal: a constant for the compiler, so that the other branch costs nothing."""


def _interpreted_journal_of(state: Any) -> int:
    return state.journal if _interpreted_has_journal(state) else 0


def _compiled_journal_of(typingctx: Any, state: Any) -> Any:
    def codegen(context, builder, signature, arguments):
        if JOURNAL_FIELD not in state.fields:
            return context.get_constant(types.int64, 0)
        return _load(builder, arguments[0], state.offset(JOURNAL_FIELD))

    return types.int64(state), codegen


journal_of: Any = _interpreted_journal_of if _interpreted else _intrinsic(_compiled_journal_of)
"""Return the address of a state's journal, 0 if it keeps none."""
