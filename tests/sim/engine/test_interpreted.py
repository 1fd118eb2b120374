"""The simulator as plain Python: the same functions, interpreted, give the result of the compiled ones.

Each record that they reach is checked to lie in its table: compiled code does not check.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from netstack.sim import SimulationConfig, simulate
from tests.helpers.folders import ROOT

CHURN = ["workload=churn", "workload.bytes_per_connection=1000", "workload.time_wait_us=0"]
OVERRIDES = ["conns=6", "engine.warmup_ms=1.2", "engine.measure_ms=0.6", "workload.start_spread_us=0"]
SCRIPT = """
import sys
from experiments.config.compose import compose_simulation
from netstack.sim import simulate
config = compose_simulation(*sys.argv[1:])
print(simulate(config).to_json())
"""


@pytest.mark.parametrize("org", ["msgp", "connp_t", "linux", "freebsd", "dragonflybsd", "solaris10"])
def test_interpreted_code_gives_the_same_result(composed: Callable[..., SimulationConfig], org: str) -> None:
    assert same_result(composed, [f"org={org}", *OVERRIDES])["data_segments"] > 50


def test_exact_lru_on_consecutive_pages_as_well(composed: Callable[..., SimulationConfig]) -> None:
    caches = ("machine.l2.replacement=lru", "machine.page_placement=consecutive")
    assert same_result(composed, ["org=msgp", *OVERRIDES, *caches])["data_segments"] > 50


def test_free_locks_as_well(composed: Callable[..., SimulationConfig]) -> None:
    assert same_result(composed, ["org=msgp", *OVERRIDES, "ideal=[locks,atomics]"])["data_segments"] > 50


@pytest.mark.parametrize("org", ["msgp", "connp_t"])
def test_windows_as_well(composed: Callable[..., SimulationConfig], org: str) -> None:
    assert same_result(composed, [f"org={org}", *OVERRIDES, "engine.window_us=1", "engine.measure_ms=0.2"])["data_segments"] > 10


SHARED = [
    ["machine=epyc_7662", "machine.cores=5", "machine.interrupt_evicts_lines=3"],
    ["machine=e5_2697v2_2x12", "machine.cores=4", "machine.llc.cores_per=1", "machine.llc.size_bytes=163840"],
]
"""Machines with last-level caches: of victims, and inclusive ones that are too small."""


@pytest.mark.parametrize("machine", SHARED, ids=lambda overrides: overrides[0])
def test_last_level_caches_as_well(composed: Callable[..., SimulationConfig], machine: list[str]) -> None:
    result = same_result(composed, ["org=connp_l", *OVERRIDES, *machine])
    assert result["data_segments"] > 50
    assert 0 < result["llc_misses_per_kb"] < result["l2_misses_per_kb"]


@pytest.mark.parametrize(("org", "first"), [("msgp", "host"), ("connp_t", "client"), ("linux", "client"), ("solaris10", "host")])
def test_connections_come_and_go_as_well(composed: Callable[..., SimulationConfig], org: str, first: str) -> None:
    overrides = [f"org={org}", *OVERRIDES, *CHURN, f"workload.closes_first={first}"]
    result = same_result(composed, [*overrides, "engine.measure_ms=3"])
    assert result["connections_opened"] > 3
    assert result["connections_per_second"] > 1000


@pytest.mark.parametrize(
    ("org", "workload"), [("msgp", "proxy_short"), ("connp_t", "bulk_receive"), ("solaris10", "proxy_short")]
)
def test_proxies_readers_and_losses_as_well(composed: Callable[..., SimulationConfig], org: str, workload: str) -> None:
    lossy = ["workload.loss.to_host=0.1", "workload.loss.to_peers=0.1"]
    times = ["workload.min_rto_us=1000", "workload.initial_rto_us=1000", "workload.time_wait_us=0", "engine.measure_ms=2"]
    result = same_result(composed, [f"org={org}", f"workload={workload}", *OVERRIDES, *lossy, *times])
    assert result["lost_to_host"] + result["lost_to_peers"] > 0
    assert result["goodput_mbps"] > 0


QUEUES = ["machine=epyc_7662", "machine.cores=3", "machine.nic.queues=3", "costs=linux6", "engine.measure_ms=1.5"]
LATER = [
    ["org=mtcp", "workload=memcached"],
    ["org=tas", "workload=proxy_short", "org.migrate_us=1000", "machine.nic.rss_table=8"],
    ["org=zygos", "workload=request_response", "workload.requests.service_cycles.mean=9000"],
    ["org=affinity_accept", "workload=web_short", "org.migrate_us=1000"],
    ["org=freebsd_pcbgroups", "workload=web_short"],
    ["org=linux_rss", "workload=bulk_receive", "org.aggregate_receive=gro", "org.aggregate_send=gso"],
    ["org=ix", "workload=bulk_receive", "org.aggregate_receive=lro", "org.aggregate_send=tso"],
]
"""What has rings, cores of the stack, thieves, migrations, tables of queues and aggregates."""


@pytest.mark.parametrize("overrides", LATER, ids=lambda overrides: overrides[0])
def test_later_organizations_as_well(composed: Callable[..., SimulationConfig], overrides: list[str]) -> None:
    result = same_result(composed, [*OVERRIDES, *QUEUES, *overrides, "workload.start_spread_us=0"])
    assert result["requests_per_second"] > 0 or result["goodput_mbps"] > 0


def same_result(composed: Callable[..., SimulationConfig], overrides: list[str]) -> dict:
    """Return the result of a point, which is the same interpreted and compiled."""
    command = [sys.executable, "-W", "ignore::RuntimeWarning", "-c", SCRIPT, *overrides]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "NETSTACK_CHECK": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    interpreted, compiled = json.loads(done.stdout), json.loads(simulate(composed(*overrides)).to_json())
    for name, value in compiled.items():
        if not name.startswith("wall_"):
            assert interpreted[name] == value, name
    return compiled
