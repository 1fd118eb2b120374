"""Lays out a simulation's state from its configuration: tables, cache lines of structures, threads, connections.

Nothing happens here in simulated time. All randomness of a point is drawn here, from its seed.
"""

from dataclasses import dataclass, field

import numpy as np

from netstack.jit.journal import BUILDING, attach_functions
from netstack.jit.records import allocate
from netstack.jit.tables import JOURNAL_FIELD
from netstack.sim.build.connections import build_connections
from netstack.sim.config import SimulationConfig
from netstack.sim.kernel.connections import PARTITIONED, REPLICATED, SHARED
from netstack.sim.kernel.paths import EVENTS, ZONE_BATCH, ZONE_LIMIT
from netstack.sim.machine.config import CacheConfig
from netstack.sim.machine.costs import CATEGORIES, CHARGEABLE, INSTANCES, OPERATIONS, parse_touch
from netstack.sim.machine.recency import initial_order
from netstack.sim.machine.state import (
    ARRIVAL_DTYPE,
    BLOCKED,
    CONNECTION_LOCK,
    CORE_DTYPE,
    COUNT_DTYPE,
    EMPTY,
    GLOBAL_LOCK,
    INDEX_DTYPE,
    KIND_DTYPE,
    LINK_UNITS,
    LOCK_CLASS_DTYPE,
    LOCK_CLASSES,
    LOCK_DTYPE,
    MACHINE_DTYPE,
    MACHINE_WITH_JOURNAL_DTYPE,
    NEVER,
    NIC_DTYPE,
    OPERATION_DTYPE,
    ORDER_BYTES,
    SECTION_DTYPE,
    SLOT_DTYPE,
    THREAD_DTYPE,
    TOUCH_DTYPE,
    l1_set_stride,
    l2_set_stride,
    line_stride,
)
from netstack.sim.organization.config import LOOKUP_FIRST
from netstack.sim.organization.items import (
    APPLICATION_THREAD,
    CLOCK_THREAD,
    INBOUND_THREAD,
    LOCK_CONNECTION,
    LOCK_GROUP,
    LOOKUP_LOCK,
    NEXT,
    NO_LOCK,
    PORT_THREAD,
    SERIALIZE,
)
from netstack.sim.stack.state import (
    CELL_DTYPE,
    COUNTER_DTYPE,
    FLOW_DTYPE,
    LATENCY_BUCKETS,
    MBUF_DTYPE,
    PACKET_DTYPE,
    POOL_DTYPE,
    QUEUE_DTYPE,
    READY_DTYPE,
    SEND,
    STACK_DTYPE,
    STACK_WITH_JOURNAL_DTYPE,
)
from netstack.sim.stack.timer_wheel import TICK_US
from netstack.sim.workload.config import HEADER_BYTES
from netstack.tcp.header import SEGMENT
from netstack.tcp.lookup import BUCKET
from netstack.tcp.pcb import PCB

WHEEL_SLOTS = 4096
PORT_CAPACITY = 1024  # packets a message port holds
PRIORITIES = {APPLICATION_THREAD: 0, CLOCK_THREAD: 1, PORT_THREAD: 2, INBOUND_THREAD: 3}
REQUIRED_STRUCTURES = ("inpcb", "mbuf", "transmit_ring", "receive_ring", "receive_buffer")


@dataclass
class Simulation:
    """A simulation's state. `machine` and `stack` are the two records that compiled code takes; `tables` keep memory alive."""

    config: SimulationConfig
    machine: np.ndarray
    stack: np.ndarray
    tables: dict[str, np.ndarray] = field(default_factory=dict)
    structures: list[str] = field(default_factory=list)

    @property
    def m(self):
        """The machine's record."""
        return self.machine.view(np.recarray)[0]

    @property
    def s(self):
        """The stack's record."""
        return self.stack.view(np.recarray)[0]


@dataclass(frozen=True)
class Sizes:
    """How many of everything a configuration needs."""

    cores: int
    cores_used: int
    threads: int
    app_threads: int
    listeners: int
    groups: int
    ports: int
    queues: int
    locks: int
    mbufs: int
    packets: int
    transmit_slots: int
    receive_slots: int
    arrivals: int
    send_buffer_bytes: int
    buckets_per_group: int
    instances: dict[str, int]
    lines: int


def sizes_of(config: SimulationConfig) -> Sizes:
    """Count what a simulation of `config` consists of."""
    machine, org, workload, nic = config.machine, config.org, config.workload, config.machine.nic
    cores_used = config.cores_used
    app_threads = workload.threads_per_core * cores_used
    groups = org.group_count(machine.cores)
    ports = org.port_count(machine.cores)
    queues = ports + (ports if org.port == "ipi_queue" else 0) + (config.conns if org.contention == "backlog" else 0)
    threads = app_threads + nic.count + ports + 1
    transmit_slots = nic.transmit_ring + nic.interface_queue
    units = workload.send_buffer_bytes // workload.send_unit_bytes
    units = max(1, min(units, workload.mbufs // config.conns))
    send_buffer_bytes = units * workload.send_unit_bytes
    mbufs = config.conns * units + nic.count * transmit_slots + cores_used * (ZONE_LIMIT + 2 * ZONE_BATCH) + app_threads
    bytes_in_flight = nic.link_mbps / 8 * workload.rtt_max_us
    frames = int(bytes_in_flight / workload.mtu_bytes) + transmit_slots + 64
    arrivals = 2 * (config.conns // nic.count + 1 + frames)
    packets = nic.count * (arrivals + nic.receive_ring) + ports * PORT_CAPACITY + config.conns
    if workload.bytes_per_connection > 0:
        arrivals += 2 * config.conns // nic.count  # the last segments of a connection and the SYN of the next
        packets = nic.count * (arrivals + nic.receive_ring) + ports * PORT_CAPACITY + 3 * config.conns
    if org.handoff == "inline_else_queue":
        packets += 2 * config.conns * units  # no queue drops: a request or the acknowledgments of each unit of a send buffer
    listeners = {"shared": 1, "partitioned": groups, "replicated": app_threads}[org.listener]
    locks = 1 + (groups if org.serialize == "group_lock" else 0) + (config.conns if org.serialize == "connection_lock" else 0)
    buckets_per_group = max(8, config.costs.hash_buckets // groups)
    instances = {
        "kernel": 1,
        "core": machine.cores,
        "thread": threads,
        "flow": config.conns,
        "bucket": groups * buckets_per_group // 8 + 1,
        "lock": locks,
        "group": max(groups, ports),
        "nic": nic.count,
        "tx_slot": nic.count * nic.transmit_ring,
        "rx_slot": nic.count * nic.receive_ring,
        "mbuf": mbufs,
        "listener": listeners,
    }
    lines = sum(structure.lines * instances[structure.per] for structure in config.costs.structures.values())
    return Sizes(
        machine.cores,
        cores_used,
        threads,
        app_threads,
        listeners,
        groups,
        ports,
        queues,
        locks,
        mbufs,
        packets,
        transmit_slots,
        nic.receive_ring,
        arrivals,
        send_buffer_bytes,
        buckets_per_group,
        instances,
        lines,
    )


def memory_needed_bytes(config: SimulationConfig) -> int:
    """Return how much memory the tables of a simulation take, within a few MB."""
    sizes = sizes_of(config)
    flow = 2 * PCB.itemsize + FLOW_DTYPE.itemsize + LOCK_DTYPE.itemsize
    return (
        sizes.lines * line_stride(sizes.cores)
        + config.conns * flow
        + sizes.mbufs * MBUF_DTYPE.itemsize
        + sizes.packets * (PACKET_DTYPE.itemsize + SEGMENT.itemsize)
        + config.machine.nic.count * sizes.arrivals * ARRIVAL_DTYPE.itemsize
        + 100_000_000
    )


def build(config: SimulationConfig, *, with_journal: bool = False) -> Simulation:
    """Return the state of a simulation at time zero, with room for the address of a journal if it is to keep one."""
    sizes = sizes_of(config)
    machine = allocate(MACHINE_WITH_JOURNAL_DTYPE if with_journal else MACHINE_DTYPE, 1)
    stack = allocate(STACK_WITH_JOURNAL_DTYPE if with_journal else STACK_DTYPE, 1)
    simulation = Simulation(config, machine, stack)
    if with_journal:
        attach_functions(BUILDING, building=True)
        simulation.m["journal"] = simulation.s["journal"] = BUILDING.ctypes.data
    _build_machine(simulation, sizes)
    _build_costs(simulation, sizes)
    _build_stack(simulation, sizes)
    _build_threads(simulation, sizes)
    build_connections(config, simulation.s, simulation.tables, sizes.app_threads)
    return simulation


def _add(simulation: Simulation, record: np.void, name: str, dtype: np.dtype, length: int) -> np.ndarray:
    table = allocate(dtype, length)
    simulation.tables[name] = table
    record[f"{name}_table"] = table.ctypes.data
    return table


def _build_machine(simulation: Simulation, sizes: Sizes) -> None:
    config = simulation.config.machine
    m = simulation.m
    m["cores"], m["cores_used"], m["nodes"] = sizes.cores, sizes.cores_used, config.nodes
    m["threads"], m["nics"] = sizes.threads, config.nic.count
    l2 = data_part(config.l2, simulation.config.costs.instructions_in_l2_bytes)
    for level, cache, stride in (("l1", config.l1, l1_set_stride(config.l1.ways)), ("l2", l2, l2_set_stride(l2.ways))):
        sets = cache.size_bytes // (config.line_bytes * cache.ways)
        m[f"{level}_ways"], m[f"{level}_sets"], m[f"{level}_stride"] = cache.ways, sets, stride
        memory = _add(simulation, m, level, np.dtype("u1"), sizes.cores * sets * stride)
        memory.view(np.int32)[:] = EMPTY
    simulation.tables["l2"].reshape(-1, int(m["l2_stride"]))[:, :ORDER_BYTES].view(np.int64)[:] = initial_order(l2.ways)
    m["exclusive"] = config.l2_policy == "exclusive"
    for name, value in vars(config.latency).items():
        if name != "atomic_cycles":
            m[name.removesuffix("_cycles")] = value
    m["ipi_latency"] = round(config.ipi_latency_us * config.clock_mhz)
    m["interrupt_interval"] = round(config.nic.interrupt_interval_us * config.clock_mhz)
    m["link_units_per_byte"] = round(8 * config.clock_mhz * LINK_UNITS / config.nic.link_mbps)
    m["transmit_slots"], m["transmit_descriptors"] = sizes.transmit_slots, config.nic.transmit_ring
    m["receive_slots"], m["arrival_capacity"] = sizes.receive_slots, sizes.arrivals
    m["locks"], m["lines"] = sizes.locks, sizes.lines
    sections = _add(simulation, m, "section", SECTION_DTYPE, len(LOCK_CLASSES))
    sections["start"], sections["end"] = -1, -1
    cores = _add(simulation, m, "core", CORE_DTYPE, sizes.cores)
    cores["next_time"], cores["thread"], cores["spinning_on"], cores["free_mbuf"] = NEVER, -1, -1, -1
    cores["node"] = np.arange(sizes.cores) * config.nodes // sizes.cores
    cores["instance"][:, INSTANCES.index("core")] = np.arange(sizes.cores)
    locks = _add(simulation, m, "lock", LOCK_DTYPE, sizes.locks)
    locks["owner"] = -1
    connection_locks = simulation.config.org.serialize == "connection_lock"
    locks["lock_class"] = CONNECTION_LOCK if connection_locks else GLOBAL_LOCK
    locks["lock_class"][0] = GLOBAL_LOCK
    _add(simulation, m, "lock_class", LOCK_CLASS_DTYPE, len(LOCK_CLASSES))
    nics = _add(simulation, m, "nic", NIC_DTYPE, config.nic.count)
    nics["next_time"], nics["brief_start"], nics["brief_end"] = NEVER, -1, -1
    nics["last_interrupt"] = -int(m["interrupt_interval"])
    nics["core"] = np.arange(config.nic.count) % sizes.cores_used
    _add(simulation, m, "transmit", SLOT_DTYPE, config.nic.count * sizes.transmit_slots)
    _add(simulation, m, "receive", INDEX_DTYPE, config.nic.count * sizes.receive_slots)
    _add(simulation, m, "arrival", ARRIVAL_DTYPE, config.nic.count * sizes.arrivals)


def _build_costs(simulation: Simulation, sizes: Sizes) -> None:
    """Lay out every structure's instances on consecutive lines and turn footprints into rows."""
    costs = simulation.config.costs
    m = simulation.m
    names = list(costs.structures)
    simulation.structures = names
    m["kinds"] = len(names)
    kinds = _add(simulation, m, "kind", KIND_DTYPE, len(names))
    next_line = 0
    for index, name in enumerate(names):
        structure = costs.structures[name]
        kinds[index] = (next_line, structure.lines, INSTANCES.index(structure.per))
        next_line += structure.lines * sizes.instances[structure.per]
    m["line_stride"] = line_stride(sizes.cores)
    _add(simulation, m, "line", np.dtype("u1"), sizes.lines * int(m["line_stride"]))
    _add(simulation, m, "count", COUNT_DTYPE, sizes.cores * len(names))
    operations = _add(simulation, m, "operation", OPERATION_DTYPE, len(OPERATIONS))
    locked = simulation.config.org.serialize != "none"
    atomic_cycles = simulation.config.machine.latency.atomic_cycles if locked else 0
    rows = []
    for index, name in enumerate(OPERATIONS):
        operation = costs.operations.get(name)
        first = len(rows)
        if operation is None:
            operations[index] = (0, CATEGORIES.index(CHARGEABLE[0]), 0, first, first)
            continue
        for text in operation.touches:
            touch = parse_touch(text, f"costs.operations.{name}.touches", costs.structures)
            kind = names.index(touch.structure)
            first_line, lines, per = (int(value) for value in kinds[kind])
            rows.append((kind, first_line + touch.first_line, lines, per, touch.count, touch.write))
        category = CATEGORIES.index(operation.category)
        operations[index] = (operation.cycles, category, operation.atomics * atomic_cycles, first, len(rows))
    touches = _add(simulation, m, "touch", TOUCH_DTYPE, len(rows))
    touches[: len(rows)] = rows
    for name in ("receive_ring", "receive_buffer", "transmit_ring"):
        m[f"{name}_kind"] = names.index(name) if name in names else -1
    m["receive_buffer_lines"] = costs.structures["receive_buffer"].lines if "receive_buffer" in names else 0
    simulation.s["inpcb_kind"] = names.index("inpcb") if "inpcb" in names else -1


def _build_stack(simulation: Simulation, sizes: Sizes) -> None:
    config = simulation.config
    org, workload, s = config.org, config.workload, simulation.s
    s["conns"], s["groups"], s["buckets_per_group"] = config.conns, sizes.groups, sizes.buckets_per_group
    s["send_buffer"], s["write_bytes"], s["send_unit"] = sizes.send_buffer_bytes, workload.write_bytes, workload.send_unit_bytes
    s["lowat"] = min(workload.lowat_bytes, sizes.send_buffer_bytes)
    s["cycles_per_us"] = config.machine.clock_mhz
    s["app_threads"], s["ports"], s["port_capacity"], s["batch"] = sizes.app_threads, sizes.ports, PORT_CAPACITY, org.batch
    s["wheel_slots"], s["tick_cycles"], s["next_tick"] = WHEEL_SLOTS, TICK_US * config.machine.clock_mhz, 1
    s["clock_next"], s["expired_head"] = s["tick_cycles"], -1
    s["queue_requests"] = org.transmit == "owner"
    s["ipi_queue_first"], s["backlog_first"] = sizes.ports, sizes.queues - config.conns  # the last ones
    s["queue_packets"] = org.handoff == "queue" or org.dispatch in ("software_hash", "netisr")
    s["input_by_owner"] = org.dispatch == "netisr"
    s["use_ipi_queues"], s["use_perimeter"] = org.port == "ipi_queue", org.handoff == "inline_else_queue"
    s["use_global_lock"] = org.lookup == "global_lock"
    s["lookup_first"], s["lookup_operation"] = org.lookup in LOOKUP_FIRST, -1
    if org.lookup in LOOKUP_FIRST:
        s["lookup_operation"] = OPERATIONS.index(LOOKUP_FIRST[org.lookup])
    s["use_backlog"] = org.contention == "backlog"
    s["lock_kind"] = {"connection_lock": LOCK_CONNECTION, "group_lock": LOCK_GROUP}.get(org.serialize, NO_LOCK)
    s["first_phase"] = LOOKUP_LOCK if org.lookup == "global_lock" else SERIALIZE
    s["bytes_per_connection"] = workload.bytes_per_connection
    s["think_cycles"] = round(workload.think_us * config.machine.clock_mhz)
    s["client_closes_first"] = workload.closes_first == "client"
    s["listener_kind"] = {"shared": SHARED, "partitioned": PARTITIONED, "replicated": REPLICATED}[org.listener]
    s["global_lock"], s["group_lock_first"], s["connection_lock_first"] = 0, 1, 1
    _add(simulation, s, "pcb", PCB, config.conns)
    _add(simulation, s, "peer", PCB, config.conns)
    buckets = _add(simulation, s, "bucket", BUCKET, sizes.groups * sizes.buckets_per_group)
    buckets["head"] = -1
    churns = workload.bytes_per_connection > 0
    for name, count in (("listener", sizes.listeners), ("bucket_section", len(buckets))):
        table = _add(simulation, s, name, SECTION_DTYPE, count if churns else 0)
        table["start"], table["end"] = -1, -1
    _add(simulation, s, "pcb_template", PCB, 2 if churns else 0)
    _add(simulation, s, "flow", FLOW_DTYPE, config.conns)
    mbufs = _add(simulation, s, "mbuf", MBUF_DTYPE, sizes.mbufs)
    mbufs["next"] = _chain(sizes.mbufs)
    s["mbufs"], s["free_mbuf"], s["free_mbufs"] = sizes.mbufs, 0, sizes.mbufs
    packets = _add(simulation, s, "packet", PACKET_DTYPE, sizes.packets + sizes.app_threads + 1)
    packets["kind"][sizes.packets :] = SEND
    s["packets"] = sizes.packets
    _build_pools(simulation, sizes.packets, sizes.cores_used if JOURNAL_FIELD in (simulation.stack.dtype.names or ()) else 1)
    _add(simulation, s, "segment", SEGMENT, sizes.packets)
    _add(simulation, s, "out_segment", SEGMENT, 2)
    for name, dtype, count in (("queue", QUEUE_DTYPE, sizes.queues), ("ready", READY_DTYPE, sizes.app_threads)):
        table = _add(simulation, s, name, dtype, count)
        table["brief_start"], table["brief_end"], table["head"], table["tail"] = -1, -1, -1, -1
    wheel = _add(simulation, s, "wheel", CELL_DTYPE, WHEEL_SLOTS)
    wheel["value"] = -1
    _add(simulation, s, "latency", COUNTER_DTYPE, LATENCY_BUCKETS)


def _build_pools(simulation: Simulation, packets: int, pools: int) -> None:
    """Deal out the free packets."""
    table = _add(simulation, simulation.s, "pool", POOL_DTYPE, pools)
    simulation.s["pools"] = pools
    following = simulation.tables["packet"]["next"]
    for pool, numbers in enumerate(np.array_split(np.arange(packets), pools)):
        table[pool] = (numbers[0], len(numbers))
        following[numbers] = np.append(numbers[1:], -1)


def _chain(length: int) -> np.ndarray:
    """Return next-links of a free list of `length` entries in order."""
    links = np.arange(1, length + 1)
    links[-1] = -1
    return links


def _build_threads(simulation: Simulation, sizes: Sizes) -> None:
    """Create the threads in the order application, inbound, port, clock, and place them on cores."""
    m, s, nics = simulation.m, simulation.s, simulation.config.machine.nic.count
    org = simulation.config.org
    table = _add(simulation, m, "thread", THREAD_DTYPE, sizes.threads)
    counts = ((APPLICATION_THREAD, sizes.app_threads), (INBOUND_THREAD, nics), (PORT_THREAD, sizes.ports), (CLOCK_THREAD, 1))
    kinds = [(kind, index) for kind, count in counts for index in range(count)]
    pinned = org.placement == "pinned"
    for number, (kind, index) in enumerate(kinds):
        thread = table[number]
        thread["kind"], thread["index"], thread["state"], thread["phase"] = kind, index, BLOCKED, NEXT
        thread["core"] = index % sizes.cores_used
        thread["pinned"] = thread["core"] if (org.binds_ports if kind == PORT_THREAD else pinned) else -1
        thread["priority"] = thread["base_priority"] = PRIORITIES[kind]
        thread["blocked_on"], thread["item"], thread["flow"], thread["writes_to"] = -1, -1, -1, -1
        thread["waits_for"] = EVENTS
    s["app_thread_first"], s["port_thread_first"] = 0, sizes.app_threads + nics
    s["clock_thread"] = sizes.threads - 1
    simulation.tables["nic"]["thread"] = sizes.app_threads + np.arange(nics)
    simulation.tables["queue"]["thread"][: sizes.ports] = s["port_thread_first"] + np.arange(sizes.ports)
    simulation.tables["packet"]["thread"][sizes.packets :] = np.arange(sizes.app_threads + 1)


def data_part(cache: CacheConfig, instruction_bytes: int) -> CacheConfig:
    """Return what is left of a cache for data when hot instructions occupy whole ways of it, at least one way."""
    way_bytes = cache.size_bytes // cache.ways
    ways = max(1, cache.ways - round(instruction_bytes / way_bytes))
    return CacheConfig(ways * way_bytes, ways)


def link_limit_mbps(config: SimulationConfig) -> float:
    """Return the payload rate at which all links are full: 941.48 Mb/s a Gigabit link at an MTU of 1,500 bytes."""
    wire = config.workload.mtu_bytes + 38
    return config.machine.nic.count * config.machine.nic.link_mbps * (config.workload.mtu_bytes - HEADER_BYTES) / wire
