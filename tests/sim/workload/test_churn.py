"""Connections that come and go: the segments of one life, the laws at every moment, rates that can be computed by hand."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

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
ORGANIZATIONS = ("up", "msgp", "connp_t", "connp_l", "linux", "freebsd", "dragonflybsd", "solaris10")
CHURN = ("workload=churn", "workload.start_spread_us=0")
SHORT = ("engine.warmup_ms=5", "engine.measure_ms=20")
LOSSY = (
    "conns=192",
    "machine.nic.receive_ring=8",
    "machine.nic.transmit_ring=8",
    "machine.nic.interface_queue=0",
    "workload.initial_rto_us=5000",
    "workload.min_rto_us=2000",
    "workload.bytes_per_connection=5000",
    "engine.warmup_ms=5",
    "engine.measure_ms=150",
)
TRACE = """
import sys
from experiments.config.compose import compose_simulation
from netstack.sim.build.build import build
from netstack.sim.engine.exact import run_until
from netstack.sim.kernel import transmit
from netstack.sim.workload import peer
from netstack.sim.stack.numbers import Side
from netstack.sim.stack.state import out_segment

def log(who, segment):
    names = [name for name, bit in (("SYN", 2), ("FIN", 1), ("RST", 4), ("ACK", 16)) if segment.flags & bit]
    print(who, "-".join(names), int(segment.length))

def logged_receive(machine, stack, flow_index, segment, now, call=transmit.peer_receive):
    log("host", segment)
    call(machine, stack, flow_index, segment, now)

def logged_send(machine, stack, flow_index, now, call=peer._send):
    log("client", out_segment(stack, Side.REMOTE))
    call(machine, stack, flow_index, now)

transmit.peer_receive, peer._send = logged_receive, logged_send
config = compose_simulation(*sys.argv[1:])
simulation = build(config)
while simulation.stack["connections_closed"] == 0:
    run_until(simulation.machine, simulation.stack, int(simulation.stack["clock_next"]) + 2200)
"""


def trace(*overrides: str) -> list[str]:
    """Return the segments of a client's first connection, in the order they were sent, and of the next its SYN."""
    command = [sys.executable, "-W", "ignore::RuntimeWarning", "-c", TRACE, *CHURN, "conns=1", *overrides]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    lines = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    return lines[: lines.index("client SYN 0", 1) + 1]


def test_a_connection_that_the_host_closes_first() -> None:
    assert trace("org=up", "workload.bytes_per_connection=1000") == [
        "client SYN 0",
        "host SYN-ACK 0",
        "client ACK 0",
        "host ACK 1000",
        "host FIN-ACK 0",
        "client ACK 0",
        "client FIN-ACK 0",
        "host ACK 0",
        "client SYN 0",
    ]


@pytest.mark.parametrize("org", ["connp_t", "solaris10"])
def test_a_connection_that_the_client_closes_first(org: str) -> None:
    """The FIN acknowledges the data too, before the delayed ACK would."""
    assert trace(f"org={org}", "workload.bytes_per_connection=1000", "workload.closes_first=client") == [
        "client SYN 0",
        "host SYN-ACK 0",
        "client ACK 0",
        "host ACK 1000",
        "client FIN-ACK 0",
        "host ACK 0",
        "host FIN-ACK 0",
        "client ACK 0",
        "client SYN 0",
    ]


def microseconds(config: SimulationConfig, until: int) -> Iterator[Simulation]:
    simulation = build(config)
    for microsecond in range(1, until + 1):
        run_until(simulation.machine, simulation.stack, microsecond * config.machine.clock_mhz)
        yield simulation
    settle(simulation.machine, until * config.machine.clock_mhz)
    check_conservation(simulation)


@pytest.mark.parametrize("org", ORGANIZATIONS)
@pytest.mark.parametrize("first", ["host", "client"])
def test_the_laws_hold_in_every_organization(composed: Compose, org: str, first: str) -> None:
    overrides = (f"workload.closes_first={first}", "workload.bytes_per_connection=4000")
    config = composed(*CHURN, f"org={org}", "conns=48", *overrides, *SHORT)
    result = simulate(config)
    assert result.connections_per_second > 1000
    assert result.stray_segments == result.resets_sent == 0
    sent = result.connections_per_second * result.simulated_ms / 1000 * 4000
    assert result.goodput_mbps * 1000 / 8 * result.simulated_ms == pytest.approx(sent, abs=48 * 4000)


@pytest.mark.parametrize("org", ORGANIZATIONS)
@pytest.mark.parametrize("overrides", [("workload.time_wait_us=0",), ("workload.closes_first=client",)], ids=["host", "client"])
def test_the_laws_hold_when_segments_are_lost(composed: Compose, org: str, overrides: tuple[str, ...]) -> None:
    """SYNs, FINs and their acknowledgments among them: connections still open and end, and no slot is stuck."""
    config = composed(*CHURN, f"org={org}", *LOSSY, *overrides)
    result = simulate(config)
    assert result.receive_ring_drops + result.interface_queue_drops > 10
    assert result.retransmission_timeouts > 0
    assert result.jain_fairness > 0.6
    assert result.connections_per_second > 1000


def test_without_time_wait_lost_acknowledgments_end_in_resets(composed: Compose) -> None:
    """RFC 9293, section 3.6.1: the client's FIN, repeated, finds no connection any more; TIME-WAIT is there to answer it."""
    lossy = (*CHURN, "org=connp_l", *LOSSY)
    assert simulate(composed(*lossy, "workload.time_wait_us=0")).resets_sent > 0
    assert simulate(composed(*lossy, "workload.time_wait_us=20000")).resets_sent == 0


@pytest.mark.parametrize("org", ["msgp", "connp_t", "solaris10"])
def test_the_table_has_what_is_open_at_every_moment(composed: Compose, org: str) -> None:
    states, open_counts = set(), set()
    config = composed(*CHURN, f"org={org}", "conns=12", "org.groups=2", "costs.hash_buckets=8", "workload.time_wait_us=500")
    for simulation in microseconds(config, 5000):
        check_connections(simulation)
        states.update(int(state) for state in simulation.tables["pcb"]["state"])
        open_counts.add(int(simulation.tables["flow"]["open"].sum()))
    assert {State.CLOSED, State.SYN_RECEIVED, State.ESTABLISHED, State.FIN_WAIT_1, State.TIME_WAIT} <= states
    assert open_counts >= {0, 1, 12}
    assert int(simulation.stack["connections_closed"]) >= 12


def only_cost(config: SimulationConfig, name: str, cycles: int) -> SimulationConfig:
    free = {key: dataclasses.replace(operation, cycles=0, touches=[]) for key, operation in config.costs.operations.items()}
    free[name] = dataclasses.replace(free[name], cycles=cycles)
    return dataclasses.replace(config, costs=dataclasses.replace(config.costs, operations=free))


@pytest.mark.parametrize(
    "operation", ["connection_create", "connection_insert", "accept_call", "close_call", "connection_remove"]
)
def test_one_core_opens_what_its_cycles_allow(composed: Compose, operation: str) -> None:
    """2,200 MHz through 220,000 cycles a connection: 10,000 connections per second, less the round trips between waves of all."""
    config = composed(
        *CHURN, "org=up", "conns=384", "workload.bytes_per_connection=100", "workload.time_wait_us=0",
        "engine.warmup_ms=40", "engine.measure_ms=3000",
    )  # fmt: skip
    result = simulate(only_cost(config, operation, 220_000))
    assert result.connections_per_second == pytest.approx(10_000, rel=0.03)
    assert result.utilization > 0.98


def test_the_listeners_queue_is_paid_three_times(composed: Compose) -> None:
    """By the SYN, the end of the handshake and accept(): 2,200 MHz through 3 x 100,000 cycles."""
    interval = ("engine.warmup_ms=40", "engine.measure_ms=120")
    config = composed(*CHURN, "org=up", "conns=96", "workload.bytes_per_connection=100", *interval)
    result = simulate(only_cost(config, "listener_queue", 100_000))
    assert result.connections_per_second == pytest.approx(22_000 / 3, rel=0.02)
    assert result.lock["listener"].hold_cycles == pytest.approx(100_000)


@pytest.mark.parametrize(("key", "value_us"), [("think_us", 5000), ("time_wait_us", 5000)])
def test_a_client_pauses(composed: Compose, key: str, value_us: int) -> None:
    """Six clients, each 5 ms and less than 2.5 ms of its own and the clock's tick a connection."""
    config = composed(
        *CHURN, "conns=6", "workload.time_wait_us=0", f"workload.{key}={value_us}", "workload.bytes_per_connection=1000",
        "engine.warmup_ms=20", "engine.measure_ms=150",
    )  # fmt: skip
    assert 6 / 0.0075 < simulate(config).connections_per_second < 6 / 0.005


def test_as_many_are_in_time_wait_as_littles_law_says(composed: Compose) -> None:
    """Their mean number is what ends per second times 20 ms, or up to 2 ms more: timers are served at ticks of 1 ms."""
    simulation = build(composed(*CHURN, "org=connp_l", "conns=48", "workload.time_wait_us=20000"))
    cycles_per_ms = 2_200_000
    warm_ms, end_ms, waiting, closed_before = 100, 400, [], 0
    for millisecond in range(warm_ms, end_ms):
        run_until(simulation.machine, simulation.stack, millisecond * cycles_per_ms)
        if millisecond == warm_ms:
            closed_before = int(simulation.stack["connections_closed"])
        waiting.append(int((simulation.tables["pcb"]["state"] == State.TIME_WAIT).sum()))
    per_ms = (int(simulation.stack["connections_closed"]) - closed_before) / (end_ms - 1 - warm_ms)
    assert per_ms * 20 * 0.98 <= sum(waiting) / len(waiting) <= per_ms * 22 * 1.02


def test_a_partitioned_listener_is_waited_for_less(composed: Compose) -> None:
    base = (*CHURN, "org=linux", "conns=192", "workload.bytes_per_connection=1", *SHORT)
    waits = {
        listener: simulate(composed(*base, f"org.listener={listener}", "org.groups=16")).lock["listener"].not_immediate_percent
        for listener in ("shared", "partitioned", "replicated")
    }
    assert waits["shared"] > 2 * waits["partitioned"]
    assert waits["shared"] > waits["replicated"]


def test_endless_connections_neither_open_nor_close(composed: Compose) -> None:
    result = simulate(composed("conns=24", *SHORT))
    assert result.connections_per_second == result.connections_opened == result.stray_segments == 0
    assert "listener" not in result.lock


def closed_some(composed: Compose) -> Simulation:
    simulation = build(composed(*CHURN, "conns=24"))
    run_until(simulation.machine, simulation.stack, 9 * 2_200_000)
    settle(simulation.machine, 9 * 2_200_000)
    check_conservation(simulation)
    assert int(simulation.stack["connections_closed"]) > 24
    return simulation


def test_a_connection_that_is_not_counted_breaks_a_law(composed: Compose) -> None:
    simulation = closed_some(composed)
    simulation.stack_table["connections_opened"] += 1
    with pytest.raises(ConservationError, match="connections opened"):
        check_conservation(simulation)


def test_a_connection_that_left_the_table_too_early_breaks_a_law(composed: Compose) -> None:
    simulation = closed_some(composed)
    heads = simulation.tables["bucket"]["head"]
    heads[int((heads >= 0).argmax())] = -1
    with pytest.raises(ConservationError, match="connections in the table"):
        check_conservation(simulation)


def test_a_connection_that_is_twice_on_an_event_queue_breaks_a_law(composed: Compose) -> None:
    simulation = closed_some(composed)
    simulation.tables["flow"]["next_ready"][7] = 7
    ready = simulation.tables["ready"]
    ready["head"][0], ready["count"][0] = 7, 2
    with pytest.raises(ConservationError, match="event queues"):
        check_conservation(simulation)


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("closes_first", "nobody", "host, client"),
        ("bytes_per_connection", -1, "from 0 to"),
        ("think_us", -1, "from 0 to"),
        ("time_wait_us", -1, "from 0 to"),
        ("initial_rto_us", 0, "from 1000 to"),
    ],
)
def test_bad_values_are_refused(composed: Compose, key: str, value: object, allowed: str) -> None:
    with pytest.raises(ConfigError, match=allowed) as caught:
        composed(*CHURN, f"workload.{key}={value}").validate()
    assert f"workload.{key}={value}" in str(caught.value)
