"""The receive path behind the look-up: header prediction, input, acknowledged data; and expired timers.

Who runs it, and under which lock, is decided in `organization`.
"""

from netstack.jit.compilation import compiled
from netstack.sim.kernel.callouts import set_callout, stop_callout
from netstack.sim.kernel.mbufs import put_mbuf
from netstack.sim.kernel.readiness import so_wakeup
from netstack.sim.kernel.reading import append_received
from netstack.sim.machine.charging import charge, charge_section
from netstack.sim.machine.numbers import Instance, LockClass, Operation
from netstack.sim.machine.sections import enter_section, leave_section
from netstack.sim.machine.state import core_of
from netstack.sim.stack.numbers import Callout
from netstack.sim.stack.state import flow_of, free_item, item_of, latency_bucket, latency_of, mbuf_of, pcb_of, segment_of
from netstack.tcp.flags import TCP_ACKED
from netstack.tcp.input import tcp_input
from netstack.tcp.states import State
from netstack.tcp.timers import tcp_timeout


@compiled
def predict_packet(machine, stack, core, packet):
    """Charge the checks of a received segment up to header prediction, and the restart of the keep-alive timer."""
    charge(machine, core, Operation.TCP_PREDICT)
    set_callout(machine, stack, core, item_of(stack, packet).flow, Callout.KEEP_ALIVE)


@compiled
def process_packet(machine, stack, core, packet):
    """Run TCP input for a received packet; return TCP's flags. Acknowledged mbufs leave the send buffer, and its user is told."""
    flow_index = item_of(stack, packet).flow
    charge(machine, core, Operation.TCP_INPUT)
    pcb = pcb_of(stack, flow_index)
    state = pcb.state
    flags = tcp_input(pcb, segment_of(stack, packet), core_of(machine, core).clock // stack.cycles_per_us)
    if flags & TCP_ACKED:
        if pcb.rexmt_deadline_us == 0:
            stop_callout(machine, stack, core, flow_index, Callout.RETRANSMISSION)
        else:
            set_callout(machine, stack, core, flow_index, Callout.RETRANSMISSION)
        _drop_acknowledged(machine, stack, core, flow_index, pcb.acked_bytes)
        so_wakeup(machine, stack, core, flow_index)
    if pcb.state == State.TIME_WAIT and state != State.TIME_WAIT:
        charge(machine, core, Operation.TIME_WAIT)
    if pcb.delivered_bytes > 0:
        append_received(machine, stack, core, flow_index, packet)
    free_item(stack, packet)
    return flags


@compiled
def _drop_acknowledged(machine, stack, core, flow_index, acked_bytes):
    flow = flow_of(stack, flow_index)
    cpu = core_of(machine, core)
    enter_section(machine, core, flow.section, LockClass.SOCKET_BUFFER)
    flow.acked_bytes += acked_bytes
    stack.acked_bytes += acked_bytes
    flow.front_bytes += acked_bytes
    while flow.first_mbuf >= 0 and mbuf_of(stack, flow.first_mbuf).bytes <= flow.front_bytes:
        index = flow.first_mbuf
        mbuf = mbuf_of(stack, index)
        flow.front_bytes -= mbuf.bytes
        flow.first_mbuf = mbuf.next
        cpu.instance[Instance.MBUF] = index
        charge(machine, core, Operation.SB_DROP)
        charge_section(machine, core, LockClass.PAGE_QUEUE, Operation.PAGE_UNWIRE)
        latency_of(stack, latency_bucket((cpu.clock - mbuf.written_at) // stack.cycles_per_us)).value += 1
        put_mbuf(machine, stack, core, index)
    leave_section(machine, core, flow.section, LockClass.SOCKET_BUFFER)


@compiled
def connection_ports(stack, flow_index):
    """Return what tells a connection from later ones in the same record: one of its two ports is another one."""
    pcb = pcb_of(stack, flow_index)
    return pcb.local_port ^ pcb.foreign_port


@compiled
def process_timer(machine, stack, core, timer):
    """Run the connection's expired timers, unless it has ended since; return TCP's flags."""
    item = item_of(stack, timer)
    charge(machine, core, Operation.TIMER)
    pcb = pcb_of(stack, item.flow)
    if connection_ports(stack, item.flow) != item.bytes:
        return 0
    timeouts = pcb.retransmission_timeouts
    flags = tcp_timeout(pcb, core_of(machine, core).clock // stack.cycles_per_us)
    stack.timeouts += pcb.retransmission_timeouts - timeouts
    return flags
