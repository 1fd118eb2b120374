"""What applications do: wait for events, accept, read, compute, write and close. One kind of program per workload.

Each call is one step of the application's thread. Knows requests to the protocol, not how they are processed.
"""

from netstack.jit.compilation import compiled
from netstack.sim.kernel.listener import accept_connection, close_file
from netstack.sim.kernel.opening import begin_connect
from netstack.sim.kernel.readiness import pop_ready, push_ready, socket_space
from netstack.sim.kernel.reading import read_socket
from netstack.sim.kernel.transmit import clean_transmit_ring, sosend_unit
from netstack.sim.machine.charging import charge
from netstack.sim.machine.nic import begin_core_poll, end_poll, next_arrival, suspend_interrupts
from netstack.sim.machine.numbers import Category, Instance, Operation, Recorded, ThreadState
from netstack.sim.machine.recording import record
from netstack.sim.machine.scheduler import sleep
from netstack.sim.machine.state import core_of, nic_of, thread_of, thread_on
from netstack.sim.organization.frames import take_frame
from netstack.sim.organization.items import begin_item
from netstack.sim.organization.queues import send_message
from netstack.sim.organization.rings import post_request
from netstack.sim.stack.numbers import ItemKind, WaitsFor
from netstack.sim.stack.state import exchange_of, flow_of, item_of, pcb_of, ready_of
from netstack.sim.stack.steering import note_consumer
from netstack.sim.workload.backend import client_of, is_to_backend
from netstack.sim.workload.client import is_last, request_bytes, response_bytes, service_cycles
from netstack.tcp.states import State


@compiled
def next_action(machine, stack, core):
    """Run one step of the application on `core`."""
    if thread_on(machine, core).polls != 0 and stack.polls_events != 0:
        _poll_events(machine, stack, core)
    elif thread_on(machine, core).polls != 0:
        _poll(machine, stack, core)
    elif stack.exchanges != 0:
        _next_exchange(machine, stack, core)
    else:
        _next_write(machine, stack, core)


@compiled
def _next_write(machine, stack, core):
    """Writer: write the next unit to the current connection, close it after its last, or take the next ready one."""
    cpu = core_of(machine, core)
    thread = thread_of(machine, cpu.thread)
    if thread.writes_to >= 0 and flow_of(stack, thread.writes_to).unwritten_bytes == 0:
        _end_service(machine, stack, core)
        return
    if thread.writes_to >= 0 and (
        thread.remaining_bytes < stack.send_unit or socket_space(stack, thread.writes_to) < stack.send_unit
    ):
        if socket_space(stack, thread.writes_to) >= stack.lowat:
            push_ready(stack, thread.writes_to)
        else:
            flow_of(stack, thread.writes_to).ready = 0
        thread.writes_to = -1
    if thread.writes_to < 0:
        if _next_event(machine, stack, core) and flow_of(stack, thread.writes_to).unwritten_bytes > 0:
            _cross(machine, stack, core)
            charge(machine, core, Operation.WRITE_CALL)
        return
    thread.remaining_bytes -= stack.send_unit
    _write_unit(machine, stack, core)


@compiled
def _write_unit(machine, stack, core):
    """Write one unit to the current connection."""
    thread = thread_on(machine, core)
    core_of(machine, core).instance[Instance.FLOW] = thread.writes_to
    note_consumer(machine, stack, core, thread.writes_to)
    request = _own_request(machine, stack, core, ItemKind.SEND)
    sosend_unit(machine, stack, core, request)
    _make_request(machine, stack, core, request)


@compiled
def _own_request(machine, stack, core, kind):
    """Fill in the application's own item as a request for its current connection; return the item's index."""
    thread = thread_on(machine, core)
    request = stack.items + thread.index
    item_of(stack, request).kind = kind
    item_of(stack, request).flow = thread.writes_to
    return request


@compiled
def _next_event(machine, stack, core):
    """Make the next ready connection the current one, and accept it if it is new; return whether there is one.

    If there is none, the application polls its receive queue or sleeps until there is.
    """
    cpu = core_of(machine, core)
    thread = thread_of(machine, cpu.thread)
    if thread.events == 0:
        if stack.crosses_to_wait != 0:
            charge(machine, core, Operation.SYSCALL)
        charge(machine, core, Operation.APP_WAIT)
        thread.events = min(ready_of(stack, thread.index).count, stack.events_per_call)
        if stack.suspends != 0 and thread.events > 0:
            suspend_interrupts(machine, thread.index, cpu.clock)
    if thread.events == 0:
        if (stack.app_polls != 0 and _begin_poll(machine, core)) or (
            stack.polls_events != 0 and _begin_event_poll(machine, core)
        ):
            return False
        thread.waits_for = WaitsFor.EVENTS
        sleep(machine, core)
        return False
    thread.events -= 1
    thread.writes_to = pop_ready(stack, thread.index)
    thread.remaining_bytes = stack.write_bytes
    cpu.instance[Instance.FLOW] = thread.writes_to
    charge(machine, core, Operation.APP_EVENT)
    if flow_of(stack, thread.writes_to).accepted == 0:
        _cross(machine, stack, core)
        accept_connection(machine, stack, core, thread.writes_to)
    return True


@compiled
def _cross(machine, stack, core):
    """Enter the kernel for a request, unless requests are collected until the application waits again."""
    if stack.crosses != 0:
        charge(machine, core, Operation.SYSCALL)


@compiled
def _begin_poll(machine, core):
    """Let the application poll its receive queue, if its inbound thread does not; return whether it does."""
    cpu = core_of(machine, core)
    thread = thread_of(machine, cpu.thread)
    if thread_of(machine, nic_of(machine, thread.index).thread).state != ThreadState.BLOCKED:
        return False
    charge(machine, core, Operation.POLL_QUEUE)
    begin_core_poll(machine, thread.index, core)
    thread.polls = 1
    thread.polls_until = cpu.clock + machine.busy_poll
    return True


@compiled
def _begin_event_poll(machine, core):
    """Let the application poll its event queue, which a thread of the stack fills; return whether it does."""
    cpu = core_of(machine, core)
    thread = thread_of(machine, cpu.thread)
    if machine.busy_poll == 0:
        return False
    thread.polls = 1
    thread.polls_until = cpu.clock + machine.busy_poll
    return True


@compiled
def _poll_events(machine, stack, core):
    """End the poll of the event queue when there are events, or when the time is over."""
    cpu = core_of(machine, core)
    thread = thread_of(machine, cpu.thread)
    thread.waits_for = WaitsFor.WORK
    if ready_of(stack, thread.index).count == 0 and cpu.clock < thread.polls_until:
        thread.waits_for = WaitsFor.POLL
        cpu.polling = 1
        cpu.next_time = thread.polls_until
        return
    thread.polls = 0
    if ready_of(stack, thread.index).count == 0:
        thread.waits_for = WaitsFor.EVENTS
        sleep(machine, core)


@compiled
def _poll(machine, stack, core):
    """Process a frame of the receive queue, or end the poll: after its frames, when there are events, or when the time is over.

    Source: napi_busy_loop() and ep_poll() of Linux 6.12.
    """
    cpu = core_of(machine, core)
    thread = thread_of(machine, cpu.thread)
    nic = nic_of(machine, thread.index)
    thread.waits_for = WaitsFor.WORK
    if nic.polled < machine.budget and take_frame(machine, stack, core, thread.index):
        return
    cpu.instance[Instance.NIC] = thread.index
    if clean_transmit_ring(machine, stack, core, thread.index):
        return
    if ready_of(stack, thread.index).count == 0 and cpu.clock < thread.polls_until:
        nic.polled = 0
        thread.waits_for = WaitsFor.POLL
        cpu.polling = 1
        cpu.next_time = max(cpu.clock, min(next_arrival(machine, thread.index), thread.polls_until))
        return
    thread.polls = 0
    end_poll(machine, thread.index, cpu.clock)
    if ready_of(stack, thread.index).count == 0:
        thread.waits_for = WaitsFor.EVENTS
        sleep(machine, core)


@compiled
def _end_service(machine, stack, core):
    """Close the current connection, on which all is done, or leave it until its client closes."""
    cpu = core_of(machine, core)
    thread = thread_of(machine, cpu.thread)
    flow_index = thread.writes_to
    flow = flow_of(stack, flow_index)
    flow.ready = 0
    if stack.client_closes_first != 0 and pcb_of(stack, flow_index).state == State.ESTABLISHED:
        thread.writes_to = -1
        return
    flow.accepted = 0
    cpu.instance[Instance.FLOW] = flow_index
    _cross(machine, stack, core)
    charge(machine, core, Operation.CLOSE_CALL)
    close_file(machine, stack, core)
    request = _own_request(machine, stack, core, ItemKind.CLOSE)
    thread.writes_to = _closed_next(stack, flow_index)
    _make_request(machine, stack, core, request)


@compiled
def _closed_next(stack, flow_index):
    """Return what a proxy closes after a client's connection, the one to its backend; -1 for none."""
    if stack.proxies == 0 or is_to_backend(stack, flow_index):
        return -1
    to_backend = flow_index + stack.clients
    return to_backend if flow_of(stack, to_backend).accepted != 0 else -1


@compiled
def _make_request(machine, stack, core, request):
    """Send a request to the owner of its connection's group and wait, or to a thread of the stack and go on, or process it."""
    thread = thread_on(machine, core)
    group = flow_of(stack, item_of(stack, request).flow).group
    if stack.queue_requests != 0:
        thread.waits_for = WaitsFor.REPLY
        send_message(machine, stack, core, request, group)
        sleep(machine, core)
    elif stack.use_rings != 0:
        post_request(machine, stack, core, request)
    else:
        begin_item(machine, stack, core, request, group)


@compiled
def _next_exchange(machine, stack, core):
    """Server, proxy or reader: write, read or compute for the current connection, close it, or take the next ready one.

    A response that the send buffer has no room for is written later, when an ACK has made room.
    """
    thread = thread_on(machine, core)
    if thread.writes_to < 0:
        _next_event(machine, stack, core)
        return
    flow_index = thread.writes_to
    flow = flow_of(stack, flow_index)
    exchange = exchange_of(stack, flow_index)
    core_of(machine, core).instance[Instance.FLOW] = flow_index
    if flow.connecting != 0:
        _ask_backend(machine, stack, core, flow_index)
    elif flow.unwritten_bytes > 0 and socket_space(stack, flow_index) >= min(flow.unwritten_bytes, stack.send_unit):
        _write_unit(machine, stack, core)
    elif flow.unwritten_bytes > 0:
        flow.ready = 0
        thread.writes_to = -1
    elif _has_message(stack, flow_index):
        if is_to_backend(stack, flow_index):
            _pass_on(machine, stack, core, flow_index)
        else:
            _serve(machine, stack, core, flow_index)
    elif exchange.unread_bytes > 0:
        _read(machine, stack, core, flow_index)
    elif stack.connections_end != 0 and (is_last(stack, exchange.served) or pcb_of(stack, flow_index).state == State.CLOSE_WAIT):
        _end_service(machine, stack, core)
    else:
        flow.ready = 0
        thread.writes_to = -1


@compiled
def _has_message(stack, flow_index):
    """Return whether the application has read a whole request, or a backend's whole response, that it has done nothing for."""
    if stack.serves == 0:
        return False
    exchange = exchange_of(stack, flow_index)
    if exchange.unserved_bytes == 0:
        return False
    if is_to_backend(stack, flow_index):
        return exchange.unserved_bytes >= response_bytes(stack, client_of(stack, flow_index), 0)
    return exchange.unserved_bytes >= request_bytes(stack, flow_index, exchange.served)


@compiled
def _serve(machine, stack, core, flow_index):
    """Compute the response to a request, and begin to write it. A proxy opens a connection to a backend instead."""
    cpu = core_of(machine, core)
    exchange = exchange_of(stack, flow_index)
    exchange.unserved_bytes -= request_bytes(stack, flow_index, exchange.served)
    charge(machine, core, Operation.APP_SERVICE)
    cycles = service_cycles(stack, flow_index, exchange.served)
    if machine.recording != 0:
        record(machine, Recorded.PASSED, core, cpu.clock, cycles, Category.APPLICATION, -1)
    cpu.clock += cycles
    cpu.cycles[Category.APPLICATION] += cycles
    if stack.proxies != 0:
        _connect(machine, stack, core, flow_index)
        return
    flow_of(stack, flow_index).unwritten_bytes = response_bytes(stack, flow_index, exchange.served)
    exchange.served += 1
    _cross(machine, stack, core)
    charge(machine, core, Operation.WRITE_CALL)


@compiled
def _connect(machine, stack, core, flow_index):
    """Proxy: make a socket, and ask for a connection from it to the client's backend. Both calls return at once."""
    thread = thread_on(machine, core)
    flow_of(stack, flow_index).ready = 0
    thread.writes_to = flow_index + stack.clients
    _cross(machine, stack, core)
    _cross(machine, stack, core)
    begin_connect(machine, stack, core, thread.writes_to)
    request = _own_request(machine, stack, core, ItemKind.CONNECT)
    thread.writes_to = -1
    _make_request(machine, stack, core, request)


@compiled
def _ask_backend(machine, stack, core, flow_index):
    """Proxy: begin to write the client's request to the backend, whose connection is complete."""
    flow = flow_of(stack, flow_index)
    flow.connecting = 0
    flow.unwritten_bytes = request_bytes(stack, client_of(stack, flow_index), 0)
    _cross(machine, stack, core)
    charge(machine, core, Operation.WRITE_CALL)


@compiled
def _pass_on(machine, stack, core, flow_index):
    """Proxy: begin to write the backend's response to the client, if that is still there. Then both connections are closed."""
    thread = thread_on(machine, core)
    client = client_of(stack, flow_index)
    flow = flow_of(stack, client)
    exchange = exchange_of(stack, flow_index)
    exchange.unserved_bytes = 0
    exchange.served = 1
    if flow.accepted == 0:
        return
    core_of(machine, core).instance[Instance.FLOW] = client
    exchange_of(stack, client).served = 1
    flow.unwritten_bytes = response_bytes(stack, client, 0)
    _cross(machine, stack, core)
    charge(machine, core, Operation.WRITE_CALL)
    thread.writes_to = client if flow.ready == 0 else -1
    flow.ready = 1


@compiled
def _read(machine, stack, core, flow_index):
    """Read all that has arrived. A perimeter or a thread of the stack is asked only to announce a window."""
    _cross(machine, stack, core)
    charge(machine, core, Operation.READ_CALL)
    if (stack.use_perimeter != 0 or stack.use_rings != 0) and read_socket(machine, stack, core, flow_index) == 0:
        return
    request = _own_request(machine, stack, core, ItemKind.READ)
    _make_request(machine, stack, core, request)
