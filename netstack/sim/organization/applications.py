"""What applications do: wait for events, accept, read, compute, write and close. One kind of program per workload.

Each call is one step of the application's thread. Knows requests to the protocol, not how they are processed.
"""

from netstack.jit.compilation import compiled
from netstack.sim.kernel.listener import close_file
from netstack.sim.kernel.opening import begin_connect, wait_for_port
from netstack.sim.kernel.readiness import push_ready, socket_space, wake_application
from netstack.sim.kernel.reading import read_socket
from netstack.sim.kernel.transmit import sosend_unit
from netstack.sim.machine.charging import charge
from netstack.sim.machine.numbers import Category, Instance, Operation, Recorded
from netstack.sim.machine.recording import record
from netstack.sim.machine.scheduler import sleep
from netstack.sim.machine.state import core_of, thread_of, thread_on
from netstack.sim.organization.items import begin_item
from netstack.sim.organization.queues import send_message
from netstack.sim.organization.rings import is_elsewhere, post_request, work_for_thieves
from netstack.sim.organization.waiting import cross, next_event, poll
from netstack.sim.stack.numbers import ItemKind, WaitsFor
from netstack.sim.stack.state import exchange_of, flow_of, item_of, pcb_of
from netstack.sim.stack.steering import note_consumer
from netstack.sim.workload.backend import client_of, is_to_backend
from netstack.sim.workload.client import is_last, request_bytes, response_bytes, service_cycles
from netstack.tcp.states import State


@compiled
def next_action(machine, stack, core):
    """Run one step of the application on `core`."""
    if stack.steals_events != 0 and work_for_thieves(machine, stack, core):
        return
    if thread_on(machine, core).polls != 0:
        poll(machine, stack, core)
    elif thread_on(machine, core).service_left > 0:
        _compute(machine, stack, core)
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
        if socket_space(stack, thread.writes_to) < stack.lowat:
            flow_of(stack, thread.writes_to).ready = 0
        elif is_elsewhere(machine, stack, core, thread.writes_to):
            wake_application(machine, stack, core, thread.writes_to)
        else:
            push_ready(stack, thread.writes_to)
        thread.writes_to = -1
    if thread.writes_to < 0:
        if next_event(machine, stack, core) and flow_of(stack, thread.writes_to).unwritten_bytes > 0:
            cross(machine, stack, core)
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
    cross(machine, stack, core)
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
    """Send a request to the owner of its connection's group and wait, or to a thread of the stack and go on, or process it.

    Of a connection that was taken from another core its own core processes all requests.
    """
    thread = thread_on(machine, core)
    group = flow_of(stack, item_of(stack, request).flow).group
    if stack.queue_requests != 0:
        thread.waits_for = WaitsFor.REPLY
        send_message(machine, stack, core, request, group)
        sleep(machine, core)
    elif stack.use_rings != 0 or is_elsewhere(machine, stack, core, item_of(stack, request).flow):
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
        next_event(machine, stack, core)
        return
    flow_index = thread.writes_to
    flow = flow_of(stack, flow_index)
    exchange = exchange_of(stack, flow_index)
    core_of(machine, core).instance[Instance.FLOW] = flow_index
    if flow.wants_port != 0:
        flow.wants_port = 0
        _connect(machine, stack, core, flow_index)
    elif flow.connecting != 0:
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
    """Take a request that has been read, and begin to compute the response."""
    exchange = exchange_of(stack, flow_index)
    exchange.unserved_bytes -= request_bytes(stack, flow_index, exchange.served)
    charge(machine, core, Operation.APP_SERVICE)
    thread_on(machine, core).service_left = service_cycles(stack, flow_index, exchange.served)
    _compute(machine, stack, core)


@compiled
def _compute(machine, stack, core):
    """Compute for the request of the current connection, then respond. In slices, where others may ask the core for something."""
    cpu = core_of(machine, core)
    thread = thread_of(machine, cpu.thread)
    cycles = thread.service_left
    if stack.steals_events != 0:
        cycles = min(cycles, stack.cycles_per_us)
    thread.service_left -= cycles
    if machine.recording != 0:
        record(machine, Recorded.PASSED, core, cpu.clock, cycles, Category.APPLICATION, -1)
    cpu.clock += cycles
    cpu.cycles[Category.APPLICATION] += cycles
    if thread.service_left == 0:
        _respond(machine, stack, core, thread.writes_to)


@compiled
def _respond(machine, stack, core, flow_index):
    """Begin to write the response to a request. A proxy opens a connection to a backend instead."""
    exchange = exchange_of(stack, flow_index)
    core_of(machine, core).instance[Instance.FLOW] = flow_index
    if stack.proxies != 0:
        _connect(machine, stack, core, flow_index)
        return
    flow_of(stack, flow_index).unwritten_bytes = response_bytes(stack, flow_index, exchange.served)
    exchange.served += 1
    cross(machine, stack, core)
    charge(machine, core, Operation.WRITE_CALL)


@compiled
def _connect(machine, stack, core, flow_index):
    """Proxy: make a socket, and ask for a connection from it to the client's backend. Both calls return at once.

    Without a port the client waits, and both calls are made again.
    """
    thread = thread_on(machine, core)
    flow_of(stack, flow_index).ready = 0
    thread.writes_to = flow_index + stack.clients
    cross(machine, stack, core)
    cross(machine, stack, core)
    if not begin_connect(machine, stack, core, thread.writes_to):
        wait_for_port(stack, thread.index, flow_index)
        thread.writes_to = -1
        return
    request = _own_request(machine, stack, core, ItemKind.CONNECT)
    thread.writes_to = -1
    _make_request(machine, stack, core, request)


@compiled
def _ask_backend(machine, stack, core, flow_index):
    """Proxy: begin to write the client's request to the backend, whose connection is complete."""
    flow = flow_of(stack, flow_index)
    flow.connecting = 0
    flow.unwritten_bytes = request_bytes(stack, client_of(stack, flow_index), 0)
    cross(machine, stack, core)
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
    cross(machine, stack, core)
    charge(machine, core, Operation.WRITE_CALL)
    thread.writes_to = client if flow.ready == 0 else -1
    flow.ready = 1


@compiled
def _read(machine, stack, core, flow_index):
    """Read all that has arrived. A perimeter, a thread of the stack or another core is asked only to announce a window."""
    cross(machine, stack, core)
    charge(machine, core, Operation.READ_CALL)
    apart = stack.use_perimeter != 0 or stack.use_rings != 0 or is_elsewhere(machine, stack, core, flow_index)
    if apart and read_socket(machine, stack, core, flow_index) == 0:
        return
    request = _own_request(machine, stack, core, ItemKind.READ)
    _make_request(machine, stack, core, request)
