"""How applications wait for events: they sleep, poll their receive queue or their event queue, or take those of others.

Knows connections that are ready, not what is done for them.
"""

from netstack.jit.compilation import compiled
from netstack.sim.kernel.listener import accept_connection
from netstack.sim.kernel.readiness import pop_ready
from netstack.sim.kernel.transmit import clean_transmit_ring
from netstack.sim.machine.charging import charge
from netstack.sim.machine.nic import begin_core_poll, end_poll, next_arrival, poll_again, suspend_interrupts
from netstack.sim.machine.numbers import Instance, Operation, ThreadState
from netstack.sim.machine.scheduler import sleep
from netstack.sim.machine.state import core_of, nic_of, thread_of
from netstack.sim.organization.frames import take_frame
from netstack.sim.organization.stealing import (
    ask_busy_cores,
    is_due,
    may_steal,
    next_ask,
    note_own_accept,
    steal_connection,
    steal_event,
)
from netstack.sim.stack.numbers import WaitsFor
from netstack.sim.stack.state import flow_of, ready_of


@compiled
def next_event(machine, stack, core):
    """Make the next ready connection the current one, and accept it if it is new; return whether there is one.

    If there is none, the application polls its receive queue or sleeps until there is.
    """
    cpu = core_of(machine, core)
    thread = thread_of(machine, cpu.thread)
    if stack.steals != 0:
        thread.events = min(thread.events, ready_of(stack, thread.index).count)  # others have taken some
    if thread.events == 0:
        if stack.crosses_to_wait != 0:
            charge(machine, core, Operation.SYSCALL)
        charge(machine, core, Operation.APP_WAIT)
        thread.events = min(ready_of(stack, thread.index).count, stack.events_per_call)
        if stack.suspends != 0 and thread.events > 0:
            suspend_interrupts(machine, thread.index, cpu.clock)
    if thread.events == 0:
        if may_steal(stack, thread.index) and steal_connection(machine, stack, core):
            return True
        if (stack.app_polls != 0 and _begin_poll(machine, core)) or (
            stack.polls_events != 0 and _begin_event_poll(machine, core)
        ):
            return False
        thread.waits_for = WaitsFor.EVENTS
        sleep(machine, core)
        return False
    if is_due(stack, thread.index) and steal_connection(machine, stack, core):
        return True
    thread.events -= 1
    thread.writes_to = pop_ready(stack, thread.index)
    thread.remaining_bytes = stack.write_bytes
    cpu.instance[Instance.FLOW] = thread.writes_to
    charge(machine, core, Operation.APP_EVENT)
    if flow_of(stack, thread.writes_to).accepted == 0:
        cross(machine, stack, core)
        note_own_accept(stack, thread.index)
        accept_connection(machine, stack, core, thread.writes_to)
    return True


@compiled
def cross(machine, stack, core):
    """Enter the kernel for a request, unless requests are collected until the application waits again."""
    if stack.crosses != 0:
        charge(machine, core, Operation.SYSCALL)


@compiled
def _begin_poll(machine, core):
    """Let the application poll its receive queue, if its inbound thread does not; return whether it does."""
    cpu = core_of(machine, core)
    thread = thread_of(machine, cpu.thread)
    if thread_of(machine, nic_of(machine, thread.index).thread).state != ThreadState.BLOCKED:
        return False
    charge(machine, core, Operation.POLL_QUEUE)
    begin_core_poll(machine, thread.index, core)
    thread.polls = 1
    thread.polls_until = cpu.clock + machine.busy_poll
    return True


@compiled
def poll(machine, stack, core):
    """Take one step of an application that polls."""
    if stack.polls_events != 0:
        _poll_events(machine, stack, core)
    else:
        _poll_frames(machine, stack, core)


@compiled
def _poll_frames(machine, stack, core):
    """Process a frame of the receive queue, or end the poll: after its frames, when there are events, or when the time is over.

    Source: napi_busy_loop() and ep_poll() of Linux 6.12.
    """
    cpu = core_of(machine, core)
    thread = thread_of(machine, cpu.thread)
    nic = nic_of(machine, thread.index)
    thread.waits_for = WaitsFor.WORK
    if take_frame(machine, stack, core, thread.index, nic.polled < machine.budget):
        return
    cpu.instance[Instance.NIC] = thread.index
    if clean_transmit_ring(machine, stack, core, thread.index):
        return
    if ready_of(stack, thread.index).count == 0 and cpu.clock < thread.polls_until:
        nic.polled = 0
        if stack.steals_events != 0 and steal_event(machine, stack, core):
            thread.polls = 0
            return
        thread.waits_for = WaitsFor.POLL
        cpu.polling = 1
        cpu.next_time = max(cpu.clock, min(next_arrival(machine, thread.index), thread.polls_until))
        if stack.steals_events != 0:
            ask_busy_cores(machine, stack, core)
            cpu.next_time = max(cpu.clock, min(cpu.next_time, next_ask(machine, stack, core)))
        return
    thread.polls = 0
    if stack.one_thread != 0 and ready_of(stack, thread.index).count > 0:
        poll_again(machine, thread.index)
    else:
        end_poll(machine, thread.index, cpu.clock)
    if ready_of(stack, thread.index).count == 0:
        thread.waits_for = WaitsFor.EVENTS
        sleep(machine, core)


@compiled
def _begin_event_poll(machine, core):
    """Let the application poll its event queue, which a thread of the stack fills; return whether it does."""
    cpu = core_of(machine, core)
    thread = thread_of(machine, cpu.thread)
    if machine.busy_poll == 0:
        return False
    thread.polls = 1
    thread.polls_until = cpu.clock + machine.busy_poll
    return True


@compiled
def _poll_events(machine, stack, core):
    """End the poll of the event queue when there are events, or when the time is over."""
    cpu = core_of(machine, core)
    thread = thread_of(machine, cpu.thread)
    thread.waits_for = WaitsFor.WORK
    if ready_of(stack, thread.index).count == 0 and cpu.clock < thread.polls_until:
        thread.waits_for = WaitsFor.POLL
        cpu.polling = 1
        cpu.next_time = thread.polls_until
        return
    thread.polls = 0
    if ready_of(stack, thread.index).count == 0:
        thread.waits_for = WaitsFor.EVENTS
        sleep(machine, core)
