"""The state of the server microsecond by microsecond, and the order in which packets wait in it."""

from collections.abc import Iterator

from netstack.sim import SimulationConfig
from netstack.sim.build.build import build
from netstack.sim.build.simulation import Simulation
from netstack.sim.engine.conservation import check_conservation
from netstack.sim.engine.exact import run_until, settle
from netstack.sim.stack.numbers import ItemKind


def moments(config: SimulationConfig, milliseconds: int) -> Iterator[Simulation]:
    """Yield the server's state after each microsecond, and check the laws in the end."""
    simulation = build(config)
    for microsecond in range(1, milliseconds * 1000 + 1):
        run_until(simulation.machine, simulation.stack, microsecond * config.machine.clock_mhz)
        yield simulation
    settle(simulation.machine, milliseconds * 1000 * config.machine.clock_mhz)
    check_conservation(simulation)


def queued(simulation: Simulation, head: int, count: int) -> list[int]:
    """Return the items of a queue, first to last."""
    items = []
    for _ in range(count):
        items.append(head)
        head = int(simulation.tables["item"]["next"][head])
    return items


def check_order(simulation: Simulation, items: list[int]) -> None:
    """Received packets of a connection wait in the order they were sent, and none that came later was processed before."""
    packets, segments, pcbs = (simulation.tables[name] for name in ("item", "segment", "pcb"))
    last: dict[int, int] = {}
    for item in items:
        if packets["kind"][item] == ItemKind.PACKET:
            flow = int(packets["flow"][item])
            acknowledged = int(segments["ack"][item] - pcbs["snd_una"][flow]) % (1 << 32)
            assert last.get(flow, 0) <= acknowledged < 1 << 31
            last[flow] = acknowledged
