"""The backends of a proxy: remote ends that accept connections of the host, and answer one request over each. At no cost.

A client's connection to a backend has the record behind those of all clients. Knows no network: `peer` sends.
"""

from netstack.jit.compilation import compiled
from netstack.sim.machine.state import NEVER
from netstack.sim.stack.numbers import Side
from netstack.sim.stack.state import exchange_of, flow_of, peer_of, renew_pcb
from netstack.sim.workload.client import forget_read, request_bytes, response_bytes
from netstack.tcp.connection import LISTEN_OPEN, tcp_accept, tcp_listen_input
from netstack.tcp.states import State

BACKEND_NETWORK = 0x0A800001  # 10.128.0.1
BACKEND_PORT = 80


@compiled
def is_to_backend(stack, flow_index):
    """Return whether a connection is one of a proxy to a backend."""
    return flow_index >= stack.clients


@compiled
def client_of(stack, flow_index):
    """Return the client that a connection is for."""
    return flow_index if flow_index < stack.clients else flow_index - stack.clients


@compiled
def backend_of(stack, flow_index):
    """Return the number of the backend of a connection to one."""
    return client_of(stack, flow_index) % stack.backends


@compiled
def is_done(pcb):
    """Return whether an end is done with its connection."""
    return pcb.state == State.CLOSED or pcb.state == State.TIME_WAIT


@compiled
def place_backend(stack, flow_index, host_address):
    """Set the addresses of a connection to a backend, which nobody has opened yet."""
    peer = peer_of(stack, flow_index)
    peer.local_address = BACKEND_NETWORK + flow_of(stack, flow_index).nic * 65536 + backend_of(stack, flow_index)
    peer.local_port = BACKEND_PORT
    peer.foreign_address = host_address


@compiled
def begin_backend_exchange(stack, flow_index):
    """Forget what the last connection to a backend carried."""
    exchange = exchange_of(stack, flow_index)
    forget_read(exchange)
    exchange.response_left = request_bytes(stack, client_of(stack, flow_index), 0)


@compiled
def accepts(stack, flow_index, segment):
    """Return whether a segment is a SYN that its backend accepts: it has no connection in this record."""
    return is_to_backend(stack, flow_index) and is_done(peer_of(stack, flow_index)) and tcp_listen_input(segment) == LISTEN_OPEN


@compiled
def accept_on_backend(stack, flow_index, segment, iss, now_us):
    """Open the backend's end by a SYN. Its output is the SYN-ACK."""
    renew_pcb(stack, flow_index, Side.REMOTE)
    peer = peer_of(stack, flow_index)
    peer.local_address = segment.destination_address
    peer.local_port = segment.destination_port
    peer.foreign_address = segment.source_address
    peer.foreign_port = segment.source_port
    tcp_accept(peer, segment, iss, now_us)


@compiled
def receive_request(stack, flow_index, payload_bytes, now):
    """Take payload of the request at `now`, and put the response into the send buffer when all of it has come.

    Returns when the response is sent, NEVER before the request is complete.
    """
    exchange = exchange_of(stack, flow_index)
    exchange.response_left -= payload_bytes
    if exchange.response_left > 0:
        return NEVER
    peer_of(stack, flow_index).send_buffered_bytes += response_bytes(stack, client_of(stack, flow_index), 0)
    return now + stack.backend_cycles
