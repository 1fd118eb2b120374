"""How an application opens a connection to a backend: socket(), an ephemeral port, connect(), and the end of the port.

Sources: inet_hash_connect() and tcp_v4_connect() of Linux; in_pcbconnect() of FreeBSD. Who runs it is decided in `organization`.
"""

from netstack.jit.compilation import compiled
from netstack.sim.kernel.listener import open_file
from netstack.sim.kernel.readiness import append_connection, take_connection, wake_application
from netstack.sim.machine.charging import charge
from netstack.sim.machine.numbers import Fault, Instance, Operation
from netstack.sim.machine.state import core_of
from netstack.sim.stack.numbers import Side
from netstack.sim.stack.state import (
    BUCKETS_PER_LINE,
    bucket_of_hash,
    ephemeral_of,
    flow_hash,
    flow_of,
    group_of_hash,
    pcb_of,
    peer_of,
    port_wait_of,
    renew_pcb,
)
from netstack.sim.stack.steering import leads_to_core, steer
from netstack.sim.workload.backend import backend_of, begin_backend_exchange, client_of
from netstack.sim.workload.config import EPHEMERAL_PORTS, FIRST_EPHEMERAL_PORT
from netstack.sim.workload.peer import initial_sequence
from netstack.tcp.connection import tcp_connect


@compiled
def begin_connect(machine, stack, core, flow_index):
    """Run socket() and connect() on `core` as far as they touch no table of connections: the port is chosen.

    Returns whether there is one. Else connect() fails.
    """
    flow = flow_of(stack, flow_index)
    core_of(machine, core).instance[Instance.FLOW] = flow_index
    flow.app_thread = flow_of(stack, client_of(stack, flow_index)).app_thread
    flow.accepted = 1
    flow.connecting = 1
    flow.ready = 0
    flow.unwritten_bytes = 0
    begin_backend_exchange(stack, flow_index)
    charge(machine, core, Operation.SOCKET_CALL)
    open_file(machine, stack, core)
    if not _choose_port(machine, stack, core, flow_index):
        flow.accepted = 0
        flow.connecting = 0
        return False
    value = flow_hash(stack, flow_index)
    flow.group = group_of_hash(stack, value)
    steer(machine, stack, flow_index)
    charge(machine, core, Operation.CONNECT_CALL)
    return True


@compiled
def _choose_port(machine, stack, core, flow_index):
    """Give a connection the next free port towards its backend; if the organization wants it, one that leads back to `core`.

    Returns whether there is one. Where no other core may enter the connection, a port that leads to another one is none.
    """
    port = _next_port(machine, stack, core, flow_index, stack.ports_by_core)
    if port < 0 and stack.waits_for_ports != 0:
        return False
    if port < 0:
        port = _next_port(machine, stack, core, flow_index, 0)
    if port < 0:
        machine.fault = Fault.PORTS_EXHAUSTED
        return True
    ephemeral_of(stack, backend_of(stack, flow_index) * EPHEMERAL_PORTS + port).flow = flow_index
    stack.next_port = (port + 1) % EPHEMERAL_PORTS
    return True


@compiled
def _next_port(machine, stack, core, flow_index, by_core):
    """Set the next free port, one that leads to `core` if `by_core`; return its number from 0 on, -1 if there is none.

    Each port is charged that is looked at in the table. Ports that lead elsewhere are not: the kernel computes which do.
    """
    first = backend_of(stack, flow_index) * EPHEMERAL_PORTS
    for offset in range(EPHEMERAL_PORTS):
        port = (stack.next_port + offset) % EPHEMERAL_PORTS
        peer_of(stack, flow_index).foreign_port = FIRST_EPHEMERAL_PORT + port
        if by_core != 0 and not leads_to_core(machine, stack, flow_index, core):
            continue
        bucket = bucket_of_hash(stack, flow_hash(stack, flow_index))
        core_of(machine, core).instance[Instance.BUCKET] = bucket // BUCKETS_PER_LINE
        charge(machine, core, Operation.PORT_SEARCH)
        if ephemeral_of(stack, first + port).flow < 0:
            return port
    return -1


@compiled
def set_connecting(stack, flow_index, now_us):
    """Set the pcb of a connection that is opened at `now_us`. Output sends the SYN."""
    peer = peer_of(stack, flow_index)
    renew_pcb(stack, flow_index, Side.LOCAL)
    pcb = pcb_of(stack, flow_index)
    pcb.local_address = peer.foreign_address
    pcb.local_port = peer.foreign_port
    pcb.foreign_address = peer.local_address
    pcb.foreign_port = peer.local_port
    tcp_connect(pcb, initial_sequence(flow_hash(stack, flow_index), now_us), now_us)


@compiled
def free_port(machine, stack, core, flow_index):
    """Give the port of a connection back that has ended. A client that waits for one on its core is ready again."""
    port = pcb_of(stack, flow_index).local_port - FIRST_EPHEMERAL_PORT
    ephemeral_of(stack, backend_of(stack, flow_index) * EPHEMERAL_PORTS + port).flow = -1
    if stack.waits_for_ports == 0:
        return
    waiting = port_wait_of(stack, flow_of(stack, flow_index).queue % stack.app_threads)
    client = take_connection(stack, waiting)
    if client >= 0:
        wake_application(machine, stack, core, client)


@compiled
def wait_for_port(stack, app_thread, client):
    """Let a client wait until a port is free that leads to the core of an application thread."""
    flow_of(stack, client).wants_port = 1
    append_connection(stack, port_wait_of(stack, app_thread), client)
