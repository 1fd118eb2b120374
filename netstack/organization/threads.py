"""The programs of the threads: applications, inbound threads of NICs, owners of message ports, and the TCP clock.

All of them turn what they find into items (a received packet, a send request, an expired timer) and an item goes one
way: to its owner's port, or through lookup lock, serializing lock, protocol, output and release. Which of these
exist is data of the organization. A thread's step ends where another core could matter: before a lock is tried or
released, and after each segment.
"""

from netstack.compilation import compiled
from netstack.machine.locks import NOT_WAITING, acquire, release
from netstack.machine.memory import charge
from netstack.machine.nic import receive_frame, take_arrival, unmask
from netstack.machine.scheduler import interrupt_core, make_runnable_from_interrupt, sleep, wakeup
from netstack.machine.state import (
    BLOCKED,
    FLOW,
    GROUP,
    NIC,
    OP_APP_EVENT,
    OP_APP_WAIT,
    OP_DRIVER_RECEIVE,
    OP_IP_INPUT,
    OP_MESSAGE_RECEIVE,
    OP_WRITE_CALL,
    RX_SLOT,
    core_of,
    lock_of,
    receive_slot_of,
    thread_of,
)
from netstack.organization.paths import (
    EVENTS,
    REPLY,
    WORK,
    clean_transmit_ring,
    lookup_connection,
    output_segment,
    packet_group,
    pop_ready,
    predict_packet,
    process_packet,
    process_send,
    process_timer,
    push_ready,
    so_wakeup,
    socket_space,
    sosend_unit,
)
from netstack.organization.queues import charge_port, join_backlog, put_message, take_backlog, take_message
from netstack.tcp.flags import TCP_ACKED, TCP_OUTPUT
from netstack.tcp.timers import tcp_next_deadline_us
from netstack.workload.peer import peer_timeout
from netstack.workload.state import (
    LOCAL,
    PACKET,
    REMOTE,
    SEND,
    TIMER,
    flow_of,
    free_packet,
    packet_of,
    port_of,
    side_of,
    take_packet,
    wheel_of,
)
from netstack.workload.timers import arm, end_tick

APPLICATION_THREAD, INBOUND_THREAD, PORT_THREAD, CLOCK_THREAD = range(4)
NEXT, LOOKUP_LOCK, SERIALIZE, PROCESS, OUTPUT, FINISH = range(6)
NO_LOCK, LOCK_CONNECTION, LOCK_GROUP = range(3)


@compiled
def step_thread(m, s, core):
    """Run one step of the thread on `core`."""
    thread = thread_of(m, core_of(m, core).thread)
    if thread.phase == FINISH:
        _finish_item(m, s, core)
        if thread.phase != NEXT:
            return
    if thread.phase == NEXT:
        if thread.kind == APPLICATION_THREAD:
            _next_write(m, s, core)
        elif thread.kind == INBOUND_THREAD:
            _next_frame(m, s, core)
        elif thread.kind == PORT_THREAD:
            _next_message(m, s, core)
        else:
            _next_timer(m, s, core)
    elif thread.phase == LOOKUP_LOCK:
        if acquire(m, core, s.global_lock):
            _lookup(m, s, core)
            thread.phase = SERIALIZE
    elif thread.phase == SERIALIZE:
        if s.use_backlog != 0 and _owned_by_application(m, core) and _leave_to_owner(m, s, core):
            return
        if s.lock_kind == NO_LOCK or acquire(m, core, thread.lock):
            if s.use_global_lock == 0 and s.lookup_first == 0:
                _lookup(m, s, core)
            _admit(m, s, core)
    elif thread.phase == PROCESS:
        release(m, core, s.global_lock)
        _process(m, s, core)
    elif not output_segment(m, s, core, thread.flow):
        _settle(m, s, core)


@compiled
def _begin_item(m, s, core, item, group):
    """Start an item on the thread that runs on `core`; `group` is the connection group of the item."""
    thread = thread_of(m, core_of(m, core).thread)
    thread.item = item
    thread.phase = s.first_phase
    thread.lock = s.group_lock_first + group
    no_lock = s.first_phase == SERIALIZE and s.lock_kind == NO_LOCK
    if no_lock or s.lookup_first != 0:
        _lookup(m, s, core)
    if no_lock:
        _admit(m, s, core)


@compiled
def _lookup(m, s, core):
    """Find the connection of the current item, and its lock where connections have one."""
    cpu = core_of(m, core)
    thread = thread_of(m, cpu.thread)
    packet = packet_of(s, thread.item)
    if packet.kind == PACKET:
        packet.flow = lookup_connection(m, s, core, thread.item)
        if packet.flow < 0:
            m.fault = 4
            packet.flow = 0
    thread.flow = packet.flow
    cpu.instance[FLOW] = packet.flow
    cpu.instance[NIC] = flow_of(s, packet.flow).nic
    if packet.kind == PACKET and s.lookup_first != 0:
        charge(m, core, s.lookup_operation)
    if s.lock_kind == LOCK_CONNECTION:
        thread.lock = s.connection_lock_first + packet.flow


@compiled
def _admit(m, s, core):
    """Take the current item into its connection. A global lookup lock is still held: the item might close the connection."""
    thread = thread_of(m, core_of(m, core).thread)
    kind = packet_of(s, thread.item).kind
    if kind == SEND:
        process_send(m, s, core, thread.item)
    elif kind == PACKET:
        predict_packet(m, core)
    thread.phase = PROCESS
    if s.use_global_lock == 0:
        _process(m, s, core)


@compiled
def _process(m, s, core):
    """Run the protocol on the current item, up to its output."""
    thread = thread_of(m, core_of(m, core).thread)
    kind = packet_of(s, thread.item).kind
    if kind == SEND:
        thread.flags = TCP_OUTPUT
    elif kind == PACKET:
        thread.flags = process_packet(m, s, core, thread.item)
    else:
        thread.flags = process_timer(m, s, core, thread.flow)
    if thread.flags & TCP_OUTPUT:
        thread.phase = OUTPUT
    else:
        _settle(m, s, core)


@compiled
def _settle(m, s, core):
    """Last work on the connection under its lock: list its timers, tell a writer that there is room."""
    thread = thread_of(m, core_of(m, core).thread)
    arm(s, thread.flow, LOCAL)
    if thread.flags & TCP_ACKED:
        so_wakeup(m, s, core, thread.flow)
    thread.phase = FINISH


@compiled
def _owned_by_application(m, core):
    """Return whether an application holds the lock of the current item's connection."""
    cpu = core_of(m, core)
    owner = lock_of(m, thread_of(m, cpu.thread).lock).owner
    return owner >= 0 and owner != cpu.thread and thread_of(m, owner).kind == APPLICATION_THREAD


@compiled
def _leave_to_owner(m, s, core):
    """Leave an item to the application that holds the connection, a timer to the next tick; a request waits (False)."""
    thread = thread_of(m, core_of(m, core).thread)
    kind = packet_of(s, thread.item).kind
    if kind == SEND:
        return False
    if kind == PACKET:
        join_backlog(m, s, core, thread.item, thread.lock)
    else:
        arm(s, thread.flow, LOCAL)
    thread.waiting = NOT_WAITING
    thread.phase = NEXT
    thread.item = -1
    return True


@compiled
def _finish_item(m, s, core):
    """Leave the connection: release its lock, answer whoever asked. An application empties the backlog before."""
    cpu = core_of(m, core)
    thread = thread_of(m, cpu.thread)
    if thread.kind == APPLICATION_THREAD and flow_of(s, thread.flow).backlog_count > 0:
        thread.item = take_backlog(m, s, core, thread.flow)
        cpu.instance[RX_SLOT] = packet_of(s, thread.item).slot
        predict_packet(m, core)
        _process(m, s, core)
        return
    if s.lock_kind != NO_LOCK:
        release(m, core, thread.lock)
    thread.phase = NEXT
    if thread.kind == PORT_THREAD:
        _answer(m, s, core)
    thread.item = -1


@compiled
def _answer(m, s, core):
    """Finish a message that came through a port: wake an application that waits for it, free any other but packets."""
    thread = thread_of(m, core_of(m, core).thread)
    if thread.message_kind == TIMER:
        free_packet(s, thread.item)
    elif thread.message_kind == SEND:
        asker_index = packet_of(s, thread.item).thread
        asker = thread_of(m, asker_index)
        asker.waits_for = WORK
        if asker.state == BLOCKED:
            wakeup(m, core, asker_index)


@compiled
def _next_write(m, s, core):
    """Application: write the next unit to the current connection, or turn to the next one that is writable."""
    cpu = core_of(m, core)
    thread = thread_of(m, cpu.thread)
    if thread.flow >= 0 and (thread.remaining_bytes < s.send_unit or socket_space(s, thread.flow) < s.send_unit):
        if socket_space(s, thread.flow) >= s.lowat:
            push_ready(s, thread.flow)
        else:
            flow_of(s, thread.flow).ready = 0
        thread.flow = -1
    if thread.flow < 0:
        thread.flow = pop_ready(s, thread.index)
        if thread.flow < 0:
            charge(m, core, OP_APP_WAIT)
            thread.waits_for = EVENTS
            sleep(m, core)
            return
        thread.remaining_bytes = s.write_bytes
        cpu.instance[FLOW] = thread.flow
        charge(m, core, OP_APP_EVENT)
        charge(m, core, OP_WRITE_CALL)
        return
    cpu.instance[FLOW] = thread.flow
    thread.remaining_bytes -= s.send_unit
    request = s.packets + thread.index
    packet_of(s, request).flow = thread.flow
    sosend_unit(m, s, core, request)
    group = flow_of(s, thread.flow).group
    if s.queue_requests != 0:
        thread.waits_for = REPLY
        _send_message(m, s, core, request, group)
        sleep(m, core)
    else:
        _begin_item(m, s, core, request, group)


@compiled
def _next_frame(m, s, core):
    """Inbound thread of a NIC: take one frame up to IP, or clean up, allow interrupts and sleep when there is none."""
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
    charge(m, core, OP_IP_INPUT)
    if s.queue_packets != 0:
        _send_message(m, s, core, packet, packet_group(s, packet) % s.ports)
    else:
        _begin_item(m, s, core, packet, packet_group(s, packet))


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
    packet.thread = thread.index
    if s.queue_requests != 0:
        _send_message(m, s, core, item, flow.group)
    else:
        _begin_item(m, s, core, item, flow.group)


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
    if woken:
        thread = thread_of(m, s.clock_thread)
        make_runnable_from_interrupt(m, thread.core, s.clock_thread)
        interrupt_core(m, thread.core, now)


@compiled
def _start(m, s, flow_index):
    """Begin a connection's transfer: its application finds it writable."""
    flow = flow_of(s, flow_index)
    flow.started = 1
    push_ready(s, flow_index)
    application = s.app_thread_first + flow.app_thread
    thread = thread_of(m, application)
    if thread.waits_for == EVENTS:
        thread.waits_for = WORK
        make_runnable_from_interrupt(m, thread.core, application)
        interrupt_core(m, thread.core, s.next_tick * s.tick_cycles - s.tick_cycles)


@compiled
def _send_message(m, s, core, packet, port_index):
    """Queue an item to a port and wake its thread if it sleeps."""
    if put_message(m, s, core, packet, port_index):
        wakeup(m, core, port_of(s, port_index).thread)


@compiled
def _next_message(m, s, core):
    """Owner of a port: take the next message; the port is locked once for a batch."""
    cpu = core_of(m, core)
    thread = thread_of(m, cpu.thread)
    port = port_of(s, thread.index)
    if port.count == 0:
        thread.batch_left = 0
        sleep(m, core)
        return
    if thread.batch_left == 0:
        thread.batch_left = s.batch
        charge_port(m, s, core, thread.index, OP_MESSAGE_RECEIVE)
    cpu.instance[GROUP] = thread.index
    thread.batch_left -= 1
    packet = take_message(s, thread.index)
    thread.message_kind = packet_of(s, packet).kind
    group = thread.index if s.queue_requests != 0 else packet_group(s, packet)
    _begin_item(m, s, core, packet, group)
