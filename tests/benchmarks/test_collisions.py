"""What cuts windows, on steps written by hand."""

from benchmarks.collisions import Counts, Step, causes_of
from netstack.jit.tables import JOURNALED
from netstack.sim.engine.windows import messages as codec
from netstack.sim.engine.windows.merge import CORE_NEXT_TIME


def record(table: str, index: int) -> int:
    return JOURNALED[table].number << codec.INDEX_BITS | index


def word(table: str, field: str, index: int) -> int:
    return codec.field_mark(table, field) << codec.INDEX_BITS | index


LOCK, QUEUE = record("lock_table", 3), record("queue_table", 1)
OWNER, COUNT = word("lock_table", "owner", 3), word("queue_table", "count", 1)
NEXT_TIME = CORE_NEXT_TIME << codec.INDEX_BITS


def test_a_core_collides_with_what_another_changed_before_it_and_with_nothing_of_its_own() -> None:
    steps = [
        Step(10, 0, 0, [LOCK], [(OWNER, 7)]),
        Step(11, 0, 0, [LOCK], [(OWNER, -1)]),
        Step(12, 1, 1, [QUEUE], [(COUNT, 1)]),
        Step(13, 1, 1, [LOCK, QUEUE], []),
        Step(14, 0, 0, [QUEUE], []),
    ]
    assert causes_of(steps, 2) == [set(), set(), set(), {"lock"}, {"queue"}]


def test_reading_and_counting_collide_with_nothing() -> None:
    counter = word("lock_class_table", "waited", 0)
    steps = [
        Step(10, 0, 0, [LOCK, record("lock_class_table", 0)], [(counter, 1)]),
        Step(11, 1, 1, [LOCK, record("lock_class_table", 0)], [(counter, 1)]),
    ]
    assert causes_of(steps, 2) == [set(), set()]


def test_what_comes_after_an_interrupt_of_another_core_collides() -> None:
    """Core 0 lets core 1 act at 20: steps at 20 still hold, later ones do not. What core 1 sets for itself lets nobody wait."""
    steps = [
        Step(10, 0, 0, [], [(NEXT_TIME | 1, 20)]),
        Step(11, 1, 1, [], [(NEXT_TIME | 1, 12)]),
        Step(20, 1, 1, [], []),
        Step(21, 1, 1, [], []),
    ]
    assert causes_of(steps, 2) == [set(), set(), set(), {"interrupt"}]


def test_steps_hold_up_to_the_first_collision() -> None:
    counts = Counts()
    counts.add([set(), {"queue"}, set(), {"thread"}])
    counts.add([set(), {"queue", "nic"}])
    counts.add([set()])
    assert (counts.rounds, counts.whole, counts.whole_but_messages, counts.steps, counts.held) == (3, 1, 2, 7, 3)
    assert counts.causes == {"queue": 2, "thread": 1, "nic": 1}
