"""Every choice of an organization is used by a file of `conf/org/` or refused in one line where it contradicts another."""

from typing import Any

import pytest

from netstack.errors import ConfigError
from netstack.organization.config import CHOICES, OrganizationConfig

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
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_contradiction_is_refused_in_one_line(name: str) -> None:
    values, expected = CONTRADICTIONS[name]
    with pytest.raises(ConfigError) as error:
        OrganizationConfig(**values).validate(4)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("choice", CHOICES)
def test_an_unknown_value_names_the_known_ones(choice: str) -> None:
    organization = OrganizationConfig()
    setattr(organization, choice, "magic")
    with pytest.raises(ConfigError, match=", ".join(CHOICES[choice])):
        organization.validate(4)
