"""Lays out a simulation's connections: established ones from the beginning, or clients that open theirs one after the other.

The hash seed, distances, start times and first sequence numbers are drawn here, from the point's seed.
"""

import numpy as np

from netstack.jit.compilation import compiled
from netstack.sim.build.simulation import Simulation, assign
from netstack.sim.build.sizes import Sizes
from netstack.sim.kernel.listener import assign_application
from netstack.sim.stack.numbers import Side
from netstack.sim.stack.state import buckets_of_hash, connection_hash, flow_of, group_of_hash, pcb_of, peer_of, renew_pcb
from netstack.sim.stack.steering import steer
from netstack.sim.stack.timer_wheel import TICK_US, list_end
from netstack.sim.workload.backend import place_backend
from netstack.sim.workload.client import begin_exchange
from netstack.sim.workload.config import HEADER_BYTES, WorkloadConfig
from netstack.sim.workload.peer import FIRST_PORT, first_client_port
from netstack.tcp.lookup import lookup_insert
from netstack.tcp.pcb import DEFAULT_MSS, pcb_init, window_scale

BARE_HEADER_BYTES = 40  # IPv4 and TCP without options: what an announced MSS leaves room for (RFC 6691)
SERVER_PORT = 5001
CLIENT_PORTS = 50000
REQUEST_DRAWS = 2
"""The stream of a point's seed that sizes and times of requests are drawn from."""


def build_connections(simulation: Simulation, sizes: Sizes) -> None:
    """Draw hash seed, distances and start times from the point's seed; open all connections, or place their clients."""
    config, stack, tables = simulation.config, simulation.stack, simulation.tables
    workload, nics = config.workload, config.machine.nic.count
    random = np.random.Generator(np.random.PCG64(config.seed))
    stack["hash_seed"] = random.integers(1 << 31)
    flows = tables["flow"]
    rtt_us = random.uniform(workload.rtt_min_us, workload.rtt_max_us, config.flows)
    one_way = np.maximum(1, np.round(rtt_us * config.machine.clock_mhz / 2)).astype(np.int64)
    flows["outbound_cycles"], flows["inbound_cycles"] = one_way, one_way
    number = np.arange(config.flows)
    served_by = number + number // nics if nics > 1 else number
    assign(flows, nic=number % nics, app_thread=served_by % sizes.app_threads)
    assign(flows, queue=flows["nic"], consumer=-1)
    assign(flows, first_mbuf=-1, last_mbuf=-1, next_ready=-1, next_expired=-1)
    assign(flows, tick=-1, next_timer=-1, previous_timer=-1)
    assign(flows["section"], start=-1, end=-1)
    assign(flows, callout_before=-1, callout_behind=-1, callout_tick=-1)
    start_us = random.uniform(0, workload.start_spread_us, config.conns)
    _list_starts(stack, (start_us // TICK_US).astype(np.int64) + 1)
    flows["started"][config.conns :] = 1  # those to backends: an application opens them
    sequences = random.integers(0, 1 << 32, (config.conns, 2))
    stack["draw_seed"] = int(np.random.Generator(np.random.PCG64([config.seed, REQUEST_DRAWS])).integers(1 << 31))
    if workload.connections_end:
        _fill_templates(tables["pcb_template"], workload)
        _place_clients(stack)
        return
    flows["open"] = flows["accepted"] = 1
    if workload.application == "writer":
        flows["unwritten_bytes"] = workload.send_unit_bytes
    stack["connections_opened"] = config.conns
    _open_connections(
        stack,
        sequences,
        workload.mss_bytes,
        workload.receive_buffer_bytes,
        workload.delayed_ack_us,
        workload.min_rto_us,
    )
    assign(tables["peer"], delayed_ack_us=_client_delayed_ack_us(workload), no_delay=workload.application == "server")
    assign(tables["pcb"], no_delay=workload.application == "server")
    if workload.application == "reader":
        tables["peer"]["snd_cwnd"] = workload.receive_buffer_bytes  # as the host's of a writer
    _steer(simulation.machine, stack)
    if workload.application == "server":
        _begin_exchanges(stack)


def _client_delayed_ack_us(workload: WorkloadConfig) -> int:
    given = workload.client_delayed_ack_us
    return workload.delayed_ack_us if given is None else given


@compiled
def _steer(machine, stack):
    """Set receive queues and, where the organization has a say, applications of connections that are open from the beginning."""
    for index in range(stack.conns):
        steer(machine, stack, index)
        assign_application(machine, stack, flow_of(stack, index).queue // machine.links % machine.cores_used, index)


@compiled
def _begin_exchanges(stack):
    for index in range(stack.conns):
        begin_exchange(stack, index)


def _fill_templates(templates: np.ndarray, workload: WorkloadConfig) -> None:
    """Set what the pcbs of both ends begin with: a closed connection that offers scaling and time stamps."""
    server = workload.application in ("server", "proxy")
    own_mss = workload.mss_bytes + HEADER_BYTES - BARE_HEADER_BYTES
    values = {
        "hash_next": -1,
        "own_mss": own_mss,
        "mss": own_mss,
        "default_mss": DEFAULT_MSS,
        "use_timestamps": 1,
        "use_scaling": 1,
        "timestamp_unit_us": 1,
        "burst_segments": 1,
        "max_retransmissions": 255,
        "receive_buffer_bytes": workload.receive_buffer_bytes,
        "rcv_wnd": workload.receive_buffer_bytes,
        "rcv_scale": window_scale(workload.receive_buffer_bytes),
        "initial_rto_us": workload.initial_rto_us,
        "min_rto_us": workload.min_rto_us,
        "delayed_ack_us": workload.delayed_ack_us,
        "time_wait_us": workload.time_wait_us,
        "no_delay": server,
    }
    for name, value in values.items():
        templates[name][[Side.LOCAL, Side.REMOTE]] = value
    templates["delayed_ack_us"][Side.REMOTE] = _client_delayed_ack_us(workload)


@compiled
def _list_starts(stack, start_ticks):
    """List the start of each connection or client in the timer wheel."""
    for index in range(stack.clients):
        list_end(stack, index, Side.LOCAL, start_ticks[index])


@compiled
def _place_clients(stack):
    """Begin with closed connections. Set each client's own address and port, the host's, and where backends are."""
    for index in range(stack.conns):
        renew_pcb(stack, index, Side.LOCAL)
    for index in range(stack.clients, stack.conns):
        place_backend(stack, index, _host_address(stack, index))
    for index in range(stack.clients):
        peer = peer_of(stack, index)
        peer.foreign_address = _host_address(stack, index)
        peer.foreign_port = SERVER_PORT
        if stack.client_addresses == 0:
            peer.local_address = peer.foreign_address + 1 + index
            peer.local_port = FIRST_PORT + index % CLIENT_PORTS
        else:
            peer.local_address = peer.foreign_address + 1 + index % stack.client_addresses
            peer.local_port = first_client_port(stack, index)


@compiled
def _host_address(stack, index):
    return 0x0A000001 + flow_of(stack, index).nic * 65536


@compiled
def _open_connections(stack, sequences, mss, receive_buffer, delayed_ack_us, min_rto_us):
    for index in range(stack.conns):
        flow = flow_of(stack, index)
        local_address = _host_address(stack, index)
        foreign_address = local_address + 1 + index // CLIENT_PORTS
        foreign_port = FIRST_PORT + index % CLIENT_PORTS
        local = pcb_of(stack, index)
        remote = peer_of(stack, index)
        iss = sequences[index, 0]
        irs = sequences[index, 1]
        pcb_init(
            local,
            local_address,
            SERVER_PORT,
            foreign_address,
            foreign_port,
            iss,
            irs,
            mss,
            receive_buffer,
            receive_buffer,
            delayed_ack_us,
            min_rto_us,
        )
        pcb_init(
            remote,
            foreign_address,
            foreign_port,
            local_address,
            SERVER_PORT,
            irs,
            iss,
            mss,
            receive_buffer,
            receive_buffer,
            delayed_ack_us,
            min_rto_us,
        )
        value = connection_hash(stack, local_address, SERVER_PORT, foreign_address, foreign_port)
        flow.group = group_of_hash(stack, value)
        local.snd_cwnd = receive_buffer  # as after a long transfer without losses: it is not what limits the sender
        lookup_insert(stack.pcb_table, buckets_of_hash(stack, value), stack.buckets_per_group, stack.hash_seed, index)
