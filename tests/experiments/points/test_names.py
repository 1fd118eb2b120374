"""Points are named by what a sweep varies, and by no more."""

from collections.abc import Callable

import pytest

from experiments.points.names import name_points
from netstack.sim import SimulationConfig

CASES = {
    "one point": ([["conns=6"]], ["connp_l conns=6"]),
    "organizations and loads": (
        [["org=up", "conns=6"], ["org=msgp", "conns=24"]],
        ["up conns=6", "msgp conns=24"],
    ),
    "groups beside loads": (
        [["org.groups=4", "conns=6"], ["org.groups=8", "conns=24"], ["org=up", "conns=6"]],
        ["connp_l(4) conns=6", "connp_l(8) conns=24", "up conns=6"],
    ),
    "groups alone are the axis": (
        [["org.groups=4"], ["org.groups=8"]],
        ["connp_l org.groups=4", "connp_l org.groups=8"],
    ),
    "seeds": (
        [["seed=1"], ["seed=2"]],
        ["connp_l conns=192 seed=1", "connp_l conns=192 seed=2"],
    ),
    "a machine is named, not described": (
        [["machine=epyc_16"], ["machine=opteron_2x2"]],
        ["connp_l machine=epyc_16 conns=192", "connp_l machine=opteron_2x2 conns=192"],
    ),
    "cores of a machine are the axis": (
        [["machine.cores=2"], ["machine.cores=4"]],
        ["connp_l machine.cores=2", "connp_l machine.cores=4"],
    ),
    "intervals that follow the load": (
        [["conns=6", "engine.measure_ms=5"], ["conns=24", "engine.measure_ms=7"], ["conns=24", "engine.measure_ms=7", "seed=2"]],
        ["connp_l conns=6 seed=1", "connp_l conns=24 seed=1", "connp_l conns=24 seed=2"],
    ),
    "intervals beside the load": (
        [["conns=6", "engine.measure_ms=5"], ["conns=24", "engine.measure_ms=7"], ["conns=24", "engine.measure_ms=5"]],
        ["connp_l engine.measure_ms=5 conns=6", "connp_l engine.measure_ms=7 conns=24", "connp_l engine.measure_ms=5 conns=24"],
    ),
    "a switch is named where it is on": (
        [["costs.lock_profiling=true", "conns=6"], ["conns=6"], ["conns=24"]],
        ["connp_l with lock profiling conns=6", "connp_l conns=6", "connp_l conns=24"],
    ),
    "a choice is no axis": (
        [["org.placement=free"], ["org.placement=pinned"]],
        ["connp_l org.placement=free conns=192", "connp_l org.placement=pinned conns=192"],
    ),
    "a value that may be missing is no axis": (
        [["engine.measure_ms=null"], ["engine.measure_ms=7.5"]],
        ["connp_l engine.measure_ms=null conns=192", "connp_l engine.measure_ms=7.5 conns=192"],
    ),
}


VARIANTS = {
    "a variant stands for all its keys": (
        {"a": ["workload.mbufs=2048", "costs.structures.socket.modelled=false"], "b": []},
        ["up a conns=6", "connp_l a conns=6", "up b conns=6", "connp_l b conns=6"],
    ),
    "points of no variant": (
        {"a": ["org.placement=free"], "": ["org.placement=pinned"]},
        ["up a conns=6", "connp_l a conns=6", "up conns=6", "connp_l conns=6"],
    ),
}


@pytest.mark.parametrize("case", VARIANTS)
def test_names_of_variants(case: str, composed: Callable[..., SimulationConfig]) -> None:
    overrides, labels = VARIANTS[case]
    both = [(variant, [f"org={org}", "conns=6", *own]) for variant, own in overrides.items() for org in ("up", "connp_l")]
    names = name_points([composed(*some) for _, some in both], [variant for variant, _ in both])
    assert [name.label for name in names] == labels
    assert [name.variant for name in names] == [variant for variant, _ in both]
    assert {name.axis for name in names} == {"conns"}  # and no key of a variant, though it is a number that varies


def test_what_varies_inside_a_variant_is_named_too(composed: Callable[..., SimulationConfig]) -> None:
    values = [("a", 2048, 6), ("a", 4096, 24), ("b", 4096, 6), ("b", 4096, 24)]
    configs = [composed("org=up", f"workload.mbufs={mbufs}", f"conns={conns}") for _, mbufs, conns in values]
    assert [name.label for name in name_points(configs, [variant for variant, *_ in values])] == [
        "up workload.mbufs=2048 a conns=6",
        "up workload.mbufs=4096 a conns=24",
        "up workload.mbufs=4096 b conns=6",
        "up workload.mbufs=4096 b conns=24",
    ]


@pytest.mark.parametrize("case", CASES)
def test_names(case: str, composed: Callable[..., SimulationConfig]) -> None:
    overrides, labels = CASES[case]
    assert [name.label for name in name_points([composed(*some) for some in overrides])] == labels
