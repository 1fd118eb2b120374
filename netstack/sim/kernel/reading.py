"""Received payload: into the receive buffer, and out of it by read(). Who runs it is decided in `organization`."""

from netstack.jit.compilation import compiled
from netstack.sim.kernel.readiness import so_received
from netstack.sim.kernel.transmit import charge_copy
from netstack.sim.machine.charging import charge
from netstack.sim.machine.numbers import Instance, LockClass, Operation
from netstack.sim.machine.sections import enter_section, leave_section
from netstack.sim.machine.state import core_of
from netstack.sim.stack.state import exchange_of, flow_of, item_of, pcb_of
from netstack.tcp.connection import tcp_received
from netstack.tcp.flags import TCP_OUTPUT


@compiled
def append_received(machine, stack, core, flow_index, packet):
    """Append the payload that became readable to the receive buffer, and tell the application."""
    flow = flow_of(stack, flow_index)
    exchange = exchange_of(stack, flow_index)
    pcb = pcb_of(stack, flow_index)
    enter_section(machine, core, flow.section, LockClass.SOCKET_BUFFER)
    charge(machine, core, Operation.RECEIVE_APPEND)
    exchange.unread_bytes += pcb.delivered_bytes
    exchange.unread_frames += 1
    exchange.slot = item_of(stack, packet).slot
    pcb.rcv_wnd = pcb.receive_buffer_bytes - exchange.unread_bytes
    leave_section(machine, core, flow.section, LockClass.SOCKET_BUFFER)
    so_received(machine, stack, core, flow_index)


@compiled
def read_socket(machine, stack, core, flow_index):
    """Take all payload off the receive buffer, and copy it to the application; return TCP's flags: a window may be announced."""
    flow = flow_of(stack, flow_index)
    exchange = exchange_of(stack, flow_index)
    pcb = pcb_of(stack, flow_index)
    cpu = core_of(machine, core)
    cpu.instance[Instance.RX_SLOT] = exchange.slot
    enter_section(machine, core, flow.section, LockClass.SOCKET_BUFFER)
    for _ in range(exchange.unread_frames):
        charge(machine, core, Operation.READ_FRAME)
    leave_section(machine, core, flow.section, LockClass.SOCKET_BUFFER)
    charge_copy(machine, core, exchange.unread_bytes, Operation.COPY_RECEIVE)
    exchange.read_bytes += exchange.unread_bytes
    exchange.unserved_bytes += exchange.unread_bytes
    stack.read_bytes += exchange.unread_bytes
    exchange.unread_bytes = 0
    exchange.unread_frames = 0
    pcb.rcv_wnd = pcb.receive_buffer_bytes
    return tcp_received(pcb)


@compiled
def process_read(machine, stack, core, flow_index):
    """Run a request to read under the connection's lock; return TCP's flags. With rings the application has read already."""
    if exchange_of(stack, flow_index).unread_bytes > 0 and stack.use_rings == 0:
        return read_socket(machine, stack, core, flow_index)
    return TCP_OUTPUT if pcb_of(stack, flow_index).ack_now != 0 else 0
