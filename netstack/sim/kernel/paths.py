"""A segment's way through the host, charged to the core that takes it: socket, protocol, driver, and back.

Read top to bottom: socket send, output, driver, wire; then receive, input, acknowledged data, wake-up. Who calls
these, and under which lock, is decided in `threads`.
"""

from netstack.jit.compilation import compiled
from netstack.sim.machine.memory import charge, touch_structure
from netstack.sim.machine.nic import count_departed, reclaim, transmit_frame, transmit_full
from netstack.sim.machine.scheduler import wakeup
from netstack.sim.machine.sections import brief_leave, brief_wait, charge_section
from netstack.sim.machine.state import (
    BLOCKED,
    BUCKET,
    CALLOUT,
    EVENT_QUEUE,
    FLOW,
    MBUF,
    MBUF_ZONE,
    NIC,
    NIC_LOCK,
    OP_CALLOUT_SET,
    OP_DRIVER_TRANSMIT,
    OP_DRIVER_TRANSMIT_DONE,
    OP_IP_OUTPUT,
    OP_LOOKUP,
    OP_MBUF_ALLOC,
    OP_MBUF_FREE,
    OP_MBUF_ZONE,
    OP_PAGE_UNWIRE,
    OP_PAGE_WIRE,
    OP_PRU_SEND,
    OP_ROUTE_LOOKUP,
    OP_SB_DROP,
    OP_SO_WAKEUP,
    OP_SOSEND_UNIT,
    OP_TCP_INPUT,
    OP_TCP_OUTPUT,
    OP_TCP_PREDICT,
    OP_TIMER,
    PAGE_QUEUE,
    ROUTE,
    SOCKET_BUFFER,
    THREAD,
    TX_SLOT,
    core_of,
    nic_of,
    thread_of,
    transmit_descriptor,
)
from netstack.sim.stack.state import (
    LOCAL,
    bucket_of,
    bucket_of_hash,
    connection_hash,
    flow_of,
    free_packet,
    group_of_hash,
    latency_bucket,
    latency_of,
    mbuf_of,
    out_segment,
    packet_of,
    pcb_of,
    ready_of,
    segment_of,
)
from netstack.sim.workload.config import HEADER_BYTES
from netstack.sim.workload.peer import peer_receive
from netstack.tcp.flags import TCP_ACKED
from netstack.tcp.input import tcp_input
from netstack.tcp.lookup import lookup_matches
from netstack.tcp.output import tcp_output, tcp_output_refused
from netstack.tcp.timers import tcp_timeout

ZONE_BATCH = 128  # mbufs a core exchanges with the shared zone at a time, as in FreeBSD's UMA
ZONE_LIMIT = 256  # free mbufs a core keeps at most
WORK, EVENTS, REPLY, TICK = range(4)  # what a thread sleeps for: an application the first three, a perimeter's the first and last


@compiled
def socket_space(s, flow_index):
    """Return how many bytes fit in the connection's send buffer."""
    return s.send_buffer - pcb_of(s, flow_index).send_buffered_bytes - flow_of(s, flow_index).waiting_bytes


@compiled
def sosend_unit(m, s, core, packet):
    """Build the mbuf of one send unit and fill in the request `packet`; the protocol takes it from there."""
    request = packet_of(s, packet)
    mbuf = get_mbuf(m, s, core)
    charge(m, core, OP_SOSEND_UNIT)
    charge_section(m, core, PAGE_QUEUE, OP_PAGE_WIRE)
    request.bytes = s.send_unit
    if s.bytes_per_connection != 0:
        flow = flow_of(s, request.flow)
        request.bytes = min(s.send_unit, flow.unwritten_bytes)
        flow.unwritten_bytes -= request.bytes
    request.mbuf = mbuf
    request.written_at = core_of(m, core).clock


@compiled
def process_send(m, s, core, packet):
    """Protocol send request: append the unit to the send buffer. Output is the caller's next step."""
    request = packet_of(s, packet)
    flow = flow_of(s, request.flow)
    cpu = core_of(m, core)
    cpu.instance[MBUF] = request.mbuf
    brief_wait(m, core, SOCKET_BUFFER, flow.brief_start, flow.brief_end)
    flow.brief_start = cpu.clock
    charge(m, core, OP_PRU_SEND)
    mbuf = mbuf_of(s, request.mbuf)
    mbuf.bytes = request.bytes
    mbuf.written_at = request.written_at
    mbuf.next = -1
    if flow.first_mbuf < 0:
        flow.first_mbuf = request.mbuf
    else:
        mbuf_of(s, flow.last_mbuf).next = request.mbuf
    flow.last_mbuf = request.mbuf
    flow.brief_end = cpu.clock
    brief_leave(m, core, SOCKET_BUFFER, flow.brief_start)
    pcb_of(s, request.flow).send_buffered_bytes += request.bytes
    flow.written_bytes += request.bytes
    s.written_bytes += request.bytes


@compiled
def output_segment(m, s, core, flow_index):
    """Build and transmit the connection's next segment; return whether there was one and the interface took it."""
    cpu = core_of(m, core)
    pcb = pcb_of(s, flow_index)
    segment = out_segment(s, LOCAL)
    retransmitted = pcb.retransmitted_segments
    timer_stood = pcb.rexmt_deadline_us == 0
    if tcp_output(pcb, segment, cpu.clock // s.cycles_per_us) == 0:
        return False
    mbuf = get_mbuf(m, s, core)
    charge(m, core, OP_TCP_OUTPUT)
    if timer_stood and pcb.rexmt_deadline_us != 0:
        charge_section(m, core, CALLOUT, OP_CALLOUT_SET)
    if not transmit_segment(m, s, core, flow_index, segment, mbuf):
        put_mbuf(m, s, core, mbuf)
        s.interface_queue_drops += 1
        tcp_output_refused(pcb, segment, cpu.clock // s.cycles_per_us)
        return False
    if segment.length > 0:
        s.data_segments += 1
    s.retransmitted_segments += pcb.retransmitted_segments - retransmitted
    return True


@compiled
def transmit_segment(m, s, core, flow_index, segment, mbuf):
    """Send a segment through IP and the driver. Its last bit leaves at a known time: deliver it to the peer at once."""
    cpu = core_of(m, core)
    nic_index = flow_of(s, flow_index).nic
    nic = nic_of(m, nic_index)
    cpu.instance[NIC] = nic_index
    charge_section(m, core, ROUTE, OP_ROUTE_LOOKUP)
    charge(m, core, OP_IP_OUTPUT)
    brief_wait(m, core, NIC_LOCK, nic.brief_start, nic.brief_end)
    entered = cpu.clock
    if transmit_full(m, nic_index):
        _reclaim_departed(m, s, core, nic_index)
    room = not transmit_full(m, nic_index)
    departure = 0
    if room:
        cpu.instance[TX_SLOT] = transmit_descriptor(m, nic_index, nic.transmit_tail)
        charge(m, core, OP_DRIVER_TRANSMIT)
        departure = transmit_frame(m, nic_index, cpu.clock, segment.length + HEADER_BYTES, mbuf)
    else:
        nic.transmit_drops += 1
    nic.brief_start = entered
    nic.brief_end = cpu.clock
    brief_leave(m, core, NIC_LOCK, entered)
    if room:
        peer_receive(m, s, flow_index, segment, departure)
    return room


@compiled
def clean_transmit_ring(m, s, core, nic_index):
    """Reclaim what has departed, under the NIC's lock; return whether there was anything."""
    cpu = core_of(m, core)
    nic = nic_of(m, nic_index)
    if count_departed(m, nic_index, cpu.clock) == 0:
        return False
    cpu.instance[NIC] = nic_index
    brief_wait(m, core, NIC_LOCK, nic.brief_start, nic.brief_end)
    entered = cpu.clock
    _reclaim_departed(m, s, core, nic_index)
    nic.brief_start = entered
    nic.brief_end = cpu.clock
    brief_leave(m, core, NIC_LOCK, entered)
    return True


@compiled
def _reclaim_departed(m, s, core, nic_index):
    cpu = core_of(m, core)
    for _ in range(count_departed(m, nic_index, cpu.clock)):
        slot = transmit_descriptor(m, nic_index, nic_of(m, nic_index).transmit_head)
        mbuf = reclaim(m, nic_index)
        cpu.instance[TX_SLOT] = slot
        cpu.instance[MBUF] = mbuf
        charge(m, core, OP_DRIVER_TRANSMIT_DONE)
        put_mbuf(m, s, core, mbuf)


@compiled
def packet_group(s, packet):
    """Return the connection group that a received packet's 4-tuple hashes to."""
    return group_of_hash(s, _packet_hash(s, packet))


@compiled
def _packet_hash(s, packet):
    segment = segment_of(s, packet)
    return connection_hash(s, segment.destination_address, segment.destination_port, segment.source_address, segment.source_port)


@compiled
def lookup_connection(m, s, core, packet):
    """Find a received packet's connection: hash, bucket, and every pcb of the chain up to it. Return -1 if there is none."""
    cpu = core_of(m, core)
    bucket = bucket_of_hash(s, _packet_hash(s, packet))
    cpu.instance[BUCKET] = bucket >> 3  # eight list heads a line
    charge(m, core, OP_LOOKUP)
    segment = segment_of(s, packet)
    index = bucket_of(s, bucket).head
    while index >= 0:
        touch_structure(m, core, s.inpcb_kind, index, 0, 0)
        if lookup_matches(
            s.pcb_table,
            index,
            segment.destination_address,
            segment.destination_port,
            segment.source_address,
            segment.source_port,
        ):
            return index
        index = pcb_of(s, index).hash_next
    return -1


@compiled
def predict_packet(m, core):
    """Check a received segment up to header prediction, and start the keep-alive timer anew."""
    charge(m, core, OP_TCP_PREDICT)
    charge_section(m, core, CALLOUT, OP_CALLOUT_SET)


@compiled
def process_packet(m, s, core, packet):
    """Segment input of a connection; return TCP's flags. Acknowledged mbufs leave the send buffer."""
    record = packet_of(s, packet)
    cpu = core_of(m, core)
    charge(m, core, OP_TCP_INPUT)
    pcb = pcb_of(s, record.flow)
    flags = tcp_input(pcb, segment_of(s, packet), cpu.clock // s.cycles_per_us)
    if flags & TCP_ACKED:
        charge_section(m, core, CALLOUT, OP_CALLOUT_SET)
        _drop_acknowledged(m, s, core, record.flow, pcb.acked_bytes)
    free_packet(s, packet)
    return flags


@compiled
def process_timer(m, s, core, packet):
    """Run the connection's expired timers, unless it ended meanwhile; return TCP's flags."""
    record = packet_of(s, packet)
    charge(m, core, OP_TIMER)
    pcb = pcb_of(s, record.flow)
    if pcb.foreign_port != record.bytes:
        return 0
    timeouts = pcb.retransmission_timeouts
    flags = tcp_timeout(pcb, core_of(m, core).clock // s.cycles_per_us)
    s.timeouts += pcb.retransmission_timeouts - timeouts
    return flags


@compiled
def _drop_acknowledged(m, s, core, flow_index, acked_bytes):
    flow = flow_of(s, flow_index)
    cpu = core_of(m, core)
    brief_wait(m, core, SOCKET_BUFFER, flow.brief_start, flow.brief_end)
    flow.brief_start = cpu.clock
    flow.acked_bytes += acked_bytes
    s.acked_bytes += acked_bytes
    flow.front_bytes += acked_bytes
    while flow.first_mbuf >= 0 and mbuf_of(s, flow.first_mbuf).bytes <= flow.front_bytes:
        index = flow.first_mbuf
        mbuf = mbuf_of(s, index)
        flow.front_bytes -= mbuf.bytes
        flow.first_mbuf = mbuf.next
        cpu.instance[MBUF] = index
        charge(m, core, OP_SB_DROP)
        charge_section(m, core, PAGE_QUEUE, OP_PAGE_UNWIRE)
        latency_of(s, latency_bucket((cpu.clock - mbuf.written_at) // s.cycles_per_us)).value += 1
        put_mbuf(m, s, core, index)
    flow.brief_end = cpu.clock
    brief_leave(m, core, SOCKET_BUFFER, flow.brief_start)


@compiled
def so_wakeup(m, s, core, flow_index):
    """Tell the application of a connection that became writable, if it has more to write."""
    flow = flow_of(s, flow_index)
    if flow.ready == 0 and flow.unwritten_bytes > 0 and socket_space(s, flow_index) >= s.lowat:
        wake_application(m, s, core, flow_index)


@compiled
def wake_application(m, s, core, flow_index):
    """Put a connection on its application's event queue, and wake the application if it waits."""
    flow = flow_of(s, flow_index)
    cpu = core_of(m, core)
    queue = ready_of(s, flow.app_thread)
    application = s.app_thread_first + flow.app_thread
    running = cpu.instance[THREAD]
    cpu.instance[THREAD] = application
    cpu.instance[FLOW] = flow_index
    brief_wait(m, core, EVENT_QUEUE, queue.brief_start, queue.brief_end)
    queue.brief_start = cpu.clock
    charge(m, core, OP_SO_WAKEUP)
    queue.brief_end = cpu.clock
    brief_leave(m, core, EVENT_QUEUE, queue.brief_start)
    cpu.instance[THREAD] = running
    push_ready(s, flow_index)
    thread = thread_of(m, application)
    if thread.state == BLOCKED and thread.waits_for == EVENTS:
        thread.waits_for = WORK
        wakeup(m, core, application)


@compiled
def push_ready(s, flow_index):
    """Append a connection to its application's event queue."""
    flow = flow_of(s, flow_index)
    queue = ready_of(s, flow.app_thread)
    flow.ready = 1
    flow.next_ready = -1
    if queue.count == 0:
        queue.head = flow_index
    else:
        flow_of(s, queue.tail).next_ready = flow_index
    queue.tail = flow_index
    queue.count += 1


@compiled
def pop_ready(s, app_thread):
    """Take the first writable connection off an event queue, -1 if there is none. It still counts as ready."""
    queue = ready_of(s, app_thread)
    if queue.count == 0:
        return -1
    flow_index = queue.head
    queue.head = flow_of(s, flow_index).next_ready
    queue.count -= 1
    return flow_index


@compiled
def get_mbuf(m, s, core):
    """Allocate an mbuf from the core's free list, refilled from the shared zone. Faults when the zone is empty."""
    cpu = core_of(m, core)
    if cpu.free_mbuf < 0:
        _exchange(m, s, core, -ZONE_BATCH)
        if cpu.free_mbuf < 0:
            m.fault = 3
            return 0
    mbuf = cpu.free_mbuf
    cpu.free_mbuf = mbuf_of(s, mbuf).next
    cpu.free_mbufs -= 1
    s.mbufs_taken += 1
    cpu.instance[MBUF] = mbuf
    charge(m, core, OP_MBUF_ALLOC)
    return mbuf


@compiled
def put_mbuf(m, s, core, mbuf):
    """Free an mbuf to the core's free list; a long list gives a batch back to the shared zone."""
    cpu = core_of(m, core)
    cpu.instance[MBUF] = mbuf
    charge(m, core, OP_MBUF_FREE)
    mbuf_of(s, mbuf).next = cpu.free_mbuf
    cpu.free_mbuf = mbuf
    cpu.free_mbufs += 1
    s.mbufs_freed += 1
    if cpu.free_mbufs > ZONE_LIMIT:
        _exchange(m, s, core, ZONE_BATCH)


@compiled
def _exchange(m, s, core, count):
    """Move `count` mbufs from the core to the zone, or -`count` the other way, under the zone's lock."""
    cpu = core_of(m, core)
    charge_section(m, core, MBUF_ZONE, OP_MBUF_ZONE)
    for _ in range(count):
        mbuf = cpu.free_mbuf
        cpu.free_mbuf = mbuf_of(s, mbuf).next
        mbuf_of(s, mbuf).next = s.free_mbuf
        s.free_mbuf = mbuf
    for _ in range(-count):
        mbuf = s.free_mbuf
        if mbuf < 0:
            m.fault = 3
            return
        s.free_mbuf = mbuf_of(s, mbuf).next
        mbuf_of(s, mbuf).next = cpu.free_mbuf
        cpu.free_mbuf = mbuf
    s.free_mbufs += count
    cpu.free_mbufs -= count
