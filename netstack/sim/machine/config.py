"""What a machine is made of, as data. Knows no TCP and no organization."""

import re
from dataclasses import dataclass, field

from netstack.errors import ConfigError
from netstack.sim.machine.last_level import MAX_LLC_WAYS
from netstack.sim.machine.recency import MAX_WAYS
from netstack.sim.machine.toeplitz import PUBLISHED_KEY

MAX_CORES = 128
MAX_NICS = 32
INTERRUPTS = ("fixed", "idle_core")


@dataclass
class CacheConfig:
    """A private set-associative cache.

    `replacement` says which line of a full set gives way: with `lru` the least recently used one, with `plru`, of an L2 only, the
    one that a binary tree of one bit per inner node points to.
    """

    size_bytes: int = 65536
    ways: int = 2
    replacement: str = "lru"


@dataclass
class LastLevelConfig:
    """A cache that each group of `cores_per` consecutive cores of a node shares. There is none if `size_bytes` is 0.

    With the `policy` `victim` it takes the lines that leave the private caches, and gives away those that are fetched from it.
    With `inclusive` it has all lines of the private caches: a line that leaves it leaves them too. It replaces the least recently
    used line. Its sets may be any number.

    Devices write to lines of the memory of their node in the cache of its first group, and put such a line into one of its first
    `ddio_ways` ways if it is not there. With 0 they write to memory.
    """

    size_bytes: int = 0
    ways: int = 16
    cores_per: int = 1
    policy: str = "victim"
    ddio_ways: int = 0


@dataclass
class LatencyConfig:
    """The stall of one access in core cycles, by where its line is found, and the cycles of a locked instruction on top.

    A store retires before its core owns the line. The core runs at most `store_run_ahead_cycles` ahead of its stores, then the
    store buffer is full. A locked instruction waits until the buffer is empty. With 0 a core waits for each store.

    Where groups of cores share a last-level cache, a fetch from a cache is from that one (`llc_hit_cycles`), from another private
    cache of the group (`cache_same_group_cycles`), or from any cache of another group in the same node or another one. A write to
    a line that only the own group holds takes `upgrade_same_group_cycles`.
    """

    l2_hit_cycles: int = 12
    memory_local_cycles: int = 170
    memory_remote_cycles: int = 230
    cache_same_node_cycles: int = 150
    cache_other_node_cycles: int = 230
    upgrade_cycles: int = 90
    store_run_ahead_cycles: int = 0
    atomic_cycles: int = 55
    llc_hit_cycles: int = 40
    cache_same_group_cycles: int = 70
    upgrade_same_group_cycles: int = 70


@dataclass
class NicConfig:
    """The network interfaces. All are alike and are numbered from 0.

    Interrupt k belongs to core k modulo the cores. With `interrupts` of `fixed` it always goes there, with `idle_core` to
    another one that idles if its own is busy. All are attached to the memory node `node`.

    An interrupt comes `interrupt_interval_us` after the last one of its queue at the earliest. With `interrupt_interval_most_us`
    the card adapts: a queue's interval is doubled, up to that, after a poll of more than 16 frames, and halved after one of less
    than 8. Polls are those of drives other than `interrupt`.

    With `interrupt_frames` above 0 it comes earlier when so many frames wait in the queue's ring.

    A card has `queues` receive and transmit queues for those organizations that use them, each with rings of these sizes. Receive
    side scaling takes a hash with `rss_key` (Toeplitz, 40 bytes in hexadecimal digits) to one of `rss_table` entries, which name
    the queues in turn. A `flow_table` of exact entries has so many of them.
    """

    count: int = 6
    link_mbps: float = 1000.0
    transmit_ring: int = 256
    receive_ring: int = 256
    interface_queue: int = 255
    interrupt_interval_us: float = 125.0
    interrupt_interval_most_us: float | None = None
    interrupt_frames: int = 0
    interrupts: str = "idle_core"
    queues: int = 1
    rss_table: int = 128
    rss_key: str = PUBLISHED_KEY
    flow_table: int = 0
    node: int = 0


@dataclass
class MachineConfig:
    """A shared-memory multiprocessor: cores with private L1 and L2, perhaps shared last-level caches, memory nodes and NICs.

    `page_placement` says where the pages of the kernel's structures lie in physical memory, which decides the L2 sets of their
    lines and their memory nodes: one after the other, on the nodes in turn (`consecutive`), or drawn from the point's seed
    (`random`). An L1 is indexed before addresses are translated: pages lie there as the structures do.

    An idle core needs `wake_us` to leave its idle state before it acts on an interrupt. An interrupt that a core takes while it
    runs a thread takes `interrupt_evicts_lines` lines out of its L1: of one set after the other the one used least recently.
    """

    name: str = "opteron_2x2"
    cores: int = 4
    nodes: int = 2
    clock_mhz: int = 2200
    line_bytes: int = 64
    l1: CacheConfig = field(default_factory=lambda: CacheConfig(65536, 2))
    l2: CacheConfig = field(default_factory=lambda: CacheConfig(1048576, 16))
    l2_policy: str = "exclusive"
    llc: LastLevelConfig = field(default_factory=LastLevelConfig)
    page_placement: str = "consecutive"
    latency: LatencyConfig = field(default_factory=LatencyConfig)
    ipi_latency_us: float = 1.0
    wake_us: float = 0.0
    interrupt_evicts_lines: int = 0
    nic: NicConfig = field(default_factory=NicConfig)

    @property
    def llcs(self) -> int:
        """How many last-level caches there are: as many in each node, by the one with the most cores."""
        most_cores = -(-self.cores // self.nodes)
        return self.nodes * -(-most_cores // self.llc.cores_per) if self.llc.size_bytes > 0 else 0

    def validate(self) -> None:
        """Raise ConfigError for the first value that no machine can have."""
        _whole("machine.cores", self.cores, 1, MAX_CORES)
        _whole("machine.nodes", self.nodes, 1, self.cores)
        _whole("machine.clock_mhz", self.clock_mhz, 1, 100_000)
        _whole("machine.line_bytes", self.line_bytes, 16, 1024)
        for level, cache in (("l1", self.l1), ("l2", self.l2)):
            key = f"machine.{level}"
            _whole(f"{key}.ways", cache.ways, 1, MAX_WAYS)
            _whole(f"{key}.size_bytes", cache.size_bytes, self.line_bytes * cache.ways, 1 << 30)
            way_bytes = self.line_bytes * cache.ways
            sets = cache.size_bytes // way_bytes
            if cache.size_bytes % way_bytes or sets & (sets - 1):
                raise ConfigError(
                    f"{key}.size_bytes",
                    cache.size_bytes,
                    f"must be line_bytes x ways ({self.line_bytes} x {cache.ways}) times a power of two of sets",
                )
        _one_of("machine.l2.replacement", self.l2.replacement, "lru", "plru")
        if self.l1.replacement != "lru":
            raise ConfigError("machine.l1.replacement", self.l1.replacement, "must be lru: only an L2 may have plru")
        _one_of("machine.l2_policy", self.l2_policy, "exclusive", "inclusive")
        self._validate_llc()
        _one_of("machine.page_placement", self.page_placement, "consecutive", "random")
        for name, value in vars(self.latency).items():
            _whole(f"machine.latency.{name}", value, 0, 100_000)
        _real("machine.ipi_latency_us", self.ipi_latency_us, 0.0, 1000.0)
        _real("machine.wake_us", self.wake_us, 0.0, 1000.0)
        _whole("machine.interrupt_evicts_lines", self.interrupt_evicts_lines, 0, 65536)
        _whole("machine.nic.count", self.nic.count, 1, MAX_NICS)
        if not 0 < self.nic.link_mbps <= 1_000_000:
            raise ConfigError("machine.nic.link_mbps", self.nic.link_mbps, "must be above 0 and at most 1000000")
        for name in ("transmit_ring", "receive_ring"):
            _whole(f"machine.nic.{name}", getattr(self.nic, name), 8, 65536)
        _whole("machine.nic.interface_queue", self.nic.interface_queue, 0, 65536)
        _whole("machine.nic.queues", self.nic.queues, 1, MAX_CORES)
        _whole("machine.nic.rss_table", self.nic.rss_table, 1, 1 << 16)
        if self.nic.rss_table & (self.nic.rss_table - 1):
            raise ConfigError("machine.nic.rss_table", self.nic.rss_table, "must be a power of two")
        if not re.fullmatch("[0-9a-fA-F]{80}", self.nic.rss_key):
            raise ConfigError("machine.nic.rss_key", self.nic.rss_key, "must be 80 hexadecimal digits")
        _whole("machine.nic.flow_table", self.nic.flow_table, 0, 1 << 24)
        if self.nic.interrupts not in INTERRUPTS:
            raise ConfigError("machine.nic.interrupts", self.nic.interrupts, f"allowed are {', '.join(INTERRUPTS)}")
        _real("machine.nic.interrupt_interval_us", self.nic.interrupt_interval_us, 0.0, 100_000.0)
        most_us = self.nic.interrupt_interval_most_us
        if most_us is not None:
            _real("machine.nic.interrupt_interval_most_us", most_us, self.nic.interrupt_interval_us, 100_000.0)
        _whole("machine.nic.interrupt_frames", self.nic.interrupt_frames, 0, self.nic.receive_ring)
        _whole("machine.nic.node", self.nic.node, 0, self.nodes - 1)

    def _validate_llc(self) -> None:
        """Raise ConfigError for the first value that no last-level cache can have."""
        llc = self.llc
        _whole("machine.llc.ways", llc.ways, 1, MAX_LLC_WAYS)
        _whole("machine.llc.cores_per", llc.cores_per, 1, MAX_CORES)
        _one_of("machine.llc.policy", llc.policy, "victim", "inclusive")
        _whole("machine.llc.ddio_ways", llc.ddio_ways, 0, llc.ways)
        _whole("machine.llc.size_bytes", llc.size_bytes, 0, 1 << 30)
        if llc.size_bytes % (self.line_bytes * llc.ways):
            raise ConfigError(
                "machine.llc.size_bytes",
                llc.size_bytes,
                f"must be a multiple of line_bytes x ways ({self.line_bytes} x {llc.ways}), or 0 for none",
            )
        if llc.ddio_ways > 0 and llc.size_bytes == 0:
            raise ConfigError(
                "machine.llc.ddio_ways", llc.ddio_ways, "must be 0 without a last-level cache (machine.llc.size_bytes)"
            )


def _whole(key: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ConfigError(key, value, f"must be a whole number from {low} to {high}")


def _one_of(key: str, value: str, *allowed: str) -> None:
    if value not in allowed:
        raise ConfigError(key, value, f"allowed are {', '.join(allowed)}")


def _real(key: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(key, value, f"must be from {low:g} to {high:g}")
