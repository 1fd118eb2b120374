"""The packed tree against a tree of explicit nodes, and against a case that was done by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.sim.machine.pseudo_lru import EMPTY_SET, emptied, next_victim, used
from netstack.sim.machine.recency import MAX_WAYS
from tests.helpers.pseudo_lru_tree import Node, TreeSet, members, node_over


@settings(deadline=None)
@given(st.integers(1, MAX_WAYS), st.lists(st.tuples(st.sampled_from("uffe"), st.integers(0, MAX_WAYS - 1)), max_size=120))
def test_every_victim_is_that_of_a_tree_of_nodes(ways: int, changes: list[tuple[str, int]]) -> None:
    word, reference = EMPTY_SET, TreeSet(ways)
    for change, number in changes:
        way = number % ways
        if change == "e":
            word = emptied(word, way)
            reference.in_use.discard(way)
        else:
            way = next_victim(word, ways) if change == "f" else way
            word = used(word, way)
            reference.use(int(way))
        assert next_victim(word, ways) == reference.victim() < ways


def test_four_ways_by_hand() -> None:
    """The root has ways 0 and 2 on one side, 1 and 3 on the other. True LRU would replace 1, 3 and 0 after the same uses."""
    word = EMPTY_SET
    for way in range(4):  # empty ways are filled first, the lowest first
        assert next_victim(word, 4) == way
        word = used(word, way)
    assert next_victim(word, 4) == 0  # the last use was of 3: the root points to 0 and 2, and 2 is newer than 0
    word = used(word, 0)
    assert next_victim(word, 4) == 1  # the root to 1 and 3, where 3 is newer
    word = used(word, 2)
    assert next_victim(word, 4) == 1  # still
    word = used(word, 1)
    assert next_victim(word, 4) == 0  # true LRU: 3, but 1 beside it was used last
    word = emptied(word, 2)
    assert next_victim(word, 4) == 2  # empty
    word = used(word, 2)
    assert next_victim(word, 4) == 3


@pytest.mark.parametrize("ways", range(1, MAX_WAYS + 1))
def test_misses_alone_share_the_ways_as_the_tree_does(ways: int) -> None:
    """Nodes with data on both sides take turns: each of them above a way halves what the way gets."""
    word, victims = EMPTY_SET, []
    for _ in range(ways + 160):
        victims.append(int(next_victim(word, ways)))
        word = used(word, victims[-1])
    for way in range(ways):
        turns, node = 1, node_over(list(range(16)))
        while isinstance(node, Node):
            turns *= 2 if all(min(members(half)) < ways for half in node.halves) else 1
            node = next(half for half in node.halves if way in members(half))
        assert victims[ways:].count(way) == 160 // turns
        assert ways <= 8 or turns in (
            8,
            16,
        )  # ways that instructions keep are spread: no data way lives much shorter than another
