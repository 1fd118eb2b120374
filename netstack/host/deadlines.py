"""When each of many objects must act next, the earliest first, at a cost that does not grow with those that wait.

Knows no clock, and of an object only what `Waiter` names.
"""

import heapq
from itertools import count
from typing import Any, Generic, Protocol, TypeVar


class Waiter(Protocol):
    """An object that may have a deadline."""

    deadline_us: int
    """0 is never."""
    timer: list[Any] | None
    """Its only entry in the heap, at or before its deadline; None if it has none."""


W = TypeVar("W", bound=Waiter)
SLACK_ENTRIES = 64
"""So many entries of nobody may stand in the heap, and beyond them as many as entries of somebody."""
WAITER = 2


class Deadlines(Generic[W]):
    """Deadlines of objects. A later deadline costs nothing until the earlier one has come; nobody is held after `forget`."""

    def __init__(self) -> None:
        self._heap: list[list[Any]] = []  # deadline, order of arrival, and the object, or None if the entry is void
        self._void = 0
        self._order = count()

    def __len__(self) -> int:
        """Return how many entries are kept, the void ones included."""
        return len(self._heap)

    def schedule(self, waiter: W, deadline_us: int) -> None:
        """Replace an object's deadline; 0 is never."""
        waiter.deadline_us = deadline_us
        timer = waiter.timer
        if deadline_us and (timer is None or deadline_us < timer[0]):
            if timer is not None:
                self._cancel(timer)
            waiter.timer = timer = [deadline_us, next(self._order), waiter]
            heapq.heappush(self._heap, timer)

    def forget(self, waiter: W) -> None:
        """Let go of an object."""
        waiter.deadline_us = 0
        if waiter.timer is not None:
            self._cancel(waiter.timer)
            waiter.timer = None

    def earliest_us(self) -> int | None:
        """Return the earliest deadline, None if there is none."""
        heap = self._heap
        while heap:
            deadline_us, _, waiter = heap[0]
            if waiter is not None and deadline_us == waiter.deadline_us:
                return deadline_us
            heapq.heappop(heap)
            if waiter is None:
                self._void -= 1
            else:
                waiter.timer = None
                self.schedule(waiter, waiter.deadline_us)
        return None

    def take_due(self, now_us: int) -> W | None:
        """Return the object whose deadline is the earliest if that has come, and forget the deadline; else None."""
        earliest_us = self.earliest_us()
        if earliest_us is None or earliest_us > now_us:
            return None
        waiter = heapq.heappop(self._heap)[WAITER]
        waiter.timer = None
        waiter.deadline_us = 0
        return waiter

    def _cancel(self, timer: list[Any]) -> None:
        timer[WAITER] = None
        self._void += 1
        if self._void > len(self._heap) // 2 + SLACK_ENTRIES:
            self._heap = [entry for entry in self._heap if entry[WAITER] is not None]
            heapq.heapify(self._heap)
            self._void = 0
