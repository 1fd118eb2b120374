"""A timing wheel of one-millisecond ticks for the TCP timers of both ends, one entry an end.

Deadlines move with almost every segment, so entries are lazy: one that comes up early is listed again.
Source of the structure: Varghese and Lauck, "Hashed and hierarchical timing wheels", SOSP 1987, scheme 6.
"""

from netstack.jit.compilation import compiled
from netstack.sim.stack.state import flow_of, side_of, wheel_of
from netstack.tcp.timers import tcp_next_deadline_us

TICK_US = 1000


@compiled
def arm(s, flow_index, side):
    """List the end's earliest deadline, unless it is listed no later already."""
    deadline_us = tcp_next_deadline_us(side_of(s, flow_index, side))
    if deadline_us == 0:
        return
    tick = deadline_us // TICK_US + 1
    flow = flow_of(s, flow_index)
    listed = flow.tick[side]
    if listed >= 0:
        if listed <= tick:
            return
        unlist(s, flow_index, side)
    tick = max(tick, s.next_tick)
    if tick - s.next_tick >= s.wheel_slots:
        tick = s.next_tick + s.wheel_slots - 1
    list_end(s, flow_index, side, tick)


@compiled
def list_end(s, flow_index, side, tick):
    """List an end that is not listed under a tick."""
    flow = flow_of(s, flow_index)
    head = wheel_of(s, tick)
    entry = flow_index * 2 + side
    flow.tick[side] = tick
    flow.previous_timer[side] = -1
    flow.next_timer[side] = head.value
    if head.value >= 0:
        flow_of(s, head.value >> 1).previous_timer[head.value & 1] = entry
    head.value = entry
    s.timers_listed += 1


@compiled
def unlist(s, flow_index, side):
    """Take the end's entry off the wheel."""
    flow = flow_of(s, flow_index)
    before = flow.previous_timer[side]
    after = flow.next_timer[side]
    if before >= 0:
        flow_of(s, before >> 1).next_timer[before & 1] = after
    else:
        wheel_of(s, flow.tick[side]).value = after
    if after >= 0:
        flow_of(s, after >> 1).previous_timer[after & 1] = before
    flow.tick[side] = -1
    s.timers_listed -= 1


@compiled
def end_tick(s):
    """Move the wheel to its next tick."""
    s.next_tick += 1
    s.clock_next = s.next_tick * s.tick_cycles
