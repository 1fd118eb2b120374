"""The tables of the pages of organizations: which there are, and what a line says."""

import dataclasses
from collections.abc import Callable

import pytest

from benchmarks.fidelity import MARKS
from benchmarks.organizations import HEADINGS, KERNEL, LEAN, OTHERS, PAGES, WORKLOADS, line
from benchmarks.points import organization_names
from experiments.config.compose import compose_simulation
from netstack.sim import SimulationConfig, simulate

OF_2006 = ("up", "msgp", "connp_t", "connp_l", "freebsd", "linux", "dragonflybsd", "solaris10")


def test_every_later_organization_has_a_page_with_a_table() -> None:
    assert set(OTHERS) == set(organization_names()) - set(OF_2006)
    listed = (PAGES / "README.md").read_text()
    for name in OTHERS:
        page = (PAGES / f"{name}.md").read_text()
        rows = page.partition(MARKS[0])[2].partition(MARKS[1])[0].strip().splitlines()
        assert len(rows) == 2 + 1 + len(OTHERS[name]), name
        assert rows[2].startswith(f"| `{name}` |")
        assert f"]({name}.md)" in listed


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_measured_can_be_simulated(name: str) -> None:
    for organization, *overrides in [(name, KERNEL), *OTHERS[name]]:
        for workload in WORKLOADS.values():
            compose_simulation("machine=epyc_7662", *workload, f"org={organization}", *overrides).validate()


def test_a_line_worked_out_by_hand(composed: Callable[..., SimulationConfig]) -> None:
    simulated = simulate(composed("conns=6", "engine.warmup_ms=1", "engine.measure_ms=1"))
    result = dataclasses.replace(simulated, requests_per_second=399_000.4, kilocycles_per_request=20.25)
    result = dataclasses.replace(result, stall_kilocycles_per_request=3.14, ipis_per_segment=0.5, connections_per_second=12_345.6)
    result.request_us = {"p99": 1234.6}
    cells = line(("tas", LEAN, "org.stack_cores=4"), dict.fromkeys(WORKLOADS, result)).strip("| ").split(" | ")
    assert cells[0] == "`tas` `costs=lean` `org.stack_cores=4`"
    assert cells[1:] == ["399,000", "20.2", "3.1", "1,235", "0.50", "12,346"]
    assert len(cells) == 1 + len(HEADINGS)
    result.requests_per_second = 300_000
    assert "does not keep up" in line(("tas", KERNEL), dict.fromkeys(WORKLOADS, result))
