"""What a step of one core touched: which records, what they held before, and what can be undone.

A windowed simulation keeps a journal. The exact one has none and pays nothing. Accessors of tables (`netstack.jit.tables`) note
here which records they return. Knows tables by number, and nothing of what they mean.
"""

from functools import cache
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import extending, types

from netstack.jit.compilation import compiled, compiled_callback
from netstack.jit.records import Record, allocate, i8, record_accessor


class Journal(Record):
    """The journal: how many entries of each kind it has, how many it has room for, and where they are."""

    note_function: i8  # address of `_note`, or of `_ignore`
    save_function: i8  # address of `_save_words`, or of `_ignore`
    step: i8  # number of the current step, from 1 on
    accesses: i8  # records that the current step touched
    twin_words: i8  # words kept of these records
    undone: i8  # words that the steps of the window changed
    events: i8  # events of the steps of the window, a word each
    overflow: i8  # 1: there was no room for an entry
    access_capacity: i8  # entries of Access
    twin_capacity: i8  # words
    undo_capacity: i8  # entries of Undo
    event_capacity: i8  # words
    table_address: i8  # of JournaledRecords, by number of the table
    access_address: i8  # of the entries of Access
    twin_address: i8  # of the words kept
    undo_address: i8  # of the entries of Undo
    event_address: i8  # of the words of events


class JournaledRecords(Record):
    """A journaled table."""

    base: i8  # address of the table
    words: i8  # 64-bit words of a record
    stamps: i8  # address of a word per record: the step that touched it last
    policies: i8  # address of a word per word of a record: how it is merged
    length: i8  # records of the table
    writers: i8  # address of a word per record: which core changed it last, and in which window


class Access(Record):
    """A record that a step touched."""

    table: i8  # number of its table
    index: i8  # its index in the table
    twin: i8  # position among the words kept: what it held before the step


class Undo(Record):
    """A word that a step changed."""

    address: i8  # of the word
    value: i8  # what the word held before


class Word(Record):
    """Any 64 bits."""

    value: i8  # the bits as a signed number


journal_at: Any = record_accessor(Journal.dtype)
journaled_at: Any = record_accessor(JournaledRecords.dtype)
access_at: Any = record_accessor(Access.dtype)
undo_at: Any = record_accessor(Undo.dtype)
word_at: Any = record_accessor(Word.dtype)


@compiled
def _note(journal, table, index):
    """Note that the current step touches record `index` of a table, and keep what it holds, once per step."""
    entry = journal_at(journal, 0)
    journaled = journaled_at(entry.table_address, table)
    if index < 0 or index >= journaled.length:
        return  # an accessor was called with an index that means "none"
    stamp = word_at(journaled.stamps, index)
    if stamp.value != entry.step:
        stamp.value = entry.step
        _keep(entry, journaled, table, index)


@compiled
def _keep(entry, journaled, table, index):
    if entry.accesses >= entry.access_capacity or entry.twin_words + journaled.words > entry.twin_capacity:
        entry.overflow = 1
        return
    access = access_at(entry.access_address, entry.accesses)
    access.table = table
    access.index = index
    access.twin = entry.twin_words
    start = journaled.base + index * journaled.words * 8
    twin = entry.twin_address + entry.twin_words * 8
    for word in range(journaled.words):
        word_at(twin, word).value = word_at(start, word).value
    entry.twin_words += journaled.words
    entry.accesses += 1


@compiled
def save_word(journal, address, value):
    """Note what the word at `address` held before the current step changed it."""
    entry = journal_at(journal, 0)
    if entry.undone >= entry.undo_capacity:
        entry.overflow = 1
        return
    undo = undo_at(entry.undo_address, entry.undone)
    undo.address = address
    undo.value = value
    entry.undone += 1


@compiled
def _save_words(journal, address, size_bytes):
    """Note what `size_bytes` (whole words) from `address` on hold before the current step changes them."""
    for word in range(size_bytes // 8):
        save_word(journal, address + word * 8, word_at(address, word).value)


@compiled
def undo_to(journal, mark):
    """Undo all noted changes but the first `mark`."""
    entry = journal_at(journal, 0)
    while entry.undone > mark:
        entry.undone -= 1
        undo = undo_at(entry.undo_address, entry.undone)
        word_at(undo.address, 0).value = undo.value


@compiled
def add_event(journal, event):
    """Note an event, a word that goes to every other core."""
    entry = journal_at(journal, 0)
    if entry.events >= entry.event_capacity:
        entry.overflow = 1
        return
    word_at(entry.event_address, entry.events).value = event
    entry.events += 1


def _ignore(journal: int, first: int, second: int) -> None:
    """Note nothing. The journal of a state that is being built calls this."""


def _interpreted_call(function: Any, field: str) -> Any:
    """Return ``call(journal, first, second)`` of a function, which does nothing unless the journal's `field` is set."""

    def call(journal: int, first: int, second: int) -> None:
        if journal and getattr(journal_at(journal, 0), field) != 0:
            function(journal, first, second)

    return call


def emit_call(builder: Any, field: str, arguments: Any) -> None:
    """Generate the call of the function whose address the journal, the first of three arguments, holds in `field`."""
    word = ir.IntType(64)
    fields: Any = Journal.dtype.fields
    offset = ir.Constant(word, fields[field][1])
    place = builder.inttoptr(builder.add(arguments[0], offset), word.as_pointer())
    kind = ir.FunctionType(ir.VoidType(), [word, word, word])
    builder.call(builder.inttoptr(builder.load(place), kind.as_pointer()), arguments)


def _call_through(field: str) -> Any:
    """Return ``call(journal, first, second)`` of the function whose address the journal holds in `field`.

    If they were called directly, the compiler would copy these functions to each of the many lines that touch a record, and take
    minutes.
    """

    def call(typingctx: Any, journal: Any, first: Any, second: Any) -> Any:
        def codegen(context, builder, signature, arguments):
            emit_call(builder, field, arguments)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), codegen

    return extending.intrinsic(call)


_SIGNATURE = types.void(types.int64, types.int64, types.int64)
note: Any
save_words: Any
if numba.config.DISABLE_JIT:  # pyright: ignore[reportAttributeAccessIssue]
    note, save_words = _interpreted_call(_note, "note_function"), _interpreted_call(_save_words, "save_function")
else:
    note, save_words = _call_through("note_function"), _call_through("save_function")


def attach_functions(journal: np.ndarray, *, building: bool = False) -> None:
    """Fill in the addresses of the functions that note and save, or, while a state is built, of one that does nothing.

    In interpreted code 1 stands for these addresses, and 0 for that one.
    """
    for field, function in (("note_function", _note), ("save_function", _save_words)):
        if numba.config.DISABLE_JIT:  # pyright: ignore[reportAttributeAccessIssue]
            journal[field] = not building
            continue
        journal[field] = _callback_of(_ignore if building else function.py_func).address


@cache
def _callback_of(function: Any) -> Any:
    return compiled_callback(_SIGNATURE, function)


BUILDING = allocate(Journal.dtype, 1)
"""The journal of a state that is being built."""
