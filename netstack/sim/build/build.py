"""Lays out a simulation's state from its configuration, part by part."""

from netstack.jit.journal import BUILDING, attach_functions
from netstack.jit.records import allocate
from netstack.sim.build.connections import build_connections
from netstack.sim.build.ideal import priced
from netstack.sim.build.machine import build_machine
from netstack.sim.build.simulation import Simulation
from netstack.sim.build.sizes import sizes_of
from netstack.sim.build.stack import build_stack
from netstack.sim.build.threads import build_threads
from netstack.sim.config import SimulationConfig
from netstack.sim.machine.state import MACHINE_WITH_JOURNAL, Machine
from netstack.sim.stack.state import STACK_WITH_JOURNAL, Stack


def build(config: SimulationConfig, *, with_journal: bool = False) -> Simulation:
    """Return the state of a simulation at time zero.

    `with_journal` leaves room for the address of a journal. All randomness of a point is drawn here, from its seed. In the
    configuration that the simulation keeps, mechanisms that are free have no price.
    """
    config = priced(config)
    sizes = sizes_of(config)
    machine = allocate(MACHINE_WITH_JOURNAL if with_journal else Machine.dtype, 1)
    stack = allocate(STACK_WITH_JOURNAL if with_journal else Stack.dtype, 1)
    simulation = Simulation(config, machine, stack)
    if with_journal:
        attach_functions(BUILDING, building=True)
        simulation.machine["journal"] = simulation.stack["journal"] = BUILDING.ctypes.data
    build_machine(simulation, sizes)
    build_stack(simulation, sizes)
    build_threads(simulation, sizes)
    build_connections(simulation, sizes)
    return simulation
