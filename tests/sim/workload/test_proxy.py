"""A proxy: the segments of one request, the laws at every moment, rates, latencies and ports that can be computed by hand."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from netstack.errors import ConfigError, ConservationError
from netstack.sim import SimulationConfig, simulate
from netstack.sim.build.build import build
from netstack.sim.build.simulation import Simulation
from netstack.sim.engine.conservation import check_connections, check_conservation
from netstack.sim.engine.exact import run_until, settle
from netstack.tcp.states import State
from tests.helpers.folders import ROOT

Compose = Callable[..., SimulationConfig]
PROXY = ("workload=proxy_short", "workload.start_spread_us=0")
SHORT = ("engine.warmup_ms=5", "engine.measure_ms=20")
MODERN = ("machine=e5_2697v2_2x12", "costs=linux26")
OF_2006 = ("up", "msgp", "connp_t", "connp_l", "linux", "freebsd", "dragonflybsd", "solaris10")
OF_LINUX = ("linux_rss", "linux_rfs", "linux_arfs", "linux_busy_poll", "linux_threaded_napi", "fastsocket", "megapipe")
OTHER_CODE = ("ix", "mtcp", "tas", "zygos", "seastar", "freebsd_pcbgroups", "freebsd_smr")
TRACE = """
import sys
from experiments.config.compose import compose_simulation
from netstack.sim.build.build import build
from netstack.sim.engine.exact import run_until
from netstack.sim.kernel import transmit
from netstack.sim.workload import peer
from netstack.sim.stack.numbers import Side
from netstack.sim.stack.state import out_segment

PEERS = ("client", "backend")

def log(source, target, segment):
    names = [name for name, bit in (("SYN", 2), ("FIN", 1), ("RST", 4), ("ACK", 16)) if segment.flags & bit]
    print(source, "to", target, "-".join(names), int(segment.length))

def logged_receive(machine, stack, flow_index, segment, now, call=transmit.peer_receive):
    log("host", PEERS[flow_index], segment)
    call(machine, stack, flow_index, segment, now)

def logged_send(machine, stack, flow_index, now, call=peer._send):
    log(PEERS[flow_index], "host", out_segment(stack, Side.REMOTE))
    call(machine, stack, flow_index, now)

transmit.peer_receive, peer._send = logged_receive, logged_send
config = compose_simulation(*sys.argv[1:])
simulation = build(config)
while simulation.stack["connections_closed"] == 0 or simulation.stack["connects_ended"] == 0:
    run_until(simulation.machine, simulation.stack, int(simulation.stack["clock_next"]) + 2200)
"""


def test_the_segments_of_a_request() -> None:
    """A segment is processed by a remote end when it leaves the host: the client's last ones stand before what follows."""
    command = [sys.executable, "-W", "ignore::RuntimeWarning", "-c", TRACE, *PROXY, "org=up", "conns=1"]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "NETSTACK_CHECK": "1"}
    lines = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[: lines.index("client to host SYN 0", 1) + 1] == [
        "client to host SYN 0",
        "host to client SYN-ACK 0",
        "client to host ACK 0",
        "client to host ACK 100",
        "host to backend SYN 0",
        "backend to host SYN-ACK 0",
        "host to backend ACK 0",
        "host to backend ACK 100",
        "backend to host ACK 64",
        "host to client ACK 64",
        "host to client FIN-ACK 0",
        "client to host ACK 0",
        "client to host FIN-ACK 0",
        "host to backend FIN-ACK 0",
        "backend to host ACK 0",
        "backend to host FIN-ACK 0",
        "host to backend ACK 0",
        "host to client ACK 0",
        "client to host SYN 0",
    ]


@pytest.mark.parametrize("org", [*OF_2006, *OF_LINUX, *OTHER_CODE])
def test_the_laws_hold_in_every_organization(composed: Compose, org: str) -> None:
    """A client has a request per connection, and the host's two connections of a request end together."""
    modern = MODERN if org not in OF_2006 else ()
    result = simulate(composed(*PROXY, *modern, f"org={org}", "conns=48", *SHORT))
    assert result.requests_per_second > 2000
    assert result.connections_per_second == pytest.approx(result.requests_per_second, abs=48 * 1000 / 20)
    assert result.stray_segments == result.resets_sent == result.retransmitted_segments == 0
    assert sum(result.thread_connections) <= 48


@pytest.mark.parametrize("org", ["msgp", "connp_t", "solaris10", "linux"])
def test_connections_and_ports_belong_together_at_every_moment(composed: Compose, org: str) -> None:
    config = composed(*PROXY, f"org={org}", "conns=6", "workload.backends=1", "workload.time_wait_us=500")
    simulation, states = build(config), set()
    for microsecond in range(1, 4000):
        run_until(simulation.machine, simulation.stack, microsecond * config.machine.clock_mhz)
        check_connections(simulation)
        states.update(int(state) for state in simulation.tables["pcb"]["state"][6:])
    settle(simulation.machine, 3999 * config.machine.clock_mhz)
    check_conservation(simulation)
    assert {State.CLOSED, State.SYN_SENT, State.ESTABLISHED, State.FIN_WAIT_1, State.TIME_WAIT} <= states
    assert State.SYN_RECEIVED not in states  # the host opens these
    assert int(simulation.stack["connects_ended"]) >= 6


def only_cost(config: SimulationConfig, **cycles: int) -> SimulationConfig:
    free = {key: dataclasses.replace(operation, cycles=0, touches=[]) for key, operation in config.costs.operations.items()}
    free |= {name: dataclasses.replace(free[name], cycles=value) for name, value in cycles.items()}
    return dataclasses.replace(config, costs=dataclasses.replace(config.costs, operations=free))


@pytest.mark.parametrize("operation", ["socket_call", "connect_call", "port_search"])
def test_one_core_opens_what_its_cycles_allow(composed: Compose, operation: str) -> None:
    """2,200 MHz through 220,000 cycles a request: 10,000 per second, less the round trips between waves of all clients."""
    interval = ("engine.warmup_ms=60", "engine.measure_ms=3000")
    config = composed(*PROXY, "org=up", "conns=384", "workload.time_wait_us=0", *interval)
    result = simulate(only_cost(config, **{operation: 220_000}))
    assert result.requests_per_second == pytest.approx(10_000, rel=0.03)


@pytest.mark.parametrize("backend_us", [0, 700])
def test_a_request_takes_three_round_trips_and_the_backends_time(composed: Compose, backend_us: int) -> None:
    """One to the client, two to the backend: for the connection and for the request. A dozen us go on the wire and to clocks."""
    distance = ("workload.rtt_min_us=100", "workload.rtt_max_us=100", "machine.nic.interrupt_interval_us=0")
    config = composed(*PROXY, "org=up", "conns=1", *distance, f"workload.backend_us={backend_us}", *SHORT)
    assert simulate(only_cost(config)).request_us["mean"] == pytest.approx(300 + backend_us, abs=12)


def running(composed: Compose, *overrides: str) -> Simulation:
    simulation = build(composed(*PROXY, *overrides))
    until = 8000 * int(simulation.stack["cycles_per_us"])
    run_until(simulation.machine, simulation.stack, until)
    settle(simulation.machine, until)
    check_conservation(simulation)
    return simulation


def cores_of_backend_legs(simulation: Simulation) -> tuple[np.ndarray, np.ndarray]:
    """Return, of each connection to a backend that is open, the core of its receive queue and that of its application."""
    flows = simulation.tables["flow"][int(simulation.stack["clients"]) :]
    flows = flows[flows["open"] == 1]
    assert len(flows) > 20
    return flows["queue"] // int(simulation.machine["links"]), simulation.tables["thread"]["core"][flows["app_thread"]]


def test_packets_come_back_to_the_core_that_connects_if_its_port_is_chosen_so(composed: Compose) -> None:
    fastsocket = (*MODERN, "org=fastsocket", "conns=240")
    queues, cores = cores_of_backend_legs(running(composed, *fastsocket))
    assert (queues == cores).all()
    queues, cores = cores_of_backend_legs(running(composed, *fastsocket, "org.active_ports=any"))
    assert (queues == cores).mean() < 0.3


def test_a_port_that_two_connections_have_breaks_a_law(composed: Compose) -> None:
    simulation = running(composed, "org=connp_l", "conns=48")
    taken = simulation.tables["ephemeral"]["flow"]
    taken[int(np.flatnonzero(taken < 0)[0])] = taken.max()
    with pytest.raises(ConservationError, match="ephemeral ports"):
        check_conservation(simulation)


def test_a_connection_to_a_backend_that_is_not_counted_breaks_a_law(composed: Compose) -> None:
    simulation = running(composed, "org=connp_l", "conns=48")
    simulation.stack_table["connects"] += 1
    with pytest.raises(ConservationError, match="connections to backends"):
        check_conservation(simulation)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("workload.requests.per_connection=null", "workload.requests.per_connection"),
        ("workload.requests.outstanding=2", "workload.requests.outstanding"),
        ("workload.closes_first=client", "workload.closes_first"),
        ("workload.backends=0", "workload.backends"),
        ("workload.backend_us=-1", "workload.backend_us"),
        ("conns=200000", "workload.client_addresses"),
        ("org.active_ports=core", "org.active_ports"),
        ("engine.window_us=1", "engine.window_us"),
    ],
)
def test_what_a_proxy_cannot_do_is_refused(composed: Compose, override: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        composed(*PROXY, override).validate()


def test_more_clients_than_ports_are_refused(composed: Compose) -> None:
    with pytest.raises(ConfigError, match=r"workload\.backends=1"):
        composed(*PROXY, "conns=20000", "workload.backends=1").validate()


def test_a_connection_waits_for_a_port_of_its_own_core_where_no_other_may_enter_it(composed: Compose) -> None:
    """Of all ports 40 are free. Whichever connection is open, its packets come to the core that opened it."""
    machine = ("machine=epyc_7662", "machine.cores=4", "machine.nic.queues=4", "costs=lean")
    config = composed(*PROXY, *machine, "org=ix", "conns=96", "workload.backends=1", "workload.time_wait_us=1000")
    simulation = build(config)
    ports, flows, waiting = (simulation.tables[name] for name in ("ephemeral", "flow", "port_wait"))
    ports["flow"][40:] = 0  # as if they were a client's
    most = 0
    for microsecond in range(1, 12_001):
        run_until(simulation.machine, simulation.stack, microsecond * config.machine.clock_mhz)
        begun = np.unique(ports["flow"][:40])
        to_backends = begun[begun >= 0]
        assert (flows["queue"][to_backends] == flows["app_thread"][to_backends]).all()
        most = max(most, int(waiting["count"].sum()))
    assert most > 20
    assert int(simulation.stack["requests_answered"]) > 96
    ports["flow"][40:] = -1
    settle(simulation.machine, 12_000 * config.machine.clock_mhz)
    check_conservation(simulation)
