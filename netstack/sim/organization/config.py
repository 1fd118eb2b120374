"""An organization of the network stack: a few orthogonal choices, and which of them contradict each other."""

from dataclasses import dataclass, field
from typing import Any

from netstack.errors import ConfigError
from netstack.sim.machine.config import MachineConfig

CHOICES: dict[str, tuple[str, ...]] = {
    "dispatch": ("nic_thread", "software_hash", "netisr", "rss", "flow_table"),
    "owner": ("hash", "consumer"),
    "drive": ("interrupt", "napi", "thread", "poll", "suspend"),
    "handoff": ("inline", "queue", "inline_else_queue", "forward"),
    "port": ("locked", "ipi_queue"),
    "serialize": ("none", "connection_lock", "group_lock", "group_thread", "own_core"),
    "contention": ("wait", "backlog"),
    "lookup": ("global_lock", "group", "rcu", "bucket_lock"),
    "transmit": ("caller", "owner"),
    "listener": ("shared", "replicated", "partitioned", "local"),
    "accept": ("client", "hash", "local", "any"),
    "aggregate_receive": ("none", "gro", "lro"),
    "aggregate_send": ("none", "gso", "tso"),
    "timers": ("kernel", "core"),
    "boundary": ("syscall", "batch", "call", "ring"),
    "slow_path": ("none", "thread"),
    "files": ("vfs", "none"),
    "active_ports": ("any", "core"),
    "steal_from": ("working", "marked"),
    "placement": ("pinned", "free"),
    "scheduler": ("bsd4", "ule"),
}
BALANCES = ("steal_connection", "steal_event", "migrate_group")
"""What moves from busy cores to idle ones."""
FINDS_FIRST = ("rcu", "bucket_lock")
"""Look-ups that end before the connection's lock is tried, and then hold nothing."""
QUEUES = ("rss", "flow_table")
"""Dispatches that use the receive queues of a card."""
POLLS = ("poll", "suspend")
"""Drives in which applications poll their receive queue."""
MAX_GROUPS = 4096


@dataclass
class OrganizationConfig:
    """Who processes an item, and what keeps the cores from colliding.

    An item is a received packet, a request of an application or an expired timer.

    Attributes:
        dispatch: Who gets a received packet first. `nic_thread`: the inbound thread of its NIC, which runs IP input.
            `software_hash`: a thread of the core that the connection hashes to. `netisr`: a network thread, to which the
            inbound thread hands the packet before IP. With `serialize=group_thread` it is the thread of the connection's
            group. With any lock there is one network thread for all, however many groups there are. `rss`: the inbound thread of
            a receive queue, which the card chooses by a hash of addresses and ports and its indirection table. Each queue has its
            rings and its interrupt, which goes to the queue's own core. `flow_table`: as `rss`, but the card has exact entries
            for connections, which lead to the queue of their owner's core.
        owner: The core that `forward` and `flow_table` take a packet to. `hash`: that of the connection's hash. `consumer`: the
            one on which its application last made a call for the connection.
        drive: What makes a card's inbound thread run. `interrupt`: an interrupt wakes it, and it runs until the ring is empty.
            `napi`: the same in the context of the interrupt, which needs no switch of threads. After `budget` frames it is a
            thread like an application. `thread`: a thread like an application from the beginning. `poll`: as `napi`, but
            applications poll their queue for `busy_us` when they have no events. `suspend`: as `poll`, and after a poll that
            found events, interrupts stay off until the application comes back without any, `suspend_us` at most.
        budget: Frames of a poll, see `drive`.
        defer_us: After a poll the ring is polled again, so much later, in place of an interrupt; 0 for never.
        defer_limit: Polls without a frame after which the interrupt is allowed again.
        busy_us: How long an application polls before it sleeps.
        suspend_us: How long interrupts stay off at most while an application works.
        handoff: What happens to an item. `inline`: the thread that has it processes it. `queue`: it goes to the owner's thread,
            and applications wait for the answer. `inline_else_queue`: the thread that has it enters the group's perimeter and
            processes it if nobody is inside. Otherwise the item is left in the group's queue, which the thread inside drains.
            `forward`: packets of a poll are queued for their owner's core, which is interrupted once at the end of the poll and
            processes them. All else is processed by the thread that has it.
        port: How an item reaches the thread of a message port. `locked`: it is appended under the port's lock. `ipi_queue`: only
            the port's own core appends it, without a lock. Other cores post it to that core and interrupt it.
        serialize: What keeps two cores out of one connection. `own_core`: nobody else comes, since all that happens to it is done
            by the thread that polls its receive queue: that of the application, or with `boundary=ring` that of the stack.
        contention: What happens to a received packet that finds an application inside its connection. It `wait`s, or goes on the
            connection's `backlog`, which the application empties before it leaves.
        groups: How many connection groups there are. Null makes as many as cores.
        lookup: How a connection is found: under one `global_lock`, in the table of its `group`, without a lock (`rcu`), or
            under the lock of a bucket. With `serialize=connection_lock` a group's table has a lock that is held while it is
            searched, and the connections of a receive queue are in the same group.
        transmit: Who runs the send path. `caller`: the thread that has the item. `owner`: the thread of the connection's group,
            or with `boundary=ring` that of its receive queue.
        listener: How many sockets listen on the host's port. Each has a lock and queues of its own. A connection enters them with
            its SYN, moves between them when its handshake ends, and leaves them by accept(). `shared`: one for all.
            `partitioned`: one per connection group, like the table. `replicated`: one per application thread, for the
            connections that it will accept. `local`: the same, in a table of the thread's core, where others are not looked at.
        accept: Which application thread gets a new connection, and which one has a connection that is open from the beginning.
            `client`: the client's number decides. `hash`: the hash of addresses and ports, as SO_REUSEPORT does. `local`: a
            thread on the core that received the SYN, or that has the connection's receive queue. `any`: one that waits for
            events, in turn.
        aggregate_receive: Who joins received frames of a connection that follow each other, up to `aggregate_bytes` and to the
            end of a poll. `gro`: the kernel, behind the driver. `lro`: the card, so that the driver sees one frame.
        aggregate_send: Who cuts what TCP sends at once, up to `aggregate_bytes`, into segments. `none`: TCP itself. `gso`: the
            kernel, before the driver. `tso`: the card.
        aggregate_bytes: Payload of an aggregate, at most.
        timers: Who runs expired timers. `kernel`: one thread. `core`: each core those of connections whose receive queue it has.
        boundary: How applications make requests. `syscall`: one system call each. `batch`: all those since the last wait for
            events enter the kernel together (MegaPipe). `call`: the application runs in the thread of the stack (IX, Seastar).
            `ring`: a thread of the stack polls each receive queue, and shared memory beside it: requests and expired timers of
            the queue's connections, for which nobody waits. It gives way to other threads of its core at the end of a poll.
            Applications read payload themselves (mTCP, TAS).
        slow_path: Who opens and closes connections, and runs expired timers. `none`: whoever processes segments. `thread`: one
            thread, to which threads of the stack leave all segments but those of established connections. It is on the first core
            that runs applications, before which it goes.
        files: What a socket is for applications. `vfs`: a file with an inode and a directory entry. `none`: only a socket.
        active_ports: Which port of the host a connection gets that an application opens. `any`: the next free one, so that the
            card takes its packets to any core. `core`: the next one whose hash leads to the receive queue of the core that
            connects, if one is free (receive flow deliver of Fastsocket). With `serialize=own_core` an application waits until
            one is, since no other core may enter the connection; with `boundary=ring` it need not.
        balance: What moves from busy cores to idle ones, any of these. `steal_connection`: a thread without events accepts a
            connection that waits for another thread, which is busy. `steal_event`: a core without events takes one of a core
            that is busy. Requests for it go back to that core, which is interrupted for them, or for frames that wait while it
            computes. `migrate_group`: every `migrate_us` an entry of the card's indirection table moves from the queue with the
            most frames to the one with the fewest, if they differ by more than two entries' worth.
        steal_from: Whose connections `steal_connection` takes. `working`: those of any thread that works. `marked`: those of a
            thread whose accept queue is marked as busy: from a high water line on, until its mean length is below a low one. A
            marked thread takes none. Another one takes one after five of its own, or as soon as it has none. `migrate_group` then
            moves an entry to each thread that is not marked, from the one that it took most connections of.
        migrate_us: See `balance`, in whole milliseconds.
        batch: How many items a port's thread takes at a time. Of a perimeter, how many items one drain takes at most, before the
            group's own thread is woken to go on, or that thread itself takes a break until the clock's next tick.
        placement: Whether threads stay on their core. Threads of ports always do, except the only one of `netisr`.
        scheduler: Where a woken thread that is free goes. `bsd4`: to the first idle core, as one run queue without affinity has
            it. `ule`: to the core that it ran on, if that idles.
        cores: How many of the machine's cores are used, the first ones. Null uses all.
        stack_cores: How many of these only run the stack, the first ones. Each has a receive queue, and applications have the
            other cores. They poll their event queue for `busy_us` before they sleep. Null lets them share all cores.
    """

    name: str = "connp_l"
    dispatch: str = "nic_thread"
    owner: str = "hash"
    drive: str = "interrupt"
    handoff: str = "inline"
    port: str = "locked"
    serialize: str = "group_lock"
    contention: str = "wait"
    groups: int | None = 128
    lookup: str = "group"
    transmit: str = "caller"
    listener: str = "partitioned"
    accept: str = "client"
    aggregate_receive: str = "none"
    aggregate_send: str = "none"
    aggregate_bytes: int = 65536
    timers: str = "kernel"
    boundary: str = "syscall"
    slow_path: str = "none"
    files: str = "vfs"
    active_ports: str = "any"
    steal_from: str = "working"
    batch: int = 1
    placement: str = "pinned"
    scheduler: str = "ule"
    cores: int | None = None
    stack_cores: int | None = None
    budget: int = 300
    defer_us: float = 0.0
    defer_limit: int = 0
    busy_us: float = 0.0
    suspend_us: float = 0.0
    migrate_us: float = 0.0
    balance: list[str] = field(default_factory=list)

    def core_count(self, machine_cores: int) -> int:
        """Return how many cores of a machine are used."""
        return self.cores or machine_cores

    def polling_cores(self, machine_cores: int) -> int:
        """Return how many cores have a receive queue of each card, if its queues suffice."""
        return self.stack_cores or self.core_count(machine_cores)

    def validate(self, machine_cores: int) -> None:
        """Raise ConfigError for the first choice that is unknown or contradicts another."""
        for choice, allowed in CHOICES.items():
            value = getattr(self, choice)
            if value not in allowed:
                raise ConfigError(f"org.{choice}", value, f"allowed are {', '.join(allowed)}")
        for value in self.balance:
            if value not in BALANCES:
                raise ConfigError("org.balance", value, f"allowed are {', '.join(BALANCES)}")
        if self.groups is not None and not 1 <= self.groups <= MAX_GROUPS:
            raise ConfigError(
                "org.groups", self.groups, f"must be a whole number from 1 to {MAX_GROUPS}, or null for as many as cores"
            )
        if not 1 <= self.batch <= 1024:
            raise ConfigError("org.batch", self.batch, "must be a whole number from 1 to 1024")
        if self.cores is not None and not 1 <= self.cores <= machine_cores:
            raise ConfigError("org.cores", self.cores, f"must be from 1 to the machine's {machine_cores} cores, or null")
        cores = self.core_count(machine_cores)
        if self.stack_cores is not None:
            if self.boundary != "ring":
                raise ConfigError("org.stack_cores", self.stack_cores, "needs boundary=ring: else applications run the stack too")
            if not 1 <= self.stack_cores < cores:
                raise ConfigError("org.stack_cores", self.stack_cores, f"must be from 1 to less than the {cores} cores, or null")
        if self.serialize == "none" and cores > 1:
            raise ConfigError("org.serialize", "none", f"needs one core, not {cores}: set org.cores=1 or choose a lock")
        by_thread = self.serialize == "group_thread"
        if by_thread != (self.handoff == "queue"):
            raise ConfigError(
                "org.handoff", self.handoff, "queue goes with serialize=group_thread, inline with every other serialize"
            )
        if self.boundary == "ring":
            self._validate_ring()
        elif by_thread != (self.transmit == "owner"):
            raise ConfigError(
                "org.transmit", self.transmit, "owner goes with serialize=group_thread, caller with every other serialize"
            )
        if by_thread and self.lookup != "group":
            raise ConfigError("org.lookup", self.lookup, "must be group when a thread owns the group's table")
        if self.serialize == "connection_lock" and self.lookup == "group" and self.dispatch != "rss":
            raise ConfigError(
                "org.lookup",
                "group",
                "needs dispatch=rss with connection_lock, whose queues are the groups; else use global_lock",
            )
        if self.serialize == "own_core":
            self._validate_own_core()
        if self.boundary == "call" and self.serialize != "own_core":
            raise ConfigError("org.boundary", "call", "needs serialize=own_core: application and stack are one thread")
        if self.contention == "backlog" and (self.serialize != "connection_lock" or self.lookup not in FINDS_FIRST):
            raise ConfigError(
                "org.contention", "backlog", f"needs serialize=connection_lock and lookup={' or '.join(FINDS_FIRST)}"
            )
        if self.slow_path == "thread":
            self._need({"boundary": "ring", "serialize": "connection_lock"}, "slow_path=thread")
        if self.dispatch == "software_hash" and self.handoff == "queue":
            raise ConfigError(
                "org.dispatch", self.dispatch, "hands packets to the owner already: use handoff=inline, or nic_thread"
            )
        if self.port == "ipi_queue" and self.handoff != "queue":
            raise ConfigError("org.port", "ipi_queue", "needs handoff=queue, whose ports belong to a core each")
        if self.handoff == "inline_else_queue":
            self._validate_perimeter()
        self._validate_receiving()
        self._validate_balance()

    def _validate_own_core(self) -> None:
        needed = {"drive": "poll", "timers": "core", "lookup": "group", "handoff": "inline", "groups": None}
        if self.boundary != "ring":
            needed |= {"accept": "local", "active_ports": "core"}
        self._need(needed, "serialize=own_core")

    def _validate_ring(self) -> None:
        """Raise ConfigError for the first choice that contradicts threads of the stack with rings."""
        self._need({"transmit": "owner", "handoff": "inline", "drive": "poll", "dispatch": "rss"}, "boundary=ring")
        if self.stack_cores is not None:
            needed = {"active_ports": "any"} if self.accept != "local" else {"accept": "any"}
            self._need(needed, "org.stack_cores, where no application runs")

    def _need(self, needed: dict[str, Any], reason: str) -> None:
        """Raise ConfigError for the first choice that has not the value that is needed for a reason."""
        for choice, value in needed.items():
            if getattr(self, choice) != value:
                said = "null" if value is None else value
                raise ConfigError(f"org.{choice}", getattr(self, choice), f"must be {said} with {reason}")

    def validate_on(self, machine: MachineConfig, threads_per_core: int) -> None:
        """Raise ConfigError for the first choice that a machine, or a number of application threads per core, contradicts."""
        nic = machine.nic
        if self.dispatch == "flow_table" and nic.flow_table == 0:
            raise ConfigError("machine.nic.flow_table", 0, "must be above 0 with org.dispatch=flow_table")
        if self.drive in POLLS and (nic.count > 1 or nic.queues < self.polling_cores(machine.cores) or threads_per_core > 1):
            raise ConfigError(
                "org.drive", self.drive, "needs one card, a queue per core (machine.nic.queues) and workload.threads_per_core=1"
            )

    @property
    def runs_in_windows(self) -> bool:
        """Whether cores can be simulated apart from each other for a short time."""
        receives_alone = self.drive == "interrupt" and self.dispatch not in QUEUES and self.handoff != "forward"
        return receives_alone and not self.balance and self.aggregate_receive == self.aggregate_send == "none"

    def _validate_receiving(self) -> None:
        for name, low, high in (("defer_us", 0, 1e6), ("busy_us", 0, 1e9), ("suspend_us", 0, 1e9), ("migrate_us", 0, 1e9)):
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f"org.{name}", getattr(self, name), f"must be from {low:g} to {high:g}")
        if not 0 <= self.defer_limit <= 1 << 30:
            raise ConfigError("org.defer_limit", self.defer_limit, f"must be a whole number from 0 to {1 << 30}")
        if not 1 <= self.aggregate_bytes <= 1 << 20:
            raise ConfigError("org.aggregate_bytes", self.aggregate_bytes, "must be a whole number from 1 to 1048576")
        if not 1 <= self.budget <= 1 << 20:
            raise ConfigError("org.budget", self.budget, "must be a whole number from 1 to 1048576")
        if self.drive != "interrupt" and self.placement != "pinned":
            raise ConfigError("org.placement", self.placement, f"must be pinned with drive={self.drive}")
        if self.drive in POLLS and self.dispatch not in QUEUES:
            raise ConfigError("org.drive", self.drive, "needs a receive queue per application thread: dispatch=rss or flow_table")
        if self.drive in POLLS and self.handoff != "inline":
            raise ConfigError("org.handoff", self.handoff, f"must be inline with drive={self.drive}")
        if self.drive == "interrupt" and self.defer_us > 0:
            raise ConfigError("org.defer_us", self.defer_us, "needs drive=napi, thread, poll or suspend")
        if self.handoff == "forward" and self.dispatch not in ("nic_thread", *QUEUES):
            raise ConfigError("org.dispatch", self.dispatch, "must be nic_thread, rss or flow_table with handoff=forward")
        if self.handoff == "forward" and self.lookup == "group" and self.serialize != "group_lock":
            raise ConfigError("org.lookup", self.lookup, "must be usable from any core with handoff=forward, for example rcu")
        if self.owner == "consumer" and self.handoff != "forward" and self.dispatch != "flow_table":
            raise ConfigError(
                "org.owner", self.owner, "needs handoff=forward or dispatch=flow_table, which go to an owner's core"
            )
        if self.dispatch == "flow_table" and self.owner != "consumer":
            raise ConfigError("org.owner", self.owner, "must be consumer with dispatch=flow_table")
        if self.active_ports == "core" and self.dispatch not in QUEUES:
            raise ConfigError(
                "org.active_ports", "core", "needs a card that hashes to receive queues: dispatch=rss or flow_table"
            )
        if self.timers == "core" and self.placement != "pinned":
            raise ConfigError("org.placement", self.placement, "must be pinned with timers=core")
        if self.listener == "local" and self.accept != "local":
            raise ConfigError("org.accept", self.accept, "must be local with listener=local, whose tables belong to cores")
        if self.accept == "local" and self.dispatch == "netisr":
            raise ConfigError("org.accept", "local", "needs the core of a connection, which dispatch=netisr does not have")

    def _validate_balance(self) -> None:
        """Raise ConfigError for the first choice that contradicts what moves between cores."""
        if "steal_connection" in self.balance:
            if self.listener not in ("replicated", "local") or self.accept == "any":
                raise ConfigError(
                    "org.balance", "steal_connection", "needs accept queues per thread: listener=replicated or local"
                )
            if self.drive in POLLS and self.boundary != "ring":
                raise ConfigError(
                    "org.balance", "steal_connection", f"needs threads that sleep, which drive={self.drive} has not"
                )
        elif self.steal_from != "working":
            raise ConfigError("org.steal_from", self.steal_from, "needs balance=[steal_connection]")
        if "steal_event" in self.balance and self.boundary != "call":
            raise ConfigError("org.balance", "steal_event", "needs boundary=call, whose cores poll")
        migrates = "migrate_group" in self.balance
        if migrates and (self.dispatch != "rss" or self.serialize == "own_core"):
            raise ConfigError("org.balance", "migrate_group", "needs dispatch=rss, and connections that any core may enter")
        if migrates != (self.migrate_us > 0) or self.migrate_us % 1000:
            raise ConfigError(
                "org.migrate_us", self.migrate_us, "must be whole milliseconds with balance=[migrate_group], else 0"
            )

    def _validate_perimeter(self) -> None:
        if self.serialize != "group_lock" or self.lookup not in FINDS_FIRST:
            raise ConfigError(
                "org.handoff",
                self.handoff,
                f"needs serialize=group_lock, and lookup={' or '.join(FINDS_FIRST)}: a queued message knows its connection",
            )
        if self.dispatch != "nic_thread":
            raise ConfigError("org.dispatch", self.dispatch, "must be nic_thread with handoff=inline_else_queue, which queues")
