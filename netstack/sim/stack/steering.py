"""Which receive queue a card takes a connection's packets to: by its hash, or by an exact entry that the host has made.

Knows the card's tables and the addresses of connections, not who processes packets.
"""

import numpy as np

from netstack.jit.compilation import compiled
from netstack.sim.machine.state import NEVER, flow_entry_of, indirection_of, nic_of
from netstack.sim.machine.toeplitz import toeplitz
from netstack.sim.stack.state import flow_of, peer_of


@compiled
def _receive_hash(machine, stack, flow_index):
    """Return the card's hash of a connection's packets: from the client to the host."""
    peer = peer_of(stack, flow_index)
    return toeplitz(machine, peer.local_address, peer.foreign_address, peer.local_port, peer.foreign_port)


@compiled
def _queue_of_hash(machine, link, value):
    return link + indirection_of(machine, value & machine.rss_mask).value * machine.links


@compiled
def steer(machine, stack, flow_index):
    """Set the receive queue of a new connection: the one that its hash leads to. An entry of the last connection is forgotten."""
    flow = flow_of(stack, flow_index)
    flow.queue = flow.nic
    flow.consumer = -1
    if machine.nics == machine.links:
        return
    value = _receive_hash(machine, stack, flow_index)
    flow.queue = _queue_of_hash(machine, flow.nic, value)


@compiled
def leads_to_core(machine, stack, flow_index, core):
    """Return whether the hash of a connection leads to the receive queue of `core`, its own or the one that it shares."""
    flow = flow_of(stack, flow_index)
    queues = machine.nics // machine.links
    own = flow.nic + core % queues * machine.links
    return queues == 1 or _queue_of_hash(machine, flow.nic, _receive_hash(machine, stack, flow_index)) == own


@compiled
def note_consumer(machine, stack, core, flow_index):
    """Note that an application on `core` makes a call for a connection. A card with exact entries takes its packets there.

    Entries are found by the hash. A connection whose entry another one takes goes by its hash again.
    Source: rps_record_sock_flow() and accelerated RFS of Linux, Documentation/networking/scaling.rst.
    """
    flow = flow_of(stack, flow_index)
    flow.consumer = core
    if machine.flow_entries == 0:
        return
    queue = flow.nic + core % (machine.nics // machine.links) * machine.links
    if queue == flow.queue:
        return
    value = _receive_hash(machine, stack, flow_index)
    entry = flow_entry_of(machine, value % machine.flow_entries)
    if entry.value >= 0 and entry.value != flow_index:
        other = flow_of(stack, entry.value)
        other.queue = _queue_of_hash(machine, other.nic, _receive_hash(machine, stack, entry.value))
    entry.value = flow_index
    flow.queue = queue


@compiled
def migrate_entry(machine, stack):
    """Move an entry of the indirection table from the queue with the most frames since the last time to the one with the fewest.

    An entry moves only if the queues differ by more than two mean ones of the busiest, so that none moves back at once. Entries
    move in turn.
    """
    queues = machine.nics // machine.links
    busiest, idlest, most, fewest = 0, 0, np.int64(-1), NEVER
    for queue in range(queues):
        frames = _frames_since(machine, queue)
        if frames > most:
            busiest, most = queue, frames
        if frames < fewest:
            idlest, fewest = queue, frames
    if (most - fewest) * _entries_of(machine, busiest) > 2 * most:
        move_entry(machine, stack, busiest, idlest)


@compiled
def move_entry(machine, stack, old, new):
    """Move an entry of the indirection table from one queue to another, if the old one has any. They are taken in turn."""
    if old == new or _entries_of(machine, old) == 0:
        return
    entry = stack.migrate_next
    while indirection_of(machine, entry).value != old:
        entry = (entry + 1) & machine.rss_mask
    stack.migrate_next = (entry + 1) & machine.rss_mask
    stack.migrated += 1
    indirection_of(machine, entry).value = new
    for flow_index in range(stack.conns):
        flow = flow_of(stack, flow_index)
        if _receive_hash(machine, stack, flow_index) & machine.rss_mask == entry:
            flow.queue = flow.nic + new * machine.links


@compiled
def _entries_of(machine, queue):
    """Return how many entries of the indirection table lead to a queue."""
    entries = 0
    for entry in range(machine.rss_mask + 1):
        entries += indirection_of(machine, entry).value == queue
    return entries


@compiled
def _frames_since(machine, queue):
    """Return how many frames a queue of all cards received since this was last asked."""
    frames = 0
    for link in range(machine.links):
        nic = nic_of(machine, link + queue * machine.links)
        frames += nic.frames_received - nic.frames_before
        nic.frames_before = nic.frames_received
    return frames
