"""What the choices of an organization mean: the only place where they become numbers.

`Plan` is what compiled code reads, field for field in the stack's record. `Population` is how many of everything there are. Knows
no state and no address.
"""

from dataclasses import dataclass

from netstack.sim.machine.config import MachineConfig
from netstack.sim.machine.numbers import LockClass, Operation
from netstack.sim.organization.config import OrganizationConfig
from netstack.sim.stack.numbers import ListenerKind, LockKind, Phase

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
    use_global_lock: bool  # the connection table has one lock
    lookup_first: bool  # the table is searched before the connection's lock is tried
    lookup_operation: int  # Operation that such a search costs beside its walk, -1 for none
    use_backlog: bool  # packets that find an application inside wait in the connection's backlog
    use_perimeter: bool  # whoever is inside a group processes what others leave
    use_ipi_queues: bool  # ports have no lock, other cores send interrupts
    input_by_owner: bool  # the port's thread does IP input, not the NIC's thread
    lock_kind: LockKind
    first_phase: Phase
    listener_kind: ListenerKind
    batch: int  # items that a port's thread takes at a time, or a drain of a perimeter at most


def plan_of(org: OrganizationConfig) -> Plan:
    """Return the plan of a valid organization."""
    return Plan(
        queue_packets=org.handoff == "queue" or org.dispatch in ("software_hash", "netisr"),
        queue_requests=org.transmit == "owner",
        use_global_lock=org.lookup == "global_lock",
        lookup_first=org.lookup in SEARCHED_FIRST,
        lookup_operation=SEARCHED_FIRST.get(org.lookup, -1),
        use_backlog=org.contention == "backlog",
        use_perimeter=org.handoff == "inline_else_queue",
        use_ipi_queues=org.port == "ipi_queue",
        input_by_owner=org.dispatch == "netisr",
        lock_kind=lock_kind_of(org),
        first_phase=phases_of(org)[0],
        listener_kind=ListenerKind.of(org.listener),
        batch=org.batch,
    )


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
    nics: int  # each with rings, an interrupt and an inbound thread
    locks: int  # the connection table's, then those of groups or connections
    affine: bool  # a woken thread returns to the core that it ran on, if that idles


@dataclass(frozen=True)
class Population:
    """How many of everything an organization has, and where its threads may run."""

    machine: MachinePart
    groups: int  # connection groups
    ports: int  # message ports or perimeters, each with a thread
    queues: int  # those of ports, then those on the way to each port, then backlogs
    listeners: int  # listening sockets
    lock_class: LockClass  # of all locks but the table's
    locked_instructions: bool  # whether the kernel executes any
    pins_threads: bool  # whether a thread stays on its core
    pins_ports: bool  # whether the thread of a port stays on its core
    queued_units: bool  # whether each unit of a send buffer may wait as an item


def population_of(org: OrganizationConfig, machine: MachineConfig, conns: int, app_threads_per_core: int) -> Population:
    """Return the population of a valid organization on a machine, for so many connections and application threads per core."""
    cores = org.core_count(machine.cores)
    groups = org.groups if org.groups is not None else cores
    if org.handoff != "inline":
        ports = groups
    else:
        ports = {"nic_thread": 0, "software_hash": cores, "netisr": 1}[org.dispatch]
    pinned = org.placement == "pinned"
    lock_kind = lock_kind_of(org)
    return Population(
        machine=MachinePart(
            cores_used=cores,
            nics=machine.nic.count,
            locks=1 + {LockKind.GROUP: groups, LockKind.CONNECTION: conns}.get(lock_kind, 0),
            affine=org.scheduler == "ule",
        ),
        groups=groups,
        ports=ports,
        queues=ports + (ports if org.port == "ipi_queue" else 0) + (conns if org.contention == "backlog" else 0),
        listeners={"shared": 1, "partitioned": groups, "replicated": app_threads_per_core * cores}[org.listener],
        lock_class=LockClass.CONNECTION if lock_kind == LockKind.CONNECTION else LockClass.GLOBAL,
        locked_instructions=org.serialize != "none",
        pins_threads=pinned,
        pins_ports=pinned or org.handoff != "inline" or org.dispatch != "netisr",
        queued_units=org.handoff == "inline_else_queue",
    )
