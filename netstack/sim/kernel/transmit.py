"""The send path, top to bottom: socket send, protocol send request, output, IP, driver, wire.

Who runs it, and under which lock, is decided in `organization`.
"""

from netstack.jit.compilation import compiled
from netstack.sim.kernel.callouts import set_callout
from netstack.sim.kernel.mbufs import get_mbuf, put_mbuf
from netstack.sim.machine.charging import charge, charge_section
from netstack.sim.machine.nic import count_departed, extend_frame, reclaim, transmit_frame, transmit_full
from netstack.sim.machine.numbers import Instance, LockClass, Operation
from netstack.sim.machine.sections import enter_section, leave_section
from netstack.sim.machine.state import core_of, nic_of, transmit_descriptor
from netstack.sim.stack.numbers import Callout, SendAggregation, Side
from netstack.sim.stack.state import flow_of, item_of, mbuf_of, out_segment, pcb_of
from netstack.sim.workload.config import HEADER_BYTES
from netstack.sim.workload.peer import peer_receive
from netstack.tcp.output import tcp_output, tcp_output_refused

KB = 1024


@compiled
def sosend_unit(machine, stack, core, request_index):
    """Build the mbuf of one send unit, and fill in the request for the protocol."""
    request = item_of(stack, request_index)
    mbuf = get_mbuf(machine, stack, core)
    charge(machine, core, Operation.SOSEND_UNIT)
    charge_section(machine, core, LockClass.PAGE_QUEUE, Operation.PAGE_WIRE)
    request.bytes = stack.send_unit
    if stack.connections_end != 0 or stack.serves != 0:
        flow = flow_of(stack, request.flow)
        request.bytes = min(stack.send_unit, flow.unwritten_bytes)
        flow.unwritten_bytes -= request.bytes
    if stack.copies_sent != 0:
        charge_copy(machine, core, request.bytes, Operation.COPY_SEND)
    request.mbuf = mbuf
    request.written_at = core_of(machine, core).clock


@compiled
def charge_copy(machine, core, count, operation):
    """Run an operation on `core` for each started KB of `count` bytes."""
    for _ in range((count + KB - 1) // KB):
        charge(machine, core, operation)


@compiled
def process_send(machine, stack, core, request_index):
    """Run a protocol send request: append the unit to the send buffer. Output is the caller's next step."""
    request = item_of(stack, request_index)
    flow = flow_of(stack, request.flow)
    core_of(machine, core).instance[Instance.MBUF] = request.mbuf
    enter_section(machine, core, flow.section, LockClass.SOCKET_BUFFER)
    charge(machine, core, Operation.PRU_SEND)
    mbuf = mbuf_of(stack, request.mbuf)
    mbuf.bytes = request.bytes
    mbuf.written_at = request.written_at
    mbuf.next = -1
    if flow.first_mbuf < 0:
        flow.first_mbuf = request.mbuf
    else:
        mbuf_of(stack, flow.last_mbuf).next = request.mbuf
    flow.last_mbuf = request.mbuf
    leave_section(machine, core, flow.section, LockClass.SOCKET_BUFFER)
    pcb_of(stack, request.flow).send_buffered_bytes += request.bytes
    flow.written_bytes += request.bytes
    stack.written_bytes += request.bytes


@compiled
def output_segment(machine, stack, core, flow_index):
    """Build and transmit the connection's next segment; return whether there was one and the interface took it."""
    cpu = core_of(machine, core)
    pcb = pcb_of(stack, flow_index)
    segment = out_segment(stack, Side.LOCAL)
    retransmitted = pcb.retransmitted_segments
    timer_stood = pcb.rexmt_deadline_us == 0
    if tcp_output(pcb, segment, cpu.clock // stack.cycles_per_us) == 0:
        return False
    mbuf = get_mbuf(machine, stack, core)
    charge(machine, core, Operation.TCP_OUTPUT)
    if timer_stood and pcb.rexmt_deadline_us != 0:
        set_callout(machine, stack, core, flow_index, Callout.RETRANSMISSION)
    if not transmit_segment(machine, stack, core, flow_index, segment, mbuf):
        put_mbuf(machine, stack, core, mbuf)
        stack.interface_queue_drops += 1
        tcp_output_refused(pcb, segment, cpu.clock // stack.cycles_per_us)
        return False
    if segment.length > 0:
        stack.data_segments += 1
    stack.retransmitted_segments += pcb.retransmitted_segments - retransmitted
    if stack.send_aggregation != SendAggregation.NONE and segment.length > 0:
        _output_behind(machine, stack, core, flow_index, segment.length)
    return True


@compiled
def _output_behind(machine, stack, core, flow_index, segment_bytes):
    """Send more segments of the same length behind the first one of an aggregate, and a shorter one as its last.

    TCP and IP have charged for all of them. The kernel cuts each one off and gives it to the driver, or the card does.
    """
    cpu = core_of(machine, core)
    pcb = pcb_of(stack, flow_index)
    nic_index = _transmit_queue(machine, core, flow_of(stack, flow_index).nic)
    segment = out_segment(stack, Side.LOCAL)
    total = segment_bytes
    while segment.length == segment_bytes and total + segment_bytes <= stack.aggregate_bytes:
        retransmitted = pcb.retransmitted_segments
        if transmit_full(machine, nic_index) or tcp_output(pcb, segment, cpu.clock // stack.cycles_per_us) == 0:
            return
        if stack.send_aggregation == SendAggregation.TSO:
            departure = extend_frame(machine, nic_index, segment.length + HEADER_BYTES)
        else:
            mbuf = get_mbuf(machine, stack, core)
            charge(machine, core, Operation.SEGMENT_SEND)
            departure = _drive(machine, core, nic_index, segment, mbuf)
        total += segment.length
        stack.data_segments += segment.length > 0
        stack.retransmitted_segments += pcb.retransmitted_segments - retransmitted
        peer_receive(machine, stack, flow_index, segment, departure)


@compiled
def _drive(machine, core, nic_index, segment, mbuf):
    """Give a segment to the driver, whose ring has room; return when its last bit leaves."""
    cpu = core_of(machine, core)
    nic = nic_of(machine, nic_index)
    enter_section(machine, core, nic.section, LockClass.NIC)
    cpu.instance[Instance.TX_SLOT] = transmit_descriptor(machine, nic_index, nic.transmit_tail)
    charge(machine, core, Operation.DRIVER_TRANSMIT)
    departure = transmit_frame(machine, nic_index, cpu.clock, segment.length + HEADER_BYTES, mbuf)
    leave_section(machine, core, nic.section, LockClass.NIC)
    return departure


@compiled
def transmit_segment(machine, stack, core, flow_index, segment, mbuf):
    """Send a segment through IP and the driver; return whether the interface took it.

    The time at which its last bit leaves is known. The segment is therefore delivered to the peer at once.
    """
    cpu = core_of(machine, core)
    nic_index = _transmit_queue(machine, core, flow_of(stack, flow_index).nic)
    nic = nic_of(machine, nic_index)
    cpu.instance[Instance.NIC] = nic_index
    charge_section(machine, core, LockClass.ROUTE, Operation.ROUTE_LOOKUP)
    charge(machine, core, Operation.IP_OUTPUT)
    enter_section(machine, core, nic.section, LockClass.NIC)
    if transmit_full(machine, nic_index):
        _reclaim_departed(machine, stack, core, nic_index)
    room = not transmit_full(machine, nic_index)
    departure = 0
    if room:
        cpu.instance[Instance.TX_SLOT] = transmit_descriptor(machine, nic_index, nic.transmit_tail)
        charge(machine, core, Operation.DRIVER_TRANSMIT)
        departure = transmit_frame(machine, nic_index, cpu.clock, segment.length + HEADER_BYTES, mbuf)
    else:
        nic.transmit_drops += 1
    leave_section(machine, core, nic.section, LockClass.NIC)
    if room:
        peer_receive(machine, stack, flow_index, segment, departure)
    return room


@compiled
def _transmit_queue(machine, core, link):
    """Return the queue of a link that `core` sends by: its own one, if there are several (XPS of Linux)."""
    return link + core % (machine.nics // machine.links) * machine.links


@compiled
def clean_transmit_ring(machine, stack, core, nic_index):
    """Reclaim the frames that have departed, under the NIC's lock; return whether there were any."""
    cpu = core_of(machine, core)
    nic = nic_of(machine, nic_index)
    if count_departed(machine, nic_index, cpu.clock) == 0:
        return False
    cpu.instance[Instance.NIC] = nic_index
    enter_section(machine, core, nic.section, LockClass.NIC)
    _reclaim_departed(machine, stack, core, nic_index)
    leave_section(machine, core, nic.section, LockClass.NIC)
    return True


@compiled
def _reclaim_departed(machine, stack, core, nic_index):
    cpu = core_of(machine, core)
    for _ in range(count_departed(machine, nic_index, cpu.clock)):
        slot = transmit_descriptor(machine, nic_index, nic_of(machine, nic_index).transmit_head)
        mbuf = reclaim(machine, nic_index)
        cpu.instance[Instance.TX_SLOT] = slot
        cpu.instance[Instance.MBUF] = mbuf
        charge(machine, core, Operation.DRIVER_TRANSMIT_DONE)
        put_mbuf(machine, stack, core, mbuf)
