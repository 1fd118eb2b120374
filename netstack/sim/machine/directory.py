"""The directory: who may hold each cache line, who lost it to another's write, and whose copy is newer than memory.

A line's record is a few bits per core, so that few lines of the host hold it. Knows lines by number, and no caches: a record may
say that a core holds a line that it has evicted since.
"""

from netstack.jit.compilation import compiled
from netstack.jit.records import Record, record_accessor, u4
from netstack.sim.machine.recency import trailing_zeros

_CORE_BITS = 3
CORES_PER_WORD = 1 << _CORE_BITS
_LOST = CORES_PER_WORD  # where the bits of those that lost the line begin
_OWNER = 2 * CORES_PER_WORD  # where the owner's number begins, in the first word
_SHARERS = (1 << CORES_PER_WORD) - 1
_NOT_OWNER = (1 << _OWNER) - 1
_IN_WORD = CORES_PER_WORD - 1


class DirectoryWord(Record):
    """What the directory knows of one line and eight cores. A line has a word per eight cores, one after the other."""

    bits: u4  # from bit 0: who may hold it; who lost it to a write; in the first word 1 + the owner, 0 for none


WORD_BYTES = DirectoryWord.dtype.itemsize
_word_at = record_accessor(DirectoryWord.dtype)


def words_per_line(cores: int) -> int:
    """Return how many words a line has."""
    return -(-cores // CORES_PER_WORD)


@compiled
def line_address(machine, line):
    """Return the address of a line's record."""
    return machine.line_table + line * machine.line_words * WORD_BYTES


@compiled
def owner_of(address):
    """Return 1 + the core whose copy of a line is newer than memory, 0 for none. It may have evicted its copy since."""
    return _word_at(address, 0).bits >> _OWNER


@compiled
def set_owner(address, owner):
    """Note whose copy of a line is newer than memory: 1 + the core, 0 for none."""
    word = _word_at(address, 0)
    word.bits = (word.bits & _NOT_OWNER) | (owner << _OWNER)


@compiled
def is_sharer(address, core):
    """Return whether `core` may hold a line."""
    return (_word_at(address, core >> _CORE_BITS).bits >> (core & _IN_WORD)) & 1 != 0


@compiled
def has_sharers(machine, address):
    """Return whether any core may hold a line."""
    position = 0
    while position < machine.line_words:
        if _word_at(address, position).bits & _SHARERS != 0:
            return True
        position += 1
    return False


@compiled
def other_sharers(address, position, core):
    """Return the cores of word `position` that may hold a line beside `core`, one bit each; -1 for `core` excludes none."""
    sharers = _word_at(address, position).bits & _SHARERS
    mine = 1 << (core & _IN_WORD) if core >> _CORE_BITS == position else 0
    return sharers & ~mine


@compiled
def first_of(sharers, position):
    """Return the first core of a set of `other_sharers`."""
    return position * CORES_PER_WORD + trailing_zeros(sharers)


@compiled
def is_shared_beside(machine, address, core):
    """Return whether a core beside `core` may hold a line."""
    position = 0
    while position < machine.line_words:
        if other_sharers(address, position, core) != 0:
            return True
        position += 1
    return False


@compiled
def add_sharer(address, core):
    """Note that `core` holds a line, and has not lost it."""
    word = _word_at(address, core >> _CORE_BITS)
    bit = 1 << (core & _IN_WORD)
    word.bits = (word.bits | bit) & ~(bit << _LOST)


@compiled
def remove_sharer(address, core):
    """Note that `core` holds a line no more, and is not its owner."""
    word = _word_at(address, core >> _CORE_BITS)
    word.bits &= ~(1 << (core & _IN_WORD))
    if owner_of(address) == core + 1:
        set_owner(address, 0)


@compiled
def clear_sharers(machine, address):
    """Note that no core holds a line, and none is its owner."""
    _word_at(address, 0).bits &= _NOT_OWNER & ~_SHARERS
    for position in range(1, machine.line_words):
        _word_at(address, position).bits &= ~_SHARERS


@compiled
def set_only_sharer(machine, address, core):
    """Note that `core` is the only holder and owner of a line."""
    clear_sharers(machine, address)
    word = _word_at(address, core >> _CORE_BITS)
    word.bits |= 1 << (core & _IN_WORD)
    set_owner(address, core + 1)


@compiled
def set_lost(address, core):
    """Note that `core` lost a line to a write of another core or a device."""
    word = _word_at(address, core >> _CORE_BITS)
    word.bits |= 1 << (_LOST + (core & _IN_WORD))


@compiled
def has_lost(address, core):
    """Return whether `core` lost a line to a write since it last held it."""
    return (_word_at(address, core >> _CORE_BITS).bits >> (_LOST + (core & _IN_WORD))) & 1 != 0
