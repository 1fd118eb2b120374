"""Where messages wait for somebody else: ports of owners, queues between cores, backlogs of connections, queues of perimeters.

All are lists of items. Puts them in and takes them out, in order, at a cost. Knows nothing of how a message is processed.
"""

from netstack.jit.compilation import compiled
from netstack.sim.machine.memory import charge, charge_lock_word
from netstack.sim.machine.scheduler import send_ipi, wakeup
from netstack.sim.machine.sections import brief_leave, brief_wait
from netstack.sim.machine.state import (
    GROUP,
    MESSAGE_PORT,
    OP_LOCK_ACQUIRE,
    OP_LOCK_RELEASE,
    OP_MESSAGE_APPEND,
    OP_MESSAGE_COLLECT,
    OP_MESSAGE_DELIVER,
    OP_MESSAGE_POST,
    OP_MESSAGE_RECEIVE,
    OP_MESSAGE_SEND,
    core_of,
    thread_of,
)
from netstack.sim.stack.state import PACKET, free_packet, packet_of, queue_of


@compiled
def _append(s, queue_index, packet):
    """Append an item to a queue."""
    queue = queue_of(s, queue_index)
    packet_of(s, packet).next = -1
    if queue.count == 0:
        queue.head = packet
    else:
        packet_of(s, queue.tail).next = packet
    queue.tail = packet
    queue.count += 1


@compiled
def _take(s, queue_index):
    """Take the oldest item off a queue that is not empty."""
    queue = queue_of(s, queue_index)
    packet = queue.head
    queue.head = packet_of(s, packet).next
    queue.count -= 1
    return packet


@compiled
def _count_sent(s):
    s.messages_sent += 1
    s.hand_offs += 1


@compiled
def send_message(m, s, core, packet, port_index):
    """Send an item to a port and have its thread woken. A full port loses packets, never requests."""
    if s.use_ipi_queues != 0:
        _send_to_core(m, s, core, packet, port_index)
        return
    _charge_port(m, s, core, port_index, OP_MESSAGE_SEND)
    if _refused(s, packet, queue_of(s, port_index).count):
        return
    _append(s, port_index, packet)
    _count_sent(s)
    wakeup(m, core, queue_of(s, port_index).thread)


@compiled
def _send_to_core(m, s, core, packet, port_index):
    """Append to a port of the own core; into another core's queue, with an interrupt if it was empty (lwkt_send_ipiq())."""
    port = queue_of(s, port_index)
    in_transit = queue_of(s, s.ipi_queue_first + port_index)
    target = thread_of(m, port.thread).pinned
    core_of(m, core).instance[GROUP] = port_index
    charge(m, core, OP_MESSAGE_APPEND if target == core else OP_MESSAGE_POST)
    if _refused(s, packet, port.count + in_transit.count):
        return
    _count_sent(s)
    if target == core:
        _append(s, port_index, packet)
        wakeup(m, core, port.thread)
    else:
        _append(s, s.ipi_queue_first + port_index, packet)
        if in_transit.count == 1:
            send_ipi(m, core, target)


@compiled
def deliver_messages(m, s, core):
    """Handler of an interprocessor interrupt: append what other cores sent to the ports of `core`, and wake their threads."""
    for port_index in range(core, s.ports, m.cores_used):
        in_transit = queue_of(s, s.ipi_queue_first + port_index)
        if in_transit.count > 0:
            core_of(m, core).instance[GROUP] = port_index
            while in_transit.count > 0:
                charge(m, core, OP_MESSAGE_DELIVER)
                _append(s, port_index, _take(s, s.ipi_queue_first + port_index))
            wakeup(m, core, queue_of(s, port_index).thread)


@compiled
def _refused(s, packet, waiting):
    """Drop a packet that finds a full port; return whether it was one."""
    if packet_of(s, packet).kind != PACKET or waiting < s.port_capacity:
        return False
    s.queue_drops += 1
    free_packet(s, packet)
    return True


@compiled
def open_port(m, s, core, port_index):
    """Pay for the next messages that the port's thread takes: under the port's lock, if it has one."""
    if s.use_ipi_queues != 0:
        core_of(m, core).instance[GROUP] = port_index
        charge(m, core, OP_MESSAGE_COLLECT)
    else:
        _charge_port(m, s, core, port_index, OP_MESSAGE_RECEIVE)


@compiled
def _charge_port(m, s, core, port_index, operation):
    """Run an operation on `core` under the lock of a port."""
    cpu = core_of(m, core)
    port = queue_of(s, port_index)
    cpu.instance[GROUP] = port_index
    brief_wait(m, core, MESSAGE_PORT, port.brief_start, port.brief_end)
    port.brief_start = cpu.clock
    charge(m, core, operation)
    port.brief_end = cpu.clock
    brief_leave(m, core, MESSAGE_PORT, port.brief_start)


@compiled
def take_message(s, queue_index):
    """Take the oldest message off a queue that is not empty."""
    s.messages_received += 1
    return _take(s, queue_index)


@compiled
def put_left(m, s, core, packet, queue_index, operation):
    """Append an item to the queue of something that the thread on `core` keeps others out of."""
    charge(m, core, operation)
    _append(s, queue_index, packet)
    _count_sent(s)


@compiled
def leave_message(m, s, core, packet, queue_index, operation, lock):
    """Leave an item to whoever holds `lock`: append it to the queue that the lock's word protects."""
    charge_lock_word(m, core, lock, OP_LOCK_ACQUIRE)
    put_left(m, s, core, packet, queue_index, operation)
    charge_lock_word(m, core, lock, OP_LOCK_RELEASE)


@compiled
def take_left(m, s, core, queue_index, operation):
    """Take the oldest item that others left in a queue that is not empty."""
    charge(m, core, operation)
    return take_message(s, queue_index)
