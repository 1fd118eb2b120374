"""The plan of an organization: the phases of its items are those of the table, and no other module knows a choice."""

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from netstack.sim import SimulationConfig
from netstack.sim.build.build import build
from netstack.sim.engine.exact import next_actor, run_event
from netstack.sim.machine.config import MachineConfig
from netstack.sim.machine.numbers import LockClass, Operation
from netstack.sim.machine.state import Machine
from netstack.sim.organization.config import CHOICES, OrganizationConfig
from netstack.sim.organization.plan import PHASES, phases_of, plan_of, population_of
from netstack.sim.stack.numbers import ListenerKind, LockKind, Phase
from netstack.sim.stack.state import Stack
from tests.helpers.folders import ROOT

Compose = Callable[..., SimulationConfig]
ORGANIZATIONS = ("up", "msgp", "connp_t", "connp_l", "linux", "freebsd", "dragonflybsd", "solaris10")
KNOW_CHOICES = ("organization/config.py", "organization/plan.py")
EVENTS = 6000


def phases_seen(config: SimulationConfig) -> set[tuple[Phase, ...]]:
    """Return which phases the items of a simulation's first events pass, repetitions left out."""
    simulation = build(config)
    machine, stack, threads = simulation.machine, simulation.stack, simulation.tables["thread"]
    passed: dict[int, list[Phase]] = {index: [] for index in range(len(threads))}
    seen = set()
    for _ in range(EVENTS):
        actor, time = next_actor(machine, stack, 0, 1, 1 << 62)
        run_event(machine, stack, actor, time)
        for index, phases in passed.items():
            phase = Phase(int(threads["phase"][index]))
            if phases and (phase == Phase.NEXT or (phases[-1] == Phase.FINISH and phase != Phase.FINISH)):
                seen.add(tuple(phases))
                phases.clear()
            if phase not in (Phase.NEXT, *phases[-1:]):
                phases.append(phase)
    return seen


@pytest.mark.parametrize("org", ORGANIZATIONS)
def test_items_pass_the_phases_of_the_table(org: str, composed: Compose) -> None:
    config = composed(f"org={org}", "conns=24", "workload.start_spread_us=0")
    expected = phases_of(config.org)
    seen = phases_seen(config)
    assert expected in seen
    for phases in seen:
        places = [expected.index(phase) for phase in phases]
        assert places == sorted(places)
        assert phases[-1] == Phase.FINISH or phases == (Phase.SERIALIZE,)  # left to whoever is inside


def test_the_table_has_a_row_for_every_organization() -> None:
    assert phases_of(OrganizationConfig(serialize="connection_lock", lookup="global_lock")) == PHASES["global table lock"]
    assert phases_of(OrganizationConfig(serialize="group_lock")) == PHASES["own lock or perimeter"]
    assert phases_of(OrganizationConfig(serialize="none", cores=1)) == PHASES["nobody else"]
    assert {phase for row in PHASES.values() for phase in row} == set(Phase) - {Phase.NEXT}


def test_a_plan_worked_out_by_hand() -> None:
    """Solaris 10: perimeters that a look-up without a lock leads to; what finds one occupied is queued."""
    org = OrganizationConfig(handoff="inline_else_queue", serialize="group_lock", lookup="bucket_lock", groups=None, batch=8)
    plan, population = plan_of(org), population_of(org, MachineConfig(cores=4), conns=24, app_threads_per_core=2)
    assert (plan.use_perimeter, plan.queue_packets, plan.queue_requests) == (True, False, False)
    assert (plan.lookup_first, plan.lookup_operation) == (True, Operation.BUCKET_LOCK)
    assert (plan.lock_kind, plan.listener_kind, plan.batch) == (LockKind.GROUP, ListenerKind.PARTITIONED, 8)
    assert (population.groups, population.ports, population.queues, population.listeners) == (4, 4, 4, 4)
    assert (population.machine.locks, population.lock_class) == (1 + 4, LockClass.GLOBAL)


def test_a_plan_has_the_fields_of_the_record() -> None:
    assert set(vars(plan_of(OrganizationConfig()))) <= set(Stack.dtype.names or ())


def choices_read(source: str) -> list[str]:
    """Return what a module reads of an organization's choices: attributes, and texts that are a choice's value only."""
    fields = {*(Stack.dtype.names or ()), *(Machine.dtype.names or ())}
    unique = {value for allowed in CHOICES.values() for value in allowed if "_" in value} - fields
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in CHOICES and ast.unparse(node.value).split(".")[-1] == "org":
            found.append(ast.unparse(node))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in unique:
            found.append(node.value)
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "netstack/sim").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_plan_turns_choices_into_numbers(path: Path) -> None:
    if not path.as_posix().endswith(KNOW_CHOICES):
        assert choices_read(path.read_text()) == []


def test_a_choice_that_is_read_elsewhere_is_found() -> None:
    source = "if config.org.dispatch == 'x' or kind == 'group_lock':\n    pass"
    assert choices_read(source) == ["config.org.dispatch", "group_lock"]
