"""Tables of structured records that compiled code reaches through one address.

Passing many arrays to compiled functions is slow to compile and slow to run. A simulation's state is therefore one record of
scalars and table addresses. An accessor built here turns (address, index) into a record reference. Knows nothing of what the
records mean.
"""

import ctypes
import mmap
import os
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, ClassVar, TypeAlias, get_args, get_origin, get_type_hints

import numba
import numpy as np
from numba import extending, types

i1: TypeAlias = np.int8
i4: TypeAlias = np.int32
i8: TypeAlias = np.int64
u1: TypeAlias = np.uint8
u2: TypeAlias = np.uint16
u4: TypeAlias = np.uint32

_HOST_LINE_BYTES = 64
CHECKS = os.environ.get("NETSTACK_CHECK") == "1"
"""Whether interpreted code (``NUMBA_DISABLE_JIT=1``) checks that each record it reaches lies in its table."""
_tables: list[tuple[int, int]] = []
"""Where tables begin and end, in order."""
_intrinsic: Any = extending.intrinsic  # Any: its declared type keeps the typing context among the arguments


class Record:
    """The layout of a record, declared as a class of annotated fields: integers, records, or rows of integers.

    A row is ``Annotated[i8, length]``. `dtype` is the layout, with the fields in the order of their declaration, aligned as a C
    compiler would. Nobody makes an instance: tables of records are NumPy arrays.
    """

    dtype: ClassVar[np.dtype]

    def __init_subclass__(cls) -> None:
        hints = get_type_hints(cls, include_extras=True)
        cls.dtype = np.dtype([_field(name, hints[name]) for name in cls.__annotations__], align=True)


def _field(name: str, kind: Any) -> tuple:
    """Return one field of a layout as NumPy writes it."""
    if get_origin(kind) is Annotated:
        item, length = get_args(kind)
        return (name, item, (length,))
    return (name, kind.dtype if issubclass(kind, Record) else kind)


def allocate(dtype: np.dtype, length: int, *, sparse: bool = False) -> np.ndarray:
    """Return a zeroed table of `length` records, at least one. It begins where a line of the host's caches does.

    What was never written of it takes no memory. Of a `sparse` table that is most: it has small pages, so that a record that is
    written takes one of these.
    """
    size = max(length, 1) * dtype.itemsize
    room = size + 2 * _HOST_LINE_BYTES
    memory = _small_pages(room) if sparse else np.zeros(room, np.uint8)
    start = -memory.ctypes.data % _HOST_LINE_BYTES
    if CHECKS:
        _note_table(memory.ctypes.data + start, size)
    return memory[start : start + size].view(dtype)


def _small_pages(size: int) -> np.ndarray:
    """Return zeroed bytes on pages of the smallest size, where the system lets one choose."""
    if not hasattr(mmap, "MADV_NOHUGEPAGE"):
        return np.zeros(size, np.uint8)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # the kernel has small ones only
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, np.uint8)


def _note_table(start: int, size: int) -> None:
    """Keep where a table is, in place of freed ones whose memory it has."""
    first = bisect_left(_tables, (start,))
    first -= first > 0 and _tables[first - 1][1] > start
    last = bisect_left(_tables, (start + size,))
    _tables[first:last] = [(start, start + size)]


def check_inside(address: int, offset: int, size: int) -> None:
    """Raise IndexError unless `size` bytes, `offset` behind an address, lie in the table that the address is in."""
    position = bisect_right(_tables, (address, sys.maxsize)) - 1
    start, end = _tables[position] if position >= 0 else (0, 0)
    if not (start <= address < end and start <= address + offset and address + offset + size <= end):
        raise IndexError(f"{size} bytes at {address + offset:#x} are not in the table that {address:#x} is in")


class InterpretedRecord:
    """A reference to a record for interpreted code. Integers are read as 64 bits wide: compiled code computes with these."""

    __slots__ = ("_record",)

    def __init__(self, record: np.void) -> None:
        object.__setattr__(self, "_record", record)

    def __getattr__(self, name: str) -> Any:
        value = self._record[name]
        if isinstance(value, np.void):
            return InterpretedRecord(value)
        return value if isinstance(value, np.ndarray) else np.int64(value)

    def __setattr__(self, name: str, value: Any) -> None:
        self._record[name] = value


def interpreted_has_field(record: Any, name: str) -> bool:
    """Return whether a record that interpreted code has got, from an accessor or from its table, has a field."""
    return name in (record._record if isinstance(record, InterpretedRecord) else record).dtype.names


def record_accessor(dtype: np.dtype) -> Callable[[Any, Any], Any]:
    """Return ``at(address, index)`` giving a reference to record `index` of the table at `address`.

    The caller keeps the table alive. As in C, there is no bounds check. The accessor works in interpreted code too
    (``NUMBA_DISABLE_JIT=1``), and there checks bounds if `CHECKS` says so.
    """
    if numba.config.DISABLE_JIT:  # pyright: ignore[reportAttributeAccessIssue]

        def interpreted_at(address: int, index: int) -> Any:
            if CHECKS:
                check_inside(int(address), int(index) * dtype.itemsize, dtype.itemsize)
            memory: Any = (ctypes.c_char * dtype.itemsize).from_address(int(address) + int(index) * dtype.itemsize)
            return InterpretedRecord(np.frombuffer(memory, dtype)[0])

        return interpreted_at

    record_type = numba.from_dtype(dtype)

    @_intrinsic
    def at(typingctx: Any, address: Any, index: Any) -> Any:
        def codegen(context, builder, signature, arguments):
            return reference_to(context, builder, record_type, *arguments)

        return record_type(types.int64, types.int64), codegen

    return at


def reference_to(context: Any, builder: Any, record_type: Any, address: Any, index: Any) -> Any:
    """Return, in generated code, a reference to record `index` of the table at `address`."""
    offset = builder.mul(index, context.get_constant(types.int64, record_type.size))
    return builder.inttoptr(builder.add(address, offset), context.get_value_type(record_type))
