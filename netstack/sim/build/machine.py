"""Lays out the machine: cores, caches, locks, NICs, the cache lines of structures, and what operations cost."""

import dataclasses

import numpy as np

from netstack.sim.build.simulation import Simulation, assign
from netstack.sim.build.sizes import Sizes
from netstack.sim.machine import pseudo_lru, recency, state
from netstack.sim.machine.cache_state import (
    EMPTY,
    ORDER_BYTES,
    PAGE_LINES,
    MissCount,
    Page,
    l1_set_stride,
    l2_set_stride,
)
from netstack.sim.machine.config import CacheConfig, LatencyConfig
from netstack.sim.machine.costs import CostsConfig, OperationCost, parse_touch
from netstack.sim.machine.directory import DirectoryWord, words_per_line
from netstack.sim.machine.last_level import Group, LlcMissCount, llc_set_stride
from netstack.sim.machine.numbers import Category, Instance, LockClass, LockScope, Operation
from netstack.sim.machine.toeplitz import byte_words

FIRST_INTERRUPT = 1  # the stream of a point's seed that draws to which core the first NIC's interrupt goes
FREE = OperationCost()
"""The cost of an operation that the configuration does not name."""
PAGE_DRAWS = 1
"""The stream of a point's seed that pages are drawn from; the other draws have the seed itself."""
MOST_SETS = 1 << 26  # of a cache of 1 GB, one way and lines of 16 bytes


def build_machine(simulation: Simulation, sizes: Sizes) -> None:
    """Fill in the machine's record and its tables, at time zero."""
    config, machine = simulation.config.machine, simulation.machine
    population, nic = sizes.population, config.nic
    assign(
        machine,
        cores=sizes.cores,
        nodes=config.nodes,
        threads=sizes.threads,
        lines=sizes.lines,
        l2_pseudo_lru=config.l2.replacement == "plru",
        exclusive=config.l2_policy == "exclusive",
        lock_profiling=simulation.config.costs.lock_profiling,
        free_locks="locks" in simulation.config.ideal,
        free_atomics="atomics" in simulation.config.ideal,
        fixed_interrupts=nic.interrupts == "fixed",
        rss_mask=nic.rss_table - 1,
        line_bytes=config.line_bytes,
        ipi_latency=round(config.ipi_latency_us * config.clock_mhz),
        wake=round(config.wake_us * config.clock_mhz),
        interrupt_evicts=config.interrupt_evicts_lines,
        interrupt_interval=round(nic.interrupt_interval_us * config.clock_mhz),
        interrupt_interval_most=round((nic.interrupt_interval_most_us or nic.interrupt_interval_us) * config.clock_mhz),
        interrupt_frames=nic.interrupt_frames,
        link_units_per_byte=round(8 * config.clock_mhz * state.LINK_UNITS / nic.link_mbps),
        transmit_slots=sizes.transmit_slots,
        transmit_descriptors=nic.transmit_ring,
        receive_slots=sizes.receive_slots,
        arrival_capacity=sizes.arrivals,
    )
    assign(machine, **vars(population.machine))
    assign(machine, **_stalls(config.latency))
    _build_sections(simulation, sizes)
    cores = simulation.add(machine, "core", state.Core.dtype, sizes.cores)
    assign(cores, next_time=state.NEVER, thread=-1, spinning_on=-1, free_mbuf=-1, interrupted=-1)
    cores["node"] = np.arange(sizes.cores) * config.nodes // sizes.cores
    cores["instance"][:, Instance.CORE] = np.arange(sizes.cores)
    cores["instance"][:, Instance.CORE_PAIR] = np.arange(sizes.cores) // 2
    _build_caches(simulation, sizes)
    locks = simulation.add(machine, "lock", state.Lock.dtype, population.machine.locks)
    assign(locks, owner=-1, lock_class=population.lock_class)
    assign(locks["chain"], start=-1, end=-1)
    locks["lock_class"][0] = LockClass.GLOBAL
    declared = len(simulation.config.costs.declared_locks())
    simulation.add(machine, "lock_class", state.LockStatistics.dtype, len(LockClass) + declared)
    _build_nics(simulation, sizes)
    _build_costs(simulation, sizes)


def _stalls(latency: LatencyConfig) -> dict[str, int]:
    """Return the stalls of accesses in cycles, by the fields of the machine's record."""
    return {name.removesuffix("_cycles"): value for name, value in vars(latency).items() if name != "atomic_cycles"}


def _build_caches(simulation: Simulation, sizes: Sizes) -> None:
    config, machine = simulation.config.machine, simulation.machine
    l2 = data_part(config.l2, simulation.config.costs.instructions_in_l2_bytes)
    for level, cache, stride in (("l1", config.l1, l1_set_stride(config.l1.ways)), ("l2", l2, l2_set_stride(l2.ways))):
        sets = cache.size_bytes // (config.line_bytes * cache.ways)
        assign(machine, **{f"{level}_ways": cache.ways, f"{level}_sets": sets, f"{level}_stride": stride})
        memory = simulation.add(machine, level, np.dtype("u1"), sizes.cores * sets * stride)
        memory.view(np.int32)[:] = EMPTY
    orders = simulation.tables["l2"].reshape(-1, int(machine["l2_stride"]))[:, -ORDER_BYTES:]
    orders.view(np.int64)[:] = pseudo_lru.EMPTY_SET if l2.replacement == "plru" else recency.initial_order(l2.ways)
    _build_llc(simulation, sizes)
    pages = simulation.add(machine, "page", Page.dtype, sizes.pages)
    if config.page_placement == "consecutive":
        pages["node"] = np.arange(len(pages)) % config.nodes
    else:
        sets = int(machine["l2_sets"]) if machine["llc_groups"] == 0 else MOST_SETS
        _place_at_random(pages, simulation.config.seed, config.nodes, sets)


def _build_llc(simulation: Simulation, sizes: Sizes) -> None:
    """Lay out the last-level caches, empty, if there are any, and the groups of cores that share them."""
    config, machine, llc = simulation.config.machine, simulation.machine, simulation.config.machine.llc
    groups_per_node = sizes.llcs // config.nodes
    assign(
        machine,
        llc_groups=sizes.llcs,
        llc_sets=llc.size_bytes // (config.line_bytes * llc.ways),
        llc_ways=llc.ways,
        llc_stride=llc_set_stride(llc.ways),
        llc_inclusive=sizes.llcs > 0 and llc.policy == "inclusive",
        ddio_ways=llc.ddio_ways,
        ddio_llc=sizes.cores + config.nic.node * groups_per_node if llc.ddio_ways > 0 else -1,
    )
    sets = sizes.llcs * int(machine["llc_sets"])
    memory = simulation.add(machine, "llc", np.dtype("u1"), sets * int(machine["llc_stride"]))
    if sizes.llcs == 0:
        return
    rows = memory.reshape(sets, -1)
    rows[:, : 4 * llc.ways].view(np.int32)[:] = EMPTY
    rows[:, 4 * llc.ways : 5 * llc.ways] = np.arange(llc.ways)
    groups = simulation.add(machine, "group", Group.dtype, sizes.llcs)
    cores = simulation.tables["core"]
    first_of_node = np.searchsorted(cores["node"], cores["node"])
    group = cores["node"] * groups_per_node + (np.arange(sizes.cores) - first_of_node) // llc.cores_per
    cores["llc"] = sizes.cores + group
    groups["first_core"] = np.searchsorted(group, np.arange(sizes.llcs))
    groups["end_core"] = np.searchsorted(group, np.arange(sizes.llcs), side="right")
    groups["node"] = np.arange(sizes.llcs) // groups_per_node


def _place_at_random(pages: np.ndarray, seed: int, nodes: int, most_sets: int) -> None:
    """Draw colour and node of each page, independent of other pages: a machine has far more memory than these pages.

    What is drawn does not depend on the number of sets, so that a larger cache has the pages of the smaller one.
    """
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(PAGE_DRAWS,))))
    pages["colour"] = random.integers(MOST_SETS, size=len(pages)) & (most_sets - 1) & ~(PAGE_LINES - 1)
    pages["node"] = random.integers(nodes, size=len(pages))


def _build_sections(simulation: Simulation, sizes: Sizes) -> None:
    """Lay out the sections of kernel-wide lock classes, and of the locks of the costs file, by their scopes."""
    machine, costs = simulation.machine, simulation.config.costs
    counts = {
        LockScope.KERNEL: 1,
        LockScope.NODE: simulation.config.machine.nodes,
        LockScope.CORE: sizes.cores,
        LockScope.BUCKET: sizes.instances[Instance.BUCKET],
        LockScope.LISTENER: sizes.population.listeners,
        LockScope.NONE: 0,
    }
    scopes = {number: LockScope.of(costs.locks[number.key].scope) for number in LockClass if number.key in costs.locks}
    plans = simulation.add(machine, "section_plan", state.LockPlan.dtype, len(LockClass))
    first = len(LockClass)
    for number in LockClass:
        scope = scopes.get(number, LockScope.KERNEL)
        plans[number] = (scope, number if scope == LockScope.KERNEL else first, 0, number)
        first += counts[scope] if scope != LockScope.KERNEL else 0
    assign(simulation.add(machine, "section", state.KernelSection.dtype, first), starts=-1, ends=-1)
    declared = costs.declared_locks()
    plans = simulation.add(machine, "declared_plan", state.LockPlan.dtype, len(declared))
    first = 0
    for index, name in enumerate(declared):
        scope = LockScope.of(costs.locks[name].scope)
        plans[index] = (scope, first, costs.locks[name].ticket, len(LockClass) + index)
        first += counts[scope]
    assign(simulation.add(machine, "declared", state.DeclaredSection.dtype, first), starts=-1, ends=-1)


def _build_nics(simulation: Simulation, sizes: Sizes) -> None:
    machine, count = simulation.machine, sizes.population.machine.nics
    nics = simulation.add(machine, "nic", state.Nic.dtype, count)
    assign(nics, next_time=state.NEVER, last_interrupt=-int(machine["interrupt_interval"]), poller=-1)
    assign(nics, interval=machine["interrupt_interval"])
    assign(nics["section"], start=-1, end=-1)
    first = np.random.Generator(np.random.PCG64([simulation.config.seed, FIRST_INTERRUPT])).integers(sizes.cores)
    nics["core"] = (first + np.arange(count)) % sizes.population.machine.cores_used
    _build_steering(simulation, sizes)
    simulation.add(machine, "transmit", state.TransmitSlot.dtype, count * sizes.transmit_slots)
    simulation.add(machine, "receive", state.ReceiveSlot.dtype, count * sizes.receive_slots)
    simulation.add(machine, "arrival", state.Arrival.dtype, count * sizes.arrivals)


def _build_steering(simulation: Simulation, sizes: Sizes) -> None:
    """Lay out what cards choose receive queues with. The entries of the indirection table name the queues in turn."""
    machine, nic, part = simulation.machine, simulation.config.machine.nic, sizes.population.machine
    words = byte_words(nic.rss_key)
    simulation.add(machine, "toeplitz", state.HashWord.dtype, words.size)["value"] = words.ravel()
    table = simulation.add(machine, "indirection", state.HashWord.dtype, nic.rss_table)
    table["value"] = np.arange(nic.rss_table) % (part.nics // part.links)
    assign(simulation.add(machine, "flow_entry", state.HashWord.dtype, part.flow_entries), value=-1)


def _build_costs(simulation: Simulation, sizes: Sizes) -> None:
    """Lay out the instances of every structure on consecutive lines, and turn footprints into rows."""
    costs, machine = simulation.config.costs, simulation.machine
    names = simulation.structures = list(costs.structures)
    layout = simulation.add(machine, "kind", state.Structure.dtype, len(names))
    next_line = 0
    for index, structure in enumerate(costs.structures.values()):
        per = Instance.of(structure.per)
        layout[index] = (next_line, structure.lines, per)
        next_line += structure.lines * sizes.instances[per]
    assign(machine, kinds=len(names), line_words=words_per_line(sizes.cores + sizes.llcs))
    simulation.add(machine, "line", DirectoryWord.dtype, sizes.lines * int(machine["line_words"]))
    simulation.add(machine, "count", MissCount.dtype, sizes.cores * len(names))
    simulation.add(machine, "llc_count", LlcMissCount.dtype, sizes.cores * len(names))
    operations = simulation.add(machine, "operation", state.OperationCost.dtype, len(Operation))
    locked = sizes.population.locked_instructions
    atomic_cycles = simulation.config.machine.latency.atomic_cycles if locked else 0
    declared = costs.declared_locks()
    under = {operation: 1 + declared.index(name) for name in declared for operation in costs.locks[name].operations}
    rows: list[tuple] = []
    for number in Operation:
        operation = costs.operations.get(number.key, FREE)
        touched = _rows(costs, number.key, operation, names, layout)
        category = Category.of(operation.category)
        last = len(rows) + len(touched)
        atomics = 2 * operation.mutexes + operation.atomics
        mutexes = operation.mutexes if locked else 0
        lock = under.get(number.key, 0)
        cycles = round(operation.cycles * costs.cycles_scale)
        operations[number] = (cycles, category, atomics * atomic_cycles, mutexes, lock, len(rows), last)
        rows += touched
    touches = simulation.add(machine, "touch", state.Touch.dtype, len(rows))
    touches[: len(rows)] = rows
    for name in ("receive_ring", "receive_buffer", "transmit_ring"):
        machine[f"{name}_kind"] = names.index(name) if name in names else -1
    machine["receive_buffer_lines"] = costs.structures["receive_buffer"].lines if "receive_buffer" in names else 0
    for name in ("inpcb", "timers"):
        simulation.stack[f"{name}_kind"] = names.index(name) if name in names and costs.structures[name].modelled else -1


def _rows(costs: CostsConfig, key: str, operation: OperationCost, names: list[str], layout: np.ndarray) -> list[tuple]:
    """Return an operation's footprint as rows of `state.Touch`."""
    rows = []
    for text in operation.touches:
        touch = parse_touch(text, f"costs.operations.{key}.touches", costs.structures)
        if not costs.structures[touch.structure].modelled:
            continue
        kind = names.index(touch.structure)
        first_line, lines, per = (int(value) for value in layout[kind])
        rows.append((first_line + touch.first_line, lines, kind, touch.count, per, touch.access))
    return rows


def data_part(cache: CacheConfig, instruction_bytes: int) -> CacheConfig:
    """Return the part of a cache that is left for data, at least one way, if hot instructions occupy whole ways of it."""
    way_bytes = cache.size_bytes // cache.ways
    ways = max(1, cache.ways - round(instruction_bytes / way_bytes))
    return dataclasses.replace(cache, size_bytes=ways * way_bytes, ways=ways)
