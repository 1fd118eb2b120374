"""What a core that has nothing to do takes from others: connections that nobody has accepted, and events that nobody has begun.

Sources: Affinity-Accept (Pesterev and others, EuroSys 2012); ZygOS (Prekas and others, SOSP 2017).
"""

from netstack.jit.compilation import compiled
from netstack.sim.kernel.listener import accept_connection
from netstack.sim.kernel.readiness import remove_ready
from netstack.sim.machine.charging import charge, charge_in
from netstack.sim.machine.nic import next_arrival
from netstack.sim.machine.numbers import Instance, LockClass, Operation
from netstack.sim.machine.scheduler import send_ipi
from netstack.sim.machine.state import NEVER, core_of, nic_of, thread_of
from netstack.sim.stack.numbers import WaitsFor
from netstack.sim.stack.state import flow_of, listener_of, queue_of, ready_of


@compiled
def steal_connection(machine, stack, core):
    """Accept a connection that waits for another thread, which is busy; return whether there is one. It stays with its thief.

    Each thread's accept queue is looked at, from the next one on.
    """
    cpu = core_of(machine, core)
    thread = thread_of(machine, cpu.thread)
    for offset in range(1, stack.app_threads):
        victim = (thread.index + offset) % stack.app_threads
        cpu.instance[Instance.LISTENER] = victim
        charge(machine, core, Operation.ACCEPT_LOOK)
        if listener_of(stack, victim).waiting == 0 or not _is_busy(machine, stack, victim):
            continue
        before, flow_index = _first_new(stack, victim)
        if flow_index >= 0:
            _take(machine, stack, core, victim, before)
            if stack.crosses != 0:
                charge(machine, core, Operation.SYSCALL)
            accept_connection(machine, stack, core, flow_index)
            flow_of(stack, flow_index).app_thread = thread.index
            return True
    return False


@compiled
def _is_busy(machine, stack, application):
    """Return whether an application works, so that what is ready has to wait."""
    waits_for = thread_of(machine, stack.app_thread_first + application).waits_for
    return waits_for != WaitsFor.EVENTS and waits_for != WaitsFor.POLL


@compiled
def _first_new(stack, victim):
    """Return the first connection of an event queue that nobody has accepted, behind the one before it; -1 for none."""
    queue = ready_of(stack, victim)
    before = -1
    flow_index = queue.head
    for _ in range(queue.count):
        if flow_of(stack, flow_index).accepted == 0:
            return before, flow_index
        before = flow_index
        flow_index = flow_of(stack, flow_index).next_ready
    return -1, -1


@compiled
def _take(machine, stack, core, victim, before):
    """Take the connection behind `before`, -1 for the first one, off another thread's event queue. Make it the current one."""
    cpu = core_of(machine, core)
    thread = thread_of(machine, cpu.thread)
    running = cpu.instance[Instance.THREAD]
    cpu.instance[Instance.THREAD] = stack.app_thread_first + victim
    charge_in(machine, core, ready_of(stack, victim).section, LockClass.EVENT_QUEUE, Operation.STEAL_EVENT)
    cpu.instance[Instance.THREAD] = running
    thread.writes_to = remove_ready(stack, victim, before)
    thread.remaining_bytes = stack.write_bytes
    thread.waits_for = WaitsFor.WORK
    cpu.instance[Instance.FLOW] = thread.writes_to
    charge(machine, core, Operation.APP_EVENT)
    stack.stolen += 1


@compiled
def steal_event(machine, stack, core):
    """Take the first ready connection of another core that is busy; return whether there is one. It still belongs there."""
    thread = thread_of(machine, core_of(machine, core).thread)
    for offset in range(1, stack.app_threads):
        victim = (thread.index + offset) % stack.app_threads
        if ready_of(stack, victim).count == 0 or not _is_busy(machine, stack, victim):
            continue
        _take(machine, stack, core, victim, -1)
        if flow_of(stack, thread.writes_to).accepted == 0:
            accept_connection(machine, stack, core, thread.writes_to)
        return True
    return False


@compiled
def ask_busy_cores(machine, stack, core):
    """Interrupt each core that computes while frames wait in its ring, once: what they bring can then be taken."""
    for victim in range(stack.app_threads):
        ring = queue_of(stack, stack.ring_first + victim)
        if ring.told == 0 and _frames_at(machine, stack, victim) <= core_of(machine, core).clock:
            ring.told = 1
            send_ipi(machine, core, thread_of(machine, stack.app_thread_first + victim).core)


@compiled
def next_ask(machine, stack, core):
    """Return when frames will wait next for a core that computes, NEVER if that is not known."""
    time = NEVER
    for victim in range(stack.app_threads):
        if queue_of(stack, stack.ring_first + victim).told == 0:
            time = min(time, _frames_at(machine, stack, victim))
    return time


@compiled
def _frames_at(machine, stack, victim):
    """Return from when on frames wait in the ring of a core that computes; NEVER if it does not, or none are on the way."""
    thread = thread_of(machine, stack.app_thread_first + victim)
    if thread.service_left == 0:
        return NEVER
    nic = nic_of(machine, victim)
    return 0 if nic.receive_head != nic.receive_tail else next_arrival(machine, victim)
