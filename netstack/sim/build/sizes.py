"""How many of everything a configuration needs, and how much memory that takes. Allocates nothing."""

from dataclasses import dataclass

from netstack.sim.config import SimulationConfig
from netstack.sim.kernel.mbufs import ZONE_BATCH, ZONE_LIMIT
from netstack.sim.machine.cache_state import PAGE_LINES, Page
from netstack.sim.machine.directory import WORD_BYTES, words_per_line
from netstack.sim.machine.last_level import LLC_BYTES_PER_LINE
from netstack.sim.machine.nic import ETHERNET_OVERHEAD_BYTES
from netstack.sim.machine.numbers import Instance
from netstack.sim.machine.state import Arrival, Lock
from netstack.sim.organization.plan import Population, population_of
from netstack.sim.stack.records import Flow, Item, Mbuf
from netstack.sim.stack.state import BUCKETS_PER_LINE
from netstack.sim.workload.config import HEADER_BYTES, WorkloadConfig
from netstack.tcp.header import SEGMENT
from netstack.tcp.pcb import COLD, PCB

PORT_CAPACITY = 1024  # items in a message port above which packets are dropped
LEAST_BUCKETS = 8  # hash buckets per connection group
OTHER_BYTES = 100_000_000  # of a process, beside the tables that are counted


@dataclass(frozen=True)
class Sizes:
    """How many of everything a configuration needs."""

    cores: int  # of the machine
    llcs: int  # last-level caches
    population: Population  # of the organization
    threads: int  # of the kernel and of applications
    app_threads: int  # application threads
    mbufs: int  # of send buffers, transmit rings and free lists
    items: int  # in the pools
    transmit_slots: int  # per NIC: ring and interface queue
    receive_slots: int  # per NIC
    arrivals: int  # per NIC: most frames on the way
    send_buffer_bytes: int  # per connection
    buckets_per_group: int  # hash buckets of the connection table
    instances: dict[Instance, int]  # how many there are of each kind
    lines: int  # cache lines of all structures
    pages: int  # that these lines are on


def sizes_of(config: SimulationConfig) -> Sizes:
    """Return how many of everything a simulation of `config` needs."""
    machine, workload, nic, conns = config.machine, config.workload, config.machine.nic, config.flows
    population = population_of(config.org, machine, conns, workload.threads_per_core)
    nics, app_threads = population.machine.nics, workload.threads_per_core * population.app_cores
    threads = app_threads + nics + population.ports + population.clocks
    transmit_slots = nic.transmit_ring + nic.interface_queue
    units = max(1, min(workload.send_buffer_bytes // workload.send_unit_bytes, workload.mbufs // conns))
    mbufs = conns * units + nics * transmit_slots + population.machine.cores_used * (ZONE_LIMIT + 2 * ZONE_BATCH) + app_threads
    bytes_in_flight = nic.link_mbps / 8 * workload.rtt_max_us
    frames = int(bytes_in_flight / workload.mtu_bytes) + transmit_slots + 64
    arrivals = 2 * (conns // nics + 1 + frames)
    if population.inbound_like_applications:  # they wait for applications, and frames for them: one per segment
        arrivals += (conns // nics + 1) * (units * workload.send_unit_bytes // workload.mss_bytes + 1)
    items_per_conn = 1
    if workload.connections_end or workload.application != "writer":
        arrivals += 2 * conns // nics  # the last segments of a connection and the SYN of the next
        items_per_conn = 3
    if workload.application != "writer":
        longest_request = int(workload.requests.request_bytes.samples()[-1])
        frames_per_conn = workload.requests.outstanding * (2 + longest_request // workload.mss_bytes)
        arrivals += frames_per_conn * conns // nics
        mbufs += workload.requests.outstanding * conns  # the last one of each response is a part of a unit
    items = nics * (arrivals + nic.receive_ring) + population.ports * PORT_CAPACITY + items_per_conn * conns
    if workload.application == "reader":
        stream_frames = 2 * (stream_bytes(workload) // workload.mss_bytes + 2)  # a window, and once more in a recovery
        arrivals += stream_frames * (conns // nic.count + 1)  # all connections of a link may have the same queue
        items += stream_frames * conns
    if population.queued_units:
        items += 2 * conns * units  # these queues drop nothing: per unit of a send buffer a request or its acknowledgments
    buckets_per_group = max(LEAST_BUCKETS, config.costs.hash_buckets // population.groups)
    instances = {
        Instance.KERNEL: 1,
        Instance.CORE: machine.cores,
        Instance.CORE_PAIR: (machine.cores + 1) // 2,
        Instance.THREAD: threads,
        Instance.FLOW: conns,
        Instance.BUCKET: population.groups * buckets_per_group // BUCKETS_PER_LINE + 1,
        Instance.LOCK: population.machine.locks,
        Instance.GROUP: max(population.groups, population.ports, population.rings * app_threads),
        Instance.NIC: nics,
        Instance.TX_SLOT: nics * nic.transmit_ring,
        Instance.RX_SLOT: nics * nic.receive_ring,
        Instance.MBUF: mbufs,
        Instance.LISTENER: population.listeners,
    }
    lines = sum(structure.lines * instances[Instance.of(structure.per)] for structure in config.costs.structures.values())
    return Sizes(
        cores=machine.cores,
        llcs=machine.llcs,
        population=population,
        threads=threads,
        app_threads=app_threads,
        mbufs=mbufs,
        items=items,
        transmit_slots=transmit_slots,
        receive_slots=nic.receive_ring,
        arrivals=arrivals,
        send_buffer_bytes=units * workload.send_unit_bytes,
        buckets_per_group=buckets_per_group,
        instances=instances,
        lines=lines,
        pages=-(-lines // PAGE_LINES),
    )


def stream_bytes(workload: WorkloadConfig) -> int:
    """Return what the send buffer of a peer always holds that sends without end: more than any window; 0 if it does not."""
    return workload.receive_buffer_bytes + workload.send_buffer_bytes if workload.application == "reader" else 0


def memory_needed_bytes(config: SimulationConfig) -> int:
    """Return how many bytes a simulation takes at most, within a few MB: all of its tables.

    Cold state counts where the workload has losses or reordering. The few other connections that write theirs do not.
    """
    sizes, workload = sizes_of(config), config.workload
    losses = (workload.loss.to_peers, workload.loss.to_host, workload.reorder.to_peers, workload.reorder.to_host)
    pcb_bytes = PCB.itemsize + (COLD.itemsize if any(losses) else 0)
    flow_bytes = 2 * pcb_bytes + Flow.dtype.itemsize + Lock.dtype.itemsize
    return (
        sizes.lines * words_per_line(sizes.cores + sizes.llcs) * WORD_BYTES
        + sizes.llcs * config.machine.llc.size_bytes // config.machine.line_bytes * LLC_BYTES_PER_LINE
        + sizes.pages * Page.dtype.itemsize
        + config.flows * flow_bytes
        + sizes.mbufs * Mbuf.dtype.itemsize
        + sizes.items * (Item.dtype.itemsize + SEGMENT.itemsize)
        + sizes.population.machine.nics * sizes.arrivals * Arrival.dtype.itemsize
        + OTHER_BYTES
    )


def link_limit_mbps(config: SimulationConfig) -> float:
    """Return the payload rate of full links in Mb/s: 941.48 per Gigabit link at an MTU of 1,500 bytes."""
    wire_bytes = config.workload.mtu_bytes + ETHERNET_OVERHEAD_BYTES
    return config.machine.nic.count * config.machine.nic.link_mbps * (config.workload.mtu_bytes - HEADER_BYTES) / wire_bytes
