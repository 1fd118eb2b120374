"""Last-level caches against a slow reference model on random traces, and against cases computed by hand."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from netstack.errors import ConfigError
from netstack.sim import SimulationConfig
from netstack.sim.build.build import build
from netstack.sim.build.simulation import Simulation
from netstack.sim.config import EngineConfig
from netstack.sim.machine import directory
from netstack.sim.machine.config import CacheConfig, LastLevelConfig, LatencyConfig, MachineConfig, NicConfig
from netstack.sim.machine.costs import CostsConfig, StructureCost
from netstack.sim.machine.memory import dma_write, touch_line
from netstack.sim.machine.numbers import Access
from netstack.sim.organization.config import OrganizationConfig
from tests.helpers.cache_contents import contents
from tests.helpers.reference_caches import SharedReference

LINE_BYTES, PAGE_LINES = 64, 64
L2_HIT, LOCAL, REMOTE, SAME, OTHER, UPGRADE = 11, 101, 203, 307, 409, 53
HIT, GROUP, GROUP_UPGRADE = 23, 31, 17
LATENCY = LatencyConfig(
    *(L2_HIT, LOCAL, REMOTE, SAME, OTHER, UPGRADE),
    llc_hit_cycles=HIT,
    cache_same_group_cycles=GROUP,
    upgrade_same_group_cycles=GROUP_UPGRADE,
)
READ, WRITE, STORE = Access.READ, Access.WRITE, Access.STORE


def machine_of(
    cores: int = 5,
    lines: int = 128,
    llc_sets: int = 3,
    llc_ways: int = 5,
    cores_per: int = 2,
    policy: str = "victim",
    l2_policy: str = "exclusive",
    ddio_ways: int = 0,
    nic_node: int = 0,
) -> Simulation:
    """Return two nodes with small caches: an L1 of 2 sets and 2 ways, an L2 of 2 sets and 4 ways."""
    machine = MachineConfig(
        cores=cores,
        nodes=2,
        l1=CacheConfig(4 * LINE_BYTES, 2),
        l2=CacheConfig(8 * LINE_BYTES, 4),
        l2_policy=l2_policy,
        llc=LastLevelConfig(llc_sets * llc_ways * LINE_BYTES, llc_ways, cores_per, policy, ddio_ways),
        latency=LATENCY,
        nic=NicConfig(node=nic_node),
    )
    machine.validate()
    costs = CostsConfig(structures={"thing": StructureCost(lines, "kernel")})
    return build(SimulationConfig(conns=1, machine=machine, costs=costs, org=OrganizationConfig(serialize="group_lock")))


def holders(simulation: Simulation, line: int) -> tuple[set[int], int]:
    """Return who holds a line by the directory, last-level caches behind the cores, and its owner, -1 for none."""
    address = directory.line_address(simulation.machine, line)
    count = simulation.config.machine.cores + simulation.config.machine.llcs
    return {who for who in range(count) if directory.is_sharer(address, who)}, int(directory.owner_of(address)) - 1


def agrees(simulation: Simulation, reference: SharedReference, lines: int) -> None:
    """Check that caches have the lines of the reference, and that the directory knows exactly that."""
    found = contents(simulation)
    assert found == reference.contents()
    cores = simulation.config.machine.cores
    for line in range(lines):
        private = {core for core in range(cores) if line in found["l1"][core] | found["l2"][core]}
        shared = {cores + group for group, cache in enumerate(found["llc"]) if line in cache}
        known, owner = holders(simulation, line)
        assert known == private | shared
        assert owner == -1 or owner in known, "the owner of a line holds it"
        expected = reference.owner.get(line)
        assert owner == (-1 if expected is None else expected if expected >= 0 else cores - 1 - expected)
        if reference.llc.policy == "inclusive":
            assert {cores + reference.group_of[core] for core in private} <= shared


GROUPS_OF_5 = [[0, 1], [2], [3, 4], []]
"""Five cores on two nodes, two per cache: no group goes beyond its node, and the last one has no core."""


@pytest.mark.parametrize("ddio_ways", [0, 2])
@pytest.mark.parametrize("l2_policy", ["exclusive", "inclusive"])
@pytest.mark.parametrize("policy", ["victim", "inclusive"])
@pytest.mark.parametrize("seed", range(4))
def test_stalls_counts_and_contents_agree_with_the_reference(policy: str, l2_policy: str, ddio_ways: int, seed: int) -> None:
    lines, node = 40 + 40 * (seed % 2), seed // 2
    shape = {"llc_sets": 3, "llc_ways": 5} if seed < 3 else {"llc_sets": 1, "llc_ways": 20}
    simulation = machine_of(lines=2 * PAGE_LINES, policy=policy, l2_policy=l2_policy, ddio_ways=ddio_ways, nic_node=node, **shape)
    homes = [line // PAGE_LINES % 2 for line in range(2 * PAGE_LINES)]
    nodes = simulation.tables["core"]["node"].tolist()
    reference = SharedReference(simulation.config.machine, nodes, homes, GROUPS_OF_5, 2 * node)
    random = np.random.default_rng(seed)
    for step in range(3000):
        core, action = int(random.integers(5)), random.choice(list("rrrwwd"))
        line = int(random.integers(lines)) + 24
        if action == "d":
            dma_write(simulation.machine, 0, 0, line, 1)
            reference.dma(line)
        else:
            expected = reference.touch(core, line, action == "w")
            assert touch_line(simulation.machine, core, line, 0, WRITE if action == "w" else READ) == expected
        if step % 100 == 0:
            agrees(simulation, reference, 2 * PAGE_LINES)
    agrees(simulation, reference, 2 * PAGE_LINES)
    counts = simulation.tables["count"]
    for name in ("l1_misses", "l2_misses", "coherence_misses", "upgrades"):
        assert counts[name].sum() == getattr(reference, name), name
    assert simulation.tables["llc_count"]["llc_misses"].sum() == reference.llc_misses
    assert 0 < reference.llc_misses < reference.l2_misses


@pytest.mark.parametrize("policy", ["victim", "inclusive"])
def test_128_cores_with_32_last_level_caches_agree_with_the_reference(policy: str) -> None:
    simulation = machine_of(cores=128, cores_per=4, policy=policy, l2_policy="inclusive", ddio_ways=1)
    groups = [list(range(first, first + 4)) for first in range(0, 128, 4)]
    nodes = simulation.tables["core"]["node"].tolist()
    reference = SharedReference(simulation.config.machine, nodes, [0] * PAGE_LINES + [1] * PAGE_LINES, groups, 0)
    random = np.random.default_rng(7)
    for _ in range(12_000):
        core, line, action = int(random.integers(128)), int(random.integers(2 * PAGE_LINES)), random.choice(list("rrrrrwd"))
        if action == "d":
            dma_write(simulation.machine, 0, 0, line, 1)
            reference.dma(line)
        else:
            expected = reference.touch(core, line, action == "w")
            assert touch_line(simulation.machine, core, line, 0, WRITE if action == "w" else READ) == expected
    agrees(simulation, reference, 2 * PAGE_LINES)


def test_a_group_ends_where_its_node_ends() -> None:
    simulation = machine_of()
    groups = simulation.tables["group"]
    assert simulation.tables["core"]["llc"].tolist() == [5, 5, 6, 7, 7]
    assert [list(range(int(row["first_core"]), int(row["end_core"]))) for row in groups] == GROUPS_OF_5
    assert groups["node"].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("policy", "reader", "expected"),
    [
        ("victim", 1, GROUP),  # the other core of the group
        ("victim", 2, SAME),  # another group of the node
        ("victim", 3, OTHER),
        ("inclusive", 1, GROUP),  # the group's cache asks the core that has written the line
        ("inclusive", 2, SAME),
        ("inclusive", 3, OTHER),
    ],
)
def test_where_a_written_line_is_fetched_from(policy: str, reader: int, expected: int) -> None:
    simulation = machine_of(policy=policy)
    assert touch_line(simulation.machine, 0, 0, 0, WRITE) == LOCAL
    assert touch_line(simulation.machine, reader, 0, 0, READ) == expected


@pytest.mark.parametrize(
    ("policy", "reader", "expected"),
    [
        ("victim", 1, GROUP),
        ("victim", 2, LOCAL),  # it is not newer than memory
        ("victim", 3, REMOTE),
        ("inclusive", 1, HIT),
        ("inclusive", 2, LOCAL),
        ("inclusive", 3, REMOTE),
    ],
)
def test_where_a_line_that_was_only_read_is_fetched_from(policy: str, reader: int, expected: int) -> None:
    simulation = machine_of(policy=policy)
    assert touch_line(simulation.machine, 0, 0, 0, READ) == LOCAL
    assert touch_line(simulation.machine, reader, 0, 0, READ) == expected


def evict_from_core(simulation: Simulation, core: int, line: int, written: bool) -> None:
    """Let a core access a line, then six others of its L2 set: L1 and exclusive L2 hold that many."""
    touch_line(simulation.machine, core, line, 0, WRITE if written else READ)
    for step in range(1, 7):
        touch_line(simulation.machine, core, line + 2 * step, 0, READ)
    found = contents(simulation)
    assert line not in found["l1"][core] | found["l2"][core]


@pytest.mark.parametrize(("reader", "expected"), [(0, HIT), (1, HIT), (2, SAME), (3, OTHER)])
@pytest.mark.parametrize("policy", ["victim", "inclusive"])
def test_a_written_line_that_leaves_a_core_is_in_its_groups_cache(policy: str, reader: int, expected: int) -> None:
    simulation = machine_of(policy=policy, llc_sets=8, llc_ways=16)
    evict_from_core(simulation, 0, 0, written=True)
    assert holders(simulation, 0) == ({5}, 5)
    assert touch_line(simulation.machine, reader, 0, 0, READ) == expected


def test_a_cache_of_victims_gives_a_line_and_its_ownership_away() -> None:
    simulation = machine_of(llc_sets=8, llc_ways=16)
    evict_from_core(simulation, 0, 0, written=True)
    assert touch_line(simulation.machine, 1, 0, 0, WRITE) == HIT  # nobody else holds it: no upgrade
    assert holders(simulation, 0) == ({1}, 1)


def test_what_an_inclusive_cache_evicts_leaves_the_cores_and_goes_to_memory() -> None:
    simulation = machine_of(policy="inclusive", llc_sets=1, llc_ways=2)
    touch_line(simulation.machine, 0, 0, 0, WRITE)
    touch_line(simulation.machine, 1, 1, 0, READ)
    touch_line(simulation.machine, 1, 2, 0, READ)  # line 0 was used least recently
    assert contents(simulation)["l1"][0] == set()
    assert holders(simulation, 0) == (set(), -1)
    assert touch_line(simulation.machine, 0, 0, 0, READ) == LOCAL
    assert simulation.tables["count"]["coherence_misses"].sum() == 0  # nobody wrote it


@pytest.mark.parametrize(
    ("policy", "sharers", "expected"),
    [
        ("victim", (), 0),
        ("victim", (1,), GROUP_UPGRADE),
        ("victim", (2,), UPGRADE),
        ("victim", (1, 3), UPGRADE),
        ("inclusive", (), 0),  # the group's cache keeps it
        ("inclusive", (1,), GROUP_UPGRADE),
        ("inclusive", (3,), UPGRADE),
    ],
)
def test_a_write_to_a_line_that_others_hold_costs_by_the_farthest(policy: str, sharers: tuple[int, ...], expected: int) -> None:
    simulation = machine_of(policy=policy)
    touch_line(simulation.machine, 0, 0, 0, READ)
    for core in sharers:
        touch_line(simulation.machine, core, 0, 0, READ)
    assert touch_line(simulation.machine, 0, 0, 0, WRITE) == expected
    assert holders(simulation, 0) == ({0, 5} if policy == "inclusive" else {0}, 0)
    assert touch_line(simulation.machine, 0, 0, 0, WRITE) == 0


def test_a_store_fetches_a_line_to_own_it_in_one_transaction() -> None:
    simulation = machine_of()
    touch_line(simulation.machine, 0, 0, 0, WRITE)
    assert touch_line(simulation.machine, 1, 0, 0, STORE) == GROUP
    assert holders(simulation, 0) == ({1}, 1)


@pytest.mark.parametrize("policy", ["victim", "inclusive"])
def test_a_device_writes_into_the_cache_of_its_node(policy: str) -> None:
    """Line 0 lies in memory of node 0, line 64 in that of node 1."""
    simulation = machine_of(policy=policy, ddio_ways=2, nic_node=0)
    for line in (0, PAGE_LINES):
        touch_line(simulation.machine, 3, line, 0, READ)
        dma_write(simulation.machine, 0, 0, line, 1)
    assert holders(simulation, 0) == ({5}, 5)
    assert holders(simulation, PAGE_LINES) == (set(), -1)
    assert touch_line(simulation.machine, 0, 0, 0, READ) == HIT
    assert touch_line(simulation.machine, 0, PAGE_LINES, 0, READ) == REMOTE
    assert simulation.tables["count"]["coherence_misses"].sum() == 0
    assert touch_line(simulation.machine, 3, PAGE_LINES, 0, READ) == LOCAL
    assert simulation.tables["count"]["coherence_misses"].sum() == 1  # the device wrote it


def test_a_device_without_direct_access_writes_to_memory() -> None:
    simulation = machine_of(ddio_ways=0)
    touch_line(simulation.machine, 0, 0, 0, WRITE)
    dma_write(simulation.machine, 0, 0, 0, 1)
    assert holders(simulation, 0) == (set(), -1)
    assert touch_line(simulation.machine, 0, 0, 0, READ) == LOCAL


def test_lines_of_devices_take_no_more_than_their_ways() -> None:
    """Sixteen lines of one set: a device keeps the last two that it wrote; those of cores keep the other ways."""
    simulation = machine_of(llc_sets=1, llc_ways=5, policy="inclusive", ddio_ways=2)
    for line in (50, 51, 52, 53, 54):  # these take the ways in order
        touch_line(simulation.machine, 0, line, 0, READ)
    for line in range(16):
        dma_write(simulation.machine, 0, 0, line, 1)
    assert contents(simulation)["llc"][0] == {14, 15, 52, 53, 54}


def test_a_device_updates_a_line_in_any_way() -> None:
    simulation = machine_of(llc_sets=1, llc_ways=5, policy="inclusive", ddio_ways=1)
    for line in (50, 51, 52):
        touch_line(simulation.machine, 0, line, 0, READ)
    dma_write(simulation.machine, 0, 0, 52, 1)
    dma_write(simulation.machine, 0, 0, 1, 1)  # into way 0, from which line 50 goes
    assert contents(simulation)["llc"][0] == {1, 51, 52}
    assert contents(simulation)["l1"][0] == {51}


def test_without_a_last_level_cache_nothing_is_laid_out() -> None:
    simulation = build(SimulationConfig(conns=1, costs=CostsConfig(structures={"thing": StructureCost(4, "kernel")})))
    assert (simulation.machine["llc_groups"], simulation.machine["ddio_llc"], simulation.machine["line_words"]) == (0, -1, 1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size_bytes": 1000}, "multiple"),
        ({"ways": 33}, "from 1 to 32"),
        ({"ddio_ways": 17}, "from 0 to 16"),
        ({"size_bytes": 0, "ddio_ways": 1}, "without a last-level cache"),
        ({"policy": "exclusive"}, "victim, inclusive"),
        ({"cores_per": 0}, "from 1 to 128"),
    ],
)
def test_impossible_caches_are_refused(change: dict[str, int | str], says: str) -> None:
    llc = dataclasses.replace(LastLevelConfig(1 << 20), **change)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match=says):
        MachineConfig(llc=llc).validate()


def test_windows_are_refused(composed: Callable[..., SimulationConfig]) -> None:
    config = composed("machine.llc.size_bytes=1048576", "conns=6")
    config.engine = EngineConfig(window_us=1.0)
    with pytest.raises(ConfigError, match="must be 0 with a last-level cache, which cores share"):
        config.validate()


def test_a_card_is_on_a_node_that_exists() -> None:
    with pytest.raises(ConfigError, match="from 0 to 1"):
        MachineConfig(nic=NicConfig(node=2)).validate()
