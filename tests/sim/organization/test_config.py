"""Every choice of an organization is used by a file of `conf/org/` or refused in one line where it contradicts another."""

from typing import Any

import pytest

from netstack.errors import ConfigError
from netstack.sim.machine.config import MachineConfig
from netstack.sim.organization.config import CHOICES, OrganizationConfig
from netstack.sim.organization.plan import population_of

CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "a backlog of groups": ({"contention": "backlog"}, "org.contention=backlog: needs serialize=connection_lock"),
    "a backlog behind the global lock": (
        {"contention": "backlog", "serialize": "connection_lock", "lookup": "global_lock"},
        "lookup=rcu or bucket_lock",
    ),
    "a thread's table read by all": (
        {"serialize": "group_thread", "handoff": "queue", "transmit": "owner", "lookup": "rcu"},
        "org.lookup=rcu: must be group",
    ),
    "queues between cores for a thread of no core": (
        {"port": "ipi_queue", "dispatch": "netisr"},
        "org.port=ipi_queue: needs handoff=queue",
    ),
    "a perimeter of a connection": (
        {"handoff": "inline_else_queue", "serialize": "connection_lock", "lookup": "bucket_lock"},
        "org.handoff=inline_else_queue: needs serialize=group_lock",
    ),
    "a perimeter entered to look up": (
        {"handoff": "inline_else_queue", "lookup": "group"},
        "lookup=rcu or bucket_lock",
    ),
    "a perimeter behind a port": (
        {"handoff": "inline_else_queue", "lookup": "bucket_lock", "dispatch": "netisr"},
        "org.dispatch=netisr: must be nic_thread",
    ),
    "a perimeter that applications wait for": (
        {"handoff": "inline_else_queue", "serialize": "group_thread", "transmit": "owner"},
        "org.handoff=inline_else_queue: queue goes with serialize=group_thread",
    ),
    "no groups": ({"groups": 0}, "org.groups=0: must be a whole number from 1 to 4096, or null"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_contradiction_is_refused_in_one_line(name: str) -> None:
    values, expected = CONTRADICTIONS[name]
    with pytest.raises(ConfigError) as error:
        OrganizationConfig(**values).validate(4)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_groups_of_null_are_as_many_as_cores() -> None:
    organization = OrganizationConfig(groups=None)
    organization.validate(16)
    assert population_of(organization, MachineConfig(cores=16), conns=24, app_threads_per_core=1).groups == 16
    organization.cores = 3
    assert population_of(organization, MachineConfig(cores=16), conns=24, app_threads_per_core=1).groups == 3
    organization.groups = 7
    assert population_of(organization, MachineConfig(cores=16), conns=24, app_threads_per_core=1).groups == 7


@pytest.mark.parametrize("choice", CHOICES)
def test_an_unknown_value_names_the_known_ones(choice: str) -> None:
    organization = OrganizationConfig()
    setattr(organization, choice, "magic")
    with pytest.raises(ConfigError, match=", ".join(CHOICES[choice])):
        organization.validate(4)
