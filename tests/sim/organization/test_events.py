"""How many ready connections an application is told of at once, against the calls that this takes."""

import pytest

from netstack.sim.build.build import build
from netstack.sim.config import SimulationConfig
from netstack.sim.kernel.readiness import push_ready
from netstack.sim.machine.config import LatencyConfig, MachineConfig
from netstack.sim.machine.costs import CostsConfig, OperationCost
from netstack.sim.machine.numbers import Category, ThreadState
from netstack.sim.organization.config import OrganizationConfig
from netstack.sim.organization.threads import step_thread
from netstack.sim.stack.numbers import WaitsFor
from netstack.sim.workload.config import WorkloadConfig

WAIT, EVENT = 1_000_000, 1
FULL_BYTES = 1 << 30


@pytest.mark.parametrize(
    ("ready", "events_per_call", "calls"),
    [(5, 2, 3 + 1), (5, 1, 5 + 1), (5, 64, 1 + 1), (4, 2, 2 + 1), (0, 64, 1)],  # the last call finds nothing
)
def test_calls_that_serve_the_ready_connections(ready: int, events_per_call: int, calls: int) -> None:
    operations = {
        "app_wait": OperationCost(cycles=WAIT, category="application"),
        "app_event": OperationCost(cycles=EVENT, category="application"),
    }
    simulation = build(
        SimulationConfig(
            conns=6,
            machine=MachineConfig(cores=1, nodes=1, latency=LatencyConfig(*[0] * 8)),
            costs=CostsConfig(operations=operations),
            org=OrganizationConfig(serialize="none", cores=1),
            workload=WorkloadConfig(events_per_call=events_per_call),
        )
    )
    for flow in range(ready):
        push_ready(simulation.stack, flow)
    simulation.tables["pcb"]["send_buffered_bytes"] = FULL_BYTES  # each visit ends without a write
    thread, core = simulation.tables["thread"][0], simulation.tables["core"][0]
    core["thread"], thread["state"] = 0, ThreadState.RUNNING
    for _ in range(100):
        if thread["state"] != ThreadState.RUNNING:
            break
        step_thread(simulation.machine, simulation.stack, 0)
    assert thread["waits_for"] == WaitsFor.EVENTS
    assert core["cycles"][Category.APPLICATION] == calls * WAIT + ready * EVENT
    assert simulation.tables["ready"]["count"][0] == 0
