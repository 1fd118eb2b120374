"""The lists of the callout wheel against plain lists by tick: which neighbours a change of a list writes."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from netstack.sim.build.build import build
from netstack.sim.build.simulation import Simulation
from netstack.sim.config import SimulationConfig
from netstack.sim.kernel.callouts import set_callout, stop_callout
from netstack.sim.machine.config import LatencyConfig, MachineConfig
from netstack.sim.machine.costs import CostsConfig, StructureCost
from netstack.sim.machine.directory import CORES_PER_WORD
from netstack.sim.machine.memory import dma_write
from netstack.sim.stack.numbers import Callout

CONNS, LINES, CORES = 7, 4, 2
Lists = dict[int, list[int]]


def server(structures: dict[str, StructureCost] | None = None) -> Simulation:
    costs = CostsConfig(structures={"timers": StructureCost(LINES, "flow")} if structures is None else structures)
    latency = LatencyConfig(*[0] * 8)
    return build(SimulationConfig(conns=CONNS, machine=MachineConfig(cores=CORES, nodes=1, latency=latency), costs=costs))


def written(simulation: Simulation, core: int, operation, flow: int, callout: Callout) -> set[tuple[int, int]]:
    """Return the lines that an operation writes, as connections and lines of their timers."""
    for other in range(CONNS):
        dma_write(simulation.machine, 0, other, 0, LINES)  # no core holds a line
    operation(simulation.machine, simulation.stack, core, flow, callout)
    sharers = simulation.tables["line"]["bits"] & ((1 << CORES_PER_WORD) - 1)
    return {divmod(line, LINES) for line in range(CONNS * LINES) if sharers[line]}


def neighbours(lists: Lists, flow: int) -> set[int]:
    """Return who is linked with a connection."""
    pairs = [pair for members in lists.values() for pair in pairwise(members)]
    return {left for left, right in pairs if right == flow} | {right for left, right in pairs if left == flow}


def removed(lists: Lists, flow: int) -> Lists:
    return {tick: [member for member in members if member != flow] for tick, members in lists.items()}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, CORES - 1),
            st.integers(0, CONNS - 1),
            st.sampled_from(Callout),
            st.sampled_from("sssx"),
            st.sampled_from([0, 0, 0, 1]),
        ),
        max_size=60,
    )
)
def test_a_change_writes_the_neighbours_in_both_lists(changes: list[tuple[int, int, Callout, str, int]]) -> None:
    simulation = server()
    lists: dict[Callout, Lists] = {callout: {} for callout in Callout}
    tick = 0
    for core, flow, callout, change, ticks_later in changes:
        tick += ticks_later
        simulation.tables["core"]["clock"][:] = tick * int(simulation.stack["tick_cycles"])
        before = lists[callout]
        expected = neighbours(before, flow)
        after = removed(before, flow)
        if change == "s":
            expected |= set(after.get(tick, [])[-1:])
            after = {**after, tick: [*after.get(tick, []), flow]}
        lists[callout] = after
        operation = set_callout if change == "s" else stop_callout
        assert written(simulation, core, operation, flow, callout) == {(other, callout) for other in expected}


def test_three_timers_of_a_tick_by_hand() -> None:
    simulation = server()
    timer = Callout.KEEP_ALIVE
    assert written(simulation, 0, set_callout, 0, timer) == set()
    assert written(simulation, 0, set_callout, 1, timer) == {(0, timer)}
    assert written(simulation, 1, set_callout, 2, timer) == {(1, timer)}
    assert written(simulation, 0, set_callout, 1, timer) == {(0, timer), (2, timer)}  # from between them to the end
    assert written(simulation, 1, stop_callout, 2, timer) == {(0, timer), (1, timer)}
    assert written(simulation, 1, stop_callout, 2, timer) == set()  # it is in no list
    assert written(simulation, 0, set_callout, 1, Callout.RETRANSMISSION) == set()  # lists of their own


def test_without_the_structure_nothing_is_linked() -> None:
    for structures in ({}, {"timers": StructureCost(LINES, "flow", modelled=False)}):
        simulation = server(structures)
        for flow in (0, 1):
            set_callout(simulation.machine, simulation.stack, 0, flow, Callout.KEEP_ALIVE)
        assert simulation.tables["flow"]["callout_behind"].max() == -1
