"""The directory's packed records against plain sets, and the search of a set's tags against a list."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.sim.build.build import build
from netstack.sim.build.simulation import Simulation
from netstack.sim.config import SimulationConfig
from netstack.sim.machine import directory
from netstack.sim.machine.cache_state import EMPTY, find_in_l2, l2_set_at, l2_set_stride
from netstack.sim.machine.config import CacheConfig, MachineConfig
from netstack.sim.machine.costs import CostsConfig, StructureCost

LINES = 5


def machine_of(cores: int, l2_ways: int = 4) -> Simulation:
    l1, l2 = CacheConfig(128, 2), CacheConfig(2 * l2_ways * 64, l2_ways)
    machine = MachineConfig(cores=cores, nodes=1, l1=l1, l2=l2)
    return build(
        SimulationConfig(conns=1, machine=machine, costs=CostsConfig(structures={"thing": StructureCost(LINES, "kernel")}))
    )


ACTIONS = ("add", "remove", "clear", "only", "lost", "owner")


@pytest.mark.parametrize("cores", [1, 4, 8, 9, 128])
@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 127), st.integers(0, LINES - 1)), max_size=60))
def test_records_know_what_sets_know(cores: int, actions: list[tuple[str, int, int]]) -> None:
    machine = machine_of(cores).machine
    sharers: list[set[int]] = [set() for _ in range(LINES)]
    lost: list[set[int]] = [set() for _ in range(LINES)]
    owner = [0] * LINES
    for action, number, line in actions:
        core, address = number % cores, directory.line_address(machine, line)
        if action == "add":
            directory.add_sharer(address, core)
            sharers[line].add(core)
            lost[line].discard(core)
        elif action == "remove":
            directory.remove_sharer(address, core)
            sharers[line].discard(core)
            owner[line] = 0 if owner[line] == core + 1 else owner[line]
        elif action == "clear":
            directory.clear_sharers(machine, address)
            sharers[line], owner[line] = set(), 0
        elif action == "only":
            directory.set_only_sharer(machine, address, core)
            sharers[line], owner[line] = {core}, core + 1
        elif action == "lost":
            directory.set_lost(address, core)
            lost[line].add(core)
        else:
            directory.set_owner(address, core + 1)
            owner[line] = core + 1
    for line in range(LINES):
        address = directory.line_address(machine, line)
        assert directory.owner_of(address) == owner[line]
        assert bool(directory.has_sharers(machine, address)) == bool(sharers[line])
        for core in range(cores):
            assert bool(directory.is_sharer(address, core)) == (core in sharers[line])
            assert bool(directory.has_lost(address, core)) == (core in lost[line])
            assert bool(directory.is_shared_beside(machine, address, core)) == bool(sharers[line] - {core})
        assert listed(machine, address, 0) == sorted(sharers[line] - {0})
        assert listed(machine, address, -1) == sorted(sharers[line])


def listed(machine: np.void, address: int, keeper: int) -> list[int]:
    """Return the sharers beside `keeper` in the order in which they are found."""
    cores = []
    for position in range(int(machine["line_words"])):
        left = int(directory.other_sharers(address, position, keeper))
        while left:
            cores.append(int(directory.first_of(left, position)))
            left &= left - 1
    return cores


@pytest.mark.parametrize("ways", [1, 4, 13, 14, 15, 16])
def test_a_line_is_found_in_its_way_and_nothing_behind_the_last_way(ways: int) -> None:
    simulation = machine_of(2, ways)
    machine, stride = simulation.machine, l2_set_stride(ways) // 4
    tags = simulation.tables["l2"].view(np.int32).reshape(-1, stride)
    assert (tags[:, :ways] == EMPTY).all()
    for core in range(2):
        for number in range(2):
            row = 2 * number + core
            tags[row, :ways] = [2 * (100 * row + way) for way in range(ways)]
    for core in range(2):
        for number in range(2):
            row, address = 2 * number + core, l2_set_at(machine, core, number)
            assert [int(find_in_l2(machine, address, 100 * row + way)) for way in range(ways)] == list(range(ways))
            for elsewhere in (100 * row + ways, 100 * (3 - row), 12345):
                assert find_in_l2(machine, address, elsewhere) == -1


def test_the_order_of_a_set_is_not_a_tag() -> None:
    """Behind 13 ways lie three lanes that are read, too: padding and the order's word, which may look like a tag."""
    simulation = machine_of(1, 13)
    words = simulation.tables["l2"].view(np.int32).reshape(-1, 16)
    words[0, 13:] = 2 * 77
    assert find_in_l2(simulation.machine, l2_set_at(simulation.machine, 0, 0), 77) == -1


def test_eight_cores_cost_four_bytes_per_line() -> None:
    sizes = [directory.words_per_line(cores) * directory.WORD_BYTES for cores in (1, 4, 8, 9, 24, 64, 128)]
    assert sizes == [4, 4, 4, 8, 12, 32, 64]
