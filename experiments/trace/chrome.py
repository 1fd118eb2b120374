"""Writes a recording as a trace-event file: cores and cards as tracks, operations as slices, and arrows between them.

Knows records, not how they were recorded. Source of the format: Trace Event Format (Google), JSON object format.
"""

import json
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from netstack.sim import Recording
from netstack.sim.machine.numbers import Category, LockClass, Operation, Recorded

CORES, CARDS = 1, 2
"""Numbers of the processes in the file."""
DIGITS = 6  # of a time in microseconds: a cycle is some 0.0005
Event = dict[str, Any]


def write_trace(path: Path, recording: Recording, about: Mapping[str, object]) -> None:
    """Write a recording. `about` is what it is of, and goes into the file."""
    events = [*_names(recording), *sorted(_slices(recording), key=_order), *_arrows(recording)]
    data = {"traceEvents": events, "displayTimeUnit": "ns", "otherData": {**about, **_facts(recording)}}
    path.write_text(json.dumps(data, separators=(",", ":")), encoding="utf-8")


def _facts(recording: Recording) -> dict[str, object]:
    return {
        "clock_mhz": recording.clock_mhz,
        "from_us": _us(recording, recording.start),
        "to_us": _us(recording, recording.end),
        "cut_off": recording.is_cut_off,
        "clock": "simulated time",
    }


def _us(recording: Recording, cycles: int) -> float:
    return round(int(cycles) / recording.clock_mhz, DIGITS)


def _order(event: Event) -> tuple[int, int, float, float]:
    """Return what sorts slices by track and time, the outer ones first."""
    return event["pid"], event["tid"], event["ts"], -event["dur"]


def _names(recording: Recording) -> Iterator[Event]:
    """Yield the names of the tracks."""
    tracks = [(CORES, core, f"core {core}") for core in range(recording.cores)]
    for card in range(recording.cards):
        tracks += [(CARDS, 2 * card, f"card {card}: masked"), (CARDS, 2 * card + 1, f"card {card}: link out")]
    for number, name in ((CORES, "cores"), (CARDS, "cards")):
        yield {"ph": "M", "name": "process_name", "pid": number, "tid": 0, "args": {"name": name}}
    for process, track, name in tracks:
        yield {"ph": "M", "name": "thread_name", "pid": process, "tid": track, "args": {"name": name}}
        yield {"ph": "M", "name": "thread_sort_index", "pid": process, "tid": track, "args": {"sort_index": track}}


def _slices(recording: Recording) -> Iterator[Event]:
    """Yield what takes time: threads, with operations and waits inside; what masks cards, and frames on their links."""
    running = dict(recording.running)  # when a core's thread began, by core
    masked = dict.fromkeys(range(recording.cards), recording.start)
    for record in recording.records:
        kind, core, time = Recorded(record["kind"]), int(record["core"]), int(record["time"])
        if kind in _MADE:
            yield from _MADE[kind](recording, record)
        elif kind == Recorded.RUN:
            running[core] = (int(record["subject"]), time)
        elif kind == Recorded.STOP and core in running:
            yield _thread(recording, core, *running.pop(core), time)
        elif kind == Recorded.INTERRUPT:
            masked[int(record["subject"])] = time
        elif kind == Recorded.UNMASK and int(record["subject"]) in masked:
            card = int(record["subject"])
            begin = masked.pop(card)
            if time > begin > recording.start:  # before, it is not known whether it was masked
                yield _slice(recording, (CARDS, 2 * card), "masked", "card", begin, time - begin, {})
    ends = {core: max(recording.end, int(clock)) for core, clock in enumerate(recording.clocks)}
    for core, (thread, begin) in running.items():
        yield _thread(recording, core, thread, begin, ends[core])


def _slice(
    recording: Recording, track: tuple[int, int], name: str, category: str, time: int, cycles: int, args: Mapping[str, object]
) -> Event:
    begin = _us(recording, time)
    process, number = track
    return {
        "ph": "X",
        "name": name,
        "cat": category,
        "pid": process,
        "tid": number,
        "ts": begin,
        "dur": round(_us(recording, time + cycles) - begin, DIGITS),
        "args": {"cycles": int(cycles), **args},
    }


def _thread(recording: Recording, core: int, thread: int, begin: int, end: int) -> Event:
    return _slice(recording, (CORES, core), recording.threads[thread], "thread", begin, end - begin, {})


def _operation(recording: Recording, record: Any) -> Iterator[Event]:
    """Yield an operation, with its locked instructions and stalls inside. Those of the scheduler are its own."""
    number, time, track = Operation(record["subject"]), int(record["time"]), (CORES, int(record["core"]))
    work, atomic, stall = (int(record[name]) for name in ("cycles", "atomic", "stall"))
    category = recording.categories[number]
    args: dict[str, object] = {"instructions": work, "locked": atomic, "stall": stall}
    if number in recording.of_connections:
        args |= {"connection": int(record["connection"]), "mbuf": int(record["mbuf"])}
    yield _slice(recording, track, number.key, category.key, time, work + atomic + stall, args)
    if category == Category.SCHEDULING:
        return
    for name, kind, begin, cycles in (
        ("locked instructions", Category.LOCK_ATOMIC, time + work, atomic),
        ("stall", Category.CACHE_STALL, time + work + atomic, stall),
    ):
        if cycles > 0:
            yield _slice(recording, track, name, kind.key, begin, cycles, {})


def _passed(recording: Recording, record: Any) -> Iterator[Event]:
    """Yield time that belongs to a category as a whole: idle, spinning, polling, computing, or a single line."""
    category = Category(record["subject"])
    name = {Category.CACHE_STALL: "line", Category.APPLICATION: "service", Category.LOCK_SPIN: "spin"}.get(category, category.key)
    args = {"lock": int(record["other"])} if category == Category.LOCK_SPIN else {}
    yield _slice(recording, (CORES, int(record["core"])), name, category.key, int(record["time"]), int(record["cycles"]), args)


def _wait(recording: Recording, record: Any) -> Iterator[Event]:
    """Yield the wait for a critical section. That for the run queue is scheduling."""
    number = int(record["subject"])
    category = Category.SCHEDULING if number == LockClass.RUN_QUEUE else Category.LOCK_SPIN
    name = f"wait: {recording.lock_classes[number]}"
    yield _slice(recording, (CORES, int(record["core"])), name, category.key, int(record["time"]), int(record["cycles"]), {})


def _frame(recording: Recording, record: Any) -> Iterator[Event]:
    track = (CARDS, 2 * int(record["subject"]) + 1)
    yield _slice(recording, track, "frame", "frame", int(record["time"]), int(record["cycles"]), {"bytes": int(record["other"])})


_MADE = {Recorded.OPERATION: _operation, Recorded.PASSED: _passed, Recorded.WAIT: _wait, Recorded.FRAME: _frame}


def _arrows(recording: Recording) -> Iterator[Event]:
    """Yield pairs of events from where something begins to where it is taken up: in order of their ends."""
    woken: dict[int, tuple[str, tuple[int, int], int]] = {}
    handed: dict[int, tuple[str, tuple[int, int], int]] = {}
    sent: dict[int, deque[tuple[str, tuple[int, int], int]]] = defaultdict(deque)
    number = 0
    for record in recording.records:
        kind, time, subject = Recorded(record["kind"]), int(record["time"]), int(record["subject"])
        track = (CORES, int(record["core"]))
        begin = None
        if kind == Recorded.WAKE:
            woken[subject] = ("wake-up", track, time)
        elif kind == Recorded.INTERRUPT:
            woken[int(record["other"])] = ("interrupt", (CARDS, 2 * subject), time)
        elif kind == Recorded.RUN:
            begin = woken.pop(subject, None)
        elif kind == Recorded.SENT:
            handed[subject] = ("hand-off", track, time - 1)  # within what sent it
        elif kind == Recorded.TAKEN:
            begin = handed.pop(subject, None)
        elif kind == Recorded.IPI:
            sent[subject].append(("IPI", track, time))
        elif kind == Recorded.OPERATION and subject == Operation.IPI_RECEIVE and sent[track[1]]:
            begin = sent[track[1]].popleft()
        elif kind == Recorded.GRANT:
            begin = ("lock", (CORES, int(record["other"])), time - 1)  # within the release
        if begin is not None:
            number += 1
            yield from _arrow(recording, number, *begin, track, time)


def _arrow(
    recording: Recording, number: int, name: str, source: tuple[int, int], begin: int, target: tuple[int, int], end: int
) -> Iterator[Event]:
    """Yield both ends of an arrow. One that would lead back in time, between the clocks of two cores, ends where it begins."""
    for phase, (process, track), time in (("s", source, begin), ("f", target, max(begin, end))):
        event = {"ph": phase, "id": number, "name": name, "cat": "flow", "pid": process, "tid": track, "ts": _us(recording, time)}
        yield {**event, "bp": "e"} if phase == "f" else event
