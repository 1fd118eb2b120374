"""Listening sockets: the queues that a connection passes between its SYN and accept(). Knows no connection table."""

from netstack.jit.compilation import compiled
from netstack.sim.kernel.readiness import wake_application
from netstack.sim.machine.charging import charge, charge_in
from netstack.sim.machine.numbers import Instance, LockClass, Operation
from netstack.sim.machine.state import core_of, thread_of
from netstack.sim.stack.numbers import AcceptKind, ListenerKind, WaitsFor
from netstack.sim.stack.state import flow_hash, flow_of, listener_of
from netstack.sim.workload.backend import is_to_backend
from netstack.tcp.flags import TCP_CONNECTED, TCP_FINISHED

HIGH_PERCENT, LOW_PERCENT = 75, 10  # water lines, of the longest accept queue
MEAN_SHIFT = 16


@compiled
def listener_index(stack, flow_index):
    """Return the listening socket that a connection comes through."""
    if stack.listener_kind == ListenerKind.SHARED:
        return 0
    flow = flow_of(stack, flow_index)
    return flow.group if stack.listener_kind == ListenerKind.PARTITIONED else flow.app_thread


@compiled
def assign_application(machine, stack, core, flow_index):
    """Choose the application thread of a connection whose SYN `core` received, unless that is left open until it is complete."""
    flow = flow_of(stack, flow_index)
    if stack.accept_kind == AcceptKind.HASH:
        flow.app_thread = flow_hash(stack, flow_index) % stack.app_threads
    elif stack.accept_kind == AcceptKind.LOCAL:
        cores = machine.cores_used
        flow.app_thread = core + flow_hash(stack, flow_index) % (stack.app_threads // cores) * cores


@compiled
def _assign_any(machine, stack, flow_index):
    """Choose the next application thread that waits for events, or the next one if none does."""
    chosen = stack.next_application
    for offset in range(stack.app_threads):
        index = (stack.next_application + offset) % stack.app_threads
        if thread_of(machine, stack.app_thread_first + index).waits_for == WaitsFor.EVENTS:
            chosen = index
            break
    flow_of(stack, flow_index).app_thread = chosen
    stack.next_application = (chosen + 1) % stack.app_threads


@compiled
def score_listeners(machine, stack, core, flow_index):
    """Look for the connection's listening socket: if each application thread has one, among all of them.

    Source: inet_lookup_listener() of Linux, which walks the sockets that listen on a port.
    """
    cpu = core_of(machine, core)
    if stack.listener_kind == ListenerKind.REPLICATED:
        for listener in range(stack.app_threads):
            cpu.instance[Instance.LISTENER] = listener
            charge(machine, core, Operation.LISTENER_SCORE)
    cpu.instance[Instance.LISTENER] = listener_index(stack, flow_index)


@compiled
def open_file(machine, stack, core):
    """Make a socket a file, when an application gets it."""
    if stack.use_files != 0:
        charge(machine, core, Operation.INODE_ALLOC)
        charge(machine, core, Operation.DENTRY_ALLOC)


@compiled
def close_file(machine, stack, core):
    """End the file of a socket that an application closes."""
    if stack.use_files != 0:
        charge(machine, core, Operation.DENTRY_FREE)
        charge(machine, core, Operation.INODE_FREE)


@compiled
def charge_listener(machine, stack, core, flow_index):
    """Charge a move of a connection into, between or out of the queues of its listening socket, under the socket's lock."""
    listener = listener_index(stack, flow_index)
    core_of(machine, core).instance[Instance.LISTENER] = listener
    charge_in(machine, core, listener_of(stack, listener).section, LockClass.LISTENER, Operation.LISTENER_QUEUE)


@compiled
def accept_connection(machine, stack, core, flow_index):
    """Run the system call accept(): the application takes a complete connection."""
    charge_listener(machine, stack, core, flow_index)
    listener_of(stack, listener_index(stack, flow_index)).waiting -= 1
    open_file(machine, stack, core)
    charge(machine, core, Operation.ACCEPT_CALL)
    flow_of(stack, flow_index).accepted = 1


@compiled
def note_length(stack, listener):
    """Mark a listening socket as busy, or no longer so, by the length of its accept queue that a new connection finds.

    Source: secondary descriptions of Affinity-Accept (Pesterev and others, EuroSys 2012): the water lines, and a moving average
    whose weight is one half by the longest queue.
    """
    socket = listener_of(stack, listener)
    socket.mean += ((socket.waiting << MEAN_SHIFT) - socket.mean) // (2 * stack.backlog)
    if 100 * socket.waiting > HIGH_PERCENT * stack.backlog:
        socket.busy = 1
    elif 100 * socket.mean < (LOW_PERCENT * stack.backlog) << MEAN_SHIFT:
        socket.busy = 0


@compiled
def tell_application(machine, stack, core, flow_index, flags):
    """Wake the application for a connection that has become complete, or whose client has closed."""
    if flags & TCP_CONNECTED and is_to_backend(stack, flow_index):
        if flow_of(stack, flow_index).ready == 0:
            wake_application(machine, stack, core, flow_index)
    elif flags & TCP_CONNECTED:
        if stack.accept_kind == AcceptKind.ANY:
            _assign_any(machine, stack, flow_index)
        score_listeners(machine, stack, core, flow_index)
        charge(machine, core, Operation.CONNECTION_COMPLETE)
        if stack.marks_busy != 0:
            note_length(stack, listener_index(stack, flow_index))
        listener_of(stack, listener_index(stack, flow_index)).waiting += 1
        charge_listener(machine, stack, core, flow_index)
        wake_application(machine, stack, core, flow_index)
    elif flags & TCP_FINISHED and stack.client_closes_first != 0:
        flow = flow_of(stack, flow_index)
        if flow.accepted != 0 and flow.ready == 0:
            wake_application(machine, stack, core, flow_index)
