"""The exact engine: one process executes the earliest event first."""

from netstack.jit.compilation import compiled
from netstack.sim.engine.events import next_actor, run_event
from netstack.sim.machine.numbers import Fault


@compiled(nogil=True)
def run_until(machine, stack, until):
    """Execute all events before `until` cycles. Stops early, with `machine.fault` set, if the simulation breaks down."""
    while machine.fault == Fault.NONE:
        actor, time = next_actor(machine, stack, 0, 1, until)
        if actor < 0:
            return
        run_event(machine, stack, actor, time)
