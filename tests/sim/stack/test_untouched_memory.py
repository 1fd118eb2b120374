"""What never happens takes no memory: cold state without losses, and items that are never in use."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.jit.compilation import compiled
from netstack.sim import SimulationConfig
from netstack.sim.build.build import build
from netstack.sim.build.simulation import Simulation
from netstack.sim.engine.exact import run_until
from netstack.sim.stack.state import free_item, item_of, take_item

Compose = Callable[..., SimulationConfig]
RUN_MS = 8


def after_a_run(config: SimulationConfig) -> Simulation:
    simulation = build(config)
    run_until(simulation.machine, simulation.stack, RUN_MS * 1000 * config.machine.clock_mhz)
    assert simulation.tables["nic"]["frames_received"].sum() > 100
    return simulation


def written(table: np.ndarray) -> int:
    """Return how many records have a byte that is not 0."""
    return int(table.view(np.uint8).reshape(len(table), -1).any(axis=1).sum())


@pytest.mark.parametrize(
    "overrides",
    [
        ("org=connp_l",),
        ("org=msgp",),
        ("org=linux", "workload=churn"),
        ("org=linux", "workload=request_response"),
        ("org=linux", "workload=bulk_receive"),
    ],
    ids=" ".join,
)
def test_cold_state_is_not_written_without_losses(composed: Compose, overrides: tuple[str, ...]) -> None:
    simulation = after_a_run(composed(*overrides, "conns=24"))
    assert [written(simulation.tables[name]) for name in ("pcb_cold", "peer_cold")] == [0, 0]


def test_a_loss_writes_cold_state_of_its_connection(composed: Compose) -> None:
    """The peer holds what comes behind the hole."""
    simulation = after_a_run(composed("org=connp_l", "conns=24", "workload.loss.to_peers=0.002"))
    assert 0 < written(simulation.tables["peer_cold"]) <= simulation.stack["lost_to_peers"]


def test_items_and_segments_that_were_never_taken_are_not_written(composed: Compose) -> None:
    simulation = after_a_run(composed("org=connp_l", "conns=24"))
    untouched, items = int(simulation.tables["pool"]["untouched"][0]), int(simulation.stack["items"])
    assert 0 < untouched < items
    assert written(simulation.tables["item"][untouched:items]) == 0
    assert written(simulation.tables["segment"][untouched:]) == 0


@compiled
def _take_and_free(machine, stack, choices, taken):
    """Take an item where a choice is below 0, else free the taken one that it chooses; note what each step moved."""
    count = 0
    for step in range(len(choices)):
        if choices[step] < 0 or count == 0:
            taken[step] = take_item(machine, stack)
            item_of(stack, taken[step]).bytes = step  # any use of it
            count += 1
        else:
            free_item(stack, choices[step])
            taken[step] = choices[step]
            count -= 1


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(-1, 30), max_size=80))
def test_items_are_taken_as_off_a_free_list_of_all(composed: Compose, steps: list[int]) -> None:
    """A list that begins with all items in the order of their numbers, from whose head they are taken and put back to it."""
    free, used = list(range(1000)), []
    choices, expected = [], []
    for step in steps:
        if step < 0 or not used:
            choices.append(-1)
            used.append(free.pop(0))
            expected.append(used[-1])
        else:
            choices.append(used.pop(step % len(used)))
            free.insert(0, choices[-1])
            expected.append(choices[-1])
    simulation = build(composed("org=up", "conns=1"))
    found = np.zeros(len(choices), np.int64)
    _take_and_free(simulation.machine, simulation.stack, np.array(choices, np.int64), found)
    assert found.tolist() == expected
    pool = simulation.tables["pool"][0]
    assert pool["count"] == simulation.stack["items"] - len(used)
