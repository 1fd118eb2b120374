"""Lays out the stack: the organization's plan, the connection table, mbufs, items, queues and the timer wheel."""

import numpy as np

from netstack.sim.build.simulation import Simulation, assign
from netstack.sim.build.sizes import PORT_CAPACITY, Sizes, stream_bytes
from netstack.sim.config import SimulationConfig
from netstack.sim.machine.costs import OperationCost
from netstack.sim.machine.state import Section
from netstack.sim.organization.plan import plan_of
from netstack.sim.stack import records, state
from netstack.sim.stack.histogram import BUCKETS
from netstack.sim.stack.numbers import ItemKind, Side
from netstack.sim.stack.timer_wheel import TICK_US
from netstack.sim.workload.config import EPHEMERAL_PORTS
from netstack.sim.workload.distributions import SAMPLES, DistributionConfig
from netstack.sim.workload.peer import ALL_PORTS
from netstack.tcp.header import SEGMENT
from netstack.tcp.lookup import BUCKET
from netstack.tcp.pcb import COLD, PCB

NO_LIMIT = 1 << 40
DRAWS = 1 << 32  # values of a draw
WHEEL_SLOTS = 4096


def build_stack(simulation: Simulation, sizes: Sizes) -> None:
    """Fill in the stack's record and its tables, without connections."""
    config, stack = simulation.config, simulation.stack
    workload, clock_mhz = config.workload, config.machine.clock_mhz
    plan = plan_of(config.org)
    backlogs = config.flows if plan.use_backlog else 0
    assign(
        stack,
        conns=config.flows,
        clients=config.conns,
        groups=sizes.population.groups,
        buckets_per_group=sizes.buckets_per_group,
        send_buffer=sizes.send_buffer_bytes,
        write_bytes=workload.write_bytes,
        events_per_call=workload.events_per_call,
        send_unit=workload.send_unit_bytes,
        lowat=min(workload.lowat_bytes, sizes.send_buffer_bytes),
        read_delay=round(workload.read_delay_us * clock_mhz),
        cycles_per_us=clock_mhz,
        app_threads=sizes.app_threads,
        ports=sizes.population.ports,
        port_capacity=PORT_CAPACITY,
        ipi_queue_first=sizes.population.ports,
        ring_first=sizes.population.queues - backlogs - sizes.population.rings,
        rings=sizes.population.rings,
        backlog_first=sizes.population.queues - config.flows,  # the last ones
        wheel_slots=WHEEL_SLOTS,
        tick_cycles=TICK_US * clock_mhz,
        next_tick=1,
        clock_next=TICK_US * clock_mhz,
        clocks=sizes.population.clocks,
        migrate_ticks=round(config.org.migrate_us / TICK_US),
        callout_last=-1,
        connections_end=workload.connections_end,
        bytes_per_connection=workload.bytes_per_connection,
        exchanges=workload.application != "writer",
        serves=workload.application in ("server", "proxy"),
        proxies=workload.application == "proxy",
        backends=workload.backends,
        backend_cycles=round(workload.backend_us * clock_mhz),
        requests_per_connection=workload.requests.per_connection or 0,
        outstanding=workload.requests.outstanding,
        open_loop=workload.requests.rate_per_second is not None,
        copies_sent=_costs_something(config.costs.operations["copy_send"]) if "copy_send" in config.costs.operations else 0,
        client_addresses=workload.client_addresses or 0,
        client_ports=_client_ports(config),
        backlog=workload.backlog or NO_LIMIT,
        loss_limit=[round(workload.loss.to_peers * DRAWS), round(workload.loss.to_host * DRAWS)],
        late_limit=[round(workload.reorder.to_peers * DRAWS), round(workload.reorder.to_host * DRAWS)],
        late_cycles=round(workload.reorder.delay_us * clock_mhz),
        streams=stream_bytes(workload),
        think_cycles=round(workload.think_us * clock_mhz),
        client_closes_first=workload.closes_first == "client",
        global_lock=0,
        group_lock_first=1,
        connection_lock_first=1,
        table_lock_first=sizes.population.machine.locks - sizes.population.tables,
    )
    assign(stack, **vars(plan))
    _build_connection_table(simulation, sizes)
    _build_exchanges(simulation)
    _build_buffers(simulation, sizes)
    for name, dtype, count in (
        ("queue", records.Queue.dtype, sizes.population.queues),
        ("ready", records.ReadyQueue.dtype, sizes.app_threads),
        ("port_wait", records.ReadyQueue.dtype, sizes.app_threads),
    ):
        table = simulation.add(stack, name, dtype, count)
        assign(table, head=-1, tail=-1)
        assign(table["section"], start=-1, end=-1)
    assign(simulation.add(stack, "held", records.Held.dtype, sizes.population.machine.nics * state.HELD), item=-1)
    assign(simulation.add(stack, "wheel", records.WheelSlot.dtype, WHEEL_SLOTS), head=-1)
    simulation.add(stack, "latency", records.Counter.dtype, state.LATENCY_BUCKETS)


def _build_connection_table(simulation: Simulation, sizes: Sizes) -> None:
    config, stack = simulation.config, simulation.stack
    churns = config.workload.connections_end
    for name in ("pcb", "peer"):
        pcbs = simulation.add(stack, name, PCB, config.flows)
        cold = simulation.add(stack, f"{name}_cold", COLD, config.flows, sparse=True)
        pcbs["cold_address"] = cold.ctypes.data + COLD.itemsize * np.arange(config.flows)
    simulation.add(stack, "pcb_template", PCB, len(Side) if churns else 0)
    late = config.flows if config.workload.reorder.to_peers > 0 else 0
    simulation.add(stack, "late", records.Late.dtype, late)
    simulation.add(stack, "late_segment", SEGMENT, late)
    simulation.add(stack, "flow", records.Flow.dtype, config.flows)
    ephemeral = config.workload.backends * EPHEMERAL_PORTS if config.workload.application == "proxy" else 0
    assign(simulation.add(stack, "ephemeral", records.EphemeralPort.dtype, ephemeral), flow=-1)
    buckets = simulation.add(stack, "bucket", BUCKET, sizes.population.groups * sizes.buckets_per_group)
    assign(buckets, head=-1)
    listens = churns or stack["marks_busy"]  # marks are looked at where no connection comes as well
    listeners = simulation.add(stack, "listener", records.Listener.dtype, sizes.population.listeners if listens else 0)
    assign(listeners["section"], start=-1, end=-1)
    simulation.add(stack, "theft", records.Counter.dtype, sizes.app_threads**2 if stack["marks_busy"] else 0)
    assign(simulation.add(stack, "group_section", Section.dtype, sizes.population.tables), start=-1, end=-1)
    assign(simulation.add(stack, "bucket_section", Section.dtype, len(buckets) if churns else 0), start=-1, end=-1)


def _client_ports(config: SimulationConfig) -> int:
    """Return how many ports each client has."""
    if config.workload.client_addresses is None:
        return ALL_PORTS
    return ALL_PORTS // -(-config.conns // config.workload.client_addresses)


def _costs_something(operation: OperationCost) -> bool:
    return operation.cycles > 0 or bool(operation.touches)


def _build_exchanges(simulation: Simulation) -> None:
    """Lay out what clients and servers exchange, and the quantiles of sizes and times."""
    config, stack = simulation.config, simulation.stack
    workload, requests = config.workload, config.workload.requests
    simulation.add(stack, "exchange", records.Exchange.dtype, config.flows if workload.application != "writer" else 0)
    simulation.add(stack, "request_latency", records.Counter.dtype, BUCKETS)
    interval_cycles = 0.0
    if requests.rate_per_second is not None:
        interval_cycles = config.conns / requests.rate_per_second * config.machine.clock_mhz * 1e6
    interval = DistributionConfig("exponential", mean=interval_cycles, most=1e15)
    for name, distribution in (
        ("request_size", requests.request_bytes),
        ("response_size", requests.response_bytes),
        ("service", requests.service_cycles),
        ("interval", interval),
    ):
        simulation.add(stack, name, records.Sample.dtype, SAMPLES)["value"] = distribution.samples()


def _build_buffers(simulation: Simulation, sizes: Sizes) -> None:
    """Put all mbufs into the shared zone, and all items into pools but the one item that each application and each clock owns."""
    stack, own_items = simulation.stack, sizes.app_threads + sizes.population.clocks
    mbufs = simulation.add(stack, "mbuf", records.Mbuf.dtype, sizes.mbufs)
    mbufs["next"] = _chain(np.arange(sizes.mbufs))
    assign(stack, mbufs=sizes.mbufs, free_mbuf=0, free_mbufs=sizes.mbufs)
    items = simulation.add(stack, "item", records.Item.dtype, sizes.items + own_items, sparse=True)
    items["kind"][sizes.items :] = ItemKind.SEND
    items["thread"][sizes.items :] = np.arange(own_items)
    pools = sizes.population.machine.cores_used if simulation.has_journal else 1
    assign(stack, items=sizes.items, pools=pools)
    table = simulation.add(stack, "pool", records.Pool.dtype, pools)
    shares = np.full(pools, sizes.items // pools) + (np.arange(pools) < sizes.items % pools)
    assign(table, head=-1, count=shares, untouched=np.cumsum(shares) - shares)
    simulation.add(stack, "segment", SEGMENT, sizes.items, sparse=True)
    simulation.add(stack, "out_segment", SEGMENT, len(Side))


def _chain(numbers: np.ndarray) -> np.ndarray:
    """Return the next-links of a free list of `numbers` in their order."""
    return np.append(numbers[1:], -1)
