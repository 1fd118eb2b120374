"""The programs of the threads: applications, inbound threads of NICs, owners of message ports, and the TCP clock.

All of them turn what they find into items, and an item goes one way: to its owner's port, or through the protocol as `items`
has it. Which of these exist is data of the organization.
"""

from netstack.jit.compilation import compiled
from netstack.sim.kernel.connections import accept_connection
from netstack.sim.kernel.paths import (
    EVENTS,
    REPLY,
    WORK,
    clean_transmit_ring,
    packet_group,
    pop_ready,
    push_ready,
    socket_space,
    sosend_unit,
)
from netstack.sim.machine.locks import release
from netstack.sim.machine.memory import charge
from netstack.sim.machine.nic import receive_frame, take_arrival, unmask
from netstack.sim.machine.scheduler import interrupt_core, make_runnable_from_interrupt, sleep
from netstack.sim.machine.state import (
    FLOW,
    GROUP,
    NIC,
    OP_APP_EVENT,
    OP_APP_WAIT,
    OP_CLOSE_CALL,
    OP_DRIVER_RECEIVE,
    OP_IP_INPUT,
    OP_WRITE_CALL,
    RUNNING,
    RX_SLOT,
    core_of,
    receive_slot_of,
    thread_of,
)
from netstack.sim.organization.items import (
    APPLICATION_THREAD,
    FINISH,
    INBOUND_THREAD,
    NEXT,
    PORT_THREAD,
    begin_item,
    end_breaks,
    enter_for_queue,
    finish_item,
    step_item,
)
from netstack.sim.organization.queues import open_port, send_message, take_message
from netstack.sim.stack.state import (
    CLOSE,
    PACKET,
    REMOTE,
    SEND,
    TIMER,
    flow_of,
    free_packet,
    packet_of,
    pcb_of,
    queue_of,
    side_of,
    take_packet,
    wheel_of,
)
from netstack.sim.stack.timer_wheel import arm, end_tick
from netstack.sim.workload.peer import peer_open, peer_timeout
from netstack.tcp.states import ESTABLISHED
from netstack.tcp.timers import tcp_next_deadline_us


@compiled
def step_thread(m, s, core):
    """Run one step of the thread on `core`."""
    thread = thread_of(m, core_of(m, core).thread)
    if thread.table_locked != 0:
        thread.table_locked = 0
        release(m, core, s.global_lock)
        return
    if thread.phase == FINISH:
        finish_item(m, s, core)
        if thread.phase != NEXT or thread.state != RUNNING:
            return
    if thread.phase != NEXT:
        step_item(m, s, core)
    elif thread.kind == APPLICATION_THREAD:
        _next_write(m, s, core)
    elif thread.kind == INBOUND_THREAD:
        _next_frame(m, s, core)
    elif thread.kind == PORT_THREAD:
        _next_message(m, s, core)
    else:
        _next_timer(m, s, core)


@compiled
def _next_write(m, s, core):
    """Application: write the next unit to the current connection, close it after its last, or turn to the next that is ready."""
    cpu = core_of(m, core)
    thread = thread_of(m, cpu.thread)
    if thread.writes_to >= 0 and flow_of(s, thread.writes_to).unwritten_bytes == 0:
        _end_service(m, s, core)
        return
    if thread.writes_to >= 0 and (thread.remaining_bytes < s.send_unit or socket_space(s, thread.writes_to) < s.send_unit):
        if socket_space(s, thread.writes_to) >= s.lowat:
            push_ready(s, thread.writes_to)
        else:
            flow_of(s, thread.writes_to).ready = 0
        thread.writes_to = -1
    if thread.writes_to < 0:
        thread.writes_to = pop_ready(s, thread.index)
        if thread.writes_to < 0:
            charge(m, core, OP_APP_WAIT)
            thread.waits_for = EVENTS
            sleep(m, core)
            return
        thread.remaining_bytes = s.write_bytes
        cpu.instance[FLOW] = thread.writes_to
        charge(m, core, OP_APP_EVENT)
        flow = flow_of(s, thread.writes_to)
        if flow.accepted == 0:
            accept_connection(m, s, core, thread.writes_to)
        if flow.unwritten_bytes > 0:
            charge(m, core, OP_WRITE_CALL)
        return
    cpu.instance[FLOW] = thread.writes_to
    thread.remaining_bytes -= s.send_unit
    request = s.packets + thread.index
    packet_of(s, request).kind = SEND
    packet_of(s, request).flow = thread.writes_to
    sosend_unit(m, s, core, request)
    _make_request(m, s, core, request)


@compiled
def _end_service(m, s, core):
    """Application: close the current connection, to which all is written, or wait for its client to close it."""
    cpu = core_of(m, core)
    thread = thread_of(m, cpu.thread)
    flow_index = thread.writes_to
    thread.writes_to = -1
    flow = flow_of(s, flow_index)
    flow.ready = 0
    if s.client_closes_first != 0 and pcb_of(s, flow_index).state == ESTABLISHED:
        return
    flow.accepted = 0
    cpu.instance[FLOW] = flow_index
    charge(m, core, OP_CLOSE_CALL)
    request = s.packets + thread.index
    packet_of(s, request).kind = CLOSE
    packet_of(s, request).flow = flow_index
    _make_request(m, s, core, request)


@compiled
def _make_request(m, s, core, request):
    """Application: have a request processed by the owner of its connection's group, or process it."""
    thread = thread_of(m, core_of(m, core).thread)
    group = flow_of(s, packet_of(s, request).flow).group
    if s.queue_requests != 0:
        thread.waits_for = REPLY
        send_message(m, s, core, request, group)
        sleep(m, core)
    else:
        begin_item(m, s, core, request, group)


@compiled
def _next_frame(m, s, core):
    """Inbound thread of a NIC: take one frame up to its owner, or clean up, allow interrupts and sleep when there is none."""
    cpu = core_of(m, core)
    thread = thread_of(m, cpu.thread)
    nic = thread.index
    while True:
        taken = take_arrival(m, nic, cpu.clock)
        if taken == -1:
            break
        if taken < -1:
            free_packet(s, -2 - taken)
    slot = receive_frame(m, nic)
    cpu.instance[NIC] = nic
    if slot < 0:
        if not clean_transmit_ring(m, s, core, nic):
            unmask(m, nic)
            sleep(m, core)
        return
    packet = receive_slot_of(m, nic, slot - nic * m.receive_slots).value
    packet_of(s, packet).slot = slot
    cpu.instance[RX_SLOT] = slot
    charge(m, core, OP_DRIVER_RECEIVE)
    if s.input_by_owner == 0:
        charge(m, core, OP_IP_INPUT)
    if s.queue_packets != 0:
        send_message(m, s, core, packet, packet_group(s, packet) % s.ports)
    else:
        begin_item(m, s, core, packet, packet_group(s, packet))


@compiled
def _next_timer(m, s, core):
    """TCP clock: take one connection whose timer expired."""
    thread = thread_of(m, core_of(m, core).thread)
    if s.expired_head < 0:
        sleep(m, core)
        return
    flow_index = s.expired_head
    flow = flow_of(s, flow_index)
    s.expired_head = flow.next_expired
    flow.expired = 0
    item = s.packets + s.app_threads
    if s.queue_requests != 0:
        item = take_packet(m, s)
    packet = packet_of(s, item)
    packet.kind = TIMER
    packet.flow = flow_index
    packet.bytes = pcb_of(s, flow_index).foreign_port
    packet.thread = thread.index
    if s.queue_requests != 0:
        send_message(m, s, core, item, flow.group)
    else:
        begin_item(m, s, core, item, flow.group)


@compiled
def clock_tick(m, s, now):
    """Run the timer wheel at `now`: remote timers at once, local ones by the clock thread, starts of connections."""
    head = wheel_of(s, s.next_tick)
    entry = head.value
    head.value = -1
    end_tick(s)
    now_us = now // s.cycles_per_us
    woken = False
    while entry >= 0:
        flow_index = entry >> 1
        side = entry & 1
        flow = flow_of(s, flow_index)
        entry = flow.next_timer[side]
        flow.tick[side] = -1
        s.timers_listed -= 1
        deadline_us = tcp_next_deadline_us(side_of(s, flow_index, side))
        if deadline_us > now_us:
            arm(s, flow_index, side)
        elif side == REMOTE:
            if deadline_us != 0:
                peer_timeout(m, s, flow_index, now_us)
                arm(s, flow_index, side)
        elif flow.started == 0:
            _start(m, s, flow_index)
        elif deadline_us != 0 and flow.expired == 0:
            flow.expired = 1
            flow.next_expired = s.expired_head
            s.expired_head = flow_index
            woken = True
    if s.use_perimeter != 0:
        end_breaks(m, s, now)
    if woken:
        thread = thread_of(m, s.clock_thread)
        make_runnable_from_interrupt(m, thread.core, s.clock_thread)
        interrupt_core(m, thread.core, now)


@compiled
def _start(m, s, flow_index):
    """Begin a connection's transfer: its application finds it writable. A client opens its first connection instead."""
    flow = flow_of(s, flow_index)
    flow.started = 1
    if s.bytes_per_connection != 0:
        peer_open(m, s, flow_index, s.clock_next - s.tick_cycles)
        return
    push_ready(s, flow_index)
    application = s.app_thread_first + flow.app_thread
    thread = thread_of(m, application)
    if thread.waits_for == EVENTS:
        thread.waits_for = WORK
        make_runnable_from_interrupt(m, thread.core, application)
        interrupt_core(m, thread.core, s.next_tick * s.tick_cycles - s.tick_cycles)


@compiled
def _next_message(m, s, core):
    """Owner of a port: take the next message; a batch is paid for once. A perimeter's thread enters it for what is queued."""
    cpu = core_of(m, core)
    thread = thread_of(m, cpu.thread)
    if s.use_perimeter != 0:
        if not enter_for_queue(m, s, core, thread.index):
            sleep(m, core)
        return
    if queue_of(s, thread.index).count == 0:
        thread.batch_left = 0
        sleep(m, core)
        return
    if thread.batch_left == 0:
        thread.batch_left = s.batch
        open_port(m, s, core, thread.index)
    cpu.instance[GROUP] = thread.index
    thread.batch_left -= 1
    packet = take_message(s, thread.index)
    thread.message_kind = packet_of(s, packet).kind
    if s.input_by_owner != 0 and thread.message_kind == PACKET:
        cpu.instance[RX_SLOT] = packet_of(s, packet).slot
        charge(m, core, OP_IP_INPUT)
    group = thread.index if s.queue_requests != 0 else packet_group(s, packet)
    begin_item(m, s, core, packet, group)
