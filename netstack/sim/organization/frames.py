"""Takes received frames off a card's ring, up to whoever processes their packets. Inbound threads and whoever polls do.

Frames that follow each other may be joined to an aggregate on their way, see `aggregation`.
"""

from netstack.jit.compilation import compiled
from netstack.sim.machine.charging import charge
from netstack.sim.machine.nic import raise_interrupt, receive_frame, schedule_interrupt, take_arrival, waits_for_frames
from netstack.sim.machine.numbers import Instance, Operation
from netstack.sim.machine.state import core_of, nic_of, receive_slot_of
from netstack.sim.organization.aggregation import join_or_hold, pass_on, take_closed
from netstack.sim.organization.items import begin_item
from netstack.sim.organization.queues import SLOW_PATH, forward, send_message
from netstack.sim.stack.numbers import ReceiveAggregation
from netstack.sim.stack.state import free_item, item_of, packet_group, pcb_of, segment_of
from netstack.tcp.header import FIN, RST, SYN
from netstack.tcp.states import State


@compiled
def act_on_frames(machine, stack, nic, now):
    """Let a NIC interrupt at `now`, unless it counts frames and too few wait in its ring."""
    if machine.interrupt_frames != 0:
        _store_arrivals(machine, stack, nic, now)
        if waits_for_frames(machine, nic, now):
            schedule_interrupt(machine, nic)
            return
    raise_interrupt(machine, nic, now)


@compiled
def _store_arrivals(machine, stack, nic, now):
    """Let the card put what came until `now` into its ring. Frames that find it full are lost."""
    packet, stored = take_arrival(machine, nic, now)
    while packet >= 0:
        if not stored:
            free_item(stack, packet)
        packet, stored = take_arrival(machine, nic, now)


@compiled
def take_frame(machine, stack, core, nic, may_take):
    """Take one frame of a NIC up to its owner, on the thread that runs on `core`; return whether there was one.

    If it may take none, or there is none, the poll is over: a packet that is held goes up instead.
    """
    if stack.receive_aggregation != ReceiveAggregation.NONE:
        return _take_aggregate(machine, stack, core, nic, may_take)
    if not may_take:
        return False
    packet = _next_packet(machine, stack, core, nic)
    if packet < 0:
        return False
    _count_taken(machine, core, nic)
    _go_up(machine, stack, core, packet)
    return True


@compiled
def _next_packet(machine, stack, core, nic):
    """Take the next frame off the ring, after the card has put into it what came until now; return its packet, -1 for none."""
    cpu = core_of(machine, core)
    _store_arrivals(machine, stack, nic, cpu.clock)
    slot = receive_frame(machine, nic)
    if slot < 0:
        return -1
    cpu.instance[Instance.NIC] = nic
    packet = receive_slot_of(machine, nic, slot - nic * machine.receive_slots).item
    item_of(stack, packet).slot = slot
    cpu.instance[Instance.RX_SLOT] = slot
    return packet


@compiled
def _count_taken(machine, core, nic):
    """Count a frame, or what the driver takes for one, in the poll, and charge the driver for it."""
    if machine.budget != 0:
        nic_of(machine, nic).polled += 1
    charge(machine, core, Operation.DRIVER_RECEIVE)


@compiled
def _take_aggregate(machine, stack, core, nic, may_take):
    """Take a frame that is joined to others or held, or take a packet up that waits no more; return whether there was one.

    What the card joins costs nothing: the driver takes the aggregate for a frame.
    """
    by_card = stack.receive_aggregation == ReceiveAggregation.LRO
    packet = take_closed(stack, nic)
    while packet < 0 and may_take:
        packet = _next_packet(machine, stack, core, nic)
        if packet < 0:
            break
        if not by_card:
            _count_taken(machine, core, nic)
            charge(machine, core, Operation.AGGREGATE_RECEIVE)
        packet = join_or_hold(stack, nic, packet)
        if packet < 0 and not by_card:
            return True
    if packet < 0:
        packet = pass_on(stack, nic)
    if packet < 0:
        return False
    cpu = core_of(machine, core)
    cpu.instance[Instance.NIC] = nic
    cpu.instance[Instance.RX_SLOT] = item_of(stack, packet).slot
    if by_card:
        _count_taken(machine, core, nic)
    _go_up(machine, stack, core, packet)
    return True


@compiled
def _go_up(machine, stack, core, packet):
    """Take a packet that the driver has taken from the card to its owner."""
    if stack.input_by_owner == 0:
        charge(machine, core, Operation.IP_INPUT)
    if stack.slow_path != 0 and _is_exceptional(stack, packet):
        send_message(machine, stack, core, packet, SLOW_PATH)
    elif stack.forwards != 0:
        forward(machine, stack, core, packet)
    elif stack.queue_packets != 0:
        send_message(machine, stack, core, packet, packet_group(stack, packet) % stack.ports)
    else:
        begin_item(machine, stack, core, packet, packet_group(stack, packet))


@compiled
def _is_exceptional(stack, packet):
    """Return whether a packet opens or closes a connection, or is of none that is established. Source: fast path of TAS."""
    if segment_of(stack, packet).flags & (SYN | FIN | RST):
        return True
    return pcb_of(stack, item_of(stack, packet).flow).state != State.ESTABLISHED
