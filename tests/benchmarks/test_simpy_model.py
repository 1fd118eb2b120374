"""The SimPy model does what the simulator does: it reaches the wire's limit, and about the same throughput."""

import dataclasses
from collections.abc import Callable

import pytest
import simpy

from benchmarks.simpy_model import Caches, Layout, Server
from benchmarks.simpy_model.scheduling import APPLICATION_PRIORITY, INBOUND_PRIORITY, AdaptiveLock, Machine, Steps, Thread
from netstack.sim import SimulationConfig, simulate
from netstack.sim.machine.numbers import Access, Instance

Compose = Callable[..., SimulationConfig]
WARMUP_MS, MEASURE_MS = 20, 30


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


@pytest.mark.parametrize("org", ["up", "msgp", "connp_t", "connp_l"])
def test_it_sends_about_what_the_simulator_says(composed: Compose, org: str) -> None:
    config = composed(f"org={org}", "conns=6", f"engine.warmup_ms={WARMUP_MS}", f"engine.measure_ms={MEASURE_MS}")
    server = Server(config)
    server.run(WARMUP_MS)
    assert server.run(MEASURE_MS).goodput_mbps == pytest.approx(simulate(config).goodput_mbps, rel=0.1)


@pytest.mark.parametrize("org", ["msgp", "connp_t", "connp_l"])
def test_every_segment_is_acknowledged_once_and_no_work_is_lost(composed: Compose, org: str) -> None:
    server = Server(composed(f"org={org}", "conns=24"))
    result = server.run(10)
    assert result.data_segments > 1000
    for connection in server.connections:
        assert connection.dropped <= connection.acked <= connection.received == connection.sent <= connection.written
        assert connection.written - connection.dropped == len(connection.pages) * server.stack.page_bytes
    for lock in server.locks:
        assert lock.owner is not None or not lock.sleepers
        assert lock.owner is None or lock in lock.owner.held or lock.owner in lock.spinners


def test_the_same_seed_gives_the_same_result(composed: Compose) -> None:
    first, second = (Server(composed("conns=24")).run(10) for _ in range(2))
    assert dataclasses.replace(first, wall_seconds=0) == dataclasses.replace(second, wall_seconds=0)


def test_a_bound_thread_keeps_its_core_and_any_other_gets_the_idlest(composed: Compose) -> None:
    server = Server(composed("org=connp_t", "conns=1"))
    inbound, other, urgent, owner = (server.threads[number] for number in (4, 5, 6, 10))
    cores = server.machine.cores
    assert server.machine.core_for(inbound) is cores[0]  # its last one
    cores[0].running = urgent
    assert server.machine.core_for(inbound) is cores[1]  # the first that is idle
    cores[1].running, cores[2].running, cores[3].running = other, owner, other
    assert server.machine.core_for(inbound) is cores[2]  # the least urgent
    assert server.machine.core_for(owner) is cores[0]


def test_who_sleeps_for_a_lock_lends_its_priority_to_the_owner(composed: Compose) -> None:
    instances = dict.fromkeys(Instance, 4)
    env = simpy.Environment()
    machine = Machine(env, composed("org=connp_l"), instances)
    lock, (first_core, second_core, *_) = AdaptiveLock(0), machine.cores
    owner = Thread(machine, 0, first_core, APPLICATION_PRIORITY, bound=True)
    waiter = Thread(machine, 1, second_core, INBOUND_PRIORITY, bound=True)
    priorities = []

    def own() -> Steps:
        yield from owner.wait_for_core()
        yield from owner.acquire(lock)
        yield from owner.sleep()
        priorities.append(owner.priority)
        yield from owner.release(lock)
        priorities.append(owner.priority)

    def wait() -> Steps:
        yield from waiter.wait_for_core()
        yield from waiter.acquire(lock)

    for thread, core, program in ((owner, first_core, own()), (waiter, second_core, wait())):
        env.process(program)
        machine.interrupt(thread, core)
        env.run(env.now + 100_000)
    assert lock.owner is owner
    assert lock.sleepers == [waiter]
    machine.interrupt(owner, first_core)
    env.run(env.now + 100_000)
    assert lock.owner is waiter
    assert priorities == [INBOUND_PRIORITY, APPLICATION_PRIORITY]


def test_pinned_threads_stay_where_they_are(composed: Compose) -> None:
    server = Server(composed("org=connp_l", "conns=24", "org.placement=pinned"))
    before = [thread.core for thread in server.threads]
    assert server.run(15).data_segments > 1000
    assert [thread.core for thread in server.threads] == before


def test_locked_instructions_cost_only_where_something_is_locked(composed: Compose) -> None:
    one, config = composed("org=up"), composed("org=connp_l")
    instances = dict.fromkeys(Instance, 1)
    operation = config.costs.operations["route_lookup"]
    assert Layout(one, instances).operations["route_lookup"][0] == operation.cycles
    atomic_cycles = (2 * operation.mutexes + operation.atomics) * config.machine.latency.atomic_cycles
    assert Layout(config, instances).operations["route_lookup"][0] == operation.cycles + atomic_cycles > operation.cycles


def test_stalls_follow_a_line_between_cores(composed: Compose) -> None:
    config = composed("org=connp_l")
    latency, line = config.machine.latency, 0  # of memory node 0, as cores 0 and 1
    caches = Caches(config, 4096)

    def touch(core: int, access: Access) -> tuple[int, int]:
        return caches.touch(core, [(line, 1, 0, 1, access)], [0])

    assert touch(0, Access.READ) == (latency.memory_local_cycles, 0)
    assert touch(0, Access.WRITE) == touch(0, Access.LOCKED) == (0, 0)  # alone: no upgrade
    assert touch(1, Access.READ) == (latency.cache_same_node_cycles, 0)
    assert touch(2, Access.WRITE) == (latency.cache_other_node_cycles, latency.upgrade_cycles)
    assert touch(0, Access.READ) == (latency.cache_other_node_cycles, 0)
    assert touch(0, Access.LOCKED) == (latency.upgrade_cycles, 0)
    assert touch(2, Access.LOCKED) == (latency.cache_other_node_cycles, 0)  # fetched to be owned
    assert touch(0, Access.STORE) == (0, latency.cache_other_node_cycles)
    caches.dma_write(range(line, line + 1))
    assert touch(3, Access.READ) == (latency.memory_remote_cycles, 0)
    assert touch(0, Access.READ) == (latency.memory_local_cycles, 0)
    ways = config.machine.l1.ways
    for other in range(1, ways + 1):  # push it out of one set of the L1
        caches.touch(3, [(other * (caches.l1_mask + 1), 1, 0, 1, Access.READ)], [0])
    assert touch(3, Access.LOCKED) == (latency.l2_hit_cycles + latency.upgrade_cycles, 0)
