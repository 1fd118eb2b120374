"""Applications that only read: limits of links and of cores that can be computed by hand, and the law of their payload."""

import dataclasses
from collections.abc import Callable

import pytest

from netstack.errors import ConservationError
from netstack.sim import SimulationConfig, simulate
from netstack.sim.build.build import build
from netstack.sim.engine.conservation import check_conservation
from netstack.sim.engine.exact import run_until, settle

Compose = Callable[..., SimulationConfig]
READERS = ("workload=bulk_receive", "workload.start_spread_us=0")
PAYLOAD, FRAME = 1448, 1538  # of a full segment, and of its frame with preamble and gap


@pytest.mark.parametrize(("links", "conns"), [(6, 6), (6, 48), (1, 40)], ids=["one-to-one", "eight-to-one", "incast"])
def test_links_of_100_mbps_are_full(composed: Compose, links: int, conns: int) -> None:
    link = (f"machine.nic.count={links}", "machine.nic.link_mbps=100")
    config = composed(*READERS, *link, "org=up", f"conns={conns}", "engine.warmup_ms=40", "engine.measure_ms=80")
    result = simulate(config)
    assert result.goodput_mbps == pytest.approx(links * 100 * PAYLOAD / FRAME, rel=0.01)
    assert result.receive_ring_drops == result.data_segments == 0
    assert result.utilization < 0.6


@pytest.mark.parametrize("org", ["msgp", "connp_t", "connp_l", "linux", "freebsd", "dragonflybsd", "solaris10"])
def test_gigabit_links_are_never_more_than_full(composed: Compose, org: str) -> None:
    """What was received before the measured interval may be read in it: the windows of all connections at most."""
    config = composed(*READERS, f"org={org}", "conns=24", "engine.warmup_ms=100", "engine.measure_ms=100")
    result = simulate(config)
    windows_mbps = 24 * 262144 * 8 / 100_000
    assert 2000 < result.goodput_mbps < 6000 * PAYLOAD / FRAME + windows_mbps
    slices = round(result.simulated_ms / result.slice_ms)
    assert sum(result.goodput_over_time_mbps[-slices:]) / slices == pytest.approx(result.goodput_mbps, rel=1e-6)


def test_one_core_reads_what_its_cycles_allow(composed: Compose) -> None:
    """2,200 MHz through 22,000 cycles a frame: 100,000 frames per second. Windows that close hold peers back, without loss."""
    config = composed(*READERS, "org=up", "conns=12", "engine.warmup_ms=60", "engine.measure_ms=120")
    operations = {key: dataclasses.replace(value, cycles=0, touches=[]) for key, value in config.costs.operations.items()}
    operations["read_frame"] = dataclasses.replace(operations["read_frame"], cycles=22_000)
    result = simulate(dataclasses.replace(config, costs=dataclasses.replace(config.costs, operations=operations)))
    assert result.goodput_mbps == pytest.approx(100_000 * PAYLOAD * 8 / 1e6, rel=0.03)
    assert result.receive_ring_drops == 0


def test_payload_that_nobody_sent_breaks_a_law(composed: Compose) -> None:
    simulation = build(composed(*READERS, "conns=12"))
    run_until(simulation.machine, simulation.stack, 5 * 2_200_000)
    settle(simulation.machine, 5 * 2_200_000)
    check_conservation(simulation)
    exchanges = simulation.tables["exchange"]
    assert int(exchanges["read_bytes"].sum()) > 1_000_000
    exchanges["read_bytes"][3] += 1
    with pytest.raises(ConservationError, match="payload received"):
        check_conservation(simulation)
    simulation.tables["pcb"]["rcv_nxt"][3] += 1
    simulation.stack_table["read_bytes"] += 1
    check_conservation(simulation)
    simulation.tables["peer"]["snd_una"][3] = simulation.tables["pcb"]["rcv_nxt"][3] + 1
    with pytest.raises(ConservationError, match="have not sent"):
        check_conservation(simulation)
