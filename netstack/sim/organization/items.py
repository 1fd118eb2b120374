"""The way of an item through the protocol: look-up, serialization, processing, output, and out again.

An item is a received packet, a request to send or to close, or an expired timer. Which locks, queues and perimeters are on its
way is data of the organization; which thread brings it is the business of `threads`. A step ends where another core could matter:
before a lock is tried or released, and after each segment.
"""

from netstack.jit.compilation import compiled
from netstack.sim.kernel.connections import (
    KNOWN,
    OPENED,
    admit_segment,
    may_change_table,
    remove_connection,
    send_reset,
    tell_application,
)
from netstack.sim.kernel.paths import (
    TICK,
    WORK,
    lookup_connection,
    output_segment,
    predict_packet,
    process_packet,
    process_send,
    process_timer,
    so_wakeup,
)
from netstack.sim.machine.locks import NOT_WAITING, acquire, enter, leave, release
from netstack.sim.machine.memory import charge
from netstack.sim.machine.scheduler import interrupt_core, make_runnable_from_interrupt, sleep, wakeup
from netstack.sim.machine.state import (
    BLOCKED,
    FLOW,
    GROUP,
    NIC,
    OP_BACKLOG_ADD,
    OP_BACKLOG_TAKE,
    OP_PERIMETER_ADD,
    OP_PERIMETER_TAKE,
    RX_SLOT,
    core_of,
    lock_of,
    thread_of,
)
from netstack.sim.organization.queues import leave_message, put_left, take_left
from netstack.sim.stack.state import (
    CLOSE,
    LOCAL,
    PACKET,
    SEND,
    TIMER,
    flow_of,
    free_packet,
    packet_of,
    pcb_of,
    queue_of,
    segment_of,
    take_packet,
)
from netstack.sim.stack.timer_wheel import arm
from netstack.tcp.connection import tcp_close
from netstack.tcp.flags import TCP_ACKED, TCP_CLOSED, TCP_OUTPUT, TCP_REPLY_RESET

APPLICATION_THREAD, INBOUND_THREAD, PORT_THREAD, CLOCK_THREAD = range(4)
NEXT, LOOKUP_LOCK, SERIALIZE, PROCESS, OUTPUT, FINISH = range(6)
NO_LOCK, LOCK_CONNECTION, LOCK_GROUP = range(3)


@compiled
def step_item(m, s, core):
    """Take the item of the thread on `core` one step further."""
    thread = thread_of(m, core_of(m, core).thread)
    if thread.phase == LOOKUP_LOCK:
        if acquire(m, core, s.global_lock):
            _lookup(m, s, core)
            thread.phase = SERIALIZE
    elif thread.phase == SERIALIZE:
        if s.use_perimeter != 0:
            _enter_or_queue(m, s, core)
            return
        if s.use_backlog != 0 and _owned_by_application(m, core) and _leave_to_owner(m, s, core):
            return
        if s.lock_kind == NO_LOCK or acquire(m, core, thread.lock):
            if s.use_global_lock == 0 and s.lookup_first == 0:
                _lookup(m, s, core)
            _admit(m, s, core)
    elif thread.phase == PROCESS:
        if may_change_table(s, thread.item):
            thread.table_locked = 1
        else:
            release(m, core, s.global_lock)
        _process(m, s, core)
    elif not output_segment(m, s, core, thread.flow):
        _settle(m, s, core)


@compiled
def begin_item(m, s, core, item, group):
    """Start an item on the thread that runs on `core`; `group` is the connection group of the item."""
    thread = thread_of(m, core_of(m, core).thread)
    thread.item = item
    thread.phase = s.first_phase
    thread.lock = s.group_lock_first + group
    no_lock = s.first_phase == SERIALIZE and s.lock_kind == NO_LOCK
    if no_lock or s.lookup_first != 0:
        _lookup(m, s, core)
    if no_lock:
        _admit(m, s, core)


@compiled
def _lookup(m, s, core):
    """Find the connection of the current item, and its lock where connections have one.

    A packet of none is one of its client's: of the record that the client's connections follow each other in.
    """
    cpu = core_of(m, core)
    thread = thread_of(m, cpu.thread)
    packet = packet_of(s, thread.item)
    if packet.kind == PACKET:
        found = lookup_connection(m, s, core, thread.item)
        if found < 0 and s.bytes_per_connection == 0:
            m.fault = 4
    thread.flow = packet.flow
    cpu.instance[FLOW] = packet.flow
    cpu.instance[NIC] = flow_of(s, packet.flow).nic
    if packet.kind == PACKET and s.lookup_first != 0:
        charge(m, core, s.lookup_operation)
    if s.lock_kind == LOCK_CONNECTION:
        thread.lock = s.connection_lock_first + packet.flow


@compiled
def _admit(m, s, core):
    """Take the current item into its connection. A global lookup lock is still held: the item might close the connection."""
    thread = thread_of(m, core_of(m, core).thread)
    kind = packet_of(s, thread.item).kind
    if kind == SEND:
        process_send(m, s, core, thread.item)
    elif kind == PACKET:
        if s.bytes_per_connection != 0:
            answer = admit_segment(m, s, core, thread.item)
            if answer != KNOWN:
                thread.table_locked = s.use_global_lock
                thread.flags = 0
                thread.phase = OUTPUT if answer == OPENED else FINISH
                return
        predict_packet(m, core)
    thread.phase = PROCESS
    if s.use_global_lock == 0:
        _process(m, s, core)


@compiled
def _process(m, s, core):
    """Run the protocol on the current item, up to its output."""
    thread = thread_of(m, core_of(m, core).thread)
    kind = packet_of(s, thread.item).kind
    if kind == SEND:
        thread.flags = TCP_OUTPUT
    elif kind == PACKET:
        thread.flags = process_packet(m, s, core, thread.item)
        if thread.flags & TCP_REPLY_RESET:
            send_reset(m, s, core, thread.flow, segment_of(s, thread.item))
    elif kind == CLOSE:
        thread.flags = tcp_close(pcb_of(s, thread.flow), core_of(m, core).clock // s.cycles_per_us)
    else:
        thread.flags = process_timer(m, s, core, thread.item)
    if thread.flags & TCP_CLOSED:
        remove_connection(m, s, core, thread.flow)
    if kind != PACKET and thread.item < s.packets:
        free_packet(s, thread.item)
    if thread.flags & TCP_OUTPUT:
        thread.phase = OUTPUT
    else:
        _settle(m, s, core)


@compiled
def _settle(m, s, core):
    """Last work on the connection under its lock: list its timers, tell the application what it waits for."""
    thread = thread_of(m, core_of(m, core).thread)
    arm(s, thread.flow, LOCAL)
    if thread.flags & TCP_ACKED:
        so_wakeup(m, s, core, thread.flow)
    if s.bytes_per_connection != 0:
        tell_application(m, s, core, thread.flow, thread.flags)
    thread.phase = FINISH


@compiled
def _owned_by_application(m, core):
    """Return whether an application holds the lock of the current item's connection."""
    cpu = core_of(m, core)
    owner = lock_of(m, thread_of(m, cpu.thread).lock).owner
    return owner >= 0 and owner != cpu.thread and thread_of(m, owner).kind == APPLICATION_THREAD


@compiled
def _leave_to_owner(m, s, core):
    """Leave an item to the application that holds the connection, a timer to the next tick; a request waits (False)."""
    thread = thread_of(m, core_of(m, core).thread)
    kind = packet_of(s, thread.item).kind
    if kind != PACKET and kind != TIMER:
        return False
    if kind == PACKET:
        leave_message(m, s, core, thread.item, s.backlog_first + thread.flow, OP_BACKLOG_ADD, thread.lock)
    else:
        arm(s, thread.flow, LOCAL)
    thread.waiting = NOT_WAITING
    thread.phase = NEXT
    thread.item = -1
    return True


@compiled
def _enter_or_queue(m, s, core):
    """Enter the item's perimeter if nobody is inside; otherwise leave it in the perimeter's queue and go on.

    Whoever is the first inside after a drain that was cut short lets those in the queue go first.
    Source: squeue_enter() of Solaris 10.
    """
    cpu = core_of(m, core)
    thread = thread_of(m, cpu.thread)
    perimeter = thread.lock - s.group_lock_first
    cpu.instance[GROUP] = perimeter
    if lock_of(m, thread.lock).owner >= 0:
        leave_message(m, s, core, _item_of_pool(m, s, thread.item), perimeter, OP_PERIMETER_ADD, thread.lock)
        thread.phase = NEXT
        thread.item = -1
        return
    enter(m, core, thread.lock)
    thread.batch_left = s.batch
    if queue_of(s, perimeter).count == 0:
        _admit(m, s, core)
    else:
        put_left(m, s, core, _item_of_pool(m, s, thread.item), perimeter, OP_PERIMETER_ADD)
        _take_inside(m, s, core)


@compiled
def enter_for_queue(m, s, core, perimeter):
    """Enter a perimeter for what waits in its queue; return whether there is something and nobody is inside."""
    thread = thread_of(m, core_of(m, core).thread)
    thread.waits_for = WORK
    thread.lock = s.group_lock_first + perimeter
    if queue_of(s, perimeter).count == 0 or lock_of(m, thread.lock).owner >= 0:
        return False
    enter(m, core, thread.lock)
    thread.batch_left = s.batch
    _take_inside(m, s, core)
    return True


@compiled
def _item_of_pool(m, s, item):
    """Return an item that may wait: a packet as it is, anything else in a copy, for its thread goes on with its own record.

    The bytes of a request count against the send buffer from here on (tcp_squeue_bytes of Solaris).
    """
    if item < s.packets:
        return item
    waiting = take_packet(m, s)
    record = packet_of(s, item)
    copy = packet_of(s, waiting)
    copy.kind = record.kind
    copy.flow = record.flow
    copy.bytes = record.bytes
    copy.mbuf = record.mbuf
    copy.written_at = record.written_at
    if record.kind == SEND:
        flow_of(s, record.flow).waiting_bytes += record.bytes
    return waiting


@compiled
def _take_inside(m, s, core):
    """Being inside a perimeter, take the first item of its queue into its connection."""
    cpu = core_of(m, core)
    thread = thread_of(m, cpu.thread)
    perimeter = thread.lock - s.group_lock_first
    cpu.instance[GROUP] = perimeter
    thread.batch_left -= 1
    thread.item = take_left(m, s, core, perimeter, OP_PERIMETER_TAKE)
    record = packet_of(s, thread.item)
    flow = flow_of(s, record.flow)
    thread.flow = record.flow
    cpu.instance[FLOW] = record.flow
    cpu.instance[NIC] = flow.nic
    if record.kind == PACKET:
        cpu.instance[RX_SLOT] = record.slot
    elif record.kind == SEND:
        flow.waiting_bytes -= record.bytes
    _admit(m, s, core)


@compiled
def finish_item(m, s, core):
    """Leave the connection, after what others left to whoever is inside: release its lock, answer whoever asked."""
    cpu = core_of(m, core)
    thread = thread_of(m, cpu.thread)
    if s.use_perimeter != 0:
        _finish_inside(m, s, core)
        return
    if s.use_backlog != 0 and thread.kind == APPLICATION_THREAD and queue_of(s, s.backlog_first + thread.flow).count > 0:
        thread.item = take_left(m, s, core, s.backlog_first + thread.flow, OP_BACKLOG_TAKE)
        cpu.instance[RX_SLOT] = packet_of(s, thread.item).slot
        _admit(m, s, core)
        return
    if s.lock_kind != NO_LOCK:
        release(m, core, thread.lock)
    thread.phase = NEXT
    if thread.kind == PORT_THREAD and (thread.message_kind == SEND or thread.message_kind == CLOSE):
        _answer(m, s, core)
    thread.item = -1


@compiled
def _finish_inside(m, s, core):
    """Drain the perimeter's queue, up to the batch; then leave, and wake the perimeter's thread for what is left.

    That thread itself takes a break then, until the next tick of the clock, for others to enter meanwhile.
    Source: squeue_drain() and squeue_worker() of Solaris 10.
    """
    thread = thread_of(m, core_of(m, core).thread)
    queue = queue_of(s, thread.lock - s.group_lock_first)
    if queue.count > 0 and thread.batch_left > 0:
        _take_inside(m, s, core)
        return
    leave(m, core, thread.lock)
    thread.phase = NEXT
    thread.item = -1
    if queue.count == 0:
        return
    if thread.kind == PORT_THREAD:
        thread.waits_for = TICK
        sleep(m, core)
    else:
        wakeup(m, core, queue.thread)


@compiled
def end_breaks(m, s, now):
    """Wake the threads of perimeters that took a break, at a tick of the clock."""
    for perimeter in range(s.ports):
        worker_index = queue_of(s, perimeter).thread
        worker = thread_of(m, worker_index)
        if worker.waits_for == TICK:
            worker.waits_for = WORK
            make_runnable_from_interrupt(m, worker.core, worker_index)
            interrupt_core(m, worker.core, now)


@compiled
def _answer(m, s, core):
    """Wake the application that waits for the request that was just processed."""
    asker_index = packet_of(s, thread_of(m, core_of(m, core).thread).item).thread
    asker = thread_of(m, asker_index)
    asker.waits_for = WORK
    if asker.state == BLOCKED:
        wakeup(m, core, asker_index)
