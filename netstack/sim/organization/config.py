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
}
FINDS_FIRST = ("rcu", "bucket_lock")
"""Look-ups that are done with before the connection's lock is tried, and hold nothing then."""
MAX_GROUPS = 4096


@dataclass
class OrganizationConfig:
    """Who processes a message, and what keeps the cores from colliding.

    Attributes:
        dispatch: Who gets a received packet first. `nic_thread`: the inbound thread of its NIC, which takes it up to IP.
            `software_hash`: a thread of the core that the connection hashes to. `netisr`: a network thread, to which the
            inbound thread hands the packet before IP: the owner of the connection's group if groups have one, else the only
            one there is.
        handoff: What happens to a message. `inline`: whoever has it processes it. `queue`: it goes to the owner's thread, and
            applications wait for the answer. `inline_else_queue`: whoever has it enters the group's perimeter and processes
            it if nobody is inside; otherwise the message is left in the group's queue, which whoever is inside drains.
        port: How a message reaches the thread of a port. `locked`: appended under the port's lock. `ipi_queue`: appended
            without any lock by the port's own core only; other cores post it to that core and interrupt it.
        serialize: What keeps two cores out of one connection.
        contention: What a received packet does that finds an application inside its connection: `wait`, or go on the
            connection's `backlog`, which the application empties before it leaves.
        groups: Connection groups. Null makes as many as cores.
        lookup: How a connection is found: under one `global_lock`, in the table of its `group`, without a lock (`rcu`), or
            under the lock of a bucket.
        transmit: Who runs the send path.
        listener: How many sockets listen on the server's port, each with a lock and queues of its own, which a connection enters
            with its SYN, moves between when its handshake ends, and leaves by accept(). `shared`: one for all. `partitioned`: one
            a connection group, as its table is. `replicated`: one an application thread, for the connections that it will
            accept. Which application accepts a connection is not changed by it: that of the client's number.
        batch: Messages that a port's thread takes at a time; of a perimeter, those that one drain takes at most, before the
            group's own thread is woken to go on, or takes a break until the clock's next tick.
        placement: Whether threads stay on their core. Threads of ports always do, but for the only one of `netisr`.
        cores: Limits the organization to the machine's first cores; null uses all of them.
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
