"""Network interfaces: transmit and receive rings, the link's rate, and interrupt coalescing.

A frame's departure is known when it is queued, because the link serves in order at a constant rate. Frames on their way to the
host wait in a heap by time until the driver takes them off the link. Knows packets by the index of their item only.
"""

from netstack.jit.compilation import compiled
from netstack.sim.machine.memory import dma_write
from netstack.sim.machine.numbers import Fault, Recorded, ThreadState
from netstack.sim.machine.recording import record
from netstack.sim.machine.scheduler import (
    forward_ipi,
    interrupt_core,
    interrupt_core_by_timer,
    make_runnable_from_interrupt,
    nudge,
)
from netstack.sim.machine.state import (
    LINK_UNITS,
    NEVER,
    arrival_of,
    core_of,
    nic_of,
    receive_slot_of,
    thread_of,
    transmit_descriptor,
    transmit_slot_of,
)

ETHERNET_OVERHEAD_BYTES = 38
"""Preamble 8, header 14, frame check sequence 4, interframe gap 12 (IEEE 802.3): 1,538 on the wire for 1,500."""
MANY_FRAMES, FEW_FRAMES = 16, 8  # of a poll: a card that adapts makes interrupts rarer above and more frequent below
SMALLEST_FRAME_BYTES = 84  # on the wire


@compiled
def wire_bytes(ip_bytes):
    """Return the bytes that an IP packet takes on the wire."""
    return max(ip_bytes + ETHERNET_OVERHEAD_BYTES, SMALLEST_FRAME_BYTES)


@compiled
def transmit_full(machine, nic_index):
    """Return whether ring and interface queue have no free slot. A departed frame keeps its slot until it is reclaimed."""
    nic = nic_of(machine, nic_index)
    return nic.transmit_tail - nic.transmit_head >= machine.transmit_slots


@compiled
def count_departed(machine, nic_index, now):
    """Advance `transmit_departed` over the frames that left by `now`; return how many slots can be reclaimed."""
    nic = nic_of(machine, nic_index)
    while (
        nic.transmit_departed < nic.transmit_tail and transmit_slot_of(machine, nic_index, nic.transmit_departed).departure <= now
    ):
        nic.transmit_departed += 1
    return nic.transmit_departed - nic.transmit_head


@compiled
def transmit_frame(machine, nic_index, now, ip_bytes, mbuf):
    """Queue a frame at `now`; return when its last bit leaves, in cycles. The caller has checked that there is room."""
    nic = nic_of(machine, nic_index)
    link = nic_of(machine, nic_index % machine.links)
    start = max(link.transmit_free, now * LINK_UNITS)
    link.transmit_free = start + wire_bytes(ip_bytes) * machine.link_units_per_byte
    departure = link.transmit_free // LINK_UNITS
    if machine.recording != 0:
        begins = start // LINK_UNITS
        record(machine, Recorded.FRAME, -1, begins, departure - begins, nic_index % machine.links, wire_bytes(ip_bytes))
    slot = transmit_slot_of(machine, nic_index, nic.transmit_tail)
    slot.departure = departure
    slot.mbuf = mbuf
    nic.transmit_tail += 1
    nic.frames_sent += 1
    return departure


@compiled
def extend_frame(machine, nic_index, ip_bytes):
    """Send one more frame of the aggregate in the newest slot, right behind the last one; return when its last bit leaves."""
    nic = nic_of(machine, nic_index)
    link = nic_of(machine, nic_index % machine.links)
    begins = link.transmit_free // LINK_UNITS
    link.transmit_free += wire_bytes(ip_bytes) * machine.link_units_per_byte
    departure = link.transmit_free // LINK_UNITS
    if machine.recording != 0:
        record(machine, Recorded.FRAME, -1, begins, departure - begins, nic_index % machine.links, wire_bytes(ip_bytes))
    transmit_slot_of(machine, nic_index, nic.transmit_tail - 1).departure = departure
    nic.frames_sent += 1
    return departure


@compiled
def reclaim(machine, nic_index):
    """Take the oldest departed frame off the ring; return its mbuf. `count_departed` has said that there is one.

    The NIC writes the frame's descriptor back by DMA.
    """
    nic = nic_of(machine, nic_index)
    dma_write(machine, machine.transmit_ring_kind, transmit_descriptor(machine, nic_index, nic.transmit_head), 0, 1)
    mbuf = transmit_slot_of(machine, nic_index, nic.transmit_head).mbuf
    nic.transmit_head += 1
    return mbuf


@compiled
def send_to_host(machine, nic_index, time, frame_bytes, item):
    """Put a packet on its way to the NIC: it reaches the link's end at `time` if the link is free. Faults if the heap is full.

    `frame_bytes` are those on the wire, see `wire_bytes`.
    """
    nic = nic_of(machine, nic_index)
    if nic.arrivals >= machine.arrival_capacity:
        machine.fault = Fault.ARRIVALS_FULL
        return
    position = nic.arrivals
    nic.arrivals += 1
    nic.arrival_sequence += 1
    nic.frames_arrived += 1
    sequence = nic.arrival_sequence
    while position > 0:
        parent = (position - 1) >> 1
        above = arrival_of(machine, nic_index, parent)
        if above.time < time or (above.time == time and above.sequence < sequence):
            break
        below = arrival_of(machine, nic_index, position)
        below.time = above.time
        below.sequence = above.sequence
        below.item = above.item
        below.wire_bytes = above.wire_bytes
        position = parent
    entry = arrival_of(machine, nic_index, position)
    entry.time = time
    entry.sequence = sequence
    entry.item = item
    entry.wire_bytes = frame_bytes
    schedule_interrupt(machine, nic_index)


@compiled
def _pop_arrival(machine, nic_index):
    nic = nic_of(machine, nic_index)
    nic.arrivals -= 1
    last = arrival_of(machine, nic_index, nic.arrivals)
    size = nic.arrivals
    position = 0
    while True:
        child = 2 * position + 1
        if child >= size:
            break
        entry = arrival_of(machine, nic_index, child)
        if child + 1 < size:
            right = arrival_of(machine, nic_index, child + 1)
            if right.time < entry.time or (right.time == entry.time and right.sequence < entry.sequence):
                child += 1
                entry = right
        if last.time < entry.time or (last.time == entry.time and last.sequence < entry.sequence):
            break
        hole = arrival_of(machine, nic_index, position)
        hole.time = entry.time
        hole.sequence = entry.sequence
        hole.item = entry.item
        hole.wire_bytes = entry.wire_bytes
        position = child
    hole = arrival_of(machine, nic_index, position)
    hole.time = last.time
    hole.sequence = last.sequence
    hole.item = last.item
    hole.wire_bytes = last.wire_bytes


@compiled
def next_arrival(machine, nic_index):
    """Return when the next frame is complete at the NIC, NEVER if none is on the way."""
    nic = nic_of(machine, nic_index)
    if nic.arrivals == 0:
        return NEVER
    first = arrival_of(machine, nic_index, 0)
    start = max(nic_of(machine, nic_index % machine.links).receive_free, first.time * LINK_UNITS)
    return (start + first.wire_bytes * machine.link_units_per_byte) // LINK_UNITS


@compiled
def take_arrival(machine, nic_index, now):
    """Take the next frame that is complete by `now` off the link; return its item, -1 for none, and whether it is stored.

    The frame is written to memory by DMA. If the receive ring is full, the frame is lost: `receive_drops` counts it, and the
    caller frees the item.
    """
    if next_arrival(machine, nic_index) > now:
        return -1, False
    nic = nic_of(machine, nic_index)
    first = arrival_of(machine, nic_index, 0)
    item = first.item
    link = nic_of(machine, nic_index % machine.links)
    frame_bytes = first.wire_bytes
    link.receive_free = max(link.receive_free, first.time * LINK_UNITS) + frame_bytes * machine.link_units_per_byte
    _pop_arrival(machine, nic_index)
    if nic.receive_tail - nic.receive_head >= machine.receive_slots:
        nic.receive_drops += 1
        return item, False
    position = nic.receive_tail
    receive_slot_of(machine, nic_index, position).item = item
    slot = nic_index * machine.receive_slots + position % machine.receive_slots
    dma_write(machine, machine.receive_ring_kind, slot, 0, 1)
    lines = min(machine.receive_buffer_lines, (frame_bytes + machine.line_bytes - 1) // machine.line_bytes)
    dma_write(machine, machine.receive_buffer_kind, slot, 0, lines)
    nic.receive_tail += 1
    return item, True


@compiled
def receive_frame(machine, nic_index):
    """Take the oldest frame off the receive ring; return its slot number, -1 if the ring is empty."""
    nic = nic_of(machine, nic_index)
    if nic.receive_head == nic.receive_tail:
        return -1
    nic.receive_head += 1
    nic.frames_received += 1
    return nic_index * machine.receive_slots + (nic.receive_head - 1) % machine.receive_slots


@compiled
def schedule_interrupt(machine, nic_index):
    """Set the time of the NIC's next interrupt: not while masked, and not before the coalescing interval has passed.

    If it counts frames, it acts at each one. A core that polls goes on when the next frame is there.
    """
    nic = nic_of(machine, nic_index)
    if nic.masked != 0:
        if nic.poller >= 0:
            nudge(machine, nic.poller, next_arrival(machine, nic_index))
        return
    pending = next_arrival(machine, nic_index)
    if nic.receive_head != nic.receive_tail:
        pending = nic.last_interrupt
    nic.next_time = pending if pending == NEVER else max(pending, nic.last_interrupt + nic.interval)
    if machine.interrupt_frames != 0:
        nic.next_time = min(nic.next_time, next_arrival(machine, nic_index))


@compiled
def waits_for_frames(machine, nic_index, now):
    """Return whether a NIC that may interrupt at `now` waits for more frames. Those that came are in the ring."""
    nic = nic_of(machine, nic_index)
    waiting = nic.receive_tail - nic.receive_head
    return nic.masked == 0 and waiting < machine.interrupt_frames and now < nic.last_interrupt + nic.interval


@compiled
def raise_interrupt(machine, nic_index, now):
    """Interrupt a core at `now`, and wake the NIC's inbound thread. The NIC stays masked until the thread unmasks it.

    Of a NIC that is masked it is a timer that has expired.
    """
    nic = nic_of(machine, nic_index)
    thread = thread_of(machine, nic.thread)
    core = thread.pinned if thread.pinned >= 0 else _idle_core_or(machine, nic.core)
    nic.next_time = NEVER
    make_runnable_from_interrupt(machine, core, nic.thread)
    if nic.masked != 0:
        nic.timer_polls += 1
        interrupt_core_by_timer(machine, core, now)
        return
    if machine.recording != 0:
        record(machine, Recorded.INTERRUPT, core, now, 0, nic_index, nic.thread)
    nic.masked = 1
    nic.interrupts += 1
    nic.last_interrupt = now
    if machine.fixed_interrupts != 0 and thread.pinned < 0 and core != nic.core:
        interrupt_core(machine, nic.core, now)
        forward_ipi(machine, nic.core, core, now)
    else:
        interrupt_core(machine, core, now)


@compiled
def _idle_core_or(machine, preferred):
    if core_of(machine, preferred).thread < 0:
        return preferred
    for core in range(machine.cores_used):
        if core_of(machine, core).thread < 0:
            return core
    return preferred


@compiled
def end_poll(machine, nic_index, now):
    """End a poll of a receive queue at `now`: allow interrupts, or poll again later.

    Source: napi_complete_done() of Linux 6.12, with gro_flush_timeout and napi_defer_hard_irqs.
    """
    nic = nic_of(machine, nic_index)
    _count_poll(nic)
    if nic.polled > MANY_FRAMES:
        nic.interval = min(2 * nic.interval, machine.interrupt_interval_most)
    elif nic.polled < FEW_FRAMES:
        nic.interval = max(nic.interval // 2, machine.interrupt_interval)
    nic.polled = 0
    nic.poller = -1
    if machine.defer == 0 or nic.empty_polls > machine.defer_limit:
        nic.empty_polls = 0
        if machine.recording != 0:
            record(machine, Recorded.UNMASK, -1, now, 0, nic_index, -1)
        unmask(machine, nic_index)
    else:
        nic.masked = 1
        nic.next_time = now + machine.defer


@compiled
def _count_poll(nic):
    nic.polls += 1
    if nic.polled > 0:
        nic.useful_polls += 1
        nic.empty_polls = 0
    else:
        nic.empty_polls += 1


@compiled
def poll_again(machine, nic_index):
    """End a poll of a receive queue whose core goes on to poll it."""
    nic = nic_of(machine, nic_index)
    _count_poll(nic)
    nic.polled = 0


@compiled
def begin_core_poll(machine, nic_index, core):
    """Let `core` poll a receive queue. Nothing interrupts for it meanwhile."""
    nic = nic_of(machine, nic_index)
    nic.masked = 1
    nic.next_time = NEVER
    nic.poller = core


@compiled
def suspend_interrupts(machine, nic_index, now):
    """Keep interrupts that are off already off while the application works, for a limited time.

    Source: napi_suspend_irqs() of Linux 6.13.
    """
    nic = nic_of(machine, nic_index)
    if nic.masked != 0 and thread_of(machine, nic.thread).state == ThreadState.BLOCKED:
        nic.next_time = now + machine.suspend


@compiled
def unmask(machine, nic_index):
    """Allow interrupts again."""
    nic_of(machine, nic_index).masked = 0
    schedule_interrupt(machine, nic_index)
