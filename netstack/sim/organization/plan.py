"""What the choices of an organization mean: the only place where they become numbers.

`Plan` is what compiled code reads, field for field in the stack's record. `Population` is how many of everything there are. Knows
no state and no address.
"""

from dataclasses import dataclass

from netstack.sim.machine.config import MachineConfig
from netstack.sim.machine.numbers import LockClass, Operation
from netstack.sim.organization.config import POLLS, QUEUES, OrganizationConfig
from netstack.sim.stack.numbers import AcceptKind, ListenerKind, LockKind, Phase, ReceiveAggregation, SendAggregation

PHASES: dict[str, tuple[Phase, ...]] = {
    "global table lock": (Phase.LOOKUP_LOCK, Phase.SERIALIZE, Phase.PROCESS, Phase.OUTPUT, Phase.FINISH),
    "own lock or perimeter": (Phase.SERIALIZE, Phase.OUTPUT, Phase.FINISH),
    "nobody else": (Phase.OUTPUT, Phase.FINISH),
}
"""The phases of an item, one per step of its thread, by what keeps others out. OUTPUT is repeated for each segment, and left out
if there is none. In the first row, LOOKUP_LOCK acquires the table's lock and PROCESS releases it. In the others, what precedes
OUTPUT (look-up, protocol) belongs to the step before."""

SEARCHED_FIRST = {"rcu": Operation.LOOKUP_REFERENCE, "bucket_lock": Operation.BUCKET_LOCK}
"""Look-ups that end before the connection's lock is tried, and then hold nothing: what each costs beside the walk."""


@dataclass(frozen=True)
class Plan:
    """An organization's choices as compiled code reads them."""

    queue_packets: bool  # received packets go to a port
    queue_requests: bool  # requests and timers go to a port too, and applications wait for the answer
    use_rings: bool  # requests and timers go to the thread of their receive queue by a ring, and nobody waits
    use_global_lock: bool  # the connection table has one lock
    lookup_first: bool  # the table is searched before the connection's lock is tried
    lookup_operation: int  # Operation that such a search costs beside its walk, -1 for none
    group_tables: bool  # that search is in the table of a group, under the table's lock
    use_backlog: bool  # packets that find an application inside wait in the connection's backlog
    use_perimeter: bool  # whoever is inside a group processes what others leave
    use_ipi_queues: bool  # ports have no lock, other cores send interrupts
    input_by_owner: bool  # the port's thread does IP input, not the NIC's thread
    lock_kind: LockKind
    first_phase: Phase
    listener_kind: ListenerKind
    use_files: bool  # each socket has an inode and a directory entry
    slow_path: bool  # a thread with a port opens and closes connections, and runs expired timers
    waits_for_ports: bool  # an application waits for such a port, and takes no other
    ports_by_core: bool  # an ephemeral port is one whose packets the card takes to the core that connects
    crosses: bool  # a system call for each request
    crosses_to_wait: bool  # a system call to wait for events
    forwards: bool  # packets of a poll go to their owners' cores at its end
    to_consumer: bool  # the owner is the core of the application's last call
    accept_kind: AcceptKind
    steals: bool  # applications without events take connections or events from others
    steals_connections: bool  # connections that nobody has accepted
    steals_events: bool  # events of connections that stay with their core
    marks_busy: bool  # accept queues are marked as busy, and only these are taken from
    one_thread: bool  # the application's thread is that of the stack
    app_polls: bool  # applications poll their receive queue
    polls_events: bool  # applications poll their event queue
    suspends: bool  # and interrupts stay off while they work
    receive_aggregation: ReceiveAggregation
    send_aggregation: SendAggregation
    aggregate_bytes: int  # payload of an aggregate, at most
    batch: int  # items that a port's thread takes at a time, or a drain of a perimeter at most


def plan_of(org: OrganizationConfig) -> Plan:
    """Return the plan of a valid organization."""
    return Plan(
        queue_packets=org.handoff in ("queue", "forward") or org.dispatch in ("software_hash", "netisr"),
        queue_requests=org.handoff == "queue",
        use_rings=org.boundary == "ring",
        use_global_lock=org.lookup == "global_lock",
        lookup_first=org.lookup in SEARCHED_FIRST or _has_group_tables(org),
        lookup_operation=SEARCHED_FIRST.get("rcu" if _has_group_tables(org) else org.lookup, -1),
        group_tables=_has_group_tables(org),
        use_backlog=org.contention == "backlog",
        use_perimeter=org.handoff == "inline_else_queue",
        use_ipi_queues=org.port == "ipi_queue",
        input_by_owner=org.dispatch == "netisr" or org.handoff == "forward",
        lock_kind=lock_kind_of(org),
        first_phase=phases_of(org)[0],
        listener_kind=ListenerKind.of(org.listener),
        use_files=org.files == "vfs",
        slow_path=org.slow_path == "thread",
        waits_for_ports=org.serialize == "own_core" and org.boundary != "ring",
        ports_by_core=org.active_ports == "core",
        crosses=org.boundary == "syscall",
        crosses_to_wait=org.boundary in ("syscall", "batch"),
        forwards=org.handoff == "forward",
        to_consumer=org.owner == "consumer",
        accept_kind=AcceptKind.of(org.accept),
        steals="steal_connection" in org.balance or "steal_event" in org.balance,
        steals_connections="steal_connection" in org.balance,
        steals_events="steal_event" in org.balance,
        marks_busy=org.steal_from == "marked",
        one_thread=org.boundary == "call",
        app_polls=org.drive in POLLS and org.boundary != "ring",
        polls_events=org.stack_cores is not None,
        suspends=org.drive == "suspend",
        receive_aggregation=ReceiveAggregation.of(org.aggregate_receive),
        send_aggregation=SendAggregation.of(org.aggregate_send),
        aggregate_bytes=org.aggregate_bytes,
        batch=org.batch,
    )


def _has_group_tables(org: OrganizationConfig) -> bool:
    """Return whether a search in the table of a group ends before the connection's lock is tried."""
    return org.lookup == "group" and org.serialize == "connection_lock"


def lock_kind_of(org: OrganizationConfig) -> LockKind:
    """Return which lock an item takes before it is processed."""
    return {"connection_lock": LockKind.CONNECTION, "group_lock": LockKind.GROUP}.get(org.serialize, LockKind.NONE)


def phases_of(org: OrganizationConfig) -> tuple[Phase, ...]:
    """Return the phases that an item passes."""
    if org.lookup == "global_lock":
        return PHASES["global table lock"]
    return PHASES["nobody else" if lock_kind_of(org) == LockKind.NONE else "own lock or perimeter"]


@dataclass(frozen=True)
class MachinePart:
    """How much of the machine an organization uses; field for field in the machine's record."""

    cores_used: int  # the first ones
    links: int  # physical ones, which the queues of a card share
    nics: int  # queues of cards as the kernel sees them: with rings, an interrupt and an inbound thread each
    locks: int  # the connection table's, then those of groups or connections, then those of groups' tables
    affine: bool  # a woken thread returns to the core that it ran on, if that idles
    light_threads: bool  # some threads run in the context of an interrupt
    flow_entries: int  # exact entries of a card, 0 for none
    defer: int  # cycles after a poll until the next one, 0 for an interrupt
    defer_limit: int  # polls without a frame after which interrupts are allowed again
    busy_poll: int  # cycles that an application polls before it sleeps
    suspend: int  # cycles that interrupts stay off at most while an application works
    budget: int  # frames of a poll, 0 for no limit


@dataclass(frozen=True)
class Population:
    """How many of everything an organization has, and where its threads may run."""

    machine: MachinePart
    groups: int  # connection groups
    ports: int  # message ports or perimeters, each with a thread
    first_port_core: int  # the core of the first port's thread; others have the next ones
    clocks: int  # threads that run expired timers
    app_cores: int  # that run applications: the last ones
    rings: int  # of requests, one per receive queue
    queues: int  # those of ports, then those on the way to each port, then rings, then backlogs
    tables: int  # of groups, each with a lock
    listeners: int  # listening sockets
    lock_class: LockClass  # of all locks but the table's
    locked_instructions: bool  # whether the kernel executes any
    inbound_like_applications: bool  # inbound threads have the priority of applications
    pins_threads: bool  # whether a thread stays on its core
    pins_ports: bool  # whether the thread of a port stays on its core
    queued_units: bool  # whether each unit of a send buffer may wait as an item


def population_of(org: OrganizationConfig, machine: MachineConfig, conns: int, app_threads_per_core: int) -> Population:
    """Return the population of a valid organization on a machine, for so many connections and application threads per core."""
    cores = org.core_count(machine.cores)
    app_cores = cores - (org.stack_cores or 0)
    nics = machine.nic.count * (min(machine.nic.queues, org.polling_cores(machine.cores)) if org.dispatch in QUEUES else 1)
    rings = nics if org.boundary == "ring" or "steal_event" in org.balance else 0
    groups = org.groups if org.groups is not None else cores
    if org.handoff == "forward":
        ports = cores
    elif org.handoff != "inline":
        ports = groups
    elif org.slow_path == "thread":
        ports = 1
    else:
        ports = {"software_hash": cores, "netisr": 1}.get(org.dispatch, 0)
    tables = groups if _has_group_tables(org) else 0
    pinned = org.placement == "pinned"
    threads = app_threads_per_core * app_cores
    lock_kind = lock_kind_of(org)
    return Population(
        machine=MachinePart(
            cores_used=cores,
            links=machine.nic.count,
            nics=nics,
            locks=1 + {LockKind.GROUP: groups, LockKind.CONNECTION: conns}.get(lock_kind, 0) + tables,
            affine=org.scheduler == "ule",
            light_threads=org.drive in ("napi", *POLLS) and org.boundary != "ring",
            flow_entries=machine.nic.flow_table if org.dispatch == "flow_table" else 0,
            defer=round(org.defer_us * machine.clock_mhz),
            defer_limit=org.defer_limit,
            busy_poll=round(org.busy_us * machine.clock_mhz),
            suspend=round(org.suspend_us * machine.clock_mhz),
            budget=org.budget if org.drive != "interrupt" else 0,
        ),
        inbound_like_applications=org.drive == "thread" or org.boundary == "ring",
        groups=groups,
        ports=ports,
        first_port_core=(org.stack_cores or 0) if org.slow_path == "thread" else 0,
        clocks=cores if org.timers == "core" else 1,
        app_cores=app_cores,
        rings=rings,
        queues=ports + (ports if org.port == "ipi_queue" else 0) + rings + (conns if org.contention == "backlog" else 0),
        tables=tables,
        listeners={"shared": 1, "partitioned": groups, "replicated": threads, "local": threads}[org.listener],
        lock_class=LockClass.CONNECTION if lock_kind == LockKind.CONNECTION else LockClass.GLOBAL,
        locked_instructions=org.serialize not in ("none", "own_core"),
        pins_threads=pinned,
        pins_ports=pinned or org.handoff != "inline" or org.dispatch != "netisr",
        queued_units=org.handoff == "inline_else_queue" or rings > 0,
    )
