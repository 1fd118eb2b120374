"""Creates the threads in the order application, inbound, port, clock, and puts them on cores."""

import numpy as np

from netstack.sim.build.simulation import Simulation, assign
from netstack.sim.build.sizes import Sizes
from netstack.sim.machine.numbers import ThreadState
from netstack.sim.machine.state import Thread
from netstack.sim.stack.numbers import Phase, ThreadKind, WaitsFor

PRIORITIES = {ThreadKind.APPLICATION: 0, ThreadKind.CLOCK: 1, ThreadKind.PORT: 2, ThreadKind.INBOUND: 3}
"""Priority of threads by kind; higher is more urgent."""


def build_threads(simulation: Simulation, sizes: Sizes) -> None:
    """Fill in the threads, and set those of NICs and queues."""
    machine, stack, nics = simulation.machine, simulation.stack, sizes.population.machine.nics
    population = sizes.population
    table = simulation.add(machine, "thread", Thread.dtype, sizes.threads)
    assign(table, state=ThreadState.BLOCKED, phase=Phase.NEXT, waits_for=WaitsFor.EVENTS)
    assign(table, blocked_on=-1, item=-1, flow=-1, writes_to=-1, expired_head=-1)
    first = 0
    for kind, count, pinned in (
        (ThreadKind.APPLICATION, sizes.app_threads, population.pins_threads),
        (ThreadKind.INBOUND, nics, population.pins_threads),
        (ThreadKind.PORT, population.ports, population.pins_ports),
        (ThreadKind.CLOCK, population.clocks, population.pins_threads),
    ):
        threads, index = table[first : first + count], np.arange(count)
        number = index // population.machine.links if kind == ThreadKind.INBOUND and nics > population.machine.links else index
        core = number % population.machine.cores_used  # those of a queue have its core
        if kind == ThreadKind.PORT:
            core = (index + population.first_port_core) % population.machine.cores_used
        if kind == ThreadKind.APPLICATION:
            core = population.machine.cores_used - population.app_cores + number % population.app_cores
        assign(threads, kind=kind, index=index, core=core, pinned=core if pinned else -1)
        like_applications = kind == ThreadKind.INBOUND and population.inbound_like_applications
        priority = 0 if like_applications else PRIORITIES[kind]
        light = population.machine.light_threads and kind != ThreadKind.APPLICATION
        light = light and (kind != ThreadKind.CLOCK or population.clocks > 1)
        assign(threads, priority=priority, base_priority=priority, own_priority=priority, light=light, own_light=light)
        first += count
    port_thread_first = sizes.app_threads + nics
    assign(stack, app_thread_first=0, port_thread_first=port_thread_first, clock_thread=sizes.threads - population.clocks)
    simulation.tables["nic"]["thread"] = sizes.app_threads + np.arange(nics)
    simulation.tables["queue"]["thread"][: population.ports] = port_thread_first + np.arange(population.ports)
