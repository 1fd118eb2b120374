"""Deadlines against a dictionary that is searched: the same objects expire at the same times, whatever came between."""

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from netstack.host.deadlines import SLACK_ENTRIES, Deadlines


@dataclass(eq=False)
class Waiter:
    name: int
    deadline_us: int = 0
    timer: list[Any] | None = None


@given(st.lists(st.tuples(st.sampled_from(["schedule", "forget", "take"]), st.integers(0, 5), st.integers(0, 30)), max_size=60))
def test_the_same_as_searching_all(calls: list[tuple[str, int, int]]) -> None:
    deadlines: Deadlines[Waiter] = Deadlines()
    waiters = [Waiter(name) for name in range(6)]
    expected: dict[int, int] = {}
    for call, name, time in calls:
        if call == "schedule":
            deadlines.schedule(waiters[name], time)
            expected[name] = time
        elif call == "forget":
            deadlines.forget(waiters[name])
            expected.pop(name, None)
        else:
            due = {one for one, deadline in expected.items() if 0 < deadline <= time}
            taken = []
            while (waiter := deadlines.take_due(time)) is not None:
                taken.append(waiter.name)
            assert sorted(taken) == sorted(due)
            assert [expected[one] for one in taken] == sorted(expected[one] for one in taken)
            for one in due:
                del expected[one]
        assert deadlines.earliest_us() == min((deadline for deadline in expected.values() if deadline), default=None)


def test_entries_do_not_pile_up() -> None:
    """A deadline that moves to the front and back again, and waiters that are forgotten, with one that stays before them."""
    deadlines: Deadlines[Waiter] = Deadlines()
    first = Waiter(0)
    deadlines.schedule(first, 1)
    for number in range(10_000):
        waiter = Waiter(number)
        deadlines.schedule(waiter, 1_000_000)
        deadlines.schedule(waiter, 500_000)
        deadlines.forget(waiter)
        assert len(deadlines) <= 2 * (SLACK_ENTRIES + 2)
    assert deadlines.earliest_us() == 1


def test_a_later_deadline_makes_no_entry() -> None:
    deadlines: Deadlines[Waiter] = Deadlines()
    waiter = Waiter(0)
    for time in range(1, 1000):
        deadlines.schedule(waiter, time)
    assert len(deadlines) == 1
    assert deadlines.take_due(998) is None
    assert deadlines.take_due(999) is waiter
