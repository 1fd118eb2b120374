"""The laws that every simulation obeys, checked on its state at the end of each run. A broken law is fatal."""

import numpy as np

from netstack.errors import ConservationError
from netstack.jit.compilation import compiled
from netstack.sim.build.simulation import Simulation
from netstack.sim.machine.numbers import Fault, LockClass, ThreadState
from netstack.sim.stack.numbers import ItemKind, WaitsFor
from netstack.sim.stack.state import bucket_of, bucket_of_hash, connection_hash, flow_of, mbuf_of, pcb_of, ready_of
from netstack.sim.workload.config import EPHEMERAL_PORTS, FIRST_EPHEMERAL_PORT
from netstack.tcp.states import State

FAULTS = {
    Fault.ARRIVALS_FULL: "more frames are on the way to a NIC than its links can hold",
    Fault.ITEM_POOL_EMPTY: "the pool of items is empty",
    Fault.MBUF_ZONE_EMPTY: "the mbuf zone is empty",
    Fault.CONNECTION_NOT_FOUND: "the connection of a packet was not found",
    Fault.PORTS_EXHAUSTED: "no ephemeral port is free",
    Fault.CONNECTION_ENDED_OPEN: "a connection ended before its application closed it",
}


def check_conservation(simulation: Simulation) -> None:
    """Raise ConservationError for the first law that does not hold."""
    fault = int(simulation.machine["fault"])
    if fault != Fault.NONE:
        raise ConservationError(FAULTS[Fault(fault)])
    check_cycles(simulation)
    check_bytes(simulation)
    check_connections(simulation)
    check_locks(simulation)
    check_messages(simulation)
    check_frames(simulation)
    check_mbufs(simulation)
    check_exchanges(simulation)


def check_cycles(simulation: Simulation) -> None:
    """Every cycle of every core belongs to one category."""
    for index, core in enumerate(simulation.tables["core"]):
        _equal(f"cycles of core {index} by category", int(core["cycles"].sum()), "its clock", int(core["clock"]))


def check_bytes(simulation: Simulation) -> None:
    """What each application wrote was acknowledged or is in the send buffer, and the peer received no less than it acknowledged.

    Send requests in queues are not written yet. They fit in the send buffer too.
    """
    flows, pcbs, peers = (simulation.tables[name] for name in ("flow", "pcb", "peer"))
    kept = flows["acked_bytes"] + pcbs["send_buffered_bytes"]
    _all_equal("bytes written", flows["written_bytes"], "acknowledged and buffered", kept)
    unacknowledged = (peers["rcv_nxt"] - pcbs["snd_una"]) % (1 << 32)
    outstanding = (pcbs["snd_max"] - pcbs["snd_una"]) % (1 << 32)
    broken = (pcbs["state"] >= State.ESTABLISHED) & (unacknowledged > outstanding)
    if broken.any():
        flow = int(np.argmax(broken))
        raise ConservationError(f"connection {flow}: the peer received bytes that were not sent")
    _all_equal("bytes of requests that wait", flows["waiting_bytes"], "requests in queues", _requested(simulation))
    if (pcbs["send_buffered_bytes"] + flows["waiting_bytes"] > int(simulation.stack["send_buffer"])).any():
        raise ConservationError("a send buffer and the requests that wait for it hold more bytes than it has room for")


def check_connections(simulation: Simulation) -> None:
    """Every connection opened is closed or open, and the table has each open one once, in its own hash bucket."""
    stack, flows, pcbs = simulation.stack, simulation.tables["flow"], simulation.tables["pcb"]
    clients = int(stack["clients"])
    still, connected = int(flows["open"][:clients].sum()), int(flows["open"][clients:].sum())
    _equal("connections opened", int(stack["connections_opened"]), "closed and open", int(stack["connections_closed"]) + still)
    _equal("connections to backends", int(stack["connects"]), "ended and open", int(stack["connects_ended"]) + connected)
    _check_ephemeral_ports(simulation)
    _all_equal("open connections", flows["open"], "those with a state", (pcbs["state"] != State.CLOSED).astype(int))
    listed, events = np.zeros(len(flows), np.int64), np.zeros(len(flows), np.int64)
    astray = int(_count_listed(stack, listed))
    if astray >= 0:
        raise ConservationError(f"connection {astray} is not in the bucket of its addresses and ports")
    _all_equal("connections in the table", listed, "open ones", flows["open"])
    _count_events(stack, events)
    _all_equal("connections on event queues", events, "those that are open, once each", events.astype(bool) & flows["open"])


def _check_ephemeral_ports(simulation: Simulation) -> None:
    """Every connection to a backend has its own ephemeral port, from connect() until it leaves the table."""
    flows, pcbs, clients = simulation.tables["flow"], simulation.tables["pcb"], int(simulation.stack["clients"])
    taken = simulation.tables["ephemeral"]["flow"]
    places = np.flatnonzero(taken >= 0)
    holds = np.bincount(taken[places], minlength=len(flows))[clients:]
    is_open, connecting = flows["open"][clients:], flows["connecting"][clients:]
    _all_equal(
        "ephemeral ports of connections", holds, "those that are open or begin", is_open | (holds.astype(bool) & connecting)
    )
    begun = places[flows["open"][taken[places]] == 1]
    ports = FIRST_EPHEMERAL_PORT + begun % EPHEMERAL_PORTS
    _all_equal("ephemeral ports", ports, "those of their connections", pcbs["local_port"][taken[begun]])


@compiled
def _count_listed(stack, listed):
    """Count how often each connection is in the table, up to twice; return one that is not in its own hash bucket, else -1."""
    for bucket in range(stack.groups * stack.buckets_per_group):
        index = np.int64(bucket_of(stack, bucket).head)
        while index >= 0 and listed[index] < 2:
            listed[index] += 1
            pcb = pcb_of(stack, index)
            value = connection_hash(stack, pcb.local_address, pcb.local_port, pcb.foreign_address, pcb.foreign_port)
            if bucket_of_hash(stack, value) != bucket:
                return index
            index = np.int64(pcb.hash_next)
    return np.int64(-1)


@compiled
def _count_events(stack, events):
    """Count how often each connection is on event queues, as far as their counts go."""
    for application in range(stack.app_threads):
        queue = ready_of(stack, application)
        index = np.int64(queue.head)
        for _ in range(queue.count):
            events[index] += 1
            index = np.int64(flow_of(stack, index).next_ready)


def check_exchanges(simulation: Simulation) -> None:
    """Every request is answered, lost with its connection or outstanding. What came in order was read or waits to be read."""
    stack, exchanges, pcbs = simulation.stack, simulation.tables["exchange"], simulation.tables["pcb"]
    if not stack["exchanges"]:
        return
    outstanding = int((exchanges["sent"] - exchanges["answered"]).sum())
    kept = int(stack["requests_answered"]) + int(stack["requests_lost"]) + outstanding
    _equal("requests sent", int(stack["requests_sent"]), "answered, lost and outstanding", kept)
    received = (pcbs["rcv_nxt"] - pcbs["irs"] - 1 - pcbs["fin_received"]) % (1 << 32)
    alive = (pcbs["state"] >= State.ESTABLISHED) & (pcbs["reordered_count"] == 0)
    taken = exchanges["read_bytes"] + exchanges["unread_bytes"]
    _all_equal("payload received", received[alive], "read and unread", taken[alive] % (1 << 32))
    if stack["streams"]:
        _equal("bytes read", int(stack["read_bytes"]), "those of all connections", int(exchanges["read_bytes"].sum()))
        peers = simulation.tables["peer"]
        unacknowledged = (pcbs["rcv_nxt"] - peers["snd_una"]) % (1 << 32)
        outstanding = (peers["snd_max"] - peers["snd_una"]) % (1 << 32)
        if (unacknowledged > outstanding).any():
            raise ConservationError("the host received bytes that its peers have not sent")


def check_locks(simulation: Simulation) -> None:
    """Every acquisition was released or is held by a thread that counts it."""
    held = simulation.tables["lock"]["owner"] >= 0
    names = (*LockClass.all_keys(), *simulation.config.costs.declared_locks())
    for index, (name, row) in enumerate(zip(names, simulation.tables["lock_class"], strict=True)):
        still = int((held & (simulation.tables["lock"]["lock_class"] == index)).sum())
        _equal(f"acquisitions of {name} locks", int(row["acquisitions"]), "released and held", int(row["releases"]) + still)
    _equal("locks held by threads", int(simulation.tables["thread"]["locks_held"].sum()), "locks with an owner", int(held.sum()))


def check_messages(simulation: Simulation) -> None:
    """Every item put into a queue was taken out or waits in it. None waits for a connection or perimeter that nobody serves.

    The queue of a perimeter may be left to the perimeter's thread, which is then awake, or will be at the next tick.
    """
    stack, queues, owners = simulation.stack, simulation.tables["queue"], simulation.tables["lock"]["owner"]
    if stack["use_backlog"]:
        left = np.flatnonzero(queues["count"][int(stack["backlog_first"]) :])
        if (owners[left + int(stack["connection_lock_first"])] < 0).any():
            raise ConservationError("packets are on the backlog of a connection that nobody holds")
    if stack["use_perimeter"]:
        left = np.flatnonzero(queues["count"])
        workers = simulation.tables["thread"][queues["thread"][left]]
        asleep = (workers["state"] == ThreadState.BLOCKED) & (workers["waits_for"] != WaitsFor.TICK)
        if (asleep & (owners[left + int(stack["group_lock_first"])] < 0)).any():
            raise ConservationError("messages are in the queue of a perimeter that nobody is inside or woken for")
    received = int(stack["messages_received"]) + _queued(simulation)
    _equal("messages sent", int(stack["messages_sent"]), "received and queued", received)


def check_frames(simulation: Simulation) -> None:
    """Every item off the pool is on its way, in a ring, in a queue or with a thread. Every frame is accounted for once."""
    stack, nics = simulation.stack, simulation.tables["nic"]
    ringed = nics["receive_tail"] - nics["receive_head"]
    _all_equal(
        "frames that came",
        nics["frames_arrived"],
        "on the way, in the ring, received and dropped",
        nics["arrivals"] + ringed + nics["frames_received"] + nics["receive_drops"],
    )
    taken = int(stack["items_taken"]) - int(stack["items_freed"])
    free = int(simulation.tables["pool"]["count"].sum())
    _equal("items in use", taken, "the pool's missing ones", int(stack["items"]) - free)
    threads = simulation.tables["thread"]
    working = int(((threads["item"] >= 0) & (threads["item"] < int(stack["items"]))).sum())
    queued = _queued(simulation) + int(np.count_nonzero(simulation.tables["held"]["item"] >= 0))
    least = int(nics["arrivals"].sum() + ringed.sum())
    if not least <= taken <= least + queued + working:
        raise ConservationError(f"items in use ({taken}) are neither on the way nor in ports nor with threads ({least})")


def check_mbufs(simulation: Simulation) -> None:
    """Every mbuf is free, or holds bytes of a send buffer, a frame of a transmit ring, or a request that an application makes."""
    stack, nics = simulation.stack, simulation.tables["nic"]
    used = int(stack["mbufs_taken"]) - int(stack["mbufs_freed"])
    free = int(stack["free_mbufs"]) + int(simulation.tables["core"]["free_mbufs"].sum())
    _equal("mbufs in use", used, "all less free ones", int(stack["mbufs"]) - free)
    queued = int((nics["transmit_tail"] - nics["transmit_head"]).sum())
    units = int(_count_buffered(stack)) + int(np.count_nonzero(_requests_in_queues(simulation)))
    if not 0 <= used - queued - units <= int(stack["app_threads"]):
        raise ConservationError(f"mbufs in use ({used}) are not those of rings ({queued}) and send buffers ({units})")


@compiled
def _count_buffered(stack):
    """Return how many mbufs all send buffers hold."""
    count = 0
    for flow_index in range(stack.conns):
        mbuf = np.int64(flow_of(stack, flow_index).first_mbuf)
        last = flow_of(stack, flow_index).last_mbuf
        while mbuf >= 0:
            count += 1
            mbuf = np.int64(mbuf_of(stack, mbuf).next) if mbuf != last else np.int64(-1)
    return count


def _requested(simulation: Simulation) -> np.ndarray:
    """Return the bytes of each connection's send requests in items of the pools."""
    items = simulation.tables["item"]
    requested = np.zeros(len(simulation.tables["flow"]), np.int64)
    for item in np.flatnonzero(_requests_in_queues(simulation)):
        requested[items["flow"][item]] += items["bytes"][item]
    return requested


def _requests_in_queues(simulation: Simulation) -> np.ndarray:
    """Return which items of the pools are send requests in a queue, by a walk through all queues; shape (items,), bool."""
    items, pool = simulation.tables["item"], int(simulation.stack["items"])
    found = np.zeros(len(items), bool)
    for queue in simulation.tables["queue"]:
        item = int(queue["head"])
        for _ in range(int(queue["count"])):
            found[item] = items["kind"][item] == ItemKind.SEND and item < pool
            item = int(items["next"][item])
    return found


def _queued(simulation: Simulation) -> int:
    """Return how many items wait in queues."""
    return int(simulation.tables["queue"]["count"].sum())


def _equal(what: str, value: int, other: str, expected: int) -> None:
    if value != expected:
        raise ConservationError(f"{what} ({value}) differ from {other} ({expected})")


def _all_equal(what: str, values: np.ndarray, other: str, expected: np.ndarray) -> None:
    wrong = np.flatnonzero(values != expected)
    if len(wrong):
        index = int(wrong[0])
        raise ConservationError(f"{what} ({values[index]}) differ from {other} ({expected[index]}) at {index}")
