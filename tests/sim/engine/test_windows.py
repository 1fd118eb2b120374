"""A windowed simulation against the exact one: equal in the limit of short windows, close to it for longer ones."""

import dataclasses
import json
from itertools import pairwise

import numpy as np
import pytest

from experiments.run.task import compile_once
from netstack.errors import ConfigError
from netstack.sim import Lockstep, Result, SimulationConfig, are_over, gather, no_messages, simulate
from tests.helpers.tables import is_same

SHORT = ("engine.warmup_ms=3", "engine.measure_ms=5")
ONE_CYCLE = "engine.window_us=0.0005"
ORGANIZATIONS = ("up", "msgp", "connp_t", "connp_l", "freebsd", "linux", "dragonflybsd", "solaris10")


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    compile_once(windows=True)


def without_wall_times(result: Result) -> dict:
    return {name: value for name, value in json.loads(result.to_json()).items() if not name.startswith("wall_")}


@pytest.mark.parametrize("org", ["up", "connp_t", "dragonflybsd"])
def test_windows_of_one_cycle_are_the_exact_engine(composed, org: str) -> None:
    """Four replicas that hear of each other by messages alone come to every digit of the one state that all share."""
    exact, windowed = (simulate(composed(f"org={org}", "conns=24", *SHORT, *more)) for more in ((), (ONE_CYCLE,)))
    assert without_wall_times(windowed) == without_wall_times(exact)


@pytest.mark.parametrize("org", ["msgp", "connp_l"])
def test_locks_differ_little_from_the_exact_engine(composed, org: str) -> None:
    """A spinner pays for the lock's word a moment later than in the exact engine, where the owner charges it.

    Another order of acquisitions follows, and goodput of a few milliseconds goes either way, by 4 %: means of seeds are compared.
    """
    point = (f"org={org}", "conns=24", "engine.warmup_ms=3", "engine.measure_ms=15")
    exact, windowed = (
        np.mean([simulate(composed(*point, f"seed={seed}", *more)).goodput_mbps for seed in range(1, 9)])
        for more in ((), (ONE_CYCLE,))
    )
    assert windowed == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize("org", ORGANIZATIONS)
def test_replicas_agree_after_every_window(composed, org: str) -> None:
    """What all cores know is the same on all of them; each also checks the laws of conservation on its own replica."""
    config = composed(f"org={org}", "conns=12", "engine.window_us=3", "engine.warmup_ms=1", "engine.measure_ms=2")
    lockstep = Lockstep([config], range(config.cores_used), config.cores_used)
    (cores,) = lockstep.points
    parts = lockstep.round(no_messages(len(cores)))
    while not are_over(parts):
        parts = lockstep.round(parts)
    for core in cores:
        known = ("core", "thread", "lock", "lock_class", "section", "nic", "flow", "queue", "ready")
        for name in (*known, "pcb", "peer", "pcb_cold", "peer_cold"):
            assert is_same(core.simulation, cores[0].simulation, name), name
    results = [core.result([other.own_counts() for other in cores], 1.0) for core in cores]
    assert all(result.to_json() == results[0].to_json() for result in results)


def test_points_of_a_batch_do_not_disturb_each_other(composed) -> None:
    """Points of one core and of four, of other lengths, in one batch that two share: each comes to its result alone."""
    points = (("up", 6, 2), ("msgp", 24, 1), ("dragonflybsd", 12, 3))
    configs = [
        composed(f"org={org}", f"conns={conns}", "engine.window_us=1", "engine.warmup_ms=1", f"engine.measure_ms={measured_ms}")
        for org, conns, measured_ms in points
    ]
    shares = [3, 1]
    locksteps = [Lockstep(configs, numbers, 4) for numbers in (range(3), range(3, 4))]
    parts = no_messages(4 * len(configs))
    while True:
        parts = gather([lockstep.round(parts) for lockstep in locksteps], len(configs), shares)
        if are_over(parts):
            break
    for point, config in enumerate(configs):
        cores = [core for lockstep in locksteps for core in lockstep.points[point]]
        result = cores[0].result([core.own_counts() for core in cores], 1.0)
        assert without_wall_times(result) == without_wall_times(simulate(config))


def test_parts_are_gathered_by_point_and_core() -> None:
    """Two points; one array is of cores 0 and 1, another of core 2. What core k sends of point p is 10 p + k, k + 1 times."""
    messages = [[[10 * point + core] * (core + 1) for core in range(3)] for point in range(2)]
    arrays = [[messages[0][0], messages[0][1], messages[1][0], messages[1][1]], [messages[0][2], messages[1][2]]]
    gathered = gather([in_parts(array) for array in arrays], 2, [2, 1])
    starts = gathered[: gathered[0]].tolist()
    parts = [gathered[start:end].tolist() for start, end in pairwise(starts)]
    assert parts == [message for point in messages for message in point]


def in_parts(parts: list[list[int]]) -> np.ndarray:
    """Return an array as it travels: where each part begins, where the last one ends, then all words."""
    starts = np.cumsum([len(parts) + 1, *map(len, parts)])
    return np.concatenate([starts, *parts]).astype(np.int64)


def test_a_step_that_touched_what_another_changed_is_done_again(composed) -> None:
    """With one connection group, every core wants the same lock: nothing is lost though windows are long."""
    config = composed("org=connp_l", "org.groups=1", "conns=24", "engine.window_us=5", *SHORT)
    result = simulate(config)
    assert result.lock["global"].not_immediate_percent > 20
    assert result.retransmitted_segments == 0


def test_windows_need_endless_connections(composed) -> None:
    config: SimulationConfig = composed("workload=churn", "conns=6", *SHORT)
    with pytest.raises(ConfigError, match=r"engine.window_us.*workload=churn"):
        dataclasses.replace(config, engine=dataclasses.replace(config.engine, window_us=1.0)).validate()
