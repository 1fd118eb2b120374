"""Whole simulations: the wire's limit, conservation, determinism, steady state, and the order of organizations."""

import copy
import dataclasses
import json
import math
from collections.abc import Callable

import numpy as np
import pytest

from netstack.errors import ConfigError, ConservationError
from netstack.sim import Result, SimulationConfig, link_limit_mbps, simulate
from netstack.sim.build.build import build
from netstack.sim.build.sizes import memory_needed_bytes
from netstack.sim.config import EngineConfig
from netstack.sim.engine.conservation import check_conservation
from netstack.sim.engine.exact import run_until, settle
from tests.helpers.cache_contents import contents, known_holders

Compose = Callable[..., SimulationConfig]
ORGANIZATIONS = ("up", "msgp", "connp_t", "connp_l")
SYSTEMS = ("linux", "freebsd", "dragonflybsd", "solaris10")
SHORT = ("engine.warmup_ms=5", "engine.measure_ms=10")


def without_cost(config: SimulationConfig) -> SimulationConfig:
    free = {name: dataclasses.replace(operation, cycles=0, touches=[]) for name, operation in config.costs.operations.items()}
    return dataclasses.replace(config, costs=dataclasses.replace(config.costs, operations=free))


def without_wall(result: Result) -> dict:
    return {name: value for name, value in json.loads(result.to_json()).items() if not name.startswith("wall_")}


def test_one_connection_without_cost_fills_the_wire(composed: Compose) -> None:
    config = composed(
        "org=up", "conns=1", "machine.nic.count=1", "engine.warmup_ms=60", "engine.measure_ms=100", "workload.write_bytes=65536"
    )
    result = simulate(without_cost(config))
    assert result.goodput_mbps == pytest.approx(1448 / 1538 * 1000, rel=0.001)  # 941.48 Mb/s
    assert link_limit_mbps(config) == pytest.approx(941.48, abs=0.01)
    assert result.retransmitted_segments == 0


@pytest.mark.parametrize("org", ORGANIZATIONS + SYSTEMS)
def test_the_same_point_gives_the_same_result(composed: Compose, org: str) -> None:
    config = composed(f"org={org}", "conns=24", *SHORT)
    first, second = simulate(config), simulate(config)
    assert without_wall(first) == without_wall(second)
    assert first.goodput_mbps > 100


def test_another_seed_gives_another_result(composed: Compose) -> None:
    first, second = (simulate(composed("conns=24", f"seed={seed}", *SHORT)) for seed in (1, 2))
    assert without_wall(first) != without_wall(second)


@pytest.mark.parametrize("org", ORGANIZATIONS + SYSTEMS)
def test_cycles_of_a_kilobyte_sum_to_the_machines_cycles(composed: Compose, org: str) -> None:
    config = composed(f"org={org}", "conns=24", *SHORT)
    result = simulate(config)
    cores = config.org.cores or config.machine.cores
    kilobytes = result.goodput_mbps * 1e6 / 8 / 1024 * result.simulated_ms / 1000
    available = cores * config.machine.clock_mhz * 1e6 * result.simulated_ms / 1000
    assert sum(result.cycles_per_kb.values()) * kilobytes == pytest.approx(available, rel=0.01)
    assert sum(row.l2_misses_per_kb for row in result.misses.values()) == pytest.approx(result.l2_misses_per_kb)
    assert 0 < result.jain_fairness <= 1


def test_organizations_order_as_in_the_paper(composed: Compose) -> None:
    """USENIX ATC 2006: connection locks best of all, message-parallel better than one core, which falls with connections.

    Threads are worse than one core at all but the heaviest loads.
    """
    goodput = {
        (org, conns): simulate(composed(f"org={org}", f"conns={conns}")).goodput_mbps
        for org in ORGANIZATIONS
        for conns in (6, 24, 192, 1536)
    }
    for conns in (6, 24, 192, 1536):
        assert goodput["connp_l", conns] == max(goodput[org, conns] for org in ORGANIZATIONS)
    for conns in (192, 1536):
        assert goodput["msgp", conns] > goodput["up", conns]
    for conns in (6, 24, 192):
        assert goodput["connp_t", conns] < goodput["up", conns]
    assert goodput["up", 6] == pytest.approx(4034, rel=0.05)
    assert goodput["up", 192] > goodput["up", 1536]


def test_message_parallelism_is_better_than_one_core_at_a_light_load(composed: Compose) -> None:
    """USENIX ATC 2006: message-parallelism is better than one core at almost all loads, by 31 % on average."""
    parallel, one_core = (simulate(composed(f"org={org}", "conns=24")).goodput_mbps for org in ("msgp", "up"))
    assert parallel > one_core


def test_a_kernel_without_locks_has_no_locked_instructions(composed: Compose) -> None:
    up, parallel = (
        simulate(composed(f"org={org}", "conns=24", *SHORT)).cycles_per_kb["lock_atomic"] for org in ("up", "connp_l")
    )
    assert up == 0
    assert parallel > 0


def test_contention_falls_with_more_groups(composed: Compose) -> None:
    waits = [
        simulate(composed("org=connp_l", "conns=96", f"org.groups={groups}", *SHORT)).lock["global"].not_immediate_percent
        for groups in (1, 4, 32)
    ]
    assert waits[0] > waits[1] > waits[2]


@pytest.mark.parametrize("overrides", [("org.dispatch=software_hash",), ("org.placement=free",), ("machine=epyc_16",)])
def test_other_choices_run_and_conserve(composed: Compose, overrides: tuple[str, ...]) -> None:
    assert simulate(composed("conns=48", *SHORT, *overrides)).goodput_mbps > 100


LLC_MACHINES = ("epyc_7662", "e5_2697v2_2x12", "xeon_6128_4x6", "xeon_5418n")


@pytest.mark.parametrize("name", LLC_MACHINES)
def test_caches_that_cores_share_serve_misses_and_their_records_are_exact(composed: Compose, name: str) -> None:
    result = simulate(composed("org=connp_l", "conns=48", f"machine={name}", *SHORT))
    assert 0 < result.llc_misses_per_kb < result.l2_misses_per_kb
    assert {"llc_misses_per_kb", "llc_misses_per_kb/tcpcb"} <= result.metrics().keys()
    assert sum(row.llc_misses_per_kb for row in result.misses.values()) == pytest.approx(result.llc_misses_per_kb)
    simulation = build(composed("org=connp_l", "conns=48", f"machine={name}"))
    run_until(simulation.machine, simulation.stack, 3000 * simulation.config.machine.clock_mhz)
    found, (known, owners) = contents(simulation), known_holders(simulation)
    cores = simulation.config.machine.cores
    assert known[:cores] == [l1 | l2 for l1, l2 in zip(found["l1"], found["l2"], strict=True)]
    assert known[cores:] == found["llc"]
    assert max(map(len, found["llc"])) > 100
    assert all(line in known[owners[line]] for line in np.flatnonzero(owners >= 0))


def test_a_shared_cache_shortens_the_stall_of_a_miss(composed: Compose) -> None:
    """In one socket, a line that another core wrote is 75 cycles away in place of 338, and memory is left alone."""
    machine = ("machine=e5_2697v2_2x12", "machine.cores=6", "machine.nodes=1", "machine.latency.cache_same_node_cycles=338")
    stalls = []
    for llc in ((), ("machine.llc.size_bytes=0", "machine.llc.ddio_ways=0")):
        result = simulate(composed("org=connp_l", "conns=48", *machine, *llc, *SHORT))
        stalls.append(result.cycles_per_kb["cache_stall"] / result.l2_misses_per_kb)
    assert stalls[0] < stalls[1] / 2


def test_a_short_buffer_of_many_connections_still_sends(composed: Compose) -> None:
    """One page a connection: two full segments, and a tail that waits for the peer's delayed ACK of 100 ms."""
    config = composed("conns=3000", "workload.mbufs=3000", "engine.warmup_ms=150", "engine.measure_ms=400")
    result = simulate(config)
    rounds_per_second = result.goodput_mbps * 1e6 / 8 / 4096 / 3000
    assert rounds_per_second == pytest.approx(10, rel=0.02)


def ran(composed: Compose, org: str = "msgp"):
    simulation = build(composed(f"org={org}", "conns=24"))
    run_until(simulation.machine, simulation.stack, 10 * 2_200_000)
    settle(simulation.machine, 10 * 2_200_000)
    check_conservation(simulation)
    return simulation


CORRUPTIONS = {
    "cycles of core 1": ("core", "clock", 1),
    "bytes written": ("flow", "written_bytes", 3),
    "acquisitions of global": ("lock_class", "acquisitions", 0),
    "locks held by threads": ("thread", "locks_held", 1),
    "frames that came": ("nic", "frames_arrived", 2),
}


@pytest.mark.parametrize("law", CORRUPTIONS)
def test_each_law_of_tables_can_break(composed: Compose, law: str) -> None:
    simulation = ran(composed)
    table, field, index = CORRUPTIONS[law]
    simulation.tables[table][field][index] += 1
    with pytest.raises(ConservationError, match=law):
        check_conservation(simulation)


@pytest.mark.parametrize(
    ("field", "law"),
    [
        ("messages_sent", "messages sent"),
        ("items_taken", "items in use"),
        ("mbufs_taken", "mbufs in use"),
    ],
)
def test_each_law_of_counters_can_break(composed: Compose, field: str, law: str) -> None:
    simulation = ran(composed, "connp_t")
    simulation.stack_table[field] += 1
    with pytest.raises(ConservationError, match=law):
        check_conservation(simulation)


def test_a_receiver_that_got_unsent_bytes_breaks_a_law(composed: Compose) -> None:
    simulation = ran(composed)
    peers, pcbs = simulation.tables["peer"], simulation.tables["pcb"]
    peers["rcv_nxt"][5] = (pcbs["snd_max"][5] + 1) % (1 << 32)
    with pytest.raises(ConservationError, match="connection 5"):
        check_conservation(simulation)


def test_a_fault_of_compiled_code_is_fatal(composed: Compose) -> None:
    simulation = ran(composed)
    simulation.machine_table["fault"] = 3
    with pytest.raises(ConservationError, match="mbuf zone"):
        check_conservation(simulation)


def test_statistics_have_units_and_survive_json(composed: Compose) -> None:
    result = simulate(composed("conns=6", *SHORT))
    assert Result.from_json(result.to_json()) == result
    assert all("meaning" in field.metadata and field.metadata["meaning"] for field in dataclasses.fields(Result))
    metrics = result.metrics()
    assert {"goodput_mbps", "l2_misses_per_kb", "l2_misses_per_kb/tcpcb", "cycles_per_kb/protocol"} <= metrics.keys()
    assert not any(name.startswith("llc_misses") for name in metrics)  # of a machine without such caches
    assert {"lock/global/not_immediate_percent", "utilization", "retransmitted_segments"} <= metrics.keys()
    assert np.isfinite(list(metrics.values())).all()


def test_memory_needed_grows_with_connections(composed: Compose) -> None:
    small, large = composed("conns=192"), composed("conns=1000000")
    assert memory_needed_bytes(small) < memory_needed_bytes(large) < 2 * 2**30


def test_costs_that_leave_their_structure_are_refused(composed: Compose) -> None:
    costs = copy.deepcopy(composed().costs)
    costs.structures["tcpcb"].lines = 6
    with pytest.raises(ConfigError, match=r"^costs\.operations\.tcp_output\.touches='tcpcb 4-6 w': tcpcb has lines 0 to 5$"):
        costs.validate()


@pytest.mark.parametrize(
    ("engine", "line"),
    [
        ({"measure_ms": 0.001}, "engine.measure_ms=0.001: must leave 0.01 ms or more to measure"),
        ({"measure_ms": 5e-324}, "engine.measure_ms=5e-324: must leave 0.01 ms or more to measure"),
        ({"run_ms": 0.012}, "engine.run_ms=0.012: must leave 0.01 ms or more to measure"),
        ({"warmup_ms": 100.0, "measure_ms": 0.05}, "engine.measure_ms=0.05: must leave a 1000th of the warm-up"),
        (
            {"measure_ms": 0.015},
            "engine.measure_ms=0.015: must leave a 1000th of the warm-up or more",
        ),
        ({"measure_ms": 0.0}, "engine.measure_ms=0.0: must be above 0"),
        ({"measure_ms": -1.0}, "engine.measure_ms=-1.0: must be above 0"),
        ({"warmup_ms": 0.0}, "engine.warmup_ms=0.0: must be above 0"),
        ({"warmup_ms": math.nan}, "engine.warmup_ms=nan: must be above 0"),
        ({"measure_ms": math.inf}, "engine.measure_ms=inf: must be above 0 and at most 600000"),
        ({"window_us": 1e-5}, "engine.window_us=1e-05: must be 0, or a cycle or more"),
    ],
    ids=str,
)
def test_times_that_no_simulation_can_have_are_one_clear_line(composed: Compose, engine: dict[str, float], line: str) -> None:
    """From Python, where no command reads them."""
    config = dataclasses.replace(composed("conns=1"), engine=EngineConfig(**engine))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError) as error:
        simulate(config)
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)
