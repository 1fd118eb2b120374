"""Where messages wait for somebody else: the port of an owner, and the backlog of a connection that an application works on.

Puts them in and takes them out, in order, at a cost. Knows nothing of how a message is processed.
"""

from netstack.compilation import compiled
from netstack.machine.memory import charge, charge_lock_word
from netstack.machine.sections import brief_leave, brief_wait
from netstack.machine.state import (
    GROUP,
    MESSAGE_PORT,
    OP_BACKLOG_ADD,
    OP_BACKLOG_TAKE,
    OP_LOCK_ACQUIRE,
    OP_LOCK_RELEASE,
    OP_MESSAGE_SEND,
    core_of,
)
from netstack.workload.state import PACKET, flow_of, free_packet, packet_of, port_of


@compiled
def put_message(m, s, core, packet, port_index):
    """Queue an item to a port. A full port loses packets, never requests; return whether the item is in."""
    port = port_of(s, port_index)
    record = packet_of(s, packet)
    charge_port(m, s, core, port_index, OP_MESSAGE_SEND)
    if record.kind == PACKET and port.count >= s.port_capacity:
        s.queue_drops += 1
        free_packet(s, packet)
        return False
    record.next = -1
    if port.count == 0:
        port.head = packet
    else:
        packet_of(s, port.tail).next = packet
    port.tail = packet
    port.count += 1
    s.messages_sent += 1
    s.hand_offs += 1
    return True


@compiled
def charge_port(m, s, core, port_index, operation):
    """Run an operation on `core` under the lock of a port."""
    cpu = core_of(m, core)
    port = port_of(s, port_index)
    cpu.instance[GROUP] = port_index
    brief_wait(m, core, MESSAGE_PORT, port.brief_start, port.brief_end)
    port.brief_start = cpu.clock
    charge(m, core, operation)
    port.brief_end = cpu.clock
    brief_leave(m, core, MESSAGE_PORT, port.brief_start)


@compiled
def take_message(s, port_index):
    """Take the oldest message off a port that is not empty."""
    port = port_of(s, port_index)
    packet = port.head
    port.head = packet_of(s, packet).next
    port.count -= 1
    s.messages_received += 1
    return packet


@compiled
def join_backlog(m, s, core, packet, lock):
    """Leave a packet to whoever holds its connection: append it to the backlog, which the word of `lock` protects."""
    record = packet_of(s, packet)
    flow = flow_of(s, record.flow)
    charge_lock_word(m, core, lock, OP_LOCK_ACQUIRE)
    charge(m, core, OP_BACKLOG_ADD)
    charge_lock_word(m, core, lock, OP_LOCK_RELEASE)
    record.next = -1
    if flow.backlog_count == 0:
        flow.backlog_head = packet
    else:
        packet_of(s, flow.backlog_tail).next = packet
    flow.backlog_tail = packet
    flow.backlog_count += 1
    s.messages_sent += 1
    s.hand_offs += 1


@compiled
def take_backlog(m, s, core, flow_index):
    """Take the oldest packet off a backlog that is not empty."""
    flow = flow_of(s, flow_index)
    charge(m, core, OP_BACKLOG_TAKE)
    packet = flow.backlog_head
    flow.backlog_head = packet_of(s, packet).next
    flow.backlog_count -= 1
    s.messages_received += 1
    return packet
