"""Rings of requests between applications and the threads of the stack that poll a receive queue each; and the programs of these.

Knows requests and frames as items, not how they are processed. Sources: mtcp_runMainLoop() of mTCP; fast path and libTAS of TAS.
"""

from netstack.jit.compilation import compiled
from netstack.sim.kernel.transmit import clean_transmit_ring
from netstack.sim.machine.nic import begin_core_poll, next_arrival, poll_again
from netstack.sim.machine.numbers import Instance, Operation, ThreadState
from netstack.sim.machine.scheduler import another_waits, give_way, nudge, send_ipi, wakeup
from netstack.sim.machine.state import core_of, nic_of, thread_of, thread_on
from netstack.sim.organization.frames import take_frame
from netstack.sim.organization.items import begin_item
from netstack.sim.organization.queues import SLOW_PATH, item_of_pool, put_left, send_message, take_left
from netstack.sim.stack.numbers import ItemKind, WaitsFor
from netstack.sim.stack.state import flow_of, item_of, queue_of


@compiled
def post_request(machine, stack, core, index):
    """Put a request or an expired timer into the ring of its connection's receive queue. Who polls that one goes on at once.

    A core whose connection was taken from it is interrupted, unless it polls or has been. A slow path has a port for timers, and
    for what opens a connection.
    """
    cpu = core_of(machine, core)
    request = item_of_pool(machine, stack, index)
    kind = item_of(stack, request).kind
    if stack.slow_path != 0 and (kind == ItemKind.TIMER or kind == ItemKind.CONNECT):
        send_message(machine, stack, core, request, SLOW_PATH)
        return
    queue = flow_of(stack, item_of(stack, request).flow).queue
    cpu.instance[Instance.GROUP] = _ring_instance(stack, request, queue)
    put_left(machine, stack, core, request, stack.ring_first + queue, Operation.RING_PUT)
    poller_index = stack.app_thread_first + queue if stack.steals_events != 0 else nic_of(machine, queue).thread
    poller = thread_of(machine, poller_index)
    if poller.state == ThreadState.BLOCKED:
        poller.waits_for = WaitsFor.WORK
        wakeup(machine, core, poller_index)
    elif stack.steals_events != 0 and poller.waits_for != WaitsFor.POLL:
        _interrupt_once(machine, stack, core, queue, poller.core)
    else:
        nudge(machine, poller.core, cpu.clock)


@compiled
def _interrupt_once(machine, stack, core, queue, target):
    ring = queue_of(stack, stack.ring_first + queue)
    if ring.told == 0:
        ring.told = 1
        send_ipi(machine, core, target)


@compiled
def is_elsewhere(machine, stack, core, flow_index):
    """Return whether all requests of a connection are processed by another core, from which `core` has taken an event of it."""
    return stack.steals_events != 0 and flow_of(stack, flow_index).queue % machine.cores_used != core


@compiled
def work_for_thieves(machine, stack, core):
    """Process a request of a core that has taken an event from this one, or a frame that such a core waits for.

    Returns whether there was one.
    """
    thread = thread_on(machine, core)
    queue = thread.index
    ring = queue_of(stack, stack.ring_first + queue)
    if ring.count > 0:
        _take_request(machine, stack, core, queue)
        return True
    if ring.told == 0 or thread.polls != 0:
        ring.told = 0
        return False
    if take_frame(machine, stack, core, queue, nic_of(machine, queue).polled < machine.budget):
        return True
    ring.told = 0
    poll_again(machine, queue)
    return False


@compiled
def _ring_instance(stack, request, queue):
    """Return whose lines a request goes through: each application has a ring to each thread of the stack, of one writer each."""
    item = item_of(stack, request)
    return queue if item.kind == ItemKind.TIMER else item.thread * stack.rings + queue


@compiled
def poll_for_stack(machine, stack, core):
    """Thread of the stack: take a frame or a request. After those of a poll let another thread run on its core, or poll again.

    A poll takes as many frames as its budget, and as many requests as a batch.
    """
    cpu = core_of(machine, core)
    thread = thread_of(machine, cpu.thread)
    queue = thread.index
    nic = nic_of(machine, queue)
    ring = queue_of(stack, stack.ring_first + queue)
    begin_core_poll(machine, queue, core)
    if take_frame(machine, stack, core, queue, nic.polled < machine.budget):
        return
    if thread.batch_left < stack.batch and ring.count > 0:
        thread.batch_left += 1
        _take_request(machine, stack, core, queue)
        return
    cpu.instance[Instance.NIC] = queue
    if clean_transmit_ring(machine, stack, core, queue):
        return
    idle = nic.polled == 0 and thread.batch_left == 0
    thread.batch_left = 0
    poll_again(machine, queue)
    if another_waits(machine, core):
        give_way(machine, core)
    elif idle:
        cpu.polling = 1
        cpu.next_time = max(cpu.clock, next_arrival(machine, queue))


@compiled
def _take_request(machine, stack, core, queue):
    """Take the oldest request that applications have put into rings to the thread that runs on `core`."""
    request = queue_of(stack, stack.ring_first + queue).head
    item = item_of(stack, request)
    flow = flow_of(stack, item.flow)
    cpu = core_of(machine, core)
    cpu.instance[Instance.GROUP] = _ring_instance(stack, request, queue)
    take_left(machine, stack, core, stack.ring_first + queue, Operation.RING_TAKE)
    if item.kind == ItemKind.SEND:
        flow.waiting_bytes -= item.bytes
    if stack.slow_path != 0 and item.kind == ItemKind.CLOSE:
        send_message(machine, stack, core, request, SLOW_PATH)  # all that was written before has been taken
        return
    begin_item(machine, stack, core, request, flow.group)
