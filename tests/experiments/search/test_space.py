"""The compositions of choices: those that are not refused, by hand, and how they are called."""

from dataclasses import replace

import pytest

from experiments.search.space import check_values, default_choices, differences, named_after, space_of, squares, values_of
from netstack.errors import ConfigError
from netstack.sim import SimulationConfig
from netstack.sim.organization.config import CHOICES

SERIALIZE = ("connection_lock", "group_lock", "group_thread")


def test_what_is_refused_is_left_out(composed) -> None:
    """A thread owns its group's table and needs a queue; a connection's lock is no lock of a group's table."""
    choices = {"serialize": SERIALIZE, "lookup": ("global_lock", "group"), "handoff": ("inline", "queue")}
    space = space_of(composed("org=connp_l"), {**choices, "transmit": ("caller", "owner")})
    assert set(space.compositions) == {
        ("connection_lock", "global_lock", "inline", "caller"),
        ("group_lock", "global_lock", "inline", "caller"),
        ("group_lock", "group", "inline", "caller"),
        ("group_thread", "group", "queue", "owner"),
    }
    assert space.codes.tolist() == [[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [2, 1, 1, 1]]
    for index in range(4):
        config = space.config(index, "made")
        config.validate()
        assert space.index_of(config.org) == index
    assert space.index_of(replace(space.config(0, "made").org, batch=64)) is None
    assert space.index_of(replace(space.config(0, "made").org, groups=3)) is None


def test_too_many_or_no_combinations_are_refused(composed) -> None:
    base = composed("org=connp_l")
    with pytest.raises(ConfigError, match="at most"):
        space_of(base, {key: CHOICES[key] for key in CHOICES})
    with pytest.raises(ConfigError, match="last one was refused"):
        space_of(base, {"serialize": ("group_thread",), "lookup": ("rcu",)})


@pytest.mark.parametrize(
    ("key", "value"),
    [("serialize", "magic"), ("groups", "many"), ("groups", 1.5), ("batch", True), ("defer_us", "long"), ("groups", False)],
)
def test_values_of_the_wrong_kind_are_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"org.{key}"):
        check_values(key, [value])


def test_values_of_the_right_kind_are_not() -> None:
    check_values("serialize", SERIALIZE)
    check_values("groups", [None, 16])
    check_values("defer_us", [0, 20.5])


def test_choices_that_matter(composed) -> None:
    plain = default_choices(composed("org=connp_l"), {"groups": (4, 8), "port": ("locked",)})
    assert plain["groups"] == (4, 8)
    assert plain["port"] == ("locked",)
    assert plain["dispatch"] == ("nic_thread", "software_hash", "netisr")
    assert "forward" not in plain["handoff"]
    assert {"drive", "accept", "owner"}.isdisjoint(plain)
    queues = default_choices(composed("machine=epyc_7662", "org=linux_rss", "workload=memcached"), {})
    assert {"drive", "owner"} <= set(queues)
    assert "rss" in queues["dispatch"]
    with pytest.raises(ConfigError, match="choices=speed"):
        values_of("speed", SimulationConfig())


def test_an_organization_is_named_after_the_nearest_published_one(composed) -> None:
    published = [composed(f"org={name}").org for name in ("msgp", "connp_l", "connp_t")]
    other = replace(published[1], name="", lookup="rcu", groups=None)
    assert named_after(other, published) == "connp_l groups=null lookup=rcu"
    assert differences(other, published[1]) == {"lookup": "rcu", "groups": None}
    assert named_after(replace(published[2], name=""), published) == "connp_t"


def test_squares_differ_in_two_choices_only(composed) -> None:
    choices = {"placement": ("pinned", "free"), "scheduler": ("bsd4", "ule"), "groups": (4, 8, 16)}
    codes = space_of(composed("org=connp_l"), choices).codes
    found = list(squares(codes, 0, 2))
    assert len(found) == 2 * 3  # of each scheduler: one pair of placements, three pairs of groups
    for a, b, c, d in found:
        assert (codes[a] != codes[b]).tolist() == [True, False, False]
        assert (codes[a] != codes[c]).tolist() == [False, False, True]
        assert (codes[a] != codes[d]).tolist() == [True, False, True]
