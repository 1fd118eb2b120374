"""Some cores of every point of a batch, which go from window to window together, and the arrays that their messages travel in.

An array has parts: first where each begins and where the last one ends, then the words of all. A part is a core's message of a
window, empty when its simulation is over. Knows nothing of who carries the arrays.
"""

from collections.abc import Sequence

import numpy as np

from netstack.jit.compilation import compiled
from netstack.jit.records import Record, allocate, i8, record_accessor
from netstack.sim.config import SimulationConfig
from netstack.sim.engine.windows.core import MAX_STEPS, WindowedCore, step_core
from netstack.sim.engine.windows.messages import HEAD_WORDS

ROOM_WORDS = 1 << 18  # for the message of a core
STEPPED, PAUSED, FULL, NO_ROOM = range(4)
"""Why `step_cores` came back: all cores have stepped; one must pause first; its journal is full; the array has no room left."""


class Seat(Record):
    """What is known of a core from one window to the next."""

    machine: i8  # address of the record of its machine
    stack: i8  # address of the record of its stack
    sections: i8  # address of what it knows of kernel-wide sections
    core: i8  # its number
    first: i8  # the part of its point's core 0 in the array of all
    used: i8  # cores of its point
    window: i8  # number of the last window
    window_cycles: i8  # how long a window is
    until: i8  # when the simulation pauses next, in cycles
    rested: i8  # 1: it has paused since the last window
    over: i8  # 1: it takes no more steps


seat_at = record_accessor(Seat.dtype)


@compiled(nogil=True)
def step_cores(seats, first, count, parts, marks, order, own):
    """Let cores from `first` on finish their last window and run the next one, one after the other.

    Args:
        seats: Address of the seats.
        first: The seat to begin with.
        count: How many seats there are.
        parts: The messages of all cores of all points.
        marks: By seat, see `merge`.
        order: See `merge`.
        own: Gets the messages of these cores.

    Returns:
        The first core that did not step, and why.
    """
    for index in range(first, count):
        seat = seat_at(seats, index)
        start = own[index]
        own[index + 1] = start
        starts = parts[seat.first : seat.first + seat.used + 1]
        if seat.rested == 0 and seat.over == 0 and seat.window > 0 and starts[seat.used] - starts[0] == HEAD_WORDS * seat.used:
            return index, PAUSED
        if seat.over != 0:
            continue
        if len(own) - start < ROOM_WORDS:
            return index, NO_ROOM
        seat.rested = 0
        seat.window += 1
        used = step_core(
            seat.machine,
            seat.stack,
            seat.core,
            parts,
            starts,
            seat.window,
            seat.window_cycles,
            seat.until,
            marks[index],
            order,
            seat.sections,
            own[start:],
        )
        if used < 0:
            return index, FULL
        own[index + 1] = start + used
    return count, STEPPED


@compiled
def _gather(arrays, offsets, shares, points, gathered):
    """Fill `gathered` with the parts of several arrays, which follow each other in one: point by point, core by core."""
    part = 0
    end = points * shares.sum() + 1
    for point in range(points):
        for member in range(len(shares)):
            offset = offsets[member]
            for own in range(point * shares[member], (point + 1) * shares[member]):
                gathered[part] = end
                start = arrays[offset + own]
                words = arrays[offset + own + 1] - start
                for word in range(words):
                    gathered[end + word] = arrays[offset + start + word]
                end += words
                part += 1
    gathered[part] = end
    return end


def gather(arrays: Sequence[np.ndarray], points: int, shares: Sequence[int]) -> np.ndarray:
    """Return the parts of all cores in one array: those of the first point by core, then those of the second one.

    Args:
        arrays: The first has so many cores of each point as `shares` says, the second the next ones, and so on.
        points: How many points there are.
        shares: How many cores each array is of.
    """
    lengths = [len(array) for array in arrays]
    gathered = np.empty(sum(lengths), np.int64)
    offsets = np.cumsum([0, *lengths[:-1]])
    end = _gather(np.concatenate(arrays), offsets, np.array(shares), points, gathered)
    return gathered[:end]


def no_messages(cores: int) -> np.ndarray:
    """Return what all cores of all points get in the first round: an array of empty parts."""
    return np.full(cores + 1, cores + 1, np.int64)


def are_over(parts: np.ndarray) -> bool:
    """Return whether all parts of an array are empty: before the first round, and after the last."""
    return len(parts) == parts[0]


class Lockstep:
    """Some cores of every point of a batch.

    Args:
        configs: The points.
        numbers: Which cores; a point that has fewer has less of them here, or none.
        width: How many cores of each point are in the arrays, here and elsewhere. Some may be none.

    Attributes:
        points: The cores, by point.
    """

    def __init__(self, configs: Sequence[SimulationConfig], numbers: Sequence[int], width: int) -> None:
        self._cores = [
            WindowedCore(config, number) if number < config.cores_used else None for config in configs for number in numbers
        ]
        count = len(numbers)
        self.points = [
            [core for core in self._cores[point * count : (point + 1) * count] if core is not None]
            for point in range(len(configs))
        ]
        self._seats = allocate(Seat.dtype, len(self._cores))
        for index, core in enumerate(self._cores):
            if core is None:
                self._seats[index]["over"] = 1
                continue
            point = index // count
            tables = core.simulation.machine_table, core.simulation.stack_table, core.sections
            addresses = [table.ctypes.data for table in tables]
            used = configs[point].cores_used
            self._seats[index] = (
                *addresses,
                core.core,
                point * width,
                used,
                0,
                core.window_cycles,
                core.next_pause_cycles,
                0,
                0,
            )
        self._marks = np.zeros((len(self._cores), MAX_STEPS + 1), np.int64)
        self._order = np.zeros(2 * MAX_STEPS * width, np.int64)
        self._buffers = [np.zeros(len(self._cores) + 1 + 2 * ROOM_WORDS, np.int64) for _ in range(2)]

    def round(self, parts: np.ndarray) -> np.ndarray:
        """Finish the last window by the messages of all cores, and run the next one; return the messages of these cores.

        A point of which no core has done a step pauses. It is over when its messages are empty. The array that is returned is
        valid for two rounds.

        Args:
            parts: The messages of all cores, point by point.

        Raises:
            RuntimeError: A window has more entries than its journal has room for.
        """
        self._buffers.reverse()
        own = self._buffers[0]
        count = len(self._cores)
        own[0] = count + 1
        index, why = 0, NO_ROOM
        while why != STEPPED:
            index, why = step_cores(self._seats.ctypes.data, index, count, parts, self._marks, self._order, own)
            if why == FULL:
                raise RuntimeError("a window's journal is full: choose a smaller engine.window_us")
            if why == NO_ROOM:
                own = self._buffers[0] = np.concatenate([own, np.zeros_like(own)])
            elif why == PAUSED:
                self._pause(index)
        return own[: own[count]]

    def _pause(self, index: int) -> None:
        core, seat = self._cores[index], self._seats[index]
        assert core is not None
        core.pause()
        seat["rested"], seat["over"], seat["until"] = 1, core.is_over, core.next_pause_cycles
