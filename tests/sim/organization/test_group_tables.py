"""Tables of connections per receive queue, with a lock each that is held for a search."""

import pytest

from netstack.errors import ConfigError
from netstack.sim import Result, simulate
from netstack.sim.build.build import build
from netstack.sim.engine.exact import run_until, settle
from netstack.sim.machine.numbers import LockClass
from tests.sim.organization.test_receiving import CLOCK_MHZ, FOUR_CORES, ROUNDS, Compose, after_one_client

SHORT = ("conns=256", "workload.start_spread_us=500", "engine.warmup_ms=4", "engine.measure_ms=8")


def test_a_search_takes_the_lock_of_its_table_once(composed: Compose) -> None:
    """Of one client, once per request; where searches need no lock, never."""
    for org, expected in (("freebsd_pcbgroups", ROUNDS), ("freebsd_smr", 0)):
        simulation = after_one_client(composed, f"org={org}")
        row = simulation.tables["lock_class"][LockClass.GLOBAL]
        assert int(row["acquisitions"]) == pytest.approx(expected, abs=4)
        assert int(row["waited"]) == 0
        assert int(simulation.stack["requests_answered"]) == pytest.approx(ROUNDS, abs=4)


def test_each_connection_enters_and_leaves_the_table_under_its_lock(composed: Compose) -> None:
    """A connection is put in and taken out once; every frame is searched for."""
    simulation = build(composed("org=freebsd_pcbgroups", *FOUR_CORES, "workload=web_short", *SHORT))
    run_until(simulation.machine, simulation.stack, 8000 * CLOCK_MHZ)
    settle(simulation.machine, 8000 * CLOCK_MHZ)
    stack, frames = simulation.stack, int(simulation.tables["nic"]["frames_received"].sum())
    expected = frames + int(stack["connections_opened"]) + int(stack["connections_closed"])
    assert int(simulation.tables["lock_class"][LockClass.GLOBAL]["acquisitions"]) == pytest.approx(expected, abs=16)
    assert int(stack["connections_closed"]) > 100


def result(composed: Compose, *overrides: str) -> Result:
    return simulate(composed("org=freebsd_pcbgroups", *FOUR_CORES, "workload=request_response", *SHORT, *overrides))


def test_cores_do_not_meet_in_tables_of_their_queues_and_do_in_one(composed: Compose) -> None:
    apart, together = result(composed).lock["global"], result(composed, "org.groups=1").lock["global"]
    assert apart.not_immediate_percent == 0
    assert together.not_immediate_percent > 1
    assert together.hold_cycles > apart.hold_cycles  # the lock's line and the buckets come from other cores


def test_what_is_refused(composed: Compose) -> None:
    with pytest.raises(ConfigError, match=r"^org.lookup=group: needs dispatch=rss with connection_lock"):
        composed("org=freebsd_pcbgroups", *FOUR_CORES, "org.dispatch=nic_thread").validate()
