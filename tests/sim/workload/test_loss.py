"""A network that loses segments: how many, which ones, what becomes of them, and that no law breaks."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from netstack.errors import ConfigError
from netstack.jit.compilation import compiled
from netstack.sim import SimulationConfig, simulate
from netstack.sim.build.build import build
from netstack.sim.engine.conservation import check_conservation
from netstack.sim.engine.exact import run_until, settle
from netstack.sim.stack.numbers import Side
from netstack.sim.workload.network import is_late, loses

Compose = Callable[..., SimulationConfig]
MILLISECOND = 2_200_000
FAST = ("workload.min_rto_us=3000", "workload.initial_rto_us=6000", "workload.delayed_ack_us=1000", "workload.start_spread_us=0")


@compiled
def fates(stack, flow_index, side, lost):
    """Fill in which of the next segments of one end of a connection are lost."""
    for number in range(len(lost)):
        lost[number] = loses(stack, flow_index, side)


def drawn(config: SimulationConfig, flow_index: int, side: Side, count: int) -> np.ndarray:
    lost = np.zeros(count, np.bool_)
    simulation = build(config)  # which owns the memory that the stack's record points to
    fates(simulation.stack, flow_index, side, lost)
    return lost


@pytest.mark.parametrize("side", Side)
def test_losses_are_binomial_and_independent(composed: Compose, side: Side) -> None:
    """Sums of 100 draws have the mean and variance of a binomial distribution; neighbours and connections do not agree."""
    config, p, n = composed("workload.loss.to_host=0.1", "workload.loss.to_peers=0.1", "conns=12"), 0.1, 200_000
    lost = drawn(config, 3, side, n)
    assert abs(lost.sum() - n * p) < 4 * math.sqrt(n * p * (1 - p))
    sums = lost.reshape(-1, 100).sum(axis=1)
    assert sums.var() == pytest.approx(100 * p * (1 - p), rel=4 * math.sqrt(2 / len(sums)))
    both = p * p
    for other in (np.roll(lost, 1), drawn(config, 4, side, n), drawn(config, 3, Side(1 - side), n)):
        assert abs((lost & other).mean() - both) < 4 * math.sqrt(both / n)


def test_the_same_segments_are_lost_in_every_organization_but_not_with_another_seed(composed: Compose) -> None:
    lossy = ("workload.loss.to_peers=0.2", "conns=12")
    first = drawn(composed(*lossy, "org=up"), 5, Side.LOCAL, 1000)
    assert (first == drawn(composed(*lossy, "org=solaris10"), 5, Side.LOCAL, 1000)).all()
    assert (first != drawn(composed(*lossy, "org=up", "seed=2"), 5, Side.LOCAL, 1000)).any()


def test_a_run_loses_as_many_as_its_probability_says(composed: Compose) -> None:
    simulation = build(composed("org=connp_l", "conns=48", *FAST, "workload.loss.to_host=0.03", "workload.loss.to_peers=0.01"))
    run_until(simulation.machine, simulation.stack, 60 * MILLISECOND)
    settle(simulation.machine, 60 * MILLISECOND)
    check_conservation(simulation)
    given = simulation.tables["flow"]["network_segments"].sum(axis=0)
    for side, name, p in ((Side.LOCAL, "lost_to_peers", 0.01), (Side.REMOTE, "lost_to_host", 0.03)):
        assert given[side] > 3000
        assert abs(int(simulation.stack[name]) - given[side] * p) < 4 * math.sqrt(given[side] * p * (1 - p))
    assert int(given[Side.REMOTE]) - int(simulation.stack["lost_to_host"]) == simulation.tables["nic"]["frames_arrived"].sum()
    assert given[Side.LOCAL] == simulation.tables["nic"]["frames_sent"].sum()
    assert simulation.stack["retransmitted_segments"] >= 0.9 * int(simulation.stack["lost_to_peers"])


def test_lost_acknowledgments_alone_cost_no_retransmission(composed: Compose) -> None:
    """The next one acknowledges more."""
    config = composed("org=connp_l", "conns=24", "workload.loss.to_host=0.05", "engine.warmup_ms=10", "engine.measure_ms=20")
    result = simulate(config)
    assert result.lost_to_host > 100
    assert result.lost_to_peers == result.retransmitted_segments == 0


def test_peers_send_again_what_they_lost(composed: Compose) -> None:
    """Streams of peers: nearly all that they send is payload, which the host does not acknowledge until it has come."""
    lossy = ("workload.loss.to_host=0.02", "workload=bulk_receive", "org=connp_l", "conns=48", *FAST)
    simulation = build(composed(*lossy))
    run_until(simulation.machine, simulation.stack, 60 * MILLISECOND)
    lost, again = int(simulation.stack["lost_to_host"]), int(simulation.stack["peer_retransmitted_segments"])
    assert lost > 500
    assert 0.9 * lost <= again <= 2 * lost
    assert again == simulation.tables["peer"]["retransmitted_segments"].sum()
    assert simulation.stack["retransmitted_segments"] == 0
    result = simulate(composed(*lossy, "engine.warmup_ms=10", "engine.measure_ms=20"))
    assert 0 < result.peer_retransmitted_segments < again


def test_peers_of_a_network_without_losses_send_nothing_again(composed: Compose) -> None:
    short = ("engine.warmup_ms=5", "engine.measure_ms=10", "conns=12", "workload=request_response")
    assert simulate(composed(*short, "org=connp_l")).peer_retransmitted_segments == 0
    again = simulate(composed(*short, "org=connp_l", *FAST[:2], "workload.loss.to_host=0.2")).peer_retransmitted_segments
    assert again > 0


@pytest.mark.parametrize("workload", ["churn", "proxy_short", "bulk_receive", "request_response"])
@pytest.mark.parametrize("org", ["up", "msgp", "connp_t", "linux", "freebsd", "dragonflybsd", "solaris10"])
def test_no_law_breaks_and_work_goes_on(composed: Compose, workload: str, org: str) -> None:
    """SYNs, FINs, requests and responses are lost of both legs of a proxy, and nobody is stuck."""
    config = composed(
        f"workload={workload}", f"org={org}", "conns=48", *FAST, "workload.loss.to_host=0.02", "workload.loss.to_peers=0.02",
        "workload.time_wait_us=20000", "engine.warmup_ms=20", "engine.measure_ms=160",
    )  # fmt: skip
    result = simulate(config)
    assert result.lost_to_host > 20
    assert result.lost_to_peers > 20
    assert result.jain_fairness > 0.5


@pytest.mark.parametrize("value", [-0.1, 1.0])
@pytest.mark.parametrize("key", ["to_host", "to_peers"])
def test_what_is_no_probability_is_refused(composed: Compose, key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"workload.loss.{key}={value}: must be from 0 to below 1"):
        composed(f"workload.loss.{key}={value}").validate()


@compiled
def delays(stack, flow_index, side, late):
    """Fill in which of the next segments of one end of a connection are late."""
    for number in range(len(late)):
        loses(stack, flow_index, side)
        late[number] = is_late(stack, flow_index, side)


def test_late_segments_are_binomial_and_change_no_loss(composed: Compose) -> None:
    both = ("workload.loss.to_host=0.1", "workload.reorder.to_host=0.2", "conns=12")
    late, n, p = np.zeros(100_000, np.bool_), 100_000, 0.2
    simulation = build(composed(*both))
    delays(simulation.stack, 3, Side.REMOTE, late)
    assert abs(late.sum() - n * p) < 4 * math.sqrt(n * p * (1 - p))
    lost = drawn(composed(*both), 3, Side.REMOTE, n)
    assert (lost == drawn(composed("workload.loss.to_host=0.1", "conns=12"), 3, Side.REMOTE, n)).all()
    assert abs((lost & late).mean() - 0.02) < 4 * math.sqrt(0.02 / n)


@pytest.mark.parametrize(
    ("direction", "delay_us", "overtaken"), [("to_host", 300, True), ("to_peers", 300, True), ("to_peers", 1, False)]
)
def test_what_is_overtaken_is_taken_for_lost(composed: Compose, direction: str, delay_us: int, overtaken: bool) -> None:
    """The other end acknowledges the same number again and again: three times are a loss to a sender without SACK.

    A segment of the host that is late by less than the time of a frame, 12 us on this link, is overtaken by none.
    """
    sends = {"to_host": "bulk_receive", "to_peers": "bulk_send"}[direction]
    reorder = (f"workload.reorder.{direction}=0.005", f"workload.reorder.delay_us={delay_us}", f"workload={sends}")
    config = composed("org=linux", *reorder, *FAST, "conns=6")
    simulation = build(config)
    run_until(simulation.machine, simulation.stack, 40 * MILLISECOND)
    settle(simulation.machine, 40 * MILLISECOND)
    check_conservation(simulation)
    sender = simulation.tables["pcb" if direction == "to_peers" else "peer"]
    assert int(simulation.stack[f"late_{direction}"]) > 20
    assert (int(sender["retransmitted_segments"].sum()) > 10) == overtaken
    assert int(simulation.stack["late_waiting"]) <= 6


@pytest.mark.parametrize("org", ["msgp", "connp_t", "solaris10"])
@pytest.mark.parametrize("workload", ["churn", "proxy_short"])
def test_the_laws_hold_with_late_segments(composed: Compose, org: str, workload: str) -> None:
    late = ("workload.reorder.to_host=0.05", "workload.reorder.to_peers=0.05", "workload.reorder.delay_us=150")
    result = simulate(composed(f"org={org}", f"workload={workload}", *late, *FAST, "conns=24", "engine.run_ms=40"))
    assert result.connections_per_second > 500


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("workload.reorder.to_host=1", "workload.reorder.to_host=1.0: must be from 0 to below 1"),
        ("workload.reorder.delay_us=0", "workload.reorder.delay_us=0.0: must be above 0"),
    ],
)
def test_delays_that_are_none_are_refused(composed: Compose, override: str, line: str) -> None:
    with pytest.raises(ConfigError, match=f"^{line}"):
        composed(override).validate()


def test_late_segments_and_counted_frames_run_in_no_windows(composed: Compose) -> None:
    for override in ("workload.reorder.to_host=0.1", "machine.nic.interrupt_frames=4"):
        with pytest.raises(ConfigError, match=r"^engine.window_us=1.0: must be 0 with "):
            composed("org=connp_l", "engine.window_us=1", override).validate()
