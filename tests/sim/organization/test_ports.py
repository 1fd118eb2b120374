"""Ports: one network thread for all packets, and ports that other cores reach by interprocessor interrupts only."""

import dataclasses
from collections.abc import Callable

import pytest

from netstack.sim import SimulationConfig, simulate
from netstack.sim.build.build import build
from netstack.sim.build.simulation import Simulation
from netstack.sim.machine.numbers import Category
from netstack.sim.stack.numbers import ItemKind, Phase, ThreadKind
from tests.helpers.moments import moments, queued

Compose = Callable[..., SimulationConfig]
SHORT = ("engine.warmup_ms=5", "engine.measure_ms=10")
START = ("engine.warmup_ms=1", "workload.start_spread_us=0")


def port_threads(simulation: Simulation):
    threads = simulation.tables["thread"]
    return threads[threads["kind"] == ThreadKind.PORT]


def test_one_network_thread_processes_all_packets_in_the_order_of_its_queue(composed: Compose) -> None:
    waiting = 0
    for simulation in moments(composed("org=freebsd", "conns=24", *START), 8):
        stack, threads, nics = simulation.stack, simulation.tables["thread"], simulation.tables["nic"]
        (queue,) = simulation.tables["queue"]
        inbound = threads[threads["kind"] == ThreadKind.INBOUND]
        assert (inbound["phase"] == Phase.NEXT).all()
        assert (inbound["item"] == -1).all()
        assert int(stack["messages_sent"]) == nics["frames_received"].sum()
        items = queued(simulation, int(queue["head"]), int(queue["count"]))
        waiting = max(waiting, len(items))
        segments, pcbs = simulation.tables["segment"], simulation.tables["pcb"]
        by_connection = {int(segments["source_port"][item]): [] for item in items}
        for item in items:
            by_connection[int(segments["source_port"][item])].append(item)
        for port, ones in by_connection.items():
            flow = port - 1024
            acknowledged = [int(segments["ack"][item] - pcbs["snd_una"][flow]) % (1 << 32) for item in ones]
            assert acknowledged == sorted(acknowledged)
            assert acknowledged[-1] < 1 << 31
    assert waiting > 1
    assert int(simulation.stack["messages_received"]) > 100
    assert len(port_threads(simulation)) == 1


def test_a_network_thread_that_falls_behind_drops_packets_and_loses_none_otherwise(composed: Compose) -> None:
    dropped = 0
    for simulation in moments(composed("org=freebsd", "conns=96", *START), 30):
        received = simulation.tables["nic"]["frames_received"].sum()
        dropped = int(simulation.stack["queue_drops"])
        assert int(simulation.stack["messages_sent"]) + dropped == received
    assert dropped > 0


@pytest.mark.parametrize("org", ["freebsd", "dragonflybsd"])
def test_the_network_thread_runs_ip_input_once_a_packet(composed: Compose, org: str) -> None:
    """If nothing but IP input takes time, all time of the protocol is that of packets which left a port, on its core."""
    config = composed(f"org={org}", "org.placement=pinned", "conns=24", *START)
    for name, operation in config.costs.operations.items():
        cycles = 100 if name == "ip_input" else 0
        config.costs.operations[name] = dataclasses.replace(operation, cycles=cycles, touches=[])
    *_, simulation = moments(config, 4)
    by_core = simulation.tables["core"]["cycles"][:, Category.PROTOCOL]
    taken = simulation.tables["nic"]["frames_received"].sum() - sum(
        simulation.tables["item"]["kind"][item] == ItemKind.PACKET
        for queue in simulation.tables["queue"]
        for item in queued(simulation, int(queue["head"]), int(queue["count"]))
    )
    assert by_core.sum() == 100 * taken > 0
    assert (by_core > 0).tolist() == [core < int(simulation.stack["ports"]) for core in range(4)]


def test_requests_pass_the_network_thread_by(composed: Compose) -> None:
    """Half an acknowledgment a segment goes through the port: peers delay every other one (RFC 1122, 4.2.3.2)."""
    assert simulate(composed("org=freebsd", "conns=24", *SHORT)).hand_offs_per_segment < 0.6


@pytest.mark.parametrize(("placement", "bound"), [("free", [-1]), ("pinned", [0])])
def test_the_one_network_thread_runs_anywhere_if_threads_may(composed: Compose, placement: str, bound: list[int]) -> None:
    simulation = build(composed("org=freebsd", "conns=6", f"org.placement={placement}"))
    assert port_threads(simulation)["pinned"].tolist() == bound


def test_owners_stay_on_their_cores_as_many_as_there_are(composed: Compose) -> None:
    simulation = build(composed("org=dragonflybsd", "machine=epyc_16", "conns=6", "org.placement=free"))
    assert port_threads(simulation)["pinned"].tolist() == list(range(16))


def test_a_message_to_another_core_waits_for_its_interrupt_and_keeps_its_order(composed: Compose) -> None:
    posted = 0
    for simulation in moments(composed("org=dragonflybsd", "conns=24", *START), 8):
        stack, cores, queues = simulation.stack, simulation.tables["core"], simulation.tables["queue"]
        ports = int(stack["ports"])
        assert len(queues) == 2 * ports == 8
        for port in range(ports):
            local, remote = queues[port], queues[int(stack["ipi_queue_first"]) + port]
            if remote["count"] > 0:
                assert cores["ipis"][port] > 0
                posted += 1
            items = queued(simulation, int(local["head"]), int(local["count"]))
            items += queued(simulation, int(remote["head"]), int(remote["count"]))
            flows = simulation.tables["flow"]
            for item in items:
                if simulation.tables["item"]["kind"][item] != ItemKind.PACKET:
                    assert flows["group"][simulation.tables["item"]["flow"][item]] == port
    assert posted > 100
    assert int(simulation.stack["messages_received"]) > 100


def test_ports_between_cores_have_no_lock(composed: Compose) -> None:
    locked = simulate(composed("org=dragonflybsd", "conns=24", "org.port=locked", *SHORT))
    unlocked = simulate(composed("org=dragonflybsd", "conns=24", *SHORT))
    assert locked.lock["message_port"].acquisitions > 0
    assert "message_port" not in unlocked.lock
    assert unlocked.cycles_per_kb["lock_atomic"] < locked.cycles_per_kb["lock_atomic"]
    assert unlocked.ipis_per_segment > locked.ipis_per_segment


def test_one_core_sends_itself_no_interrupts(composed: Compose) -> None:
    result = simulate(composed("org=dragonflybsd", "conns=24", "org.cores=1", *SHORT))
    assert result.hand_offs_per_segment > 0.5
    assert result.ipis_per_segment == 0
