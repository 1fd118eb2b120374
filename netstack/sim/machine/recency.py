"""The order in which the ways of a cache set were last used, as sixteen nibbles of one 64-bit word.

The lowest nibble is the way used last. The highest nibble in use is the way that is replaced next. This is exact LRU without time
stamps and without a search. Knows no lines.
"""

from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from netstack.jit.compilation import compiled

MAX_WAYS = 16
_BITS = 4  # of a nibble
_LOWEST_BITS = 0x1111111111111111
_HIGHEST_BITS = np.int64(-0x7777777777777778)  # the top bit of each nibble


def _interpreted_trailing_zeros(word: Any) -> int:
    word = int(word) & 0xFFFFFFFFFFFFFFFF
    return (word & -word).bit_length() - 1


def _compiled_trailing_zeros(typingctx: Any, word: Any) -> Any:
    def codegen(context, builder, signature, arguments):
        return builder.cttz(arguments[0], context.get_constant(types.boolean, True))

    return types.int64(types.int64), codegen


_interpreted = numba.config.DISABLE_JIT  # pyright: ignore[reportAttributeAccessIssue]
trailing_zeros: Any = _interpreted_trailing_zeros if _interpreted else intrinsic(_compiled_trailing_zeros)
"""Return the number of the lowest bit that is set; of 0 it is undefined."""


def initial_order(ways: int) -> int:
    """Return the order of an empty set: way 0 is filled first."""
    word = sum((ways - 1 - position) << (_BITS * position) for position in range(ways))
    return word - (1 << 64) if word >> 63 else word


@compiled
def _shift_of(order, way):
    """Return the lowest bit of the nibble that holds `way`: the first nibble that is zero after an XOR of all with `way`."""
    difference = order ^ (np.int64(way) * _LOWEST_BITS)
    zeros = (difference - _LOWEST_BITS) & ~difference & _HIGHEST_BITS
    return trailing_zeros(zeros) - (_BITS - 1)


@compiled
def next_victim(order, ways):
    """Return the way to be filled next: an empty one if there is one, else the least recently used one."""
    return (order >> (_BITS * (ways - 1))) & 15


@compiled
def used(order, way):
    """Return the order after a use of `way`."""
    below = (np.int64(1) << _shift_of(order, way)) - 1
    above = ~((below << _BITS) | 15)
    return (order & above) | ((order & below) << _BITS) | way


@compiled
def filled(order, ways):
    """Return the order after a use of the next victim."""
    last = _BITS * (ways - 1)
    return ((order & ((np.int64(1) << last) - 1)) << _BITS) | ((order >> last) & 15)


@compiled
def emptied(order, way, ways):
    """Return the order after `way` lost its line: the way is the next victim."""
    below = (np.int64(1) << _shift_of(order, way)) - 1
    last = _BITS * (ways - 1)
    others = (order & below) | ((order >> _BITS) & ~below)
    return (others & ((np.int64(1) << last) - 1)) | (np.int64(way) << last)
