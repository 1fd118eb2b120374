"""The SimPy model does what the simulator does: it reaches the wire's limit, and about the same throughput."""

import dataclasses
from collections.abc import Callable

import pytest

from benchmarks.simpy_model import Caches, Server
from netstack.engine import SimulationConfig, simulate

Compose = Callable[..., SimulationConfig]
WARMUP_MS, MEASURE_MS = 20, 40


def without_cost(config: SimulationConfig) -> SimulationConfig:
    free = {name: dataclasses.replace(operation, cycles=0, touches=[]) for name, operation in config.costs.operations.items()}
    latency = dataclasses.replace(config.machine.latency, **dict.fromkeys(vars(config.machine.latency), 0))
    machine = dataclasses.replace(config.machine, latency=latency)
    return dataclasses.replace(config, machine=machine, costs=dataclasses.replace(config.costs, operations=free))


@pytest.mark.parametrize("org", ["up", "msgp", "connp_t", "connp_l"])
def test_one_connection_without_cost_fills_the_wire(composed: Compose, org: str) -> None:
    server = Server(without_cost(composed(f"org={org}", "conns=1", "machine.nic.count=1", "workload.write_bytes=65536")))
    server.run(WARMUP_MS)
    assert server.run(MEASURE_MS).goodput_mbps == pytest.approx(1448 / 1538 * 1000, rel=0.02)  # 941.48 Mb/s


def test_the_uniprocessor_sends_about_what_the_simulator_says(composed: Compose) -> None:
    config = composed("org=up", "conns=6", f"engine.warmup_ms={WARMUP_MS}", f"engine.measure_ms={MEASURE_MS}")
    server = Server(config)
    server.run(WARMUP_MS)
    assert server.run(MEASURE_MS).goodput_mbps == pytest.approx(simulate(config).goodput_mbps, rel=0.25)


@pytest.mark.parametrize("org", ["msgp", "connp_t", "connp_l"])
def test_every_segment_is_acknowledged_once_and_no_work_is_lost(composed: Compose, org: str) -> None:
    server = Server(composed(f"org={org}", "conns=24"))
    result = server.run(10)
    assert result.data_segments > 1000
    for connection in server.connections:
        assert connection.dropped <= connection.acked <= connection.received == connection.sent <= connection.written
        assert connection.written - connection.dropped == len(connection.pages) * server.page_bytes
    assert all((lock.owner is None) == (not lock.resource.users) for lock in server.locks)


def test_the_same_seed_gives_the_same_result(composed: Compose) -> None:
    first, second = (Server(composed("conns=24")).run(10) for _ in range(2))
    assert dataclasses.replace(first, wall_seconds=0) == dataclasses.replace(second, wall_seconds=0)


def test_stalls_follow_a_line_between_cores(composed: Compose) -> None:
    config = composed("org=connp_l")
    latency, line = config.machine.latency, 0  # of memory node 0, as cores 0 and 1
    caches = Caches(config, 4096)

    def stall(core: int, write: bool) -> int:
        return caches.stall_cycles(core, [(line, 1, 0, 1, write)], [0])

    assert stall(0, False) == latency.memory_local_cycles
    assert stall(0, True) == stall(0, True) == 0  # alone: no upgrade
    assert stall(1, False) == latency.cache_same_node_cycles
    assert stall(2, True) == latency.cache_other_node_cycles + latency.upgrade_cycles
    assert stall(0, False) == latency.cache_other_node_cycles
    caches.dma_write(line, 1)
    assert stall(3, False) == latency.memory_remote_cycles
    ways = config.machine.l1.ways
    for other in range(1, ways + 1):  # push it out of one set of the L1
        caches.stall_cycles(3, [(other * (caches.l1_mask + 1), 1, 0, 1, False)], [0])
    assert stall(3, False) == latency.l2_hit_cycles
