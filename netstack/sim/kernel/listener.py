"""Listening sockets: the queues that a connection passes between its SYN and accept(). Knows no connection table."""

from netstack.jit.compilation import compiled
from netstack.sim.kernel.readiness import wake_application
from netstack.sim.machine.charging import charge, charge_in
from netstack.sim.machine.numbers import Instance, LockClass, Operation
from netstack.sim.machine.state import core_of
from netstack.sim.stack.numbers import ListenerKind
from netstack.sim.stack.state import flow_of, listener_of
from netstack.tcp.flags import TCP_CONNECTED, TCP_FINISHED


@compiled
def listener_index(stack, flow_index):
    """Return the listening socket that a connection comes through."""
    if stack.listener_kind == ListenerKind.SHARED:
        return 0
    flow = flow_of(stack, flow_index)
    return flow.group if stack.listener_kind == ListenerKind.PARTITIONED else flow.app_thread


@compiled
def charge_listener(machine, stack, core, flow_index):
    """Charge a move of a connection into, between or out of the queues of its listening socket, under the socket's lock."""
    listener = listener_index(stack, flow_index)
    core_of(machine, core).instance[Instance.LISTENER] = listener
    charge_in(machine, core, listener_of(stack, listener), LockClass.LISTENER, Operation.LISTENER_QUEUE)


@compiled
def accept_connection(machine, stack, core, flow_index):
    """Run the system call accept(): the application takes a complete connection."""
    charge_listener(machine, stack, core, flow_index)
    charge(machine, core, Operation.ACCEPT_CALL)
    flow_of(stack, flow_index).accepted = 1


@compiled
def tell_application(machine, stack, core, flow_index, flags):
    """Wake the application for a connection that has become complete, or whose client has closed."""
    if flags & TCP_CONNECTED:
        charge_listener(machine, stack, core, flow_index)
        wake_application(machine, stack, core, flow_index)
    elif flags & TCP_FINISHED and stack.client_closes_first != 0:
        flow = flow_of(stack, flow_index)
        if flow.accepted != 0 and flow.ready == 0:
            wake_application(machine, stack, core, flow_index)
