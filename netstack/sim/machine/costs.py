"""What a stack operation costs, as data: instruction cycles and a footprint of cache lines.

Operations and structures come from ``conf/costs/*.yaml``. Knows how a footprint is written, not what it costs: the
caches decide that.
"""

import re
from dataclasses import dataclass, field

from netstack.errors import ConfigError

CATEGORIES = (
    "protocol",
    "application",
    "copy",
    "driver",
    "interrupt",
    "scheduling",
    "lock_atomic",
    "lock_spin",
    "lock_sleep",
    "cache_stall",
    "idle",
)
"""Where a core's cycles go.

`lock_atomic` are the locked instructions of a multiprocessor kernel, `lock_spin` is waiting, and `lock_sleep` the work of
going to sleep on a lock and being woken from it.
"""

CHARGEABLE = ("protocol", "application", "copy", "driver", "interrupt", "scheduling", "lock_spin", "lock_sleep")

INSTANCES = ("kernel", "core", "thread", "flow", "bucket", "lock", "group", "nic", "tx_slot", "rx_slot", "mbuf", "listener")
"""What a structure exists once for; an operation is charged against the current instance of each."""

OPERATIONS = (
    "app_event",  # the application's event loop: one ready connection out of the event queue
    "app_wait",  # asking for events when none is ready
    "write_call",  # system call write(): entry, file and socket checks, exit
    "sosend_unit",  # one unit of zero-copy socket send: map the page, build its mbuf, append
    "page_wire",  # wire a page of the application, under the page queues' lock
    "lookup",  # hash the 4-tuple and walk a bucket's chain to the pcb
    "pru_send",  # protocol send request: checks before tcp_output
    "tcp_output",  # build one segment: window checks, header template, timers
    "callout_set",  # start or stop a timer, under the callout wheel's lock
    "route_lookup",  # find the route and the link-layer address, under the routing table's lock
    "ip_output",  # IP header, interface queue
    "driver_transmit",  # one frame into the transmit ring
    "driver_transmit_done",  # reclaim one descriptor, free its mbufs
    "interrupt",  # interrupt entry, acknowledge the NIC, schedule the inbound thread
    "driver_receive",  # one frame from the receive ring, refill the descriptor
    "ip_input",  # ether_input and ip_input of one packet
    "tcp_predict",  # segment checks, options and header prediction: after it, the segment cannot change the connection table
    "tcp_input",  # established-state segment processing
    "sb_drop",  # one acknowledged mbuf off the send buffer, free it
    "page_unwire",  # give a page back, under the page queues' lock
    "so_wakeup",  # tell the event queue that a socket became writable
    "mbuf_alloc",  # one mbuf from the core's free list
    "mbuf_free",  # one mbuf to the core's free list
    "mbuf_zone",  # exchange a batch of mbufs with the shared zone
    "timer",  # one expired TCP timer
    "lock_acquire",  # uncontended acquisition of a mutex
    "lock_release",  # release of a mutex
    "lock_block",  # turnstile: lend priority, go to sleep
    "lock_unblock",  # turnstile: wake the sleepers
    "context_switch",  # choose the next thread and switch to it
    "wakeup",  # make a thread runnable
    "ipi_send",  # interrupt another core
    "ipi_receive",  # be interrupted by another core
    "message_send",  # put a request or packet on an owner's message port
    "message_receive",  # take one off the port
    "lookup_reference",  # reference of a connection that was found without a lock, taken and dropped
    "bucket_lock",  # lock of one bucket of the connection table, and the connection's reference count
    "backlog_add",  # put a packet on the backlog of a connection that an application works on
    "backlog_take",  # take one off the backlog
    "message_append",  # put a request or packet on a port of this core, which no other core touches
    "message_collect",  # take messages off such a port
    "message_post",  # put one into the queue of another core's interprocessor interrupts
    "message_deliver",  # take one out of this core's own queue of such, and append it to its port
    "perimeter_add",  # leave a message in the queue of a perimeter
    "perimeter_take",  # take one out of the queue
    "connection_create",  # answer a SYN: pcb, timers and socket of a new connection
    "connection_insert",  # put a pcb into its bucket of the connection table
    "connection_remove",  # take a pcb out of its bucket, free it with its socket
    "bucket_section",  # lock of one bucket for an insertion or a removal, where look-ups take no lock of all
    "listener_queue",  # one connection into, between or out of the queues of a listening socket, under its lock
    "accept_call",  # system call accept(): descriptor, file, the peer's address, events of the new socket
    "close_call",  # system call close(): descriptor, file, events
    "reset",  # answer a segment of no connection with a reset
)


@dataclass
class StructureCost:
    """A data structure: how many cache lines it takes, and what it exists once for."""

    lines: int = 1
    per: str = "kernel"


@dataclass
class OperationCost:
    """An operation: instruction cycles without data stalls, the category they count as, and the lines touched.

    A touch reads ``<structure> <first>[-<last>] r|w``, for example ``tcpcb 0-3 w``: lines 0 to 3 are written. `atomics` are
    the locked instructions inside (two a mutex, one a reference count): a kernel that locks nothing has none.
    """

    cycles: int = 0
    atomics: int = 0
    category: str = "protocol"
    touches: list[str] = field(default_factory=list)
    source: str = ""


@dataclass
class CostsConfig:
    """All costs of one operating system's stack.

    `instructions_in_l2_bytes` of hot kernel and application text stay in every core's unified L2, as often as they are
    used, and leave so much less of it for data: whole ways, at least one of which remains.
    """

    name: str = "none"
    source: str = ""
    hash_buckets: int = 512
    instructions_in_l2_bytes: int = 0
    structures: dict[str, StructureCost] = field(default_factory=dict)
    operations: dict[str, OperationCost] = field(default_factory=dict)

    def validate(self) -> None:
        """Raise ConfigError for the first cost that cannot be charged."""
        if not 1 <= self.hash_buckets <= 1 << 24 or self.hash_buckets & (self.hash_buckets - 1):
            raise ConfigError("costs.hash_buckets", self.hash_buckets, "must be a power of two up to 16777216")
        if not 0 <= self.instructions_in_l2_bytes <= 1 << 30:
            raise ConfigError(
                "costs.instructions_in_l2_bytes", self.instructions_in_l2_bytes, "must be a whole number from 0 to 1073741824"
            )
        for name, structure in self.structures.items():
            if structure.per not in INSTANCES:
                raise ConfigError(f"costs.structures.{name}.per", structure.per, f"allowed are {', '.join(INSTANCES)}")
            if not 1 <= structure.lines <= 1024:
                raise ConfigError(f"costs.structures.{name}.lines", structure.lines, "must be from 1 to 1024")
        for name, operation in self.operations.items():
            key = f"costs.operations.{name}"
            if name not in OPERATIONS:
                raise ConfigError(key, "given", f"unknown operation; known are {', '.join(OPERATIONS)}")
            if operation.category not in CHARGEABLE:
                raise ConfigError(f"{key}.category", operation.category, f"allowed are {', '.join(CHARGEABLE)}")
            for field_name in ("cycles", "atomics"):
                if not 0 <= getattr(operation, field_name) <= 1_000_000:
                    raise ConfigError(f"{key}.{field_name}", getattr(operation, field_name), "must be from 0 to 1000000")
            for touch in operation.touches:
                parse_touch(touch, f"{key}.touches", self.structures)


@dataclass(frozen=True)
class Touch:
    """One row of a footprint: `count` lines of `structure` from `first_line` on."""

    structure: str
    first_line: int
    count: int
    write: bool


_TOUCH = re.compile(r"(\w+) (\d+)(?:-(\d+))? ([rw])")


def parse_touch(text: str, key: str, structures: dict[str, StructureCost]) -> Touch:
    """Read one touch. Raises ConfigError when it is malformed or leaves its structure."""
    match = _TOUCH.fullmatch(text)
    if match is None:
        raise ConfigError(key, repr(text), "a touch reads '<structure> <first>[-<last>] r|w'")
    structure, first, last, mode = match[1], int(match[2]), int(match[3] or match[2]), match[4]
    if structure not in structures:
        raise ConfigError(key, repr(text), f"unknown structure; known are {', '.join(structures)}")
    if not first <= last < structures[structure].lines:
        raise ConfigError(key, repr(text), f"{structure} has lines 0 to {structures[structure].lines - 1}")
    return Touch(structure, first, last - first + 1, mode == "w")
