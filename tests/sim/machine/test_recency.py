"""The packed order of ways against a list, the most recent way first."""

from hypothesis import given
from hypothesis import strategies as st

from netstack.sim.machine.recency import MAX_WAYS, emptied, filled, initial_order, next_victim, used


def unpacked(order: int, ways: int) -> list[int]:
    return [(int(order) >> (4 * position)) & 15 for position in range(ways)]


@given(st.integers(1, MAX_WAYS), st.lists(st.tuples(st.sampled_from("ufe"), st.integers(0, MAX_WAYS - 1)), max_size=60))
def test_every_change_is_that_of_a_list(ways: int, changes: list[tuple[str, int]]) -> None:
    order = initial_order(ways)
    expected = list(reversed(range(ways)))
    for change, number in changes:
        way = number % ways
        if change == "u":
            order = used(order, way)
            expected.remove(way)
            expected.insert(0, way)
        elif change == "f":
            order = filled(order, ways)
            expected.insert(0, expected.pop())
        else:
            order = emptied(order, way, ways)
            expected.remove(way)
            expected.append(way)
        assert unpacked(order, ways) == expected
        assert next_victim(order, ways) == expected[-1]


def test_an_empty_set_is_filled_from_way_0_on() -> None:
    order = initial_order(4)
    victims = []
    for _ in range(4):
        victims.append(int(next_victim(order, 4)))
        order = filled(order, 4)
    assert victims == [0, 1, 2, 3]
