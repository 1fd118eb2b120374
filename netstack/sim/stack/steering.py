"""Which receive queue a card takes a connection's packets to: by its hash, or by an exact entry that the host has made.

Knows the card's tables and the addresses of connections, not who processes packets.
"""

from netstack.jit.compilation import compiled
from netstack.sim.machine.state import flow_entry_of, indirection_of
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
