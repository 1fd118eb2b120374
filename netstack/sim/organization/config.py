"""An organization of the network stack: a few orthogonal choices, and which of them contradict each other."""

from dataclasses import dataclass

from netstack.errors import ConfigError

CHOICES: dict[str, tuple[str, ...]] = {
    "dispatch": ("nic_thread", "software_hash", "netisr"),
    "handoff": ("inline", "queue", "inline_else_queue"),
    "port": ("locked", "ipi_queue"),
    "serialize": ("none", "connection_lock", "group_lock", "group_thread"),
    "contention": ("wait", "backlog"),
    "lookup": ("global_lock", "group", "rcu", "bucket_lock"),
    "transmit": ("caller", "owner"),
    "listener": ("shared", "replicated", "partitioned"),
    "placement": ("pinned", "free"),
    "scheduler": ("bsd4", "ule"),
}
FINDS_FIRST = ("rcu", "bucket_lock")
"""Look-ups that end before the connection's lock is tried, and then hold nothing."""
MAX_GROUPS = 4096


@dataclass
class OrganizationConfig:
    """Who processes an item, and what keeps the cores from colliding.

    An item is a received packet, a request of an application or an expired timer.

    Attributes:
        dispatch: Who gets a received packet first. `nic_thread`: the inbound thread of its NIC, which runs IP input.
            `software_hash`: a thread of the core that the connection hashes to. `netisr`: a network thread, to which the
            inbound thread hands the packet before IP. With `serialize=group_thread` it is the thread of the connection's
            group. With any lock there is one network thread for all, however many groups there are.
        handoff: What happens to an item. `inline`: the thread that has it processes it. `queue`: it goes to the owner's thread,
            and applications wait for the answer. `inline_else_queue`: the thread that has it enters the group's perimeter and
            processes it if nobody is inside. Otherwise the item is left in the group's queue, which the thread inside drains.
        port: How an item reaches the thread of a message port. `locked`: it is appended under the port's lock. `ipi_queue`: only
            the port's own core appends it, without a lock. Other cores post it to that core and interrupt it.
        serialize: What keeps two cores out of one connection.
        contention: What happens to a received packet that finds an application inside its connection. It `wait`s, or goes on the
            connection's `backlog`, which the application empties before it leaves.
        groups: How many connection groups there are. Null makes as many as cores.
        lookup: How a connection is found: under one `global_lock`, in the table of its `group`, without a lock (`rcu`), or
            under the lock of a bucket.
        transmit: Who runs the send path. `caller`: the thread that has the item. `owner`: the thread of the connection's group.
        listener: How many sockets listen on the host's port. Each has a lock and queues of its own. A connection enters them with
            its SYN, moves between them when its handshake ends, and leaves them by accept(). `shared`: one for all.
            `partitioned`: one per connection group, like the table. `replicated`: one per application thread, for the
            connections that it will accept. The choice does not change which application accepts a connection: the client's
            number decides that.
        batch: How many items a port's thread takes at a time. Of a perimeter, how many items one drain takes at most, before the
            group's own thread is woken to go on, or that thread itself takes a break until the clock's next tick.
        placement: Whether threads stay on their core. Threads of ports always do, except the only one of `netisr`.
        scheduler: Where a woken thread that is free goes. `bsd4`: to the first idle core, as one run queue without affinity has
            it. `ule`: to the core that it ran on, if that idles.
        cores: How many of the machine's cores are used, the first ones. Null uses all.
    """

    name: str = "connp_l"
    dispatch: str = "nic_thread"
    handoff: str = "inline"
    port: str = "locked"
    serialize: str = "group_lock"
    contention: str = "wait"
    groups: int | None = 128
    lookup: str = "group"
    transmit: str = "caller"
    listener: str = "partitioned"
    batch: int = 1
    placement: str = "pinned"
    scheduler: str = "ule"
    cores: int | None = None

    def core_count(self, machine_cores: int) -> int:
        """Return how many cores of a machine are used."""
        return self.cores or machine_cores

    def validate(self, machine_cores: int) -> None:
        """Raise ConfigError for the first choice that is unknown or contradicts another."""
        for choice, allowed in CHOICES.items():
            value = getattr(self, choice)
            if value not in allowed:
                raise ConfigError(f"org.{choice}", value, f"allowed are {', '.join(allowed)}")
        if self.groups is not None and not 1 <= self.groups <= MAX_GROUPS:
            raise ConfigError(
                "org.groups", self.groups, f"must be a whole number from 1 to {MAX_GROUPS}, or null for as many as cores"
            )
        if not 1 <= self.batch <= 1024:
            raise ConfigError("org.batch", self.batch, "must be a whole number from 1 to 1024")
        if self.cores is not None and not 1 <= self.cores <= machine_cores:
            raise ConfigError("org.cores", self.cores, f"must be from 1 to the machine's {machine_cores} cores, or null")
        cores = self.core_count(machine_cores)
        if self.serialize == "none" and cores > 1:
            raise ConfigError("org.serialize", "none", f"needs one core, not {cores}: set org.cores=1 or choose a lock")
        by_thread = self.serialize == "group_thread"
        if by_thread != (self.handoff == "queue"):
            raise ConfigError(
                "org.handoff", self.handoff, "queue goes with serialize=group_thread, inline with every other serialize"
            )
        if by_thread != (self.transmit == "owner"):
            raise ConfigError(
                "org.transmit", self.transmit, "owner goes with serialize=group_thread, caller with every other serialize"
            )
        if by_thread and self.lookup != "group":
            raise ConfigError("org.lookup", self.lookup, "must be group when a thread owns the group's table")
        if self.serialize == "connection_lock" and self.lookup == "group":
            raise ConfigError(
                "org.lookup", "group", "a group's table needs the group's lock or thread: use global_lock with connection_lock"
            )
        if self.contention == "backlog" and (self.serialize != "connection_lock" or self.lookup not in FINDS_FIRST):
            raise ConfigError(
                "org.contention", "backlog", f"needs serialize=connection_lock and lookup={' or '.join(FINDS_FIRST)}"
            )
        if self.dispatch == "software_hash" and self.handoff == "queue":
            raise ConfigError(
                "org.dispatch", self.dispatch, "hands packets to the owner already: use handoff=inline, or nic_thread"
            )
        if self.port == "ipi_queue" and self.handoff != "queue":
            raise ConfigError("org.port", "ipi_queue", "needs handoff=queue, whose ports belong to a core each")
        if self.handoff == "inline_else_queue":
            self._validate_perimeter()

    def _validate_perimeter(self) -> None:
        if self.serialize != "group_lock" or self.lookup not in FINDS_FIRST:
            raise ConfigError(
                "org.handoff",
                self.handoff,
                f"needs serialize=group_lock, and lookup={' or '.join(FINDS_FIRST)}: a queued message knows its connection",
            )
        if self.dispatch != "nic_thread":
            raise ConfigError("org.dispatch", self.dispatch, "must be nic_thread with handoff=inline_else_queue, which queues")
