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
from netstack.sim.stack.state import flow_of, listener_of, queue_of, ready_of, theft_of
from netstack.sim.stack.steering import migrate_entry, move_entry

OWN_SHARE = 5  # own connections for each that is taken, while somebody is busy (Affinity-Accept)


@compiled
def steal_connection(machine, stack, core):
    """Accept a connection that waits for another thread, which is busy; return whether there is one. It stays with its thief.

    Each thread's accept queue is looked at, from the next one on. If there are marks, only queues with a mark are, from the one
    behind the last victim on.
    """
    cpu = core_of(machine, core)
    thread = thread_of(machine, cpu.thread)
    first = listener_of(stack, thread.index).next_victim if stack.marks_busy != 0 else thread.index + 1
    for offset in range(stack.app_threads):
        victim = (first + offset) % stack.app_threads
        if victim == thread.index or (stack.marks_busy != 0 and listener_of(stack, victim).busy == 0):
            continue
        cpu.instance[Instance.LISTENER] = victim
        charge(machine, core, Operation.ACCEPT_LOOK)
        if listener_of(stack, victim).waiting == 0 or (stack.marks_busy == 0 and not _is_busy(machine, stack, victim)):
            continue
        before, flow_index = _first_new(stack, victim)
        if flow_index >= 0:
            _take(machine, stack, core, victim, before)
            if stack.crosses != 0:
                charge(machine, core, Operation.SYSCALL)
            accept_connection(machine, stack, core, flow_index)
            flow_of(stack, flow_index).app_thread = thread.index
            if stack.marks_busy != 0:
                _note_theft(stack, thread.index, victim)
            return True
    return False


@compiled
def may_steal(stack, application):
    """Return whether an application thread without events may take connections of others."""
    return stack.steals_connections != 0 and (stack.marks_busy == 0 or listener_of(stack, application).busy == 0)


@compiled
def is_due(stack, application):
    """Return whether it is another thread's turn, since the application thread has accepted its share of its own connections."""
    if stack.marks_busy == 0:
        return False
    socket = listener_of(stack, application)
    return socket.busy == 0 and socket.own_accepts >= OWN_SHARE


@compiled
def note_own_accept(stack, application):
    """Note that an application thread accepts a connection of its own queue."""
    if stack.marks_busy != 0:
        listener_of(stack, application).own_accepts += 1


@compiled
def _note_theft(stack, thief, victim):
    """Note a theft: the share of own connections begins anew, and entries of the indirection table will follow."""
    socket = listener_of(stack, thief)
    socket.own_accepts = 0
    socket.next_victim = (victim + 1) % stack.app_threads
    theft_of(stack, thief * stack.app_threads + victim).value += 1


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
def migrate_group(machine, stack):
    """Move entries of the indirection table, once in a while: to queues with few frames, or to threads that took connections.

    Each thread that is not busy gets one entry of the thread that it took most connections of since the last time.
    """
    if stack.marks_busy == 0:
        migrate_entry(machine, stack)
        return
    for thief in range(stack.app_threads):
        victim = most = 0
        for other in range(stack.app_threads):
            theft = theft_of(stack, thief * stack.app_threads + other)
            if theft.value > most:
                victim, most = other, theft.value
            theft.value = 0
        if most > 0 and listener_of(stack, thief).busy == 0:
            move_entry(machine, stack, _queue_of(machine, victim), _queue_of(machine, thief))


@compiled
def _queue_of(machine, application):
    """Return the receive queue of an application thread's core."""
    return application % machine.cores_used % (machine.nics // machine.links)


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
