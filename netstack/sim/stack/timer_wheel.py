"""A timing wheel of one-millisecond ticks for the TCP timers of both ends, with one entry per end.

Deadlines move with almost every segment. Entries are therefore lazy: one that comes up early is listed again.
Source of the structure: Varghese and Lauck, "Hashed and hierarchical timing wheels", SOSP 1987, scheme 6.
"""

from netstack.jit.compilation import compiled
from netstack.sim.stack.state import flow_of, side_of, wheel_slot_of
from netstack.tcp.timers import tcp_next_deadline_us

TICK_US = 1000


@compiled
def entry_of(flow_index, side):
    """Return the entry of one end of a connection."""
    return 2 * flow_index + side


@compiled
def entry_flow(entry):
    """Return the connection of an entry."""
    return entry >> 1


@compiled
def entry_side(entry):
    """Return which end of its connection an entry is for."""
    return entry & 1


@compiled
def arm(stack, flow_index, side):
    """List the end's earliest deadline, unless the end is listed under that tick or an earlier one."""
    deadline_us = tcp_next_deadline_us(side_of(stack, flow_index, side))
    if deadline_us == 0:
        return
    tick = deadline_us // TICK_US + 1
    flow = flow_of(stack, flow_index)
    listed = flow.tick[side]
    if listed >= 0:
        if listed <= tick:
            return
        unlist(stack, flow_index, side)
    tick = max(tick, stack.next_tick)
    if tick - stack.next_tick >= stack.wheel_slots:
        tick = stack.next_tick + stack.wheel_slots - 1
    list_end(stack, flow_index, side, tick)


@compiled
def list_end(stack, flow_index, side, tick):
    """List an end under a tick. It must not be listed."""
    flow = flow_of(stack, flow_index)
    slot = wheel_slot_of(stack, tick)
    entry = entry_of(flow_index, side)
    flow.tick[side] = tick
    flow.previous_timer[side] = -1
    flow.next_timer[side] = slot.head
    if slot.head >= 0:
        flow_of(stack, entry_flow(slot.head)).previous_timer[entry_side(slot.head)] = entry
    slot.head = entry
    stack.timers_listed += 1


@compiled
def unlist(stack, flow_index, side):
    """Take the end's entry off the wheel."""
    flow = flow_of(stack, flow_index)
    before = flow.previous_timer[side]
    after = flow.next_timer[side]
    if before >= 0:
        flow_of(stack, entry_flow(before)).next_timer[entry_side(before)] = after
    else:
        wheel_slot_of(stack, flow.tick[side]).head = after
    if after >= 0:
        flow_of(stack, entry_flow(after)).previous_timer[entry_side(after)] = before
    flow.tick[side] = -1
    stack.timers_listed -= 1


@compiled
def end_tick(stack):
    """Move the wheel to its next tick."""
    stack.next_tick += 1
    stack.clock_next = stack.next_tick * stack.tick_cycles
