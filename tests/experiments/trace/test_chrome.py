"""Trace files: their format, and their times against the accounting of the same point."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.points.names import name_points
from experiments.points.point import Point
from experiments.trace.chrome import CARDS, CORES, write_trace
from experiments.trace.files import TraceSettings, check_traces, write_traces
from netstack.errors import ConfigError
from netstack.sim import SimulationConfig, simulate, trace
from netstack.sim.build.build import build
from netstack.sim.engine.exact import run_until
from netstack.sim.machine.numbers import Category, Recorded
from netstack.sim.machine.state import TraceRecord
from tests.helpers.tables import is_same

Compose = Callable[..., SimulationConfig]
Event = dict[str, Any]
POINTS = {
    "msgp": ("org=msgp", "conns=24"),
    "connp_t": ("org=connp_t", "conns=24"),
    "dragonflybsd": ("org=dragonflybsd", "conns=24"),
    "solaris10": ("org=solaris10", "conns=24"),
    "polls": ("org=linux_busy_poll", "machine=epyc_7662", "costs=linux6", "workload=memcached", "conns=200", "org.cores=4"),
    "softirqs": ("org=linux_rps", "machine=epyc_7662", "costs=linux6", "workload=memcached", "conns=100", "org.cores=4"),
    "ticket locks": ("org=linux", "costs=linux26", "workload=web_short", "conns=24"),
    "free locks": ("org=msgp", "conns=24", "ideal=[locks]"),
}
WARMUP_MS, MEASURE_MS = 4.0, 1.0
ROUNDING_US = 2e-6


@pytest.fixture(scope="module", params=list(POINTS))
def traced(request, composed: Compose, tmp_path_factory) -> tuple[SimulationConfig, list[Event]]:
    """Return a point and the events of the trace of its measured interval."""
    config = composed(*POINTS[request.param], f"engine.warmup_ms={WARMUP_MS}", f"engine.measure_ms={MEASURE_MS}")
    path = tmp_path_factory.mktemp("trace") / "trace.json"
    write_trace(path, trace(config, WARMUP_MS, MEASURE_MS), {"point": request.param})
    return config, json.loads(path.read_text())["traceEvents"]


def tracks(events: list[Event]) -> dict[tuple[int, int], list[Event]]:
    """Return the slices of each track, the outer ones first."""
    found: dict[tuple[int, int], list[Event]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            found[event["pid"], event["tid"]].append(event)
    return {track: sorted(slices, key=lambda each: (each["ts"], -each["dur"])) for track, slices in found.items()}


def nested(slices: list[Event]) -> Iterator[tuple[Event, list[Event]]]:
    """Yield each slice with those around it, the innermost last. Fails where one begins inside of another and ends outside."""
    around: list[Event] = []
    for one in slices:
        while around and one["ts"] >= around[-1]["ts"] + around[-1]["dur"] - ROUNDING_US and one["dur"] > 0:
            around.pop()
        for outer in around:
            assert one["ts"] + one["dur"] <= outer["ts"] + outer["dur"] + ROUNDING_US, (one, outer)
        yield one, list(around)
        around.append(one)


def test_every_event_has_what_its_phase_needs(traced) -> None:
    """The fields that the Trace Event Format asks for: of metadata, complete events, and both ends of a flow."""
    _, events = traced
    kinds = Counter(event["ph"] for event in events)
    assert {"M", "X"} <= set(kinds) <= {"M", "X", "s", "f"}
    for event in events:
        assert isinstance(event["name"], str)
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name", "thread_sort_index")
            assert set(event["args"]) == {"name" if event["name"] != "thread_sort_index" else "sort_index"}
            continue
        assert isinstance(event["cat"], str)
        assert event["ts"] >= 0
        if event["ph"] == "X":
            assert event["dur"] >= 0
            assert event["args"]["cycles"] >= 0
        else:
            assert isinstance(event["id"], int)
            assert event.get("bp") == ("e" if event["ph"] == "f" else None)
    named = {(event["pid"], event["tid"]) for event in events if event["name"] == "thread_name"}
    assert set(tracks(events)) <= named


def test_slices_of_a_track_are_one_after_the_other_or_inside(traced) -> None:
    config, events = traced
    found = tracks(events)
    assert {track for process, track in found if process == CORES} == set(range(config.cores_used))
    for track, slices in found.items():
        for one, around in nested(slices):
            depth = [outer["cat"] == "thread" for outer in around]
            assert depth in ([], [True], [False], [True, False]), (track, one, around)


def test_each_arrow_has_one_begin_and_one_end_and_both_are_in_slices(traced) -> None:
    """Where applications poll for all there is nothing to point at."""
    config, events = traced
    begins, ends = ({event["id"]: event for event in events if event["ph"] == phase} for phase in "sf")
    assert begins.keys() == ends.keys()
    assert len(begins) == sum(event["ph"] == "s" for event in events) == sum(event["ph"] == "f" for event in events)
    assert len(begins) > 3 or config.org.drive == "poll"
    found = tracks(events)
    first = min(event["ts"] for event in events if event["ph"] == "X")
    for number, begin in begins.items():
        end = ends[number]
        assert (begin["name"], begin["cat"]) == (end["name"], end["cat"])
        assert begin["ts"] <= end["ts"]
        for event in (begin, end):
            if event["pid"] == CORES and event["ts"] > first + 100:
                inside = [
                    one
                    for one in found[event["pid"], event["tid"]]
                    if one["ts"] - ROUNDING_US <= event["ts"] <= one["ts"] + one["dur"] + ROUNDING_US
                ]
                assert inside, event


def test_times_by_category_are_those_that_the_point_counts(traced) -> None:
    """Of each core and category: the trace of the measured interval, and the result of the point, which was run on its own."""
    config, events = traced
    result = simulate(config)
    kilobytes = result.goodput_mbps * 1000 * result.simulated_ms / 8 / 1024
    for core in range(config.cores_used):
        counted = {name: cycles * kilobytes for name, cycles in result.core_cycles_per_kb[core].items() if cycles > 0}
        cycles: Counter[str] = Counter()
        durations: Counter[str] = Counter()
        for one, around in nested(tracks(events)[CORES, core]):
            if one["cat"] == "thread":
                continue
            cycles[one["cat"]] += one["args"]["cycles"]
            durations[one["cat"]] += one["dur"]
            if around and around[-1]["cat"] != "thread":  # is no time of what it is in
                cycles[around[-1]["cat"]] -= one["args"]["cycles"]
                durations[around[-1]["cat"]] -= one["dur"]
        found = {name: value for name, value in cycles.items() if value}
        assert found == pytest.approx(counted, rel=1e-9)
        spent = {name: durations[name] * config.machine.clock_mhz for name in found}
        assert spent == pytest.approx(counted, rel=1e-3, abs=2.0)


def test_what_is_recorded_changes_nothing(composed: Compose) -> None:
    """Tables and counters are equal after the same time, with and without a record."""
    config = composed("org=connp_t", "conns=24")
    plain, recorded = build(config), build(config)
    recorded.add(recorded.machine, "trace", TraceRecord.dtype, 100_000)
    recorded.machine["recording"], recorded.machine["trace_capacity"] = 1, 100_000
    for simulation in (plain, recorded):
        run_until(simulation.machine, simulation.stack, 3 * 2_200_000)
    assert 0 == plain.machine["trace_records"] < recorded.machine["trace_records"]
    for name in plain.tables:
        assert is_same(plain, recorded, name), name
    recorded_fields = ("recording", "trace_records", "trace_capacity", "trace_table")
    for name in (name for name in plain.machine.dtype.names if not name.endswith("_table") and name not in recorded_fields):
        assert plain.machine[name] == recorded.machine[name], name


def test_hand_offs_and_wake_ups_go_where_an_organization_sends_them(composed: Compose, tmp_path: Path) -> None:
    """connp_t hands each item to another thread; with locks, nothing is handed over, and waiters get locks from others."""
    names = {}
    for org in ("connp_t", "msgp"):
        write_trace(tmp_path / "trace.json", trace(composed(f"org={org}", "conns=24"), 4, 1), {})
        events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
        names[org] = Counter(event["name"] for event in events if event["ph"] == "s")
    assert set(names["connp_t"]) == {"hand-off", "wake-up", "IPI", "interrupt"}
    assert names["connp_t"]["hand-off"] > 100
    assert set(names["msgp"]) == {"lock", "wake-up", "IPI", "interrupt"}


def test_a_segment_leaves_after_it_was_built(composed: Compose, tmp_path: Path) -> None:
    """As many frames as operations that put one into the ring; each takes 8 ns per byte of a Gigabit link."""
    write_trace(tmp_path / "trace.json", trace(composed("org=up", "conns=24"), 4, 1), {})
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    frames = [event for event in events if event["name"] == "frame"]
    assert len(frames) == sum(event["name"] == "driver_transmit" for event in events) > 50
    assert {event["pid"] for event in frames} == {CARDS}
    for frame in frames:
        assert frame["dur"] == pytest.approx(frame["args"]["bytes"] * 0.008, abs=0.002)


def test_a_trace_without_room_is_cut_off(composed: Compose, tmp_path: Path) -> None:
    config = composed("org=msgp", "conns=24")
    whole, part = trace(config, 1, 0.2), trace(config, 1, 0.2, most_records=50)
    assert not whole.is_cut_off
    assert part.is_cut_off
    assert part.wanted == whole.wanted == len(whole.records)
    assert np.array_equal(part.records, whole.records[:50])
    write_trace(tmp_path / "trace.json", part, {})
    assert json.loads((tmp_path / "trace.json").read_text())["otherData"]["cut_off"] is True


def test_a_core_is_never_in_two_records_at_once(composed: Compose) -> None:
    found = trace(composed("org=msgp", "conns=24"), 0, 3)
    timed = np.isin(found.records["kind"], [Recorded.OPERATION, Recorded.PASSED, Recorded.WAIT])
    for core in range(found.cores):
        own = found.records[timed & (found.records["core"] == core)]
        ends = own["time"] + own["cycles"] + own["atomic"] + own["stall"]
        assert np.array_equal(ends[:-1], own["time"][1:])
        assert (own["time"][0], ends[-1]) == (0, found.clocks[core])
    assert found.cycles_before.sum() == 0
    assert found.cycles_after[:, Category.IDLE].sum() > 0


def test_files_are_written_for_points(composed: Compose, tmp_path: Path) -> None:
    configs = [composed(f"org={org}", "conns=6") for org in ("up", "msgp")]
    points = [Point(config, name, tmp_path) for config, name in zip(configs, name_points(configs), strict=True)]
    check_traces(points)
    said: list[str] = []
    files = write_traces(points, TraceSettings(0.0, 0.5), said.append)
    assert [path.parent for path in files] == [tmp_path / "traces"] * 2
    assert [path.name.rpartition("-")[0] for path in files] == ["up-conns-6", "msgp-conns-6"]
    assert [json.loads(path.read_text())["otherData"]["point"] for path in files] == ["up conns=6", "msgp conns=6"]
    assert all(str(path) in line for path, line in zip(files, said, strict=True))
    with pytest.raises(ConfigError, match="32 points at most"):
        check_traces(points * 17)
    windowed = composed("conns=6", "engine.window_us=2")
    with pytest.raises(ConfigError, match="must be 0 with trace=chrome"):
        check_traces([Point(windowed, points[0].name, tmp_path)])
    with pytest.raises(ConfigError, match="must be 0 with a trace"):
        trace(windowed, 0, 1)
