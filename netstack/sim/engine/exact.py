"""The exact engine: one process, always the earliest event next.

Actors are cores, then the interrupts of NICs, then the tick of the timer wheel, each by number. At equal times they act in this
order. The windowed engine runs events by the same functions.
"""

from netstack.jit.compilation import compiled
from netstack.sim.machine.numbers import Fault
from netstack.sim.machine.scheduler import begin_step, end_step, settle_idle, settle_poll, settle_spin, take_interrupts
from netstack.sim.machine.state import NEVER, core_of, nic_of
from netstack.sim.organization.frames import act_on_frames
from netstack.sim.organization.queues import deliver_messages
from netstack.sim.organization.threads import clock_tick, step_thread


@compiled(nogil=True)
def run_until(machine, stack, until):
    """Execute all events before `until` cycles. Stops early, with `machine.fault` set, if the simulation breaks down."""
    while machine.fault == Fault.NONE:
        actor, time = next_actor(machine, stack, 0, 1, until)
        if actor < 0:
            return
        run_event(machine, stack, actor, time)


@compiled
def next_actor(machine, stack, first, stride, until):
    """Return the actor that acts next before `until` cycles, -1 for none, and when.

    Only every `stride`-th core and NIC from `first` on is considered, and the timer wheel if `first` is 0.
    """
    actor = -1
    time = until
    core = first  # loops without the general case of a range, which takes longer
    while core < machine.cores_used:
        if core_of(machine, core).next_time < time:
            time = core_of(machine, core).next_time
            actor = core
        core += stride
    nic = first
    while nic < machine.nics:
        if nic_of(machine, nic).next_time < time:
            time = nic_of(machine, nic).next_time
            actor = machine.cores_used + nic
        nic += stride
    if first == 0 and stack.clock_next < time:
        time = stack.clock_next
        actor = machine.cores_used + machine.nics
    return actor, time


@compiled
def run_event(machine, stack, actor, time):
    """Execute the event of an actor at `time`: a step of a core, the interrupt of a NIC, or the tick of the timer wheel."""
    if actor == machine.cores_used + machine.nics:
        clock_tick(machine, stack, time)
    elif actor >= machine.cores_used:
        act_on_frames(machine, stack, actor - machine.cores_used, time)
    else:
        take_interrupts(machine, actor, time)
        if stack.use_ipi_queues != 0:
            deliver_messages(machine, stack, actor)
        if begin_step(machine, actor):
            step_thread(machine, stack, actor)
        end_step(machine, actor)


@compiled
def settle(machine, now):
    """Account for idling and spinning cores up to `now`: the categories of every core then sum to its clock."""
    for core in range(machine.cores_used):
        cpu = core_of(machine, core)
        if cpu.spinning_on >= 0:
            settle_spin(machine, core, now)
        elif cpu.thread < 0 and cpu.next_time == NEVER:
            settle_idle(machine, core, now)
        elif cpu.polling != 0:
            settle_poll(machine, core, now)
