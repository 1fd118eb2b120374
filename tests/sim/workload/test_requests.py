"""Requests and responses: queueing formulas, Little's law, one exchange segment by segment, every organization."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from netstack.errors import ConfigError
from netstack.sim import Result, SimulationConfig, simulate
from netstack.sim.machine.costs import CostsConfig
from tests.helpers.folders import ROOT
from tests.sim.workload.test_churn import TRACE

Compose = Callable[..., SimulationConfig]
ORGANIZATIONS = ("up", "msgp", "connp_t", "connp_l", "linux", "freebsd", "dragonflybsd", "solaris10")
MODERN = ("linux_rss", "linux_rps", "linux_rfs", "linux_arfs", "linux_reuseport", "linux_incoming_cpu", "linux_threaded_napi")
POLLING = ("linux_busy_poll", "linux_suspend", "mtcp", "affinity_accept", "zygos", "freebsd_pcbgroups", "freebsd_smr")
QUEUES = ("machine=epyc_7662", "machine.cores=4", "costs=linux6")
REQUESTS = ("workload=request_response", "workload.start_spread_us=500")
SHORT = ("engine.warmup_ms=4", "engine.measure_ms=8")
ONE_POLLING_CORE = (
    "org=linux_busy_poll",
    "machine=epyc_7662",
    "org.cores=1",
    "conns=3000",
    "workload=request_response",
    "workload.rtt_min_us=10",
    "workload.rtt_max_us=10",
    "workload.client_delayed_ack_us=0",
    "engine.warmup_ms=100",
)


def at_no_cost(costs: CostsConfig) -> CostsConfig:
    """Return costs of a kernel that takes no time, so that only the application's own work is left."""
    free = {
        name: dataclasses.replace(operation, cycles=0, mutexes=0, atomics=0, touches=[])
        for name, operation in costs.operations.items()
    }
    return dataclasses.replace(costs, operations=free)


def served_by_one(composed: Compose, rate: int, service: str, service_us: float, measure_ms: int) -> Result:
    """Return what one polling core does for clients of an open loop, if nothing but the service takes time."""
    cycles = service_us * 3300
    config = composed(
        *ONE_POLLING_CORE,
        f"workload.requests.rate_per_second={rate}",
        f"workload.requests.service_cycles.kind={service}",
        f"workload.requests.service_cycles.mean={cycles:.0f}",
        "workload.requests.service_cycles.most=1e12",
        f"engine.measure_ms={measure_ms}",
    )
    return simulate(dataclasses.replace(config, costs=at_no_cost(config.costs)))


@pytest.mark.parametrize(("service", "second_moment"), [("constant", 1.0), ("exponential", 2.0)])
def test_one_polling_core_is_an_m_g_1_queue(composed: Compose, service: str, second_moment: float) -> None:
    """Pollaczek and Khinchine: a request waits rate x E[S^2] / (2 (1 - load)), is served for E[S], and travels 10 us."""
    rate, service_us = 100_000, 7.0
    load = rate * service_us / 1e6
    waits_us = rate / 1e6 * second_moment * service_us**2 / (2 * (1 - load))
    result = served_by_one(composed, rate, service, service_us, 3000)
    assert result.requests_per_second == pytest.approx(rate, rel=0.01)
    assert result.request_us["mean"] == pytest.approx(10 + service_us + waits_us, rel=0.02)


@pytest.mark.parametrize(
    ("outstanding", "think_us"), [(1, 0), (1, 300), (4, 0)], ids=["one at a time", "with pauses", "four at a time"]
)
def test_littles_law(composed: Compose, outstanding: int, think_us: int) -> None:
    """Requests that are outstanding or thought about are the rate times the time that each takes."""
    config = composed(
        *REQUESTS,
        "org=linux",
        "conns=96",
        f"workload.requests.outstanding={outstanding}",
        f"workload.think_us={think_us}",
        "engine.warmup_ms=20",
        "engine.measure_ms=60",
    )
    result = simulate(config)
    cycle_s = (result.request_us["mean"] + think_us) / 1e6
    assert result.requests_per_second * cycle_s == pytest.approx(96 * outstanding, rel=0.01)


def trace(*overrides: str) -> list[str]:
    """Return the segments of a client's first connection, in the order they were sent, and of the next its SYN."""
    command = [sys.executable, "-W", "ignore::RuntimeWarning", "-c", TRACE, "conns=1", "workload.start_spread_us=0", *overrides]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    lines = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    return lines[: lines.index("client SYN 0", 1) + 1]


def test_one_request_segment_by_segment() -> None:
    """The client's request follows its ACK; the response carries the host's ACK, and the host closes at once."""
    assert trace("org=up", "workload=request_response", "workload.requests.per_connection=1") == [
        "client SYN 0",
        "host SYN-ACK 0",
        "client ACK 0",
        "client ACK 64",
        "host ACK 64",
        "host FIN-ACK 0",
        "client ACK 0",
        "client FIN-ACK 0",
        "host ACK 0",
        "client SYN 0",
    ]


@pytest.mark.parametrize("org", ORGANIZATIONS)
@pytest.mark.parametrize(
    "requests",
    [
        ("workload.requests.outstanding=4",),
        ("workload.requests.per_connection=1",),
        (
            "workload.requests.per_connection=3",
            "workload.closes_first=client",
            "workload.requests.request_bytes.mean=3000",
            "workload.requests.response_bytes.mean=9000",
        ),
    ],
    ids=["connections that stay", "a connection per request", "requests and responses of several segments"],
)
def test_every_organization_answers_and_obeys_the_laws(composed: Compose, org: str, requests: tuple[str, ...]) -> None:
    result = simulate(composed(f"org={org}", *REQUESTS, "conns=48", *SHORT, *requests))
    assert result.requests_per_second > 5000
    assert result.retransmitted_segments == 0


@pytest.mark.parametrize("org", [*MODERN, *POLLING])
@pytest.mark.parametrize("per_connection", ["null", "1"])
def test_organizations_with_queues_answer_and_obey_the_laws(composed: Compose, org: str, per_connection: str) -> None:
    config = composed(f"org={org}", *QUEUES, *REQUESTS, "conns=96", f"workload.requests.per_connection={per_connection}", *SHORT)
    result = simulate(config)
    assert result.requests_per_second > 20_000
    assert len(result.queue_frames_per_second) == 4
    assert all(frames > 0 for frames in result.queue_frames_per_second)
    assert sum(result.thread_connections) <= 96


def test_a_full_listening_socket_drops_syns(composed: Compose) -> None:
    short = ("workload.requests.per_connection=1", "workload.initial_rto_us=3000", *SHORT)
    config = composed("org=linux_rss", *QUEUES, *REQUESTS, "conns=400", "workload.backlog=8", *short)
    assert simulate(config).listen_drops > 0
    config = composed("org=linux_rss", *QUEUES, *REQUESTS, "conns=400", *short)
    assert simulate(config).listen_drops == 0


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("workload.requests.outstanding=9", "workload.requests.outstanding=9: must be from 1 to 8"),
        ("workload.requests.per_connection=0", "workload.requests.per_connection=0: must be from 1"),
        ("workload.requests.rate_per_second=0", "workload.requests.rate_per_second=0.0: must be above 0"),
        ("workload.requests.request_bytes.mean=0", "workload.requests.request_bytes=0 to 0: must be from 1"),
        ("workload.application=reader_of_minds", "workload.application=reader_of_minds: allowed are"),
        ("engine.window_us=2", "engine.window_us=2.0: must be 0 with workload=request_response"),
    ],
)
def test_what_is_refused(composed: Compose, override: str, line: str) -> None:
    with pytest.raises(ConfigError, match=f"^{line}"):
        composed(*REQUESTS, override).validate()


def test_an_open_loop_has_one_request_outstanding(composed: Compose) -> None:
    with pytest.raises(ConfigError, match=r"^workload.requests.outstanding=2: must be 1 with rate_per_second"):
        composed(*REQUESTS, "workload.requests.outstanding=2", "workload.requests.rate_per_second=1000").validate()
