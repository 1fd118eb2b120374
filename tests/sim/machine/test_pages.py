"""Where pages lie in physical memory, against chi-square bounds and the binomial distribution of pages over colours."""

import dataclasses
from collections.abc import Callable
from math import comb

import numpy as np
import pytest

from netstack.sim import SimulationConfig
from netstack.sim.build.build import build
from netstack.sim.build.simulation import Simulation
from netstack.sim.machine.cache_state import l2_set_of
from netstack.sim.machine.config import CacheConfig, MachineConfig
from netstack.sim.machine.costs import CostsConfig, StructureCost
from netstack.sim.machine.memory import touch_line
from tests.helpers.tables import is_same

PAGE_LINES, LINE_BYTES, COLOURS, WAYS = 64, 64, 16, 4
SETS = COLOURS * PAGE_LINES


def machine_of(pages: int, placement: str = "random", seed: int = 1) -> Simulation:
    """Return a core with an L2 of 16 colours and 4 ways, which holds 64 pages."""
    l1, l2 = CacheConfig(LINE_BYTES, 1), CacheConfig(SETS * WAYS * LINE_BYTES, WAYS)
    machine = MachineConfig(cores=2, nodes=2, l1=l1, l2=l2, l2_policy="inclusive", page_placement=placement)
    costs = CostsConfig(structures={"thing": StructureCost(pages * PAGE_LINES, "kernel")})
    return build(SimulationConfig(conns=1, seed=seed, machine=machine, costs=costs))


def l2_sets(simulation: Simulation, lines: range) -> np.ndarray:
    return np.array([l2_set_of(simulation.machine, line) for line in lines])


def test_lines_of_a_page_stay_in_consecutive_sets() -> None:
    sets = l2_sets(machine_of(40), range(40 * PAGE_LINES)).reshape(40, PAGE_LINES)
    assert (np.diff(sets, axis=1) == 1).all()
    assert (sets[:, 0] % PAGE_LINES == 0).all()
    assert not np.array_equal(sets[:, 0] // PAGE_LINES, np.arange(40) % COLOURS)


def test_consecutive_pages_have_the_sets_and_nodes_of_their_lines() -> None:
    simulation = machine_of(40, "consecutive")
    assert np.array_equal(l2_sets(simulation, range(40 * PAGE_LINES)), np.arange(40 * PAGE_LINES) % SETS)
    assert simulation.tables["page"]["node"].tolist() == [0, 1] * 20


def test_colours_and_nodes_are_uniform_and_independent() -> None:
    """Chi-square with 15 degrees of freedom is within 3.48 and 37.70 in 99.8 % of cases, with 31 below 61.10 in 99.9 %."""
    pages = 4096
    simulation = machine_of(pages)
    colours = l2_sets(simulation, range(0, pages * PAGE_LINES, PAGE_LINES)) // PAGE_LINES
    counts = np.bincount(colours, minlength=COLOURS)
    assert 3.48 < ((counts - pages / COLOURS) ** 2 / (pages / COLOURS)).sum() < 37.70
    cells = np.bincount(2 * colours + simulation.tables["page"]["node"], minlength=2 * COLOURS)
    assert ((cells - pages / 32) ** 2 / (pages / 32)).sum() < 61.10
    pairs = np.bincount(COLOURS * colours[:-1] + colours[1:], minlength=COLOURS**2)  # a page says nothing of the next
    assert ((pairs - pages / 256) ** 2 / (pages / 256)).sum() < 330.52  # 255 degrees of freedom, 99.9 %


def test_the_seed_places_pages_and_a_larger_cache_sees_the_same_ones() -> None:
    first, again, other = (machine_of(500, seed=seed).tables["page"] for seed in (7, 7, 8))
    assert np.array_equal(first, again)
    assert 0.8 < (first["colour"] != other["colour"]).mean() < 1  # 15 of 16 colours differ
    config = machine_of(500, seed=7).config
    l2 = dataclasses.replace(config.machine.l2, size_bytes=2 * config.machine.l2.size_bytes)
    larger = build(dataclasses.replace(config, machine=dataclasses.replace(config.machine, l2=l2))).tables["page"]
    assert np.array_equal(larger["colour"] % SETS, first["colour"])
    assert np.array_equal(larger["node"], first["node"])


def test_placement_leaves_all_other_draws_alone(composed: Callable[..., SimulationConfig]) -> None:
    there, here = (build(composed("conns=24", f"machine.page_placement={name}")) for name in ("random", "consecutive"))
    assert there.stack["hash_seed"] == here.stack["hash_seed"]
    for name in ("flow", "pcb", "peer"):
        assert is_same(there, here, name), name


def test_every_replica_has_the_same_pages(composed: Callable[..., SimulationConfig]) -> None:
    exact, replica = (build(composed("conns=24"), with_journal=journal).tables["page"] for journal in (False, True))
    assert exact["colour"].any()
    assert np.array_equal(exact, replica)


def test_memory_is_local_where_the_page_is() -> None:
    simulation = machine_of(50)
    latency = simulation.config.machine.latency
    stalls = [int(touch_line(simulation.machine, 0, page * PAGE_LINES, 0, 0)) for page in range(50)]
    near = simulation.tables["page"]["node"] == 0
    assert stalls == np.where(near, latency.memory_local_cycles, latency.memory_remote_cycles).tolist()
    assert 10 < near.sum() < 40


def missed_share(pages: int, placement: str, seed: int) -> float:
    """Return the share of accesses that miss the L2 in a cyclic walk over pages, which its first round does not count."""
    simulation = machine_of(pages, placement, seed)
    for page in range(pages):
        touch_line(simulation.machine, 0, page * PAGE_LINES, 0, 0)
    before = int(simulation.tables["count"]["l2_misses"].sum())
    for _ in range(2):
        for page in range(pages):
            touch_line(simulation.machine, 0, page * PAGE_LINES, 0, 0)
    return (int(simulation.tables["count"]["l2_misses"].sum()) - before) / (2 * pages)


@pytest.mark.parametrize("pages", [24, 40, 56, 64, 80, 112])
def test_capacity_is_a_slope(pages: int) -> None:
    """With LRU all accesses of a cyclic walk miss that go to a colour with more pages than ways, and no others.

    A page's colour is that of at least 4 of the others with the binomial probability below: 5 % of accesses miss with 24 pages,
    and 8 % hit with 112. Consecutive pages fill every colour alike: a cliff behind 64 pages.
    """
    others = pages - 1
    few = sum(comb(others, number) * COLOURS**-number * (1 - 1 / COLOURS) ** (others - number) for number in range(WAYS))
    shares = [missed_share(pages, "random", seed) for seed in range(40)]
    assert np.mean(shares) == pytest.approx(1 - few, abs=3 * float(np.std(shares)) / 40**0.5)  # three standard errors
    assert missed_share(pages, "consecutive", 1) == (pages > 64)
