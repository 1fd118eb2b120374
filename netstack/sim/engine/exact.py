"""The exact engine: one process, always the earliest event next.

Actors are cores, NIC interrupts and the timer wheel; at equal times the order is cores, NICs, wheel, each by number.
"""

from netstack.jit.compilation import compiled
from netstack.sim.machine.nic import raise_interrupt
from netstack.sim.machine.scheduler import begin_step, end_step, settle_idle, settle_spin, take_interrupts
from netstack.sim.machine.state import NEVER, core_of, nic_of
from netstack.sim.organization.queues import deliver_messages
from netstack.sim.organization.threads import clock_tick, step_thread


@compiled(nogil=True)
def run_until(m, s, until):
    """Execute all events before `until` cycles. Stops early with `m.fault` set when the simulation broke down."""
    while m.fault == 0:
        actor = -1
        time = until
        for core in range(m.cores_used):
            if core_of(m, core).next_time < time:
                time = core_of(m, core).next_time
                actor = core
        for nic in range(m.nics):
            if nic_of(m, nic).next_time < time:
                time = nic_of(m, nic).next_time
                actor = m.cores_used + nic
        if s.clock_next < time:
            time = s.clock_next
            actor = m.cores_used + m.nics
        if actor < 0:
            return
        run_event(m, s, actor, time)


@compiled
def run_event(m, s, actor, time):
    """Execute one event: a step of a core, then the numbers of NICs for their interrupts, then the tick of the timer wheel."""
    if actor == m.cores_used + m.nics:
        clock_tick(m, s, time)
    elif actor >= m.cores_used:
        raise_interrupt(m, actor - m.cores_used, time)
    else:
        take_interrupts(m, actor, time)
        if s.use_ipi_queues != 0:
            deliver_messages(m, s, actor)
        if begin_step(m, actor):
            step_thread(m, s, actor)
        end_step(m, actor)


@compiled
def settle(m, now):
    """Account idling and spinning cores up to `now`, so that every core's categories sum to its clock."""
    for core in range(m.cores_used):
        cpu = core_of(m, core)
        if cpu.spinning_on >= 0:
            settle_spin(m, core, now)
        elif cpu.thread < 0 and cpu.next_time == NEVER:
            settle_idle(m, core, now)
