"""Where items wait for another thread: message ports, queues between cores, backlogs of connections, queues of perimeters.

All are lists of items in order. An item in one of them is a message. Charges the cost of putting it in and taking it out. Knows
nothing of how it is processed.
"""

from netstack.jit.compilation import compiled
from netstack.sim.machine.charging import charge, charge_in, charge_lock_word
from netstack.sim.machine.numbers import Instance, LockClass, Operation, Recorded
from netstack.sim.machine.recording import record_now
from netstack.sim.machine.scheduler import raise_softirq, send_ipi, wakeup
from netstack.sim.machine.state import core_of, thread_of
from netstack.sim.stack.numbers import ItemKind
from netstack.sim.stack.state import flow_of, free_item, item_of, packet_hash, queue_of, take_item

SLOW_PATH = 0  # the port of the thread that opens and closes connections


@compiled
def _append(stack, queue_index, item):
    """Append an item to a queue."""
    queue = queue_of(stack, queue_index)
    item_of(stack, item).next = -1
    if queue.count == 0:
        queue.head = item
    else:
        item_of(stack, queue.tail).next = item
    queue.tail = item
    queue.count += 1


@compiled
def _take(stack, queue_index):
    """Take the oldest item off a queue that is not empty."""
    queue = queue_of(stack, queue_index)
    item = queue.head
    queue.head = item_of(stack, item).next
    queue.count -= 1
    return item


@compiled
def _count_sent(machine, stack, core, item):
    """Count an item that `core` has left to another thread."""
    if machine.recording != 0:
        record_now(machine, Recorded.SENT, core, item, -1)
    stack.messages_sent += 1
    stack.hand_offs += 1


@compiled
def send_message(machine, stack, core, item, port_index):
    """Send an item to a port, and wake the port's thread. A full port drops packets, but never requests or timers."""
    if stack.use_ipi_queues != 0:
        _send_to_core(machine, stack, core, item, port_index)
        return
    _charge_port(machine, stack, core, port_index, Operation.MESSAGE_SEND)
    if _refused(stack, item, queue_of(stack, port_index).count):
        return
    _append(stack, port_index, item)
    _count_sent(machine, stack, core, item)
    wakeup(machine, core, queue_of(stack, port_index).thread)


@compiled
def forward(machine, stack, core, packet):
    """Queue a packet for its owner's core, which is told of it by `deliver_forwards`.

    Source: get_rps_cpu() and enqueue_to_backlog() of Linux.
    """
    consumer = flow_of(stack, item_of(stack, packet).flow).consumer
    target = consumer if stack.to_consumer != 0 and consumer >= 0 else packet_hash(stack, packet) % stack.ports
    core_of(machine, core).instance[Instance.GROUP] = target
    charge_in(machine, core, queue_of(stack, target).section, LockClass.MESSAGE_PORT, Operation.FORWARD)
    if _refused(stack, packet, queue_of(stack, target).count):
        return
    _append(stack, target, packet)
    _count_sent(machine, stack, core, packet)


@compiled
def deliver_forwards(machine, stack, core):
    """At the end of a poll, interrupt each core once that packets were queued for. Source: net_rps_action_and_irq_enable()."""
    for port_index in range(stack.ports):
        queue = queue_of(stack, port_index)
        if queue.count > 0 and queue.told == 0:
            queue.told = 1
            if thread_of(machine, queue.thread).own_light != 0:
                raise_softirq(machine, core, queue.thread)
            else:
                wakeup(machine, core, queue.thread)


@compiled
def _send_to_core(machine, stack, core, item, port_index):
    """Append an item to a port of the own core, or to another core's queue, with an interrupt if that was empty.

    Source: lwkt_send_ipiq() of DragonFlyBSD."""
    port = queue_of(stack, port_index)
    in_transit = queue_of(stack, stack.ipi_queue_first + port_index)
    target = thread_of(machine, port.thread).pinned
    core_of(machine, core).instance[Instance.GROUP] = port_index
    charge(machine, core, Operation.MESSAGE_APPEND if target == core else Operation.MESSAGE_POST)
    if _refused(stack, item, port.count + in_transit.count):
        return
    _count_sent(machine, stack, core, item)
    if target == core:
        _append(stack, port_index, item)
        wakeup(machine, core, port.thread)
    else:
        _append(stack, stack.ipi_queue_first + port_index, item)
        if in_transit.count == 1:
            send_ipi(machine, core, target)


@compiled
def deliver_messages(machine, stack, core):
    """Append what other cores sent to the ports of `core`, and wake their threads: the handler of interprocessor interrupts."""
    for port_index in range(core, stack.ports, machine.cores_used):
        in_transit = queue_of(stack, stack.ipi_queue_first + port_index)
        if in_transit.count > 0:
            core_of(machine, core).instance[Instance.GROUP] = port_index
            while in_transit.count > 0:
                charge(machine, core, Operation.MESSAGE_DELIVER)
                _append(stack, port_index, _take(stack, stack.ipi_queue_first + port_index))
            wakeup(machine, core, queue_of(stack, port_index).thread)


@compiled
def _refused(stack, item, waiting):
    """Drop a packet that finds a full port; return whether the item was dropped."""
    if item_of(stack, item).kind != ItemKind.PACKET or waiting < stack.port_capacity:
        return False
    stack.queue_drops += 1
    free_item(stack, item)
    return True


@compiled
def open_port(machine, stack, core, port_index):
    """Charge the port's thread for the next batch that it takes, under the port's lock if it has one."""
    if stack.use_ipi_queues != 0:
        core_of(machine, core).instance[Instance.GROUP] = port_index
        charge(machine, core, Operation.MESSAGE_COLLECT)
    else:
        _charge_port(machine, stack, core, port_index, Operation.MESSAGE_RECEIVE)


@compiled
def _charge_port(machine, stack, core, port_index, operation):
    """Run an operation on `core` under the lock of a port."""
    core_of(machine, core).instance[Instance.GROUP] = port_index
    charge_in(machine, core, queue_of(stack, port_index).section, LockClass.MESSAGE_PORT, operation)


@compiled
def take_message(stack, queue_index):
    """Take the oldest item off a queue that is not empty, and count it as received."""
    stack.messages_received += 1
    return _take(stack, queue_index)


@compiled
def put_left(machine, stack, core, item, queue_index, operation):
    """Append an item to a queue that the thread on `core` keeps others out of."""
    charge(machine, core, operation)
    _append(stack, queue_index, item)
    _count_sent(machine, stack, core, item)


@compiled
def leave_message(machine, stack, core, item, queue_index, operation, lock):
    """Leave an item to whoever holds `lock`: append it to the queue that the lock's word protects."""
    charge_lock_word(machine, core, lock, Operation.LOCK_ACQUIRE)
    put_left(machine, stack, core, item, queue_index, operation)
    charge_lock_word(machine, core, lock, Operation.LOCK_RELEASE)


@compiled
def take_left(machine, stack, core, queue_index, operation):
    """Take the oldest item that others left in a queue that is not empty."""
    charge(machine, core, operation)
    item = take_message(stack, queue_index)
    if machine.recording != 0:
        record_now(machine, Recorded.TAKEN, core, item, -1)
    return item


@compiled
def item_of_pool(machine, stack, index):
    """Return an item that may wait: one of a pool as it is, that of a thread in a copy, because the thread uses its own again.

    The send buffer keeps room for the bytes of a request from here on (tcp_squeue_bytes of Solaris).
    """
    if index < stack.items:
        return index
    waiting = take_item(machine, stack)
    item = item_of(stack, index)
    copy = item_of(stack, waiting)
    copy.kind = item.kind
    copy.flow = item.flow
    copy.bytes = item.bytes
    copy.thread = item.thread
    copy.mbuf = item.mbuf
    copy.written_at = item.written_at
    if item.kind == ItemKind.SEND:
        flow_of(stack, item.flow).waiting_bytes += item.bytes
    return waiting
