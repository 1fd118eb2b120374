"""The programs of the threads: applications, inbound threads of NICs, owners of message ports, and the TCP clock.

All of them turn what they find into items. An item goes to its owner's port, or through the protocol (`items`). Which threads
exist is data of the organization.
"""

from netstack.jit.compilation import compiled
from netstack.sim.kernel.readiness import push_ready
from netstack.sim.kernel.receive import connection_ports
from netstack.sim.kernel.transmit import clean_transmit_ring
from netstack.sim.machine.charging import charge
from netstack.sim.machine.locks import release
from netstack.sim.machine.nic import begin_core_poll, end_poll, unmask
from netstack.sim.machine.numbers import Instance, Operation, Recorded, ThreadState
from netstack.sim.machine.recording import record_now
from netstack.sim.machine.scheduler import (
    be_urgent_again,
    give_way,
    interrupt_core,
    interrupt_core_by_timer,
    make_runnable_from_interrupt,
    sleep,
    wakeup,
)
from netstack.sim.machine.state import core_of, thread_of, thread_on
from netstack.sim.organization.applications import next_action
from netstack.sim.organization.frames import take_frame
from netstack.sim.organization.items import begin_item, end_breaks, enter_for_queue, finish_item, step_item
from netstack.sim.organization.queues import deliver_forwards, open_port, send_message, take_message
from netstack.sim.organization.rings import poll_for_stack, post_request
from netstack.sim.organization.stealing import migrate_group
from netstack.sim.stack.numbers import ItemKind, Phase, Side, ThreadKind, WaitsFor
from netstack.sim.stack.state import (
    flow_of,
    item_of,
    packet_group,
    queue_of,
    side_of,
    take_item,
    wheel_slot_of,
)
from netstack.sim.stack.timer_wheel import arm, end_tick, entry_flow, entry_side
from netstack.sim.workload.peer import deliver_late, peer_begin, peer_open, peer_timeout
from netstack.tcp.timers import tcp_next_deadline_us


@compiled
def step_thread(machine, stack, core):
    """Run one step of the thread on `core`."""
    thread = thread_on(machine, core)
    if thread.table_locked != 0:
        thread.table_locked = 0
        release(machine, core, stack.global_lock)
        return
    if thread.phase == Phase.FINISH:
        finish_item(machine, stack, core)
        if thread.phase != Phase.NEXT or thread.state != ThreadState.RUNNING:
            return
    if thread.phase != Phase.NEXT:
        step_item(machine, stack, core)
    elif thread.kind == ThreadKind.APPLICATION:
        next_action(machine, stack, core)
    elif thread.kind == ThreadKind.INBOUND:
        _next_frame(machine, stack, core)
    elif thread.kind == ThreadKind.PORT:
        _next_message(machine, stack, core)
    else:
        _next_timer(machine, stack, core)


@compiled
def _next_frame(machine, stack, core):
    """Inbound thread of a NIC: take one frame up to its owner. If there is none, reclaim sent frames, or end the poll and sleep.

    After the frames of a whole poll the thread gives way to applications, until the ring is empty.
    """
    if stack.use_rings != 0:
        poll_for_stack(machine, stack, core)
        return
    if stack.one_thread != 0:
        _leave_to_application(machine, stack, core)
        return
    cpu = core_of(machine, core)
    thread = thread_of(machine, cpu.thread)
    nic = thread.index
    spent = machine.budget != 0 and thread.batch_left >= machine.budget
    if take_frame(machine, stack, core, nic, not spent):
        thread.batch_left += machine.budget != 0
        return
    if spent:
        thread.batch_left = 0
        if stack.forwards != 0:
            deliver_forwards(machine, stack, core)
        give_way(machine, core)
        return
    cpu.instance[Instance.NIC] = nic
    if clean_transmit_ring(machine, stack, core, nic):
        return
    if stack.forwards != 0:
        deliver_forwards(machine, stack, core)
    if machine.budget != 0:
        thread.batch_left = 0
        be_urgent_again(thread)
        end_poll(machine, nic, cpu.clock)
    else:
        if machine.recording != 0:
            record_now(machine, Recorded.UNMASK, core, nic, -1)
        unmask(machine, nic)
    sleep(machine, core)


@compiled
def _leave_to_application(machine, stack, core):
    """Wake the application that is the stack: it polls the receive queue, which interrupts no more until it sleeps again."""
    nic = thread_on(machine, core).index
    application = stack.app_thread_first + nic
    begin_core_poll(machine, nic, core)
    thread_of(machine, application).waits_for = WaitsFor.WORK
    wakeup(machine, core, application)
    sleep(machine, core)


@compiled
def _next_timer(machine, stack, core):
    """TCP clock: make an item of one connection whose timer expired."""
    thread = thread_on(machine, core)
    if thread.expired_head < 0:
        sleep(machine, core)
        return
    flow_index = thread.expired_head
    flow = flow_of(stack, flow_index)
    thread.expired_head = flow.next_expired
    flow.expired = 0
    index = stack.items + stack.app_threads + thread.index
    if stack.queue_requests != 0:
        index = take_item(machine, stack)
    item = item_of(stack, index)
    item.kind = ItemKind.TIMER
    item.flow = flow_index
    item.bytes = connection_ports(stack, flow_index)
    item.thread = thread.index
    if stack.queue_requests != 0:
        send_message(machine, stack, core, index, flow.group)
    elif stack.use_rings != 0:
        post_request(machine, stack, core, index)
    else:
        begin_item(machine, stack, core, index, flow.group)


@compiled
def clock_tick(machine, stack, now):
    """Run a tick of the timer wheel at `now`: remote timers and starts at once, local timers by the clock thread."""
    slot = wheel_slot_of(stack, stack.next_tick)
    entry = slot.head
    slot.head = -1
    end_tick(stack)
    if stack.migrate_ticks != 0 and stack.next_tick % stack.migrate_ticks == 0:
        migrate_group(machine, stack)
    if stack.late_waiting > 0:
        _deliver_late(machine, stack, now)
    now_us = now // stack.cycles_per_us
    while entry >= 0:
        flow_index = entry_flow(entry)
        side = entry_side(entry)
        flow = flow_of(stack, flow_index)
        entry = flow.next_timer[side]
        flow.tick[side] = -1
        stack.timers_listed -= 1
        deadline_us = tcp_next_deadline_us(side_of(stack, flow_index, side))
        if deadline_us > now_us:
            arm(stack, flow_index, side)
        elif side == Side.REMOTE:
            if deadline_us != 0:
                peer_timeout(machine, stack, flow_index, now_us)
                arm(stack, flow_index, side)
        elif flow.started == 0:
            _start(machine, stack, flow_index)
        elif deadline_us != 0 and flow.expired == 0:
            clock = thread_of(machine, stack.clock_thread + _clock_of(machine, stack, flow))
            flow.expired = 1
            flow.next_expired = clock.expired_head
            clock.expired_head = flow_index
            clock.expired_now = 1
    if stack.use_perimeter != 0:
        end_breaks(machine, stack, now)
    for index in range(stack.clock_thread, stack.clock_thread + stack.clocks):
        thread = thread_of(machine, index)
        if thread.expired_now == 0:
            continue
        thread.expired_now = 0
        make_runnable_from_interrupt(machine, thread.core, index)
        if stack.clocks == 1:
            interrupt_core(machine, thread.core, now)
        else:
            interrupt_core_by_timer(machine, thread.core, now)


@compiled
def _deliver_late(machine, stack, now):
    """Deliver segments of the host that are late and that no later one has overtaken."""
    for flow_index in range(stack.conns):
        deliver_late(machine, stack, flow_index, now)


@compiled
def _clock_of(machine, stack, flow):
    """Return which clock runs a connection's timers: the only one, or that of the core of its receive queue."""
    return flow.queue // machine.links % machine.cores_used if stack.clocks > 1 else 0


@compiled
def _start(machine, stack, flow_index):
    """Begin a connection's transfer: it becomes ready for its application. If connections end, its client opens the first one."""
    flow = flow_of(stack, flow_index)
    flow.started = 1
    if stack.connections_end != 0:
        peer_open(machine, stack, flow_index, stack.clock_next - stack.tick_cycles)
        return
    if stack.exchanges != 0:
        peer_begin(machine, stack, flow_index, stack.clock_next - stack.tick_cycles)
        return
    push_ready(stack, flow_index)
    application = stack.app_thread_first + flow.app_thread
    thread = thread_of(machine, application)
    if thread.waits_for == WaitsFor.EVENTS:
        thread.waits_for = WaitsFor.WORK
        make_runnable_from_interrupt(machine, thread.core, application)
        interrupt_core(machine, thread.core, stack.next_tick * stack.tick_cycles - stack.tick_cycles)


@compiled
def _next_message(machine, stack, core):
    """Owner of a port: take the next item, charged once per batch. A perimeter's thread enters it for what is queued."""
    cpu = core_of(machine, core)
    thread = thread_of(machine, cpu.thread)
    if stack.use_perimeter != 0:
        if not enter_for_queue(machine, stack, core, thread.index):
            sleep(machine, core)
        return
    if queue_of(stack, thread.index).count == 0:
        thread.batch_left = 0
        queue_of(stack, thread.index).told = 0
        sleep(machine, core)
        return
    if thread.batch_left == 0:
        thread.batch_left = stack.batch
        open_port(machine, stack, core, thread.index)
    cpu.instance[Instance.GROUP] = thread.index
    thread.batch_left -= 1
    item = take_message(stack, thread.index)
    if machine.recording != 0:
        record_now(machine, Recorded.TAKEN, core, item, -1)
    thread.message_kind = item_of(stack, item).kind
    if stack.input_by_owner != 0 and thread.message_kind == ItemKind.PACKET:
        cpu.instance[Instance.RX_SLOT] = item_of(stack, item).slot
        charge(machine, core, Operation.IP_INPUT)
    if stack.queue_requests != 0:
        group = thread.index
    elif thread.message_kind == ItemKind.PACKET:
        group = packet_group(stack, item)
    else:
        group = flow_of(stack, item_of(stack, item).flow).group
    begin_item(machine, stack, core, item, group)
