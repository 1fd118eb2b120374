"""The messages that the cores of a windowed simulation exchange at the end of a window, as words of 64 bits.

A message is a head, then the steps of a core in order. A step is a head, the records that it touched, the words that it changed,
and what it did with cache lines. Knows how these are written and read, not what they are used for.
"""

from typing import Any

from netstack.jit.compilation import compiled
from netstack.jit.journal import access_at, journal_at, journaled_at, save_word, word_at
from netstack.jit.tables import ADDED, JOURNALED, LOCAL_ONLY

HEAD_WORDS = 2
MESSAGE_WORDS, MESSAGE_STEPS = range(HEAD_WORDS)
"""The positions in the head of a message: how many words and how many steps it has."""
STEP_WORDS = 5
TIME, ACTOR, TOUCHED, CHANGED, TOLD = range(STEP_WORDS)
"""The positions in the head of a step: time, actor; how many touched records, changes (a word and its value) and events."""
INDEX_BITS, WORD_BITS = 40, 10
INDEX_MASK, WORD_MASK = (1 << INDEX_BITS) - 1, (1 << WORD_BITS) - 1


@compiled
def touched_record(table, index):
    """Return the mark of a record: its table's number and its index."""
    return table << INDEX_BITS | index


@compiled
def record_table(record):
    """Return the number of the table of a marked record."""
    return record >> INDEX_BITS


@compiled
def record_index(record):
    """Return the index of a marked record, or of the record of a marked word."""
    return record & INDEX_MASK


@compiled
def changed_word(table, word, index):
    """Return the mark of a word of a record: table, word and index."""
    return (table << WORD_BITS | word) << INDEX_BITS | index


@compiled
def word_table(place):
    """Return the number of the table of a marked word."""
    return place >> (INDEX_BITS + WORD_BITS)


@compiled
def word_number(place):
    """Return which word of its record a marked word is."""
    return (place >> INDEX_BITS) & WORD_MASK


@compiled
def word_field(place):
    """Return table and word of a marked word, as `field_mark` returns them."""
    return place >> INDEX_BITS


def field_mark(table: str, field: str) -> int:
    """Return table and word of a field, to be compared with `word_field`."""
    journaled = JOURNALED[table]
    fields: Any = journaled.dtype.fields
    return journaled.number << WORD_BITS | fields[field][1] // 8


@compiled
def is_before(messages, one, other):
    """Return whether a step comes before another: by time, at equal times by the order of actors."""
    if messages[one + TIME] != messages[other + TIME]:
        return messages[one + TIME] < messages[other + TIME]
    return messages[one + ACTOR] < messages[other + ACTOR]


@compiled
def records_of(step):
    """Return the position of the first record that a step touched."""
    return step + STEP_WORDS


@compiled
def changes_of(messages, step):
    """Return the position of a step's first change."""
    return records_of(step) + messages[step + TOUCHED]


@compiled
def events_of(messages, step):
    """Return the position of a step's first event."""
    return changes_of(messages, step) + 2 * messages[step + CHANGED]


@compiled
def step_behind(messages, step):
    """Return the position of the next step."""
    return events_of(messages, step) + messages[step + TOLD]


@compiled
def append_step(journal, time, actor, first_event, message, used):
    """Append what the last step did to a message of `used` words; return the words that it has now.

    If the message is full, the journal's `overflow` is set. Changes are noted in the journal: the step can be undone.
    """
    entry = journal_at(journal, 0)
    step = used
    used = records_of(step)
    if used + entry.accesses > len(message):
        entry.overflow = 1
        return step
    for position in range(entry.accesses):
        access = access_at(entry.access_address, position)
        message[used] = touched_record(access.table, access.index)
        used += 1
    changes = 0
    for position in range(entry.accesses):
        access = access_at(entry.access_address, position)
        table = journaled_at(entry.table_address, access.table)
        record = table.base + access.index * table.words * 8
        for word in range(table.words):
            old = word_at(entry.twin_address, access.twin + word).value
            new = word_at(record, word).value
            if new == old:
                continue
            save_word(journal, record + word * 8, old)
            policy = word_at(table.policies, word).value
            if policy == LOCAL_ONLY:
                continue
            if used + 2 + entry.events - first_event > len(message):
                entry.overflow = 1
                return step
            message[used] = changed_word(access.table, word, access.index)
            message[used + 1] = new - old if policy == ADDED else new
            used += 2
            changes += 1
    for position in range(first_event, entry.events):
        message[used] = word_at(entry.event_address, position).value
        used += 1
    message[step + TIME] = time
    message[step + ACTOR] = actor
    message[step + TOUCHED] = entry.accesses
    message[step + CHANGED] = changes
    message[step + TOLD] = entry.events - first_event
    return used
