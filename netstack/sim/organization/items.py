"""The way of an item through the protocol: look-up, serialization, processing, output, and the end.

Which locks, queues and perimeters are on its way is data of the organization. Which thread brings it is decided in `threads`. A
step ends where another core could interfere: before a lock is tried or released, and after each segment.
"""

from netstack.jit.compilation import compiled
from netstack.sim.kernel.connections import admit_segment, keeps_table, open_connection, remove_connection, send_reset
from netstack.sim.kernel.listener import tell_application
from netstack.sim.kernel.reading import process_read
from netstack.sim.kernel.receive import predict_packet, process_packet, process_timer
from netstack.sim.kernel.table import enter_table, leave_table, lookup_connection
from netstack.sim.kernel.transmit import output_segment, process_send
from netstack.sim.machine.charging import charge
from netstack.sim.machine.locks import acquire, enter, leave, release
from netstack.sim.machine.numbers import Fault, Instance, Operation, ThreadState, Waiting
from netstack.sim.machine.scheduler import interrupt_core, make_runnable_from_interrupt, sleep, wakeup
from netstack.sim.machine.state import core_of, lock_of, thread_of, thread_on
from netstack.sim.organization.queues import item_of_pool, leave_message, put_left, take_left
from netstack.sim.stack.numbers import Admission, ItemKind, LockKind, Phase, Side, ThreadKind, WaitsFor
from netstack.sim.stack.state import flow_of, free_item, item_of, pcb_of, queue_of, segment_of
from netstack.sim.stack.timer_wheel import arm
from netstack.tcp.connection import tcp_close
from netstack.tcp.flags import TCP_CLOSED, TCP_OUTPUT, TCP_REPLY_RESET


@compiled
def step_item(machine, stack, core):
    """Take the item of the thread on `core` one phase further. `plan.PHASES` has their order.

    FINISH is no phase of this function: `threads` calls `finish_item` for it.
    """
    thread = thread_on(machine, core)
    if thread.phase == Phase.LOOKUP_LOCK:
        _search_under_table_lock(machine, stack, core)
    elif thread.phase == Phase.SERIALIZE:
        _enter_connection(machine, stack, core)
    elif thread.phase == Phase.PROCESS:
        _release_table_and_process(machine, stack, core)
    elif not output_segment(machine, stack, core, thread.flow):
        _end_protocol(machine, stack, core)


@compiled
def begin_item(machine, stack, core, index, group):
    """Start an item on the thread that runs on `core`; `group` is the connection group of the item."""
    thread = thread_on(machine, core)
    thread.item = index
    thread.phase = stack.first_phase
    thread.lock = stack.group_lock_first + group
    nobody_else = stack.first_phase == Phase.OUTPUT
    if nobody_else or stack.lookup_first != 0:
        _lookup(machine, stack, core)
    if nobody_else:
        _admit(machine, stack, core)


@compiled
def _search_under_table_lock(machine, stack, core):
    """LOOKUP_LOCK: acquire the connection table's lock, and search the table under it."""
    if acquire(machine, core, stack.global_lock):
        _lookup(machine, stack, core)
        thread_on(machine, core).phase = Phase.SERIALIZE


@compiled
def _enter_connection(machine, stack, core):
    """SERIALIZE: acquire the lock or enter the perimeter of the item's connection, or leave the item to whoever is inside."""
    thread = thread_on(machine, core)
    if stack.use_perimeter != 0:
        _enter_or_queue(machine, stack, core)
        return
    if stack.use_backlog != 0 and _owned_by_application(machine, core) and _leave_to_owner(machine, stack, core):
        return
    if stack.lock_kind == LockKind.NONE or acquire(machine, core, thread.lock):
        if stack.use_global_lock == 0 and stack.lookup_first == 0:
            _lookup(machine, stack, core)
        _admit(machine, stack, core)


@compiled
def _release_table_and_process(machine, stack, core):
    """PROCESS: run the protocol, after a release of the connection table's lock unless the item keeps it to the end."""
    thread = thread_on(machine, core)
    if keeps_table(stack, thread.item):
        thread.table_locked = 1
    else:
        release(machine, core, stack.global_lock)
    _process(machine, stack, core)


@compiled
def _lookup(machine, stack, core):
    """Find the connection of the current item, and the connection's lock if it has one.

    A packet of no connection belongs to its client: to the record of that client's connections.
    """
    cpu = core_of(machine, core)
    thread = thread_of(machine, cpu.thread)
    item = item_of(stack, thread.item)
    if item.kind == ItemKind.PACKET:
        enter_table(machine, stack, core, item.flow)
        found = lookup_connection(machine, stack, core, thread.item)
        leave_table(machine, stack, core, item.flow)
        if found < 0 and stack.connections_end == 0:
            machine.fault = Fault.CONNECTION_NOT_FOUND
    thread.flow = item.flow
    cpu.instance[Instance.FLOW] = item.flow
    cpu.instance[Instance.NIC] = flow_of(stack, item.flow).nic
    if item.kind == ItemKind.PACKET and stack.lookup_first != 0:
        charge(machine, core, stack.lookup_operation)
    if stack.lock_kind == LockKind.CONNECTION:
        thread.lock = stack.connection_lock_first + item.flow


@compiled
def _admit(machine, stack, core):
    """Admit the current item to its connection. A global table lock is still held: the item might close the connection."""
    thread = thread_on(machine, core)
    kind = item_of(stack, thread.item).kind
    if kind == ItemKind.SEND:
        process_send(machine, stack, core, thread.item)
    elif kind == ItemKind.PACKET:
        if stack.connections_end != 0:
            admission = admit_segment(machine, stack, core, thread.item)
            if admission != Admission.KNOWN:
                thread.table_locked = stack.use_global_lock
                thread.flags = 0
                thread.phase = Phase.OUTPUT if admission == Admission.OPENED else Phase.FINISH
                return
        predict_packet(machine, stack, core, thread.item)
    thread.phase = Phase.PROCESS
    if stack.use_global_lock == 0:
        _process(machine, stack, core)


@compiled
def _process(machine, stack, core):
    """Run the protocol on the current item, up to its output."""
    thread = thread_on(machine, core)
    kind = item_of(stack, thread.item).kind
    if kind == ItemKind.SEND:
        thread.flags = TCP_OUTPUT
    elif kind == ItemKind.PACKET:
        thread.flags = process_packet(machine, stack, core, thread.item)
        if thread.flags & TCP_REPLY_RESET:
            send_reset(machine, stack, core, thread.flow, segment_of(stack, thread.item))
    elif kind == ItemKind.READ:
        thread.flags = process_read(machine, stack, core, thread.flow)
    elif kind == ItemKind.CONNECT:
        thread.flags = open_connection(machine, stack, core, thread.flow)
    elif kind == ItemKind.CLOSE:
        thread.flags = tcp_close(pcb_of(stack, thread.flow), core_of(machine, core).clock // stack.cycles_per_us)
    else:
        thread.flags = process_timer(machine, stack, core, thread.item)
    if thread.flags & TCP_CLOSED:
        remove_connection(machine, stack, core, thread.flow)
    if kind != ItemKind.PACKET and thread.item < stack.items:
        free_item(stack, thread.item)
    if thread.flags & TCP_OUTPUT:
        thread.phase = Phase.OUTPUT
    else:
        _end_protocol(machine, stack, core)


@compiled
def _end_protocol(machine, stack, core):
    """End the work on the connection under its lock: list its timers, and tell the application that it was opened or closed."""
    thread = thread_on(machine, core)
    arm(stack, thread.flow, Side.LOCAL)
    if stack.connections_end != 0:
        tell_application(machine, stack, core, thread.flow, thread.flags)
    thread.phase = Phase.FINISH


@compiled
def _owned_by_application(machine, core):
    """Return whether an application holds the lock of the current item's connection."""
    cpu = core_of(machine, core)
    owner = lock_of(machine, thread_of(machine, cpu.thread).lock).owner
    return owner >= 0 and owner != cpu.thread and thread_of(machine, owner).kind == ThreadKind.APPLICATION


@compiled
def _leave_to_owner(machine, stack, core):
    """Leave a packet to the application that holds the connection, a timer to the next tick. A request waits: return False."""
    thread = thread_on(machine, core)
    kind = item_of(stack, thread.item).kind
    if kind != ItemKind.PACKET and kind != ItemKind.TIMER:
        return False
    if kind == ItemKind.PACKET:
        backlog = stack.backlog_first + thread.flow
        leave_message(machine, stack, core, thread.item, backlog, Operation.BACKLOG_ADD, thread.lock)
    else:
        arm(stack, thread.flow, Side.LOCAL)
    thread.waiting = Waiting.NOT
    thread.phase = Phase.NEXT
    thread.item = -1
    return True


@compiled
def _enter_or_queue(machine, stack, core):
    """Enter the item's perimeter if nobody is inside; otherwise leave the item in the perimeter's queue.

    If a drain was cut short, the first thread inside appends its item to the queue and takes the oldest.
    Source: squeue_enter() of Solaris 10.
    """
    cpu = core_of(machine, core)
    thread = thread_of(machine, cpu.thread)
    perimeter = thread.lock - stack.group_lock_first
    cpu.instance[Instance.GROUP] = perimeter
    if lock_of(machine, thread.lock).owner >= 0:
        waiting = item_of_pool(machine, stack, thread.item)
        leave_message(machine, stack, core, waiting, perimeter, Operation.PERIMETER_ADD, thread.lock)
        thread.phase = Phase.NEXT
        thread.item = -1
        return
    enter(machine, core, thread.lock)
    thread.batch_left = stack.batch
    if queue_of(stack, perimeter).count == 0:
        _admit(machine, stack, core)
    else:
        put_left(machine, stack, core, item_of_pool(machine, stack, thread.item), perimeter, Operation.PERIMETER_ADD)
        _take_inside(machine, stack, core)


@compiled
def enter_for_queue(machine, stack, core, perimeter):
    """Enter a perimeter for what waits in its queue; return whether there is something and nobody is inside."""
    thread = thread_on(machine, core)
    thread.waits_for = WaitsFor.WORK
    thread.lock = stack.group_lock_first + perimeter
    if queue_of(stack, perimeter).count == 0 or lock_of(machine, thread.lock).owner >= 0:
        return False
    enter(machine, core, thread.lock)
    thread.batch_left = stack.batch
    _take_inside(machine, stack, core)
    return True


@compiled
def _take_inside(machine, stack, core):
    """Inside a perimeter, admit the oldest item of its queue to its connection."""
    cpu = core_of(machine, core)
    thread = thread_of(machine, cpu.thread)
    perimeter = thread.lock - stack.group_lock_first
    cpu.instance[Instance.GROUP] = perimeter
    thread.batch_left -= 1
    thread.item = take_left(machine, stack, core, perimeter, Operation.PERIMETER_TAKE)
    item = item_of(stack, thread.item)
    flow = flow_of(stack, item.flow)
    thread.flow = item.flow
    cpu.instance[Instance.FLOW] = item.flow
    cpu.instance[Instance.NIC] = flow.nic
    if item.kind == ItemKind.PACKET:
        cpu.instance[Instance.RX_SLOT] = item.slot
    elif item.kind == ItemKind.SEND:
        flow.waiting_bytes -= item.bytes
    _admit(machine, stack, core)


@compiled
def finish_item(machine, stack, core):
    """FINISH: process what others left, then leave the connection, and answer the request."""
    thread = thread_on(machine, core)
    if stack.use_perimeter != 0:
        _finish_inside(machine, stack, core)
        return
    if stack.use_backlog != 0 and thread.kind == ThreadKind.APPLICATION:
        backlog = stack.backlog_first + thread.flow
        if queue_of(stack, backlog).count > 0:
            thread.item = take_left(machine, stack, core, backlog, Operation.BACKLOG_TAKE)
            core_of(machine, core).instance[Instance.RX_SLOT] = item_of(stack, thread.item).slot
            _admit(machine, stack, core)
            return
    if stack.lock_kind != LockKind.NONE:
        release(machine, core, thread.lock)
    thread.phase = Phase.NEXT
    is_request = thread.message_kind != ItemKind.PACKET and thread.message_kind != ItemKind.TIMER
    if stack.queue_requests != 0 and thread.kind == ThreadKind.PORT and is_request:
        _answer(machine, stack, core)
    thread.item = -1


@compiled
def _finish_inside(machine, stack, core):
    """Drain the perimeter's queue, up to the batch. Then leave, and wake the perimeter's thread for what is left.

    That thread itself takes a break until the next tick of the clock, so that others can enter.
    Source: squeue_drain() and squeue_worker() of Solaris 10.
    """
    thread = thread_on(machine, core)
    queue = queue_of(stack, thread.lock - stack.group_lock_first)
    if queue.count > 0 and thread.batch_left > 0:
        _take_inside(machine, stack, core)
        return
    leave(machine, core, thread.lock)
    thread.phase = Phase.NEXT
    thread.item = -1
    if queue.count == 0:
        return
    if thread.kind == ThreadKind.PORT:
        thread.waits_for = WaitsFor.TICK
        sleep(machine, core)
    else:
        wakeup(machine, core, queue.thread)


@compiled
def end_breaks(machine, stack, now):
    """Wake the threads of perimeters that take a break, at a tick of the clock."""
    for perimeter in range(stack.ports):
        worker_index = queue_of(stack, perimeter).thread
        worker = thread_of(machine, worker_index)
        if worker.waits_for == WaitsFor.TICK:
            worker.waits_for = WaitsFor.WORK
            make_runnable_from_interrupt(machine, worker.core, worker_index)
            interrupt_core(machine, worker.core, now)


@compiled
def _answer(machine, stack, core):
    """Wake the application whose request has been processed."""
    asker_index = item_of(stack, thread_on(machine, core).item).thread
    asker = thread_of(machine, asker_index)
    asker.waits_for = WaitsFor.WORK
    if asker.state == ThreadState.BLOCKED:
        wakeup(machine, core, asker_index)
