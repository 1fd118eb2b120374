"""Event queues: which connections of an application are ready, and its wake-up. Knows not what else makes a connection ready.

Source of the behaviour: kqueue(2) and sowakeup() of FreeBSD 7.
"""

from netstack.jit.compilation import compiled
from netstack.sim.machine.charging import charge_in
from netstack.sim.machine.numbers import Instance, LockClass, Operation, ThreadState
from netstack.sim.machine.scheduler import nudge, wakeup
from netstack.sim.machine.state import core_of, thread_of
from netstack.sim.stack.numbers import WaitsFor
from netstack.sim.stack.state import flow_of, listener_of, pcb_of, ready_of


@compiled
def socket_space(stack, flow_index):
    """Return how many bytes fit in the connection's send buffer."""
    return stack.send_buffer - pcb_of(stack, flow_index).send_buffered_bytes - flow_of(stack, flow_index).waiting_bytes


@compiled
def so_wakeup(machine, stack, core, flow_index):
    """Test at an ACK whether the application must know that the connection is writable, and notify it.

    The test takes the event queue's lock each time, as KNOTE_LOCKED() in sowakeup() does.
    """
    flow = flow_of(stack, flow_index)
    _charge_queue(machine, stack, core, flow_index, Operation.SO_NOTIFY)
    if flow.ready == 0 and flow.unwritten_bytes > 0 and socket_space(stack, flow_index) >= stack.lowat:
        wake_application(machine, stack, core, flow_index)


@compiled
def so_received(machine, stack, core, flow_index):
    """Test after payload arrived whether the application must know that the connection is readable, and notify it.

    Who has not accepted the connection looks for payload when it does.
    """
    flow = flow_of(stack, flow_index)
    _charge_queue(machine, stack, core, flow_index, Operation.SO_NOTIFY)
    if flow.ready == 0 and flow.accepted != 0:
        wake_application(machine, stack, core, flow_index)


@compiled
def wake_application(machine, stack, core, flow_index):
    """Put a connection on its application's event queue, and wake the application if it waits for events."""
    flow = flow_of(stack, flow_index)
    application = stack.app_thread_first + flow.app_thread
    _charge_queue(machine, stack, core, flow_index, Operation.SO_WAKEUP)
    push_ready(stack, flow_index)
    thread = thread_of(machine, application)
    if thread.state == ThreadState.BLOCKED and thread.waits_for == WaitsFor.EVENTS:
        thread.waits_for = WaitsFor.WORK
        wakeup(machine, core, application)
    elif thread.waits_for == WaitsFor.POLL:
        nudge(machine, thread.core, core_of(machine, core).clock)
    elif stack.steals != 0:
        _tell_a_thief(machine, stack, core, flow_index)


@compiled
def _tell_a_thief(machine, stack, core, flow_index):
    """Tell another application that has nothing to do of an event that has to wait for its own one: it may take the event.

    One that sleeps is woken for a connection that nobody has accepted, if it may take it. One that polls sees what is in other
    queues.
    """
    flow = flow_of(stack, flow_index)
    if stack.marks_busy != 0 and (flow.accepted != 0 or listener_of(stack, flow.app_thread).busy == 0):
        return
    for offset in range(1, stack.app_threads):
        thief = (flow.app_thread + offset) % stack.app_threads
        index = stack.app_thread_first + thief
        thread = thread_of(machine, index)
        if thread.waits_for == WaitsFor.POLL and core_of(machine, thread.core).next_time > core_of(machine, core).clock:
            nudge(machine, thread.core, core_of(machine, core).clock)
            return
        may_steal = stack.steals_connections != 0 and (stack.marks_busy == 0 or listener_of(stack, thief).busy == 0)
        if may_steal and flow.accepted == 0 and thread.waits_for == WaitsFor.EVENTS:
            thread.waits_for = WaitsFor.WORK
            wakeup(machine, core, index)
            return


@compiled
def _charge_queue(machine, stack, core, flow_index, operation):
    """Run an operation on `core` under the lock of a connection's event queue."""
    flow = flow_of(stack, flow_index)
    cpu = core_of(machine, core)
    running = cpu.instance[Instance.THREAD]
    cpu.instance[Instance.THREAD] = stack.app_thread_first + flow.app_thread
    cpu.instance[Instance.FLOW] = flow_index
    charge_in(machine, core, ready_of(stack, flow.app_thread).section, LockClass.EVENT_QUEUE, operation)
    cpu.instance[Instance.THREAD] = running


@compiled
def push_ready(stack, flow_index):
    """Append a connection to its application's event queue."""
    append_connection(stack, ready_of(stack, flow_of(stack, flow_index).app_thread), flow_index)


@compiled
def append_connection(stack, queue, flow_index):
    """Append a connection to a queue of connections. It is in one at most."""
    flow = flow_of(stack, flow_index)
    flow.ready = 1
    flow.next_ready = -1
    if queue.count == 0:
        queue.head = flow_index
    else:
        flow_of(stack, queue.tail).next_ready = flow_index
    queue.tail = flow_index
    queue.count += 1


@compiled
def pop_ready(stack, app_thread):
    """Take the first ready connection off an event queue; return it, -1 if there is none. It still counts as ready."""
    return take_connection(stack, ready_of(stack, app_thread))


@compiled
def take_connection(stack, queue):
    """Take the first connection off a queue of connections; return it, -1 if there is none. It still counts as ready."""
    if queue.count == 0:
        return -1
    flow_index = queue.head
    queue.head = flow_of(stack, flow_index).next_ready
    queue.count -= 1
    return flow_index


@compiled
def remove_ready(stack, app_thread, before):
    """Take the connection behind `before` off an event queue, the first one for -1; return it. It still counts as ready."""
    if before < 0:
        return pop_ready(stack, app_thread)
    queue = ready_of(stack, app_thread)
    flow_index = flow_of(stack, before).next_ready
    flow_of(stack, before).next_ready = flow_of(stack, flow_index).next_ready
    if queue.tail == flow_index:
        queue.tail = before
    queue.count -= 1
    return flow_index
